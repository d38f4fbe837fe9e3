"""The plain relay of the README: three settings, one query at a time."""

import pytest

import dnsmsg
import faults
from dnsmsg import Query

PLAIN = {"timeouts": {"upstream_idle": "0s", "client_idle": "0s"}, "inflight": 1}


def test_fresh_connection_for_each_query(env):
    server = env.upstream()
    env.proxy(server, timeouts={"upstream_idle": "0s"})
    client = env.client()
    for n in range(5):
        env.assert_ok(client.ask(f"n{n}.test"))
    assert len(server.connections) == 5
    assert all(len(connection.queries) == 1 for connection in server.connections)


def test_client_is_closed_after_its_responses(env):
    env.proxy(env.upstream(), timeouts={"client_idle": "0s"})
    client = env.client()
    asked = client.send(Query("delay-100.test"), Query("delay-50.test"))
    client.wait_closed(2)
    for exchange in asked:
        env.assert_ok(exchange)
    assert client.how == "eof"
    env.within(0.2, max(exchange.answered for exchange in asked), client.ended)


def test_plain_relay(env):
    server = env.upstream()
    env.proxy(server, **PLAIN)
    for n in range(5):
        client = env.client()
        exchange = env.assert_ok(client.ask(f"n{n}.test"))
        client.wait_closed(2)
        env.within(0.2, exchange.answered, client.ended)
    wait = [connection for connection in server.connections if connection.closed is None]
    assert len(wait) <= 1
    assert len(server.connections) == 5
    for connection in server.connections[:4]:
        assert len(connection.queries) == 1
        assert connection.ended == "close_notify"
    assert server.most_at_once == 1


def test_plain_relay_forwards_one_query_at_a_time(env):
    server = env.upstream()
    env.proxy(server, **PLAIN)
    clients = [env.client() for _ in range(10)]
    for n, client in enumerate(clients):
        client.send(Query(f"delay-60.n{n}.test"))
    for client in clients:
        client.receive_all()
        client.wait_closed(2)
        env.assert_ok(client.exchanges[0])
    assert server.most_at_once == 1
    assert len(server.connections) == 10
    arrived = sorted(query.at for query in server.queries)
    assert all(later - sooner >= 0.05 for sooner, later in zip(arrived, arrived[1:]))


@pytest.mark.parametrize("script", [faults.refuse, faults.accept_and_close, faults.http,
                                    faults.close_after_query, faults.never_answer,
                                    faults.wrong_id, faults.rcode(dnsmsg.SERVFAIL)],
                         ids=["refuse", "close", "http", "close-after-query", "never-answer",
                              "wrong-id", "servfail"])
def test_plain_relay_uses_the_first_reachable_upstream(env, script):
    a, b = env.pair(script)
    env.proxy(a, b, **PLAIN)
    client = env.client()
    env.assert_ok(client.ask(), 0.8)
    client.wait_closed(2)
    assert b.queries


def test_plain_relay_without_upstreams(env):
    env.proxy(env.upstream(faults.refuse), **PLAIN)
    client = env.client()
    env.servfail(client.ask(), 0.5)
    client.wait_closed(2)
