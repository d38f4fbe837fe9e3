"""Group T beyond the chain: pins, revocation lists, ALPN, sessions."""

import base64
import datetime
import hashlib
import os
import signal
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import certs
import faults
import proxy
import processes
import tls
from certs import DAY, HOSTNAME
from clock import wait_until
from dnsmsg import Query
from env import EDNS
from upstream_state import times_down, went_down
from rows import row, table
from upstream import Script, own_address

WRONG_PIN = base64.b64encode(bytes(32)).decode()


def pin(identity):
    """RFC 7858 4.2."""
    spki = identity.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def _pinned(env, identity, **entry):
    """A, which presents the identity and is pinned, and B; what the proxy does with A."""
    a, b = env.pair(Script(identity=identity))
    running = env.proxy(a.config(**entry), b)
    env.assert_ok(env.ask())
    return a, b, running


def _is_accepted(a, b):
    assert a.queries and not b.connections


def _is_refused(a, b, running, *words):
    """Not one query was sent to it."""
    assert a.connections and not a.queries and b.queries
    return went_down(running, a, "handshake: certificate", *words)


# Pins in addition to the chain.


@table("pins", ("T-24-right-pin", lambda right: [right]),
       ("T-24-backup-pin", lambda right: [WRONG_PIN, right]),
       ("T-24-eight-pins", lambda right: [base64.b64encode(bytes([n] * 32)).decode()
                                          for n in range(7)] + [right]))
@pytest.mark.parametrize("verify", [None, "chain", "pins"])
def test_pinned_key_is_accepted(env, authority, pins, verify):
    identity = authority.identity(dns=[HOSTNAME])
    entry = {"pins": pins(pin(identity)), **({"verify": verify} if verify else {})}
    _is_accepted(*_pinned(env, identity, **entry)[:2])


@pytest.mark.parametrize("verify", ["chain", "pins"])
@row("T-24-pin-mismatch")
def test_key_without_pin_is_rejected(env, authority, verify):
    identity = authority.identity(dns=[HOSTNAME])
    a, b, running = _pinned(env, identity, pins=[WRONG_PIN], verify=verify)
    line = _is_refused(a, b, running, "not pinned", pin(identity))
    assert "pins" in line["remedy"]


@row("T-24-pin-mismatch")
def test_key_without_pin_of_the_only_upstream_is_servfail(env, authority):
    server = env.upstream(Script(identity=authority.identity(dns=[HOSTNAME])))
    env.proxy(server.config(pins=[pin(server.identity)]))
    exchange = env.servfail(env.ask(Query(edns=EDNS)), 0.5)
    (_, text), = exchange.answer.ede
    assert "not pinned" in text and server.name in text
    assert not server.queries


CHAINS = {"self-signed": lambda ca: certs.self_signed(),
          "unknown-authority": lambda ca: certs.Authority("another").identity(dns=[HOSTNAME]),
          "other-name": lambda ca: ca.identity(dns=["other.test"]),
          "expired": lambda ca: ca.identity(dns=[HOSTNAME], begin=-30 * DAY, end=-DAY)}


@pytest.mark.parametrize("name", CHAINS, ids=lambda name: f"T-24-{name}")
def test_pin_does_not_replace_the_chain(env, authority, name):
    identity = CHAINS[name](authority)
    _is_refused(*_pinned(env, identity, pins=[pin(identity)]))


@pytest.mark.parametrize("name", CHAINS, ids=lambda name: f"T-24-{name}")
def test_pin_instead_of_the_chain(env, authority, name):
    identity = CHAINS[name](authority)
    _is_accepted(*_pinned(env, identity, pins=[pin(identity)], verify="pins")[:2])


@row("T-24-key-changes")
def test_self_signed_certificate_with_another_key(env):
    """Also if a session of the right certificate could be resumed."""
    right, wrong = certs.self_signed(), certs.self_signed()
    a, b, running = _pinned(env, right, pins=[pin(right)], verify="pins")
    a.restart(Script(identity=wrong))
    env.assert_ok(env.ask("after.test"))
    assert not a.queries_for("after.test")
    went_down(running, a, "not pinned", pin(wrong))


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@pytest.mark.parametrize("verify", ["chain", "pins"])
def test_pinned_session_is_resumed(env, newest, verify):
    server = env.upstream(faults.close_after_answer, Script(tls={"newest": newest}))
    env.proxy(server.config(pins=[pin(server.identity)], verify=verify))
    for n in range(3):
        env.assert_ok(env.ask(f"n{n}.test"))
        wait_until(lambda: not server.open_connections, 2)
    assert [c.facts["resumed"] for c in server.connections] == [False, True, True]


def _probe(env):
    return subprocess.run([proxy.BINARY, "-c", env.config_path, "probe"],
                          capture_output=True, text=True, timeout=20)


@row("T-24-probe")
def test_probe_prints_a_usable_pin(env, tmp_path):
    a, b = env.pair()
    env.proxy(a, start=False).kill()
    done = _probe(env)
    assert done.returncode == 0, done.stdout
    printed, = [line.split()[1] for line in done.stdout.splitlines() if line.split()[0] == "pin"]
    env.proxy(a.config(pins=[printed], verify="pins"), b)
    env.assert_ok(env.ask())
    _is_accepted(a, b)


@row("T-24-probe")
def test_probe_reports_the_actual_pin(env):
    server = env.upstream()
    env.proxy(server.config(pins=[WRONG_PIN]), start=False).kill()
    done = _probe(env)
    assert done.returncode != 0
    assert "not pinned" in done.stdout and pin(server.identity) in done.stdout


# Revocation lists.


def _list(directory, authority, *revoked, begin=-DAY, end=DAY):
    """A file with the authority's list of these identities."""
    today = datetime.datetime.utcnow()
    builder = (x509.CertificateRevocationListBuilder().issuer_name(authority.name)
               .last_update(today + begin).next_update(today + end))
    for identity in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(identity.chain[0].serial_number)
            .revocation_date(today - DAY).build())
    path = os.path.join(directory, f"{len(os.listdir(directory))}.crl")
    with open(path, "wb") as file:
        file.write(builder.sign(authority.key, hashes.SHA256())
                   .public_bytes(serialization.Encoding.PEM))
    return path


LISTS = {
    "CRL-revoked": (lambda d, ca, a, other: _list(d, ca, a), "revoked"),
    "CRL-missing-for-the-issuer": (lambda d, ca, a, other: _list(d, certs.Authority("another"), a),
                                   "CRL"),
    "CRL-expired": (lambda d, ca, a, other: _list(d, ca, begin=-3 * DAY, end=-DAY), "CRL"),
    "CRL-not-revoked": (lambda d, ca, a, other: _list(d, ca, other), None),
    "CRL-empty": (lambda d, ca, a, other: _list(d, ca), None),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("key", ["tls", "upstream"])
def test_revocation_list(env, authority, tmp_path, name, key):
    make, word = LISTS[name]
    a, b = env.pair()
    path = make(tmp_path, authority, a.identity, b.identity)
    # B has no such list: its authority is in a file of its own.
    b_entry = b.config(ca_file=authority.path)
    if key == "tls":
        running = env.proxy(a, b_entry, tls={"ca_file": authority.path, "crl_file": path})
    else:
        running = env.proxy(a.config(crl_file=path), b_entry)
    env.assert_ok(env.ask())
    if word is None:
        _is_accepted(a, b)
    else:
        _is_refused(a, b, running, word)


def _intermediate_and_lists(tmp_path, authority, revoked):
    """An identity below an intermediate, and a file with the list of each of the two issuers."""
    below = authority.below()
    identity = below.identity(dns=[HOSTNAME])
    above = [certs.Identity(below.key, [below.certificate])] if revoked else []
    return below, identity, {"root": _list(tmp_path, authority, *above),
                             "intermediate": _list(tmp_path, below)}


def _joined(directory, paths):
    path = directory / "all.crl"
    path.write_bytes(b"".join(open(name, "rb").read() for name in paths))
    return str(path)


@row("T-27")
def test_revoked_intermediate_is_refused(env, authority, tmp_path):
    below, identity, lists = _intermediate_and_lists(tmp_path, authority, revoked=True)
    a, b = env.pair(Script(identity=identity))
    running = env.proxy(a.config(crl_file=_joined(tmp_path, lists.values())), b)
    env.assert_ok(env.ask())
    _is_refused(a, b, running, "revoked", below.text)


@pytest.mark.parametrize("missing", ["root", "intermediate"])
@row("T-27")
def test_missing_list_of_an_issuer_is_named(env, authority, tmp_path, missing):
    below, identity, lists = _intermediate_and_lists(tmp_path, authority, revoked=False)
    issuer = {"root": authority, "intermediate": below}[missing]
    del lists[missing]
    path = _joined(tmp_path, lists.values())
    a, b = env.pair(Script(identity=identity))
    running = env.proxy(a.config(crl_file=path), b)
    env.assert_ok(env.ask())
    line = _is_refused(a, b, running, "no CRL of its issuer", f"CN={issuer.text}")
    assert path in line["remedy"]


@row("T-27")
def test_chain_with_the_lists_of_all_issuers_is_accepted(env, authority, tmp_path):
    _, identity, lists = _intermediate_and_lists(tmp_path, authority, revoked=False)
    a, b = env.pair(Script(identity=identity))
    env.proxy(a.config(crl_file=_joined(tmp_path, lists.values())), b)
    env.assert_ok(env.ask())
    _is_accepted(a, b)


# The trust file.


@pytest.mark.parametrize("with_list", [False, True])
@row("T-28")
def test_intermediate_alone_is_a_trust_anchor(env, authority, tmp_path, with_list):
    below = authority.below()
    entry = {"ca_file": below.path}
    if with_list:
        # It is a trust anchor: the list of its own issuer is not required.
        entry["crl_file"] = _list(tmp_path, below)
    a, b = env.pair(Script(identity=below.identity(dns=[HOSTNAME])))
    env.proxy(a.config(**entry), b)
    env.assert_ok(env.ask())
    _is_accepted(a, b)


@row("T-28")
def test_server_certificate_alone_is_a_trust_anchor(env, authority):
    identity = authority.identity(dns=[HOSTNAME])
    a, b = env.pair(Script(identity=identity))
    env.proxy(a.config(ca_file=certs._write(certs._pem(identity.chain))), b)
    env.assert_ok(env.ask())
    _is_accepted(a, b)


DAMAGES = {"base64": lambda pem: pem.replace(b"-----\nM", b"-----\n*", 1),
           "der": lambda pem: pem.replace(b"-----\nM", b"-----\nA", 1),
           "no-end": lambda pem: pem.replace(b"-----END CERTIFICATE-----\n", b"", 1)
           .replace(b"-----END X509 CRL-----\n", b"", 1),
           "cut": lambda pem: pem[:len(pem) // 2] + b"\n" + pem[pem.index(b"-----END"):]}


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["CA", "CRL"])
@row("T-28")
def test_damaged_entry_is_named_by_its_position(tmp_path, authority, kind, damage, position):
    good = open({"CA": authority.path, "CRL": _list(tmp_path, authority)}[kind], "rb").read()
    entries = [b"# A comment.\n" + good] * 3
    entries[position - 1] = DAMAGES[damage](good)
    path = tmp_path / "damaged.pem"
    path.write_bytes(b"".join(entries))
    files = {"CA": f"ca_file: {path}", "CRL": f"ca_file: {authority.path}, crl_file: {path}"}
    text = f"listen: {own_address()}:5300\ntls: {{{files[kind]}}}\nupstreams: [192.0.2.1]"
    for command in ([], ["check"]):
        done = _run(tmp_path, text, command)
        assert done.returncode == 2
        what = {"CA": "certificate", "CRL": "CRL"}[kind]
        assert f"{kind} file {path}: {what} {position} is damaged" in done.stderr


# The end of a certificate, or of a list, while sessions are resumed and connections persist.


def _wait_past(moment):
    """Waits for a moment of the UTC clock, which certificates know to the second."""
    left = (moment - datetime.datetime.utcnow()).total_seconds() + 0.05
    assert left < 10
    time.sleep(max(left, 0))


def _no_query_past(env, running, a, b, moment, *words):
    """A answers until that moment, by a resumed session where its connection has ended."""
    for n in range(2):
        env.assert_ok(env.ask(f"before-{n}.test"))
        if a.script.on_query:
            wait_until(lambda: not a.open_connections, 2)
    assert len(a.queries) == 2 and datetime.datetime.utcnow() < moment
    _wait_past(moment)
    env.assert_ok(env.ask("after.test"))
    assert not a.queries_for("after.test") and b.queries_for("after.test")
    went_down(running, a, "handshake: certificate", *words)


PERSISTENT = table("ends", ("T-26-resumed", faults.close_after_answer),
                   ("T-26-persistent", Script()))


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@PERSISTENT
def test_no_query_after_the_certificate_has_expired(env, authority, newest, ends):
    identity = authority.identity(dns=[HOSTNAME], end=datetime.timedelta(seconds=4))
    a, b = env.pair(ends, Script(identity=identity, tls={"newest": newest}))
    running = env.proxy(a, b)
    _no_query_past(env, running, a, b, identity.chain[0].not_valid_after, "expired")
    assert [c.facts["resumed"] for c in a.handshakes] == [False, True][:len(a.handshakes)]


@PERSISTENT
def test_no_query_after_an_intermediate_has_expired(env, authority, ends):
    below = authority.below(end=datetime.timedelta(seconds=4))
    a, b = env.pair(ends, Script(identity=below.identity(dns=[HOSTNAME])))
    running = env.proxy(a, b)
    _no_query_past(env, running, a, b, below.certificate.not_valid_after, "expired")


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@PERSISTENT
def test_no_query_after_the_revocation_list_has_expired(env, authority, tmp_path, newest, ends):
    path = _list(tmp_path, authority, end=datetime.timedelta(seconds=4))
    with open(path, "rb") as file:
        moment = x509.load_pem_x509_crl(file.read()).next_update
    a, b = env.pair(ends, Script(tls={"newest": newest}))
    running = env.proxy(a.config(crl_file=path), b)
    _no_query_past(env, running, a, b, moment, "CRL", "expired")


@row("T-26")
def test_superseded_revocation_list_ends_no_session(env, authority, tmp_path):
    """As when the next list was added before the last one expires."""
    old = _list(tmp_path, authority, end=datetime.timedelta(seconds=3))
    with open(old, "rb") as file:
        moment = x509.load_pem_x509_crl(file.read()).next_update
    a, b = env.pair(faults.close_after_answer)
    env.proxy(a.config(crl_file=_joined(tmp_path, [old, _list(tmp_path, authority)])), b)
    env.assert_ok(env.ask("before.test"))
    _wait_past(moment)
    env.assert_ok(env.ask("after.test"))
    assert a.queries_for("after.test")[0].connection.facts["resumed"]


@PERSISTENT
def test_no_query_after_reload_with_a_revoking_list(env, authority, tmp_path, ends):
    a, b = env.pair(ends)
    path = _list(tmp_path, authority)
    running = processes.start_workers(env, a.config(crl_file=path), b, reload="signal")
    env.assert_ok(env.ask("before-1.test"))
    env.assert_ok(env.ask("before-2.test"))
    assert len(a.queries) == 2
    os.replace(_list(tmp_path, authority, a.identity), path)
    old = running.workers()
    running.signal(signal.SIGHUP)
    processes.wait_all_serving(running, 2, without=old)
    env.assert_ok(env.ask("after.test"))
    assert not a.queries_for("after.test") and b.queries_for("after.test")
    went_down(running, a, "revoked")


# The configuration.

PINS = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
REFUSED = {
    "pins-not-base64": ("upstreams: [{address: 192.0.2.1, pins: [abc]}]",
                        "1:41: not a pin: `abc'"),
    "pins-one-bit-too-many": (f"upstreams: [{{address: 192.0.2.1, pins: [{PINS[:42]}B=]}}]",
                              "1:41: not a pin: `"),
    "pins-too-long": (f"upstreams: [{{address: 192.0.2.1, pins: [A{PINS}]}}]",
                      "1:41: not a pin: `"),
    "pins-empty": ("upstreams: [{address: 192.0.2.1, pins: []}]",
                   "1:40: the list is empty (write one entry at least)"),
    "pins-nine": (f"upstreams: [{{address: 192.0.2.1, pins: [{', '.join([PINS] * 9)}]}}]", "1:"),
    "verify-pins-without-pins": ("upstreams: [{address: 192.0.2.1, verify: pins}]",
                                 "1:34: `verify: pins' without `pins' would verify nothing"),
    "verify-nothing": ("upstreams: [{address: 192.0.2.1, verify: none}]",
                       "1:42: expected pins or chain, found `none'"),
    "crl-file-empty-path": ("upstreams: [192.0.2.1]\ntls: {crl_file: ''}",
                            "2:17: the path is empty (write one, or leave the key out)"),
    "crl-file-of-an-upstream-empty-path": (
        "upstreams: [{address: 192.0.2.1, crl_file: ''}]",
        "1:44: the path is empty (write one, or leave the key out)"),
    "fast-open": ("upstreams: [192.0.2.1]\ntls: {fast_open: maybe}",
                  "2:18: expected true or false, found `maybe'"),
}


def _run(directory, text, command):
    (directory / "config.yml").write_text(text + "\n")
    return subprocess.run([proxy.BINARY, *command], cwd=directory, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_trust_settings_are_refused(tmp_path, name):
    text, message = REFUSED[name]
    for command in ([], ["check"]):
        done = _run(tmp_path, text, command)
        assert done.returncode == 2
        line, = done.stderr.splitlines()
        assert line.startswith(f"config.yml:{message}"), line


@table("make, message", ("crl-file-missing", None, "No such file or directory"),
       ("crl-file-without-a-list", lambda ca: ca.path, "no CRLs found"))
@pytest.mark.parametrize("entry", [
    "tls: {{ca_file: {ca}, crl_file: {crl}}}\nupstreams: [192.0.2.1]",
    "upstreams: [{{address: 192.0.2.1, ca_file: {ca}, crl_file: {crl}}}]"], ids=["tls", "upstream"])
def test_invalid_revocation_file_is_refused(tmp_path, authority, make, message, entry):
    path = make(authority) if make else str(tmp_path / "missing.crl")
    text = f"listen: {own_address()}:5300\n{entry.format(ca=authority.path, crl=path)}"
    for command in ([], ["check"]):
        done = _run(tmp_path, text, command)
        assert done.returncode == 2
        assert f"CRL file {path}: {message}" in done.stderr


# ALPN.


@row("ALPN-offered")
def test_alpn_is_offered_and_selected(env):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask())
    connection, = server.connections
    assert connection.facts["alpn"] == "dot"
    assert tls.read_hello(connection.hello).extensions[tls.Hello.ALPN] == b"\0\4\3dot"


def _by_openssl(newest, protocol, *more):
    script = Script(tls={"raw": True, "newest": newest, "protocol": protocol})
    for other in more:
        script = script | other
    return script


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@row("ALPN-refused")
def test_refused_alpn_is_retried_without(env, newest):
    a, b = env.pair(_by_openssl(newest, None, faults.close_after_answer))
    running = env.proxy(a, b)
    for n in range(3):
        env.assert_ok(env.ask(f"n{n}.test"), 0.2)
        wait_until(lambda: not a.open_connections, 2)
    assert len(a.queries) == 3 and not b.connections
    assert [tls.Hello.ALPN in tls.read_hello(c.hello).extensions for c in a.connections] \
        == [True, False, False, False]
    assert times_down(running, a) == 0


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@row("ALPN-other")
def test_unexpected_alpn_protocol_is_rejected(env, newest):
    a, b = env.pair(_by_openssl(newest, "http/1.1"))
    running = env.proxy(a, b)
    env.assert_ok(env.ask())
    assert a.connections and not a.queries and b.queries
    went_down(running, a, "handshake")


@row("ALPN-refused")
def test_probe_retries_without_alpn(env):
    server = env.upstream(_by_openssl("1.3", None))
    env.proxy(server, start=False).kill()
    done = _probe(env)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("retry        without ALPN") == 1
    assert len(server.connections) == 2 and len(server.arrived) == 1


# Sessions, which all workers share.


def _hellos(server):
    return [tls.read_hello(c.hello) for c in server.connections]


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
def test_first_connection_of_another_worker_resumes(env, newest):
    server = env.upstream(Script(tls={"newest": newest}))
    running = processes.start_workers(env, server, workers=2)
    first, other = running.workers()
    client = processes.client_of(env, first)
    env.assert_ok(client.ask("first.test"))
    # The session exists before the connection ends; TLS 1.3 sends it after the handshake.
    env.assert_ok(client.ask("second.test"))
    client.close()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not server.open_connections, 2, "the connection went with its worker")
    processes.wait_all_serving(running, 2, without=[first])
    env.assert_ok(processes.client_of(env, other).ask("third.test"), 0.2)
    assert [c.facts["resumed"] for c in server.connections] == [False, True]
    processes.wait_all_serving(running, 2, without=[first])


@row("T-21")
def test_session_is_used_once(env):
    """RFC 8446 C.4, across all workers: an observer cannot recognise a returning client."""
    server = env.upstream()
    running = processes.start_workers(env, server, workers=3)
    clients = processes.one_each(env).values()
    for n in range(6):
        asked = [client.send(Query(f"n{n}.w{k}.test"))[0] for k, client in enumerate(clients)]
        for client in clients:
            client.receive_all()
        for exchange in asked:
            env.assert_ok(exchange)
        server.close_all()
    tickets = [ticket for hello in _hellos(server) for ticket in hello.tickets]
    assert len(tickets) > 6
    assert len(tickets) == len(set(tickets)), "a ticket was used twice"
    assert all(len(hello.tickets) <= 1 for hello in _hellos(server))
    assert not running.lines("upstream down")


@row("T-21")
def test_session_is_not_offered_under_another_hostname(env, authority):
    """Not even to a server whose certificate has both names."""
    server = env.upstream(identity=authority.identity(dns=[HOSTNAME, "other.test"]))
    running = processes.start_workers(env, server, reload="signal")
    env.assert_ok(env.ask("before.test"))
    proxy.write_config(env.config_path,
                       {**env.config, "upstreams": [server.config(hostname="other.test")]})
    old = running.workers()
    running.signal(signal.SIGHUP)
    processes.wait_all_serving(running, 2, without=old)
    server.close_all()
    env.assert_ok(env.ask("after.test"))
    last = server.connections[-1]
    assert last.facts["sni"] == "other.test" and not last.facts["resumed"]
    assert not tls.read_hello(last.hello).tickets


@row("T-21")
def test_session_does_not_outlive_its_pin(env):
    """A reload with another pin applies immediately, even if a session could be resumed."""
    a, b = env.pair()
    running = processes.start_workers(env, a.config(pins=[pin(a.identity)]), b, reload="signal")
    env.assert_ok(env.ask("before.test"))
    assert a.queries_for("before.test")
    proxy.write_config(env.config_path,
                       {**env.config, "upstreams": [a.config(pins=[WRONG_PIN]), b.config()]})
    old = running.workers()
    running.signal(signal.SIGHUP)
    processes.wait_all_serving(running, 2, without=old)
    env.assert_ok(env.ask("after.test"))
    assert b.queries_for("after.test") and not a.queries_for("after.test")
    went_down(running, a, "not pinned")


@row("T-20")
def test_session_is_not_offered_to_a_neighbour_with_another_hostname(env, authority):
    """Two upstreams at one address; the first has sessions when the second connects."""
    server = env.upstream(identity=authority.identity(dns=[HOSTNAME, "other.test"]))
    env.proxy(server, server.config(hostname="other.test"))
    env.assert_ok(env.ask("first.test"))
    server.identity = authority.identity(dns=["other.test"])
    server.restart()
    env.assert_ok(env.ask("second.test"))
    others = [c for c in server.handshakes if c.facts["sni"] == "other.test"]
    assert others and not tls.read_hello(others[0].hello).tickets
    assert server.queries_for("second.test")[-1].connection in others
    # They share the server, which must be good for both at the end.
    server.identity = authority.identity(dns=[HOSTNAME, "other.test"])


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@row("T-23")
def test_refused_session_of_another_worker(env, authority, newest):
    """A full handshake follows, and no client sees an error."""
    script = Script(tls={"newest": newest})
    server = env.upstream(script)
    running = processes.start_workers(env, server, workers=2)
    first, other = running.workers()
    client = processes.client_of(env, first)
    env.assert_ok(client.ask("first.test"))
    server.identity = authority.identity(dns=[HOSTNAME])
    server.forget_sessions()
    server.restart(script)
    env.assert_ok(processes.client_of(env, other).ask("second.test"), 0.5)
    env.assert_ok(client.ask("third.test"), 0.5)
    assert not any(c.facts["resumed"] for c in server.connections[:2])
    if newest == "1.3":
        assert tls.read_hello(server.connections[1].hello).tickets
    assert not running.lines("upstream down")
