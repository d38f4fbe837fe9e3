"""The scripted upstream itself, tested with two independent clients."""

import shutil
import ssl
import subprocess

import dns.message
import dns.query
import pytest

import dnsmsg
import faults


def _context(authority):
    return ssl.create_default_context(cafile=authority.path)


def test_dnspython_gets_the_expected_answer(env, authority):
    server = env.upstream()
    query = dns.message.make_query("example.test", "A", use_edns=True)
    answer = dns.query.tls(query, server.address, 5, server.port, server_hostname=server.hostname,
                           ssl_context=_context(authority))
    assert dnsmsg.read(answer.to_wire()).is_correct
    connection, = server.connections
    assert connection.first_byte == 0x16
    assert connection.facts["version"] == "TLSv1.3"
    assert connection.facts["sni"] == server.hostname
    assert [asked.name for asked in server.queries] == ["example.test"]


@pytest.mark.skipif(shutil.which("kdig") is None, reason="needs kdig")
def test_kdig_verifies_and_gets_two_answers(env, authority):
    server = env.upstream()
    done = subprocess.run(
        ["kdig", f"@{server.address}", "-p", str(server.port), f"+tls-ca={authority.path}",
         f"+tls-host={server.hostname}", "+short", "+keepopen", "+timeout=5",
         "one.test", "A", "two.test", "A"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [".".join(map(str, dnsmsg.rdata_for(dnsmsg.labels(name), dnsmsg.A)))
                for name in ("one.test", "two.test")]
    assert done.stdout.split() == expected


def test_python_rejects_wrong_names(env, authority):
    server = env.upstream(hostname="other.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        dns.query.tls(dns.message.make_query("example.test", "A"), server.address, 5, server.port,
                      server_hostname="dot.test", ssl_context=_context(authority))


@pytest.mark.parametrize("script", [faults.answer_and_renegotiate, faults.renegotiate_and_answer])
def test_server_requests_renegotiation(env, authority, script):
    server = env.upstream(script, faults.with_pyopenssl("1.2"))
    context = _context(authority)
    context.options |= ssl.OP_NO_RENEGOTIATION
    _ask(server, context)
    assert server.connections[0].facts["version"] == "TLSv1.2"


@pytest.mark.parametrize("script", [faults.answer_and_key_update, faults.key_update_and_answer])
def test_keys_are_updated(env, authority, script):
    server = env.upstream(script, faults.with_pyopenssl("1.3"))
    _ask(server, _context(authority))


def _ask(server, context):
    query = dns.message.make_query("example.test", "A")
    answer = dns.query.tls(query, server.address, 5, server.port, server_hostname=server.hostname,
                           ssl_context=context)
    assert dnsmsg.read(answer.to_wire()).is_correct
