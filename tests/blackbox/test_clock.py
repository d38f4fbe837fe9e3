"""P-13 and P-14: the time of day affects only certificates."""

import glob
import os
import signal

import pytest

import certs
import dnsmsg
import faults
import proxy
import processes
from certs import DAY
from clock import now, wait_until
from dnsmsg import Query
from upstream_state import went_down
from rows import asks_again, row, table
from upstream import Script

LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")

pytestmark = [
    pytest.mark.skipif(not LIBRARY, reason="needs libfaketime"),
    pytest.mark.skipif(proxy.sanitized(), reason="sanitizers want to be the first library"),
]


class Clock:
    """The time of day as the proxy sees it, changed by a preloaded library."""

    def __init__(self, directory):
        self._path = os.path.join(directory, "clock")
        self.off_by("+0")

    def off_by(self, offset):
        """Such as -10y or +1h, from now on."""
        with open(f"{self._path}.new", "w") as file:
            file.write(f"{offset}\n")
        os.rename(f"{self._path}.new", self._path)

    def serve(self, env, *upstreams, **settings):
        """The library reads a file for each time query, which the sandbox forbids."""
        variables = {
            **os.environ, "LD_PRELOAD": LIBRARY[0], "FAKETIME_TIMESTAMP_FILE": self._path,
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        return processes.start_workers(env, *upstreams, sandbox="off", user="root",
                                       popen_args={"env": variables}, **settings)


@pytest.fixture
def clock(env):
    return Clock(env.directory)


@pytest.fixture(scope="module")
def without_expiry():
    """An authority that was always there, and always will be."""
    return certs.Authority("ageless", begin=-15 * 365 * DAY, end=15 * 365 * DAY)


def _without_expiry(authority):
    return authority.identity(dns=["dot.test"], begin=-15 * 365 * DAY, end=15 * 365 * DAY)


JUMPS = [("P-13-10-years-on", "+10y"), ("P-13-10-years-back", "-10y"),
         ("P-13-an-hour-on", "+1h"), ("P-13-an-hour-back", "-1h")]


@table("jump", *JUMPS)
def test_clock_jump_does_not_change_deadlines(env, clock, without_expiry, jump):
    """Neither of a query nor of an idle or slow client."""
    server = env.upstream(identity=_without_expiry(without_expiry))
    running = clock.serve(env, server, tls={"ca_file": without_expiry.path},
                          timeouts={"client_idle": "1200ms", "client_read": "800ms"})
    asking, idle, slow = env.client(), env.client(), env.client()
    env.assert_ok(asking.ask("before.test"))
    asked, = asking.send(Query("delay-300.test"))
    slow.send_bytes(b"\0")
    begin = now()
    wait_until(lambda: len(server.queries) == 2)
    clock.off_by(jump)
    env.assert_ok(asking.receive_until(asked))
    assert asked.took >= 0.3
    slow.wait_closed()
    assert slow.ended - begin >= 0.75
    env.within(1, begin, slow.ended)
    idle.wait_closed()
    assert idle.ended - idle.opened >= 1.15
    env.within(1.4, idle.opened, idle.ended)
    server.do(faults.never_answer)
    silent = env.ask("silent.test")
    assert silent.rcode == dnsmsg.SERVFAIL and silent.took >= 0.4
    server.do()
    env.assert_ok(env.ask("after.test"))
    running.signal(signal.SIGUSR1)
    assert running.wait_line("upstream")


@asks_again
@table("jump", *JUMPS)
def test_clock_jump_does_not_change_backoff(env, clock, without_expiry, jump):
    identity = _without_expiry(without_expiry)
    a, b = env.upstream(faults.accept_and_close, identity=identity), env.upstream(
        identity=identity)
    running = clock.serve(env, a, b, tls={"ca_file": without_expiry.path})
    env.assert_ok(env.ask("first.test"))
    line = went_down(running, a)
    tried = len(a.connections)
    clock.off_by(jump)
    for n in range(5):
        env.assert_ok(env.ask(f"n{n}.test"))
    if now() - line.at < 0.75:
        assert len(a.connections) == tried
    a.do()
    wait_until(lambda: env.assert_ok(env.ask("again.test")) and a.queries, 4)
    env.within(2, line.at)
    assert running.lines("upstream back", upstream=a.name)


@row("P-13-certificates")
def test_certificates_are_checked_with_the_new_time(env, clock):
    server = env.upstream()
    running = clock.serve(env, server)
    env.assert_ok(env.ask("before.test"))
    clock.off_by("+10y")
    server.forget_sessions()
    server.close_all()
    wait_until(lambda: not server.open_connections)
    env.servfail(env.ask("expired.test"))
    assert "expired" in running.wait_line("upstream down")["cause"]
    clock.off_by("+0")
    env.assert_ok(env.ask("again.test"))


@row("T-26")
def test_session_ends_24_hours_after_its_last_full_handshake(env, clock, without_expiry):
    """Resumptions in between do not extend it; the same limit applies to a connection."""
    server = env.upstream(faults.close_after_answer, identity=_without_expiry(without_expiry))
    server.do(server.script, Script(tls={"raw": True, "ticket_seconds": 7 * 86400}))
    clock.serve(env, server, workers=1, tls={"ca_file": without_expiry.path})
    for offset, resumed in ("+0h", False), ("+20h", True), ("+23h", True), ("+25h", False), \
            ("+40h", True), ("+10h", False):
        clock.off_by(offset)
        asked = f"at{offset[1:]}.test"
        env.assert_ok(env.ask(asked))
        assert server.queries_for(asked)[0].connection.facts["resumed"] == resumed, offset
        wait_until(lambda: not server.open_connections)
    server.do()
    env.assert_ok(env.ask("persistent-1.test"))
    env.assert_ok(env.ask("persistent-2.test"))
    clock.off_by("+36h")
    env.assert_ok(env.ask("persistent-3.test"))
    first, second, third = [server.queries_for(f"persistent-{n}.test")[0].connection
                            for n in (1, 2, 3)]
    assert first is second and second is not third


@row("P-14")
def test_start_with_clock_at_1970_recovers_when_set(env, clock):
    """As on a board without a battery: SERVFAIL and one clear log line, then answers."""
    server = env.upstream()
    clock.off_by("-56y")
    running = clock.serve(env, server)
    pids = running.workers()
    for n in range(3):
        exchange = env.servfail(env.ask(f"n{n}.test", edns=dnsmsg.opt()), 1)
        assert "not yet valid" in exchange.answer.ede[0][1]
    line = went_down(running, server, "not yet valid")
    assert "clock" in line.text and "19" in line.text
    assert len(running.lines("upstream down")) == 1
    assert not server.queries
    clock.off_by("+0")
    begin = now()
    env.assert_ok(env.ask("set.test"))
    env.within(1, begin)
    assert running.workers() == pids
    assert running.lines("upstream back")
