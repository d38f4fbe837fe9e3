"""Group C: what clients do wrong, and what they may do."""

import random
import select
import socket
import struct

import pytest

import dnsmsg
import faults
from clock import now, wait_until
from dnsmsg import Query
from env import EDNS, MIB
from rows import asks_again, row, table

IDLE = {"client_idle": "500ms"}


def _pace(client, seconds):
    """Waits some time, or until the proxy sends data; paces a slow client."""
    select.select([client.sock], [], [], seconds)


# Clients that send nothing, or send slowly.


@row("C-01")
def test_silent_client_is_closed(env):
    env.proxy(env.upstream(), timeouts=IDLE)
    silent = env.client()
    env.assert_ok(env.ask())
    closed = silent.wait_closed()
    assert silent.how == "eof"
    assert closed - silent.opened >= 0.45
    env.within(0.7, silent.opened, closed)


@table("data", ("C-02-one-byte-of-the-length", b"\0"),
       ("C-03-half-a-message", struct.pack("!H", 100) + bytes(50)))
def test_client_with_incomplete_message_is_closed(env, data):
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    client.send_bytes(data)
    begin = now()
    closed = client.wait_closed()
    assert closed - begin >= 0.25
    env.within(0.5, begin, closed)
    assert server.connections == []


@row("C-04")
def test_message_in_two_segments_split_anywhere(env):
    env.proxy(env.upstream(), timeouts={"client_read": "3s"})
    client = env.client()
    for split in range(1, len(dnsmsg.framed(Query("split.example.test").wire))):
        query = Query("split.example.test")
        data = dnsmsg.framed(query.wire)
        exchange = client.expect(query)
        client.send_bytes(data[:split])
        client.wait_read()
        client.send_bytes(data[split:])
        exchange.at = now()
        env.assert_ok(client.receive_until(exchange))


@row("C-04")
def test_message_in_one_byte_segments(env):
    env.proxy(env.upstream())
    client = env.client()
    exchange = client.expect(Query())
    for byte in dnsmsg.framed(exchange.sent):
        client.send_bytes(bytes([byte]))
    env.assert_ok(client.receive_until(exchange))


@row("C-05")
def test_slow_loris_is_closed_after_client_read(env):
    env.proxy(env.upstream())
    client = env.client()
    data = iter(dnsmsg.framed(Query("a-name-long-enough-to-last.test").wire))
    client.send_bytes(bytes([next(data)]))
    begin = now()
    while not client.closed_by_peer() and now() < begin + 3:
        _pace(client, 0.05)
        try:
            client.send_bytes(bytes([next(data)]))
        except OSError:
            break
    assert client.closed_by_peer()
    assert now() - begin >= 0.25
    env.within(0.6, begin)
    client.close()


def _descriptors_without(env, client):
    """The descriptors of the proxy that belong to clients."""
    running = env.proxies[-1]
    return running.descriptors() - sum(len(u.open_connections) for u in env.upstreams) \
        - running.descriptors_at_start


@row("C-06")
def test_slow_reader_is_closed(env):
    env.may_grow = 64 * MIB
    env.proxy(env.upstream())
    slow = env.client(receive_buffer=4096)
    slow.abandoned = True
    # As much as no socket buffer takes.
    slow.send(*[Query(f"size-60000.n{n}.test") for n in range(200)])
    begin = now()
    while _descriptors_without(env, slow) > 0 and now() < begin + 8:
        slow.sock.settimeout(0.01)
        try:
            slow.sock.recv(1)
        except OSError:
            pass
        env.assert_ok(env.ask("meanwhile.test"), 1)
        _pace(slow, 0)
        select.select([], [], [], 0.2)
    env.within(5.5, begin)
    slow.close()


@row("C-07")
def test_idle_connections_do_not_block_the_worker(env):
    env.proxy(env.upstream())
    for _ in range(10):
        env.client()
    env.assert_ok(env.ask(), 1)
    env.idle(0.3)


@row("C-08")
def test_slow_lorises_do_not_delay_other_clients(env):
    env.proxy(env.upstream())
    data = dnsmsg.framed(Query().wire)
    slow, begin, asked = [], now(), 0
    while now() < begin + 3:
        slow = [(client, at) for client, at in slow if not client.closed_by_peer()]
        while len(slow) < 10:
            slow.append((env.client(), [0]))
        for client, at in slow:
            try:
                client.send_bytes(data[at[0]:at[0] + 1])
            except OSError:
                pass
            at[0] = min(at[0] + 1, len(data) - 2)
        env.assert_ok(env.ask(f"good-{asked}.test"), 1)
        asked += 1
        select.select([], [], [], 0.02)
    assert asked >= 20


@row("C-10", "C-11")
def test_longest_idle_client_is_closed_at_descriptor_limit(env, row):
    running = env.proxy(env.upstream(), timeouts={"client_idle": "20s"},
                          popen_args={"prefix": ("prlimit", "--nofile=128:128")})
    env.assert_ok(env.ask())
    clients = [env.client() for _ in range(300)]
    env.assert_ok(env.ask("one-more.test"), 1)
    env.idle(0.3)
    env.assert_ok(clients[-1].ask("the-youngest.test"), 1)
    assert clients[0].closed_by_peer()
    assert len(running.log) < 50, "a flood of log lines"
    if row == "C-11":
        for client in clients:
            client.close()
        wait_until(lambda: _descriptors_without(env, None) <= 0, 3)
        again = [env.client() for _ in range(50)]
        for client in again:
            env.assert_ok(client.ask("again.test"), 1)


@row("C-13")
def test_client_that_never_reads_is_closed(env):
    env.may_grow = 64 * MIB
    running = env.proxy(env.upstream())
    client = env.client(receive_buffer=4096)
    client.abandoned = True
    client.sock.setblocking(False)
    data = memoryview(b"".join(dnsmsg.framed(Query(f"size-1500.n{n}.test").wire)
                                 for n in range(10000)))
    begin, most = now(), 0
    while now() < begin + 12:
        try:
            data = data[client.sock.send(data):]
        except BlockingIOError:
            select.select([], [client.sock], [], 0.05)
        except OSError:
            break
        if not data:
            select.select([], [], [], 0.05)
        most = max(most, running.memory() - running.memory_at_start)
        if _descriptors_without(env, client) <= 0:
            break
    else:
        raise AssertionError("a client that never reads was kept for 12 s")
    if not env.sanitized:
        assert most < 64 * MIB, f"{most / MIB:.0f} MiB for one client"
    env.assert_ok(env.ask("alive.test"), 1)
    client.close()


# Many queries.


@row("C-14")
def test_pipelined_queries_in_one_segment(env):
    env.proxy(env.upstream())
    client = env.client()
    asked = client.send(*[Query(f"n{n}.test", ident=n) for n in range(50)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange, 1)


@row("C-14")
def test_slow_response_does_not_delay_other_queries(env):
    """Neither another client nor the next query of the same one."""
    env.proxy(env.upstream(), timeouts={"answer": "1500ms"})
    env.assert_ok(env.ask("warm.test"))
    client = env.client()
    slow, = client.send(Query("delay-1000.test"))
    for n in range(20):
        env.assert_ok(client.ask(f"same-client-{n}.test"), 0.2)
        env.assert_ok(env.ask(f"other-client-{n}.test"), 0.2)
    assert slow.answer is None
    env.assert_ok(client.receive_until(slow), 1.2)


@row("C-15")
def test_many_queries_on_one_connection(env):
    running = env.proxy(env.upstream())
    client = env.client()
    total, at_once, half = 8000, 250, 0
    for begin in range(0, total, at_once):
        client.send(*[Query(f"n{n}.test") for n in range(begin, begin + at_once)])
        client.receive_all()
        if begin == total // 2:
            half = running.memory()
    assert all(exchange.answer.is_correct for exchange in client.exchanges)
    if not env.sanitized:
        assert running.memory() - half < MIB


@row("C-16")
def test_client_reset_with_query_in_flight(env):
    server = env.upstream()
    env.proxy(server)
    for n in range(300):
        client = env.client()
        client.send(Query(f"delay-{n % 5}.gone-{n}.test"))
        client.reset() if n % 2 else client.close()
        if n % 50 == 0:
            env.assert_ok(env.ask(f"next-{n}.test"), 1)
    env.assert_ok(env.ask("last.test"), 1)
    assert len(server.connections) <= 3


@row("C-17")
def test_half_closed_client_gets_its_response(env):
    env.proxy(env.upstream())
    client = env.client()
    asked = client.send(Query("delay-100.test"), Query("delay-200.test"))
    client.half_close()
    client.wait_closed()
    for exchange in asked:
        env.assert_ok(exchange, 0.5)
    assert client.how == "eof"
    env.within(0.3, asked[-1].answered, client.ended)


@row("C-18")
def test_urgent_data(env):
    env.proxy(env.upstream())
    client = env.client()
    client.sock.send(b"!", socket.MSG_OOB)
    client.send(Query("after-urgent.test"))
    client.settle(now() + 3)
    env.assert_ok(env.ask(), 1)
    env.idle()


@row("C-31")
def test_connections_without_data(env):
    running = env.proxy(env.upstream())
    # By then, each slot of the client table has been used.
    _connect_and_go(env, 5000)
    env.assert_ok(env.ask("first.test"), 1)
    before, begin = running.memory(), now()
    _connect_and_go(env, 2000)
    env.within(2, begin)
    env.assert_ok(env.ask("second.test"), 1)
    if not env.sanitized:
        assert running.memory() - before < MIB // 2
    assert len(running.log) < 20, "a flood of log lines"


def _connect_and_go(env, times):
    for n in range(times):
        client = env.client()
        env.clients.pop()
        client.reset() if n % 2 else client.close()


# Malformed and unusual messages.


@row("C-19")
def test_message_of_length_0(env):
    env.proxy(env.upstream())
    client = env.client()
    client.send_bytes(b"\0\0" * 3)
    try:
        client.send(Query("after-nothing.test"))
        client.settle(now() + 3)
    except OSError:
        pass
    env.idle()


@row("C-20", "C-36")
def test_garbage_after_the_question_not_forwarded(env):
    server = env.upstream()
    env.proxy(server)
    query = Query(ident=7).wire
    client = env.client()
    exchange, = client.send(query + random.Random(20).randbytes(65535 - len(query)))
    client.receive_until(exchange)
    assert exchange.answer.is_correct
    assert len(server.queries[0].seen.wire) == 128      # padded


@row("C-20")
def test_65535_bytes_of_garbage(env):
    server = env.upstream()
    head = dnsmsg.header(7, dnsmsg.RD, 1, 0, 0, 0)
    env.proxy(server)
    client = env.client()
    garbage = random.Random(20).randbytes(65535 - len(head))
    exchange, = client.send(head + garbage)
    client.settle(now() + 3)
    if exchange.answer:
        assert exchange.rcode == dnsmsg.FORMERR
    assert server.connections == []


@table("qtype", ("C-21-AXFR", dnsmsg.AXFR), ("C-21-IXFR", dnsmsg.IXFR))
def test_zone_transfer_is_refused(env, qtype):
    server = env.upstream(faults.multi_message)
    env.proxy(server)
    env.assert_ok(env.ask("warm.test"))
    client = env.client()
    exchange = client.ask("zone.test", qtype=qtype)
    assert exchange.rcode == dnsmsg.REFUSED
    env.answered_within(0.05, exchange)
    env.assert_ok(client.ask("next.test"))
    assert not server.queries_for("zone.test")


def _query(flags=dnsmsg.RD, counts=(1, 0, 0, 0), body=Query().question):
    return dnsmsg.header(99, flags, *counts) + body


_QUESTION = Query().question
_A_RECORD = dnsmsg.record(b"\0", dnsmsg.A, dnsmsg.IN, 0, bytes(4))

BAD = [
    ("C-22-shorter-than-a-header", bytes(11), None),
    ("C-22-one-byte", b"\0", None),
    ("C-22-response", _query(dnsmsg.QR | dnsmsg.RD), None),
    *[(f"C-22-opcode-{n}", _query(n << 11), dnsmsg.NOTIMP) for n in (1, 2, 4, 5, 6, 15)],
    ("C-22-no-question", _query(counts=(0, 0, 0, 0), body=b""), dnsmsg.NOERROR),
    ("C-22-two-questions", _query(counts=(2, 0, 0, 0), body=_QUESTION * 2), dnsmsg.FORMERR),
    ("C-22-65535-questions", _query(counts=(65535, 0, 0, 0)), dnsmsg.FORMERR),
    ("C-22-question-cut", _query(body=_QUESTION[:-1]), dnsmsg.FORMERR),
    ("C-22-name-cut", _query(body=_QUESTION[:5]), dnsmsg.FORMERR),
    ("C-22-name-compressed", _query(body=b"\xc0\x0c\0\1\0\1"), dnsmsg.FORMERR),
    ("C-22-name-of-reserved-label-type", _query(body=b"\x41a\0\0\1\0\1"), dnsmsg.FORMERR),
    ("C-22-name-too-long", _query(body=(b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1"),
     dnsmsg.FORMERR),
    ("C-22-two-OPT", _query(counts=(1, 0, 0, 2), body=_QUESTION + dnsmsg.opt() * 2),
     dnsmsg.FORMERR),
    ("C-22-EDNS-version-1", _query(counts=(1, 0, 0, 1), body=_QUESTION + dnsmsg.opt(version=1)),
     dnsmsg.BADVERS),
    ("C-22-EDNS-version-255",
     _query(counts=(1, 0, 0, 1), body=_QUESTION + dnsmsg.opt(version=255)), dnsmsg.BADVERS),
    ("C-22-option-cut",
     _query(counts=(1, 0, 0, 1), body=_QUESTION + dnsmsg.opt(b"\0\x0a\0\x09abc")),
     dnsmsg.FORMERR),
    ("C-22-option-header-cut",
     _query(counts=(1, 0, 0, 1), body=_QUESTION + dnsmsg.opt(b"\0\x0a\0")), dnsmsg.FORMERR),
    ("C-22-record-cut", _query(counts=(1, 0, 0, 1), body=_QUESTION + _A_RECORD[:-2]),
     dnsmsg.FORMERR),
    ("C-22-counts-too-high", _query(counts=(1, 1, 1, 1)), dnsmsg.FORMERR),
]


@table("message, rcode", *BAD)
def test_malformed_message(env, message, rcode):
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    exchange, = client.send(message)
    if rcode is None:
        # Nothing but the answer to the next query may come, or the end.
        client.unanswered.remove(exchange)
        client.exchanges.remove(exchange)
        try:
            client.send(Query("next.test"))
            client.settle(now() + 3)
        except OSError:
            client.close()
    else:
        client.receive_until(exchange)
        assert exchange.rcode == rcode
        env.answered_within(0.1, exchange)
        assert server.connections == []
        with_opt = message[10:12] == b"\0\1" and rcode == dnsmsg.BADVERS
        assert (exchange.answer.opt is not None) >= with_opt
    env.assert_ok(env.ask("good.test"), 1)


# A query, and what follows its last record.
TAILS = [
    ("C-24-trailing-bytes", _query(body=_QUESTION), b"hidden"),
    ("C-24-records-behind-the-counts", _query(body=_QUESTION), _A_RECORD * 2),
    ("C-36-bytes-behind-the-OPT", _query(counts=(1, 0, 0, 1), body=_QUESTION + dnsmsg.opt()),
     b"hidden"),
    ("C-36-second-query", _query(body=_QUESTION), _query(body=_QUESTION)),
]


@table("query, tail", *TAILS)
@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("padding", [True, False])
def test_bytes_after_the_last_record_of_a_query_not_forwarded(env, query, tail, transport,
                                                               padding):
    server = env.upstream()
    env.proxy(server, privacy={"padding": padding})
    client = env.client() if transport == "tcp" else env.datagrams()
    exchange, = client.send(query + tail)
    client.receive_until(exchange)
    assert exchange.answer.is_correct
    seen, = server.queries
    assert seen.seen.error is None and tail not in seen.seen.wire
    env.assert_ok(client.ask("next.test"))


@table("signature", ("C-36-TSIG", dnsmsg.record(b"\3key\0", 250, 255, 0, b"tsig")),
       ("C-36-SIG-0", dnsmsg.record(b"\0", 24, 255, 0, b"\0\0sig0")))
def test_bytes_after_a_signature_are_a_format_error(env, signature):
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    exchange, = client.send(_query(counts=(1, 0, 0, 1), body=_QUESTION + signature + b"hidden"))
    client.receive_until(exchange)
    assert exchange.rcode == dnsmsg.FORMERR
    assert server.connections == []


# Names that are not forwarded.


RESOLVER_ARPA = [("K-48-SVCB", "_dns.resolver.arpa", 64),
                 ("K-48-zone", "resolver.arpa", dnsmsg.SOA),
                 ("K-48-below", "a.b.Resolver.ARPA", dnsmsg.A),
                 ("K-48-any", "_dns.resolver.arpa", dnsmsg.ANY),
                 ("K-48-unknown-type", "_dns.resolver.arpa", 65280)]


@table("name, qtype", *RESOLVER_ARPA)
def test_resolver_arpa_answered_locally(env, name, qtype):
    env.allow_wrong_responses = True      # these have no records
    server = env.upstream()
    env.proxy(server)
    for client in (env.client(), env.datagrams()):
        plain = client.ask(name, qtype=qtype)
        assert plain.rcode == dnsmsg.NOERROR and plain.answer.counts == (1, 0, 1, 0)
        extended = client.ask(Query(name, qtype=qtype, edns=EDNS))
        assert extended.rcode == dnsmsg.NOERROR and extended.answer.counts == (1, 0, 1, 1)
        (code, text), = extended.answer.ede
        assert code in (0, 15) and text
    assert server.connections == []


@table("name, qclass", ("K-48-other-class", "_dns.resolver.arpa", dnsmsg.CH),
       ("K-48-longer-label", "xresolver.arpa", dnsmsg.IN), ("K-48-above", "arpa", dnsmsg.IN))
def test_names_outside_resolver_arpa_are_forwarded(env, name, qclass):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask(name, qclass=qclass))
    assert server.queries_for(name)


@row("K-48")
def test_resolver_arpa_refused_to_clients_not_allowed(env):
    server = env.upstream()
    env.proxy(server, allow=["127.0.0.1/32"])
    assert env.client(source="127.0.0.2").ask("_dns.resolver.arpa").rcode == dnsmsg.REFUSED
    assert server.connections == []


@row("C-22")
def test_error_has_opt_only_if_the_query_had_one(env):
    env.proxy(env.upstream())
    client = env.client()
    plain, = client.send(_query(2 << 11))
    client.receive_until(plain)
    assert plain.answer.opt is None
    assert plain.answer.counts[1:3] == (0, 0)
    extended, = client.send(_query(2 << 11, (1, 0, 0, 1), _QUESTION + dnsmsg.opt()))
    client.receive_until(extended)
    assert extended.rcode == dnsmsg.NOTIMP


# What must arrive as it was sent.


@table("parts", ("C-25-zero", (b"a\0b", b"test")), ("C-25-dot", (b"a.b", b"test")),
       ("C-25-newline", (b"a\nlevel=error event=forged", b"test")),
       ("C-25-escape", (b"\x1b[31mred", b"test")), ("C-25-high", (b"\xff\xfe", b"test")),
       ("C-25-quote", (b'a" b="c\\', b"test")), ("C-25-root", ()),
       ("C-25-longest", (b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61)))
def test_label_bytes_are_preserved(env, parts):
    server = env.upstream()
    running = env.proxy(server, log={"level": "debug", "queries": True})
    env.assert_ok(env.ask(parts, qtype=dnsmsg.TXT))
    assert [asked.seen.parts for asked in server.queries] == [parts]
    # Bytes of a name must neither start a log line nor reach a terminal.
    running.wait_line("query")
    running.stop()
    for line in running.log:
        assert line.text.isprintable() and line.text.isascii(), repr(line.text)
        assert line.text.startswith("level="), line.text


@row("C-26")
def test_name_case_is_preserved(env):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask("eXaMpLe.TeSt"))
    assert server.queries[0].name == "eXaMpLe.TeSt"


@row("C-26")
def test_response_has_the_name_case_of_the_query(env):
    """Also if the upstream changes the case."""
    env.proxy(env.upstream(faults.message(lambda asked: asked.answer(
        parts=tuple(part.lower() for part in asked.seen.parts)))))
    env.assert_ok(env.ask("eXaMpLe.TeSt"))


@row("C-27")
def test_two_clients_with_the_same_id(env):
    server = env.upstream()
    env.proxy(server)
    clients = [env.client() for _ in range(20)]
    for n, client in enumerate(clients):
        client.send(Query(f"delay-100.n{n}.test", ident=4711))
    for client in clients:
        client.receive_all()
        env.assert_ok(client.exchanges[0], 1)
    upstream_ids = [asked.seen.ident for asked in server.queries]
    assert len(set(upstream_ids)) == 20, "RFC 7766 6.2.1: an ID in flight was used again"


@row("C-28")
def test_same_id_twice_on_one_connection(env):
    env.proxy(env.upstream())
    client = env.client()
    asked = client.send(*[Query(f"delay-{100 - n}.n{n}.test", ident=4711) for n in range(10)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange, 1)


@asks_again
@table("flags, edns", ("C-29-RD-0", 0, None), ("C-29-AD", dnsmsg.RD | dnsmsg.AD, None),
       ("C-29-CD", dnsmsg.RD | dnsmsg.CD, None), ("C-29-Z", dnsmsg.RD | dnsmsg.Z, None),
       ("C-29-all", dnsmsg.RD | dnsmsg.AD | dnsmsg.CD | dnsmsg.Z, None),
       ("C-29-DO", dnsmsg.RD, dnsmsg.opt(flags=dnsmsg.DO)))
def test_query_flags_are_forwarded(env, flags, edns):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask(Query(flags=flags, edns=edns)))
    seen = server.queries[0].seen
    assert seen.flags == flags
    assert (seen.opt[3] & dnsmsg.DO if seen.opt else 0) == (dnsmsg.DO if edns else 0)


@table("qtype, qclass", ("C-30-type-0", 0, 1), ("C-30-ANY", 255, 1), ("C-30-type-65535", 65535, 1),
       ("C-30-class-CH", 16, 3), ("C-30-class-ANY", 16, 255), ("C-30-unknown", 65280, 65280),
       ("C-30-AAAA", 28, 1), ("C-30-HTTPS", 65, 1))
def test_any_type_and_class_is_forwarded(env, qtype, qclass):
    server = env.upstream()
    env.proxy(server)
    exchange = env.assert_ok(env.ask("any.test", qtype=qtype, qclass=qclass))
    assert (server.queries[0].seen.qtype, server.queries[0].seen.qclass) == (qtype, qclass)
    # The OPT of the answer was meant for us: who sends none gets none (RFC 6891 7).
    assert exchange.answer.wire[2:] == dnsmsg.outside_opt(server.queries[0].answer())[2:]


# Allowed clients, and the limit of queries in flight.


@table("allow, rcode", ("allow-private", ["private"], dnsmsg.NOERROR),
       ("allow-any", ["any"], dnsmsg.NOERROR), ("allow-prefix", ["127.0.0.0/8"], dnsmsg.NOERROR),
       ("allow-others", ["192.0.2.0/24", "2001:db8::/32"], dnsmsg.REFUSED))
def test_allow_list(env, allow, rcode):
    server = env.upstream()
    env.proxy(server, allow=allow)
    exchange = env.ask(Query(edns=dnsmsg.opt()))
    assert exchange.rcode == rcode
    assert len(server.queries) == (rcode == dnsmsg.NOERROR)
    env.answered_within(0.2, exchange)
    if rcode == dnsmsg.REFUSED:
        env.upstreams.clear()         # no client is allowed, which includes the last query
        server.close()


@pytest.mark.parametrize("inflight", [2, 8])
def test_inflight_limits_queries(env, inflight):
    server = env.upstream()
    env.proxy(server, inflight=inflight, timeouts={"answer": "1s"})
    client = env.client()
    asked = client.send(*[Query(f"delay-30.n{n}.test") for n in range(4 * inflight)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange)
    arrived = sorted(query.at for query in server.queries)
    # The first surplus query is read when a response frees a slot.
    assert arrived[inflight] - arrived[0] >= 0.02
