"""Group K: what a cache may not change for clients: limits, errors, health checks, any message."""

import contextlib
import subprocess
import threading
import time

import dns.message
import dns.name
import dns.rdatatype
import dns.renderer
import dns.rrset
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import answers
import dnsmsg
import faults
import proxy
from answers import positive, serve, ttls, version
from caching import PLAIN, STALE, written
from clock import now, wait_until
from dnsmsg import BADVERS, FORMERR, NOTIMP, RD, REFUSED, Query
from env import EDNS, MIB
from rows import row, table

NAME = "example.test"
WORKER_MAX = 24 * MIB        # as without a cache (C-34)


@pytest.fixture
def filled(env):
    """Starts the proxy, which has an entry for NAME then."""
    def start(make=positive(ttl=3600), cache=PLAIN, **more):
        server = env.upstream(serve(make))
        env.proxy(server, cache=cache, **more)
        assert version(env.assert_ok(env.ask(NAME))) == 1
        return server
    return start


# Names.


@row("K-04-names")
def test_names_that_differ_in_other_bytes_than_letters(env):
    """Only A to Z and a to z are equal (RFC 4343)."""
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN)
    names = [(b"a.b", b"test"), (b"a", b"b", b"test"), (b"[", b"test"), (b"{", b"test"),
             (b"@", b"test"), (b"`", b"test"), (b"\xc3\x84", b"test"), (b"\xe3\xa4", b"test"),
             (b"\0", b"test"), (b" ", b"test"), (b"a\0b", b"test"), (b"Z[", b"test"), (),
             (b"\x41" * 63,) * 3 + (b"b" * 61,), (b"\x41" * 63,) * 3 + (b"c" * 61,)]
    client = env.client()
    for _ in range(2):
        for name in names:
            assert version(env.assert_ok(client.ask(Query(name, qtype=dnsmsg.TXT)))) == 1
    assert len(server.arrived) == len(names)
    assert version(env.assert_ok(client.ask(Query((b"z[", b"test"), qtype=dnsmsg.TXT)))) == 1
    assert len(server.arrived) == len(names)


# Limits.


@row("K-28-pipeline")
def test_5000_pipelined_hits(env, filled):
    server = filled()
    client = env.client()
    thread = threading.Thread(target=client.send, args=[Query(NAME, ident=n) for n in range(5000)])
    thread.start()
    wait_until(lambda: len(client.exchanges) == 5000)
    client.receive_all()
    thread.join()
    for exchange in client.exchanges:
        env.assert_ok(exchange)
    assert len(server.queries) == 1


@row("K-28-datagrams")
def test_1000_hits_at_once_over_udp(env, filled):
    server = filled()
    client = env.datagrams()
    for start in range(0, 1000, 100):
        client.send(*[Query(NAME, ident=n) for n in range(start, start + 100)])
    client.receive_all()
    for exchange in client.exchanges:
        env.assert_ok(exchange)
    assert len(server.queries) == 1


@row("K-51-unread")
def test_unread_hits_do_not_exhaust_memory(env, filled):
    """A client asks for a long cached answer again and again, and reads nothing."""
    filled(answers.by_name({NAME: answers.large(60000, ttl=3600)}),
           {**PLAIN, "size": written(16 * MIB)})
    lazy = [env.client(receive_buffer=4096, source="127.0.0.2") for _ in range(4)]
    for client in lazy:
        client.abandoned = True
        client.sock.settimeout(1)
        with contextlib.suppress(OSError):
            client.send(*[Query(NAME, ident=n) for n in range(1000)])
    other, until = env.datagrams(), now() + 1
    while now() < until:
        env.assert_ok(other.ask("other.test"), 1)
    for client in lazy:
        client.close()
    if not env.sanitized:
        worker, = env.proxies[-1].workers()
        with open(f"/proc/{worker}/status") as file:
            most = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
        assert most < WORKER_MAX, f"{most / MIB:.1f} MiB"


@row("K-15-slots")
def test_hits_while_other_clients_fill_the_slots(env, filled):
    server = filled(inflight=128)
    greedy = env.client(source="127.0.0.2")
    greedy.send(*[Query(f"delay-900.n{n}.test") for n in range(200)])
    wait_until(lambda: len(server.queries) > 120)
    for client in (env.client(source="127.0.0.3"), env.datagrams(source="127.0.0.3")):
        for _ in range(10):
            env.assert_ok(client.ask(NAME), 0.2)
    greedy.close()


@row("K-08-evicted")
def test_query_given_up_for_others_is_no_failure_of_its_name(env):
    """SERVFAIL because of too many queries is not for others who ask the same."""
    server = env.upstream(serve(answers.by_name({}, positive())))
    env.proxy(server, cache=PLAIN, inflight=64, timeouts={"query": "8s", "answer": "5s"})
    greedy = env.datagrams(source="127.0.1.1")
    greedy.abandoned = True
    first, = greedy.send(Query("delay-2500.test", edns=EDNS))
    number = 0
    while first.answer is None and now() < first.at + 2.4:
        greedy.send(*[Query(f"delay-2500.n{number + n}.test") for n in range(10)])
        env.datagrams(source=f"127.0.2.{number // 10 % 250 + 1}").send(
            Query(f"delay-2500.of-others-{number}.test"))
        env.clients[-1].abandoned = True
        number += 10
        greedy.receive(0.02)
    env.servfail(first)
    assert first.answer.ede[0][0] == 0
    tried = len(server.queries_for("delay-2500.test"))
    client = env.client(source="127.0.3.1")
    client.send(Query("delay-2500.test"))
    wait_until(lambda: len(server.queries_for("delay-2500.test")) > tried, 4, "it is asked again")
    client.receive_all()
    env.assert_ok(client.exchanges[0])


# Errors.


@row("K-55-allow")
def test_client_that_is_not_allowed_gets_nothing_from_the_cache(env, filled):
    server = filled(allow=["127.0.0.1/32"])
    assert env.client(source="127.0.0.2").ask(NAME).rcode == REFUSED
    stranger = env.datagrams(source="127.0.0.2")
    stranger.send(Query(NAME))
    stranger.assert_silent()
    stranger.abandoned = True
    assert len(server.queries) == 1


@row("K-55-errors")
def test_malformed_and_unusual_queries_for_a_cached_name(env, filled):
    """They get what they got without a cache."""
    server = filled()
    question = Query(NAME).question
    client = env.client()
    for wire, rcode in (
            (dnsmsg.header(1, RD, 1, 0, 0, 2) + question + EDNS * 2, FORMERR),
            (dnsmsg.header(2, RD, 2, 0, 0, 0) + question * 2, FORMERR),
            (dnsmsg.header(3, RD, 1, 0, 0, 1) + question + EDNS[:-1], FORMERR),
            (dnsmsg.header(4, RD | 2 << 11, 1, 0, 0, 0) + question, NOTIMP),
            (dnsmsg.header(5, RD | 4 << 11, 1, 0, 0, 0) + question, NOTIMP),
            (dnsmsg.header(6, RD, 1, 0, 0, 1) + question + dnsmsg.opt(version=1), BADVERS)):
        exchange, = client.send(wire)
        client.receive_until(exchange)
        assert exchange.rcode == rcode, exchange.answer
        assert not exchange.answer.rdatas
    assert env.ask(NAME, qtype=dnsmsg.AXFR).rcode == REFUSED
    assert len(server.queries) == 1


@row("K-24-without-EDNS")
def test_answer_of_a_server_without_edns_is_cached(env):
    def make(query, version):
        if query.opt:
            return answers.message(query, rcode=FORMERR)
        return positive()(query, version)
    server = env.upstream(serve(make))
    env.proxy(server, cache=PLAIN)
    for edns in (None, EDNS, None):
        assert bool(env.assert_ok(env.ask(edns=edns)).answer.opt) == bool(edns)
    assert len(server.queries) == 2


# Health checks.


def _healthcheck(env, *options):
    return subprocess.run([proxy.BINARY, "-c", env.config_path, "healthcheck", *options],
                          capture_output=True, text=True, timeout=15)


@table("cache", ("K-55-healthcheck", True), ("K-55-healthcheck-stale", {**STALE, "max_ttl": "1s"}))
def test_healthcheck_of_upstreams_is_not_answered_from_the_cache(env, cache):
    """It says whether an upstream answers now."""
    server = env.upstream()
    env.proxy(server, cache=cache)
    client = env.client()
    for _ in range(2):
        client.ask(".", qtype=dnsmsg.NS)
        assert _healthcheck(env, "--upstream").returncode == 0
    server.restart(faults.refuse)
    if cache is not True:
        time.sleep(1.2)
    done = _healthcheck(env, "--upstream")
    assert done.returncode == 1, done
    server.do()
    wait_until(lambda: _healthcheck(env, "--upstream").returncode == 0, 6)


# Any message.


_NAMES = st.sampled_from([dns.name.from_text(text) for text in (
    "a.example.test.", "b.a.example.test.", "ns.other.test.", "test.", ".")])
_RECORDS = st.one_of(
    st.tuples(st.just("A"), st.ip_addresses(v=4).map(str)),
    st.tuples(st.sampled_from(["NS", "PTR"]), _NAMES.map(str)),
    st.tuples(st.just("MX"), _NAMES.map(lambda name: f"1 {name}")),
    st.tuples(st.just("SOA"), st.tuples(_NAMES, _NAMES).map("{0[0]} {0[1]} 1 2 3 4 5".format)),
    st.tuples(st.just("SRV"), _NAMES.map(lambda name: f"1 2 3 {name}")),
    st.tuples(st.sampled_from(["TYPE65280", "TYPE999"]),
              st.binary(max_size=40).map(lambda data: f"\\# {len(data)} {data.hex()}")))
_SECTION = st.lists(st.tuples(_NAMES, st.integers(100, 2**31 - 1), _RECORDS), max_size=4)


@st.composite
def _responses(draw):
    """The body of a response whose answer section has a record for the question."""
    qname = draw(_NAMES)
    made = dns.renderer.Renderer(id=0, flags=dnsmsg.QR | dnsmsg.RD | dnsmsg.RA)
    made.add_question(qname, dns.rdatatype.A)
    for section in (dns.renderer.ANSWER, dns.renderer.AUTHORITY, dns.renderer.ADDITIONAL):
        records = draw(_SECTION)
        if section == dns.renderer.ANSWER:
            ours = qname, draw(st.integers(100, 2**31 - 1)), ("A", "192.0.2.1")
            records.insert(draw(st.integers(0, len(records))), ours)
        for owner, ttl, (rtype, text) in records:
            made.add_rrset(section, dns.rrset.from_text(owner, ttl, "IN", rtype, text))
    made.write_header()
    return made.get_wire()


@row("K-34")
def test_hit_on_any_well_formed_answer_is_equal_but_for_its_ttls(env):
    """Each example has a class of its own, so that it is another question."""
    env.allow_wrong_responses = True
    bodies = []
    server = env.upstream(faults.message(lambda asked: _body(asked, bodies[-1])))
    running = env.proxy(server, cache={**PLAIN, "max_ttl": "7d"})
    client = env.client()

    @settings(max_examples=150, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(_responses())
    def hits(body):
        bodies.append(body)
        running.process.send_signal(12)         # SIGUSR2: it was another answer before
        wait_until(lambda: len(running.lines("cache cleared")) == len(bodies), 2)
        asked = dnsmsg.read(body)
        before = len(server.arrived)
        query = Query(asked.parts, qtype=asked.qtype)
        first, second = client.ask(query), client.ask(query)
        assert len(server.arrived) == before + 1
        assert _without_ttls(first.answer.wire) == _without_ttls(second.answer.wire)
        for was, left in zip(ttls(first), ttls(second)):
            assert min(was, 7 * 86400) - 1 <= left <= was
        dns.message.from_wire(second.answer.wire)

    hits()


def _body(asked, body):
    return asked.seen.wire[:2] + body[2:]


def _without_ttls(wire):
    """The message with a TTL of 0 in each record, without its ID."""
    wire, at = bytearray(wire), 12
    for _ in range(int.from_bytes(wire[4:6], "big")):
        at = dnsmsg._read_name(wire, at)[1] + 4
    while at < len(wire):
        at = dnsmsg._read_name(wire, at)[1] + 10
        wire[at - 6:at - 2] = bytes(4)
        at += int.from_bytes(wire[at - 2:at], "big")
    return bytes(wire[2:])
