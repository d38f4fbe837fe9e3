"""Group U: upstreams that are unreachable or unreliable."""

import contextlib
import random
import socket
import time

import pytest

import dnsmsg
import faults
import netns
import upstream
from clock import now, wait_until
from dnsmsg import Query
from env import CONNECT, EDNS, HANDSHAKE, QUERY
from upstream_state import ask_until, wait_back, times_down, went_down
from rows import row, table

def _second_query_is_fast(env, b):
    """A is marked down, so that it costs nothing now."""
    env.assert_ok(env.ask("second.test"), 0.1)
    assert b.queries_for("second.test")


@table("script, step, word, limit",
       ("U-01-refused", faults.refuse, "connect", "refused", 0.1),
       ("U-04-silent", faults.accept_and_silence, "handshake", "timed out", HANDSHAKE + 0.2),
       ("U-05-closed", faults.accept_and_close, "handshake", "", 0.1),
       ("U-05-reset", faults.accept_and_reset, "", "", 0.1),
       ("U-06-http", faults.http, "handshake", "wrong version number", 0.1),
       ("U-06-cleartext-dns", faults.cleartext, "handshake", "", 0.1),
       ("U-09-drip", faults.drip(0.1), "handshake", "timed out", HANDSHAKE + 0.2))
def test_first_upstream_fails(env, script, step, word, limit):
    a, b = env.pair(script)
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), limit)
    assert not a.queries and b.queries_for("first.test")
    went_down(running, a, step, word)
    _second_query_is_fast(env, b)
    assert times_down(running, a) == 1


@contextlib.contextmanager
def _full_accept_queue(env):
    """An upstream whose accept queue is full: Linux then drops every SYN."""
    server = env.upstream(faults.refuse)
    listener = server._listener
    listener.listen(0)
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect((server.address, server.port))
        fillers.append(filler)
    yield server
    for filler in fillers:
        filler.close()


@row("U-02")
def test_first_upstream_drops_syn(env):
    with _full_accept_queue(env) as a:
        b = env.upstream()
        running = env.proxy(a, b)
        env.assert_ok(env.ask("first.test"), CONNECT + 0.2)
        went_down(running, a, "connect", "timed out")
        _second_query_is_fast(env, b)


@row("U-02")
def test_first_upstream_drops_packets(env, namespace):
    a, b = env.pair()
    namespace.drop("ip", "daddr", a.address)
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), CONNECT + 0.2)
    went_down(running, a, "connect", "timed out")
    _second_query_is_fast(env, b)
    namespace.stop_dropping()


@table("address", ("U-03-no-route-IPv4", "192.0.2.1"), ("U-03-no-route-IPv6", "2001:db8::1"))
def test_first_upstream_is_unreachable(env, namespace, address):
    b = env.upstream()
    running = env.proxy({"address": address, "hostname": "dot.test"}, b)
    env.assert_ok(env.ask(), 0.1)
    line = running.wait_line("upstream down", upstream=address)
    assert "connect" in line["cause"] and "unreachable" in line["cause"].lower(), line.text


@row("U-07")
def test_full_accept_queue_recovers(env):
    with _full_accept_queue(env) as a:
        b = env.upstream()
        running = env.proxy(a, b)
        env.assert_ok(env.ask("first.test"), CONNECT + 0.2)
        went_down(running, a, "connect")
    a.restart(faults.refuse)
    a.restart()
    wait_back(env, a, 5)


@row("U-08")
@pytest.mark.timeout(90)
def test_long_delay_and_packet_loss(env, namespace):
    """A round trip of 300 ms and 5% packet loss."""
    far = netns.Namespace()
    link = netns.Link(namespace.tun("near", "192.0.2.1", "192.0.2.2"),
                      far.tun("far", "192.0.2.2", "192.0.2.1"), delay=0.15, loss=0.05, seed=8)
    try:
        server = upstream.Upstream(env.loop, env.authority, address="192.0.2.2",
                                   make_socket=lambda *args: far.call(socket.socket, *args))
        env.upstreams.append(server)
        env.proxy(server, timeouts={"query": "4500ms", "connect": "1s", "handshake": "1500ms",
                                      "answer": "2s", "client_idle": "10s"})
        env.assert_ok(env.ask("first.test"))
        client = env.client()
        for n in range(60):
            client.send(Query(f"n{n}.test"))
            time.sleep(0.03)        # the pace of the questions
        client.receive_all()
        took = sorted(exchange.took for exchange in client.exchanges)
        assert all(exchange.answer.is_correct for exchange in client.exchanges)
        assert took[-1] < 4.5
        assert link.lost > 0
        env.proxies[-1].stop()
    finally:
        link.close()
        far.close()


@row("U-10")
def test_persistent_connection_becomes_half_open(env, namespace):
    a, b = env.pair()
    env.proxy(a, b)
    env.assert_ok(env.ask("warm.test"))
    warm = a.connections[0]
    namespace.drop("tcp", "sport", str(warm.peer_port), "ip", "daddr", a.address)
    namespace.drop("tcp", "dport", str(warm.peer_port), "ip", "saddr", a.address)
    env.assert_ok(env.ask("first.test"), QUERY)
    # Queries of the dead connection are not resent on it.
    env.assert_ok(env.ask("second.test"), 0.2)
    assert [query.name for query in warm.queries] == ["warm.test"]
    namespace.stop_dropping()


@row("U-10")
def test_stalled_connection_to_the_only_upstream(env):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask("warm.test"))
    server.do(faults.from_connection(1, otherwise=faults.never_answer))
    env.assert_ok(env.ask("first.test"), QUERY)
    env.assert_ok(env.ask("second.test"), 0.2)


@row("U-11", "U-12")
def test_all_upstreams_are_down_and_one_comes_back(env, row):
    a, b = env.upstream(faults.refuse), env.upstream(faults.accept_and_silence)
    running = env.proxy(a, b)
    first = env.servfail(env.ask(Query("first.test", edns=EDNS)), QUERY)
    assert first.answer.ede[0][0] in (22, 23)
    attempts = len(b.connections)
    second = env.ask(Query("second.test", edns=EDNS))
    env.servfail(second)
    if second.took >= 0.05:
        assert len(b.connections) - attempts <= 1
    assert running.alive
    env.idle()
    if row == "U-12":
        a.restart()
        env.assert_ok(env.ask("third.test"), 1)
        wait_back(env, a)


@table("script", ("U-13-close", faults.close_after_query), ("U-13-reset", faults.reset_after_query),
       ("U-13-close-after-handshake", faults.close_after_handshake),
       ("U-13-wrong-id", faults.wrong_id), ("U-13-servfail", faults.rcode(dnsmsg.SERVFAIL)))
def test_attempts_are_bounded_when_all_fail_after_tls(env, script):
    servers = [env.upstream(script) for _ in range(3)]
    env.proxy(*servers)
    env.servfail(env.ask("bounded.test"), QUERY)
    sent = [len(server.queries_for("bounded.test")) for server in servers]
    assert max(sent) <= 3 and sum(sent) <= 2 + len(servers), sent
    opened = [len(server.connections) for server in servers]
    assert max(opened) <= 3 and sum(opened) <= 2 + len(servers), opened


@row("U-14")
def test_flapping_upstream(env):
    a, b = env.pair()
    env.proxy(a, b)
    begin, rounds = now(), 0
    while now() < begin + 4:
        a.restart(*([faults.accept_and_reset] if rounds % 2 else []))
        rounds += 1
        until = begin + 0.25 * rounds
        ask_until(env, lambda: now() > until)
    # 30 a minute, and what may come at once at the beginning.
    assert len(a.connections) <= 8, len(a.connections)


@row("U-15")
def test_local_port_exhaustion(env, namespace):
    """All ports towards A are in use; towards B they can be reused."""
    a, b = env.pair()
    running = env.proxy(a, b)
    client = env.client()
    namespace.call(_write, "/proc/sys/net/ipv4/ip_local_port_range", "20000 20003")
    holders = [namespace.call(socket.socket) for _ in range(4)]
    for holder in holders:
        holder.connect((a.address, a.port))
    wait_until(lambda: len(a.connections) == 4)
    env.assert_ok(client.ask(), 0.3)
    went_down(running, a, "connect")
    for holder in holders:
        holder.close()
    namespace.call(_write, "/proc/sys/net/ipv4/ip_local_port_range", "32768 60999")


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


@row("U-16")
def test_large_packets_are_dropped(env, namespace):
    a, b = env.pair()
    namespace.drop("tcp", "sport", str(a.port), "meta", "length", "gt", "500")
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), HANDSHAKE + 0.2)
    went_down(running, a, "handshake", "timed out")
    _second_query_is_fast(env, b)
    namespace.stop_dropping()


@table("script", ("U-17-as-fast", upstream.HEALTHY), ("U-17-slower", faults.slow(0.05)))
def test_first_upstream_is_preferred_again_when_it_is_healthy(env, script):
    """Also when it is slower than the second: the order is the operator's."""
    a, b = env.pair(faults.refuse)
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"))
    went_down(running, a)
    a.restart(script)
    wait_back(env, a)
    for n in range(5):
        env.assert_ok(env.ask(f"then-{n}.test"))
        assert a.queries_for(f"then-{n}.test") and not b.queries_for(f"then-{n}.test")
    assert times_down(running, a) == 1


@row("U-IPv6")
def test_ipv6_on_both_sides(env):
    server = env.upstream(address="::1")
    env.proxy(server, host="::1")
    env.assert_ok(env.ask())
    assert server.queries


@table("listening", ("U-18-refused", False), ("U-18-silent", True))
def test_199_dead_upstreams(env, listening):
    """All attempts share one deadline: 199 step timeouts would take minutes."""
    dead = []
    for _ in range(199):
        sock = socket.socket()
        sock.bind((upstream.own_address(), 0))
        if listening:
            sock.listen()
        dead.append(sock)
    try:
        entries = [{"address": sock.getsockname()[0], "port": sock.getsockname()[1],
                    "hostname": "dot.test"} for sock in dead]
        good = env.upstream()
        env.proxy(*entries, good)
        exchange = env.ask()
        env.answered_within(QUERY + 0.2, exchange)
        assert exchange.answer.is_correct or exchange.rcode == dnsmsg.SERVFAIL
        if not listening:
            env.assert_ok(exchange)
    finally:
        for sock in dead:
            sock.close()


@row("U-10")
def test_idle_connection_is_closed_with_close_notify(env):
    """RFC 7766 6.2.3: the proxy closes idle connections, with close_notify."""
    server = env.upstream()
    running = env.proxy(server, timeouts={"upstream_idle": "300ms"})
    exchange = env.assert_ok(env.ask())
    wait_until(lambda: not server.open_connections, 2)
    env.within(0.5, exchange.answered, server.connections[0].closed)
    assert server.connections[0].ended == "close_notify"
    wait_until(lambda: running.descriptors() <= running.descriptors_at_start, 2)


@row("U-random")
def test_upstreams_failing_at_random(env):
    """Two upstreams, one of which always works: no response is lost or wrong."""
    chance = random.Random(17)
    scripts = [faults.refuse, faults.accept_and_close, faults.accept_and_reset, faults.http,
               faults.close_after_query, faults.reset_after_query, faults.half_a_message_and_close,
               faults.wrong_id, faults.close_after_answer, faults.fin_without_close_notify]
    a, b = env.pair()
    env.proxy(a, b)
    client = env.client()
    for _ in range(30):
        bad, good = (a, b) if chance.random() < 0.5 else (b, a)
        good.do()
        bad.restart(chance.choice(scripts))
        asked = client.send(*[Query(f"n{chance.randrange(1 << 30)}.test") for _ in range(10)])
        client.receive_all()
        for exchange in asked:
            env.assert_ok(exchange)
