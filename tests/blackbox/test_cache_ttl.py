"""Group K: how long an entry of the cache lives, and the TTLs in its responses."""

import struct
import time

import dns.message
import pytest

import answers
import dnsmsg
from answers import (chain, cname, data, message, negative, positive, record, rrsig, serve, soa,
                     ttls, version)
from caching import PLAIN
from clock import now
from dnsmsg import A, AAAA, DO, NXDOMAIN, RD, TXT, Query
from env import EDNS
from rows import row, table

HOUR = 3600
MAX_TTL = 600


@pytest.fixture
def aged(env, boottime):
    """Starts the proxy with a clock that jumps; its entries only live and end."""
    def start(make, **settings):
        server = env.upstream(serve(make))
        env.proxy(server, cache={**PLAIN, **settings}, popen_args=boottime.popen_args)
        return server
    return start


# Real time.


@row("K-07")
def test_ttl_counts_down_to_1_and_the_entry_ends(env):
    server = env.upstream(serve(positive(ttl=3)))
    env.proxy(server, cache=PLAIN)
    client = env.client()
    first = env.assert_ok(client.ask(edns=dnsmsg.opt(flags=DO)))
    assert ttls(first) == [3, 3]
    seen = []
    while (exchange := env.assert_ok(client.ask(edns=dnsmsg.opt(flags=DO)))) and \
            version(exchange) == 1:
        age = exchange.at - first.answered
        left, other = ttls(exchange)
        assert left == other and max(1, 3 - age - 1.1) <= left <= 3
        # The TTL of an OPT is something else.
        assert exchange.answer.opt[3] == DO
        seen.append((age, left))
        time.sleep(0.05)
    ages, lefts = zip(*seen)
    assert list(lefts) == sorted(lefts, reverse=True) and set(lefts) >= {1, 2}
    assert ages[-1] > 1.9
    env.within(3.2, first.answered, exchange.at)
    assert len(server.queries) == 2


@row("K-34")
def test_hit_is_equal_but_for_its_ttls(env):
    """Not RRSIG's original TTL, and not the numbers in a SOA."""
    def rich(query, version):
        return message(query, [*data(query, version, 60), rrsig(None, A, 60, original_ttl=60)],
                       [record("test", dnsmsg.NS, 60, b"\2ns\4test\0"), soa("test", 60, 60, 60)],
                       [record("ns.test", A, 60, struct.pack("!I", 60)),
                        record("ns.test", 65280, 60, struct.pack("!I", 60) * 4)])
    server = env.upstream(serve(rich))
    env.proxy(server, cache=PLAIN)
    ask = [Query(flags=RD, edns=dnsmsg.opt(flags=DO)) for _ in range(2)]
    first = env.assert_ok(env.ask(ask[0]))
    time.sleep(2)
    hit = env.assert_ok(env.ask(ask[1]))
    assert len(server.queries) == 1
    assert set(ttls(first)) == {60} and len(set(ttls(hit))) == 1 and 57 <= ttls(hit)[0] <= 58
    again = _with_ttls(hit.answer.wire, 60)
    assert dnsmsg.outside_opt(again)[2:] == dnsmsg.outside_opt(first.answer.wire)[2:]


def _with_ttls(wire, ttl):
    """The message with the TTL of each record replaced."""
    wire, at = bytearray(wire), 12
    counts = struct.unpack("!4H", wire[4:12])
    for _ in range(counts[0]):
        at = dnsmsg._read_name(wire, at)[1] + 4
    for _ in range(sum(counts[1:])):
        at = dnsmsg._read_name(wire, at)[1]
        rtype, _, _, size = struct.unpack("!HHIH", wire[at:at + 10])
        if rtype != dnsmsg.OPT:
            wire[at + 4:at + 8] = struct.pack("!I", ttl)
        at += 10 + size
    return bytes(wire)


@row("K-54")
def test_min_ttl_stretches_a_short_life(env):
    server = env.upstream(serve(positive(ttl=1)))
    env.proxy(server, cache={**PLAIN, "min_ttl": "4s"})
    client = env.client()
    first = env.assert_ok(client.ask())
    while now() < first.answered + 2.8:
        exchange = env.assert_ok(client.ask())
        assert version(exchange) == 1 and all(1 <= ttl <= 4 for ttl in ttls(exchange))
        time.sleep(0.1)
    time.sleep(1.4)
    assert version(env.assert_ok(client.ask())) == 2


@row("K-35")
def test_hits_do_not_prolong_an_entry(env):
    """Ghost domains: only an answer from an upstream does."""
    server = env.upstream(serve(positive(ttl=2)))
    env.proxy(server, cache=PLAIN)
    client = env.client()
    first = env.assert_ok(client.ask())
    while now() < first.answered + 2.3:
        exchange = env.assert_ok(client.ask())
        assert version(exchange) == 1 or now() > first.answered + 0.9
        time.sleep(0.25)
    assert version(env.assert_ok(client.ask())) >= 2


# With jumps.


def _lives(env, boottime, seconds, name="example.test", **fields):
    """Whether an entry lives that long, and no longer."""
    first = env.ask(name, **fields)
    boottime.jump(seconds - 2)
    young = env.ask(name, **fields)
    boottime.jump(4)
    old = env.ask(name, **fields)
    return [version(exchange) - version(first) for exchange in (young, old)] == [0, 1]


@table("life, seconds",
       ("K-06-300", (300, 300), 300), ("K-06-mixed", (300, 20), 20), ("K-06-mixed", (20, 300), 20),
       ("K-06-at-most-max-ttl", (MAX_TTL + 1, HOUR), MAX_TTL),
       ("K-06-2^31-1", (2**31 - 1,) * 2, MAX_TTL), ("K-06-2^31", (2**31,) * 2, MAX_TTL),
       ("K-06-2^32-1", (2**32 - 1,) * 2, MAX_TTL), ("K-06-2^32-1-and-20", (2**32 - 1, 20), 20))
def test_entry_lives_for_the_least_ttl(env, boottime, aged, life, seconds):
    def make(query, version):
        made = [data(query, version, ttl)[n] for n, ttl in enumerate(life)]
        return message(query, made)
    server = aged(make, max_ttl=f"{MAX_TTL}s")
    assert _lives(env, boottime, seconds)
    boottime.jump(5)
    shown = ttls(env.ask())
    assert len(server.queries) == 2
    for ttl, own in zip(shown, life):
        assert 1 <= ttl <= min(own, MAX_TTL) - 4, shown


@row("K-06")
def test_ttl_of_any_section_counts(env, boottime, aged):
    aged(lambda query, version: message(
        query, data(query, version, 300), [record("test", dnsmsg.NS, 100, b"\2ns\4test\0")],
        [record("ns.test", A, 20, b"\1\2\3\4")]))
    assert _lives(env, boottime, 20)


@row("K-06-chain")
def test_ttl_of_a_cname_counts(env, boottime, aged):
    aged(lambda query, version: message(
        query, [cname(None, "target.test", 20), *data(query, version, 300, "target.test")]))
    assert _lives(env, boottime, 20)


@table("make", ("K-06-0", positive(ttl=0)),
       ("K-06-0-of-one", lambda query, version: message(
           query, [data(query, version, 60)[0], data(query, version, 0)[1]])),
       ("K-06-0-of-a-CNAME", lambda query, version: message(
           query, [cname(None, "b.test", 0), *data(query, version, 60, "b.test")])),
       ("K-06-0-of-a-SOA", negative(NXDOMAIN, ttl=0)),
       ("K-06-0-MINIMUM", negative(NXDOMAIN, minimum=0)))
def test_ttl_0_is_not_kept(env, make):
    env.allow_wrong_responses = True
    server = env.upstream(serve(make))
    env.proxy(server, cache=PLAIN)
    first, second = env.ask(), env.ask()
    assert (version(first), version(second)) == (1, 2)
    assert ttls(first) == ttls(second)


def test_two_hours(env, boottime, aged):
    """The default keeps TTLs of a day as they are."""
    aged(positive(ttl=24 * HOUR))
    env.assert_ok(env.ask())
    boottime.jump(2 * HOUR)
    exchange = env.assert_ok(env.ask())
    assert version(exchange) == 1
    assert 22 * HOUR - 2 <= ttls(exchange)[0] <= 22 * HOUR


@table("ttl, minimum", ("K-33-MINIMUM", 600, 20), ("K-33-TTL", 20, 600), ("K-33-equal", 20, 20))
@pytest.mark.parametrize("rcode", [NXDOMAIN, 0])
def test_negative_answer_lives_for_the_lesser_of_ttl_and_minimum(env, boottime, aged, rcode, ttl,
                                                                 minimum):
    """RFC 2308 5; clients see no more than that."""
    env.allow_wrong_responses = True
    server = aged(negative(rcode, ttl=ttl, minimum=minimum))
    assert _lives(env, boottime, 20)
    boottime.jump(5)
    hit = env.ask()
    assert version(hit) == 2 and ttls(hit)[0] in (14, 15)
    assert hit.answer.records[0][4][-4:] == struct.pack("!I", minimum)
    assert len(server.queries) == 2


@row("K-33-negative-ttl")
def test_negative_ttl_is_a_maximum(env, boottime, aged):
    env.allow_wrong_responses = True
    aged(negative(NXDOMAIN, ttl=HOUR, minimum=HOUR), negative_ttl="30s")
    assert _lives(env, boottime, 30)
    hit = env.ask()
    assert version(hit) == 2 and ttls(hit)[0] in (29, 30)


@row("K-32")
def test_nodata_at_the_end_of_a_chain_lives_as_negative(env, boottime, aged):
    env.allow_wrong_responses = True
    aged(lambda query, version: message(
        query, [cname(None, "target.other", 300)], [soa("other", 600, 20, version)]))
    assert _lives(env, boottime, 20)


@row("K-32")
def test_cname_limits_the_life_of_nodata_behind_it(env, boottime, aged):
    env.allow_wrong_responses = True
    aged(lambda query, version: message(
        query, [cname(None, "target.other", 20)], [soa("other", 600, 600, version)]))
    assert _lives(env, boottime, 20)


@row("K-54")
def test_min_ttl_is_for_positive_answers_as_well_as_negative(env, boottime, aged):
    env.allow_wrong_responses = True
    aged(answers.by_name({"gone.test": negative(NXDOMAIN, ttl=2, minimum=2)}, positive(ttl=2)),
         min_ttl="20s")
    assert _lives(env, boottime, 20)
    assert _lives(env, boottime, 20, "gone.test")


@row("K-18")
def test_machine_that_slept_has_no_old_answers(env, boottime, aged):
    """CLOCK_BOOTTIME goes on while it sleeps, and CLOCK_MONOTONIC does not."""
    aged(positive(ttl=300))
    client = env.client()
    for n in range(3):
        assert version(env.assert_ok(client.ask())) == n + 1
        assert version(env.assert_ok(client.ask())) == n + 1
        boottime.jump(305)


def test_real_clients_read_a_hit(env):
    """dnspython, which checks each record."""
    server = env.upstream(serve(chain((None, "b.other"), end="b.other")))
    env.proxy(server, cache=PLAIN)
    for qtype in (A, AAAA, TXT):
        for edns in (None, EDNS):
            wire = env.assert_ok(env.ask(qtype=qtype, edns=edns)).answer.wire
            read = dns.message.from_wire(wire)
            assert len(read.answer) == 2 and len(read.answer[1]) == 2
    assert len(server.queries) == 3
