"""Group F: changes of the configuration at run time."""

import contextlib
import ctypes
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import struct
import time

import pytest

import certs
import dnsmsg
import faults
import proxy
import processes
import upstream
from clock import now, wait_until
from dnsmsg import Query
from upstream_state import went_down
from rows import asks_again, row, table

RELOADED = "configuration reloaded"
REFUSED = "reload failed"


def _write(env, **changes):
    """Replaces the configuration file as an editor does."""
    env.config = {key: value for key, value in {**env.config, **changes}.items()
                    if value is not None}
    path = proxy.write_config(f"{env.config_path}.new", env.config)
    os.rename(path, env.config_path)


def _reload(env, workers=None, **changes):
    """Reloads a changed configuration and waits for the old workers to exit."""
    running = env.proxies[-1]
    before, old = len(running.lines(RELOADED)), running.workers()
    _write(env, workers=workers or env.config["workers"], **changes)
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines(RELOADED)) > before, 5, f"reloads:\n{running.log_text()}")
    _wait_gone(running, old)
    processes.wait_all_serving(running, env.config["workers"])
    return running


def _wait_gone(running, old, seconds=5):
    wait_until(lambda: not set(old) & set(running.workers()), seconds, "the old workers exit")


def _refused(env, *words, write=None, **changes):
    """A reload that must fail; returns its only log line."""
    running = env.proxies[-1]
    workers, before = running.workers(), len(running.log)
    if write is None:
        _write(env, **changes)
    else:
        with open(env.config_path, "w") as file:
            file.write(write)
    running.signal(signal.SIGHUP)
    line = running.wait_line(REFUSED)
    assert line["level"] == "error"
    for word in words:
        assert word in line.text, line.text
    assert [other for other in running.log[before:] if other["level"] == "error"] == [line]
    assert running.workers() == workers
    return line


# 1,000 reloads. The first test, since it takes longest.


@row("P-12-reloads")
@pytest.mark.timeout(120)
def test_1000_reloads_leak_nothing(env):
    times = 150 if env.sanitized else 1000
    running = processes.start_workers(env, env.upstream(), workers=2, reload="signal")
    env.assert_ok(env.ask())
    _reload_times(running, 20)
    before = processes.census(running)
    _reload_times(running, times)
    after = processes.census(running)
    assert before[0] == after[0], "descriptors"
    assert abs(after[1] - before[1]) <= 2, "mappings"
    if not env.sanitized:
        assert after[2] <= before[2] * 1.05, f"memory: {before[2]} KiB, then {after[2]} KiB"
    assert not running.lines("worker died") and not running.zombies()


def _reload_times(running, times):
    for _ in range(times):
        before = len(running.log)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(running.log) > before, 5, "it is reloaded")
        assert running.log[before]["event"] == RELOADED
    processes.wait_all_serving(running, 2)


# A file that is wrong.


def _without_roots(env):
    path = os.path.join(env.directory, "empty.pem")
    open(path, "w").close()
    return {"tls": {"ca_file": path}}


BAD = {
    "F-03-syntax": (lambda env: {"write": "upstreams: [\n"}, "config.yml:2:1"),
    "F-03-empty": (lambda env: {"write": ""}, "config.yml"),
    "F-03-unknown-key": (lambda env: {"wrokers": 2}, "wrokers", "config.yml:"),
    "F-03-two-errors": (lambda env: {"wrokers": 2, "inflight": "many"}, "errors=2",
                        "dot-proxy check"),
    "F-03-no-upstreams": (lambda env: {"upstreams": []}, "config.yml:2:12"),
    "F-03-loop": (lambda env: {"upstreams": [{"address": env.config["listen"],
                                                "hostname": "dot.test"}]}, "config.yml:"),
    "F-09-ca-file-is-missing": (lambda env: {"tls": {"ca_file": "/nowhere/ca.pem"}},
                                "/nowhere/ca.pem"),
    "F-09-ca-file-is-empty": (_without_roots, "empty.pem"),
    "F-03-address-is-not-local": (lambda env: {"listen": "192.0.2.1:5353"}, "192.0.2.1:5353"),
    "F-03-no-such-user": (lambda env: {"user": "no-such-user"}, "no-such-user"),
}


@table("make, words", *((name, make, words) for name, (make, *words) in BAD.items()))
def test_invalid_file_changes_nothing(env, make, words):
    server = env.upstream()
    running = processes.start_workers(env, server, reload="signal")
    client = env.client()
    asked, = client.send(Query("delay-200.test"))
    wait_until(lambda: server.queries)
    descriptors = len(os.listdir(f"/proc/{running.pid}/fd"))
    right = env.config
    _refused(env, *words, **make(env))
    env.assert_ok(client.receive_until(asked))
    env.assert_ok(env.ask("afterwards.test"))
    assert len(os.listdir(f"/proc/{running.pid}/fd")) == descriptors
    env.config = right
    _reload(env)
    env.assert_ok(env.ask("corrected.test"))
    client.wait_closed()


@row("F-03")
def test_missing_file_changes_nothing(env):
    running = processes.start_workers(env, env.upstream())
    os.unlink(env.config_path)
    running.signal(signal.SIGHUP)
    assert "No such file" in running.wait_line(REFUSED)["cause"]
    env.assert_ok(env.ask())


@row("F-03")
def test_address_in_use_changes_nothing(env):
    """Not even the other address, which was free, is bound then."""
    running = processes.start_workers(env, env.upstream(), reload="signal")
    free = env.free_address(running.address[0])
    with socket.socket() as holder:
        holder.bind((running.address[0], 0))
        holder.listen()
        taken = upstream.with_port(*holder.getsockname())
        _refused(env, taken, "in use", listen=[upstream.with_port(*free), taken])
    assert not _accepts(free)
    env.assert_ok(env.ask())


@row("F-03")
@pytest.mark.skipif(proxy.sanitized(), reason="sanitizers need all of the address space")
def test_old_workers_serve_if_new_ones_cannot_start(env):
    """The old workers keep serving."""
    running = processes.start_workers(env, env.upstream(), inflight=512, reload="signal",
                         popen_args={"prefix": ("prlimit", f"--as={1 << 30}")})
    workers = running.workers()
    client = env.client()
    _write(env, inflight=16384)
    running.signal(signal.SIGHUP)
    line = running.wait_line(REFUSED, 10)
    assert "no worker" in line["cause"]
    assert running.lines("worker startup failed", cause="memory")
    wait_until(lambda: running.workers() == workers)
    env.assert_ok(client.ask())
    _reload(env, inflight=600)
    env.assert_ok(env.ask("again.test"))
    client.wait_closed()


# A good file, and what it changes.


@row("F-04-order")
def test_reload_with_other_order_of_upstreams(env):
    a, b = env.pair()
    processes.start_workers(env, a, b, reload="signal")
    env.assert_ok(env.ask("before.test"))
    assert a.queries_for("before.test")
    _reload(env, upstreams=[b.config(), a.config()])
    env.assert_ok(env.ask("after.test"))
    assert b.queries_for("after.test") and not a.queries_for("after.test")


@row("F-04-name", "T-21")
def test_reload_with_other_hostname_of_an_upstream(env):
    """Neither its sessions nor its connections are used under another name."""
    a, b = env.pair()
    running = processes.start_workers(env, a, b, reload="signal")
    env.assert_ok(env.ask("before.test"))
    _reload(env, upstreams=[a.config(hostname="other.test"), b.config()])
    env.assert_ok(env.ask("after.test"))
    assert b.queries_for("after.test") and not a.queries_for("after.test")
    line = running.wait_line("upstream down", upstream="other.test")
    assert "certificate" in line["cause"]
    _reload(env, upstreams=[a.config(), b.config()])
    env.assert_ok(env.ask("again.test"))
    assert a.queries_for("again.test")


@row("F-04-ca")
def test_reload_with_other_trust_store(env):
    other = certs.Authority("another authority")
    server = env.upstream(identity=other.identity(dns=["dot.test"]))
    processes.start_workers(env, server, reload="signal")
    env.servfail(env.ask("before.test"))
    assert not server.queries
    _reload(env, tls={"ca_file": other.path})
    env.assert_ok(env.ask("after.test"))


@row("F-04-listen")
def test_reload_with_other_listen_addresses(env):
    """One is kept, one removed, one added."""
    server = env.upstream()
    running = processes.start_workers(env, server, reload="signal")
    stays = running.address
    first, second = (env.free_address(stays[0]) for _ in range(2))
    _reload(env, listen=[upstream.with_port(*stays), upstream.with_port(*first)])
    _assert_answered_at(env, first)
    waiting = env.client()
    asked, = waiting.send(Query("delay-300.in-flight.test"))
    wait_until(lambda: server.queries_for("delay-300.in-flight.test"))
    _reload(env, listen=[upstream.with_port(*second), upstream.with_port(*stays)])
    env.assert_ok(waiting.receive_until(asked))
    assert not _accepts(first)
    _assert_answered_at(env, second)
    env.assert_ok(env.ask("stays.test"))
    waiting.wait_closed()
    # An unused address can be bound by another program.
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(first)
    _reload(env, listen=upstream.with_port(*stays))
    assert not _accepts(second)
    descriptors = running.descriptors()
    _reload(env, listen=[upstream.with_port(*stays)])
    assert running.descriptors() == descriptors


def _assert_answered_at(env, address):
    running = env.proxies[-1]
    was, running.address = running.address, address
    env.assert_ok(env.ask(f"port-{address[1]}.test"))
    running.address = was


def _accepts(address):
    with socket.socket() as sock:
        return sock.connect_ex(address) == 0


@table("count", ("F-04-more-workers", 4), ("F-04-fewer-workers", 1))
def test_reload_with_other_number_of_workers(env, count):
    server = env.upstream()
    running = processes.start_workers(env, server, workers=2, reload="signal")
    old = running.workers()
    client = env.client()
    asked, = client.send(Query("delay-300.test"))
    wait_until(lambda: server.queries)
    _reload(env, workers=count)
    env.assert_ok(client.receive_until(asked))
    client.wait_closed()
    assert len(running.workers()) == count and not set(old) & set(running.workers())
    env.assert_ok(env.ask())
    assert running.lines(RELOADED)[-1]["workers"] == str(count)
    _reload(env, workers=2)


@row("F-04-timeouts")
def test_reload_with_other_timeouts_and_log_level(env):
    running = processes.start_workers(env, env.upstream(), reload="signal",
                                      timeouts={"client_idle": "20s"})
    _reload(env, timeouts={**env.config["timeouts"], "client_idle": "400ms"},
            log={"queries": True})
    client = env.client()
    env.within(0.6, client.opened, client.wait_closed())
    env.assert_ok(env.ask("logged.test"))
    assert running.wait_line("query", name="logged.test")


@row("P6")
def test_reload_loses_no_query_of_active_clients(env):
    """Half a query, a pipeline of slow queries, a pause between two: all clients continue."""
    server = env.upstream()
    running = processes.start_workers(env, server, reload="signal", timeouts={"client_read": "2s"})
    half, many, pausing = env.client(), env.client(), env.client()
    query = Query("half.test")
    exchange = half.expect(query)
    half.send_bytes(dnsmsg.framed(query.wire)[:10])
    half.wait_read()
    asked = many.send(*[Query(f"delay-{n}.n{n}.test") for n in range(0, 400, 10)])
    env.assert_ok(pausing.ask("one.test"))
    wait_until(lambda: len(server.queries) >= 20)
    old = running.workers()
    running.signal(signal.SIGHUP)
    running.wait_line(RELOADED)
    env.assert_ok(pausing.ask("two.test"))
    half.send_bytes(dnsmsg.framed(query.wire)[10:])
    exchange.at = now()
    env.assert_ok(half.receive_until(exchange))
    many.receive_all()
    assert all(e.answer.is_correct for e in asked)
    for client in (half, many, pausing):
        client.wait_closed()
        assert client.how == "eof"
    _wait_gone(running, old)


class Restless:
    """A client that sends a query every 20 ms, sometimes one of 2 s, and never pauses."""

    def __init__(self, env, number):
        self._env = env
        self._number = number
        self._due = now() + random.random() * 0.02
        self._client = env.client()
        self.asked = 0
        self.lost = 0

    @property
    def sock(self):
        return self._client.sock

    def proceed(self, readable, asking):
        if readable and self._client.receive() is None:
            self._reconnect()
        if asking and now() >= self._due:
            if self._client.closed_by_peer():
                self._reconnect()
            slow = random.random() < 1 / 75
            prefix = "delay-2000." if slow else ""
            self._client.send(Query(f"{prefix}n{self.asked}.of-{self._number}.test"))
            self.asked += 1
            self._due += 0.02

    def _reconnect(self):
        self.lost += len(self._client.unanswered)
        self._client.close()
        self._client = self._env.client()

    @property
    def is_done(self):
        return not self._client.unanswered


@row("C-33")
@pytest.mark.timeout(120)
def test_reload_loses_no_query_of_clients_that_never_pause(env):
    running = processes.start_workers(env, env.upstream(), reload="signal",
                         timeouts={"query": "5s", "answer": "4s", "client_idle": "20s"})
    clients = [Restless(env, n) for n in range(5)]
    old, begin, reloaded, gone = running.workers(), now(), False, None

    def proceed(asking):
        ready, _, _ = select.select([client.sock for client in clients], [], [], 0.005)
        for client in clients:
            client.proceed(client.sock in ready, asking)

    while gone is None or now() < gone + 1:
        proceed(True)
        if not reloaded and now() > begin + 1:
            running.process.send_signal(signal.SIGHUP)
            reloaded = True
        if gone is None and not set(old) & set(running.workers()):
            gone = now()
        assert now() < begin + 60, "the old workers stay"
    while not all(client.is_done for client in clients):
        proceed(False)
    asked, lost = sum(c.asked for c in clients), sum(c.lost for c in clients)
    assert lost == 0, f"{lost} of {asked} queries were lost"


@row("P6-sessions")
def test_sessions_outlive_a_reload_unless_the_trust_store_changes(env, tmp_path):
    """A session represents the certificates that the server was verified with."""
    running = env.proxy(env.upstream(), reload="signal", log={"level": "debug"})
    env.assert_ok(env.ask("full.test"))
    _reload(env)
    env.assert_ok(env.ask("resumed.test"))
    other = tmp_path / "other.pem"
    other.write_text(pathlib.Path(env.authority.path).read_text() * 2)
    _reload(env, tls={"ca_file": str(other)})
    env.assert_ok(env.ask("full-again.test"))
    assert [line["resumed"] for line in running.lines("upstream connected")] == ["no", "yes", "no"]


@asks_again
@row("P3")
def test_reload_keeps_the_upstream_state(env):
    """A reload does not cause a new attempt at an upstream that is down."""
    a, b = env.pair(faults.accept_and_silence)
    running = processes.start_workers(env, a, b, reload="signal")
    for _ in range(2):      # one failure is forgiven sooner
        env.assert_ok(env.ask("first.test"))
        went_down(running, a)
    tried, begin = len(a.connections), now()
    _reload(env)
    env.assert_ok(env.ask("second.test"), 0.3)
    if now() - begin < 0.7:
        assert len(a.connections) == tried
    assert len(running.lines("upstream down")) == 1
    a.do()
    wait_until(lambda: env.assert_ok(env.ask("again.test")) and a.queries, 8)


# Many at once.


@row("F-05")
def test_100_sighups_per_second(env):
    """The last configuration wins, and workers do not pile up."""
    a, b = env.pair()
    running = processes.start_workers(env, a, reload="signal")
    most, count, begin = 0, 0, now()
    client = env.client()
    while count < 100:
        _write(env, upstreams=[(a if count % 2 == 0 else b).config()])
        running.process.send_signal(signal.SIGHUP)
        count += 1
        most = max(most, len(running.workers()))
        env.assert_ok(env.ask(f"n{count}.test"))
        time.sleep(max(0.0, begin + count / 100 - now()))
    client.close()
    wait_until(lambda: env.assert_ok(env.ask("last.test")) and b.queries_for("last.test"), 5)
    env.within(3, begin)
    processes.wait_all_serving(running, 2)
    # The newest, and three that finish what they have.
    assert most <= 2 * 5, f"{most} workers"
    assert not running.lines("worker died") and not running.lines(REFUSED)


@row("F-05")
def test_retiring_workers_do_not_pile_up(env):
    """Old workers may stay for a while; nothing is lost, and the last reload wins."""
    server = env.upstream()
    running = processes.start_workers(env, server, reload="signal",
                                      timeouts={"query": "5s", "answer": "5s"})
    for n in range(6):
        client = env.client()
        client.send(Query(f"delay-1500.n{n}.test"))
        wait_until(lambda: len(server.queries) == n + 1)
        running.signal(signal.SIGHUP)
        wait_until(lambda: len(running.lines(RELOADED)) >= min(n + 1, 3), 3)
        assert len(running.workers()) <= 2 * 5
    for client in env.clients:
        client.receive_all()
        assert client.exchanges[0].answer.is_correct
        client.wait_closed()
    processes.wait_all_serving(running, 2)


# Changed files are reloaded without a signal.


class Opened:
    """Counts how often a file was read and closed, by inotify(7)."""

    IN_CLOSE_NOWRITE = 0x10

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._fd, path.encode(), self.IN_CLOSE_NOWRITE) >= 0
        self._times = 0

    @property
    def times(self):
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._fd, 65536)
            while data:
                *_, size = struct.unpack("=iIII", data[:16])
                data = data[16 + size:]
                self._times += 1
        return self._times

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._fd)


def _in_place(env):
    proxy.write_config(env.config_path, env.config)


def _by_rename(env):
    os.rename(proxy.write_config(f"{env.config_path}.new", env.config), env.config_path)


@table("write", ("reload-auto-in-place", _in_place), ("reload-auto-by-rename", _by_rename))
def test_changed_file_is_reloaded(env, write):
    a, b = env.pair()
    running = processes.start_workers(env, a)
    env.assert_ok(env.ask("before.test"))
    old = running.workers()
    env.config = {**env.config, "upstreams": [b.config()]}
    begin = now()
    write(env)
    running.wait_line(RELOADED)
    env.within(3, begin)
    _wait_gone(running, old)
    processes.wait_all_serving(running, 2)
    env.assert_ok(env.ask("after.test"))
    assert b.queries_for("after.test")


@row("reload-auto-symlink")
def test_kubernetes_config_map_is_reloaded(env):
    """The file is behind two symbolic links; one is swapped, then the old target is removed."""
    a, b = env.pair()
    volume = os.path.join(env.directory, "volume")
    os.mkdir(volume)

    def publish(version, server):
        directory = os.path.join(volume, version)
        os.mkdir(directory)
        env.config = {**env.config, "upstreams": [server.config()]}
        proxy.write_config(os.path.join(directory, "config.yml"), env.config)
        os.symlink(version, os.path.join(volume, "..data_tmp"))
        os.rename(os.path.join(volume, "..data_tmp"), os.path.join(volume, "..data"))

    env.proxy(a, workers=2, start=False).kill()
    env.proxies.clear()
    publish("..2026_01", a)
    path = os.path.join(volume, "config.yml")
    os.symlink("..data/config.yml", path)
    address = upstream_address(env)
    running = proxy.Proxy(path, address, env.loop)
    env.proxies.append(running)
    processes.wait_all_serving(running, 2)
    running.start()
    env.assert_ok(env.ask("before.test"))
    for version, server in (("..2026_02", b), ("..2026_03", a)):
        old, before = running.workers(), len(running.lines(RELOADED))
        publish(version, server)
        wait_until(lambda: len(running.lines(RELOADED)) > before, 4)
        _wait_gone(running, old)
        shutil.rmtree(os.path.join(volume, f"..2026_{int(version[-2:]) - 1:02}"))
        env.assert_ok(env.ask(f"{version[2:]}.test"))
        assert server.queries_for(f"{version[2:]}.test")
    processes.wait_all_serving(running, 2)


def upstream_address(env):
    host, _, port = env.config["listen"].rpartition(":")
    return host, int(port)


@row("reload-auto-touch")
def test_touched_file_is_not_reloaded(env):
    running = processes.start_workers(env, env.upstream())
    workers = running.workers()
    with Opened(env.config_path) as opened:
        os.utime(env.config_path)
        wait_until(lambda: opened.times >= 1, 4, "the file is looked at")
        # It is read once to be compared; a reload would read it again.
        running.signal(signal.SIGUSR1)
        running.wait_line("worker")
        assert opened.times == 1
    assert not running.lines(RELOADED) and running.workers() == workers


@row("reload-auto-bad")
def test_invalid_file_is_logged_once(env):
    """It is not read repeatedly, and the next valid file is loaded."""
    a, b = env.pair()
    running = processes.start_workers(env, a)
    with open(env.config_path, "w") as file:
        file.write("upstreams: [\n")
    running.wait_line(REFUSED)
    _wait_checks(running, 1)
    assert len(running.lines(REFUSED)) == 1
    env.assert_ok(env.ask("still.test"))
    old = running.workers()
    _write(env, upstreams=[b.config()])
    running.wait_line(RELOADED)
    _wait_gone(running, old)
    processes.wait_all_serving(running, 2)
    env.assert_ok(env.ask("after.test"))
    assert b.queries_for("after.test")


@row("reload-signal")
def test_changed_file_is_not_reloaded_if_disabled(env):
    a, b = env.pair()
    running = processes.start_workers(env, a, reload="signal")
    with Opened(env.config_path) as opened:
        env.config = {**env.config, "upstreams": [b.config()]}
        _in_place(env)
        _wait_checks(running, 2)
        assert opened.times == 0
    assert not running.lines(RELOADED)
    _reload(env)
    env.assert_ok(env.ask("after.test"))
    assert b.queries_for("after.test")


def _wait_checks(running, count):
    """Waits until the supervisor has looked at the file so often: at each fourth half second."""
    def switches():
        with open(f"/proc/{running.pid}/status") as file:
            return next(int(line.split()[1]) for line in file
                        if line.startswith("voluntary_ctxt_switches"))
    begin = switches()
    wait_until(lambda: switches() >= begin + 4 * count + 1, 10, "it checks the file")


@row("F-12")
def test_replaced_ca_file_is_read_at_the_next_reload(env):
    """As when a package is upgraded."""
    old, new = certs.Authority("old roots"), certs.Authority("new roots")
    path = os.path.join(env.directory, "roots.pem")
    shutil.copy(old.path, path)
    server = env.upstream(identity=old.identity(dns=["dot.test"]))
    running = processes.start_workers(env, server, tls={"ca_file": path})
    clients = processes.one_each(env)
    env.assert_ok(next(iter(clients.values())).ask("before.test"))
    shutil.copy(new.path, f"{path}.new")
    os.rename(f"{path}.new", path)
    # A worker that is born afterwards has the old roots, too.
    victim = running.workers()[0]
    os.kill(victim, signal.SIGKILL)
    for pid in processes.wait_all_serving(running, 2, [victim]):
        env.assert_ok(processes.client_of(env, pid).ask(f"still-{pid}.test"))
    server.forget_sessions()
    server.identity = new.identity(dns=["dot.test"])
    server.restart()
    env.servfail(env.ask("renewed.test"))
    _reload(env)
    env.assert_ok(env.ask("after.test"))
    for client in env.clients:
        client.close()
