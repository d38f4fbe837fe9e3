"""Groups U and X: hedged and fallback queries to the next upstream."""

import asyncio
import math
import os
import random
import select
import threading
import time

import pytest

import dnsmsg
import faults
from clock import now, wait_until
from dnsmsg import Query
from upstream_state import wait_back, times_down, went_down
from rows import row, table
from test_config import refused
from upstream import Script, answer

# The defaults of the program, which the documentation promises.
DEFAULTS = {"query": "4500ms", "connect": "1s", "handshake": "1500ms", "answer": "2s"}
AFTER = 0.4
# The clock of a client starts when its query has left.
ABOUT = 0.01

# How long the upstreams fail at random; a night is as good.
RANDOM_SECONDS = float(os.environ.get("DOT_PROXY_RANDOM_SECONDS", "20"))


def late(seconds, then=None):
    """Names that begin with `late` are answered later, or otherwise; all others at once."""
    async def asked(connection, query):
        if not query.name.startswith("late"):
            await answer(connection, query)
            return
        await asyncio.sleep(seconds)
        await (then.on_query if then else answer)(connection, query)
    return Script(on_query=asked)


def _warm(env, client, *servers):
    """All of them have answered, and keep a connection."""
    for n in range(20):
        env.assert_ok(client.ask(f"warm-{n}.test"))
        if all(server.handshakes and server.queries for server in servers):
            return
        time.sleep(0.01)
    raise AssertionError("not all upstreams got the query")


def _loser_answers(server, name, seconds):
    """Waits until the server has sent its response, which no query needs any more."""
    query = wait_until(lambda: server.queries_for(name), 2)[-1]
    wait_until(lambda: now() > query.at + seconds + 0.05, seconds + 1)
    return query.connection


def _assert_in_sync(env, client, server, connection):
    """The connection is still used, with correct responses, or it is closed (X-10)."""
    name = f"in-step-{server.address}.test"
    env.assert_ok(client.ask(name), 0.1)
    wait_until(lambda: connection.closed or server.queries_for(name), 2)
    assert connection.closed or server.queries_for(name)[0].connection is connection


# When.


@row("X-10-default")
def test_query_is_hedged_after_400_ms(env):
    a, b = env.upstream(late(0.8)), env.upstream()
    running = env.proxy(a, b, timeouts=DEFAULTS)
    client = env.client()
    exchange = env.assert_ok(client.ask("late.test"), 0.5)
    assert exchange.took >= AFTER - ABOUT
    assert len(a.queries_for("late.test")) == len(b.queries_for("late.test")) == 1
    assert b.queries_for("late.test")[0].at >= exchange.at + AFTER - ABOUT
    connection = _loser_answers(a, "late.test", 0.8)
    _assert_in_sync(env, client, a, connection)
    assert not connection.closed
    env.assert_ok(client.ask("after.test"), 0.1)
    assert len(b.queries) == 1, "A has answered, and is not in doubt any more"
    assert times_down(running, a) == 0


@row("X-10-doubt")
def test_suspect_upstream_races_immediately(env):
    """The upstream has not even answered a canary, so the server may be down."""
    a, b = env.upstream(faults.slow(1.2)), env.upstream()
    env.proxy(a, b, timeouts=DEFAULTS)
    client = env.client()
    env.assert_ok(client.ask("late.test"), 0.5)
    env.assert_ok(client.ask("late-too.test"), 0.1)
    assert b.queries_for("late-too.test")
    wait_until(lambda: a.queries_for("late-too.test"), 2)


@row("U-25-one-slow-name")
def test_slow_name_does_not_make_its_upstream_suspect(env):
    """An answered canary shows that the server is up."""
    a, b = env.upstream(late(1.2)), env.upstream()
    env.proxy(a, b, timeouts=DEFAULTS)
    client = env.client()
    env.assert_ok(client.ask("late.test"), 0.5)
    time.sleep(0.1)     # the canary's round trip
    env.assert_ok(client.ask("prompt.test"), 0.1)
    assert a.queries_for("prompt.test") and not b.queries_for("prompt.test")


@table("after", ("X-10-100ms", "100ms"), ("X-10-1s", "1s"))
def test_query_is_hedged_after_the_configured_time(env, after):
    a, b, c = env.upstream(late(1.6)), env.upstream(late(1.6)), env.upstream()
    env.proxy(a, b, c, fallback={"after": after}, timeouts=DEFAULTS)
    seconds = 0.1 if after == "100ms" else 1.0
    exchange = env.ask("late.test")
    if after == "100ms":
        env.assert_ok(exchange, 2 * seconds + 0.1)
        assert exchange.took >= 2 * seconds - ABOUT
    else:
        # The third upstream would get the query after 2 s.
        env.assert_ok(exchange, 1.7)
        assert not c.queries
    assert b.queries_for("late.test")[0].at >= exchange.at + seconds - ABOUT


@row("X-10-all-at-once")
def test_all_upstreams_race_with_fallback_after_0(env):
    servers = [env.upstream(late(0.3)), env.upstream(late(0.6)), env.upstream()]
    env.proxy(*servers, fallback={"after": 0}, timeouts=DEFAULTS)
    client = env.client()
    _warm(env, client, *servers)
    env.assert_ok(client.ask("late.test"), 0.1)
    wait_until(lambda: all(server.queries_for("late.test") for server in servers), 2)
    first = [server.queries_for("late.test")[0].at for server in servers]
    env.within(0.1, min(first), max(first))
    for seconds, server in ((0.3, servers[0]), (0.6, servers[1])):
        connection = _loser_answers(server, "late.test", seconds)
        _assert_in_sync(env, client, server, connection)
    assert [len(server.queries_for("late.test")) for server in servers] == [1, 1, 1]


@row("X-10-never")
def test_next_upstream_gets_the_query_only_after_failure(env):
    a, b = env.upstream(late(1.2)), env.upstream()
    env.proxy(a, b, fallback={"after": "never"}, timeouts=DEFAULTS)
    exchange = env.assert_ok(env.ask("late.test"), 1.4)
    assert exchange.took >= 1.2 - ABOUT
    assert not b.connections
    a.restart(faults.refuse)
    env.assert_ok(env.ask("refused.test"), 0.1)
    assert b.queries_for("refused.test")


# Which answer.

ERRORS = {"SERVFAIL": dnsmsg.SERVFAIL, "NOTIMP": 4, "REFUSED": 5}


@pytest.mark.parametrize("error", ERRORS, ids=lambda name: f"X-09-{name}")
def test_fast_error_does_not_beat_a_slow_answer(env, error):
    a, b = env.upstream(faults.rcode(ERRORS[error])), env.upstream(faults.slow(0.3))
    env.proxy(a, b, fallback={"after": 0}, timeouts=DEFAULTS)
    exchange = env.assert_ok(env.ask(), 0.5)
    assert exchange.took >= 0.3 - ABOUT
    assert len(a.queries) == len(b.queries) == 1


@row("X-09-as-well")
def test_error_of_the_hedged_upstream_does_not_win(env):
    a, b = env.upstream(late(0.8)), env.upstream(faults.rcode(dnsmsg.SERVFAIL))
    env.proxy(a, b, timeouts=DEFAULTS)
    exchange = env.assert_ok(env.ask("late.test"), 1.0)
    assert exchange.took >= 0.8 - ABOUT and b.queries


@row("X-09-NXDOMAIN")
def test_faster_nxdomain_wins(env):
    a, b = env.upstream(faults.slow(0.3)), env.upstream(faults.rcode(dnsmsg.NXDOMAIN))
    env.proxy(a, b, fallback={"after": 0}, timeouts=DEFAULTS)
    exchange = env.ask()
    assert exchange.rcode == dnsmsg.NXDOMAIN
    env.answered_within(0.2, exchange)


@row("X-09-all-errors")
def test_first_error_is_returned_without_a_better_response(env):
    a, b = env.upstream(late(0.2, faults.rcode(dnsmsg.SERVFAIL))), env.upstream()
    b.do(late(0, faults.rcode(5)))
    env.proxy(a, b, fallback={"after": 0}, timeouts=DEFAULTS)
    exchange = env.ask("late.test")
    assert exchange.rcode == 5 and exchange.took >= 0.2 - ABOUT
    assert len(a.queries) == len(b.queries) == 1


@row("X-10-late-error")
def test_late_failure_of_the_losing_attempt_has_no_effect(env):
    """It closes its connection without a response, long after another upstream has answered."""
    a, b = env.upstream(late(0.3, faults.close_after_query)), env.upstream()
    running = env.proxy(a, b, fallback={"after": 0}, timeouts=DEFAULTS)
    client = env.client()
    _warm(env, client, a, b)
    env.assert_ok(client.ask("late.test"), 0.2)
    wait_until(lambda: a.queries_for("late.test") and a.connections[0].closed, 3)
    env.assert_ok(client.ask("after.test"), 0.1)
    assert len(a.queries_for("late.test")) == 1
    assert running.alive


# Black holes.


HOLES = {"U-02-SYN-is-dropped": (False, None), "U-04-silent-after-accept":
         (False, faults.accept_and_silence), "D-01-silent-after-TLS": (False, faults.never_answer),
         "U-10-warm-and-then-silent": (True, faults.never_answer), "U-10-warm-and-then-lost":
         (True, None)}


@pytest.mark.parametrize("name", HOLES)
def test_blackhole_delays_only_the_first_query(env, request, name):
    """The first answer takes at most 500 ms, all later ones no delay, even while A is probed."""
    warm, script = HOLES[name]
    namespace = None if script else request.getfixturevalue("namespace")
    a, b = env.pair()
    env.proxy(a, b, timeouts=DEFAULTS)
    client = env.client()
    if warm:
        for n in range(10):
            env.assert_ok(client.ask(f"warm-{n}.test"))
        assert len(a.queries) == 10 and not b.connections
    if script:
        a.do(script)
    else:
        namespace.drop("ip", "daddr", a.address)
    env.assert_ok(client.ask("first.test"), 0.5)
    for n in range(10):
        env.assert_ok(client.ask(f"next-{n}.test"), 0.1)
    # It goes down and up during this time.
    until = now() + 4
    while now() < until:
        env.assert_ok(client.ask(f"later-{random.randrange(1 << 30)}.test"), 0.1)
        time.sleep(0.02)
    if not script:
        namespace.stop_dropping()


@row("U-17-trials")
def test_no_deadline_missed_during_recovery(env):
    """While A is a black hole, while it is probed, and when it is back."""
    a, b = env.pair(faults.accept_and_silence)
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), 0.5)
    went_down(running, a)
    begin, number = now(), 0
    while len(a.connections) < 3:
        assert now() < begin + 6, "A is tried again"
        env.assert_ok(env.ask(f"n{number}.test"), 0.1)
        number += 1
    a.restart()
    wait_back(env, a, 6)
    before = len(b.queries)
    for n in range(20):
        env.assert_ok(env.ask(f"back-{n}.test"), 0.1)
    assert len(b.queries) == before, "A is preferred again, and no query is hedged"


@table("script, limit, fallback", ("U-11-silent", faults.never_answer, 0.5, "400ms"),
       ("U-11-silent-after-accept", faults.accept_and_silence, 0.5, "400ms"),
       ("U-11-silent-and-no-fallback", faults.never_answer, 2.2, "never"),
       ("U-11-refused-and-no-fallback", faults.refuse, 0.2, "never"))
def test_down_upstreams_are_tried_last_and_never_skipped(env, script, limit, fallback):
    """A is marked down but works again when B, which is up, becomes silent."""
    a, b = env.pair(faults.refuse)
    running = env.proxy(a, b, timeouts=DEFAULTS, fallback={"after": fallback})
    for n in range(3):
        env.assert_ok(env.ask(f"before-{n}.test"))
        went_down(running, a)
    a.do()
    b.restart(script)
    env.assert_ok(env.ask("after.test"), limit)
    assert a.queries_for("after.test")


@row("X-10-extra-load")
def test_healthy_first_upstream_gets_all_queries(env):
    a, b = env.pair(faults.slow(0.02))
    env.proxy(a, b, timeouts=DEFAULTS)
    clients = [env.client() for _ in range(10)]
    for n in range(50):
        asked = [client.send(Query(f"n{n}.c{k}.test"))[0] for k, client in enumerate(clients)]
        for client in clients:
            client.receive_all()
        for exchange in asked:
            env.assert_ok(exchange)
    assert len(a.queries) == 500 and not b.connections


# A slow response delays no other query.


@pytest.mark.parametrize("upstreams", [1, 2])
def test_one_slow_response_does_not_delay_50_fast_ones(env, upstreams):
    servers = [env.upstream() for _ in range(upstreams)]
    running = env.proxy(*servers, timeouts=DEFAULTS)
    client = env.client()
    env.assert_ok(client.ask("first.test"))
    slow, = client.send(Query("delay-2000.test"))
    for n in range(50):
        env.assert_ok(client.ask(f"n{n}.test"), 0.1)
    assert slow.answer is None
    client.receive_until(slow)
    env.assert_ok(slow, 2.2)
    assert not running.lines("upstream down")


def test_slow_response_on_one_of_20_persistent_connections(env):
    server, other = env.upstream(), env.upstream()
    env.proxy(server, other, timeouts=DEFAULTS)
    clients = [env.client() for _ in range(20)]
    slow, = clients[7].send(Query("delay-2000.test"))
    for n in range(5):
        asked = [client.send(Query(f"n{n}.c{k}.test"))[0] for k, client in enumerate(clients)]
        for client, exchange in zip(clients, asked):
            client.receive_until(exchange)
        for exchange in asked:
            env.assert_ok(exchange, 0.1)
    assert slow.answer is None
    clients[7].receive_until(slow)
    env.assert_ok(slow, 2.2)


# The fastest first.


def test_fastest_upstream_gets_the_queries(env):
    """Not the first in the list: its latency was measured once, by a losing attempt."""
    a, b, c = env.upstream(faults.slow(0.1)), env.upstream(faults.slow(0.2)), env.upstream()
    env.proxy(a, c, b, order="fastest", timeouts=DEFAULTS)
    client = env.client()
    for n in range(3):
        env.assert_ok(client.ask(f"first-{n}.test"), 0.3)
    slower = len(a.queries) + len(b.queries)
    for n in range(20):
        env.assert_ok(client.ask(f"n{n}.test"), 0.05)
    assert len(a.queries) + len(b.queries) == slower


def test_upstreams_of_similar_latency_keep_the_configured_order(env):
    a, b = env.upstream(faults.slow(0.1)), env.upstream(faults.slow(0.098))
    env.proxy(a, b, order="fastest", timeouts=DEFAULTS)
    client = env.client()
    for n in range(10):
        env.assert_ok(client.ask(f"n{n}.test"), 0.2)
    assert len(a.queries) == 10
    assert 1 <= len(b.queries) <= 2, "it was looked at"


def test_upstream_that_becomes_slow_loses_its_rank(env):
    a, b = env.upstream(faults.slow(0.04)), env.upstream()
    env.proxy(a, b, order="fastest", timeouts=DEFAULTS)
    client = env.client()
    # At the first one that is answered by B, A is seen to be slow.
    for n in range(5):
        env.assert_ok(client.ask(f"first-{n}.test"))
    b.do(faults.slow(0.15))
    before = len(a.queries)
    for n in range(40):
        env.assert_ok(client.ask(f"n{n}.test"), 0.3)
    assert len(a.queries) - before >= 20
    env.assert_ok(client.ask("last.test"), 0.1)


@pytest.mark.timeout(40)
def test_slower_upstream_is_probed_about_every_10_s(env):
    """By a real query, in parallel with the upstream that answers it."""
    a, b = env.upstream(faults.slow(0.1)), env.upstream()
    env.proxy(a, b, order="fastest", timeouts=DEFAULTS)
    client = env.client()
    for n in range(5):
        env.assert_ok(client.ask(f"first-{n}.test"))
    looks, begin, number = [len(a.queries)], now(), 0
    while len(looks) < 3:
        assert now() < begin + 15, "A is looked at"
        env.assert_ok(client.ask(f"n{number}.test"), 0.08)
        number += 1
        if len(a.queries) > looks[-1]:
            looks.append(len(a.queries))
            # The client did not wait for it.
            assert b.queries_for(a.queries[-1].name)
        time.sleep(0.02)
    assert looks[-1] == looks[0] + 2
    first, second = (query.at for query in a.queries[-2:])
    assert first < begin + 3 and second - first > 9


# Bounded effort.


@table("script", ("U-13-close", faults.close_after_query), ("U-13-reset", faults.reset_after_query),
       ("U-13-close-after-handshake", faults.close_after_handshake),
       ("U-13-wrong-id", faults.wrong_id), ("U-13-servfail", faults.rcode(dnsmsg.SERVFAIL)),
       ("U-13-formerr", faults.rcode(1)), ("U-13-silent", faults.never_answer),
       ("U-13-second-closes", faults.first_answered_then(faults.close_after_query)),
       ("U-13-second-silent", faults.first_answered_then(faults.never_answer)))
@pytest.mark.parametrize("after", [0, "50ms", "never"])
def test_attempts_are_bounded(env, script, after):
    servers = [env.upstream(script) for _ in range(3)]
    env.proxy(*servers, fallback={"after": after})
    # So that connections are kept, where they are.
    client = env.client()
    client.ask("first.test")
    client.ask("bounded.test")
    sent = [len(server.queries_for("bounded.test")) for server in servers]
    canaries = sum(len(server.canaries) for server in servers)
    assert sum(sent) + canaries > 0 or script is faults.close_after_handshake
    assert max(sent) <= 3 and sum(sent) <= 2 + len(servers), sent


# The configuration.

GOOD = b"upstreams: [192.0.2.1#dns.test]\n"


@table("text, message",
       ("after-word", b"fallback: {after: soon}", "2:19: expected a time in whole numbers "
        "(as in 1500ms, 2s, 1m), found `soon'"),
       ("after-too-short", b"fallback: {after: 5ms}",
        "2:19: expected a time from 10ms to 9s, or 0, or never, or auto, found `5ms'"),
       ("after-too-long", b"fallback: {after: 10s}",
        "2:19: expected a time from 10ms to 9s, or 0, or never, or auto, found `10s'"),
       ("after-without-unit", b"fallback: {after: 400}",
        "2:19: `400' has no unit (as in 1500ms, 2s, 1m)"),
       ("after-list", b"fallback: {after: [1s]}", "2:19: expected a time, found a list"),
       ("fallback-is-no-map", b"fallback: 400ms",
        "2:11: expected keys and values, found a single value (as in `{after: 400ms}')"),
       ("order", b"order: quickest", "2:8: expected fastest or list, found `quickest'"),
       ("fallback-unknown-key", b"fallback: {before: 1s}",
        "2:12: unknown key `before' (one of: after)"))
def test_invalid_fallback_is_refused(tmp_path, text, message):
    (tmp_path / "config.yml").write_bytes(GOOD + text + b"\n")
    refused(tmp_path, f"config.yml:{message}")


# Three upstreams that fail in turn.

WAYS = [faults.refuse, faults.accept_and_close, faults.accept_and_reset, faults.accept_and_silence,
        faults.http, faults.close_after_handshake, faults.never_answer, faults.close_after_query,
        faults.reset_after_query, faults.half_a_message, faults.half_a_message_and_close,
        faults.wrong_id, faults.close_after_answer, faults.slow(1.0)]


def _fail_in_turn(servers, chance, until, good):
    """One, which changes, is good at any time; notes for how long each was."""
    current = None
    while now() < until:
        following = chance.choice(servers)
        if following is not current:
            following.restart()
            moment = now()
            if good:
                good[-1][1] = moment
            good.append([moment, math.inf])
            current = following
        for server in servers:
            if server is not current:
                server.restart(*([chance.choice(WAYS)] if chance.random() < 0.7 else []))
        time.sleep(chance.uniform(0.3, 1.5))


@pytest.mark.timeout(RANDOM_SECONDS + 60)
@row("X-10-three-in-turn")
def test_three_upstreams_failing_in_turn_lose_no_query(env):
    """200 queries a second: none is lost, and none fails while one upstream is good."""
    servers = [env.upstream() for _ in range(3)]
    env.proxy(*servers, timeouts=DEFAULTS)
    seed, good = random.randrange(1 << 30), []
    until = now() + RANDOM_SECONDS
    failing = threading.Thread(target=_fail_in_turn,
                               args=(servers, random.Random(seed), until, good))
    clients = [env.client() for _ in range(10)]
    failing.start()
    wait_until(lambda: good, 2)
    due, number = now(), 0
    while now() < until:
        for client in clients:
            client.send(Query(f"n{number}.test"))
            number += 1
        due += len(clients) / 200
        while now() < due:
            _receive_available(clients, due)
    for client in clients:
        client.receive_all()
    failing.join(20)
    exchanges = [exchange for client in clients for exchange in client.exchanges]
    wrong = [exchange for exchange in exchanges if not exchange.answer.is_correct]
    assert all(exchange.rcode == dnsmsg.SERVFAIL for exchange in wrong)
    # A query sent during a change may meet the failures of all three.
    failed = [exchange for exchange in wrong
              if any(begin <= exchange.at and exchange.answered <= end for begin, end in good)]
    assert not failed, f"{len(failed)} of {len(exchanges)} (seed {seed})"
    assert all(server.queries for server in servers)
    assert len(exchanges) > 150 * RANDOM_SECONDS or env.sanitized


def _receive_available(clients, until):
    ready, _, _ = select.select([client.sock for client in clients], [], [],
                                max(0.0, until - now()))
    for client in clients:
        if client.sock in ready:
            client.receive()
            while client._buffer:
                client.receive()
