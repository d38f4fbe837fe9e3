"""systemd, simulated by the tests: notifications, socket activation, units."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

import faults
import manager
import proxy
import processes
import units
import upstream
from clock import now, wait_until
from dnsmsg import Query, REFUSED
from upstream_state import wait_back, went_down
from rows import row, table
from upstream import own_address

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
RELOADED = "configuration reloaded"
NOT_TAKEN = "reload failed"


@pytest.fixture
def systemd(env, tmp_path):
    made = manager.Manager(str(tmp_path / "notify"))
    env.others.append(made)
    return made


def _serve(env, systemd, *upstreams, environment=None, **settings):
    settings = {"workers": 2, "reload": "signal", **settings}
    running = env.proxy(*upstreams, start=False, **settings,
                          popen_args={"env": systemd.environment(**(environment or {}))})
    systemd.wait("READY", "1")
    return running.start()


def _rewrite(env, **changes):
    env.config = {**env.config, **changes}
    proxy.write_config(env.config_path, env.config)


# ---- notifications ----


@table("kind", ("path", "path"), ("abstract", "abstract"))
def test_start_and_stop_are_notified(env, tmp_path, kind):
    name = str(tmp_path / "notify") if kind == "path" else f"@dot-proxy-test-{os.getpid()}"
    systemd = manager.Manager(name)
    env.others.append(systemd)
    server = env.upstream()
    running = env.proxy(server, start=False, workers=2,
                          popen_args={"env": systemd.environment()})
    ready = systemd.wait("READY", "1")
    assert running.lines("listening") and "workers, 1 upstream" in ready["STATUS"]
    running.start()
    systemd.wait_status("2 workers, 1 upstream")
    client = env.client()
    asked, = client.send(Query("delay-300.test"))
    wait_until(lambda: server.queries)
    before = now()
    running.signal(signal.SIGTERM)
    stopping = systemd.wait("STOPPING", "1")
    env.within(0.2, before, stopping.at)
    assert asked.answer is None
    env.assert_ok(client.receive_until(asked))
    assert running.wait() == 0
    assert systemd.messages[-1] is stopping
    assert [m.text for m in systemd.having("READY")] == [ready.text]


def test_reload_is_notified(env, systemd):
    running = _serve(env, systemd, env.upstream())
    moments = []
    for times in (1, 2, 3):
        before = time.monotonic_ns() // 1000
        running.signal(signal.SIGHUP)
        systemd.wait("READY", count=times + 1)
        told = systemd.having("RELOADING", "1")
        assert len(told) == times
        assert before <= int(told[-1]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        moments.append(int(told[-1]["MONOTONIC_USEC"]))
        assert len(running.lines(RELOADED)) == times
    assert sorted(set(moments)) == moments
    order = [key for m in systemd.messages for key in m if key in ("READY", "RELOADING")]
    assert order == ["READY"] + ["RELOADING", "READY"] * 3


def test_changed_file_is_notified_as_reload(env, systemd):
    running = _serve(env, systemd, env.upstream(), reload="auto")
    old = running.workers()
    _rewrite(env, inflight=500)
    systemd.wait("READY", count=2)
    assert len(systemd.having("RELOADING", "1")) == 1 and running.lines(RELOADED)
    systemd.wait_status("2 workers, 1 upstream")
    processes.wait_all_serving(running, 2, old)


BAD = {
    "unknown-key": ({"wrokers": 2}, "unknown key `wrokers'"),
    "no-ca-file": ({"tls": {"ca_file": "/nowhere/ca.pem"}}, "/nowhere/ca.pem"),
    "address-is-not-local": ({"listen": "192.0.2.1:5353"}, "192.0.2.1:5353"),
}


@table("changes, words", *((name, *rest) for name, rest in BAD.items()))
def test_refused_file_is_notified(env, systemd, changes, words):
    running = _serve(env, systemd, env.upstream())
    good = dict(env.config)
    systemd.wait_status("2 workers, 1 upstream")
    _rewrite(env, **changes)
    running.signal(signal.SIGHUP)
    told = systemd.wait("READY", count=2)
    assert told["STATUS"].startswith("reload failed: ")
    assert words in told["STATUS"] and told["STATUS"].endswith("; 2 workers, 1 upstream")
    assert set(told) == {"READY", "STATUS"} and told["READY"] == "1"
    assert running.wait_line(NOT_TAKEN)
    assert not systemd.having("STOPPING")
    env.assert_ok(env.ask("the-old-one.test"))
    env.config, old = good, running.workers()
    _rewrite(env, inflight=500)
    running.signal(signal.SIGHUP)
    systemd.wait("READY", count=3)
    systemd.wait_status("2 workers, 1 upstream")
    processes.wait_all_serving(running, 2, old)


def test_down_upstreams_are_notified(env, systemd):
    a, b, c = env.upstream(), env.upstream(), env.upstream()
    _serve(env, systemd, a, b, c, workers=1)
    systemd.wait_status("1 worker, 3 upstreams")
    a.do(faults.refuse)
    b.do(faults.refuse)
    env.assert_ok(env.ask("two-are-down.test"))
    systemd.wait_status(f"1 worker, 3 upstreams, 2 down: {a.name}, {b.name}")
    b.do()
    wait_back(env, b)
    systemd.wait_status(f"1 worker, 3 upstreams, 1 down: {a.name}")
    a.do()
    wait_back(env, a, 8)
    systemd.wait_status("1 worker, 3 upstreams")
    texts = [m["STATUS"] for m in systemd.having("STATUS")]
    assert all(x != y for x, y in zip(texts, texts[1:])), "only changes are notified"


def test_replaced_worker_is_notified(env, systemd):
    running = _serve(env, systemd, env.upstream())
    systemd.wait_status("2 workers, 1 upstream")
    before = len(systemd.messages)
    os.kill(running.workers()[0], signal.SIGKILL)
    systemd.wait("STATUS", "1 of 2 workers, 1 upstream")
    systemd.wait_status("2 workers, 1 upstream")
    assert not [m for m in systemd.messages[before:] if "READY" in m]


# ---- signs of life ----


def _gaps(systemd, begin=0.0):
    times = [m.at for m in systemd.having("WATCHDOG", "1") if m.at >= begin]
    return list(zip(times, times[1:]))


@table("usec", ("shorter-than-a-tick", 300_000), ("longer-than-a-tick", 1_800_000))
def test_watchdog_pings(env, systemd, usec):
    """At less than half of the interval, but not continuously, even if workers die."""
    running = _serve(env, systemd, env.upstream(), environment={"WATCHDOG_USEC": str(usec)})
    half, begin = usec / 2e6, now()
    systemd.wait("WATCHDOG", count=3, seconds=10)
    for worker in running.workers():
        os.kill(worker, signal.SIGKILL)
    processes.wait_all_serving(running, 2)
    running.signal(signal.SIGHUP)
    running.wait_line(RELOADED)
    done = len(systemd.having("WATCHDOG"))
    systemd.wait("WATCHDOG", count=done + 3, seconds=10)
    gaps = _gaps(systemd, begin)
    for before, after in gaps:
        env.within(half, before, after)
    assert sum(after - before > half / 2 for before, after in gaps) > len(gaps) / 2


def test_watchdog_pings_while_stopping(env, systemd):
    server = env.upstream()
    running = _serve(env, systemd, server, environment={"WATCHDOG_USEC": "150000"})
    client = env.client()
    asked, = client.send(Query("delay-600.test"))
    wait_until(lambda: server.queries)
    running.signal(signal.SIGTERM)
    stopping = systemd.wait("STOPPING")
    env.assert_ok(client.receive_until(asked))
    assert running.wait() == 0
    assert len(_gaps(systemd, stopping.at)) > 3


@table("variables", ("nobody-asks", {}), ("of-another-process",
                                          {"WATCHDOG_USEC": "90000", "WATCHDOG_PID": "1"}))
def test_no_watchdog_pings_unless_requested(env, systemd, variables):
    running = _serve(env, systemd, env.upstream(), environment=variables)
    running.signal(signal.SIGHUP)
    systemd.wait("READY", count=2)
    assert not systemd.having("WATCHDOG")


def test_no_watchdog_pings_without_a_worker(env, systemd):
    """If workers cannot start any more, systemd must restart the service."""
    running = _serve(env, systemd, env.upstream(), workers=1,
                     environment={"WATCHDOG_USEC": "300000"})
    systemd.wait("WATCHDOG")
    before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    begin = now()
    os.kill(running.workers()[0], signal.SIGKILL)
    running.wait_line("worker startup failed")
    wait_until(lambda: now() - systemd.having("WATCHDOG")[-1].at > 1, 12, "the last sign of life")
    last = systemd.having("WATCHDOG")[-1].at
    assert 4.5 < last - begin < 8 + env.loop.late(begin, last)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, before)
    systemd.wait("WATCHDOG", count=len(systemd.having("WATCHDOG")) + 2, seconds=15)
    env.assert_ok(env.ask("again.test"))


# ---- no service manager ----


@table("name", ("no-such-path", "/nowhere/notify"), ("no-such-name", "@no-such-name"),
       ("no-path", "notify"), ("another-kind", "vsock:2:1234"), ("too-long", "/" + "x" * 300))
def test_unusable_notify_socket(env, name):
    running = env.proxy(env.upstream(), log={"level": "debug"},
                          popen_args={"env": {**os.environ, "NOTIFY_SOCKET": name}})
    line = running.wait_line("sd_notify failed")
    assert line["level"] == "debug" and name[:50] in line["cause"]
    env.assert_ok(env.ask())


def test_notify_socket_gone(env, systemd):
    running = _serve(env, systemd, env.upstream(), environment={"WATCHDOG_USEC": "90000"},
                     log={"level": "debug"})
    systemd.close()
    assert running.wait_line("sd_notify failed")["level"] == "debug"
    running.signal(signal.SIGHUP)
    running.wait_line(RELOADED)
    processes.wait_all_serving(running, 2)
    env.assert_ok(env.ask())


def _unix_sockets(pid):
    with open("/proc/net/unix") as file:
        known = {line.split()[6] for line in file.readlines()[1:]}
    links = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    return [link for link in links if link[len("socket:["):-1] in known]


def test_workers_cannot_notify(env, systemd):
    running = _serve(env, systemd, env.upstream())
    running.signal(signal.SIGHUP)
    systemd.wait("READY", count=2)
    processes.wait_all_serving(running, 2)
    assert len(_unix_sockets(running.pid)) == 2, "that of systemd, and its own for `healthcheck'"
    assert not any(_unix_sockets(worker) for worker in running.workers())


# ---- sockets that are passed ----


def _passed(env, *sockets, start=True, variables=None, **settings):
    """The proxy with these sockets; its configuration names another address, which stays free."""
    popen_args = manager.passing(*sockets, **(variables or {}))
    running = env.proxy(*env.upstreams, start=False, popen_args=popen_args,
                          **{"reload": "signal", **settings})
    running.named = running.address
    running.address = sockets[0].getsockname()[:2]
    return running.start() if start else running


def _both(env, host=None, port=0, **args):
    tcp = manager.listen((host or own_address(), port), env._make_socket, **args)
    udp = manager.bind(tcp.getsockname()[:2], env._make_socket, **args)
    env.others += [tcp, udp]
    return tcp, udp


def _inodes(pid):
    return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


def _of(*sockets):
    return {f"socket:[{os.fstat(sock.fileno()).st_ino}]" for sock in sockets}


@table("host", ("IPv4", None), ("IPv6", "::1"))
def test_passed_sockets_replace_listen(env, host):
    env.upstream()
    running = _passed(env, *_both(env, host))
    env.assert_ok(env.ask("tcp.test"))
    env.assert_ok(env.datagrams().ask("udp.test"))
    said = {(line["address"], line["over"], line["passed"]) for line in running.lines("listening")}
    where = upstream.with_port(*running.address)
    assert said == {(where, "TCP", "yes"), (where, "UDP", "yes")}
    with pytest.raises(ConnectionRefusedError):
        env._make_socket(socket.AF_INET, socket.SOCK_STREAM).connect(running.named)


@table("transport", ("UDP", "udp"), ("TCP", "tcp"))
def test_passed_udp_or_tcp_socket_alone(env, transport):
    env.upstream()
    tcp, udp = _both(env)
    other = manager.listen((own_address(), 0))      # for the env's own checks
    env.others.append(other)
    _passed(env, other, tcp if transport == "tcp" else udp)
    where = tcp.getsockname()
    if transport == "udp":
        tcp.close()
        env.assert_ok(env.datagrams(where).ask("udp.test"))
        with pytest.raises(ConnectionRefusedError):
            env._make_socket(socket.AF_INET, socket.SOCK_STREAM).connect(where)
    else:
        udp.close()
        env.proxies[-1].address = where
        env.assert_ok(env.ask("tcp.test"))
        with env._make_socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(where)
            client.send(Query().wire)
            with pytest.raises(ConnectionRefusedError):
                client.recv(512)


def test_sixteen_addresses(env):
    env.upstream()
    pairs = [_both(env) for _ in range(16)]
    _passed(env, *[sock for pair in pairs for sock in pair])
    for tcp, _ in pairs:
        env.assert_ok(env.datagrams(tcp.getsockname()).ask("udp.test"))


def test_reload_keeps_passed_sockets(env):
    server = env.upstream()
    tcp, udp = _both(env)
    running = _passed(env, tcp, udp, workers=2)
    ours = _of(tcp, udp)
    client = env.client()
    env.assert_ok(client.ask("before.test"))
    before = [client.send(Query(f"delay-300.n{n}.test"))[0] for n in range(5)]
    wait_until(lambda: len(server.queries) == 6)
    for times, listen in enumerate(("127.0.0.1:5", [f"{own_address()}:5300", "0.0.0.0:5301"],
                                    {"address": "127.0.0.1:6", "tcp": False}), 1):
        old = running.workers()
        _rewrite(env, listen=[listen] if isinstance(listen, dict) else listen)
        running.signal(signal.SIGHUP)
        wait_until(lambda: len(running.lines(RELOADED)) == times, 5)
        env.assert_ok(env.ask(f"tcp-{times}.test"))
        env.assert_ok(env.datagrams().ask(f"udp-{times}.test"))
        if times == 1:
            for exchange in before:
                env.assert_ok(client.receive_until(exchange))
            client.finish()
        wait_until(lambda: not set(old) & set(running.workers()), 5)
        processes.wait_all_serving(running, 2)
        for pid in (running.pid, *running.workers()):
            assert ours <= _inodes(pid)
    assert len(running.lines("listening")) == 2


def test_refused_reload_keeps_passed_sockets(env):
    env.upstream()
    running = _passed(env, *_both(env))
    entry = {"address": upstream.with_port(*running.address), "hostname": "dot.test"}
    _rewrite(env, upstreams=[entry])
    running.signal(signal.SIGHUP)
    assert "an upstream has the address" in running.wait_line(NOT_TAKEN)["cause"]
    env.assert_ok(env.ask("tcp.test"))
    env.assert_ok(env.datagrams().ask("udp.test"))


def test_restart_loses_no_query(env):
    """Queries wait in the sockets while no process runs."""
    env.upstream()
    tcp, udp = _both(env)
    running = _passed(env, tcp, udp)
    env.assert_ok(env.ask("before.test"))
    running.stop()
    datagrams, clients = env.datagrams(), [env.client() for _ in range(5)]
    waiting = [(datagrams, exchange) for exchange in
               datagrams.send(*[Query(f"udp-{n}.test") for n in range(20)])]
    waiting += [(client, client.send(Query(f"tcp-{n}.test"))[0])
                for n, client in enumerate(clients)]
    time.sleep(0.3)
    assert not any(exchange.answer for _, exchange in waiting)
    begin = now()
    again = proxy.Proxy(env.config_path, running.address, env.loop, **manager.passing(tcp, udp))
    env.proxies.append(again)
    for client, exchange in waiting:
        exchange.at = begin
        env.assert_ok(client.receive_until(exchange, 5))
    for client in clients:
        client.finish()
    again.start()


def test_sockets_for_another_pid_are_ignored(env):
    """LISTEN_PID names another process, so the descriptors are ignored."""
    env.upstream()
    tcp, udp = _both(env)
    running = env.proxy(*env.upstreams,
                          popen_args=manager.passing(tcp, udp, LISTEN_PID=1))
    env.assert_ok(env.ask())
    assert not any("passed" in line for line in running.lines("listening"))


def test_passed_sockets_behave_like_own_sockets(env):
    env.upstream()
    tcp, udp = _both(env, "0.0.0.0")
    for sock in (tcp, udp):
        sock.setblocking(True)
    running = _passed(env, tcp, udp, start=False)
    running.address = ("127.0.0.1", udp.getsockname()[1])
    running.start()
    assert udp.getsockopt(socket.IPPROTO_IP, 8)                     # IP_PKTINFO
    assert udp.getsockopt(socket.IPPROTO_IP, 10) == 2           # IP_MTU_DISCOVER: IP_PMTUDISC_DO
    assert udp.getsockopt(socket.SOL_SOCKET, 40)                    # SO_RXQ_OVFL
    for sock in (tcp, udp):
        assert not os.get_blocking(sock.fileno())
        for pid in (running.pid, *running.workers()):
            number, = (fd for fd in os.listdir(f"/proc/{pid}/fd")
                       if os.readlink(f"/proc/{pid}/fd/{fd}") in _of(sock))
            with open(f"/proc/{pid}/fdinfo/{number}") as file:
                flags = int(re.search(r"flags:\s*(\d+)", file.read())[1], 8)
            assert flags & os.O_CLOEXEC


@table("hosts", ("IPv4", ["127.0.0.1", "127.9.8.7", "10.88.0.1", "10.88.1.1"]),
       ("IPv6", ["::1", "fd88::1", "fd88::2"]))
def test_responses_of_a_dual_stack_socket(env, namespace, hosts):
    """The client checks that they come from the address of the query."""
    for host in hosts:
        if not host.startswith(("127.", "::1")):
            namespace.run("ip", "addr", "add", f"{host}/{128 if ':' in host else 32}", "dev", "lo")
    env.upstream()
    running = _passed(env, *_both(env, "::", dual=True))
    port = running.address[1]
    for n, host in enumerate(hosts):
        client = env.datagrams((host, port))
        env.assert_ok(client.ask(f"udp-{n}.test"))
        env.assert_ok(client.ask(f"udp-{n}.again.test"))
        running.address = (host, port)
        env.assert_ok(env.ask(f"tcp-{n}.test"))


def test_allow_list_of_a_dual_stack_socket(env, namespace):
    """An IPv4 address matches IPv4 networks, even if the socket reports it as IPv6."""
    server = env.upstream()
    running = _passed(env, *_both(env, "::", dual=True),
                      allow=["127.0.0.1", "127.0.0.8/30", "::1"],
                      clients={"max": 100, "per_address": 3})
    port = running.address[1]
    for source, host in (("127.0.0.9", "127.0.0.1"), ("::1", "::1")):
        env.assert_ok(env.datagrams((host, port), source=source).ask("may-ask.test"))
    stranger = env.datagrams(("127.0.0.1", port), source="127.0.0.12")
    stranger.send(Query("stranger.test"))
    stranger.assert_silent()
    stranger.abandoned = True
    running.address = ("127.0.0.1", port)
    client = env.client(source="127.0.0.12")
    assert client.ask("stranger.test").rcode == REFUSED
    client.finish()
    assert not server.queries_for("stranger.test")
    many = []
    for n in range(4):
        many.append(env.client(source="127.0.0.8"))
        env.assert_ok(many[n].ask(f"one-after-the-other-{n}.test"))
    many[0].wait_closed()
    assert "127.0.0.8" in running.wait_line("too many clients of one address")["cause"]
    env.assert_ok(env.client(source="127.0.0.9").ask("another-address.test"))
    for client in many[1:]:
        env.assert_ok(client.ask("stays.test"))


def test_broadcast_to_a_dual_stack_socket(env, namespace):
    namespace.run("ip", "route", "add", "224.0.0.0/4", "dev", "lo")
    server = env.upstream()
    running = _passed(env, *_both(env, "::", dual=True), log={"level": "debug"})
    with env._make_socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.sendto(Query("broadcast.test").wire, ("127.255.255.255", running.address[1]))
        client.sendto(Query("all-hosts.test").wire, ("224.0.0.1", running.address[1]))
    env.assert_ok(env.datagrams(("127.0.0.1", running.address[1])).ask("canary.test"))
    assert [query.name for query in server.queries] == ["canary.test"]
    assert running.wait_line("datagrams dropped")["invalid_source"]


# ---- sockets that cannot be used ----


def _connected(env):
    listener = manager.listen((own_address(), 0))
    client = socket.create_connection(listener.getsockname())
    env.others += [listener, client]
    return [listener.accept()[0]]


def _unix(env):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(os.path.join(env.directory, "unix"))
    sock.listen()
    return [sock]


def _silent_tcp(env):
    sock = socket.socket()
    sock.bind((own_address(), 0))
    return [sock]


def _connected_udp(env):
    sock = manager.bind(("127.0.0.1", 0))
    sock.connect(("127.0.0.1", 53))
    return [sock]


def _twins(env):
    made = []
    for _ in range(2):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(made[0].getsockname() if made else (own_address(), 0))
        made.append(sock)
    return made


UNFIT = {
    "Accept=yes": (_connected, "descriptor 3", "is not listening", "Accept=no"),
    "Unix": (_unix, "descriptor 3", "not an IPv4 or IPv6 socket"),
    "does-not-listen": (_silent_tcp, "descriptor 3", "is not listening"),
    "netlink": (lambda env: [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)],
                "not an IPv4 or IPv6 socket"),
    "UDP-Lite": (lambda env: [socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)],
                 "not a UDP or TCP socket"),
    "UDP-without-a-port": (lambda env: [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)],
                           "without a port"),
    "UDP-of-one-client": (_connected_udp, "connected UDP socket"),
    "a-file": (lambda env: [open("/dev/null")], "descriptor 3", "not a socket"),
    "the-second-one": (_twins, "descriptor 4", "duplicate socket for"),
    "seventeen": (lambda env: [manager.bind((own_address(), 0)) for _ in range(17)],
                  "descriptor 19", "more than 16 addresses"),
    "good-and-bad": (lambda env: [manager.bind((own_address(), 0)), *_unix(env)],
                     "descriptor 4", "not an IPv4 or IPv6 socket"),
}


def _start(env, sockets, *args, upstreams=None, **variables):
    """A start that must fail; returns the exit status and the output."""
    config = proxy.write_config(os.path.join(env.directory, "unfit.yml"), {
        "listen": "127.0.0.1:5", "tls": {"ca_file": env.authority.path},
        "upstreams": upstreams or [env.upstream().config()]})
    passing = manager.passing(*sockets, **variables)
    done = subprocess.run([*passing["prefix"], proxy.BINARY, "-c", config, *args], text=True,
                          pass_fds=passing["pass_fds"], capture_output=True, timeout=10)
    return done.returncode, done.stderr


def _refused(status, said, *words):
    assert status == 2, said
    line, = [line for line in said.splitlines() if "level=info" not in line]
    assert line.startswith('level=error event="cannot start" cause='), line
    for word in words:
        assert word in line, line


@table("make, words", *((name, make, words) for name, (make, *words) in UNFIT.items()))
def test_unusable_sockets_are_refused(env, make, words):
    sockets = make(env)
    env.others += sockets
    _refused(*_start(env, sockets), *words)


@table("count, word", ("no-number", "two", "not a number"), ("negative", "-1", "not a number"),
       ("too-large", "99999999999999999999", "not a number"),
       ("one-too-many", "3", "descriptor 5: not a socket: Bad file descriptor"))
def test_wrong_number_of_sockets_is_refused(env, count, word):
    sockets = _both(env)
    _refused(*_start(env, sockets, LISTEN_FDS=count), word)


def test_passed_sockets_and_option_l_are_refused(env):
    _refused(*_start(env, _both(env), "-l", "127.0.0.1:5"), "-l", "socket unit")


def test_upstream_equal_to_a_passed_socket_is_refused(env):
    sockets = _both(env)
    where = upstream.with_port(*sockets[0].getsockname())
    entries = [{"address": where, "hostname": "dot.test"}]
    _refused(*_start(env, sockets, upstreams=entries), "an upstream has the address")


# ---- systemd's own programs, and the units ----


def _activate(env, *options):
    """As systemd starts a service once there is something to be answered."""
    kept = [f"-E{name}" for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ]
    address = env.free_address(own_address())
    running = env.proxy(*env.upstreams, start=False, popen_args={
        "prefix": ("systemd-socket-activate", *options, *kept, "-l", upstream.with_port(*address))})
    running.address = address
    return running


def test_activation_by_a_connection(env):
    env.upstream()
    running = _activate(env)
    running.start()
    env.assert_ok(env.ask())
    line, = running.lines("listening")
    assert (line["over"], line["passed"]) == ("TCP", "yes")


def test_activation_by_a_datagram(env):
    env.upstream()
    running = _activate(env, "--datagram")
    where = running.address
    wait_until(lambda: any("Listening on" in line.text for line in running.log), 5, "it listens")
    env.assert_ok(env.datagrams(where).ask("activates.test", 5))
    line, = running.lines("listening")
    assert (line["over"], line["passed"]) == ("UDP", "yes")
    running.stop()


@pytest.fixture(scope="module")
def installed():
    """The program, and the units as `make install' leaves them, readable by all users."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    with tempfile.TemporaryDirectory() as prefix:
        os.chmod(prefix, 0o755)
        subprocess.run(["make", "-s", "-C", ROOT, "install-units", f"PREFIX={prefix}", "DESTDIR="],
                       check=True, env=environment)
        os.mkdir(f"{prefix}/bin")
        shutil.copy(proxy.BINARY, f"{prefix}/bin/dot-proxy")
        yield prefix


def _unit(installed, name="dot-proxy.service"):
    return f"{installed}/lib/systemd/system/{name}"


def _analyze(*args):
    return subprocess.run(["systemd-analyze", "--no-pager", *args], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_units_are_valid(installed):
    said = _analyze("verify", "--man=no", _unit(installed), _unit(installed, "dot-proxy.socket"))
    assert (said.returncode, said.stdout) == (0, "")
    unit = units.Unit(_unit(installed))
    program = f"{installed}/bin/dot-proxy -c /etc/dot-proxy/config.yml"
    assert (unit["ExecStart"], unit["StandardError"]) == (program, "journal")


@row("F-20")
def test_service_restarts_unless_the_configuration_is_wrong(installed):
    """
    It exits with 1 while no address of `listen' exists, and with 2 for a mistake. systemd
    prevents a restart by the status of the main process only, not of an ExecStartPre.
    """
    unit = units.Unit(_unit(installed))
    assert unit["StartLimitIntervalSec"] == "0"
    assert (unit["Restart"], unit["RestartSec"]) == ("on-failure", "1s")
    assert unit["RestartPreventExitStatus"] == "2"
    assert unit.all("ExecStartPre") == []


def test_units_name_their_manual():
    pages = {f"man:{name}({section})" for name, _, section in
             (page.rpartition(".") for page in os.listdir(f"{ROOT}/deploy/man"))}
    service, socket = (units.Unit(f"{ROOT}/deploy/systemd/dot-proxy.{kind}")["Documentation"]
                       for kind in ("service", "socket"))
    assert set(service.split()) == pages and set(socket.split()) < pages


def test_unit_is_not_exposed(installed):
    said = _analyze("security", "--offline=true", "--threshold=20", _unit(installed))
    assert said.returncode == 0, said.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.skipif(proxy.sanitized(), reason="sanitizers need more system calls")
def test_program_works_with_the_restrictions_of_its_unit(env, namespace, installed,
                                                          monkeypatch):
    """Port 53, a reload, a dead worker, and sandboxed workers."""
    unit = units.Unit(_unit(installed))
    ca = shutil.copy(env.authority.path, installed)
    os.chmod(ca, 0o644)
    env.directory = installed
    systemd = manager.Manager(f"{installed}/notify")
    os.chmod(systemd.name, 0o666)
    env.others.append(systemd)
    monkeypatch.setattr(proxy, "BINARY", f"{installed}/bin/dot-proxy")
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        assert int(file.read()) > 53
    running = env.proxy(env.upstream(), port=53, workers=2, start=False, reload="signal",
                          tls={"ca_file": ca}, log={"level": "debug"}, popen_args={
                              "prefix": units.sandbox_prefix(unit),
                              "env": systemd.environment(WATCHDOG_USEC="300000")})
    running.start()
    env.assert_ok(env.ask("tcp.test"))
    env.assert_ok(env.datagrams().ask("udp.test"))
    systemd.wait("WATCHDOG")
    old = running.workers()
    running.signal(signal.SIGHUP)
    systemd.wait("READY", count=2)
    processes.wait_all_serving(running, 2, old)
    old = running.workers()
    os.kill(old[0], signal.SIGKILL)
    processes.wait_all_serving(running, 2, old[:1])
    _rewrite(env, wrokers=2)
    running.signal(signal.SIGHUP)
    systemd.wait("STATUS", "wrokers")
    env.assert_ok(env.ask("after-all.test"))
    running.signal(signal.SIGUSR1)
    running.wait_line("upstream")
    assert len(running.lines("worker died")) == 1
    missing = [line.get("missing", "") for line in running.lines("sandbox")]
    assert not any("seccomp" in what or what == "Landlock" for what in missing), missing
    for worker in running.workers():
        mine, its = _filters(running.pid), _filters(worker)
        assert mine >= 1 and its > mine, "its own filter comes on top"


def _filters(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"^Seccomp_filters:\s*(\d+)", file.read(), re.M)[1])
