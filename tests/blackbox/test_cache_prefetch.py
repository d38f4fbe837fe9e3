"""Group K: entries that are in use are fetched again before they expire."""

import time

import pytest

import answers
import caching
import faults
from answers import failure, negative, positive, serve, ttls, version
from caching import PREFETCH
from clock import wait_until
from dnsmsg import AD, CD, NXDOMAIN, RD, Query
from rows import row, table

TTL = 100
NAME = "example.test"
LATE = 93           # in the last tenth of the entry's life
AT_ONCE = 0.1


@pytest.fixture
def late(env, boottime):
    """Starts the proxy, and fills an entry that is in the last tenth of its life afterwards."""
    def start(make=positive(ttl=TTL), query=Query(NAME), **settings):
        server = env.upstream(serve(make))
        env.proxy(server, cache={**PREFETCH, **settings}, popen_args=boottime.popen_args)
        assert version(env.ask(query)) == 1
        boottime.jump(LATE)
        return server
    return start


def _refreshed(env, server, query=Query(NAME)):
    """A hit behind which one query is sent; waits until its answer is in the cache."""
    hit = env.ask(query)
    assert version(hit) == 1
    env.answered_within(AT_ONCE, hit)
    wait_until(lambda: len(server.queries) == 2, 1, "it is fetched again")
    wait_until(lambda: version(env.ask(query)) == 2, 1, "the cache has the new answer")


@row("K-46")
def test_hit_in_the_last_tenth_is_followed_by_one_query(env, late):
    server = late()
    _refreshed(env, server)
    hit = env.assert_ok(env.ask(NAME), AT_ONCE)
    assert min(ttls(hit)) >= TTL - 2
    assert len(server.queries) == 2


@table("age", ("K-46-new", 0), ("K-46-half", 50), ("K-46-four-fifths", 80))
def test_earlier_hit_is_followed_by_no_query(env, boottime, age):
    server = env.upstream(serve(positive(ttl=TTL)))
    env.proxy(server, cache=PREFETCH, popen_args=boottime.popen_args)
    env.assert_ok(env.ask(NAME))
    boottime.jump(age)
    for _ in range(5):
        env.assert_ok(env.ask(NAME), AT_ONCE)
    time.sleep(0.1)
    assert len(server.queries) == 1


@row("K-46")
def test_entry_that_is_not_asked_for_is_not_fetched(env, boottime, late):
    server = late()
    time.sleep(0.1)
    boottime.jump(TTL)
    time.sleep(0.1)
    assert len(server.queries) == 1
    assert version(env.assert_ok(env.ask(NAME))) == 2


@row("K-46-off")
def test_prefetch_can_be_disabled(env, late):
    server = late(prefetch=False)
    for _ in range(5):
        env.assert_ok(env.ask(NAME), AT_ONCE)
    time.sleep(0.1)
    assert len(server.queries) == 1


@row("K-46-slow")
def test_hits_while_a_slow_prefetch_is_in_flight(env, late):
    """Each is answered at once, and there is one query behind all of them."""
    server = late()
    server.do(serve(positive(ttl=TTL), delay=0.4))
    clients = [env.client() if n % 2 else env.datagrams() for n in range(20)]
    for client in clients:
        exchange = env.assert_ok(client.ask(NAME), AT_ONCE)
        assert version(exchange) == 1
    wait_until(lambda: version(env.ask(NAME)) == 2, 1)
    assert len(server.queries) == 2


@table("script", ("K-46-silent", faults.never_answer), ("K-46-SERVFAIL", serve(failure())),
       ("K-46-refused", faults.refuse), ("K-46-truncated", serve(positive(flags=0x200))))
def test_failed_prefetch_loses_nothing(env, boottime, late, script):
    """The entry is used until it expires, and the prefetch is not repeated for each hit."""
    server = late()
    server.restart(script)
    for _ in range(10):
        exchange = env.assert_ok(env.ask(NAME), AT_ONCE)
        assert version(exchange) == 1 and max(ttls(exchange)) <= TTL - LATE
    time.sleep(0.3)
    assert version(env.assert_ok(env.ask(NAME), AT_ONCE)) == 1
    assert len(server.queries) <= 4         # retried as any other
    server.restart(serve(positive(ttl=TTL)))
    boottime.jump(TTL - LATE + 1)
    assert version(env.assert_ok(env.ask(NAME))) > 1


@row("K-46-again")
def test_failed_prefetch_is_tried_again_after_some_seconds(env, boottime, late):
    server = late()
    server.do(serve(failure()))
    env.assert_ok(env.ask(NAME), AT_ONCE)
    wait_until(lambda: len(server.queries) > 1, 1)
    time.sleep(0.3)
    tried = len(server.queries)
    env.assert_ok(env.ask(NAME), AT_ONCE)
    time.sleep(0.1)
    assert len(server.queries) == tried
    server.do(serve(positive(ttl=TTL)))
    boottime.jump(6)
    env.assert_ok(env.ask(NAME), AT_ONCE)
    wait_until(lambda: len(server.queries) > tried, 1, "it is fetched")


@row("K-46-changed")
def test_prefetched_answer_may_be_another_one(env, late):
    env.allow_wrong_responses = True
    server = late()
    server.do(serve(negative(NXDOMAIN, ttl=TTL, minimum=TTL)))
    assert env.ask(NAME).rcode == 0
    wait_until(lambda: env.ask(NAME).rcode == NXDOMAIN, 1)
    assert len(server.queries) == 2


@row("K-46-negative")
def test_negative_entry_is_prefetched(env, late):
    env.allow_wrong_responses = True
    _refreshed(env, late(negative(NXDOMAIN, ttl=TTL, minimum=TTL)))


@table("flags", ("K-19-CD", CD), ("K-19-AD-and-CD", AD | CD))
def test_prefetch_of_an_unvalidated_entry_has_cd(env, late, flags):
    query = Query(NAME, flags=RD | flags)
    server = late(query=query)
    _refreshed(env, server, query)
    assert all(asked.seen.flags & CD for asked in server.queries)
    env.assert_ok(env.ask(NAME))
    assert [bool(asked.seen.flags & CD) for asked in server.queries] == [True, True, False]


@row("K-21")
def test_ad_of_a_prefetched_entry(env, late):
    """A client without AD asked first, and one without AD caused the prefetch."""
    def validated(query, version):
        return answers.message(query, answers.data(query, version, TTL), flags=AD)
    server = late(validated)
    _refreshed(env, server)
    assert env.assert_ok(env.ask(NAME, flags=RD | AD)).answer.flags & AD
    assert not env.assert_ok(env.ask(NAME)).answer.flags & AD
    assert all(asked.seen.flags & AD for asked in server.queries)


@row("K-46-query")
def test_prefetch_is_a_query_as_any_other(env, late):
    """Padded, with our options."""
    server = late(query=Query("eXaMPLE.test"))
    _refreshed(env, server)
    first, second = (query.seen for query in server.queries)
    assert len(second.wire) % 128 == 0
    assert [code for code, _ in second.options] == [code for code, _ in first.options]


@row("K-46-counted")
def test_prefetch_is_counted(env, late):
    server = late()
    running = env.proxies[-1]
    _refreshed(env, server)
    caching.wait_counters(running, prefetched=1, misses=1)


@row("K-46-in-flight")
def test_stop_during_a_prefetch(env, late):
    """No client waits for it, so it delays nothing."""
    server = late()
    server.do(serve(positive(ttl=TTL), delay=1.5))
    env.assert_ok(env.ask(NAME), AT_ONCE)
    wait_until(lambda: len(server.queries) == 2, 1)
    running = env.proxies[-1]
    running.signal(15)
    assert running.wait(1.2) == 0


@row("K-46-one-slot")
def test_prefetch_with_one_slot(env, boottime):
    """`inflight: 1': clients are answered although the prefetch needs the slot, too."""
    server = env.upstream(serve(positive(ttl=TTL)))
    env.proxy(server, cache=PREFETCH, inflight=1, popen_args=boottime.popen_args)
    env.assert_ok(env.ask(NAME))
    boottime.jump(LATE)
    env.assert_ok(env.ask(NAME), AT_ONCE)
    for n in range(3):
        env.assert_ok(env.ask(f"n{n}.test"), 1)


@row("K-46-slots")
def test_prefetches_leave_slots_to_clients(env, boottime):
    """More entries are due than there are slots, and the upstream is silent."""
    server = env.upstream(serve(positive(ttl=TTL)))
    env.proxy(server, cache=PREFETCH, inflight=16, popen_args=boottime.popen_args)
    clients = env.client(), env.datagrams()
    names = [f"n{n}.test" for n in range(40)]
    for name in names:
        env.assert_ok(clients[0].ask(name))
    boottime.jump(LATE)
    server.do(faults.never_answer)
    for number, name in enumerate(names * 2):
        env.assert_ok(clients[number % 2].ask(name), AT_ONCE)
    assert 8 <= len({query.name for query in server.queries[len(names):]}) <= 14
