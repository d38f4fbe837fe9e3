"""Health queries, and `healthcheck', which sends them."""

import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import dnsmsg
import faults
import proxy
import processes
from clock import now, wait_until
from dnsmsg import CH, CD, IN, NXDOMAIN, QR, RA, RD, REFUSED, SERVFAIL, TXT, A, Query
from env import EDNS
from fake_server import FakeServer
from rows import asks_again, table
from upstream import own_address, with_port

AT_ONCE = 0.3
LIMIT = 2.5         # of a check that must fail after 2 s
NOT_READY = 14      # of the Extended DNS Errors, RFC 8914 4.15


def _txt_query(text, name, **fields):
    return Query(name, qtype=TXT, qclass=CH, **fields), bytes([len(text)]) + text.encode()


@pytest.fixture
def own(env):
    """Answers of the proxy's own, which are not those of the upstreams."""
    env.allow_wrong_responses = True
    return env


class Check:
    """One run of `dot-proxy healthcheck'."""

    def __init__(self, env, *options, config=None, args=(), popen=None, **popen_args):
        self._env = env
        command = [proxy.BINARY, "-c", config or env.config_path, *args, "healthcheck", *options]
        self.begin = now()
        process = (popen or env._popen)(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, **popen_args)
        self.out, self.err = process.communicate(timeout=20)
        self.end = now()
        self.status = process.returncode

    def good(self, words, seconds=LIMIT):
        assert (self.status, self.err) == (0, ""), (self.status, self.out, self.err)
        assert self.out.count("\n") == 1 and words in self.out, self.out
        self._env.within(seconds, self.begin, self.end)
        return self

    def bad(self, *words, seconds=LIMIT):
        assert (self.status, self.out) == (1, ""), (self.status, self.out, self.err)
        assert self.err.startswith("dot-proxy: ") and self.err.count("\n") == 1, self.err
        for word in words:
            assert word in self.err, self.err
        self._env.within(seconds, self.begin, self.end)
        return self


# ---- the two questions ----


BAD_UPSTREAMS = [("refused", faults.refuse), ("silent", faults.accept_and_silence),
                 ("never-answers", faults.never_answer), ("reset", faults.accept_and_reset)]


@table("script", *BAD_UPSTREAMS)
def test_health_query_is_answered_without_upstreams(own, script):
    """Also while other queries wait for upstreams."""
    server = own.upstream(script)
    own.proxy(server)
    waiting = own.client()
    waiting.send(*[Query(f"n{n}.test") for n in range(50)])
    query, answer = _txt_query("ok", "health.dot-proxy")
    for client in (own.client(), own.datagrams()):
        exchange = client.ask(query)
        own.answered_within(AT_ONCE, exchange)
        assert exchange.answer.flags == QR | RD | RA
        assert exchange.answer.records == [(1, TXT, CH, 0, answer)]
    assert not server.queries_for("health.dot-proxy")
    waiting.receive_all()


@table("udp", ("TCP", False), ("UDP", True))
def test_question_is_returned_unchanged(own, udp):
    own.proxy(own.upstream())
    client = own.datagrams() if udp else own.client()
    query, answer = _txt_query("ok", "hEALTh.Dot-ProXY", flags=RD | CD,
                               edns=dnsmsg.opt(flags=dnsmsg.DO))
    exchange = client.ask(query)
    assert exchange.answer.question == query.question
    assert exchange.answer.flags == QR | RD | RA | CD
    assert exchange.answer.rdatas == [answer]
    assert exchange.answer.opt[3] == dnsmsg.DO


@table("fields", ("other-name", {"name": "version.dot-proxy", "qtype": TXT, "qclass": CH}),
       ("version.bind", {"name": "version.bind", "qtype": TXT, "qclass": CH}),
       ("below", {"name": "a.health.dot-proxy", "qtype": TXT, "qclass": CH}),
       ("other-type", {"name": "health.dot-proxy", "qtype": A, "qclass": CH}),
       ("class-IN", {"name": "health.dot-proxy", "qtype": TXT, "qclass": IN}),
       ("ready-class-IN", {"name": "ready.dot-proxy", "qtype": TXT, "qclass": IN}))
def test_other_questions_are_forwarded(env, fields):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask(Query(**fields)))
    assert len(server.queries_for(fields["name"])) == 1


def _ready(env):
    exchange = env.ask(_txt_query("", "ready.dot-proxy", edns=EDNS)[0])
    env.answered_within(AT_ONCE, exchange)
    if exchange.rcode == dnsmsg.NOERROR:
        assert exchange.answer.rdatas == [b"\5ready"]
        return True
    assert exchange.rcode == SERVFAIL
    assert exchange.answer.ede == [(NOT_READY, "no upstream has been connected to yet")]
    return False


def _reload(env, *upstreams):
    running = env.proxies[-1]
    before, old = len(running.lines("configuration reloaded")), running.workers()
    proxy.write_config(env.config_path, {
        **env.config, "upstreams": [server.config() for server in upstreams]})
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines("configuration reloaded")) > before, 5, "it reloads")
    wait_until(lambda: not set(old) & set(running.workers()), 5, "the old workers exit")
    processes.wait_all_serving(running, env.config["workers"])


def test_ready_once_an_upstream_was_connected_to(own):
    a, b = own.pair()
    running = processes.start_workers(own, a, workers=2, reload="signal")
    assert not _ready(own)
    _reload(own, b)
    assert not _ready(own), "a reload is no handshake"
    own.assert_ok(own.ask("first.test"))
    # A connection of one worker is visible to all.
    for worker in running.workers():
        with processes.only_this_worker(running, worker):
            assert _ready(own)
    _reload(own, a)
    assert not a.handshakes
    assert _ready(own), "it was before the reload"
    a.do(faults.refuse)
    own.servfail(own.ask("then.test"))
    assert _ready(own), "what it is now is another question"


def test_not_ready_while_no_handshake_succeeds(own):
    own.proxy(own.upstream(faults.unrecognized_name), own.upstream(faults.accept_and_close))
    own.servfail(own.ask("first.test"))
    assert not _ready(own)


@table("transport", ("UDP", "+notcp"), ("TCP", "+tcp"))
def test_dig_gets_the_health_response(own, transport):
    own.proxy(own.upstream())
    host, port = own.proxies[-1].address
    asked = ["dig", f"@{host}", "-p", str(port), transport, "+tries=1", "+time=5", "CH", "TXT"]
    done = subprocess.run([*asked, "+short", "Health.Dot-Proxy"], capture_output=True, text=True,
                          timeout=20, check=True)
    assert done.stdout == '"ok"\n'
    done = subprocess.run([*asked, "ready.dot-proxy"], capture_output=True, text=True,
                          timeout=20, check=True)
    assert "status: SERVFAIL" in done.stdout
    assert "EDE: 14 (Not Ready): (no upstream has been connected to yet)" in done.stdout


def test_health_query_is_exempt_from_allow_over_tcp(own):
    """Over TCP; over UDP only clients in `allow' get a response."""
    own.proxy(own.upstream(), allow=["127.0.0.1/32"])
    query, answer = _txt_query("ok", "health.dot-proxy")
    assert own.client(source="127.0.0.2").ask(query).answer.rdatas == [answer]
    stranger = own.datagrams(source="127.0.0.2")
    stranger.send(query)
    assert own.datagrams().ask(query).answer.rdatas == [answer]
    stranger.assert_silent()
    stranger.abandoned = True


# ---- healthcheck ----


@table("script", *BAD_UPSTREAMS)
def test_healthcheck_passes_without_upstreams(env, script):
    env.proxy(env.upstream(script))
    waiting = env.client()
    waiting.send(*[Query(f"n{n}.test") for n in range(50)])
    Check(env).good(f"{with_port(*env.proxies[-1].address)}: it answers over UDP and TCP", AT_ONCE)
    waiting.receive_all()


@table("script, words", ("refused", faults.refuse, "connect: Connection refused"),
       ("silent", faults.accept_and_silence, "handshake: timed out"))
@pytest.mark.parametrize("option", ["--upstream", "--ready"])
def test_healthcheck_of_upstreams_fails_if_all_are_down(env, option, script, words):
    server = env.upstream(script)
    env.proxy(server)
    Check(env, option).bad(f" over UDP: SERVFAIL: {server.name}: ", words,
                             "(`dot-proxy probe' tests the upstreams")


@pytest.mark.parametrize("option", ["--upstream", "--ready"])
def test_healthcheck_of_a_slow_upstream_times_out(env, option):
    """The query timeout is longer than that of the health check."""
    env.proxy(env.upstream(faults.accept_and_silence),
                timeouts={"query": "4s", "connect": "4s", "handshake": "4s"})
    check = Check(env, option).bad(" over UDP: no response in 2000 ms (")
    assert check.end - check.begin >= 2


def test_healthcheck_of_an_upstream(env):
    server = env.upstream()
    env.proxy(server)
    Check(env, "--upstream").good(": an upstream answers over UDP and TCP")
    assert [query.seen.question for query in server.arrived] == [b"\0\0\2\0\1"] * 2
    assert all(query.seen.opt for query in server.arrived)


def test_healthcheck_of_readiness_connects_once(env):
    """The health check sends one query, and none if the proxy has been ready before."""
    server = env.upstream()
    env.proxy(server)
    assert not server.connections
    for _ in range(2):
        Check(env, "--ready").good(": it is ready over UDP and TCP")
        assert [query.seen.question for query in server.arrived] == [b"\0\0\2\0\1"]


def test_any_upstream_response_means_ready(env):
    env.proxy(env.upstream(faults.never_answer), timeouts={"query": "800ms"})
    Check(env, "--ready").good(": it is ready over UDP and TCP")
    Check(env, "--upstream").bad("SERVFAIL: ", "no answer")


@table("which", ("UDP", "udp"), ("TCP", "tcp"))
def test_healthcheck_of_a_udp_only_or_tcp_only_listener(env, which):
    host, port = env.free_address(own_address())
    listen = {"tcp": {"address": with_port(host, port), "udp": False},
              "udp": {"address": with_port(own_address(), port), "tcp": False}}
    env.proxy(env.upstream(), host=host, port=port,
                listen=[listen.pop(which), *listen.values()])
    for option, words in ((), "it answers"), (("--upstream",), "an upstream answers"), \
            (("--ready",), "it is ready"):
        Check(env, *option).good(f": {words} over {which.upper()}, ")


@table("host, at", ("IPv4", "127.9.8.7", "127.9.8.7"), ("IPv6", "::1", "[::1]"),
       ("any-IPv4", "0.0.0.0", "127.0.0.1"), ("any-IPv6", "::", "[::1]"))
def test_healthcheck_finds_the_listener(env, namespace, host, at):
    running = env.proxy(env.upstream(), host=host)
    Check(env).good(f"{at}:{running.address[1]}: it answers over UDP and TCP")


def test_healthcheck_queries_the_address_of_the_option(env, tmp_path):
    running = env.proxy(env.upstream())
    elsewhere = proxy.write_config(str(tmp_path / "elsewhere.yml"), {
        "upstreams": env.config["upstreams"], "listen": f"{own_address()}:1"})
    Check(env, config=elsewhere).bad("Connection refused", "use -l to give its address")
    Check(env, config=elsewhere, args=["-l", with_port(*running.address)]).good("it answers")


def test_healthcheck_if_loopback_is_not_allowed(env):
    server = env.upstream()
    env.proxy(server, allow=["192.0.2.0/24"])
    Check(env).good(": it answers over TCP (UDP not checked: 127.0.0.1 is not in `allow')")
    Check(env, "--upstream").bad(" over TCP: REFUSED: client address not allowed",
                                   "add this machine's address to `allow'")
    assert not server.connections
    env.upstreams.clear()         # no client is allowed, which includes the last query
    server.close()


def test_healthcheck_over_udp_only_needs_loopback_in_allow(env, tmp_path):
    config = proxy.write_config(str(tmp_path / "udp.yml"), {
        "upstreams": ["192.0.2.1"], "allow": ["192.0.2.0/24"],
        "listen": [{"address": f"{own_address()}:5353", "tcp": False}]})
    Check(env, config=config).bad(" over UDP: 127.0.0.1 is not in `allow' (add it to `allow'")


def test_healthcheck_fails_after_stop(env):
    running = env.proxy(env.upstream())
    Check(env).good("it answers")
    running.stop()
    for option in (), ("--upstream",), ("--ready",):
        Check(env, *option).bad("Connection refused", "is dot-proxy running?", seconds=AT_ONCE)


@table("listen", ("UDP-and-TCP", {}), ("TCP", {"udp": False}))
def test_healthcheck_fails_if_all_workers_are_stopped(env, listen):
    host, port = env.free_address(own_address())
    running = env.proxy(env.upstream(), workers=2, host=host, port=port,
                          listen=[{"address": with_port(host, port), **listen}])
    workers = processes.wait_all_serving(running, 2)
    for worker in workers:
        processes.pause(worker)
    try:
        Check(env).bad(f" over {'TCP' if listen else 'UDP'}: no response in 2000 ms")
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    wait_until(lambda: Check(env).status == 0, 5, "it answers again")


def test_healthcheck_passes_if_one_worker_is_stopped(env):
    running = processes.start_workers(env, env.upstream(), workers=2)
    for worker in running.workers():
        with processes.only_this_worker(running, worker):
            Check(env).good("it answers over UDP and TCP", AT_ONCE)


def test_healthcheck_passes_under_load(env):
    """All containers of a pod share one address; beyond its quota, queries wait."""
    server = env.upstream(faults.never_answer)
    running = env.proxy(server, inflight=200)
    rush = env.datagrams()
    rush.send(*[Query(f"n{n}.test") for n in range(300)])
    running.wait_line("datagrams dropped")
    Check(env).good("it answers over UDP and TCP", AT_ONCE)
    assert len(server.queries) >= 190
    rush.abandoned = True            # it has sent too many queries at once


@asks_again
def test_healthcheck_passes_if_its_address_fills_its_tcp_quota(env):
    """The same over TCP with several connections."""
    server = env.upstream(faults.never_answer)
    env.proxy(server, inflight=200, workers=1)
    rush = [env.client() for _ in range(3)]
    for client in rush:
        client.send(*[Query(f"n{n}.test") for n in range(100)])
    wait_until(lambda: len(server.queries) >= 190)
    Check(env).good("it answers over UDP and TCP", AT_ONCE)
    for client in rush:
        client.close()


def test_healthcheck_waits_for_a_free_slot(env):
    """Like any query while `inflight' is reached."""
    server = env.upstream()
    env.proxy(server, inflight=1, timeouts={"answer": "2s"})
    client = env.client()
    slow, = client.send(Query("delay-1200.test"))
    wait_until(lambda: server.queries)
    check = Check(env).good("it answers over UDP and TCP")
    assert check.end - slow.at >= 1.2
    env.assert_ok(client.receive())


def test_healthcheck_fails_without_a_free_slot_in_time(env):
    server = env.upstream(faults.never_answer)
    env.proxy(server, inflight=1, timeouts={"query": "4s", "answer": "4s"})
    client = env.client()
    client.send(Query("slow.test"))
    wait_until(lambda: server.queries)
    Check(env).bad("no response in 2000 ms")
    client.receive_all()


def test_healthcheck_needs_no_trust_store_and_no_privileges(env):
    """It does not print the warnings of a start."""
    running = env.proxy(env.upstream())
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        binary = shutil.copy(proxy.BINARY, directory)
        config = proxy.write_config(os.path.join(directory, "config.yml"), {
            **env.config, "tls": {"ca_file": "/nonexistent/ca.pem"}})
        os.chmod(config, 0o666)
        who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([binary, "-c", config, "healthcheck"], cwd="/", env={},
                              capture_output=True, text=True, timeout=20, **who)
    assert (done.returncode, done.stderr) == (0, "")
    assert with_port(*running.address) in done.stdout


# ---- other servers ----


@pytest.fixture
def fake_server(env, tmp_path):
    """Starts a fake server; returns it and a configuration that names it as dot-proxy."""
    def starts(reply, transport):
        made = FakeServer(reply)
        env.others.append(made)
        other = {"udp": "tcp", "tcp": "udp"}[transport]
        return made, proxy.write_config(str(tmp_path / "fake_server.yml"), {
            "upstreams": ["192.0.2.1"],
            "listen": [{"address": with_port(*made.address), other: False}]})
    return starts


def _ok(query, text=b"\2ok", **wrong):
    """The expected response, changed by the arguments."""
    seen = dnsmsg.read(query)
    ident = wrong.get("ident", seen.ident)
    question = wrong.get("question", seen.question)
    flags = wrong.get("flags", QR | RD | RA)
    record = dnsmsg.record(b"\xc0\x0c", TXT, CH, 0, text) if text else b""
    return dnsmsg.header(ident, flags, 1, 1 if text else 0, 0, 0) + question + record


def _other_id(query):
    return [_ok(query, ident=dnsmsg.read(query).ident ^ 1)]


def _other_question(query):
    return [_ok(query, question=Query("health.dot-prozy", qtype=TXT, qclass=CH).question)]


def _a_query(query):
    return [_ok(query, flags=RD)]


BELONG_TO_NOTHING = [("other-ID", _other_id), ("other-question", _other_question),
                     ("a-query", _a_query), ("half-a-header", lambda query: [query[:6]]),
                     ("empty", lambda query: [b""])]


@table("reply", *BELONG_TO_NOTHING)
def test_healthcheck_ignores_unrelated_messages(env, fake_server, reply):
    _, config = fake_server(reply, "tcp")
    Check(env, config=config).bad(" over TCP: response does not match the query",
                                    seconds=AT_ONCE)


@table("reply", *BELONG_TO_NOTHING)
def test_healthcheck_waits_for_the_matching_datagram(env, fake_server, reply):
    _, config = fake_server(lambda query: reply(query) + [_ok(query)], "udp")
    Check(env, config=config).good(" over UDP, ", AT_ONCE)
    _, config = fake_server(reply, "udp")
    Check(env, config=config).bad(" over UDP: no response in 2000 ms")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@table("reply, words", ("other-text", lambda query: [_ok(query, b"\2no")], "not from dot-proxy"),
       ("no-record", lambda query: [_ok(query, None)], "not from dot-proxy"),
       ("NXDOMAIN", lambda query: [_ok(query, None, flags=QR | NXDOMAIN)],
        "NXDOMAIN (is dot-proxy listening"),
       ("REFUSED", lambda query: [_ok(query, None, flags=QR | REFUSED)], "REFUSED"),
       ("bare-SERVFAIL", lambda query: [query[:2] + b"\x80\x02" + bytes(8)], "SERVFAIL"))
def test_healthcheck_fails_if_another_server_responds(env, fake_server, transport, reply, words):
    _, config = fake_server(reply, transport)
    Check(env, config=config).bad(f" over {transport.upper()}: ", words, seconds=AT_ONCE)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_healthcheck_of_a_silent_server(env, fake_server, transport):
    silent, config = fake_server(lambda query: [], transport)
    check = Check(env, config=config).bad(f" over {transport.upper()}: no response in 2000 ms")
    assert check.end - check.begin >= 2
    assert len(silent.queries) == (4 if transport == "udp" else 1)


def test_healthcheck_of_a_server_that_closes(env, fake_server):
    _, config = fake_server(lambda query: None, "tcp")
    Check(env, config=config).bad("the connection was closed without a response", seconds=AT_ONCE)


def test_healthcheck_retransmits_a_lost_datagram(env, fake_server):
    made = []
    made, config = fake_server(lambda query: [_ok(query)] if len(made.queries) == 2 else [], "udp")
    Check(env, config=config).good("it answers over UDP")
    assert len(set(made.queries)) == 1


def test_healthcheck_uses_random_ids(env, fake_server):
    made, config = fake_server(lambda query: [_ok(query)], "tcp")
    for _ in range(8):
        Check(env, config=config).good("it answers")
    assert len({query[:2] for query in made.queries}) >= 7


# ---- the command line ----


@table("args", ("both", ["healthcheck", "--upstream", "--ready"]), ("check", ["check", "--ready"]),
       ("probe", ["probe", "--upstream"]), ("serve", ["--ready"]),
       ("two-commands", ["healthcheck", "check"]))
def test_healthcheck_options_are_refused_elsewhere(tmp_path, args):
    done = subprocess.run([proxy.BINARY, *args], cwd=tmp_path, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dot-proxy: `")


def test_healthcheck_with_an_invalid_configuration(tmp_path):
    (tmp_path / "config.yml").write_text("upstream: [192.0.2.1]\n")
    done = subprocess.run([proxy.BINARY, "healthcheck"], cwd=tmp_path, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert "config.yml:1:1: unknown key `upstream'" in done.stderr
    assert done.stderr.endswith("dot-proxy: no dot-proxy is running with config.yml\n")
