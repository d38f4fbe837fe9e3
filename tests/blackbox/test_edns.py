"""EDNS is terminated at the proxy: what the upstream and the client receive."""

import struct

import dns.message
import dns.name
import dns.rdatatype
import dns.renderer
import dns.rrset
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import dnsmsg
import faults
from clock import wait_until
from dnsmsg import Query, option
from env import EDNS
from rows import asks_again, row, table

SUBNET, COOKIE, KEEPALIVE, PADDING, NSID = 8, 10, 11, 12, 3
CLIENT_SUBNET = option(SUBNET, b"\0\1\x18\0\xc0\0\2")
OPT_OUT = (SUBNET, b"\0\1\0\0")         # IPv4, SOURCE and SCOPE PREFIX-LENGTH 0
OF_ONE_HOP = (CLIENT_SUBNET + option(COOKIE, b"12345678") + option(KEEPALIVE)
              + option(PADDING, bytes(7)))
THAT_CROSS = option(NSID, b"ns") + option(65001, b"?")


def _options(wire):
    return [code for code, _ in dnsmsg.read(wire).options]


# Towards the upstream.


@table("edns", ("D-20-no-OPT", None), ("D-20-OPT", EDNS),
       ("D-20-options", dnsmsg.opt(OF_ONE_HOP + THAT_CROSS, flags=dnsmsg.DO)))
def test_upstream_gets_padded_private_queries(env, edns):
    """No cleartext, padded blocks, no data that identifies a client."""
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    for size in range(1, 62):
        env.assert_ok(client.ask(Query("a" * size + ".test", edns=edns)))
    asked = [query.seen for query in server.queries]
    for seen in asked:
        assert len(seen.wire) % 128 == 0
        codes = [code for code, _ in seen.options]
        assert COOKIE not in codes and codes[-2:] == [KEEPALIVE, PADDING]
        assert codes.count(SUBNET) == 1 and OPT_OUT in seen.options
        assert (KEEPALIVE, b"") in seen.options
        assert not any(seen.options[-1][1])
        assert codes[:-3] == ([NSID, 65001] if edns and len(edns) > 11 else [])
        assert seen.opt[2] == 1232
        assert seen.opt[3] == (dnsmsg.DO if edns and len(edns) > 11 else 0)
    assert {len(seen.wire) for seen in asked} <= {128, 256}
    for connection in server.connections:
        assert connection.first_byte == 0x16 and connection.cleartext is None
        assert connection.facts["sni"] == server.hostname


@row("D-20")
def test_each_query_of_a_batch_is_padded(env):
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    for exchange in client.send(*[Query(f"n{n}.test") for n in range(50)]):
        env.assert_ok(client.receive_until(exchange))
    assert {len(query.seen.wire) for query in server.queries} == {128}


@row("D-20")
def test_padding_can_be_disabled(env):
    server = env.upstream()
    env.proxy(server, privacy={"padding": False})
    query = Query("example.test", edns=EDNS)
    env.assert_ok(env.ask(query))
    seen = server.queries[0].seen
    assert [code for code, _ in seen.options] == [SUBNET, KEEPALIVE]
    assert len(seen.wire) == len(query.wire) + 12


@table("options, wanted", ("client-subnet-of-the-client", CLIENT_SUBNET,
                           [(SUBNET, b"\0\1\x18\0\xc0\0\2")]),
       ("client-subnet-none", b"", []))
def test_client_subnet_is_forwarded_if_configured(env, options, wanted):
    server = env.upstream(faults.wrong(options=options))
    env.proxy(server, privacy={"client_subnet": True})
    exchange = env.assert_ok(env.ask(Query(edns=dnsmsg.opt(options))))
    assert [o for o in server.queries[0].seen.options if o[0] == SUBNET] == wanted
    assert exchange.answer.options == wanted


@table("signature", ("C-29-TSIG", dnsmsg.record(b"\3key\0", 250, 255, 0, b"tsig")),
       ("C-29-SIG-0", dnsmsg.record(b"\0", 24, 255, 0, b"\0\0sig0")))
def test_signed_messages_are_forwarded_unmodified(env, signature):
    """In both directions, except for the ID."""
    env.allow_wrong_responses = True
    edns = dnsmsg.opt(OF_ONE_HOP + THAT_CROSS, size=4096)
    body = Query("sIgNeD.test").question + edns + signature

    def make(asked):
        return dnsmsg.header(asked.seen.ident, dnsmsg.QR | dnsmsg.RA | dnsmsg.RD, 1, 0, 0, 2) \
            + body.replace(b"sIgNeD", b"signed")
    server = env.upstream(faults.message(make))
    env.proxy(server)
    client = env.client()
    query = dnsmsg.header(4711, dnsmsg.RD, 1, 0, 0, 2) + body
    exchange, = client.send(query)
    client.receive_until(exchange)
    assert server.queries[0].seen.wire[2:] == query[2:]
    assert exchange.answer.wire[2:] == make(server.queries[0])[2:]


# Towards the client.


@table("edns", ("D-27-no-OPT", None), ("D-27-OPT", EDNS))
def test_response_options(env, edns):
    ede = option(dnsmsg.EDE, b"\0\3stale")
    hop = OF_ONE_HOP.replace(option(KEEPALIVE), option(KEEPALIVE, b"\0\xff"))
    env.proxy(env.upstream(faults.wrong(options=hop + THAT_CROSS + ede)))
    exchange = env.assert_ok(env.ask(Query(edns=edns)))
    assert (exchange.answer.opt is None) == (edns is None)
    assert exchange.answer.options == ([] if edns is None else
                                       dnsmsg.read(Query(edns=dnsmsg.opt(THAT_CROSS + ede)).wire)
                                       .options)


@row("D-27")
def test_response_has_opt_if_the_upstream_sends_none(env):
    """RFC 6891 6.1.1: a query with OPT gets a response with OPT."""
    env.proxy(env.upstream(faults.message(lambda asked: dnsmsg.outside_opt(asked.answer()))))
    assert env.assert_ok(env.ask(Query(edns=EDNS))).answer.opt is not None
    assert env.assert_ok(env.ask(Query())).answer.opt is None


@table("edns, rcode", ("D-27-extended-RCODE", EDNS, 22),
       ("D-27-extended-RCODE-without-OPT", None, dnsmsg.SERVFAIL))
def test_extended_rcode(env, edns, rcode):
    env.proxy(env.upstream(faults.wrong(rcode=22)))
    assert env.ask(Query(edns=edns)).rcode == rcode


@row("D-12")
def test_malformed_response_is_retried_on_the_next_upstream(env):
    a, b = env.pair(faults.message(lambda asked: asked.answer()[:-1]))
    running = env.proxy(a, b)
    env.assert_ok(env.ask(), 0.5)
    assert a.queries and b.queries
    assert not running.lines("upstream down")


@row("D-12")
def test_malformed_response_of_the_only_upstream_is_servfail(env):
    server = env.upstream(faults.message(lambda asked: asked.answer()[:-1]))
    env.proxy(server)
    exchange = env.servfail(env.ask(Query(edns=EDNS)), 0.5)
    assert exchange.answer.ede == [(23, f"{server.name}: query: malformed response")]


# A server that does not like our OPT.


def _formerr(dislikes, **wrong):
    """FORMERR to each query that it does not like."""
    async def asked(connection, query):
        answer = query.answer(**wrong) if dislikes(query.seen) else query.answer()
        await connection.reply(answer)
    return faults.Script(on_query=asked)


def _has_opt(seen):
    return seen.opt is not None


def _has_keepalive(seen):
    return KEEPALIVE in [code for code, _ in seen.options]


@asks_again
@table("edns, dislikes", ("D-23-OPT", None, _has_opt), ("D-23-options", EDNS, _has_keepalive))
@pytest.mark.parametrize("questions", [0, 1])
def test_formerr_to_our_edns_options_is_retried_without(env, edns, dislikes, questions):
    """Retried once without them on the same connection, and remembered."""
    a, b = env.pair(_formerr(dislikes, rcode=dnsmsg.FORMERR, questions=questions))
    env.proxy(a, b)
    client = env.client()     # of one worker
    for n in range(5):
        env.assert_ok(client.ask(Query(f"n{n}.test", edns=edns)), 0.3)
    assert [dislikes(query.seen) for query in a.queries] == [True] + 5 * [False]
    assert len(a.connections) == 1 and not b.queries
    plain = a.queries[1].seen
    assert plain.wire[2:] == Query("n0.test", edns=edns).wire[2:]


@row("D-23")
def test_formerr_without_our_edns_options_is_not_remembered(env):
    """The query is retried once, and nothing is remembered."""
    server = env.upstream(faults.rcode(dnsmsg.FORMERR))
    env.proxy(server)
    assert env.ask("first.test").rcode == dnsmsg.FORMERR
    assert [_has_opt(query.seen) for query in server.queries] == [True, False]
    server.do()
    env.assert_ok(env.ask("second.test"))
    assert _has_opt(server.queries[-1].seen)


@row("D-23")
def test_formerr_and_close_is_retried_on_a_new_connection(env):
    """The retry without our options uses a new connection."""
    async def asked(connection, query):
        await connection.reply(query.answer(rcode=dnsmsg.FORMERR if query.seen.opt else 0))
        await connection.close()
    server = env.upstream(faults.Script(on_query=asked))
    env.proxy(server)
    env.assert_ok(env.ask("first.test"))
    assert [_has_opt(query.seen) for query in server.queries] == [True, False]


def _opt_among_answers(query):
    """The expected answer with our OPT record in the answer section."""
    answer = query.answer()
    if query.seen.opt is None:
        return answer
    counts = struct.pack("!HHHH", 1, 2, 0, 0)
    return answer[:4] + counts + answer[12:]


@table("edns", ("D-28-without-OPT", None), ("D-28-with-OPT", EDNS))
def test_server_that_echoes_opt_among_answers_gets_no_opt(env, edns):
    """The query is retried without OPT; this is remembered and logged once."""
    a, b = env.pair(faults.message(_opt_among_answers))
    running = env.proxy(a, b)
    client = env.client()
    for n in range(5):
        exchange = env.assert_ok(client.ask(Query(f"n{n}.test", edns=edns)), 0.3)
        assert (exchange.answer.opt is not None) == (edns is not None)
    assert [_has_opt(query.seen) for query in a.queries] == [True] + 5 * [False]
    assert len(a.connections) == 1 and not b.queries
    line, = running.lines("upstream limits EDNS", upstream=a.name)
    assert "answer section" in line.get("cause")


# How long the server keeps a connection.


def _keepalive(data):
    return faults.wrong(options=option(KEEPALIVE, data))


@row("D-24")
def test_keepalive_0_closes_the_drained_connection(env):
    """Each connection is closed after its last response, and the next query opens another."""
    server = env.upstream(_keepalive(b"\0\0"))
    running = env.proxy(server)
    for n in range(5):
        env.assert_ok(env.ask(f"n{n}.test"))
        wait_until(lambda: not server.open_connections, 2, "the connection is closed")
    assert [len(connection.queries) for connection in server.connections] == [1] * 5
    assert {connection.ended for connection in server.connections} == {"close_notify"}
    assert not running.lines("upstream down")


@row("D-24")
def test_keepalive_0_with_queries_in_flight(env):
    """Sent queries are still answered; new ones use another connection."""
    async def asked(connection, query):
        data = b"\0\0" if query.name == "last.test" else b"\3\xe8"
        if query.delay:
            await faults.answer(connection, query)
        else:
            await connection.reply(query.answer(options=option(KEEPALIVE, data)))
    server = env.upstream(faults.Script(on_query=asked))
    env.proxy(server)
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    slow = client.send(*[Query(f"delay-150.n{n}.test") for n in range(10)])
    env.assert_ok(client.ask("last.test"), 0.2)
    env.assert_ok(client.ask("next.test"), 0.2)
    client.receive_all()
    for exchange in slow:
        env.assert_ok(exchange)
    first, second = server.connections[:2]
    assert len([query for query in first.queries if not query.is_canary]) == 12
    assert second.queries[0].name == "next.test"
    wait_until(lambda: first.closed, 2, "the connection is closed")


@row("D-24")
def test_keepalive_0_with_queued_queries(env):
    """Queries not yet sent move to the next connection."""
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    for n in range(2):
        env.assert_ok(client.ask(f"warm-{n}.test"))
        exchange, = client.send(Query(f"delay-100.cut-{n}.test"))
        wait_until(lambda: server.queries_for(exchange.query.name), 2)
        server.reset()
        env.assert_ok(client.receive_until(exchange))
    server.do(_keepalive(b"\0\0"))
    for exchange in client.send(*[Query(f"wait-{n}.test") for n in range(5)]):
        env.assert_ok(client.receive_until(exchange))
    waited = [query for query in server.queries if query.name.startswith("wait")]
    assert len(waited) == len({query.connection for query in waited}) == 5


@row("D-24")
def test_keepalive_shorter_than_upstream_idle(env):
    server = env.upstream(_keepalive(b"\0\5"))        # half a second
    env.proxy(server)
    exchange = env.assert_ok(env.ask())
    wait_until(lambda: not server.open_connections, 2, "the connection is closed")
    closed = server.connections[0].closed
    assert closed - exchange.at >= 0.3
    env.within(0.5, exchange.answered, closed)


@table("data", ("D-24-100-s", b"\3\xe8"), ("D-24-empty", b""), ("D-24-one-byte", b"\0"),
       ("D-24-three-bytes", b"\0\0\0"))
def test_keepalive_without_effect(env, data):
    server = env.upstream(_keepalive(data))
    env.proxy(server, timeouts={"upstream_idle": "400ms"})
    exchange = env.assert_ok(env.ask("first.test"))
    env.assert_ok(env.ask("second.test"))
    assert len(server.connections) == 1
    wait_until(lambda: not server.open_connections, 2, "the connection is closed")
    assert server.connections[0].closed - exchange.answered >= 0.35
    env.within(0.7, exchange.answered, server.connections[0].closed)


# Any well-formed message.


_NAMES = st.sampled_from([dns.name.from_text(text) for text in (
    "example.test.", "a.example.test.", "b.a.example.test.", "ns.other.test.", "test.", ".")])
_RECORDS = st.one_of(
    st.tuples(st.just("A"), st.ip_addresses(v=4).map(str)),
    st.tuples(st.just("AAAA"), st.ip_addresses(v=6).map(str)),
    st.tuples(st.sampled_from(["NS", "CNAME", "PTR"]), _NAMES.map(str)),
    st.tuples(st.just("MX"), _NAMES.map(lambda name: f"1 {name}")),
    st.tuples(st.just("SOA"), st.tuples(_NAMES, _NAMES).map("{0[0]} {0[1]} 1 2 3 4 5".format)),
    st.tuples(st.just("SRV"), _NAMES.map(lambda name: f"1 2 3 {name}")),
    st.tuples(st.sampled_from(["TYPE65280", "TYPE999"]),
              st.binary(max_size=40).map(lambda data: f"\\# {len(data)} {data.hex()}")))
_SECTION = st.lists(st.tuples(_NAMES, st.integers(0, 2**32 - 1), _RECORDS), max_size=4)
_OPTIONS = st.lists(st.one_of(
    st.builds(option, st.sampled_from([NSID, COOKIE, PADDING, 65001]), st.binary(max_size=20)),
    st.builds(option, st.just(KEEPALIVE), st.binary(min_size=2, max_size=2).filter(any)),
    st.just(CLIENT_SUBNET), st.just(option(dnsmsg.EDE, b"\0\3stale"))), max_size=5)
_OPT = st.none() | st.builds(lambda options, *rest: dnsmsg.opt(b"".join(options), *rest),
                             _OPTIONS, st.integers(0, 65535), st.integers(0, 65535))


@st.composite
def _pairs(draw):
    """A query and its response, each a whole message whose OPT may be in front of others."""
    qname, qtype = draw(_NAMES), draw(st.sampled_from(["A", "NS", "MX", "TYPE65280", "ANY"]))
    query_flags = draw(st.integers(0, 0xffff)) & (dnsmsg.RD | dnsmsg.AD | dnsmsg.CD | dnsmsg.Z)
    flags = draw(st.integers(0, 0xffff)) & 0x07f0 | dnsmsg.QR | draw(st.sampled_from([0, 3]))

    def message(flags):
        made = dns.renderer.Renderer(id=4711, flags=flags)
        made.add_question(qname, dns.rdatatype.from_text(qtype))
        for section in (dns.renderer.ANSWER, dns.renderer.AUTHORITY):
            add(made, section)
        add(made, dns.renderer.ADDITIONAL)
        opt = draw(_OPT)
        if opt:
            made.output.write(opt)
            made.counts[dns.renderer.ADDITIONAL] += 1
            add(made, dns.renderer.ADDITIONAL)
        made.write_header()
        return made.get_wire()

    def add(made, section):
        for owner, ttl, (rtype, text) in draw(_SECTION):
            made.add_rrset(section, dns.rrset.from_text(owner, ttl, "IN", rtype, text))
    return message(query_flags), message(flags)


def _crossing(wire):
    """What of a message crosses: all but its OPT, and behind that nothing that may not move."""
    if dnsmsg.opt_at(wire) is None:
        return wire
    start, end, _ = dnsmsg.opt_at(wire)
    pointers = [(at, (wire[at] & 63) << 8 | wire[at + 1]) for at in range(end, len(wire) - 1)
                if wire[at] >= 0xc0]
    return dnsmsg.outside_opt(wire, not any(start <= to < at for at, to in pointers))


def _records(section):
    return {(rrset.name, rdata) for rrset in section for rdata in rrset}


def _same(crossed, wire):
    """The forwarded message parses to the message that was sent."""
    crossed, wire = dns.message.from_wire(crossed), dns.message.from_wire(wire)
    assert crossed.sections[:3] == wire.sections[:3] and crossed.flags == wire.flags
    # Of a set of records, those behind the OPT may be missing.
    assert _records(crossed.additional) <= _records(wire.additional)


@asks_again
def test_any_well_formed_message_is_forwarded(env):
    """All bytes outside the OPT are equal in both directions."""
    env.allow_wrong_responses = True
    answers = []
    server = env.upstream(faults.message(
        lambda asked: asked.seen.wire[:2] + answers[-1][2:]))
    env.proxy(server)
    client = env.client()

    @settings(max_examples=200, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(_pairs())
    def crosses(pair):
        query, response = pair
        answers.append(response)
        exchange, = client.send(query)
        client.receive_until(exchange)
        sent, got = server.arrived[-1].seen.wire, exchange.answer.wire
        assert dnsmsg.outside_opt(sent)[2:] == _crossing(query)[2:]
        assert dnsmsg.outside_opt(got)[2:] == _crossing(response)[2:]
        _same(sent, query)
        _same(got, response)
        asked, seen = dnsmsg.read(query), dnsmsg.read(sent)
        assert seen.opt[3] == (asked.opt[3] & 0xffff if asked.opt else 0)
        answer = dnsmsg.read(response)
        assert (exchange.answer.opt is None) == (asked.opt is None)
        if asked.opt:
            added = asked.opt[3] & dnsmsg.DO
            assert exchange.answer.opt[3] == (answer.opt[3] if answer.opt else added)
            of_one_hop = (SUBNET, COOKIE, KEEPALIVE, PADDING)
            assert exchange.answer.options == [o for o in answer.options
                                               if o[0] not in of_one_hop]
            assert seen.options[:-3] == [o for o in asked.options if o[0] not in of_one_hop]

    crosses()
    assert len({_crossing(wire) == dnsmsg.outside_opt(wire) for wire in answers}) == 2
