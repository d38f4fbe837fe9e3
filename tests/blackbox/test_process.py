"""Group P for a single process: start, signals, descriptors, stop."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

import dnsmsg
import faults
import proxy
from clock import now, wait_until
from dnsmsg import Query
from rows import row, table


@table("number", ("P-19-SIGTERM", signal.SIGTERM), ("P-19-SIGINT", signal.SIGINT))
def test_stop_with_100_queries_in_flight(env, number):
    server = env.upstream()
    running = env.proxy(server)
    clients = [env.client() for _ in range(10)]
    for n, client in enumerate(clients):
        client.send(*[Query(f"delay-300.n{n}-{m}.test") for m in range(10)])
    wait_until(lambda: len(server.queries) == 100)
    running.signal(number)
    for client in clients:
        client.receive_all()
        assert client.receive(5) is None and client.how == "eof"
    begin = now()
    assert running.wait(5) == 0
    env.within(2, begin)
    running.check_reports()
    assert running.lines("stopped")
    assert all(e.answer.is_correct for client in clients for e in client.exchanges)
    wait_until(lambda: not server.open_connections)
    assert {connection.ended for connection in server.connections} == {"close_notify"}


@row("P-19")
def test_stop_lasts_at_most_one_query_timeout(env):
    running = env.proxy(env.upstream(faults.never_answer))
    client = env.client()
    asked, = client.send(Query())
    client.wait_read()
    running.signal(signal.SIGTERM)
    env.servfail(client.receive_until(asked), 2.2)
    assert running.wait(5) == 0


@row("P-19")
def test_second_sigterm_stops_at_once(env):
    server = env.upstream(faults.never_answer)
    running = env.proxy(server, timeouts={"query": "8s", "answer": "8s"})
    client = env.client()
    client.send(Query())
    wait_until(lambda: server.queries)
    running.signal(signal.SIGTERM)
    assert running.alive
    begin = now()
    running.signal(signal.SIGTERM)
    running.wait(5)
    env.within(0.5, begin)
    client.close()


@row("P-19")
def test_client_that_connects_during_stop_is_closed(env):
    """Refused, or closed at exit; never later than the query timeout."""
    server = env.upstream()
    running = env.proxy(server)
    client = env.client()
    asked, = client.send(Query("delay-300.test"))
    wait_until(lambda: server.queries)
    begin = now()
    running.signal(signal.SIGTERM)
    with contextlib.suppress(ConnectionRefusedError):
        late = env.client()
        late.send(Query("too-late.test"))
        late.settle(now() + 3)
    env.within(1, begin)
    env.assert_ok(client.receive_until(asked))
    assert running.wait() == 0


@row("P-19")
def test_idle_clients_do_not_delay_the_stop(env):
    running = env.proxy(env.upstream(), timeouts={"client_idle": "20s"})
    env.assert_ok(env.ask())
    silent, half = env.client(), env.client()
    half.send_bytes(b"\0\x50abc")
    half.wait_read()
    begin = now()
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    env.within(0.5, begin)
    silent.wait_closed()
    half.wait_closed()


@table("number", *((f"P-20-{name}", getattr(signal, name)) for name in
                   ("SIGPIPE", "SIGHUP", "SIGCONT", "SIGWINCH", "SIGCHLD", "SIGURG")))
def test_ignored_signals(env, number):
    running = env.proxy(env.upstream())
    client = env.client()
    for n in range(10):
        running.signal(number)
        env.assert_ok(client.ask(f"n{n}.test"), 0.5)
    assert running.alive


@row("P-04")
def test_storm_of_signals(env):
    running = env.proxy(env.upstream(), timeouts={"answer": "1s"})
    client = env.client()
    for n in range(20):
        asked, = client.send(Query(f"delay-20.n{n}.test"))
        for _ in range(20):
            running.signal(signal.SIGWINCH)
            running.signal(signal.SIGCHLD)
        env.assert_ok(client.receive_until(asked), 0.5)


@table("closed", ("P-18-stdin", "<&-"), ("P-18-stdout", ">&-"), ("P-18-stdin-stdout", "<&- >&-"),
       ("P-18-all", "<&- >&- 2>&-"))
def test_standard_descriptors_are_closed_at_start(env, closed):
    running = env.proxy(env.upstream(), popen_args={
        "prefix": ("sh", "-c", f'exec "$@" {closed}', "sh")})
    env.assert_ok(env.ask())
    for number in range(3):
        try:
            target = os.readlink(f"/proc/{running.pid}/fd/{number}")
        except FileNotFoundError:
            continue
        assert not target.startswith(("socket:", "anon_inode:")), f"{number} is {target}"


@row("P-17")
def test_full_log_pipe_does_not_block(env):
    """A full pipe loses log lines, not queries."""
    a, b = env.pair()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(4096))
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    running = env.proxy(a, b, popen_args={
        "prefix": ("sh", "-c", f'exec "$@" 2>/dev/fd/{writing}', "sh"), "pass_fds": [writing]},
        log={"level": "debug", "queries": True})
    os.close(writing)
    for n in range(20):
        env.assert_ok(env.ask(f"n{n}.test"), 0.5)
    assert running.alive
    os.close(reading)
    env.assert_ok(env.ask("reader-gone.test"), 0.5)


def _run(env, *prefix, address=None, seconds=5, run=subprocess.run):
    """Starts the program where it cannot serve; returns its exit status and its output."""
    settings = {"listen": address, "upstreams": [env.upstream().config()],
                "tls": {"ca_file": env.authority.path}}
    path = proxy.write_config(os.path.join(env.directory, "bad.yml"), settings)
    os.chmod(env.directory, 0o755)
    done = run([*prefix, proxy.BINARY, "-c", path], capture_output=True, text=True,
               timeout=seconds, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr


@row("P-21")
def test_port_is_in_use(env):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        status, said = _run(env, address=f"127.0.0.1:{port}")
    assert status == 1
    line, = said.splitlines()
    assert "level=error" in line and f"127.0.0.1:{port}" in line and "in use" in line


@row("P-21")
def test_port_is_in_use_by_the_stub_of_resolved(env, namespace):
    with namespace.call(socket.socket) as stub:
        stub.bind(("127.0.0.53", 53))
        stub.listen()
        status, said = _run(env, address="0.0.0.0:53",
                            run=functools.partial(namespace.call, subprocess.run))
    assert status == 1
    line, = said.splitlines()
    assert "0.0.0.0:53: Address already in use" in line and "DNSStubListener=no" in line


@row("P-26")
def test_second_instance(env):
    running = env.proxy(env.upstream())
    status, said = _run(env, address="{}:{}".format(*running.address))
    assert status == 1 and len(said.splitlines()) == 1
    env.assert_ok(env.ask())


@row("P-21")
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None,
                    reason="needs root and setpriv to become nobody")
def test_no_permission_for_port_53(env):
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        if int(file.read()) <= 53:
            pytest.skip("everybody may bind port 53 here")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        binary = shutil.copy(proxy.BINARY, directory)
        ca = shutil.copy(env.authority.path, directory)
        config = proxy.write_config(os.path.join(directory, "config.yml"), {
            "listen": "127.0.0.1:53", "upstreams": [env.upstream().config()],
            "tls": {"ca_file": ca}})
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
             "--bounding-set=-all", binary, "-c", config], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=5)
    assert done.returncode == 1, done.stderr
    line, = done.stderr.splitlines()
    assert "127.0.0.1:53" in line and "denied" in line.lower()
    assert "remedy=" in line


@row("P-21")
def test_address_is_not_local(env):
    status, said = _run(env, address="192.0.2.1:5353")
    assert status == 1
    line, = said.splitlines()
    assert "192.0.2.1:5353" in line


@row("P-22")
def test_restart_at_once(env):
    first = env.proxy(env.upstream())
    client = env.client()
    env.assert_ok(client.ask())
    begin = now()
    first.stop()
    client.wait_closed()
    again = proxy.Proxy(env.config_path, first.address, env.loop)
    env.proxies.append(again)
    again.start()
    env.within(0.5, begin, again.serves)
    env.assert_ok(env.ask("again.test"))


@row("P-02")
def test_descriptors_are_reserved_for_upstreams(env):
    """Clients cannot use the last descriptors; if they have, the proxy recovers."""
    env.proxy(env.upstream(), timeouts={"client_idle": "20s"},
                popen_args={"prefix": ("prlimit", "--nofile=32:32")})
    clients = [env.client() for _ in range(60)]
    exchange = clients[-1].ask("crowded.test")
    assert exchange.answer.is_correct or exchange.rcode == dnsmsg.SERVFAIL
    env.idle(0.3)
    for client in clients:
        client.close()
    env.assert_ok(env.ask("roomy.test"), 1)


@row("O-8")
def test_no_cpu_used_when_idle(env):
    """A warm upstream, one that is down, clients between two queries and in the middle of one."""
    a, b = env.pair(faults.refuse)
    env.proxy(a, b, timeouts={"client_idle": "10s", "client_read": "10s"})
    clients = [env.client() for _ in range(10)]
    for n, client in enumerate(clients):
        env.assert_ok(client.ask(f"n{n}.test"))
    for client in clients[:5]:
        client.send_bytes(b"\0")
        client.wait_read()
    env.idle(0.5)


@row("P-start")
def test_time_from_start_to_first_response(env):
    """Under 50 ms with a CA file of one certificate; the test allows a margin."""
    running = env.proxy(env.upstream())
    env.within(0.5, running.started, running.serves)
    env.assert_ok(env.ask(), 0.1)
    assert len(running.lines("listening", over="TCP")) == 1


def test_query_during_startup_waits(env, tmp_path):
    """A large CA file takes a second to load: queries during this time are not refused."""
    with open(env.authority.path) as file:
        (tmp_path / "ca.pem").write_text(file.read() * 2000)
    running = env.proxy(env.upstream(), tls={"ca_file": str(tmp_path / "ca.pem")},
                          timeouts={"query": "9s"}, start=False)
    client = wait_until(running.connect, 10, "it listens")
    env.clients.append(client)
    asked, = client.send(Query("early.test"))
    assert running.workers() == []
    env.assert_ok(client.receive_until(asked))
    client.close()
    running.start()
