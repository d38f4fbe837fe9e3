"""Group K: the cache's memory: size, eviction, and processes that die while they use it."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

import answers
import caching
import dnsmsg
import faults
import processes
import proxy
from answers import positive, serve, version
from caching import MIB, PLAIN, Mapping, written
from clock import now, wait_until
from dnsmsg import Query
from rows import row, table

SMALL = 512 << 10
LOAD = os.path.join(os.path.dirname(__file__), "..", "lib", "udpload.py")


def _names(count, prefix="n"):
    return [f"{prefix}{n}.test" for n in range(count)]


def _ask_all(env, names, client=None):
    """Asks in batches over UDP; returns the exchanges."""
    client = client or env.datagrams()
    for start in range(0, len(names), 100):
        client.send(*map(Query, names[start:start + 100]))
        client.receive_all()
    exchanges = client.exchanges[-len(names):]
    for exchange in exchanges:
        env.assert_ok(exchange)
    return exchanges


def _missed(env, server, names, client=None):
    """Asks; the number of names that are not in the cache."""
    before = len(server.queries)
    _ask_all(env, names, client)
    return len(server.queries) - before


# Size.


@table("size", ("K-17-1-MiB", MIB), ("K-17-8-MiB", 8 * MIB))
def test_memory_is_exactly_size_and_taken_as_it_fills(env, size):
    running = processes.start_workers(env, env.upstream(serve(answers.large(4000))), workers=2,
                                      cache={**PLAIN, "size": written(size)})
    mappings = [Mapping(pid, size) for pid in (running.pid, *running.workers())]
    resident = max(mapping.resident for mapping in mappings)
    assert resident <= size // 8
    _ask_all(env, _names(100), env.client())
    grown = max(mapping.read().resident for mapping in mappings) - resident
    assert 350 << 10 <= grown <= 800 << 10
    assert all(mapping.resident <= size for mapping in mappings)


@row("K-53-core")
def test_memory_is_not_in_core_dumps(env):
    """The names of users are in it."""
    running = processes.start_workers(env, env.upstream(), cache={"size": written(MIB)})
    for pid in (running.pid, *running.workers()):
        assert "dd" in Mapping(pid, MIB).flags


@row("K-53-log")
def test_no_name_in_the_log(env):
    server = env.upstream(serve(answers.by_name({
        "secret-large.test": answers.large(60000), "secret-failure.test": answers.failure(),
        "secret-negative.test": answers.negative(dnsmsg.NXDOMAIN)})))
    running = env.proxy(server, cache={**PLAIN, "size": written(MIB)}, log={"level": "debug"})
    for name in ("large", "failure", "negative", "positive"):
        for _ in range(2):
            env.ask(f"secret-{name}.test")
    caching.counters(running)
    running.signal(signal.SIGUSR2)
    server.restart(faults.refuse)
    env.ask("secret-positive.test")
    running.stop()
    assert "secret" not in running.log_text()


@table("workers, size", ("K-52-too-small", 1, "4KiB"),
       ("K-52-too-small-for-16-workers", 16, "200KiB"))
def test_size_too_small_is_an_error_that_names_the_least_size(env, workers, size):
    """Which works."""
    running = env.proxy(env.upstream(), workers=workers, cache={"size": size}, start=False)
    assert running.wait() == 2
    message = running.log_text()
    assert re.search(r"config\.yml:\d+:\d+: ", message), message
    least = max(map(int, re.findall(r"(\d+)KiB", message)))
    server = env.upstream(serve(positive()))
    processes.start_workers(env, server, workers=workers, cache={"size": f"{least}KiB"})
    assert _missed(env, server, ["a.test", "a.test"]) == 1


@row("K-52-mmap")
@pytest.mark.skipif(proxy.sanitized(), reason="sanitizers need all of the address space")
def test_memory_that_the_kernel_refuses_is_a_start_error(env):
    running = env.proxy(env.upstream(), cache={"size": written(1024 * MIB)}, start=False,
                        popen_args={"prefix": ("prlimit", f"--as={512 * MIB}")})
    assert running.wait() == 1
    line = running.wait_line("cannot start")
    assert "cache" in line["cause"] and "memory" in line["cause"].lower(), line.text
    assert len(running.log) <= 3


@row("K-17-reload")
def test_reloads_lose_no_memory_of_the_cache(env):
    """Each time all workers are new, and leave what they were filling."""
    times = 20 if env.sanitized else 100
    server = env.upstream(serve(positive(ttl=3600)))
    running = processes.start_workers(env, server, workers=2, reload="signal",
                                      cache={**PLAIN, "size": written(SMALL)})
    names = _names(600)
    _ask_all(env, names)
    before = _missed(env, server, names)
    for n in range(times):
        lines = len(running.lines("configuration reloaded"))
        running.signal(signal.SIGHUP)
        _ask_all(env, [f"during-{n}.test"])
        wait_until(lambda: len(running.lines("configuration reloaded")) > lines, 5)
    processes.wait_all_serving(running, 2)
    _ask_all(env, names)
    after = _missed(env, server, names)
    assert before == 0 and after <= 0.1 * len(names)
    assert Mapping(running.pid, SMALL).resident <= SMALL


# Eviction.


def _hot_rate(env, server, flood, asks_between=100):
    """Asks a flood of names and a few others again and again; the share of these that hit."""
    hot, client, other = _names(50, "hot"), env.datagrams(), env.datagrams()
    for _ in range(3):
        _ask_all(env, hot, client)
    for start in range(0, len(flood), asks_between):
        _ask_all(env, flood[start:start + asks_between], other)
        _ask_all(env, random.sample(hot, 25), client)
    return 1 - _missed(env, server, hot * 2, client) / len(hot)


@table("repeat", ("K-15", 1), ("K-50", 2))
def test_flood_of_random_names_does_not_evict_names_in_use(env, repeat):
    """Also when it asks each name twice. The memory is bounded."""
    server = env.upstream(serve(positive(ttl=3600)))
    running = env.proxy(server, cache={**PLAIN, "size": written(SMALL)})
    batches = [_names(50, f"r{n}-") * repeat for n in range(30 if env.sanitized else 120)]
    rate = _hot_rate(env, server, sum(batches, []), 50 * repeat)
    assert rate >= 0.95
    pid, = running.workers()
    assert Mapping(pid, SMALL).resident <= SMALL
    if not env.sanitized:
        assert caching.counters(running)["evicted_probation"] > 1000


@row("K-15-latency")
def test_hits_are_as_fast_in_a_full_cache(env):
    server = env.upstream(serve(positive(ttl=3600)))
    env.proxy(server, cache={**PLAIN, "size": written(SMALL)})
    client = env.datagrams()

    def median(name):
        client.ask(name)
        took = sorted(client.ask(name).took for _ in range(200))
        return took[100]

    empty = median("empty.test")
    _ask_all(env, _names(1500 if env.sanitized else 4000))
    assert median("full.test") < 2 * empty + 0.0002


@row("K-51")
def test_large_answers_do_not_evict_names_in_use(env):
    def make(query, version):
        made = answers.large(60000) if query.parts[0].startswith(b"large") else positive()
        return made(query, version)
    server = env.upstream(serve(make))
    env.proxy(server, cache={**PLAIN, "size": written(8 * MIB)})
    hot, client = _names(50, "hot"), env.datagrams()
    for _ in range(3):
        _ask_all(env, hot, client)
    by_tcp = env.client()
    for n in range(100 if env.sanitized else 400):
        env.assert_ok(by_tcp.ask(f"large-{n}.test"))
        if n % 20 == 0:
            _ask_all(env, hot, client)
    assert _missed(env, server, hot, client) == 0


# Processes that die.


class Load:
    """Queries for a few names over UDP, in a process of its own."""

    def __init__(self, address, rate, count, pool):
        self._process = subprocess.Popen(
            [sys.executable, LOAD, *map(str, (*address, rate, f"{count}/{pool}"))],
            stdout=subprocess.PIPE)

    @property
    def running(self):
        return self._process.poll() is None

    def result(self):
        out, _ = self._process.communicate(timeout=30)
        return json.loads(out)


@table("size, pool", ("K-14-turns-over", SMALL, 3000), ("K-14-all-fit", 4 * MIB, 500))
def test_killed_workers_leave_no_wrong_answer(env, size, pool):
    """They are killed again and again while they read and fill the cache."""
    env.may_grow = 64 * MIB
    server = env.upstream(serve(positive(ttl=2)))
    running = processes.start_workers(env, server, workers=3,
                                      cache={**PLAIN, "size": written(size)})
    pick, killed = random.Random(7), 0
    rate, count = (500, 2500) if env.sanitized else (1000, 4000)
    load = Load(running.address, rate, count, pool)
    until = now() + count / rate
    while load.running and now() < until:
        workers = running.workers()
        if workers:
            os.kill(pick.choice(workers), signal.SIGKILL)
            killed += 1
        time.sleep(pick.uniform(0.1, 0.4))
    seen = load.result()
    assert killed >= 10
    assert not seen["wrong"], seen["wrong"][:3]
    assert seen["answered"] >= 0.5 * seen["asked"]
    processes.wait_all_serving(running, 3)
    # The memory can still be used.
    server.do(serve(positive(ttl=3600)))
    names = _names(100, "after")
    _ask_all(env, names)
    assert _missed(env, server, names) == 0


@row("K-14-stopped")
def test_stopped_worker_does_not_block_others(env):
    """A worker that is stopped while the others turn the cache over changes no entry of theirs."""
    server = env.upstream(serve(positive(ttl=3600)))
    running = processes.start_workers(env, server, workers=3,
                                      cache={**PLAIN, "size": written(SMALL)})
    _ask_all(env, _names(200))
    victim = running.workers()[0]
    processes.pause(victim)
    try:
        begin = now()
        _ask_all(env, _names(1000, "meanwhile"))
        env.within(4, begin)
    finally:
        os.kill(victim, signal.SIGCONT)
    names = _names(200, "after")
    _ask_all(env, names)
    assert _missed(env, server, names) == 0
    assert victim in running.workers()


@row("K-17-fork")
def test_workers_share_one_cache(env):
    server = env.upstream(serve(positive()))
    running = processes.start_workers(env, server, workers=3, cache=PLAIN)
    clients = processes.one_each(env)
    assert len(clients) == 3
    for client in clients.values():
        assert version(env.assert_ok(client.ask("shared.test"))) == 1
    assert len(server.queries) == 1
    for victim in running.workers():
        os.kill(victim, signal.SIGKILL)
    processes.wait_all_serving(running, 3, list(clients))
    assert version(env.assert_ok(env.ask("shared.test"))) == 1
    for client in clients.values():
        client.close()
