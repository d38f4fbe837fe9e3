"""Real servers and real clients of the proxy."""

import asyncio
import json
import pathlib
import re
import socket
import subprocess

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import pytest

import dnsmsg
import faults
import forwarders
import netns
import peers
from clock import now, wait_until
from dnsmsg import A, AAAA, AD, CD, DO, NOERROR, NXDOMAIN, RD, SERVFAIL, TXT, Query
from env import EDNS
from upstream_state import went_down
from rows import table
from upstream import Script, answer

RRSIG = 46
DNSSEC_BOGUS = 6        # of the Extended DNS Errors, RFC 8914 4.7

# ---- real servers ----


@pytest.fixture
def start(env, authority, tmp_path):
    """Starts a real server as an upstream of the env."""
    def starts(kind):
        directory = tmp_path / f"{kind.__name__}-{len(env.upstreams)}"
        directory.mkdir()
        made = kind(authority, directory)
        env.upstreams.append(made)
        made.start()
        return made
    return starts


@pytest.fixture(params=[peers.Unbound, peers.KnotResolver], ids=["unbound", "knot-resolver"])
def server(request, start):
    return start(request.param)


def test_server_answers(env, server):
    running = env.proxy(server.config())
    client = env.client()
    for name, qtype in (("n0.test", A), ("n0.test", AAAA), ("n1.test", A)):
        env.assert_ok(client.ask(name, qtype=qtype), 1)
    line = running.wait_line("upstream connected", upstream=server.name)
    assert line["tls"] == "TLSv1.3" and "dot.test" in line["certificate"], line.text


def test_server_returns_nxdomain(env, server):
    env.proxy(server.config())
    for edns in (None, EDNS):
        exchange = env.ask(Query("nothing.test", edns=edns))
        assert exchange.rcode == NXDOMAIN
        assert [record[1] for record in exchange.answer.records if record[0] == 2] == [dnsmsg.SOA]
        assert bool(exchange.answer.opt) == bool(edns)


@table("name, least", ("several-kB", peers.LARGE, 7000), ("60-kB", "huge.test", 60000))
def test_server_returns_a_large_response(env, server, name, least):
    env.proxy(server.config())
    seen = env.ask(name, qtype=TXT).answer
    assert sorted(seen.rdatas) == sorted(peers.rdatas(name, TXT))
    assert len(seen.wire) > least and not seen.flags & dnsmsg.TC


def test_server_gets_many_queries_at_once(env, server):
    """More than a server processes at once per connection, which is 100 for some."""
    env.proxy(server.config())
    clients = [env.client() for _ in range(3)]
    for client in clients:
        client.send(*(Query(f"n{n}.test") for n in range(300)))
    for client in clients:
        client.receive_all()
        for exchange in client.exchanges:
            env.assert_ok(exchange)
    assert len(server.open_connections) == 1


def test_server_with_another_name_is_rejected(env, server):
    running = env.proxy(server.config(hostname="other.test"))
    env.servfail(env.ask(), 1)
    line = running.wait_line("upstream down")
    assert "handshake" in line["cause"] and "dot.test" in line["cause"] + line["remedy"], line.text
    running.stop()      # this upstream was never valid, so it cannot recover


def test_server_restarts(env, server):
    running = env.proxy(server.config())
    env.assert_ok(env.ask("n0.test"))
    server.restart()
    env.assert_ok(env.ask("n1.test"), 1)
    assert not running.lines("upstream down"), running.log_text()
    server.stop()
    env.servfail(env.ask("n2.test"), 1)
    went_down(running, server, "connect", "refused")
    server.start()
    env.assert_ok(env.ask("n3.test"), 1)
    running.wait_line("upstream back", upstream=server.name)


def test_server_resumes_sessions(env, server):
    """With OpenSSL and with GnuTLS."""
    running = env.proxy(server.config(), timeouts={"upstream_idle": "0s"}, log={"level": "debug"})
    for n in range(5):
        env.assert_ok(env.ask(f"n{n}.test"), 0.5)
    resumed = [line["resumed"] for line in running.lines("upstream connected")]
    assert resumed == ["no"] + 4 * ["yes"]


def test_server_fails_over_to_another(env, start):
    first, second = start(peers.KnotResolver), start(peers.Unbound)
    running = env.proxy(first.config(), second.config())
    client = env.client()
    env.assert_ok(client.ask("n0.test"))
    first.stop()
    for n in range(20):
        env.assert_ok(client.ask(f"n{n}.test"), 0.5)
    went_down(running, first, "connect", "refused")
    assert second.open_connections
    first.start()


def test_server_that_closes_idle_connections(env, start):
    server = start(peers.ImpatientUnbound)
    running = env.proxy(server.config())
    for n in range(4):
        env.assert_ok(env.ask(f"n{n}.test"), 0.5)
        wait_until(lambda: not server.open_connections, 5, "unbound closes")
    assert not running.lines("upstream down"), running.log_text()


# Name, flags of the query and of its OPT; rcode, flags of the answer, whether there are signatures.
@table("name, flags, edns, rcode, says, signed",
       ("DO", "www.signed.example", RD, DO, NOERROR, AD, True),
       ("AD", "www.signed.example", RD | AD, None, NOERROR, AD, False),
       ("none", "www.signed.example", RD, None, NOERROR, 0, False),
       ("no-DO", "www.signed.example", RD, 0, NOERROR, 0, False),
       ("DO-CD", "www.signed.example", RD | CD, DO, NOERROR, AD | CD, True),
       ("unsigned-zone", "n0.test", RD, DO, NOERROR, 0, False),
       ("bogus", "www.bogus.example", RD, None, SERVFAIL, 0, False),
       ("bogus-DO", "www.bogus.example", RD, DO, SERVFAIL, 0, False),
       ("bogus-CD", "www.bogus.example", RD | CD, None, NOERROR, CD, False))
def test_dnssec_records_are_forwarded(env, start, name, flags, edns, rcode, says, signed):
    env.proxy(start(peers.ValidatingUnbound).config())
    edns = None if edns is None else dnsmsg.opt(flags=edns)
    seen = env.ask(Query(name, flags=flags, edns=edns)).answer
    assert seen.rcode == rcode
    assert seen.flags & (AD | CD) == says
    assert any(record[1] == RRSIG for record in seen.records) == signed
    assert (seen.opt and seen.opt[3] & DO) == (edns and edns[7] << 8 & DO)
    if rcode == NOERROR:
        assert seen.is_correct
    elif edns:
        assert [code for code, _ in seen.ede] == [DNSSEC_BOGUS]


# ---- real clients ----


def run(env, *command, seconds=20):
    """What a program writes on its standard output; it must end well and complain of nothing."""
    process = env._popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    try:
        out, error = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0 and not error, f"{process.returncode}: {out}{error}"
    return out


def connections(namespace):
    """How many connections were made so far in a network, by whomever."""
    with namespace.call(open, "/proc/thread-self/net/snmp") as file:
        names, values = (line.split() for line in file if line.startswith("Tcp:"))
    return int(values[names.index("ActiveOpens")])


def at(env):
    host, port = env.proxies[-1].address
    return f"@{host}", "-p", str(port)


def expected_text(name, qtype):
    """The expected answer in the format of dig."""
    data = dnsmsg.rdata_for(dnsmsg.labels(name), qtype)
    return socket.inet_ntop(socket.AF_INET if qtype == A else socket.AF_INET6, data)


SEVERAL = [(f"n{n}.test", qtype) for n in range(10) for qtype in (A, AAAA)]
QUESTIONS = [word for name, qtype in SEVERAL
             for word in (name, {A: "A", AAAA: "AAAA"}[qtype])]
RIGHT = [expected_text(*question) for question in SEVERAL]
DIG = ("dig", "+tcp", "+tries=1", "+time=5")


# Options of dig, one at a time: none of them may cause a failure.
@pytest.mark.parametrize("options", [
    "", "+noedns", "+dnssec +adflag +cdflag", "+cookie=0123456789abcdef", "+keepalive",
    "+padding=128", "+nsid +expire", "+subnet=192.0.2.0/24", "+norecurse", "+bufsize=512",
    "+opcode=0 +zflag"])
def test_dig(env, options):
    server = env.upstream()
    env.proxy(server)
    out = run(env, *DIG, *at(env), "example.test", *options.split())
    assert "status: NOERROR" in out and expected_text("example.test", A) in out, out
    assert not re.search("warning|malformed|mismatch|unexpected", out, re.I), out
    assert len(server.queries_for("example.test")) == 1


@pytest.mark.parametrize("command", [DIG, ("kdig", "+tcp", "+retry=0", "+time=5")],
                         ids=["dig", "kdig"])
def test_several_queries_on_one_connection(env, namespace, command):
    server = env.upstream()
    env.proxy(server)
    env.assert_ok(env.ask("warm.test"))     # now the connection to the upstream is there
    before = connections(namespace)
    out = run(env, *command, "+keepopen", "+short", *at(env), *QUESTIONS)
    assert out.split() == RIGHT
    assert connections(namespace) - before == 1
    assert len(server.queries) == 1 + len(SEVERAL)


@pytest.mark.parametrize("command", [DIG, ("kdig", "+tcp", "+retry=0", "+time=5")],
                         ids=["dig", "kdig"])
def test_one_connection_per_query(env, command):
    server = env.upstream()
    env.proxy(server)
    assert run(env, *command, "+short", *at(env), *QUESTIONS).split() == RIGHT
    assert len(server.queries) == len(SEVERAL)
    assert len(server.connections) == 1


def dnsperf(env, tmp_path, mode, address, names, *options):
    """20 clients query all names, each for one type, and none is lost. Returns the output."""
    questions = tmp_path / "questions"
    questions.write_text("".join(f"{name} {'AAAA' if n % 2 else 'A'}\n"
                                 for n, name in enumerate(names)))
    host, port = address
    out = run(env, "dnsperf", "-m", mode, "-s", host, "-p", str(port), "-d", str(questions),
              "-c", "20", "-n", "1", "-l", "20", *options)
    said = dict(re.findall(r"^ +([A-Z][\w ]+): +(.+)$", out, re.M))
    count = len(names)
    assert said["Queries sent"] == f"{count}" and said["Queries lost"].startswith("0 "), out
    assert said["Queries completed"].startswith(f"{count} "), out
    assert said["Response codes"] == f"NOERROR {count} (100.00%)", out
    return said


@table("options, least, most", ("kept", "", 0, 0), ("dnssec", "-D", 0, 0),
       ("five-a-connection", "-O num-queries-per-conn=5", 380, 400))
def test_dnsperf(env, tmp_path, options, least, most):
    """2,000 queries of 20 clients."""
    server = env.upstream()
    env.proxy(server)
    names = [f"n{n}.test" for n in range(2000)]
    said = dnsperf(env, tmp_path, "tcp", env.proxies[-1].address, names, *options.split())
    assert {query.name for query in server.queries} == set(names)
    assert least <= int(said["Reconnections"]) <= most


def test_dnspython(env):
    env.proxy(env.upstream())
    host, port = env.proxies[-1].address
    query = dns.message.make_query("example.test", "AAAA", want_dnssec=True)
    answer = dns.query.tcp(query, host, 5, port)
    assert answer.answer[0][0].address == expected_text("example.test", AAAA)
    assert answer.rcode() == dns.rcode.NOERROR and not answer.flags & dns.flags.TC
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], port
    assert [record.address for record in resolver.resolve("example.test", "A", tcp=True)] \
        == [expected_text("example.test", A)]


def test_dnspython_pipelined(env):
    """Some are slow: responses arrive in another order than the queries."""
    env.proxy(env.upstream())
    names = [f"{'delay-200.' if n % 10 == 0 else ''}n{n}.test" for n in range(100)]
    queries = [dns.message.make_query(name, "A", id=1000 + n) for n, name in enumerate(names)]
    order = []
    with socket.create_connection(env.proxies[-1].address, 5) as sock:
        for query in queries:
            dns.query.send_tcp(sock, query)
        for _ in queries:
            answer, _ = dns.query.receive_tcp(sock)
            number = answer.id - 1000
            assert queries[number].is_response(answer)
            assert answer.answer[0][0].address == expected_text(names[number], A)
            order.append(number)
    assert sorted(order) == list(range(100)) != order


# ---- the resolvers of glibc and musl, with a network and a resolv.conf of their own ----


@pytest.fixture
def own_mounts(env, namespace):
    """The test may replace files of the machine."""
    allowed = env._popen(["unshare", "--mount", "mount", "--bind", "/etc", "/etc"],
                           stderr=subprocess.PIPE, text=True)
    _, error = allowed.communicate(timeout=20)
    if allowed.returncode != 0:
        pytest.skip(f"may not mount a resolv.conf of its own: {error}")


@pytest.fixture
def resolve(env, own_mounts, tmp_path):
    """Runs a program that resolves names with the proxy on port 53, over TCP or UDP first."""
    def resolves(*command, options="", by="use-vc"):
        files = {"resolv.conf": f"nameserver 127.0.0.1\noptions {by} {options}\n",
                 "nsswitch.conf": "hosts: dns\n"}
        return run(env, *netns.with_own_etc(tmp_path / "etc", files), *command)
    return resolves


def listen_on_port_53(env, *scripts):
    server = env.upstream(*scripts)
    env.proxy(server, host="127.0.0.1", port=53)
    return server


def both(name):
    """The sorted result of getaddrinfo."""
    return sorted([expected_text(name, A), expected_text(name, AAAA)])


def found(out):
    return sorted({line.split()[0] for line in out.splitlines()})


def late(qtype, seconds=0.1):
    """One of the two responses is delayed."""
    async def asked(connection, query):
        if query.seen.qtype == qtype:
            await asyncio.sleep(seconds)
        await answer(connection, query)
    return Script(on_query=asked)


def without(missing):
    """The name has no records of that type."""
    async def asked(connection, query):
        if query.seen.qtype == missing:
            await connection.reply(query.answer(empty=True))
        else:
            await answer(connection, query)
    return Script(on_query=asked)


@table("script, name", ("at-once", Script(), "example.test"), ("A-is-late", late(A), "late-a.test"),
       ("AAAA-is-late", late(AAAA), "late-aaaa.test"),
       ("20-kB", Script(), "size-20000.test"))
def test_glibc_sends_both_questions_on_one_connection(env, namespace, resolve, script, name):
    server = listen_on_port_53(env, script)
    env.assert_ok(env.ask("warm.test"))
    before = connections(namespace)
    assert found(resolve("getent", "ahosts", name)) == both(name)
    assert sorted(query.seen.qtype for query in server.queries_for(name)) == [A, AAAA]
    assert connections(namespace) - before == 1


@pytest.mark.parametrize("options", ["edns0", "trust-ad edns0", "single-request",
                                     "single-request-reopen", "no-aaaa", "timeout:1 attempts:1"])
def test_glibc_with_other_options(env, resolve, options):
    listen_on_port_53(env)
    right = [expected_text("example.test", A)] if options == "no-aaaa" else both("example.test")
    assert found(resolve("getent", "ahosts", "example.test", options=options)) == right


def test_glibc_resolves_many_names(env, resolve):
    """One process repeats queries, and never confuses the two responses."""
    server = listen_on_port_53(env)
    names = [f"n{n}.test" for n in range(50)]
    program = ("import json, socket, sys; print(json.dumps([sorted({info[4][0] for info in "
               "socket.getaddrinfo(name, 80)}) for name in sys.argv[1:]]))")
    assert json.loads(resolve("/usr/bin/python3", "-c", program, *names)) \
        == [both(name) for name in names]
    assert len(server.queries) == 2 * len(names)
    assert len(server.connections) == 1


def test_glibc_gets_nxdomain(env, resolve):
    server = listen_on_port_53(env, faults.rcode(NXDOMAIN))
    program = ("import socket\ntry: socket.getaddrinfo('nothing.test', 80)\n"
               "except socket.gaierror as error: print(error.errno == socket.EAI_NONAME)")
    assert resolve("/usr/bin/python3", "-c", program) == "True\n"
    assert len(server.queries_for("nothing.test")) == 2


def test_glibc_reports_try_again_on_servfail(env, resolve):
    """On SERVFAIL it must report "try again" immediately, not "no such name"."""
    listen_on_port_53(env, faults.refuse)
    program = ("import socket\ntry: socket.getaddrinfo('example.test', 80)\n"
               "except socket.gaierror as error: print(error.errno == socket.EAI_AGAIN)")
    begin = now()
    assert resolve("/usr/bin/python3", "-c", program) == "True\n"
    env.within(2, begin)


# ---- by UDP: real clients, and forwarders of others before it ----


@pytest.fixture
def by_tcp(namespace):
    """How many connections were made so far but those of the proxy to a server."""
    return lambda server: connections(namespace) - len(server.connections)


@pytest.mark.parametrize("command", [("dig", "+tries=1", "+time=5"),
                                     ("kdig", "+retry=0", "+time=5")],
                         ids=["dig", "kdig"])
@pytest.mark.parametrize("options", ["", "+noedns", "+dnssec +bufsize=4096", "+ignore"])
def test_udp_clients(env, by_tcp, command, options):
    server = env.upstream()
    env.proxy(server)
    before = by_tcp(server)
    out = run(env, *command, "+short", *options.split(), *at(env), *QUESTIONS)
    assert out.split() == RIGHT
    assert by_tcp(server) == before
    assert len(server.queries) == len(SEVERAL)


@pytest.mark.parametrize("command", [("dig", "+tries=1", "+time=5"),
                                     ("kdig", "+retry=0", "+time=5")],
                         ids=["dig", "kdig"])
def test_truncated_udp_response_is_retried_over_tcp(env, by_tcp, command):
    """A response too large for UDP is truncated."""
    server = env.upstream()
    env.proxy(server)
    before = by_tcp(server)
    # kdig warns of it, and of nothing else.
    out = run(env, "sh", "-c", 'exec "$@" 2>&1', "sh", *command, *at(env), "size-9000.test", "A")
    assert "NOERROR" in out and expected_text("size-9000.test", A) in out, out
    assert len(re.findall("warning|truncated", out, re.I)) <= 2, out
    assert by_tcp(server) - before == 1


def test_dnsperf_over_udp(env, tmp_path):
    """2,000 queries of 20 clients: none is lost."""
    server = env.upstream()
    env.proxy(server)
    names = [f"n{n}.test" for n in range(2000)]
    dnsperf(env, tmp_path, "udp", env.proxies[-1].address, names)
    assert {query.name for query in server.queries} == set(names)


def test_dnspython_over_udp(env):
    env.proxy(env.upstream())
    host, port = env.proxies[-1].address
    for name, too_large in (("example.test", False), ("size-9000.test", True)):
        query = dns.message.make_query(name, "AAAA", use_edns=True)
        answer, used_tcp = dns.query.udp_with_fallback(query, host, 5, port)
        assert answer.answer[0][0].address == expected_text(name, AAAA)
        assert used_tcp == too_large


@table("script, name, too_large", ("at-once", Script(), "example.test", False),
       ("A-is-late", late(A), "late-a.test", False),
       ("AAAA-is-late", late(AAAA), "late-aaaa.test", False),
       ("20-kB", Script(), "size-20000.test", True))
def test_glibc_over_udp(env, resolve, by_tcp, script, name, too_large):
    """Both questions from one socket; large responses over TCP."""
    server = listen_on_port_53(env, script)
    before = by_tcp(server)
    assert found(resolve("getent", "ahosts", name, by="")) == both(name)
    assert {query.seen.qtype for query in server.queries_for(name)} == {A, AAAA}
    assert (by_tcp(server) > before) == too_large


@pytest.mark.parametrize("options", ["edns0", "trust-ad edns0", "single-request",
                                     "single-request-reopen", "no-aaaa"])
def test_glibc_over_udp_with_other_options(env, resolve, options):
    listen_on_port_53(env)
    right = [expected_text("example.test", A)] if options == "no-aaaa" else both("example.test")
    assert found(resolve("getent", "ahosts", "example.test", options=options, by="")) == right


@pytest.fixture(scope="session")
def musl(tmp_path_factory):
    """A program that resolves names with musl, and the version of musl."""
    program = tmp_path_factory.mktemp("musl") / "lookup"
    source = pathlib.Path(__file__).parent.parent / "lib/lookup.c"
    subprocess.run(["musl-gcc", "-static", "-o", program, source], check=True)
    loader, = pathlib.Path("/lib").glob("ld-musl-*.so.1")
    said = subprocess.run([loader], stderr=subprocess.PIPE, text=True).stderr
    version = re.search(r"Version (\d+)\.(\d+)\.(\d+)", said)
    return program, tuple(map(int, version.groups()))


@table("script, name", ("at-once", Script(), "example.test"), ("A-is-late", late(A), "late-a.test"),
       ("AAAA-is-late", late(AAAA), "late-aaaa.test"), ("A-only", without(AAAA), "only-a.test"),
       ("AAAA-only", without(A), "only-aaaa.test"))
def test_musl(env, resolve, by_tcp, musl, script, name):
    """Both questions from one socket; a missing type causes no delay."""
    server = listen_on_port_53(env, script)
    before = by_tcp(server)
    begin = now()
    out = resolve(musl[0], name, by="")
    env.within(1, begin)
    missing = {"only-a.test": AAAA, "only-aaaa.test": A}.get(name)
    assert sorted(out.split()) == sorted(expected_text(name, qtype) for qtype in (A, AAAA)
                                         if qtype != missing)
    assert sorted(query.seen.qtype for query in server.queries_for(name)) == [A, AAAA]
    assert by_tcp(server) == before


def test_musl_resolves_many_names(env, resolve, musl):
    """One process repeats queries, and never confuses the two responses."""
    server = listen_on_port_53(env)
    names = [f"n{n}.test" for n in range(300)]
    out = resolve(musl[0], *names, by="")
    assert [sorted(line.split()) for line in out.splitlines()] == [both(name) for name in names]
    assert len(server.queries) == 2 * len(names)


def test_musl_and_truncated_responses(env, resolve, by_tcp, musl):
    """musl accepts 512 bytes. Since 1.2.4 it retries over TCP; before, there is no answer."""
    program, version = musl
    server = listen_on_port_53(env)
    before = by_tcp(server)
    # A client without OPT does not get the upstream's OPT.
    fits, too_large = (f"size-{size + len(EDNS)}.test" for size in (512, 513))
    assert sorted(resolve(program, fits, by="").split()) == both(fits)
    assert by_tcp(server) == before
    out = resolve(program, too_large, by="")
    if version >= (1, 2, 4):
        assert sorted(out.split()) == both(too_large)
        assert by_tcp(server) > before
    else:
        assert out == "Name does not resolve\n"
        assert by_tcp(server) == before


@table("script, says", ("no-such-name", faults.rcode(NXDOMAIN), "Name does not resolve\n"),
       ("no-answer-from-upstream", faults.refuse, "Try again\n"))
def test_musl_retries_after_servfail(env, resolve, musl, script, says):
    """musl retries after SERVFAIL until its timeout."""
    listen_on_port_53(env, script)
    begin = now()
    assert resolve(musl[0], "example.test", options="timeout:1", by="") == says
    env.within(2, begin)


@pytest.fixture(params=[forwarders.Unbound, forwarders.Resolved, forwarders.ResolvedAsProxy],
                ids=["unbound", "systemd-resolved", "systemd-resolved-as-proxy"])
def forwarder(request, own_mounts, tmp_path):
    """Starts a resolver that forwards to the proxy of an env."""
    return lambda env: request.param(env, tmp_path)


def test_resolver_forwards_to_dot_proxy(env, by_tcp, forwarder):
    """Over UDP, and large responses over TCP."""
    server = env.upstream()
    env.proxy(server)
    resolver = forwarder(env)
    before = by_tcp(server)
    for name, qtype in SEVERAL:
        answer, _ = resolver.ask(name, qtype)
        assert [record.address for rrset in answer.answer for record in rrset] \
            == [expected_text(name, qtype)]
        assert len(server.queries_for(name)) <= 2
    assert {(query.name, query.seen.qtype) for query in server.queries} >= set(SEVERAL)
    assert by_tcp(server) == before
    large, we_used_tcp = resolver.ask("size-9000.test", A)
    assert large.answer[0][0].address == expected_text("size-9000.test", A)
    assert by_tcp(server) - before - we_used_tcp == 1
    resolver.stop()         # it would keep that connection for a while


def test_resolver_forwards_many_queries(env, by_tcp, forwarder, tmp_path):
    """600 names of 20 clients: none is lost."""
    server = env.upstream()
    env.proxy(server)
    resolver = forwarder(env)
    before = by_tcp(server)
    names = [f"n{n}.test" for n in range(600)]
    dnsperf(env, tmp_path, "udp", resolver.address, names)
    assert {query.name for query in server.queries} >= set(names)
    assert by_tcp(server) == before
