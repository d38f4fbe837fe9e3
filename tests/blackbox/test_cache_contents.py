"""Group K: which responses the cache keeps, and that none answers another question."""

import time

import pytest

import answers
import caching
import dnsmsg
import faults
from answers import (by_name, chain, cname, data, failure, message, negative, positive, record,
                     serve, soa, version)
from caching import MIB, PLAIN, written
from clock import now, wait_until
from dnsmsg import A, AAAA, NS, NXDOMAIN, REFUSED, SERVFAIL, SOA, TC, Query
from env import EDNS
from rows import row, table


def _ask_twice(env, name="example.test", **fields):
    """The second response; both are equal but for what a server changes."""
    first, second = env.ask(name, **fields), env.ask(name, **fields)
    assert first.rcode == second.rcode
    assert [r[:3] for r in first.answer.records] == [r[:3] for r in second.answer.records]
    return second


# Negative answers.


@table("rcode, zone, kept",
       ("K-05-NXDOMAIN", NXDOMAIN, "test", True), ("K-05-NODATA", 0, "test", True),
       ("K-05-NXDOMAIN-SOA-of-the-name", NXDOMAIN, "example.test", True),
       ("K-05-NODATA-SOA-of-the-name", 0, "example.test", True),
       ("K-05-NXDOMAIN-SOA-of-the-root", NXDOMAIN, ".", True),
       ("K-05-NXDOMAIN-without-SOA", NXDOMAIN, None, False),
       ("K-05-NODATA-without-SOA", 0, None, False),
       ("K-05-SOA-of-another-zone", NXDOMAIN, "other.test", False),
       ("K-05-SOA-below-the-name", 0, "below.example.test", False),
       ("K-05-SOA-that-only-ends-alike", 0, "le.test", False))
def test_negative_answer_is_kept_with_the_soa_of_its_zone(env, rcode, zone, kept):
    env.allow_wrong_responses = True
    server = env.upstream(serve(negative(rcode, zone=zone)))
    env.proxy(server, cache=PLAIN)
    assert _ask_twice(env).rcode == rcode
    assert len(server.queries) == (1 if kept else 2)


def test_nxdomain_is_not_for_another_type_or_name(env):
    env.allow_wrong_responses = True
    server = env.upstream(serve(by_name({"gone.test": negative(NXDOMAIN)})))
    env.proxy(server, cache=PLAIN)
    assert _ask_twice(env, "gone.test").rcode == NXDOMAIN
    assert _ask_twice(env, "gone.test", qtype=AAAA).rcode == NXDOMAIN
    env.assert_ok(env.ask("below.gone.test"))
    env.assert_ok(env.ask("test"))


# Failures.


FAILURES = [(name, getattr(dnsmsg, name)) for name in ("SERVFAIL", "FORMERR", "NOTIMP", "REFUSED")]


@table("rcode", *((f"K-08-{name}", rcode) for name, rcode in FAILURES))
def test_failure_is_kept_for_a_second(env, rcode):
    """RFC 9520 3.2: at least that long, whatever it costs to find out."""
    server = env.upstream(serve(failure(rcode)))
    env.proxy(server, cache=PLAIN)
    first = env.ask(edns=EDNS)
    assert first.rcode == rcode
    tried = len(server.queries)
    while now() < first.at + 0.9:
        assert env.ask(edns=EDNS).rcode == env.ask().rcode == rcode
        time.sleep(0.02)
    assert len(server.queries) == tried
    server.do(serve(positive()))
    wait_until(lambda: env.ask().rcode == dnsmsg.NOERROR, 3)


@row("K-08-unreachable")
def test_own_failure_is_kept_for_a_second(env):
    """No upstream can be reached: the next client gets the same response, and none is tried."""
    server = env.upstream(faults.accept_and_close)
    env.proxy(server, cache=PLAIN)
    first = env.servfail(env.ask(edns=EDNS))
    assert first.answer.ede[0][0] in (22, 23)
    tried = len(server.connections)
    while now() < first.at + 0.9:
        assert env.servfail(env.ask(edns=EDNS), 0.2).answer.ede
        assert env.servfail(env.ask(), 0.2).answer.opt is None
        time.sleep(0.02)
    assert len(server.connections) == tried
    server.do()
    wait_until(lambda: env.ask().rcode == dnsmsg.NOERROR, 3)


@row("K-08-after-an-answer")
def test_failure_in_place_of_an_expired_answer_is_kept_for_a_second(env, boottime):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, popen_args=boottime.popen_args)
    env.assert_ok(env.ask())
    boottime.jump(61)
    server.do(serve(failure()))
    first = env.servfail(env.ask())
    tried = len(server.queries)
    while now() < first.at + 0.9:
        env.servfail(env.ask())
        time.sleep(0.02)
    assert len(server.queries) == tried


@row("K-08-backoff")
def test_failure_is_kept_longer_each_time(env, boottime):
    """1 s, doubling to at most 5 s, and 1 s again after an answer."""
    server = env.upstream(serve(failure()))
    env.proxy(server, cache=PLAIN, popen_args=boottime.popen_args)

    def forwarded(seconds):
        boottime.jump(seconds)
        before = len(server.queries)
        env.servfail(env.ask())
        return len(server.queries) > before

    assert forwarded(0) and not forwarded(0)
    assert forwarded(2)             # it is kept for 2 s now
    assert not forwarded(1) and forwarded(2)
    assert not forwarded(2) and forwarded(3)
    for _ in range(3):
        assert not forwarded(2) and forwarded(4)
    boottime.jump(6)
    server.do(serve(positive(ttl=1)))
    env.assert_ok(env.ask())
    boottime.jump(3)
    server.do(serve(failure()))
    assert forwarded(0) and not forwarded(0) and forwarded(2)


@table("rcode", ("K-37-SERVFAIL", SERVFAIL), ("K-37-REFUSED", REFUSED))
def test_failure_without_question_is_given_with_the_question_of_each_client(env, rcode):
    server = env.upstream(serve(failure(rcode, questions=0)))
    env.proxy(server, cache=PLAIN)
    client = env.client()
    assert client.ask("example.test").rcode == rcode
    tried = len(server.queries)
    for name in ("EXAMPLE.test", "example.TEST", "eXaMpLe.tEsT"):
        # The client compares the question.
        assert client.ask(name).rcode == rcode
    assert len(server.queries) == tried


# What is relayed, and not kept.


def _truncated(query, version):
    return message(query, flags=TC)


NOT_KEPT = [
    ("K-08-TC", positive(flags=TC)),
    ("K-08-TC-without-records", _truncated),
    ("K-08-bytes-behind-the-last-record", positive(tail=b"\0")),
    ("K-08-a-record-behind-the-last-one",
     positive(tail=record("example.test", A, 60, b"\1\2\3\4"))),
    ("K-31-dangling-CNAME", chain((None, "target.other"))),
    ("K-31-dangling-chain", chain((None, "b.other"), ("b.other", "c.other"))),
    ("K-31-loop", chain((None, "b.other"), ("b.other", "example.test"))),
    ("K-31-loop-of-one", chain((None, "example.test"))),
    ("K-31-loop-behind-the-first", chain((None, "b.other"), ("b.other", "c.other"),
                                         ("c.other", "b.other"), end="c.other")),
    ("K-31-two-targets", chain((None, "b.other"), (None, "c.other"), end="b.other")),
    ("K-31-17-links", chain((None, "1.other"), *((f"{n}.other", f"{n + 1}.other")
                                                 for n in range(1, 17)), end="17.other")),
    ("K-31-data-of-another-name", chain((None, "b.other"), end="c.other")),
    ("K-31-no-data-of-the-name", lambda query, version: message(
        query, data(query, version, 60, "another.test"))),
    ("K-31-wrong-type", lambda query, version: message(
        query, [cname(None, "b.other"), record("b.other", AAAA, 60, bytes(16))])),
    ("K-31-wrong-type-of-the-name", lambda query, version: message(
        query, [record(None, AAAA, 60, bytes(16))])),
    ("K-31-wrong-class", lambda query, version: message(
        query, [record(None, A, 60, b"\1\2\3\4", dnsmsg.CH)])),
]


@table("make", *NOT_KEPT)
def test_response_that_is_relayed_but_not_kept(env, make):
    env.allow_wrong_responses = True
    server = env.upstream(serve(make))
    env.proxy(server, cache=PLAIN)
    _ask_twice(env)
    assert len(server.queries) == 2


def _shuffled(links):
    return [links[n * 5 % len(links)] for n in range(len(links))]


LINKS = [(None, "1.other"), *((f"{n}.other", f"{n + 1}.other") for n in range(1, 16))]


@table("make", ("K-31-chain", chain((None, "b.other"), ("b.other", "c.other"), end="c.other")),
       ("K-31-chain-backwards", chain(("b.other", "c.other"), (None, "b.other"), end="c.other")),
       ("K-31-letter-case", chain((None, "B.Other"), ("b.oTHER", "C.other"), end="c.OTHER")),
       ("K-31-16-links", chain(*LINKS, end="16.other")),
       ("K-31-16-links-in-any-order", chain(*_shuffled(LINKS), end="16.other")))
def test_chain_of_cnames_that_ends_in_data_is_kept(env, make):
    server = env.upstream(serve(make))
    env.proxy(server, cache=PLAIN)
    env.assert_ok(_ask_twice(env))
    assert len(server.queries) == 1


@row("K-10-CNAME")
def test_target_of_a_chain_is_asked_for_itself(env):
    """The answer for one name says nothing about the names that it leads to."""
    server = env.upstream(serve(by_name({
        "example.test": chain((None, "victim.test"), ("victim.test", "bank.other"),
                              end="bank.other")})))
    env.proxy(server, cache=PLAIN)
    env.assert_ok(_ask_twice(env))
    for name in ("victim.test", "bank.other"):
        seen = env.assert_ok(env.ask(name)).answer
        assert [rtype for _, rtype, *_ in seen.records] == [A, A]
    assert len(server.queries) == 3


def _poisoned(query, version):
    evil = record("victim.test", A, 60, b"\6\6\6\6")
    return message(query, data(query, version, 60) + [evil],
                   [evil, record("victim.test", NS, 60, b"\4evil\0"), soa("victim.test", 60, 60)],
                   [evil, record("evil", A, 60, b"\6\6\6\6")])


@row("K-10")
def test_records_of_other_names_answer_nothing(env):
    server = env.upstream(serve(by_name({"example.test": _poisoned})))
    env.proxy(server, cache=PLAIN)
    env.assert_ok(_ask_twice(env))
    for name, qtype in (("victim.test", A), ("victim.test", NS), ("victim.test", SOA), ("evil", A),
                        ("below.victim.test", A)):
        seen = env.assert_ok(env.ask(name, qtype=qtype)).answer
        assert b"\6\6\6\6" not in seen.rdatas and b"\4evil\0" not in seen.rdatas
    assert len(server.queries) == 6


@row("K-12")
def test_response_to_another_question_is_not_kept(env):
    foreign = dnsmsg.labels("foreign.test")

    def other(query, version):
        changed = dnsmsg.Seen(b"", query.ident, query.flags, parts=foreign, qtype=A, qclass=1,
                              question=Query("foreign.test").question)
        return message(changed, data(changed, 66, 60))
    a, b = env.upstream(serve(by_name({"example.test": other}))), env.upstream(serve(positive()))
    env.proxy(a, b, cache=PLAIN)
    for _ in range(2):
        assert version(env.assert_ok(env.ask("example.test"))) == 1
    exchange = env.assert_ok(env.ask("foreign.test"))
    assert version(exchange) == 1
    assert a.queries_for("foreign.test") or b.queries_for("foreign.test")


@row("K-30")
def test_negative_answer_at_the_end_of_a_chain_is_for_the_question_only(env):
    env.allow_wrong_responses = True

    def gone(query, version):
        return message(query, [cname(None, "gone.other")], [soa("other", 60, 60, version)],
                       rcode=NXDOMAIN)
    server = env.upstream(serve(by_name({"example.test": gone})))
    env.proxy(server, cache=PLAIN)
    seen = _ask_twice(env).answer
    assert seen.rcode == NXDOMAIN
    assert [rtype for _, rtype, *_ in seen.records] == [answers.CNAME, SOA]
    assert len(server.queries) == 1
    for name, qtype in (("gone.other", A), ("other", SOA), ("example.test", AAAA)):
        assert env.ask(name, qtype=qtype).rcode == (NXDOMAIN if name == "example.test" else 0)
    assert len(server.queries) == 4


@table("zone, kept", ("K-32-SOA-of-the-target", "other", True),
       ("K-32-SOA-of-the-target-itself", "target.other", True),
       ("K-32-SOA-of-the-first-name", "example.test", False))
def test_chain_that_ends_without_data_is_negative(env, zone, kept):
    env.allow_wrong_responses = True
    server = env.upstream(serve(lambda query, version: message(
        query, [cname(None, "target.other")], [soa(zone, 60, 60, version)])))
    env.proxy(server, cache=PLAIN)
    _ask_twice(env)
    assert len(server.queries) == (1 if kept else 2)


# Sizes.


@pytest.mark.parametrize("size", [512, 4000, 16000, 60000, 65500])
def test_long_answer_is_whole(env, size):
    """Whether it is kept or too long for that."""
    server = env.upstream(serve(answers.large(size)))
    env.proxy(server, cache=PLAIN)
    for edns in (None, EDNS, None):
        exchange = env.assert_ok(env.ask(edns=edns))
        assert len(exchange.answer.wire) == (size if edns else size - len(EDNS))


@row("K-51")
def test_answer_that_is_too_long_is_counted(env):
    server = env.upstream(serve(answers.large(60000)))
    running = env.proxy(server, cache={**PLAIN, "size": written(MIB)})
    for _ in range(3):
        env.assert_ok(env.ask())
    assert len(server.queries) == 3
    caching.wait_counters(running, not_stored_too_large=3)
