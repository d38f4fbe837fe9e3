"""Group K: equal queries in flight share one upstream query; each client gets its own response."""

import asyncio
import time

import pytest

import answers
import caching
import dnsmsg
import faults
import processes
from answers import failure, message, positive, serve, version
from caching import PLAIN
from clock import now, wait_until
from dnsmsg import AD, CD, DO, RD, SERVFAIL, TC, Query
from env import EDNS, MIB
from rows import row, table

NAME = "delay-300.test"


def _send_each(env, server, *queries, over=("client", "datagrams")):
    """One client for each query, over TCP and UDP in turn; the first is at the upstream before."""
    clients = [getattr(env, over[n % len(over)])() for n in range(len(queries))]
    exchanges = []
    for client, query in zip(clients, queries):
        exchanges += client.send(query)
        wait_until(lambda: server.queries)
    for client in clients:
        client.receive_all()
    return exchanges


@table("workers", ("K-09-one-worker", 1), ("K-09-two-workers", 2))
def test_1000_identical_misses_are_one_query_for_each_worker(env, workers):
    env.may_grow = 64 * MIB
    server = env.upstream(serve(positive()))
    running = processes.start_workers(env, server, workers=workers, cache=PLAIN, inflight=2048)
    by_udp = [env.datagrams(source=f"127.0.1.{n + 1}") for n in range(8)]
    by_tcp = [env.client(source=f"127.0.2.{n + 1}") for n in range(4)]
    for client in by_udp + by_tcp:
        count = 100 if client in by_udp else 50
        client.send(*[Query(NAME, ident=n * 7) for n in range(count)])
    for client in by_udp + by_tcp:
        client.receive_all()
        for exchange in client.exchanges:
            assert version(env.assert_ok(exchange)) <= workers
    assert len(server.queries) <= workers
    caching.wait_counters(running, joined=1000 - len(server.queries))


@row("K-09")
def test_joined_queries_differ_in_id_case_edns_and_size(env):
    """Each response is in the form that its client asked for."""
    size = 2000
    server = env.upstream(serve(answers.large(size)))
    env.proxy(server, cache=PLAIN)
    queries = [Query(name, flags=RD | flags, edns=edns)
               for name in (NAME, NAME.upper(), NAME.title())
               for flags in (0, AD)
               for edns in (None, EDNS, dnsmsg.opt(size=4096), dnsmsg.opt(size=512))]
    exchanges = _send_each(env, server, *queries)
    for number, exchange in enumerate(exchanges):
        seen, over_tcp = exchange.answer, number % 2 == 0
        assert bool(seen.opt) == bool(exchange.query.edns)
        assert bool(seen.flags & TC) != over_tcp
        if over_tcp:
            env.assert_ok(exchange)
            assert len(seen.wire) == (size if seen.opt else size - len(EDNS))
    assert len(server.queries) == 1


def _validated(query, version):
    return message(query, answers.data(query, version, 60), flags=AD,
                   options=dnsmsg.option(dnsmsg.EDE, b"\0\17why"))


@row("K-20-joined")
def test_ad_and_extended_errors_of_joined_queries(env):
    server = env.upstream(serve(_validated))
    env.proxy(server, cache=PLAIN)
    queries = [Query(NAME, flags=RD | flags, edns=edns) for flags in (0, AD)
               for edns in (None, EDNS)]
    for exchange in _send_each(env, server, *queries):
        env.assert_ok(exchange)
        assert bool(exchange.answer.flags & AD) == bool(exchange.query.flags & AD)
        assert bool(exchange.answer.ede) == bool(exchange.query.edns)
    assert len(server.queries) == 1


@row("K-09-apart")
def test_queries_of_different_keys_are_not_joined(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN)
    queries = [Query(NAME), Query(NAME, flags=RD | CD), Query(NAME, flags=0),
               Query(NAME, edns=dnsmsg.opt(flags=DO)), Query(NAME, qtype=dnsmsg.AAAA),
               Query(NAME, qclass=dnsmsg.CH), Query("other." + NAME)]
    for exchange in _send_each(env, server, *queries):
        env.assert_ok(exchange)
    assert len(server.queries) == len(queries)


@row("K-27-joined")
def test_queries_with_a_subnet_that_crosses_are_not_joined(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, privacy={"client_subnet": True})
    subnet = dnsmsg.opt(dnsmsg.option(8, b"\0\1\x18\0\xc0\0\2"))
    for exchange in _send_each(env, server, *[Query(NAME, edns=subnet) for _ in range(3)]):
        env.assert_ok(exchange)
    assert len(server.queries) == 3


@row("K-03-joined")
def test_validation_failure_is_not_for_joined_clients_with_cd(env):
    def bogus(query, version):
        make = positive() if query.flags & CD else failure(ede=answers.DNSSEC_BOGUS)
        return make(query, version)
    server = env.upstream(serve(bogus))
    env.proxy(server, cache=PLAIN)
    for exchange in _send_each(env, server, *[Query(NAME, flags=RD | flags)
                                              for flags in (0, CD, 0, CD)]):
        assert exchange.rcode == (0 if exchange.query.flags & CD else SERVFAIL)


# The client that asked first is gone.


@table("leave", ("K-09-reset", "reset"), ("K-09-close", "close"))
def test_joined_queries_are_answered_if_the_first_client_leaves(env, leave):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN)
    first = env.client()
    first.send(Query(NAME))
    wait_until(lambda: server.queries)
    others = [env.client(), env.datagrams()]
    for other in others:
        other.send(Query(NAME))
    env.assert_ok(env.ask("meanwhile.test"))
    getattr(first, leave)()
    for other in others:
        other.receive_all()
        exchange = env.assert_ok(other.exchanges[0])
        env.within(0.6, server.queries[0].at, exchange.answered)
    assert len(server.queries_for(NAME)) <= 2


@row("K-09-leaves-last")
def test_first_client_is_answered_if_joined_clients_leave(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN)
    first, second = env.client(), env.client()
    asked, = first.send(Query(NAME))
    wait_until(lambda: server.queries)
    second.send(Query(NAME), Query(NAME))
    second.wait_read()
    second.reset()
    env.assert_ok(first.receive_until(asked))
    assert len(server.queries) == 1


@row("K-09-all-leave")
def test_all_clients_leave(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN)
    clients = [env.client() for _ in range(5)]
    for client in clients:
        client.send(Query(NAME))
        client.wait_read()
    for client in clients:
        client.reset()
    env.assert_ok(env.ask("meanwhile.test"))
    time.sleep(0.4)
    env.assert_ok(env.ask(NAME))


@row("K-09-evicted")
def test_joined_queries_are_answered_if_the_first_is_evicted(env):
    """When no slot is free, the oldest UDP query of the busiest address gets SERVFAIL."""
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, inflight=64, timeouts={"query": "8s", "answer": "5s"})
    # The joined query is sent to the upstream when the first is gone.
    busiest, others = (env.datagrams(source=f"127.0.1.{n + 1}") for n in range(2))
    others.abandoned = True
    first, = busiest.send(Query("delay-3000.test", edns=EDNS))
    wait_until(lambda: server.queries)
    busiest.send(*[Query(f"delay-3000.n{n}.test") for n in range(30)])
    joined = env.client(source="127.0.2.1")
    waiting, = joined.send(Query("delay-3000.test"))
    joined.wait_read()
    while first.answer is None and now() < first.at + 2.5:
        others.send(*[Query(f"delay-3000.of-others-{n}.test") for n in range(40)])
        busiest.receive(0.05)
    env.servfail(first)
    assert first.answer.ede[0][0] == 0
    env.assert_ok(joined.receive_until(waiting), 6)
    assert len(server.queries_for("delay-3000.test")) <= 2


# Deadlines, failures.


@row("K-09-deadline")
def test_joined_query_has_its_own_deadline(env):
    """The upstream is silent until the first query has reached its deadline."""
    server = env.upstream(faults.never_answer)
    env.proxy(server, cache=PLAIN)
    early, late = env.client(), env.client()
    first, = early.send(Query("silent.test"))
    time.sleep(1.5)
    second, = late.send(Query("silent.test"))
    env.servfail(early.receive_until(first), 2.2)
    server.restart()
    late.receive_until(second)
    # O3 holds for both; the second had time to be asked again.
    assert second.rcode in (0, SERVFAIL)


@table("rcode", ("K-09-SERVFAIL", SERVFAIL), ("K-09-NXDOMAIN-without-SOA", dnsmsg.NXDOMAIN))
def test_joined_queries_share_what_is_not_kept(env, rcode):
    env.allow_wrong_responses = True
    server = env.upstream(serve(failure(rcode)))
    env.proxy(server, cache=PLAIN)
    exchanges = _send_each(env, server, *[Query(NAME) for _ in range(6)])
    assert {exchange.rcode for exchange in exchanges} == {rcode}
    assert len(server.queries) <= 2


@row("K-09-refused")
def test_joined_queries_fail_together(env):
    """The upstream takes a while to fail."""
    async def slow_close(connection):
        await connection.receive_plain()
        await asyncio.sleep(0.3)
        await connection.close()
    server = env.upstream(faults.Script(accepted=slow_close))
    env.proxy(server, cache=PLAIN)
    clients = [env.client() if n % 2 else env.datagrams() for n in range(10)]
    for client in clients:
        client.send(Query("gone.test", edns=EDNS))
    for client in clients:
        client.receive_all()
        exchange = env.servfail(client.exchanges[0])
        assert server.name in exchange.answer.ede[0][1]


@row("K-09-hedged")
def test_joined_queries_and_hedging(env):
    """The upstream that is asked as well answers for all of them."""
    a, b = env.upstream(serve(positive(), delay=1.0)), env.upstream(serve(positive()))
    env.proxy(a, b, cache=PLAIN, fallback={"after": "100ms"})
    exchanges = _send_each(env, a, *[Query("late.test") for _ in range(10)])
    for exchange in exchanges:
        env.assert_ok(exchange, 0.5)
    assert len(a.queries) == len(b.queries) == 1


# Signals.


@pytest.mark.parametrize("what", ["stop", "reload"])
def test_joined_queries_are_answered_before_a_worker_exits(env, what):
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=PLAIN)
    clients = [env.client() if n % 2 else env.datagrams() for n in range(10)]
    for client in clients:
        client.send(Query(NAME))
        wait_until(lambda: server.queries)
    env.assert_ok(env.ask("meanwhile.test"))
    running.signal({"stop": 15, "reload": 1}[what])
    for client in clients:
        client.receive_all()
        env.assert_ok(client.exchanges[0])
    if what == "stop":
        assert running.wait(5) == 0


@row("K-09-retransmitted")
def test_retransmission_of_a_joined_query_is_answered_once(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN)
    first, second = env.datagrams(), env.datagrams()
    first.send(Query(NAME))
    exchange, = second.send(Query(NAME))
    for _ in range(3):
        second.repeat(exchange)
    for client in (first, second):
        client.receive_all()
        env.assert_ok(client.exchanges[0])
        client.assert_silent()
    assert len(server.queries) == 1


@row("K-09-one-slot")
def test_cache_of_a_worker_with_one_slot(env):
    """`inflight: 1' and a cache: queries wait for the slot, and then hit."""
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, inflight=1)
    clients = [env.client() if n % 2 else env.datagrams() for n in range(10)]
    for client in clients:
        client.send(Query("delay-100.test"))
    for client in clients:
        client.receive_all()
        env.assert_ok(client.exchanges[0])
    assert len(server.queries) == 1
