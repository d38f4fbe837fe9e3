"""No client can exhaust a shared resource: slots, connections, IDs, descriptors, memory."""

import asyncio
import contextlib
import threading

import dnsmsg
import faults
import pytest
from clock import now, wait_until
from dnsmsg import Query
from env import MIB
from rows import row, table
from upstream import Script, answer

LONG = {"connect": "2s", "handshake": "2s", "query": "8s"}


class Gate:
    """A server that answers to names that begin with `slow` when it is opened, not before."""

    def __init__(self, loop):
        self._loop = loop
        self._open = loop.call(self._make())
        self.script = Script(on_query=self._asked)

    async def _make(self):
        return asyncio.Event()

    async def _asked(self, connection, query):
        if query.name.startswith("slow"):
            await self._open.wait()
        await answer(connection, query)

    def open(self):
        self._loop.call(self._set())

    async def _set(self):
        self._open.set()


async def _never_slow(connection, query):
    if not query.name.startswith("slow"):
        await answer(connection, query)


NEVER_SLOW = Script(on_query=_never_slow)


def _names(count, first):
    return [Query(f"{first}-{n}.test") for n in range(count)]


def _assert_all_ok(env, client, queries):
    for exchange in client.send(*queries):
        client.receive_until(exchange)
        env.assert_ok(exchange)


# Queries.


def test_client_with_slow_queries_leaves_free_slots(env):
    """It also gets all of its own responses."""
    gate = Gate(env.loop)
    server = env.upstream(gate.script)
    env.proxy(server, timeouts=LONG, inflight=128)
    greedy = env.client()
    greedy.send(*_names(200, "slow"))
    wait_until(lambda: len(server.queries) >= 120)
    other = env.datagrams()
    env.assert_ok(env.ask("tcp.test"), 1)
    env.assert_ok(other.ask("udp.test"), 1)
    assert len(greedy.unanswered) == 200
    gate.open()
    greedy.receive_all()
    for exchange in greedy.exchanges:
        env.assert_ok(exchange)


@pytest.mark.parametrize("clients", [1, 3, 25])
def test_address_with_slow_queries_leaves_free_slots(env, clients):
    """With any number of connections."""
    gate = Gate(env.loop)
    server = env.upstream(gate.script)
    env.proxy(server, timeouts=LONG, inflight=256, workers=1)
    greedy = [env.client(source="127.0.0.2") for _ in range(clients)]
    for n, client in enumerate(greedy):
        client.send(*_names(450 // clients, f"slow-{n}"))
    wait_until(lambda: len(server.queries) >= 248)
    for n in range(3):
        env.assert_ok(env.client(source="127.0.0.3").ask(f"tcp-{n}.test"), 1)
    env.assert_ok(env.datagrams().ask("udp.test"), 1)
    assert sum(len(client.unanswered) for client in greedy) == 450 // clients * clients
    gate.open()
    for client in greedy:
        client.receive_all()
        for exchange in client.exchanges:
            env.assert_ok(exchange)


# IDs.


async def _is_late(connection, data):
    """All others are connected before."""
    if not connection.established:
        await asyncio.sleep(0.1)
    await connection.send_plain(data)


def test_silent_upstreams_do_not_exhaust_ids(env):
    """All upstreams race, and the only one that responds is the last."""
    silent = [env.upstream(faults.never_answer) for _ in range(7)]
    env.proxy(*silent, env.upstream(Script(outgoing=_is_late)), inflight=500,
                timeouts={**LONG, "query": "4s", "answer": "2s"}, fallback={"after": 0})
    _assert_all_ok(env, env.client(), _names(500, "n"))


# Connections to upstreams.


def test_silent_upstream_does_not_exhaust_connections(env):
    """Each query needs a connection to both upstreams, and there are not enough for all."""
    a, b = env.pair(faults.never_answer)
    env.proxy(a, b, inflight=64,
                timeouts={**LONG, "handshake": "6s", "query": "9s", "upstream_idle": 0})
    _assert_all_ok(env, env.client(), _names(160, "n"))


def test_slow_names_do_not_exhaust_connections(env):
    """A canary shows each time that the connection works."""
    server = env.upstream(NEVER_SLOW)
    env.proxy(server, timeouts=LONG)
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    for n in range(6):
        client.send(Query(f"slow-{n}.test"))
        wait_until(lambda: len(server.canaries) > n, 3, "a canary is sent")
        env.assert_ok(client.ask(f"good-{n}.test"), 1)
    assert len(server.connections) == 1
    # Half closed, it would be waited for until the slow queries are due.
    client.reset()


# Descriptors.


def test_idle_clients_do_not_exhaust_descriptors(env):
    server = env.upstream(faults.slow(0.3))
    env.proxy(server, inflight=256, clients={"max": 5000, "per_address": 5000},
                timeouts={**LONG, "answer": "2s", "query": "4s", "client_idle": "20s",
                          "upstream_idle": 0},
                popen_args={"prefix": ("prlimit", "--nofile=512:512")})
    idle = [env.client() for _ in range(380)]
    idle[-1].wait_read()
    _assert_all_ok(env, env.client(), _names(150, "n"))
    for client in idle:
        client.close()


# Memory.


def test_unfinished_messages_do_not_exhaust_memory(env):
    """The memory of each is released when it disconnects."""
    count, size = 200, 65000
    running = env.proxy(env.upstream(), timeouts={"client_read": "5s"},
                          clients={"max": 1000, "per_address": 1000})
    for _ in range(count):
        env.client().send_bytes(b"\xff\xff" + bytes(size))
    for client in env.clients:
        client.wait_read()
    grown = running.memory() - running.memory_at_start
    for client in env.clients:
        client.close()
    wait_until(lambda: running.clients() == 0)
    if not env.sanitized:
        assert grown > 0.9 * count * size
        wait_until(lambda: running.memory() - running.memory_at_start < 6 * MIB, 3)


WORKER_MAX = 24 * MIB


class Watch:
    """The most resident memory that the worker has had, looked at all the time."""

    def __init__(self, running):
        self._pid, = running.workers()
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.wait(0.002):
            self.most = max(self.most, self.resident())

    def resident(self):
        with open(f"/proc/{self._pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def _send_in_background(client, queries):
    """The proxy reads all of them only when it has answered some."""
    def run():
        with contextlib.suppress(OSError):
            client.send(*queries)
    client.sock.settimeout(60)
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _large(count, first):
    padding = dnsmsg.opt(dnsmsg.option(65001, bytes(65000)))
    return [Query(f"{first}-{n}.test", edns=padding) for n in range(count)]


def _assert_released(env, watch, before):
    if not env.sanitized:
        limit = now() + 1
        while (grown := watch.resident() - before) > 6 * MIB:
            assert now() < limit, f"{grown / MIB:.1f} MiB are not released"


@table("clients, each", ("C-34-one-connection", 1, 400), ("C-34-many-connections", 40, 10))
def test_large_queries_do_not_exhaust_memory(env, clients, each):
    """One address pipelines queries of 65 kB whose answers are slow."""
    gate = Gate(env.loop)
    running = env.proxy(env.upstream(gate.script),
                          timeouts={**LONG, "answer": "8s", "client_read": "5s",
                                                               "client_idle": "20s"})
    env.assert_ok(env.ask("warm.test"))
    with Watch(running) as watch:
        before = watch.resident()
        greedy = [env.client(source="127.0.0.2") for _ in range(clients)]
        threads = [_send_in_background(client, _large(each, f"slow-{n}"))
                   for n, client in enumerate(greedy)]
        begin = now()
        while now() < begin + 2:
            env.assert_ok(env.ask("small.test"), 1)
            env.assert_ok(env.datagrams().ask("udp.test"), 1)
        env.assert_ok(env.ask(_large(1, "large")[0]), 1)
        gate.open()
        for client in greedy:
            wait_until(lambda: len(client.exchanges) == each)
            client.receive_all()
            for exchange in client.exchanges:
                assert exchange.answer.is_correct
        for thread in threads:
            thread.join()
        _assert_released(env, watch, before)
    if not env.sanitized:
        assert watch.most < WORKER_MAX, f"{watch.most / MIB:.1f} MiB"


@row("C-34")
def test_unread_large_responses_do_not_exhaust_memory(env):
    """Only that client is closed."""
    running = env.proxy(env.upstream(), timeouts={**LONG, "client_idle": "20s"})
    env.assert_ok(env.ask("warm.test"))
    with Watch(running) as watch:
        before = watch.resident()
        lazy = [env.client(source="127.0.0.2", receive_buffer=4096) for _ in range(4)]
        others = [env.client() for _ in range(3)]
        for n, client in enumerate(lazy):
            client.send(*[Query(f"size-65000.n{m}.of-{n}.test") for m in range(120)])
            client.abandoned = True
        begin = now()
        while now() < begin + 3:
            for other in others:
                env.assert_ok(other.ask("other.test"), 5)
        for client in lazy:
            client.close()
        _assert_released(env, watch, before)
    if not env.sanitized:
        assert watch.most < WORKER_MAX, f"{watch.most / MIB:.1f} MiB"


@row("C-34")
def test_unfinished_messages_and_used_slots_do_not_exhaust_memory(env):
    """
    One client fills all slots with queries and answers of just less than a page, and leaves as
    many unfinished messages as are read. Two such workers must fit into 64 MiB.
    """
    running = env.proxy(env.upstream(), timeouts={**LONG, "answer": "8s", "client_read": "20s",
                                                      "client_idle": "20s"})
    padding = dnsmsg.opt(dnsmsg.option(65001, bytes(4000)), size=4096)
    env.assert_ok(env.ask("warm.test"))
    with Watch(running) as watch:
        before = watch.resident()
        greedy = [env.client(source="127.0.0.2") for _ in range(4)]
        threads = [_send_in_background(client, [Query(f"size-4090.delay-700.n{m}.of-{n}.test",
                                                      edns=padding) for m in range(256)])
                   for n, client in enumerate(greedy)]
        for client in greedy:
            wait_until(lambda: len(client.exchanges) == 256)
            client.receive_all()
            for exchange in client.exchanges:
                assert exchange.answer.is_correct
        for thread in threads:
            thread.join()
        unfinished = [env.client(source="127.0.0.2") for _ in range(450)]
        for n, client in enumerate(unfinished):
            client.abandoned = True
            client.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sock.send(b"\xff\xff" + bytes(65000))
            if n % 50 == 0:
                env.assert_ok(env.ask("small.test"), 1)     # it is never quiet
        env.assert_ok(env.ask("small.test"), 1)
        for client in unfinished + greedy:
            client.close()
        if not env.sanitized:
            wait_until(lambda: watch.resident() - before < 6 * MIB, 3, "it is given back")
    if not env.sanitized:
        assert watch.most < 30 * MIB, f"{watch.most / MIB:.1f} MiB"


@table("leave", ("C-34-those-before-leave", True), ("C-34-those-before-send-more", False))
def test_memory_of_unfinished_messages_is_available_to_others(env, leave):
    """One address fills all memory for large messages; then another sends a large query."""
    env.proxy(env.upstream(), timeouts={**LONG, "client_read": "6s" if leave else "1s",
                                            "client_idle": "20s"})
    greedy = [env.client(source="127.0.0.2") for _ in range(450)]
    for client in greedy:
        client.abandoned = True
        client.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.sock.send(b"\xff\xff" + bytes(65000))
    env.assert_ok(env.ask("small.test"), 1)
    for client in greedy:
        if leave:
            client.close()
        else:
            with contextlib.suppress(OSError):
                client.sock.send(b"more")
    env.assert_ok(env.ask(_large(1, "large")[0]), 2 if leave else 4)


@row("C-34")
def test_memory_is_released_after_slow_responses(env):
    """The last responses arrive long after the last queries."""
    running = env.proxy(env.upstream(), timeouts={**LONG, "answer": "8s", "client_idle": "20s"})
    padding = dnsmsg.opt(dnsmsg.option(65001, bytes(3000)), size=4096)
    env.assert_ok(env.ask("warm.test"))
    with Watch(running) as watch:
        before = watch.resident()
        client = env.client()
        queries = [Query(f"size-900.delay-2500.n{n}.test", edns=padding) for n in range(900)]
        thread = _send_in_background(client, queries)
        wait_until(lambda: len(client.exchanges) == len(queries))
        client.receive_all()
        thread.join()
        for exchange in client.exchanges:
            env.assert_ok(exchange)
        if not env.sanitized:
            assert watch.most - before > 3 * MIB
            wait_until(lambda: watch.resident() - before < 2 * MIB, 3, "it is given back")
