"""Queries that are retried or moved to another connection get exactly one response."""

import os
import resource
import signal

import dnsmsg
import faults
import processes
from clock import wait_until
from dnsmsg import Query
from env import EDNS
from test_limits import no_more_descriptors
from upstream import Script, answer

NO_MORE_QUERIES = dnsmsg.option(11, b"\0\0")    # a keepalive of 0 (RFC 7828 3.3.2)


async def _silent_to_some(connection, query):
    """The test itself answers to these names; canaries get no response either."""
    if query.name and not query.name.startswith("silent"):
        await answer(connection, query)


def _wait_resent(server, name):
    """Waits until a query on a silent connection is resent; returns both attempts."""
    return wait_until(lambda: len(server.queries_for(name)) > 1 and server.queries_for(name), 3,
                      "the query is resent")


def _abort_connection(env, running, connection):
    """Waits until the proxy has seen the end of the connection."""
    async def reset():
        connection.reset()

    before = running.descriptors()
    env.loop.call(reset())
    wait_until(lambda: running.descriptors() < before, 3, "the proxy lets go of it")


def _answer_last(env, query):
    env.loop.call(query.connection.reply(query.answer(options=NO_MORE_QUERIES)))


def test_query_is_sent_once_per_connection(env):
    """The silent connection breaks after its query was resent on the next one."""
    server = env.upstream(Script(on_query=_silent_to_some))
    running = env.proxy(server, timeouts={"answer": "2s", "query": "4s"})
    worker, = running.workers()
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    silent, = client.send(Query("silent.test", edns=EDNS))
    first, second = _wait_resent(server, "silent.test")
    assert first.connection is not second.connection
    _abort_connection(env, running, first.connection)
    env.assert_ok(client.ask("behind.test"))
    assert [query.name for query in second.connection.queries].count("silent.test") == 1
    _answer_last(env, second)
    env.assert_ok(client.receive_until(silent))
    assert running.workers() == [worker]


def test_query_that_was_sent_does_not_wait_for_the_same_upstream(env):
    """The same if it would have to wait, and no upstream is left when the response arrives."""
    server = env.upstream(Script(on_query=_silent_to_some))
    running = env.proxy(server, timeouts={"answer": "2s", "query": "4s"}, user="root")
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    silent, = client.send(Query("silent.test", edns=EDNS))
    first, second = _wait_resent(server, "silent.test")
    _abort_connection(env, running, first.connection)
    worker, = running.workers()
    was = no_more_descriptors(worker)
    _answer_last(env, second)
    env.assert_ok(client.receive_until(silent, 3))
    assert running.workers() == [worker]
    resource.prlimit(worker, resource.RLIMIT_NOFILE, was)


def test_response_with_wrong_question_counts_as_attempt(env):
    """The upstream gets no query more than three times, even on connections that worked before."""
    server = env.upstream(Script(on_query=_silent_to_some))
    env.proxy(server, timeouts={"answer": "2s", "query": "4s"})
    client, unlucky = env.client(), env.client()
    env.assert_ok(client.ask("warm.test"))
    exchange, = unlucky.send(Query("silent.test", edns=EDNS))
    wait_until(lambda: server.queries_for("silent.test"))
    times = 0
    while times < 6 and len(server.queries_for("silent.test")) > times:
        query = server.queries_for("silent.test")[times]
        times += 1
        env.loop.call(query.connection.reply(query.answer(parts=dnsmsg.labels("another.test"))))
        wait_until(lambda: query.connection.closed, 3, "the proxy closes the connection")
        # If resent, it follows the other query on the next connection or shares its record.
        env.assert_ok(client.ask(f"good-{times}.test"))
    assert times <= 3
    env.servfail(unlucky.receive_until(exchange))


def test_queries_on_stalled_connection_are_resent(env):
    server = env.upstream()
    env.proxy(server, timeouts={"answer": "2s", "query": "4s"})
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    kept = server.connections[-1]
    server.do(faults.from_connection(len(server.connections), faults.never_answer))
    asked = len(kept.queries)
    client.send(*[Query(f"waits-{n}.test") for n in range(10)])
    client.receive_all()
    for exchange in client.exchanges[-10:]:
        env.assert_ok(exchange, 2)
    assert len(kept.queries) == asked + 10 + 1, "each once, and one canary"


def test_incomplete_message_does_not_cancel_earlier_queries(env):
    """`client_read` ends for the incomplete message before the response arrives."""
    env.proxy(env.upstream(), timeouts={"answer": "2s"})
    client = env.client()
    asked, = client.send(Query("delay-800.test"))
    client.send_bytes(dnsmsg.framed(Query("half.test").wire)[:10])
    env.assert_ok(client.receive_until(asked))
    client.wait_closed()


def test_close_behind_a_full_read_is_not_an_aborted_connection(env):
    """More data than one read takes, then the close: no query is sent there."""
    server = env.upstream()
    running = env.proxy(server, timeouts={"client_idle": "20s"})
    worker, = running.workers()
    clients = [env.client() for _ in range(300)]
    for client in clients:
        client.wait_read()
    for n in range(3):
        env.assert_ok(env.ask(f"warm-{n}.test"))
        processes.pause(worker)
        asked = [client.send(Query(f"rush-{n}-{k}.test"))[0] for k, client in enumerate(clients)]
        server.close_all()
        os.kill(worker, signal.SIGCONT)
        for client, exchange in zip(clients, asked):
            env.assert_ok(client.receive_until(exchange))
    # No state is kept that would delay the next queries.
    slow = [Query(f"delay-200.side-by-side-{n}.test") for n in range(10)]
    for exchange in clients[0].send(*slow):
        env.assert_ok(clients[0].receive_until(exchange), 0.5)
