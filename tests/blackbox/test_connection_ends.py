"""
Servers end connections at any time: after some queries, after some seconds, at a restart. Every
query is counted, and none is lost.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time

import pytest

import dnsmsg
import faults
import udpload
from clock import now, wait_until
from dnsmsg import Query
from env import EDNS
from upstream_state import times_down
from rows import row, table

# The defaults of the program.
DEFAULTS = {"query": "4500ms", "connect": "1s", "handshake": "1500ms", "answer": "2s"}
FLAP_SECONDS = float(os.environ.get("DOT_PROXY_FLAP_SECONDS", "30"))


class Load:
    """A UDP load that runs during the test; under the sanitizers a quarter of it."""

    def __init__(self, env, rate, count, *special):
        env.query_seconds = 4.5
        if env.sanitized:
            rate, count = rate / 4, count // 4
        host, port = env.proxies[-1].address
        self.process = subprocess.Popen(
            [sys.executable, udpload.__file__, host, str(port), str(rate), str(count), *special],
            stdout=subprocess.PIPE, text=True)
        env.others.append(self)

    def seen(self):
        out, _ = self.process.communicate(timeout=90)
        assert self.process.returncode == 0
        return json.loads(out)

    def close(self):
        self.process.kill()
        self.process.communicate()


def run_load(env, rate, count, *special):
    return Load(env, rate, count, *special).seen()


def all_answered(seen, of=None):
    asked = seen["asked"] - sum(sum(each.values()) for each in seen["special"].values())
    assert not seen["wrong"], seen["wrong"][:3]
    assert (seen["answered"], seen["servfail"], seen["lost"]) == (of or asked, 0, 0), seen


def _burst(env, client, name, count, seconds):
    """Sends all queries at once; each is answered within some seconds."""
    asked = client.send(*[Query(f"{name}-{k}.test") for k in range(count)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange, seconds)


def not_down(running, *servers):
    for server in servers:
        assert times_down(running, server) == 0, running.log_text()


# What servers really do.

LIMITS = [(f"U-19-{name}", *values) for name, *values in (
    # answers a connection, queries a second and in all, seconds to the server, upstreams, workers
    ("50", 50, 300, 1500, 0.02, 1, 1),
    ("128", 128, 600, 3000, 0.02, 1, 1),
    ("1000", 1000, 600, 4800, 0.02, 1, 1),
    ("2000", 2000, 600, 6000, 0.02, 1, 1),
    ("50-slow-and-far", 50, 30, 300, 0.1, 1, 1),
    ("128-two-upstreams", 128, 600, 3000, 0.02, 2, 1),
    ("128-two-workers", 128, 600, 3000, 0.02, 1, 2),
    ("2000-two-of-both", 2000, 600, 6000, 0.02, 2, 2))]


@table("ends_after, rate, count, delay, upstreams, workers", *LIMITS)
def test_query_limit_per_connection_loses_no_query(env, ends_after, rate, count,
                                                                 delay, upstreams, workers):
    servers = [env.upstream(faults.ends_after(ends_after, delay)) for _ in range(upstreams)]
    running = env.proxy(*servers, timeouts=DEFAULTS, workers=workers)
    begin = now()
    seen = run_load(env, rate, count)
    all_answered(seen)
    not_down(running, *servers)
    late = env.loop.late(begin, now())
    assert seen["p99"] < 3 * delay + 0.1 + late, seen
    ends = sum(c.facts.get("answered") == ends_after for c in servers[0].connections)
    assert ends >= max(1, seen["asked"] // ends_after - 1) // workers or env.sanitized


@row("U-19-5s")
def test_connection_age_limit_loses_no_query(env):
    server = env.upstream(faults.lives_for(2, 0.02))
    running = env.proxy(server, timeouts=DEFAULTS)
    all_answered(run_load(env, 600, 4800))
    not_down(running, server)


@table("rest", ("U-20-at-once", 0), ("U-20-1s", 1), ("U-20-idle", 6))
def test_closed_connection_does_not_stop_pipelining(env, rest):
    """After two closes as many queries are in flight as before."""
    server = env.upstream(faults.slow(0.1))
    running = env.proxy(server, timeouts={**DEFAULTS, "client_idle": "20s"})
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    for n in range(2):
        asked = client.send(*[Query(f"open-{n}-{k}.test") for k in range(10)])
        wait_until(lambda: server.queries_for(f"open-{n}-9.test"))
        server.reset()
        client.receive_all()
        for exchange in asked:
            env.assert_ok(exchange, 0.5)
        time.sleep(rest)
    env.assert_ok(client.ask("again.test"))
    opened = len(server.connections)
    _burst(env, client, "after", 50, 0.3)
    assert len(server.connections) <= opened + 1
    not_down(running, server)


@table("burst", ("U-21-6", 6), ("U-21-20", 20), ("U-21-100", 100))
def test_server_that_answers_one_query_per_connection_is_not_down(env, burst):
    server = env.upstream(faults.ends_after(1))
    running = env.proxy(server, timeouts=DEFAULTS)
    for n in range(3):
        client = env.client()
        _burst(env, client, f"burst-{n}", burst, 2)
        client.finish()
    not_down(running, server)


@row("U-21-too-many")
def test_query_is_not_sent_after_its_deadline(env):
    """More queries than the connections can carry: those past their deadline are dropped."""
    server = env.upstream(faults.ends_after(1, 1.0))
    env.proxy(server, timeouts=DEFAULTS)
    client = env.client()
    asked = client.send(*[Query(f"many-{n}.test") for n in range(400)])
    client.receive_all()
    right = [exchange for exchange in asked if exchange.answer.is_correct]
    assert len(right) >= 36
    for exchange in asked:
        if exchange not in right:
            env.servfail(exchange)
    last = max(query.at for query in server.queries)
    env.within(4.6, asked[0].at, last)


@row("U-21-forgotten")
def test_pipelining_resumes_after_one_query_per_connection(env):
    """One connection that answers several is enough."""
    server = env.upstream(faults.ends_after(1, 0.05))
    env.proxy(server, timeouts=DEFAULTS)
    client = env.client()
    for n in range(2):
        client.send(*[Query(f"burst-{n}-{k}.test") for k in range(20)])
        client.receive_all()
    server.do(faults.slow(0.05))
    for n in range(3):
        env.assert_ok(client.ask(f"well-{n}.test"))
    opened = len(server.connections)
    _burst(env, client, "many", 100, 0.3)
    assert len(server.connections) <= opened + 1


@table("count, delay, upstreams", ("U-22-1-upstream", 4500, 0.005, 1),
       ("U-22-2-upstreams", 4500, 0.005, 2), ("U-22-far", 1800, 0.05, 1))
def test_name_that_closes_connections_fails_alone(env, count, delay, upstreams):
    servers = [env.upstream(faults.closes_at("bad.test", delay)) for _ in range(upstreams)]
    running = env.proxy(*servers, timeouts=DEFAULTS)
    seen = run_load(env, 600, count, "bad.test")
    all_answered(seen)
    bad = seen["special"]["bad.test"]
    assert bad["answered"] == bad["lost"] == 0
    assert bad["servfail"] == seen["asked"] // udpload.EVERY
    not_down(running, *servers)
    for server in servers:
        assert len(server.queries_for("bad.test")) <= 3 * bad["servfail"]


async def _answer_and_close_notify(connection, query):
    """In one segment, so that nothing is sent between the two."""
    connection.session.write(dnsmsg.framed(query.answer()))
    connection.session.close_notify()
    await connection.close()


async def _answer_with_keepalive_0(connection, query):
    await connection.reply(query.answer(options=dnsmsg.option(11, b"\0\0")))


async def _answer_canaries_only(connection, query):
    await (_answer_and_close_notify if query.is_canary else faults.close_after_query.on_query)(
        connection, query)


@table("otherwise", ("U-22-keepalive-0", _answer_with_keepalive_0),
       ("U-22-one-response-each", _answer_and_close_notify),
       ("U-22-canaries-only", _answer_canaries_only))
def test_canary_used_up_by_each_connection_does_not_storm(env, otherwise):
    """The name at which the server closes never uses a connection that has answered a canary."""
    async def asked(connection, query):
        await (connection.close() if query.name == "bad.test" else otherwise(connection, query))

    server = env.upstream(faults.Script(on_query=asked))
    env.proxy(server, timeouts=DEFAULTS)
    client = env.client()
    for n in range(3):
        opened = len(server.connections)
        env.servfail(client.ask("bad.test"), 1)
        assert len(server.connections) <= opened + 12
        exchange = client.ask(f"n{n}.test")
        if otherwise is not _answer_canaries_only:
            env.assert_ok(exchange, 1)
    opened = len(server.connections)
    client.send(*[Query(f"burst-{n}.test") for n in range(20)])
    client.receive_all()
    assert len(server.connections) <= opened + 20 * 6


@row("U-22-remembered")
def test_name_that_closes_connections_gets_its_own_connection(env):
    """The connection of all other queries stays open."""
    async def asked(connection, query):
        is_bad = query.name.startswith("bad")
        await (faults.close_after_query.on_query if is_bad else faults.answer)(connection, query)

    server = env.upstream(faults.Script(on_query=asked))
    env.proxy(server, timeouts=DEFAULTS)
    client = env.client()
    env.servfail(client.ask("bad-rare.test"))
    for _ in range(20):
        env.servfail(client.ask("bad-often.test"))
    env.assert_ok(client.ask("warm.test"))
    env.servfail(client.ask("bad-rare.test"))
    env.assert_ok(client.ask("good.test"))
    (warm,), (good,) = server.queries_for("warm.test"), server.queries_for("good.test")
    assert good.connection is warm.connection


@table("upstreams", ("U-23-1-upstream", 1), ("U-23-2-upstreams", 2))
def test_every_second_connection_is_reset(env, upstreams):
    servers = [env.upstream(faults.reset_every_second | faults.ends_after(128, 0.02))
               for _ in range(upstreams)]
    running = env.proxy(*servers, timeouts=DEFAULTS)
    begin = now()
    all_answered(run_load(env, 600, 6000))
    for server in servers:
        assert times_down(running, server) <= 1 + (now() - begin) // 10


@row("U-23-refused")
def test_flapping_upstream_is_logged_every_10_seconds(env):
    """The second line has the number of times it went down since the first."""
    a, b = env.pair()
    running = env.proxy(a, b, timeouts=DEFAULTS)
    begin, n, asked = now(), 0, 0
    while now() < begin + 18 and len(running.lines("upstream down", upstream=a.name)) < 2:
        a.restart(*([] if n % 2 else [faults.refuse]))
        until = now() + (1.5 if n % 2 else 0.2)
        while now() < until:
            env.assert_ok(env.ask(f"n{asked}.test"))
            asked += 1
        n += 1
    first, second = running.lines("upstream down", upstream=a.name)
    assert first.get("times") is None and int(second.get("times")) > 1
    assert now() - begin > 9
    assert len(running.lines("upstream back", upstream=a.name)) <= 2


# Slow is not down.


@row("U-24")
def test_first_upstream_with_3_second_latency(env):
    a, b = env.upstream(faults.slow(3.0)), env.upstream()
    env.proxy(a, b, timeouts=DEFAULTS)
    seconds, rate = 12, 600
    seen = run_load(env, rate, rate * seconds)
    all_answered(seen)
    assert len(a.connections) < 30 * seconds / 60 + 4, len(a.connections)
    assert len(a.queries) < seen["asked"] / 2, "not every query goes to it"


@table("at_once", ("U-25-one-by-one", 1), ("U-25-ten-at-once", 10))
@pytest.mark.timeout(100)
def test_slow_names_mark_no_upstream_down(env, at_once):
    servers = [env.upstream() for _ in range(4)]
    running = env.proxy(*servers, timeouts={**DEFAULTS, "client_idle": "20s"})
    clients = [env.client() for _ in range(at_once)]
    for n in range(max(2, 6 // at_once)):
        asked = [client.send(Query(f"delay-3500.n{n}-{k}.test"))[0]
                 for k, client in enumerate(clients)]
        for client, exchange in zip(clients, asked):
            env.assert_ok(client.receive_until(exchange))
    not_down(running, *servers)
    env.assert_ok(env.ask("prompt.test"), 0.2)


@table("upstreams", ("U-26-1-upstream", 1), ("U-26-3-upstreams", 3))
def test_type_that_is_never_answered_marks_no_upstream_down(env, upstreams):
    async def no_aaaa(connection, query):
        if query.seen.qtype != dnsmsg.AAAA:
            await faults.answer(connection, query)

    servers = [env.upstream(faults.Script(on_query=no_aaaa)) for _ in range(upstreams)]
    running = env.proxy(*servers, timeouts=DEFAULTS)
    client = env.client()
    for n in range(3):
        aaaa, a = client.send(Query(f"n{n}.test", qtype=dnsmsg.AAAA), Query(f"n{n}.test"))
        env.assert_ok(client.receive_until(a), 0.3)
        env.servfail(client.receive_until(aaaa), 4.7)
        for k in range(5):
            env.assert_ok(client.ask(f"then-{n}-{k}.test"), 0.3)
    not_down(running, *servers)


@row("U-25-black-hole")
def test_blackhole_is_marked_down(env):
    """Within the time that two silent connections take."""
    a, b = env.upstream(faults.never_answer), env.upstream()
    running = env.proxy(a, b, timeouts=DEFAULTS)
    begin = now()
    n = 0
    while times_down(running, a) == 0:
        assert now() < begin + 4.5, running.log_text()
        env.assert_ok(env.ask(f"n{n}.test"), 0.6)
        n += 1
    assert len(a.connections) <= 3


# All at once.


def _disturb(servers, chance, until):
    """Ends connections at random, restarts, flaps; one server at a time, and never for long."""
    while now() < until:
        server = chance.choice(servers)
        what = chance.random()
        if what < 0.4:
            server.close_all()
        elif what < 0.6:
            server.reset()
        elif what < 0.8:
            server.restart(faults.refuse)
            time.sleep(chance.uniform(0.1, 0.4))
            server.do(faults.ends_after(chance.choice((20, 50, 128, 2000)), 0.02))
        else:
            server.do(faults.ends_after(chance.choice((20, 50, 128, 2000)), 0.02))
        time.sleep(chance.uniform(0.05, 0.5))


@pytest.mark.timeout(FLAP_SECONDS + 60)
@row("U-19-at-random")
def test_random_connection_closes_lose_no_query(env):
    servers = [env.upstream(faults.ends_after(128, 0.02)) for _ in range(2)]
    env.proxy(*servers, timeouts=DEFAULTS)
    seed = random.randrange(1 << 30)
    disturbing = threading.Thread(target=_disturb, args=(servers, random.Random(seed),
                                                         now() + FLAP_SECONDS))
    disturbing.start()
    seen = run_load(env, 600, int(600 * FLAP_SECONDS))
    disturbing.join(20)
    all_answered(seen)
    assert seen["slowest"] < 1.5, f"nothing is late: {seen} (seed {seed})"


# Each local SERVFAIL has a reason.

SILENT = {name: getattr(faults, name) for name in (
    "refuse", "accept_and_close", "accept_and_reset", "accept_and_silence", "http",
    "fin_in_handshake", "close_notify_in_handshake", "close_after_handshake",
    "reset_after_handshake", "never_answer", "close_after_query", "reset_after_query",
    "alert_after_query", "one_byte", "half_a_message", "half_a_message_and_close", "wrong_id")}


@pytest.mark.parametrize("name", SILENT, ids=lambda name: f"U-27-{name}")
@pytest.mark.parametrize("upstreams", [1, 2])
def test_each_servfail_names_upstream_step_and_reason(env, name, upstreams):
    servers = [env.upstream(SILENT[name]) for _ in range(upstreams)]
    env.proxy(*servers)
    client = env.client()
    client.send(*[Query(f"at-once-{n}.test", edns=EDNS) for n in range(5)])
    client.receive_all()
    for n in range(3):
        client.ask(Query(f"n{n}.test", edns=EDNS))
    for exchange in client.exchanges:
        env.servfail(exchange)
        (code, text), = exchange.answer.ede
        assert code in (22, 23)
        assert any(text.startswith(f"{server.name}: ") for server in servers), text
        step, reason = text.split(": ")[1:3] if text.count(": ") > 1 else (None, None)
        assert step in ("connect", "handshake", "read", "write", "query") and reason, text
