"""Group T: certificates and other parts of TLS."""

import asyncio
import base64
import hashlib
import re
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

import certs
import faults
import proxy
import tls
from certs import HOSTNAME, REJECTED
from clock import wait_until
from dnsmsg import Query
from env import EDNS
from upstream_state import ask_until, times_down, wait_idle_end, went_down
from rows import row, table
from upstream import Script

# Helpful words that the log and the client must get.
WORDS = {
    "T-01": r"other\.test", "T-02": r"expired \d{4}-\d\d-\d\d",
    "T-03": r"not (yet )?valid.*\d{4}-\d\d-\d\d", "T-04": r"self-signed", "T-05": r"unknown|issuer",
    "T-06": r"subjectAltName|name", "T-07": r"d\*\.test", "T-10-missing-intermediate":
    r"unknown|issuer", "T-11-path-length": r"path length", "T-11-name-constraints": r"subtree",
    "T-12": r"purpose", "T-13-rsa-1024": r"weak", "T-13-sha-1": r"weak", "T-13-md5": r"weak",
}


@pytest.fixture(scope="session")
def identities(authority):
    """Each identity is made once, at its first use."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = REJECTED[name](authority)
        return made[name]
    return get


@pytest.mark.parametrize("name", REJECTED)
def test_bad_certificate_is_rejected_and_the_next_upstream_answers(env, identities, name):
    a, b = env.pair(Script(identity=identities(name)))
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), 0.2)
    assert a.connections and not a.queries and b.queries_for("first.test")
    line = went_down(running, a, "handshake: certificate")
    assert re.search(WORDS.get(name, ""), line["cause"]), line.text
    _remedy(name, line)
    env.assert_ok(env.ask("second.test"), 0.1)
    assert not a.queries
    assert times_down(running, a) == 1


def _remedy(name, line):
    """What to do about it, where that is known."""
    said = line.get("cause", "") + " " + line.get("remedy", "")
    if name == "T-01":
        assert HOSTNAME in said and "other.test" in said, line.text
    if name == "T-03":
        assert "clock" in said, line.text
    if name in ("T-05", "T-10-missing-intermediate"):
        assert ".pem" in said, f"which file was used: {line.text}"


@pytest.mark.parametrize("name", REJECTED)
def test_bad_certificate_of_the_only_upstream_is_servfail(env, identities, name):
    server = env.upstream(Script(identity=identities(name)))
    env.proxy(server)
    exchange = env.servfail(env.ask(Query(edns=EDNS)), 0.5)
    assert not server.queries
    (code, text), = exchange.answer.ede
    assert code in (22, 23)
    assert text.startswith(f"{server.name}: handshake: certificate"), text
    assert re.search(WORDS.get(name, ""), text), text


@row("T-02")
def test_expired_certificate_is_reported_with_its_date(env, identities):
    identity = identities("T-02")
    server = env.upstream(Script(identity=identity))
    running = env.proxy(server)
    exchange = env.servfail(env.ask(Query(edns=EDNS)))
    since = identity.chain[0].not_valid_after.strftime("%Y-%m-%d")
    assert exchange.answer.ede[0][1] == f"{server.name}: handshake: certificate expired {since}"
    assert since in went_down(running, server).text


@table("pattern, hostname, works",
       ("T-08-one-label", "*.example.test", "dot.example.test", True),
       ("T-08-two-labels", "*.example.test", "a.dot.example.test", False),
       ("T-08-no-label", "*.example.test", "example.test", False),
       # OpenSSL accepts no wildcard directly below the root, which is correct.
       ("T-08-top-level", "*.test", "dot.test", False),
       ("T-08-two-stars", "*.*.test", "a.dot.test", False),
       ("T-08-star-alone", "*", "test", False))
def test_wildcard(env, authority, pattern, hostname, works):
    server = env.upstream(Script(identity=authority.identity(dns=[pattern])), hostname=hostname)
    env.proxy(server)
    exchange = env.ask()
    env.assert_ok(exchange) if works else env.servfail(exchange)
    assert len(server.queries) == works


@row("T-09")
def test_upstream_without_a_name_is_verified_by_its_address(env, authority):
    server = env.upstream()
    server.identity = authority.identity(ip=[server.address])
    env.proxy(server.config(hostname=None))
    env.assert_ok(env.ask())
    # RFC 6066 3: no literal addresses in SNI.
    assert server.connections[0].facts["sni"] is None


@table("names", ("T-09-address-as-name", lambda address: {"dns": [address]}),
       ("T-09-other-address", lambda address: {"ip": ["127.0.0.1"]}),
       ("T-09-name-only", lambda address: {"dns": [HOSTNAME]}))
def test_certificate_without_the_address_is_rejected(env, authority, names):
    a, b = env.pair()
    a.do(Script(identity=authority.identity(**names(a.address))))
    running = env.proxy(a.config(hostname=None), b)
    env.assert_ok(env.ask())
    assert a.connections and not a.queries
    line = running.wait_line("upstream down", upstream=f"{a.address}:{a.port}")
    assert "handshake: certificate" in line["cause"]


def _chains(authority):
    deep = authority.below().below().identity(dns=[HOSTNAME])
    return {"intermediate": authority.below().identity(dns=[HOSTNAME]), "two-intermediates": deep,
            "reversed": certs.reversed_chain(deep),
            "constraints-kept": authority.below(permitted=["test"]).identity(dns=[HOSTNAME])}


@table("chain", ("T-10-intermediate", "intermediate"), ("T-10-deep", "two-intermediates"),
       ("T-10-reversed", "reversed"), ("T-11-constraints-kept", "constraints-kept"))
def test_good_chain(env, authority, chain):
    server = env.upstream(Script(identity=_chains(authority)[chain]))
    env.proxy(server)
    env.assert_ok(env.ask())
    assert server.queries


@row("T-14")
def test_tls_1_1_is_rejected(env):
    a, b = env.pair(Script(tls={"newest": "1.1", "oldest": "1.0"}))
    running = env.proxy(a, b)
    env.assert_ok(env.ask(), 0.2)
    assert a.connections and not a.queries
    went_down(running, a, "handshake")


@table("newest", ("T-15-TLS-1.2", "1.2"), ("T-15-TLS-1.3", "1.3"))
def test_tls_version(env, newest):
    server = env.upstream(Script(tls={"newest": newest}))
    env.proxy(server)
    for n in range(3):
        env.assert_ok(env.ask(f"n{n}.test"))
    connection, = server.connections
    assert connection.facts["version"] == f"TLSv{newest}"
    assert connection.facts["sni"] == server.hostname


@row("T-15")
def test_client_hello_content(env):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask())
    hello = tls.read_hello(server.connections[0].hello)
    assert hello.compressions == b"\0"
    assert tls.Hello.EARLY_DATA not in hello.extensions
    assert server.hostname.encode() in hello.extensions[tls.Hello.SERVER_NAME]


@table("newest", ("T-16-TLS-1.2", "1.2"), ("T-16-TLS-1.3", "1.3"))
def test_server_asks_for_a_client_certificate(env, authority, newest):
    server = env.upstream(Script(tls={"wants_client_certificate": authority.path,
                                        "newest": newest}))
    env.proxy(server)
    env.assert_ok(env.ask("first.test"))
    env.assert_ok(env.ask("second.test"))


@table("script, newest",
       ("T-17-renegotiation-before-the-answer", faults.renegotiate_and_answer, "1.2"),
       ("T-17-renegotiation-while-idle", faults.answer_and_renegotiate, "1.2"),
       ("T-17-KeyUpdate-before-the-answer", faults.key_update_and_answer, "1.3"),
       ("T-17-KeyUpdate-while-idle", faults.answer_and_key_update, "1.3"))
def test_key_update_and_renegotiation(env, script, newest):
    server = env.upstream(script, faults.with_pyopenssl(newest))
    running = env.proxy(server)
    for n in range(5):
        env.assert_ok(env.ask(f"n{n}.test"), 0.5)
    if newest == "1.3":
        assert len(server.connections) == 1
    assert not running.lines("upstream down")


@table("tickets", ("T-18-no-ticket", 0), ("T-18-one-ticket", 1), ("T-18-100-tickets", 100))
def test_tickets_arrive_while_idle(env, tickets):
    server = env.upstream(Script(tls={"tickets": tickets}))
    running = env.proxy(server)
    env.assert_ok(env.ask("first.test"))
    for n in range(20):
        env.assert_ok(env.ask(f"n{n}.test"))
    assert len(server.connections) == 1
    if tickets == 100:
        before = running.memory()
        for n in range(10):
            server.restart(Script(tls={"tickets": 100}))
            env.assert_ok(env.ask(f"again-{n}.test"))
        if not env.sanitized:
            assert running.memory() - before < 1 << 20


ENDS = {"close-notify": faults.close_after_answer, "fin": faults.fin_without_close_notify,
        "reset": faults.reset_after_answer}


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@pytest.mark.parametrize("end", ENDS)
def test_session_is_resumed(env, newest, end):
    """RFC 7858 3.4: however the previous connection ended."""
    server = env.upstream(ENDS[end], Script(tls={"newest": newest}))
    env.proxy(server)
    for n in range(4):
        env.assert_ok(env.ask(f"n{n}.test"))
        wait_idle_end(server)
    assert [c.facts["resumed"] for c in server.connections] == [False, True, True, True]


@row("T-19")
def test_failed_handshake_does_not_affect_the_persistent_connection(env, identities):
    a, b = env.pair(Script(identity=identities("T-01")))
    env.proxy(a, b)
    ask_until(env, lambda: len(a.connections) >= 2, 4, "A is tried again")
    env.assert_ok(env.ask("last.test"), 0.1)
    assert len(b.connections) == 1
    assert not a.queries


@row("T-20")
def test_two_names_at_one_address(env):
    """The certificate is for the second name only and must not be accepted for the first."""
    server = env.upstream()
    env.proxy(server.config(hostname="other.test"), server.config())
    for n in range(5):
        env.assert_ok(env.ask(f"n{n}.test"))
        server.close_all()
    assert {c.facts.get("sni") for c in server.handshakes if c.queries} == {server.hostname}
    server.close_all()
    for c in server.connections:
        if c.facts.get("sni") == "other.test":
            assert not c.queries


@table("script", ("T-22-close-notify", faults.close_notify_in_handshake),
       ("T-22-fin", faults.fin_in_handshake), ("T-22-unrecognized-name", faults.unrecognized_name))
def test_aborted_handshake(env, script):
    a, b = env.pair(script)
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), 0.2)
    assert not a.queries
    went_down(running, a, "handshake")
    env.assert_ok(env.ask("second.test"), 0.1)
    assert times_down(running, a) == 1 and len(a.connections) == 1


@row("T-22")
def test_alert_after_the_query(env):
    a, b = env.pair(faults.alert_after_query)
    env.proxy(a, b)
    env.assert_ok(env.ask(), 0.5)
    assert b.queries_for("example.test")


@table("newest", ("T-23-TLS-1.2", "1.2"), ("T-23-TLS-1.3", "1.3"))
def test_new_certificate_with_refused_tickets(env, authority, newest):
    script = Script(tls={"newest": newest})
    server = env.upstream(script)
    running = env.proxy(server)
    env.assert_ok(env.ask("first.test"))
    server.identity = authority.identity(dns=[server.hostname])
    server.forget_sessions()
    server.restart(script)
    env.assert_ok(env.ask("second.test"), 0.5)
    assert [c.facts["resumed"] for c in server.connections] == [False, False]
    assert not running.lines("upstream down")


@table("make", ("T-25-10000-names", certs.huge), ("T-25-long-chain", certs.long_chain))
def test_huge_certificate(env, authority, make):
    identity = make(authority)
    assert sum(len(certs._pem([c])) for c in identity.chain) > 100_000
    a, b = env.pair(Script(identity=identity))
    running = env.proxy(a, b)
    env.assert_ok(env.ask("first.test"), 0.8)
    assert running.memory() - running.memory_at_start < (64 if env.sanitized else 12) << 20
    env.assert_ok(env.ask("second.test"), 0.2)


@row("T-25")
def test_identity_is_not_taken_from_a_session(env, authority):
    """A name that the certificate no longer has is noticed at the next full handshake."""
    a, b = env.pair()
    env.proxy(a, b)
    env.assert_ok(env.ask("first.test"))
    assert a.queries_for("first.test")
    a.identity = authority.identity(dns=["other.test"])
    a.forget_sessions()
    a.restart()
    env.assert_ok(env.ask("second.test"), 0.5)
    assert not a.queries_for("second.test") and b.queries_for("second.test")
    # It is good again at the end, as env.py wants it.
    a.identity = authority.identity(dns=[a.hostname])
    a.forget_sessions()


HOSTILE = {"ESC": b"\x1b[31mred\x1b[0m", "newline": b"x\r\nlevel=error event=forged y",
           "invalid-UTF-8": b"\xff\xfe\xc3(", "NUL": b"dot.test\0.other.test", "4-KB": b"x" * 4096}


def _with_hostile_name(authority, data):
    text = "Q" * len(data)
    return authority.identity(dns=[text]).with_bytes(text, data)


def _with_hostile_issuer(_, data):
    text = "Q" * len(data)
    return certs.Authority(text).identity(dns=[HOSTNAME]).with_bytes(text, data)


PLACES = {"subjectAltName": (_with_hostile_name, {}), "issuer": (_with_hostile_issuer, {}),
          "subjectAltName-pinned": (_with_hostile_name, {"verify": "pins"})}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", PLACES)
@row("T-29")
def test_unverified_certificate_name_is_escaped_and_truncated(env, authority, place, hostile):
    make, entry = PLACES[place][0], dict(PLACES[place][1])
    identity = make(authority, HOSTILE[hostile])
    if entry:
        entry["pins"] = [_pin(identity)]
        server = env.upstream(identity=identity)
    else:
        server = env.upstream(Script(identity=identity))
    running = env.proxy(server.config(**entry))
    exchange = env.ask(Query(edns=EDNS))
    shown = [_probe(env).stdout]
    if entry:
        env.assert_ok(exchange)
        shown.append(running.wait_line("upstream connected").text)
    else:
        env.servfail(exchange)
        (_, text), = exchange.answer.ede
        shown += [text, went_down(running, server, "certificate").text]
    escaped = "".join(chr(c) if 0x20 <= c < 0x7f else f"\\x{c:02X}" for c in HOSTILE[hostile])
    for text in shown:
        assert all(" " <= c < "\x7f" or c == "\n" for c in text), repr(text)
        assert escaped[:40] in text.replace("\\\\", "\\"), text
        assert "\nlevel" not in text and len(text) < 1000
    # Only complete escapes precede the cut.
    assert hostile != "4-KB" or all("x..." in text for text in shown), shown


def _pin(identity):
    """RFC 7858 4.2."""
    spki = identity.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def _probe(env):
    return subprocess.run([proxy.BINARY, "-c", env.config_path, "probe"], capture_output=True,
                          text=True, timeout=20, cwd=env.directory)


# An interceptor: a firewall that inspects TLS, a captive portal, a redirected port.

INTERCEPTORS = {"own-CA": lambda ca: certs.Authority("Web Filter CA").identity(dns=[HOSTNAME]),
                "self-signed": lambda ca: certs.self_signed(),
                "trusted-CA": lambda ca: ca.identity(dns=["dns.isp.test"])}


def _remedy_of_interceptor(env, server, running, word):
    env.servfail(env.ask())
    line = went_down(running, server, word)
    assert "the connection may be intercepted" in line["remedy"], line.text
    for advice in "ca_file", "if you trust", "set its `hostname'":
        assert advice not in line["remedy"], line.text
    return line


@pytest.mark.parametrize("name", INTERCEPTORS)
@row("F-19")
def test_interceptor_advice_for_a_public_server(env, namespace, authority, name):
    namespace.run("ip", "address", "add", "9.9.9.9/32", "dev", "lo")
    server = env.upstream(Script(identity=INTERCEPTORS[name](authority)), address="9.9.9.9")
    running = env.proxy(server)
    _remedy_of_interceptor(env, server, running, "certificate")
    done = namespace.call(_probe, env)
    assert "the connection may be intercepted" in done.stdout


@table("make", ("F-19-own-CA", lambda: certs.Authority("Web Filter").identity(dns=["fw.test"])),
       ("F-19-self-signed", lambda: certs.self_signed(["fw.test"])))
def test_interceptor_advice_for_a_private_network(env, make):
    server = env.upstream(Script(identity=make()))
    _remedy_of_interceptor(env, server, env.proxy(server), "fw.test")


@table("make", ("F-19-own-CA", lambda: certs.Authority("Our CA").identity(dns=[HOSTNAME])),
       ("F-19-self-signed", certs.self_signed))
def test_private_ca_error_names_ca_file(env, make):
    server = env.upstream(Script(identity=make()))
    running = env.proxy(server)
    env.servfail(env.ask())
    assert "`ca_file'" in went_down(running, server)["remedy"]


# Time, and size.


@row("T-31")
def test_timeout_of_a_distant_server_names_the_setting(env):
    """At a round trip of 800 ms, TLS 1.2 takes two of them, and 1500 ms is too short."""
    async def late(connection, data):
        await asyncio.sleep(0.8)
        await connection.send_plain(data)
    server = env.upstream(Script(outgoing=late, tls={"newest": "1.2"}))
    running = env.proxy(server, timeouts={"query": "4s", "connect": "1s", "handshake": "1500ms"})
    exchange = env.servfail(env.ask(Query(edns=EDNS)), 3.5)
    text = "handshake: timed out after 1500 ms (timeouts.handshake)"
    assert exchange.answer.ede[0][1] == f"{server.name}: {text}"
    line = went_down(running, server, text)
    assert "raise `timeouts.handshake'" in line["remedy"]
    assert text in _probe(env).stdout


LARGE_TICKETS = Script(tls={"raw": True, "ticket_padding": 1500})
SEGMENT = 1400


def _small_hellos(server):
    return [c.hello_size <= SEGMENT for c in server.connections]


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@row("T-30")
def test_lost_large_client_hello_is_followed_by_a_small_one(env, newest):
    """Whether a post-quantum key share or a session ticket makes it large."""
    server = env.upstream(LARGE_TICKETS, faults.close_after_answer,
                            Script(largest_hello=SEGMENT, tls={"newest": newest}))
    running = env.proxy(server)
    for n in range(5):
        exchange = env.assert_ok(env.ask(f"n{n}.test"))
        env.answered_within(0.7 if n < 2 else 0.2, exchange)
        wait_until(lambda: not server.open_connections, 2)
    assert len(server.queries) == 5
    # One was lost, and that is remembered.
    assert _small_hellos(server).count(False) == 1 and len(server.connections) == 6
    assert times_down(running, server) == 0
    line, = running.lines("upstream connected", retried="ClientHello")
    assert line["level"] == "warn"


@row("T-30")
def test_lost_small_client_hello_is_not_remembered(env):
    """A server that never responds is down, and its next ClientHello is the usual one."""
    server = env.upstream(LARGE_TICKETS)
    running = env.proxy(server)
    env.assert_ok(env.ask("first.test"))
    env.assert_ok(env.ask("second.test"))
    server.restart(faults.accept_and_silence)
    env.servfail(env.ask("silent.test"))
    assert _small_hellos(server)[1:3] == [False, True]
    went_down(running, server, "handshake: timed out")
    server.restart(LARGE_TICKETS)
    wait_until(lambda: env.ask("again.test").rcode == 0, 3)
    env.assert_ok(env.ask("ticket.test"))
    server.close_all()
    env.assert_ok(env.ask("last.test"))
    assert not _small_hellos(server)[-1] and server.connections[-1].facts["resumed"]


@row("T-30")
def test_probe_reports_a_lost_large_client_hello(env):
    server = env.upstream(Script(largest_hello=SEGMENT))
    env.proxy(server, start=False).kill()
    done = _probe(env)
    assert done.returncode == 0, done.stdout
    if server.connections[0].hello_size <= SEGMENT:
        pytest.skip("this OpenSSL has no post-quantum key share: its ClientHello is small")
    assert done.stdout.count("retry        with a smaller ClientHello") == 1
    assert len(server.connections) == 2 and len(server.canaries) == 1


def test_ticket_on_an_idle_connection_does_not_spin(env):
    """A ticket makes an idle connection readable, which must not use CPU."""
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask())
    env.idle(0.3)
    assert len(server.open_connections) == 1
