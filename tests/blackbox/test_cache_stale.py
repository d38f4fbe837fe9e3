"""Group K: expired entries while upstreams do not answer (RFC 8767)."""

import time

import pytest

import answers
import dnsmsg
import faults
from answers import failure, negative, positive, serve, ttls, version
from caching import STALE
from clock import wait_until
from dnsmsg import AD, CD, NXDOMAIN, RD, SERVFAIL, Query
from env import EDNS
from rows import row, table

STALE_TTL = 30
AFTER = 0.3         # STALE["stale_after"]
AT_ONCE = 0.2       # takes less than that
EXPIRED = "example.test"


@pytest.fixture
def expired(env, boottime):
    """
    Starts the proxy, and fills an entry that has expired when this returns. Queries for it get
    what the next script of the server does.
    """
    def start(make=positive(), *more, query=Query(EXPIRED), timeouts=None, **settings):
        server = env.upstream(serve(make), *more)
        env.proxy(server, cache={**STALE, **settings}, popen_args=boottime.popen_args,
                  timeouts=timeouts or {"query": "1s"}, log={"queries": True})
        exchange = env.ask(query)
        assert version(exchange) == 1
        boottime.jump(61)
        return server
    return start


def _assert_stale(exchange, code=answers.STALE):
    """It is marked for clients with EDNS, and its TTL is short."""
    assert version(exchange) == 1, exchange.answer
    assert set(ttls(exchange)) == {STALE_TTL}
    if exchange.query.edns:
        assert [ede[0] for ede in exchange.answer.ede] == [code]
    else:
        assert exchange.answer.opt is None


# When.


@row("K-11-silent")
def test_stale_answer_after_stale_after_while_upstreams_are_silent(env, expired):
    server = expired()
    server.do(faults.never_answer)
    exchange = env.assert_ok(env.ask(EXPIRED, edns=EDNS))
    assert exchange.took >= AFTER - 0.05
    env.answered_within(AFTER + 0.2, exchange)
    _assert_stale(exchange)
    assert server.queries_for(EXPIRED)[1:]


@row("K-11-in-time")
def test_fresh_answer_before_stale_after(env, expired):
    server = expired()
    server.do(serve(positive(), delay=0.1))
    exchange = env.assert_ok(env.ask(EXPIRED, edns=EDNS))
    assert exchange.took >= 0.09 and ttls(exchange) == [60, 60] and not exchange.answer.ede
    assert len(server.queries) == 2


@row("K-11-default")
def test_stale_answer_after_the_default_time(env, boottime):
    """RFC 8767 5: 1.8 s, before clients give up."""
    server = env.upstream(serve(positive(ttl=60)))
    env.proxy(server, cache=True, popen_args=boottime.popen_args,
              timeouts={"query": "4500ms", "answer": "4s"})
    env.assert_ok(env.ask())
    boottime.jump(61)
    server.do(faults.never_answer)
    exchange = env.assert_ok(env.ask(edns=EDNS))
    _assert_stale(exchange)
    assert exchange.took >= 1.75
    env.answered_within(2.0, exchange)


@table("script", ("K-11-refused", faults.refuse), ("K-11-closed", faults.accept_and_close),
       ("K-11-wrong-certificate", None))
def test_stale_answer_at_once_when_all_upstreams_are_down(env, expired, authority, script):
    script = script or faults.Script(identity=authority.identity(dns=["other.test"]))
    server = expired(stale_after="900ms")
    server.restart(script)
    server.forget_sessions()
    for edns in (EDNS, None, EDNS):
        exchange = env.assert_ok(env.ask(EXPIRED, edns=edns), 0.5)
        _assert_stale(exchange)
    env.servfail(env.ask("never-asked.test"))


@row("K-11-0")
def test_stale_0_is_off(env, expired):
    server = expired(stale=0)
    server.restart(faults.refuse)
    env.servfail(env.ask(EXPIRED))
    server.do(serve(positive()))
    wait_until(lambda: env.ask(EXPIRED).rcode == 0, 3)


@table("limit", ("K-11-age-of-a-minute", 60), ("K-11-age-of-an-hour", 3600))
def test_stale_answer_has_a_greatest_age(env, boottime, expired, limit):
    """It counts from the first expiry, however often the entry was asked for."""
    server = expired(stale=f"{limit // 60}m")
    server.restart(faults.refuse)
    for _ in range(3):
        _assert_stale(env.assert_ok(env.ask(EXPIRED)))
        boottime.jump((limit - 10) // 3)
    _assert_stale(env.assert_ok(env.ask(EXPIRED)))
    boottime.jump(13)
    env.servfail(env.ask(EXPIRED))


@row("K-35-stale")
def test_hits_on_a_stale_entry_do_not_prolong_it(env, boottime, expired):
    server = expired(stale="1m")
    server.restart(faults.refuse)
    for _ in range(5):
        boottime.jump(11)
        _assert_stale(env.assert_ok(env.ask(EXPIRED)))
    boottime.jump(11)
    env.servfail(env.ask(EXPIRED))


# What.


@table("make, code", ("K-41-data", positive(), answers.STALE),
       ("K-41-NXDOMAIN", negative(NXDOMAIN), answers.STALE_NXDOMAIN),
       ("K-41-NODATA", negative(), answers.STALE))
def test_extended_error_of_a_stale_answer(env, expired, make, code):
    env.allow_wrong_responses = True
    server = expired(make)
    server.restart(faults.refuse)
    for edns in (EDNS, None):
        exchange = env.ask(EXPIRED, edns=edns)
        assert exchange.rcode == (NXDOMAIN if code == answers.STALE_NXDOMAIN else 0)
        _assert_stale(exchange, code)


def test_stale_answer_has_the_extended_errors_of_the_entry_too(env, expired):
    blocked = dnsmsg.option(dnsmsg.EDE, b"\0\17why")
    server = expired(positive(options=blocked))
    server.restart(faults.refuse)
    seen = env.assert_ok(env.ask(EXPIRED, edns=EDNS)).answer
    assert {code for code, _ in seen.ede} == {answers.STALE, 15}


@row("K-19")
def test_stale_answer_without_validation_is_only_for_clients_with_cd(env, expired):
    server = expired(query=Query(EXPIRED, flags=RD | CD))
    server.restart(faults.refuse)
    env.servfail(env.ask(EXPIRED))
    exchange = env.assert_ok(env.ask(EXPIRED, flags=RD | CD))
    _assert_stale(exchange)
    assert exchange.answer.flags & CD
    env.servfail(env.ask(EXPIRED))


def test_stale_answer_only_for_clients_with_rd(env, expired):
    server = expired()
    server.restart(faults.refuse)
    env.servfail(env.ask(EXPIRED, flags=0))
    _assert_stale(env.assert_ok(env.ask(EXPIRED)))


# Failures of upstreams that answer.


@row("K-36")
def test_servfail_does_not_replace_what_may_be_given_stale(env, boottime, expired):
    server = expired()
    server.do(serve(failure()))
    for _ in range(3):
        exchange = env.ask(EXPIRED)
        assert exchange.rcode == SERVFAIL or version(exchange) == 1
    server.restart(faults.refuse)
    _assert_stale(env.assert_ok(env.ask(EXPIRED, edns=EDNS)))
    server.do(serve(positive()))
    boottime.jump(31)
    wait_until(lambda: version(env.assert_ok(env.ask(EXPIRED))) > 1, 2)


@table("ede", ("K-45-bogus", answers.DNSSEC_BOGUS), ("K-45-signature-expired", 7),
       ("K-45-DNSKEY-missing", 9))
def test_stale_data_never_hides_a_validation_failure(env, expired, ede):
    server = expired()
    server.do(serve(failure(ede=ede)))
    for edns in (EDNS, None, EDNS):
        exchange = env.servfail(env.ask(EXPIRED, edns=edns))
        assert not edns or ede in {code for code, _ in exchange.answer.ede}


@row("K-45-late")
def test_validation_failure_after_the_stale_answer_ends_it(env, expired):
    """It came too late for the client that was given stale data, and not for the next."""
    server = expired()
    server.do(serve(failure(ede=answers.DNSSEC_BOGUS), delay=0.5))
    _assert_stale(env.assert_ok(env.ask(EXPIRED)))
    time.sleep(0.4)
    server.do(serve(failure(ede=answers.DNSSEC_BOGUS)))
    env.servfail(env.ask(EXPIRED))


@row("K-36-failure")
def test_failure_is_never_given_stale(env, boottime):
    """A slow answer is waited for, although there is an expired entry that says SERVFAIL."""
    server = env.upstream(serve(failure()))
    env.proxy(server, cache=STALE, popen_args=boottime.popen_args)
    env.servfail(env.ask(EXPIRED))
    boottime.jump(10)
    server.do(serve(positive(), delay=AFTER + 0.2))
    exchange = env.assert_ok(env.ask(EXPIRED, edns=EDNS))
    assert exchange.took > AFTER + 0.15 and not exchange.answer.ede


# After the first one.


@row("K-42")
def test_stale_answers_at_once_for_30_seconds_after_the_first(env, boottime, expired):
    server = expired()
    server.do(faults.never_answer)
    first = env.assert_ok(env.ask(EXPIRED, edns=EDNS))
    assert first.took >= AFTER - 0.05
    for client in (env.client(), env.datagrams()):
        for _ in range(5):
            exchange = env.assert_ok(client.ask(EXPIRED, edns=EDNS), AT_ONCE)
            _assert_stale(exchange)
    time.sleep(1.1)             # the query behind it has ended
    for ahead in (0, 14, 10):
        boottime.jump(ahead)
        tried = len(server.queries_for(EXPIRED))
        _assert_stale(env.assert_ok(env.ask(EXPIRED, edns=EDNS), AT_ONCE))
        assert len(server.queries_for(EXPIRED)) == tried
    boottime.jump(8)
    _assert_stale(env.assert_ok(env.ask(EXPIRED, edns=EDNS), AFTER + 0.2))
    wait_until(lambda: len(server.queries_for(EXPIRED)) > tried, 1, "one tries again")


@row("K-44")
def test_late_answer_refreshes_the_entry(env, expired):
    """Also when its client has got the old one long ago, and has left."""
    server = expired()
    server.do(serve(positive(ttl=50), delay=0.6))
    exchange = env.assert_ok(env.ask(EXPIRED))
    _assert_stale(exchange)
    time.sleep(0.5)
    hit = env.assert_ok(env.ask(EXPIRED), AT_ONCE)
    assert version(hit) == 2 and min(ttls(hit)) >= 48
    assert len(server.queries) == 2


@row("K-44-NXDOMAIN")
def test_late_nxdomain_refreshes_the_entry(env, expired):
    server = expired()
    server.do(serve(negative(NXDOMAIN), delay=0.5))
    _assert_stale(env.assert_ok(env.ask(EXPIRED)))
    time.sleep(0.4)
    assert env.ask(EXPIRED).rcode == NXDOMAIN
    assert len(server.queries) == 2


@row("K-44-back")
def test_upstream_that_is_back_refreshes_the_entry(env, boottime, expired):
    server = expired()
    server.restart(faults.refuse)
    _assert_stale(env.assert_ok(env.ask(EXPIRED)))
    server.do(serve(positive(ttl=50)))
    boottime.jump(31)
    wait_until(lambda: version(env.assert_ok(env.ask(EXPIRED))) > 1, 2)


@row("K-21")
def test_ad_of_a_refreshed_entry(env, expired):
    def validated(query, version):
        return answers.message(query, answers.data(query, version, 50), flags=AD)
    server = expired()
    server.do(serve(validated, delay=0.5))
    _assert_stale(env.assert_ok(env.ask(EXPIRED)))
    time.sleep(0.4)
    assert env.assert_ok(env.ask(EXPIRED, flags=RD | AD), AT_ONCE).answer.flags & AD
    assert not env.assert_ok(env.ask(EXPIRED), AT_ONCE).answer.flags & AD
    assert all(query.seen.flags & AD for query in server.queries)


@row("K-43")
def test_clients_at_the_moment_of_expiry_share_one_query(env, expired):
    server = expired()
    server.do(serve(positive(ttl=50), delay=0.15))
    clients = [env.datagrams() if n % 2 else env.client() for n in range(100)]
    for client in clients:
        client.send(Query(EXPIRED))
    for client in clients:
        client.receive_all()
        assert set(ttls(env.assert_ok(client.exchanges[0]))) == {50}
    assert len(server.queries) == 2


@row("K-43-silent")
def test_clients_that_wait_for_a_silent_upstream_get_stale_answers(env, expired):
    """Each no later than if it had been the only one."""
    server = expired()
    server.do(faults.never_answer)
    clients = [env.datagrams() if n % 2 else env.client() for n in range(20)]
    for client in clients:
        client.send(Query(EXPIRED, edns=EDNS))
        time.sleep(0.01)
    for client in clients:
        client.receive_all()
        exchange = env.assert_ok(client.exchanges[0], AFTER + 0.2)
        _assert_stale(exchange)


@row("K-11-log")
def test_stale_answer_is_logged_and_counted(env, expired):
    server = expired()
    running = env.proxies[-1]
    server.restart(faults.refuse)
    env.assert_ok(env.ask(EXPIRED))
    line, = (line for line in running.lines("query") if line.get("source") == "stale")
    assert line["name"].rstrip(".") == EXPIRED


@row("K-42")
def test_slow_stale_entry_does_not_delay_fresh_entries(env, expired):
    server = expired()
    env.assert_ok(env.ask("fresh.test"))
    server.do(faults.never_answer)
    client = env.client()
    waiting, fresh = client.send(Query(EXPIRED), Query("fresh.test"))
    env.assert_ok(client.receive_until(fresh), AT_ONCE)
    assert waiting.answer is None
    client.receive_until(waiting)
    _assert_stale(waiting)


def test_name_without_an_entry_gets_servfail_at_its_deadline(env, expired):
    server = expired()
    server.do(faults.never_answer)
    exchange = env.servfail(env.ask("unknown.test"), 1.2)
    assert exchange.took > AFTER
