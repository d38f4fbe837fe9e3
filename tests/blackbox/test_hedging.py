"""Group U, `fallback.after: auto`: when a query is hedged, and how few extra queries are sent."""

import asyncio
import signal

import faults
from clock import wait_until
from dnsmsg import Query
from rows import row
from upstream import Script, answer

AUTO = {"after": "auto"}
DEFAULTS = {"query": "4500ms", "connect": "1s", "handshake": "1500ms", "answer": "2s"}
USUAL = 0.02
# What a fixed time of 400 ms would take, and less.
SOONER = 0.35


def _tail(seconds):
    """Takes 20 ms, but longer for names that begin with `late`."""
    async def asked(connection, query):
        await asyncio.sleep(seconds if query.name.startswith("late") else USUAL)
        await answer(connection, query)
    return Script(on_query=asked)


def _ask_each(env, names):
    """One after the other, so that each has the usual time."""
    client = env.datagrams()
    for name in names:
        env.assert_ok(client.ask(name))


def _counted(running, key):
    """A counter of all workers, as SIGUSR1 logs it."""
    before = len(running.lines("worker"))
    running.signal(signal.SIGUSR1)
    wait_until(lambda: len(running.lines("worker")) > before, 2, "SIGUSR1 is answered")
    return sum(int(line[key]) for line in running.lines("worker")[before:])


@row("U-auto")
def test_late_query_is_hedged_after_the_usual_response_time(env):
    a, b = env.upstream(_tail(1)), env.upstream()
    running = env.proxy(a, b, fallback=AUTO, timeouts=DEFAULTS)
    _ask_each(env, [f"n{n}.test" for n in range(60)])
    before = len(b.queries)
    env.assert_ok(env.datagrams().ask("late.test"), SOONER)
    assert [q.name for q in b.queries[before:]] == ["late.test"]
    # The first upstream is only slow, so it must stay up.
    env.assert_ok(env.datagrams().ask("next.test"))
    assert not b.queries_for("next.test")
    assert not running.lines("upstream down")
    assert _counted(running, "hedged") >= len(b.queries)


@row("U-auto")
def test_first_query_is_hedged_after_400_ms(env):
    """As with a fixed time of 400 ms."""
    a, b = env.upstream(_tail(1)), env.upstream()
    env.proxy(a, b, fallback=AUTO, timeouts=DEFAULTS)
    _ask_each(env, ["n.test"])
    exchange = env.datagrams().ask("late.test")
    env.assert_ok(exchange, 0.7)
    assert exchange.answered - exchange.at > SOONER
    assert b.queries_for("late.test")


@row("U-auto")
def test_extra_queries_stay_under_5_percent(env):
    """However many queries are late."""
    a, b = env.upstream(_tail(0.15)), env.upstream()
    running = env.proxy(a, b, fallback=AUTO, timeouts=DEFAULTS)
    _ask_each(env, [f"n{n}.test" for n in range(60)])
    client = env.datagrams()
    for n in range(60):
        asked = client.send(*[Query(f"{'late' if i < 3 else 'n'}-{n}-{i}.test") for i in range(10)])
        client.receive_all()
        for exchange in asked:
            env.assert_ok(exchange)
    # One whose connection opens only after the response of the first upstream is never sent.
    assert 0 < len(b.queries) <= _counted(running, "hedged") < 0.05 * (60 + 600)


@row("U-auto")
def test_silent_upstream_is_left_despite_the_hedging_limit(env):
    a, b = env.pair(faults.never_answer)
    env.proxy(a, b, fallback=AUTO, timeouts=DEFAULTS)
    client = env.datagrams()
    asked = client.send(*[Query(f"n{n}.test") for n in range(100)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange, 2)
    assert len(b.queries) == 100


@row("U-auto")
def test_slow_handshake_is_hedged_after_250_ms(env):
    a, b = env.upstream(Script(accepted=_waits)), env.upstream()
    env.proxy(a, b, fallback=AUTO, timeouts=DEFAULTS)
    client = env.datagrams()
    # Each query is worth a twenty-fifth of an extra one.
    asked = client.send(*[Query(f"n{n}.test") for n in range(30)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange)
    env.within(SOONER, asked[0].at, min(exchange.answered for exchange in asked))


async def _waits(connection):
    await asyncio.sleep(3)
