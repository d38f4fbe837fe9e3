"""Errors that users see: the Extended DNS Error of a SERVFAIL, and the log."""

import dnsmsg
import faults
from dnsmsg import Query
from env import EDNS
from upstream_state import ask_until, wait_back, times_down, went_down
from rows import row, table


@table("script, words", ("C-23-refused", faults.refuse, ["connect", "refused"]),
       ("C-23-silent", faults.accept_and_silence, ["handshake", "timed out"]),
       ("C-23-reset", faults.accept_and_reset, []),
       ("C-23-http", faults.http, ["handshake", "version"]),
       ("C-23-never-answers", faults.never_answer, ["no answer"]))
def test_servfail_says_why(env, script, words):
    server = env.upstream(script)
    env.proxy(server)
    exchange = env.servfail(env.ask(Query(edns=EDNS)))
    assert exchange.answer.opt is not None
    (code, text), = exchange.answer.ede
    assert code in (22, 23)
    assert text.startswith(f"{server.name}: "), text
    for word in words:
        assert word in text.lower(), text
    assert not text.endswith("\0")


@row("C-23")
def test_servfail_to_a_query_without_opt_has_none(env):
    env.proxy(env.upstream(faults.refuse))
    exchange = env.servfail(env.ask())
    assert exchange.answer.opt is None
    assert exchange.answer.counts == (1, 0, 0, 0)


@row("C-23")
def test_servfail_keeps_rd_and_cd(env):
    env.proxy(env.upstream(faults.refuse))
    exchange = env.servfail(env.ask(Query(flags=dnsmsg.RD | dnsmsg.CD)))
    wanted = dnsmsg.QR | dnsmsg.RD | dnsmsg.RA | dnsmsg.CD | dnsmsg.SERVFAIL
    assert exchange.answer.flags == wanted


@row("O-7")
def test_one_log_line_for_upstream_down_and_one_for_up(env):
    a, b = env.pair(faults.refuse)
    running = env.proxy(a, b)
    for n in range(30):
        env.assert_ok(env.ask(f"n{n}.test"))
    went_down(running, a, "connect", "refused")
    assert times_down(running, a) == 1
    a.restart()
    wait_back(env, a)
    for n in range(30):
        env.assert_ok(env.ask(f"then-{n}.test"))
    assert times_down(running, a) == 1
    assert len(running.lines("upstream back")) == 1
    assert len(running.log) < 15, running.log_text()


@row("O-7")
def test_servfails_do_not_flood_the_log(env):
    running = env.proxy(env.upstream(faults.refuse))
    for n in range(100):
        env.servfail(env.ask(f"n{n}.test"))
    assert len(running.log) < 15, running.log_text()


@row("O-7")
def test_names_are_not_logged_by_default(env):
    a, b = env.pair(faults.close_after_query)
    running = env.proxy(a, b, log={"level": "debug"})
    ask_until(env, lambda: times_down(running, a), 3, "it is marked down")
    env.assert_ok(env.ask("secret-name.test"))
    running.stop()
    assert "secret-name" not in running.log_text()


@row("O-7")
def test_names_are_logged_if_configured(env):
    running = env.proxy(env.upstream(), log={"queries": True})
    env.assert_ok(env.ask("public-name.test"))
    running.stop()
    assert len([line for line in running.log if "public-name.test" in line.text]) == 1
