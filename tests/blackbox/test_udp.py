"""Group X, UDP: sizes, addresses, drops, and queries in flight."""

import contextlib
import itertools
import os
import select
import signal
import socket
import threading

import pytest

import datagram
import dnsmsg
import faults
import proxy
import processes
from clock import now, wait_until
from dnsmsg import AAAA, FORMERR, NOTIMP, QR, RD, REFUSED, SERVFAIL, TC, A, Query
from env import EDNS, MIB
from rows import asks_again, row, table
from upstream import Script, answer, own_address


def edns(size):
    """The OPT record of a client with this UDP size; None: no OPT."""
    return None if size is None else dnsmsg.opt(size=size)


def sized(size, opt):
    """A query whose response has that size; without OPT the upstream's OPT is removed."""
    return Query(f"size-{size if opt else size + len(EDNS)}.test", edns=opt)


def test_udp_query(env):
    server = env.upstream()
    env.proxy(server)
    client = env.datagrams()
    for n in range(20):
        env.assert_ok(client.ask(f"n{n}.test"), 0.5)
    assert len(server.queries) == 20
    assert len(server.handshakes) == 1


def test_udp_and_tcp_at_the_same_time(env):
    env.proxy(env.upstream())
    clients = [env.datagrams() if n % 2 else env.client() for n in range(20)]
    for n, client in enumerate(clients):
        client.send(*[Query(f"delay-{20 * m}.n{n}-{m}.test") for m in range(5)])
    for client in clients:
        client.receive_all(5)
        for exchange in client.exchanges:
            env.assert_ok(exchange)


def test_local_responses_over_udp(env):
    """An unsupported opcode, a malformed message, an upstream that is down."""
    env.proxy(env.upstream(faults.refuse))
    client = env.datagrams()
    opcode = client.expect(dnsmsg.header(1, 2 << 11, 0, 0, 0, 0))
    broken = client.expect(dnsmsg.header(2, RD, 1, 0, 0, 0) + b"\3abc")
    for exchange, rcode in ((opcode, NOTIMP), (broken, FORMERR)):
        client.repeat(exchange)
        assert client.receive_until(exchange).rcode == rcode
    env.servfail(client.ask(Query(edns=EDNS)), 0.5)


# ---- sizes ----


# What the client takes; the most that it may get.
@table("says, most", ("X-01-none", None, 512), ("X-01-100", 100, 512), ("X-01-512", 512, 512),
       ("X-01-700", 700, 700), ("X-01-1232", 1232, 1232), ("X-01-4096", 4096, 1232),
       ("X-01-65535", 65535, 1232))
def test_large_response_is_truncated(env, says, most):
    env.proxy(env.upstream())
    client = env.datagrams()
    opt = edns(says)
    fits = env.assert_ok(client.ask(sized(most, opt)))
    assert len(fits.answer.wire) == most and not fits.answer.flags & TC
    for size in (most + 1, 4096, 60000):
        query = sized(size, opt)
        seen = client.ask(query).answer
        assert seen.flags & TC and seen.question == query.question and not seen.error
        assert len(seen.wire) <= most
        assert seen.counts == (1, 0, 0, 1 if opt else 0)
        assert bool(seen.opt) == bool(opt)
        # So the client retries over TCP.
        whole = env.assert_ok(env.ask(sized(size, opt)))
        assert len(whole.answer.wire) == size and not whole.answer.flags & TC


@table("udp_size, says, most", ("X-01-512", 512, 4096, 512), ("X-01-4096", 4096, 4096, 4096),
       ("X-01-4096-says-1400", 4096, 1400, 1400), ("X-01-4096-says-nothing", 4096, None, 512))
def test_udp_size(env, udp_size, says, most):
    env.proxy(env.upstream(), udp_size=udp_size)
    client = env.datagrams()
    opt = edns(says)
    assert len(env.assert_ok(client.ask(sized(most, opt))).answer.wire) == most
    assert client.ask(sized(most + 1, opt)).answer.flags & TC


class Tunnel:
    """A link between the proxy's host (10.77.0.1) and the test."""

    def __init__(self, namespace):
        self.fd = namespace.tun("far", "10.77.0.1/32", "10.77.0.2")
        namespace.run("ip", "-6", "addr", "add", "fd77::1/64", "dev", "far", "nodad")

    def send(self, data):
        os.write(self.fd, data)

    def read(self):
        select.select([self.fd], [], [], 0.05)
        with contextlib.suppress(BlockingIOError):
            return os.read(self.fd, 65536)
        return None

    def ask(self, source, to, query):
        self.send(datagram.packet(source, to, query.wire))
        return datagram.wait_packet(self.read)

    def close(self):
        os.close(self.fd)


@pytest.fixture
def tunnel(env, namespace):
    made = Tunnel(namespace)
    env.others.append(made)
    return made


@table("host, peer, mtu", ("X-02-IPv4", "10.77.0.1", "10.77.0.2", 600),
       ("X-02-IPv6", "fd77::1", "fd77::2", 1280))
def test_no_fragments(env, namespace, tunnel, host, peer, mtu):
    """The MTU of the interface is below the response size, whatever size the client allows."""
    namespace.run("ip", "link", "set", "far", "mtu", str(mtu))
    running = env.proxy(env.upstream(), host=host, udp_size=4096)
    to, source = running.address, (peer, 4000)
    seen = tunnel.ask(source, to, Query("size-500.test", edns=edns(4096)))
    assert seen.message.is_correct and not seen.is_fragment and not seen.may_be_cut
    query = Query("size-3000.test", edns=edns(4096))
    seen = tunnel.ask(source, to, query)
    assert not seen.is_fragment and seen.source == host and len(seen.data) <= mtu
    assert seen.message.ident == query.ident and seen.message.flags & TC and seen.message.opt


@row("X-02")
def test_path_mtu_below_interface_mtu(env, tunnel):
    """After one ICMP message of a router, larger responses are truncated."""
    running = env.proxy(env.upstream(), host="10.77.0.1")
    source = "10.77.0.2", 4000
    first = tunnel.ask(source, running.address, Query("size-1200.test", edns=EDNS))
    assert first.message.is_correct and not first.may_be_cut and not first.is_fragment
    tunnel.send(datagram.too_big(first.data, 700))
    second = tunnel.ask(source, running.address, Query("size-1200.test", edns=EDNS))
    assert second.message.flags & TC and not second.is_fragment and len(second.data) <= 700
    third = tunnel.ask(source, running.address, Query("size-600.test", edns=EDNS))
    assert third.message.is_correct


# ---- addresses ----


@table("wildcard, hosts", ("X-03-IPv4", "0.0.0.0",
                           ["127.0.0.1", "127.9.8.7", "10.88.0.1", "10.88.1.1"]),
       ("X-03-IPv6", "::", ["::1", "::1", "fd88::1", "fd88::2"]))
def test_response_source_is_the_query_destination(env, namespace, wildcard, hosts):
    for host in hosts[2:]:
        namespace.run("ip", "addr", "add", f"{host}/{128 if ':' in host else 32}", "dev", "lo")
    running = env.proxy(env.upstream(), host=wildcard)
    for host in hosts:
        # The client sees to it that it is the same address.
        client = env.datagrams((host, running.address[1]))
        env.assert_ok(client.ask(f"h{host.replace(':', '-')}.test"))
        env.assert_ok(client.ask(f"h{host.replace(':', '-')}.two.test"))


@row("X-03")
def test_both_families_on_one_port(env, namespace):
    _, port = env.free_address("0.0.0.0")
    env.proxy(env.upstream(), host="0.0.0.0", port=port,
                listen=[f"0.0.0.0:{port}", f"[::]:{port}"])
    for host in ("127.0.0.1", "::1"):
        env.assert_ok(env.datagrams((host, port)).ask("both.test"))


def test_udp_only_and_tcp_only_listeners(env):
    host, port = env.free_address(own_address())
    env.proxy(env.upstream(), host=host, port=port,
                listen=[{"address": f"{host}:{port}", "udp": False},
                        {"address": f"127.0.0.1:{port}", "tcp": False}])
    env.assert_ok(env.datagrams(("127.0.0.1", port)).ask("udp.test"))
    env.assert_ok(env.ask("tcp.test"))
    with pytest.raises(ConnectionRefusedError):
        env._make_socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", port))
    silent = env.datagrams()
    silent.send(Query())
    silent.assert_silent()
    silent.abandoned = True


# ---- what is dropped ----


def raw_socket(env):
    return env._make_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


@table("wildcard", ("X-04-one-address", False), ("X-04-wildcard", True))
def test_datagrams_from_impossible_sources_are_dropped(env, namespace, tunnel, wildcard):
    """Port 0, our own port, broadcast and multicast, responses: no query, no response."""
    server = env.upstream()
    host = "10.77.0.1"
    running = env.proxy(server, host="0.0.0.0" if wildcard else host, log={"level": "debug"})
    port = running.address[1]
    for number, (source, to) in enumerate([
            (("10.77.0.2", 0), host), (("255.255.255.255", 4000), host),
            (("224.0.0.1", 4000), host), (("0.0.0.0", 4000), host), ((host, port), host),
            (("10.77.0.2", 4000), "255.255.255.255"), (("10.77.0.2", 4000), "224.0.0.1")]):
        tunnel.send(datagram.packet(source, (to, port), Query(f"from-nobody-{number}.test").wire))
    ours = [host] + (["127.0.0.1", "127.0.0.2"] if wildcard else [])
    with raw_socket(env) as raw:
        for source in ours:
            for to in ours:
                data = datagram.packet((source, port), (to, port),
                                       Query("from-ourselves.test").wire)
                raw.sendto(data, (to, 0))
        raw.sendto(datagram.packet(("127.0.0.1", 0), (host, port), Query("port-0.test").wire),
                   (host, 0))
    client = env.datagrams((host, port))
    client.sock.sendto(Query("a-response.test", flags=QR | RD).wire, client.address)
    env.assert_ok(client.ask("canary.test"))
    assert [query.name for query in server.queries] == ["canary.test"]
    assert running.wait_line("datagrams dropped")["invalid_source"]
    while (data := tunnel.read()) is not None:
        assert not datagram.Packet(data).is_udp, data.hex()


@row("X-04")
def test_two_proxies_do_not_loop(env, namespace):
    """Responses of one proxy sent to another one: both stay silent."""
    server = env.upstream()
    first = env.proxy(server, host="127.0.1.1")
    second = env.proxy(server, host="127.0.1.2")
    with raw_socket(env) as raw:
        query = Query("loop.test").wire
        raw.sendto(datagram.packet(second.address, first.address, query), (first.address[0], 0))
    env.assert_ok(env.datagrams(second.address).ask("canary.test"))
    env.assert_ok(env.datagrams(first.address).ask("canary.test"))
    assert len(server.queries_for("loop.test")) == 1
    assert len(server.queries) == 3


@row("X-05")
def test_icmp_errors_from_clients(env):
    """Hundreds of times the clients' hosts report that the port is unreachable."""
    server = env.upstream()
    env.proxy(server)
    for n in range(300):
        client = env.datagrams()
        client.send(Query(f"delay-50.n{n}.test"))
        client.close()
    # From another address: a port that was closed may be given out again.
    client = env.datagrams(source="127.0.0.2")
    for n in range(20):
        env.assert_ok(client.ask(f"meanwhile-{n}.test"), 0.5)
    wait_until(lambda: len(server.queries) == 320)
    env.assert_ok(client.ask("after.test"), 0.5)


def test_allow_list_over_udp(env):
    """Other clients get REFUSED over TCP, and nothing over UDP, where the source may be forged."""
    server = env.upstream()
    env.proxy(server, allow=["127.0.0.1/32"])
    stranger = env.datagrams(source="127.0.0.2")
    stranger.send(Query("stranger.test"), b"", b"x" * 12)
    env.assert_ok(env.datagrams().ask("friend.test"))
    stranger.assert_silent()
    stranger.abandoned = True
    assert env.client(source="127.0.0.2").ask("stranger.test").rcode == REFUSED
    assert not server.queries_for("stranger.test")


@table("message", ("X-08-zero-length", b""), ("X-08-one-byte", b"x"), ("X-08-11-bytes", bytes(11)),
       ("X-08-65507-bytes", bytes(65507)),
       ("X-08-65507-bytes-with-a-query-in-front", Query().wire + bytes(65507 - len(Query().wire))),
       ("X-08-cut-behind-a-query",
        dnsmsg.header(1, RD, 1, 0, 0, 1) + Query().question
        + dnsmsg.opt(dnsmsg.option(65001, bytes(4096 - 12 - len(Query().question) - 15))) + b"x"))
def test_invalid_datagram_sizes(env, message):
    """No query is forwarded; the only possible response is FORMERR."""
    server = env.upstream()
    env.proxy(server)
    client = env.datagrams()
    sent, = client.send(message)
    env.assert_ok(env.datagrams().ask("canary.test"))
    if client.receive(0.2) is not None:
        assert sent.rcode == FORMERR
    client.abandoned = True
    assert [query.name for query in server.queries] == ["canary.test"]


# ---- queries in flight ----


@table("inflight, most", ("X-06-default", 1024, 1001), ("X-06-inflight-200", 200, 197))
def test_10000_queries_of_one_address_are_bounded(env, inflight, most):
    """Its upstream is slow, and responses arrive in one bounded burst; others are served."""
    env.may_grow = 64 * MIB
    server = env.upstream()
    running = env.proxy(server, workers=1, inflight=inflight,
                        timeouts={"query": "4s", "answer": "4s"})
    flood = env.datagrams(source="127.0.0.66")
    flood.abandoned = True
    names = [f"delay-1500.n{n}.test" for n in range(10000)]
    for start in range(0, len(names), 100):
        flood.send(*map(Query, names[start:start + 100]))
    begin = now()
    for n in range(5):
        env.assert_ok(env.datagrams().ask(f"meanwhile-{n}.test"), 1)
        env.assert_ok(env.ask(f"meanwhile-tcp-{n}.test"), 1)
    env.within(1.2, begin)
    with contextlib.suppress(AssertionError):
        flood.receive_all(3)
    answered = sum(exchange.answer is not None for exchange in flood.exchanges)
    assert most - 8 <= answered <= most, answered
    assert len({query.name for query in server.queries if query.delay}) <= most
    if inflight == 1024:
        line = running.wait_line("datagrams dropped", level="warn")
        assert line["client"] == "127.0.0.66" and int(line["client_limit"]) > 0, line.text
    # All slots are free again.
    env.assert_ok(flood.ask("after.test"), 1)


def test_1000_outstanding_of_one_address_lose_nothing(env):
    """The load of a busy resolver: none is lost."""
    env.may_grow = 64 * MIB
    env.proxy(env.upstream(), timeouts={"query": "4s", "answer": "4s"}, workers=1)
    client = env.datagrams()
    for start in range(0, 1000, 100):
        client.send(*[Query(f"delay-300.n{n}.test") for n in range(start, start + 100)])
    client.receive_all(8)
    assert all(exchange.answer.is_correct for exchange in client.exchanges)


@row("X-06")
def test_addresses_share_the_slots(env):
    """Together they never have more queries in flight than there are slots; the others wait."""
    server = env.upstream()
    env.proxy(server, inflight=200)
    clients = [env.datagrams(source=f"127.0.0.{n + 1}") for n in range(8)]
    for n, client in enumerate(clients):
        client.send(*[Query(f"delay-400.n{m}.of-{n}.test") for m in range(100)])
    wait_until(lambda: len(server.queries) > 100)
    env.assert_ok(env.ask("meanwhile-tcp.test"), 1)
    for client in clients:
        client.receive_all(10)
        assert all(exchange.answer.is_correct for exchange in client.exchanges)
    # Queries resent on a new connection were in flight before.
    asked = {query.name: query for query in reversed(server.queries) if query.delay}.values()
    changes = sorted(change for query in asked
                     for change in ((query.at, 1), (query.at + query.delay, -1)))
    in_hand = list(itertools.accumulate(change for _, change in changes))
    assert 150 < max(in_hand) <= 197


async def _never_slow(connection, query):
    if not query.name.startswith("slow"):
        await answer(connection, query)


class Flood:
    """Names that are never answered, from many addresses, by a thread of its own."""

    def __init__(self, env, addresses, rate):
        self.clients = [env.datagrams(source=f"127.0.1.{n + 1}") for n in range(addresses)]
        self.sent = 0
        self._rate = rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        begin = now()
        while not self._over.is_set() or any(client.unanswered for client in self.clients):
            if now() > begin + 60:
                return
            while not self._over.is_set() and self.sent < (now() - begin) * self._rate:
                client = self.clients[self.sent % len(self.clients)]
                client.send(Query(f"slow-{self.sent}.test", edns=EDNS))
                self.sent += 1
            ready, _, _ = select.select([client.sock for client in self.clients], [], [], 0.005)
            for client in self.clients:
                if client.sock in ready:
                    client.receive()

    def stop(self):
        """Returns when all is answered."""
        self._over.set()
        self._thread.join()


@row("C-35")
def test_slow_names_of_many_addresses_do_not_block_others(env):
    """Each of their queries still gets one response, and the log has the number of evictions."""
    env.may_grow = 64 * MIB
    running = env.proxy(env.upstream(Script(on_query=_never_slow)), workers=1,
                          timeouts={"query": "4s", "answer": "3s"})
    env.assert_ok(env.ask("warm.test"))
    # Until eviction begins, queries wait in the socket, where their deadline has not begun.
    env.query_seconds += 1.5
    flood = Flood(env, addresses=40, rate=300 if env.sanitized else 1500)
    try:
        wait_until(lambda: running.lines("datagrams dropped") or flood.sent > 9000, 20)
        others = [env.datagrams(source=f"127.0.2.{n + 1}") for n in range(10)]
        asked = []
        for n in range(10):
            for number, other in enumerate(others):
                asked += other.send(Query(f"other-{n}-{number}.test"))
            for other in others:
                other.receive_all(4)
            check = env._popen([proxy.BINARY, "-c", env.config_path, "healthcheck"])
            assert check.wait(5) == 0
        served = sum(exchange.answer.is_correct for exchange in asked)
        assert served > 0.95 * len(asked), f"{served} of {len(asked)} were served"
    finally:
        flood.stop()
    answers = [e.answer for client in flood.clients for e in client.exchanges]
    assert {answer.rcode for answer in answers} == {SERVFAIL}
    evicted = [answer for answer in answers if answer.ede[0][0] == 0]
    assert evicted and all("slow queries" in answer.ede[0][1] for answer in evicted)
    line = running.wait_line("datagrams dropped", level="warn")
    assert int(line["evicted"]) > 0 and line["client"].startswith("127.0.1."), line.text


@row("C-35")
def test_short_outage_evicts_no_query(env):
    """All slots are taken for as long as eviction waits, and all are answered in the end."""
    server = env.upstream()
    env.proxy(server, inflight=200, timeouts={"query": "4s", "answer": "3s"})
    clients = [env.datagrams(source=f"127.0.1.{n + 1}") for n in range(8)]
    for n, client in enumerate(clients):
        client.send(*[Query(f"delay-700.n{m}.of-{n}.test") for m in range(60)])
    for client in clients:
        client.receive_all(10)
        for exchange in client.exchanges:
            env.assert_ok(exchange)


# ---- what the kernel loses ----


# Without the capability for larger buffers than the system limit.
SMALL_BUFFERS = {"prefix": ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
                 if os.geteuid() == 0 else ()}


def test_limited_receive_buffer_is_logged_once(env):
    """Logged once for any number of listeners, and not again after a reload."""
    first, second = (env.free_address("127.0.0.1") for _ in range(2))
    running = env.proxy(env.upstream(), host=first[0], port=first[1], popen_args=SMALL_BUFFERS,
                          listen=[f"{host}:{port}" for host, port in (first, second)])
    running.process.send_signal(signal.SIGHUP)
    running.wait_line("configuration reloaded")
    with open("/proc/sys/net/core/rmem_max") as file:
        granted = int(file.read())
    assert [line["bytes"] for line in running.lines("UDP receive buffer limited")] \
        == ([str(granted)] if granted < 4 * MIB else [])


def udp_queue(namespace, port):
    """Bytes queued in the receive buffer of a socket, and datagrams dropped because of it."""
    with namespace.call(open, "/proc/thread-self/net/udp") as file:
        line, = (line.split() for line in file if f":{port:04X} 00000000:0000" in line)
    return int(line[4].split(":")[1], 16), int(line[-1])


def test_kernel_drops_are_counted_once(env, namespace):
    """Workers share the socket and all see its drop counter."""
    running = processes.start_workers(env, env.upstream(), popen_args=SMALL_BUFFERS)
    client = env.datagrams()

    def each_is_asked(when):
        for number, worker in enumerate(running.workers()):
            with processes.only_this_worker(running, worker):
                # When the second has come, the turn of the first is over.
                for n in range(2):
                    env.assert_ok(client.ask(f"{when}-{number}-{n}.test"))

    each_is_asked("before")
    port = running.address[1]
    nothing = dnsmsg.header(1, RD, 0, 0, 0, 0)      # answered at once, without an upstream
    flood = env._make_socket(socket.AF_INET, socket.SOCK_DGRAM)
    with processes.only_this_worker(running, None), flood:
        for _ in range(100):
            for _ in range(500):
                flood.sendto(nothing, running.address)
            if udp_queue(namespace, port)[1]:
                break
    wait_until(lambda: udp_queue(namespace, port)[0] == 0)
    lost = udp_queue(namespace, port)[1]
    assert lost
    each_is_asked("after")
    running.process.send_signal(signal.SIGUSR1)
    running.wait_line("worker")
    lines = running.lines("datagrams dropped", level="warn")
    assert [line["receive_buffer_full"] for line in lines] == [str(lost)]


# ---- what is sent again ----


@asks_again
@table("edns", ("X-07-plain", None), ("X-07-EDNS", EDNS))
def test_retransmission_is_answered_once(env, edns):
    server = env.upstream()
    env.proxy(server, workers=1)
    client = env.datagrams()
    exchange, = client.send(Query("delay-300.again.test", edns=edns))
    wait_until(lambda: server.queries)
    for _ in range(5):
        client.repeat(exchange)
    # Another port, another ID, another name: others.
    others = [env.datagrams(), client, client]
    queries = [exchange.query, Query(exchange.query.name), Query("delay-300.other.test",
                                                                ident=exchange.query.ident)]
    made = [other.send(query)[0] for other, query in zip(others, queries)]
    env.assert_ok(client.receive_until(exchange))
    for other, asked in zip(others, made):
        env.assert_ok(other.receive_until(asked))
    assert len(server.queries) == 4
    # Once it is answered it is a query as any other.
    env.assert_ok(client.ask(exchange.query))
    assert len(server.queries) == 5


def test_one_query_at_a_time_over_udp(env):
    server = env.upstream()
    env.proxy(server, workers=1, inflight=1, timeouts={"query": "3s", "upstream_idle": "0s"})
    clients = [env.datagrams() if n % 2 else env.client() for n in range(10)]
    for n, client in enumerate(clients):
        client.send(Query(f"delay-60.n{n}.test"))
    for client in clients:
        client.receive_all()
        env.assert_ok(client.exchanges[0])
    arrived = sorted(query.at for query in server.queries)
    assert len(arrived) == 10
    assert all(later - sooner >= 0.05 for sooner, later in zip(arrived, arrived[1:]))


# ---- start and stop ----


@table("number", ("SIGTERM", signal.SIGTERM), ("SIGINT", signal.SIGINT))
def test_stop_with_queries_in_flight(env, number):
    server = env.upstream()
    running = env.proxy(server)
    clients = [env.datagrams() for _ in range(10)]
    for n, client in enumerate(clients):
        client.send(*[Query(f"delay-300.n{n}-{m}.test") for m in range(5)])
    wait_until(lambda: len(server.queries) == 50)
    running.signal(number)
    for client in clients:
        client.receive_all()
    assert running.wait(5) == 0
    assert all(e.answer.is_correct for client in clients for e in client.exchanges)


def test_reload_loses_no_datagram(env):
    running = env.proxy(env.upstream())
    client = env.datagrams()
    exchanges = []
    for n in range(100):
        if n % 20 == 10:
            running.process.send_signal(signal.SIGHUP)
        exchanges += client.send(Query(f"delay-{n % 5 * 20}.n{n}.test"))
        client.receive(0.02)
    client.receive_all()
    assert all(exchange.answer.is_correct for exchange in exchanges)


# ---- two questions from one socket, as musl and others send ----


def test_a_and_aaaa_from_one_socket(env):
    server = env.upstream()
    env.proxy(server)
    for n in range(20):
        client = env.datagrams()
        asked = client.send(Query(f"n{n}.test", qtype=A), Query(f"n{n}.test", qtype=AAAA))
        client.receive_all(2)
        for exchange in asked:
            env.assert_ok(exchange, 0.5)
    assert len(server.queries) == 40
