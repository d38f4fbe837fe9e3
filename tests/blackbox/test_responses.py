"""Group D: upstreams that answer wrongly, late, twice or not at all."""

import struct

import pytest

import dnsmsg
import faults
from clock import now, wait_until
from dnsmsg import Query
from env import ANSWER, EDNS, QUERY
from upstream_state import ask_until, times_down, wait_idle_end, went_down
from rows import asks_again, row, table


@table("script, limit",
       ("D-01-never", faults.never_answer, ANSWER + 0.2),
       ("D-02-close", faults.close_after_query, 0.2),
       ("D-02-reset", faults.reset_after_query, 0.2),
       ("D-03-one-byte", faults.one_byte, ANSWER + 0.2),
       ("D-04-half", faults.half_a_message, ANSWER + 0.2),
       ("D-04-half-and-close", faults.half_a_message_and_close, 0.2),
       ("D-05-drip", faults.drip_answer, QUERY + 0.2),
       ("D-15-reset-before-the-query", faults.reset_after_handshake, 0.2),
       ("D-15-close-before-the-query", faults.close_after_handshake, 0.2))
def test_first_upstream_without_response(env, script, limit):
    a, b = env.pair(script)
    env.proxy(a, b)
    exchange = env.assert_ok(env.ask("first.test"), limit)
    sent = b.queries_for("first.test")[0].answer()
    assert exchange.answer.wire[2:] == dnsmsg.outside_opt(sent)[2:]


@row("D-01")
def test_upstream_that_never_responds_is_marked_down(env):
    a, b = env.pair(faults.never_answer)
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), ANSWER + 0.2)
    ask_until(env, lambda: times_down(running, a), 3, "it is marked down")
    went_down(running, a, "no answer")
    assert times_down(running, a) == 1
    env.assert_ok(env.ask("then.test"), 0.1)


@table("types", ("D-01", [dnsmsg.A]), ("D-01-and-its-AAAA", [dnsmsg.A, dnsmsg.AAAA]))
def test_slow_name_does_not_mark_its_upstream_down(env, types):
    """One slow name is no evidence about the others, even after it is answered."""
    a, b = env.pair()
    running = env.proxy(a, b)
    env.assert_ok(env.ask("warm.test"))
    client = env.client()
    client.send(*[Query("delay-900.test", qtype=qtype) for qtype in types])
    for n in range(20):
        env.assert_ok(env.ask(f"n{n}.test"), 0.2)
    client.receive_all()
    env.assert_ok(env.ask("then.test"), 0.2)
    assert not running.lines("upstream down")
    assert len(a.connections) == 1, "a canary shows that its connection is well"


def _response(**wrong):
    return faults.wrong(**wrong)


WRONG = [
    ("D-06-wrong-id", faults.wrong_id),
    ("D-08-other-name", _response(parts=dnsmsg.labels("foreign.test"))),
    ("D-08-other-name-NXDOMAIN",
     _response(parts=dnsmsg.labels("foreign.test"), rcode=dnsmsg.NXDOMAIN)),
    ("D-08-longer-name", faults.message(
        lambda asked: asked.answer(parts=(b"x",) + asked.seen.parts))),
    ("D-08-other-type", _response(qtype=dnsmsg.AAAA)),
    ("D-08-other-class", _response(qclass=dnsmsg.CH)),
    ("D-11-QR-0", _response(flags=dnsmsg.RD)),
    ("D-11-opcode-1", faults.opcode(1)), ("D-11-opcode-4", faults.opcode(4)),
    ("D-11-no-question", _response(questions=0)),
    ("D-11-two-questions", _response(questions=2)),
    ("D-11-no-question-and-an-error", _response(questions=0, rcode=dnsmsg.SERVFAIL)),
    ("D-13-length-0", faults.message(lambda asked: b"")),
    ("D-13-one-byte", faults.message(lambda asked: asked.answer()[:1])),
    ("D-13-11-bytes", faults.message(lambda asked: asked.answer()[:11])),
    ("D-13-question-cut", faults.message(lambda asked: asked.answer()[:15])),
]


@table("script", *WRONG)
def test_invalid_response_not_delivered(env, script):
    a, b = env.pair(script)
    env.proxy(a, b)
    exchange = env.assert_ok(env.ask("first.test"), ANSWER + 0.2)
    assert a.queries_for("first.test") and b.queries_for("first.test")
    assert exchange.answer.is_correct


@table("script", *(one for one in WRONG if "no-question-and-an-error" not in one[0]))
def test_connection_with_wrong_response_is_closed(env, script):
    server = env.upstream(script)
    env.proxy(server)
    exchange = env.ask("first.test")
    env.servfail(exchange, QUERY + 0.2)
    wait_idle_end(server)


@row("D-07")
def test_unrelated_message_before_the_response(env):
    a, b = env.pair(faults.unrelated_first)
    env.proxy(a, b)
    for n in range(5):
        env.assert_ok(env.ask(f"n{n}.test"))


@row("D-09")
def test_late_response_not_delivered_to_another_query(env):
    server = env.upstream()
    env.proxy(server, timeouts={"query": "500ms"})
    env.assert_ok(env.ask("warm.test"))
    client = env.client()
    env.servfail(client.ask("delay-700.test"), 0.7)
    # While the late answer is on its way, and after it has come.
    begin = now()
    n = 0
    while now() < begin + 0.5:
        env.assert_ok(client.ask(f"next-{n}.test", ident=n), 0.3)
        n += 1
    assert n > 1


@table("script", ("D-10-in-one-write", faults.answer_twice),
       ("D-10-apart", faults.answer_twice_apart), ("D-26-five-messages", faults.multi_message))
def test_surplus_responses(env, script):
    env.proxy(env.upstream(script))
    client = env.client()
    for n in range(10):
        env.assert_ok(client.ask(f"n{n}.test"), 0.5)


@table("script", ("D-10-in-one-write", faults.answer_twice),
       ("D-10-apart", faults.answer_twice_apart), ("D-26-five-messages", faults.multi_message))
def test_surplus_responses_to_pipelined_queries(env, script):
    """Each unexpected message closes a connection, until the queries are retried elsewhere."""
    env.proxy(*env.pair(script))
    client = env.client()
    client.send(*[Query(f"together-{n}.test") for n in range(10)])
    client.receive_all()
    for exchange in client.exchanges:
        env.assert_ok(exchange)


@row("D-26")
def test_connection_is_closed_after_a_multi_message_response(env):
    server = env.upstream(faults.multi_message)
    env.proxy(server)
    env.assert_ok(env.ask())
    wait_until(lambda: server.connections[0].closed, 2, "the connection is closed")


@asks_again
@table("flags", ("D-11-RA-0", dnsmsg.QR | dnsmsg.RD),
       ("D-11-TC", dnsmsg.QR | dnsmsg.RA | dnsmsg.RD | dnsmsg.TC),
       ("D-11-AA-AD-CD-Z", dnsmsg.QR | dnsmsg.RA | dnsmsg.AA | dnsmsg.AD | dnsmsg.CD | dnsmsg.Z))
def test_response_flags_are_forwarded(env, flags):
    server = env.upstream(_response(flags=flags))
    env.proxy(server)
    exchange = env.assert_ok(env.ask())
    assert exchange.answer.flags == flags


def _rdata(data):
    """A response whose one record has this owner and data."""
    def make(asked):
        head = dnsmsg.header(asked.seen.ident, dnsmsg.QR | dnsmsg.RA | dnsmsg.RD, 1, 1, 0, 0)
        return head + asked.seen.question + data
    return make


_AFTER = struct.pack("!HHIH", 1, 1, 300, 4) + bytes(4)
STRANGE = [
    ("D-12-pointer-loop", _rdata(b"\xc0\x1e" + _AFTER)),
    ("D-12-forward-pointer", _rdata(b"\xff\xff" + _AFTER)),
    ("D-12-reserved-label", _rdata(b"\x80\x00" + _AFTER)),
    ("D-12-count-too-high", _rdata(b"")),
    ("D-12-rdlength-past-the-end", _rdata(b"\0" + struct.pack("!HHIH", 1, 1, 300, 400) + b"x")),
    ("D-12-record-cut", _rdata(b"\0\0\1")),
    ("D-12-broken-OPT", lambda asked: asked.answer(options=b"\0\x0f\x40\0")),
    ("D-12-EDE-of-one-byte", lambda asked: asked.answer(options=dnsmsg.option(dnsmsg.EDE, b"\0"))),
    ("D-12-two-OPT", lambda asked: asked.answer()[:10] + b"\0\2" + asked.answer()[12:]
     + dnsmsg.opt()),
]


@table("make", *STRANGE)
def test_malformed_records_are_forwarded_or_servfail(env, make):
    env.allow_wrong_responses = True
    server = env.upstream(faults.message(make))
    env.proxy(server)
    exchange = env.ask(qtype=dnsmsg.TXT)
    if exchange.rcode != dnsmsg.SERVFAIL:
        assert exchange.answer.wire[2:] == dnsmsg.outside_opt(make(server.queries[0]))[2:]
    server.do()
    env.assert_ok(env.ask("next.test"), 0.5)


@table("tail", ("D-29-bytes", b"more"), ("D-29-record", dnsmsg.record(b"\0", 1, 1, 300, bytes(4))))
@pytest.mark.parametrize("edns", [None, EDNS])
def test_bytes_after_the_last_record_of_a_response_not_forwarded(env, tail, edns):
    env.proxy(env.upstream(faults.message(lambda asked: asked.answer() + tail)))
    for client in (env.client(), env.datagrams()):
        exchange = env.assert_ok(client.ask(Query(edns=edns)))
        assert exchange.answer.error is None and tail not in exchange.answer.wire[-len(tail):]


@pytest.mark.parametrize("size", [512, 4096, 16384, 16400, 65534, 65535])
def test_large_response(env, size):
    """D-14, and the sizes at which TLS records and buffers end."""
    env.proxy(env.upstream())
    client = env.client()
    asked = client.send(*[Query(f"size-{size}.n{n}.test", edns=EDNS) for n in range(5)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange, 1)
        assert len(exchange.answer.wire) == size


@row("D-14")
def test_large_query(env):
    server = env.upstream()
    env.proxy(server)
    padding = dnsmsg.opt(dnsmsg.option(65001, bytes(60000)))
    env.assert_ok(env.ask(Query(edns=padding)))
    assert len(server.queries[0].seen.wire) > 60000


@row("D-15")
def test_persistent_connection_is_reset(env):
    server = env.upstream()
    running = env.proxy(server)
    for n in range(20):
        env.assert_ok(env.ask(f"n{n}.test"), 0.3)
        server.reset()
    assert not running.lines("upstream down")


@table("script", ("D-16-FIN-without-close-notify", faults.fin_without_close_notify),
       ("D-18-close-after-each-answer", faults.close_after_answer))
def test_server_closes_after_each_response(env, script):
    a, b = env.pair(script)
    running = env.proxy(a, b)
    for n in range(30):
        env.assert_ok(env.ask(f"n{n}.test"), 0.3)
    assert not b.connections
    assert len(a.connections) <= 60
    assert not running.lines("upstream down")


@row("D-17")
def test_server_closes_idle_connections(env):
    a, b = env.pair(faults.idle_close(0.05))
    running = env.proxy(a, b)
    for n in range(30):
        env.assert_ok(env.ask(f"n{n}.test"), 0.3)
        # Half of the times the next query meets the end on its way.
        if n % 2:
            wait_idle_end(a)
    assert not b.connections
    assert not running.lines("upstream down")


@row("D-18")
def test_server_closes_after_each_query_without_response(env):
    server = env.upstream(faults.close_after_query)
    env.proxy(server)
    for n in range(10):
        env.servfail(env.ask(f"n{n}.test"), 0.5)
    assert len(server.connections) <= 20


@row("D-18")
def test_unanswered_queries_are_resent_after_close(env):
    """Unanswered queries are resent once on a new connection."""
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    asked = client.send(*[Query(f"delay-200.n{n}.test") for n in range(20)])
    wait_until(lambda: len(server.queries) == 21)
    server.reset()
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange)
    assert len(server.queries) == 41


@table("then", ("D-19-ignored", faults.never_answer), ("D-19-closed", faults.close_after_query),
       ("D-19-reset", faults.reset_after_query), ("D-19-half", faults.half_a_message))
def test_second_query_of_a_connection_is_not_answered(env, then):
    server = env.upstream(faults.first_answered_then(then))
    env.proxy(server)
    for n in range(4):
        env.assert_ok(env.ask(f"n{n}.test"), QUERY)


@row("D-20")
def test_length_and_message_are_sent_in_one_record(env):
    server = env.upstream()
    env.proxy(server)
    for n in range(3):
        env.assert_ok(env.ask(f"n{n}.test"))
    connection, = server.connections
    assert connection.reads == [dnsmsg.framed(asked.seen.wire) for asked in server.queries]


@row("D-20")
def test_batch_is_sent_in_one_record(env):
    server = env.upstream()
    env.proxy(server)
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    client.send(*[Query(f"n{n}.test") for n in range(50)])
    client.receive_all()
    connection, = server.connections
    assert len(connection.reads) <= 3, [len(read) for read in connection.reads]
    assert b"".join(connection.reads) == b"".join(
        dnsmsg.framed(asked.seen.wire) for asked in server.queries)


ERRORS = [("SERVFAIL", dnsmsg.SERVFAIL), ("REFUSED", dnsmsg.REFUSED), ("NOTIMP", dnsmsg.NOTIMP),
          ("FORMERR", dnsmsg.FORMERR)]


@table("code", *((f"D-21-{name}" if code == 2 else f"D-22-{name}", code) for name, code in ERRORS))
def test_error_from_the_first_upstream(env, code):
    a, b = env.pair(faults.rcode(code))
    running = env.proxy(a, b)
    env.assert_ok(env.ask(), 0.5)
    assert a.queries and b.queries
    assert not running.lines("upstream down")


@table("code", *((f"D-21-{name}" if code == 2 else f"D-22-{name}", code) for name, code in ERRORS))
def test_first_error_is_forwarded_if_both_fail(env, code):
    """The error of the first upstream is forwarded."""
    a, b = env.pair(faults.rcode(code, ede=20, text=b"from A"))
    b.do(faults.rcode(dnsmsg.SERVFAIL if code != dnsmsg.SERVFAIL else dnsmsg.REFUSED, ede=20,
                      text=b"from B"))
    running = env.proxy(a, b)
    exchange = env.ask(Query(edns=EDNS))
    env.answered_within(0.5, exchange)
    assert exchange.rcode == code
    assert (20, "from A") in exchange.answer.ede
    assert not running.lines("upstream down")


@row("D-21")
def test_nxdomain_replaces_an_earlier_error(env):
    a, b = env.pair(faults.rcode(dnsmsg.SERVFAIL))
    b.do(faults.rcode(dnsmsg.NXDOMAIN))
    env.proxy(a, b)
    assert env.ask().rcode == dnsmsg.NXDOMAIN


@row("D-21")
def test_nxdomain_is_final(env):
    a, b = env.pair(faults.rcode(dnsmsg.NXDOMAIN))
    env.proxy(a, b)
    assert env.ask().rcode == dnsmsg.NXDOMAIN
    assert not b.queries


@pytest.mark.parametrize("code", [1, 2, 5, 6, 7, 8, 9, 10, 11, 12],
                         ids=lambda code: f"D-21-EDE-{code}")
def test_dnssec_error_is_final(env, code):
    a, b = env.pair(faults.rcode(dnsmsg.SERVFAIL, ede=code, text=b"bogus"))
    env.proxy(a, b)
    exchange = env.ask(Query(edns=EDNS))
    assert exchange.rcode == dnsmsg.SERVFAIL
    assert (code, "bogus") in exchange.answer.ede
    assert not b.queries


@row("D-25")
def test_unsolicited_data_on_an_idle_connection(env):
    server = env.upstream(faults.unsolicited_afterwards)
    running = env.proxy(server)
    for n in range(3):
        env.assert_ok(env.ask(f"n{n}.test"), 0.3)
        wait_until(lambda: not server.open_connections, 2, "the connection is closed")
    assert len(server.connections) == 3
    assert not running.lines("upstream down")


@row("D-out-of-order")
def test_responses_out_of_order(env):
    server = env.upstream(faults.reverse_order)
    env.proxy(server)
    client = env.client()
    asked = client.send(*[Query(f"n{n}.test") for n in range(50)])
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange)
    assert asked[-1].answered < asked[0].answered
