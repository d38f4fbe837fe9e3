"""Group G: names that are answered here: special-use names, `hosts', names of one label."""

import os
import re
import signal
import struct
import subprocess

import pytest

import dnsmsg
import processes
import proxy
from clock import wait_until
from dnsmsg import AA, AAAA, ANY, NOERROR, NXDOMAIN, QR, RA, RD, SOA, A, Query
from env import EDNS
from rows import row, table

MX, PTR, DS = 15, 12, 43
TYPES = [A, dnsmsg.NS, 5, SOA, PTR, MX, dnsmsg.TXT, AAAA, 33, 35, DS, 46, 47, 48, 52, 64, 65, ANY, 257,
         65280]
TTL = 60
SIGNATURES = {"TSIG": dnsmsg.record(b"\3key\0", 250, 255, 0, b"tsig"),
              "SIG-0": dnsmsg.record(b"\0", 24, 255, 0, b"\0\0sig0")}

# Zones, and whether they exist themselves.
ZONES = {"invalid": False, "test": False, "onion": False, "alt": False, "local": False,
         "internal": False, "home.arpa": True, "service.arpa": True, "10.in-addr.arpa": True,
         "16.172.in-addr.arpa": True, "31.172.in-addr.arpa": True, "168.192.in-addr.arpa": True,
         "64.100.in-addr.arpa": True, "127.100.in-addr.arpa": True, "0.in-addr.arpa": True,
         "127.in-addr.arpa": True, "254.169.in-addr.arpa": True, "2.0.192.in-addr.arpa": True,
         "100.51.198.in-addr.arpa": True, "113.0.203.in-addr.arpa": True,
         "255.255.255.255.in-addr.arpa": True, "0." * 32 + "ip6.arpa": True,
         "1." + "0." * 31 + "ip6.arpa": True, "d.f.ip6.arpa": True, "8.e.f.ip6.arpa": True,
         "b.e.f.ip6.arpa": True, "8.b.d.0.1.0.0.2.ip6.arpa": True, "0.f.f.f.3.ip6.arpa": True}
RESOLVER = "resolver.arpa"


@pytest.fixture(autouse=True)
def answers_differ(env):
    env.allow_wrong_responses = True        # these are not the answers of upstreams


def _soa_owner(wire):
    """The zone of the SOA in the authority section, which must be the only record there."""
    at = 12
    while wire[at]:
        at += 1 + wire[at]
    at += 5                                 # the rest of the question
    assert wire[at] == 0xc0                 # a pointer into the QNAME
    return ".".join(label.decode() for label in dnsmsg._read_name(wire, wire[at + 1])[0])


def _assert_negative(exchange, rcode, zone):
    seen = exchange.answer
    assert seen.rcode == rcode, f"{exchange.query}: {seen}"
    assert seen.counts[:3] == (1, 0, 1), f"{exchange.query}: {seen}"
    assert seen.flags & (QR | AA | RA | RD) == QR | RA | RD
    (_, rtype, rclass, ttl, rdata), = (r for r in seen.records if r[0] == 2)
    assert (rtype, rclass, ttl) == (SOA, dnsmsg.IN, TTL)
    assert struct.unpack("!I", rdata[-4:]) == (TTL,)
    assert _soa_owner(seen.wire).lower() == zone


def _assert_data(exchange, *rdatas, rcode=NOERROR):
    seen = exchange.answer
    assert seen.rcode == rcode and seen.counts[:3] == (1, len(rdatas), 0), f"{exchange.query}: {seen}"
    assert seen.flags & (QR | AA | RA | RD) == QR | RA | RD
    assert [r[4] for r in seen.records if r[0] == 1] == list(rdatas)
    assert all(r[3] == TTL for r in seen.records if r[0] == 1)


def _a(text):
    return bytes(map(int, text.split(".")))


def _ptr(name):
    return dnsmsg.name_wire(dnsmsg.labels(name))


def _reload(env, **changes):
    """Reloads a changed configuration; waits until only new workers are there."""
    running = env.proxies[-1]
    before, old = len(running.lines("configuration reloaded")), running.workers()
    env.config = {key: value for key, value in {**env.config, **changes}.items()
                  if value is not None}
    os.rename(proxy.write_config(f"{env.config_path}.new", env.config), env.config_path)
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines("configuration reloaded")) > before, 5,
               f"reloads:\n{running.log_text()}")
    wait_until(lambda: not set(old) & set(running.workers()), 5, "the old workers exit")
    processes.wait_all_serving(running, env.config["workers"])


# Special-use names.


@row("G-13")
def test_special_use_zones_have_no_data(env):
    """Of each zone: itself, a name below, and one two labels below in another case."""
    server = env.upstream()
    env.proxy(server, local_names=True)
    clients = env.client(), env.datagrams()
    for zone, exists in ZONES.items():
        for n, qtype in enumerate(TYPES):
            client = clients[n % 2]
            if (zone, qtype) != ("home.arpa", DS):
                _assert_negative(client.ask(zone, qtype=qtype),
                                 NOERROR if exists else NXDOMAIN, zone)
            _assert_negative(client.ask(f"7.{zone}", qtype=qtype), NXDOMAIN, zone)
            _assert_negative(client.ask(f"a.B.{zone.upper()}", qtype=qtype), NXDOMAIN, zone)
    assert server.connections == []


@row("G-13")
def test_resolver_arpa_has_no_data(env):
    server = env.upstream()
    env.proxy(server, local_names=True)
    client = env.client()
    for qtype in TYPES:
        _assert_negative(client.ask(RESOLVER, qtype=qtype), NOERROR, RESOLVER)
        _assert_negative(client.ask(f"_dns.{RESOLVER}", qtype=qtype), NOERROR, RESOLVER)
    assert server.connections == []


@row("G-13")
def test_localhost_has_the_loopback_addresses(env):
    server = env.upstream()
    env.proxy(server, local_names=True)
    client = env.client()
    v4, v6 = _a("127.0.0.1"), bytes(15) + b"\1"
    for name in ("localhost", "LocalHost", "a.b.localhost"):
        for qtype in TYPES:
            exchange = client.ask(name, qtype=qtype)
            if qtype in (A, AAAA, ANY):
                _assert_data(exchange, *{A: [v4], AAAA: [v6], ANY: [v4, v6]}[qtype])
            else:
                _assert_negative(exchange, NOERROR, "localhost")
    assert server.connections == []


@table("name, qtype", ("G-13-not-a-label", "notlocal", A), ("G-13-longer-label", "a.xtest", A),
       ("G-13-in-front", "localhost.example", A), ("G-13-172.15", "1.0.15.172.in-addr.arpa", PTR),
       ("G-13-172.32", "1.0.32.172.in-addr.arpa", PTR), ("G-13-172", "172.in-addr.arpa", SOA),
       ("G-13-100.63", "1.0.63.100.in-addr.arpa", PTR),
       ("G-13-100.128", "1.0.128.100.in-addr.arpa", PTR), ("G-13-fc00", "c.f.ip6.arpa", PTR),
       ("G-13-fec0", "c.e.f.ip6.arpa", PTR), ("G-13-arpa", "arpa", dnsmsg.NS),
       ("G-13-root", ".", dnsmsg.NS), ("G-13-single-label", "printer", A))
def test_names_outside_special_use_zones_are_forwarded(env, name, qtype):
    server = env.upstream()
    env.proxy(server, local_names=True)
    env.assert_ok(env.ask(name, qtype=qtype))
    assert len(server.arrived) == 1


@table("qclass", ("G-13-class-CH", dnsmsg.CH), ("G-13-class-ANY", 255))
def test_other_classes_are_forwarded(env, qclass):
    server = env.upstream()
    env.proxy(server, local_names=True)
    env.assert_ok(env.ask("a.test", qclass=qclass))
    assert server.queries_for("a.test")


@row("G-13")
def test_negative_answer_says_why(env):
    env.proxy(env.upstream(), local_names=True)
    for name, text in (("a.test", "local_names: special-use name"),
                       ("1.10.in-addr.arpa", "local_names: reverse zone"),
                       (RESOLVER, "RFC 9462")):
        seen = env.ask(Query(name, edns=EDNS)).answer
        assert seen.counts == (1, 0, 1, 1)
        (code, said), = seen.ede
        assert code == 0 and text in said
    assert env.ask(Query("localhost", edns=EDNS)).answer.ede == []


@row("G-13")
def test_query_log_says_local(env):
    running = env.proxy(env.upstream(), local_names=True, log={"queries": True},
                        hosts={"printer.lan": "192.168.1.9"})
    names = ("a.test", "localhost", "printer.lan", "a.example")
    for name in names:
        env.ask(name)

    def seen():
        return [(line["source"], line["outcome"]) for line in running.lines("query")
                if line["name"].rstrip(".") in names]

    wait_until(lambda: len(seen()) == 4, 2)
    assert seen() == [("local", "answered here")] * 3 + [("upstream", "answered")]


@row("G-13")
def test_client_not_allowed_gets_no_local_answer(env):
    env.proxy(env.upstream(), allow=["127.0.0.1/32"], local_names=True)
    for name in ("localhost", "a.test", RESOLVER):
        assert env.client(source="127.0.0.2").ask(name).rcode == dnsmsg.REFUSED


@table("name, qtype", ("G-14-DS-of-home.arpa", "home.arpa", DS),
       ("G-14-ipv4only.arpa-A", "ipv4only.arpa", A),
       ("G-14-ipv4only.arpa-AAAA", "ipv4only.arpa", AAAA),
       ("G-14-ipv4only.arpa-PTR", "170.0.0.192.in-addr.arpa", PTR))
def test_names_that_upstreams_must_answer_are_forwarded(env, name, qtype):
    server = env.upstream()
    env.proxy(server, local_names=True)
    env.assert_ok(env.ask(name, qtype=qtype))
    assert server.queries_for(name)


@row("G-15")
def test_without_local_names_all_are_forwarded(env):
    server = env.upstream()
    env.proxy(server, local_names=False)
    client = env.client()
    for zone in [*ZONES, "localhost"]:
        env.assert_ok(client.ask(zone))
        env.assert_ok(client.ask(f"a.{zone}", qtype=PTR))
    _assert_negative(client.ask(f"_dns.{RESOLVER}", qtype=64), NOERROR, RESOLVER)
    assert len(server.queries) == 2 * len(ZONES) + 2


@pytest.mark.parametrize("signature", [pytest.param(signature, id=f"G-18-{name}")
                                       for name, signature in SIGNATURES.items()])
def test_signed_queries_get_unsigned_answers_that_say_so(env, signature):
    server = env.upstream()
    env.proxy(server, local_names=True, hosts={"printer.lan": "192.168.1.9"})
    client = env.client()

    def ask(name, qtype=A):
        message = struct.pack("!6H", 4711, RD, 1, 0, 0, 2) + Query(name, qtype).question + EDNS
        exchange, = client.send(message + signature)
        client.receive_until(exchange)
        (code, text), = exchange.answer.ede
        assert code == 0 and "not signed" in text
        assert [r[1] for r in exchange.answer.records if r[0] == 3] == [dnsmsg.OPT]
        return exchange

    _assert_data(ask("printer.lan"), _a("192.168.1.9"))
    _assert_data(ask("localhost"), _a("127.0.0.1"))
    _assert_negative(ask("printer.lan", MX), NOERROR, "printer.lan")
    _assert_negative(ask("a.test"), NXDOMAIN, "test")
    assert server.connections == []
    crossing, = client.send(struct.pack("!6H", 4711, RD, 1, 0, 0, 1) + Query("a.example").question
                            + signature)
    client.receive_until(crossing)
    seen, = server.queries
    assert seen.seen.wire.endswith(signature)


# Routes.


@row("G-23")
def test_route_goes_before_names_that_are_answered_here(env):
    default, routed = env.upstream(), env.upstream()
    env.proxy(default, local_names=True, hosts={"a.corp.example": "10.0.0.1", "nas.lan": "10.0.0.2"},
              routes=[{"domains": ["internal", "10.0.0.0/8", "corp.example"], "upstreams": [routed]},
                      {"domains": ["dev.test"], "upstreams": "default"},
                      {"domains": ["localhost"], "answer": "refused"}])
    client = env.client()
    for name in ("db.internal", "1.0.0.10.in-addr.arpa", "a.corp.example"):
        env.assert_ok(client.ask(name))
        assert routed.queries_for(name)
    env.assert_ok(client.ask("x.dev.test"))
    assert [query.name for query in default.queries] == ["x.dev.test"]
    assert client.ask("localhost").rcode == dnsmsg.REFUSED
    _assert_negative(client.ask("x.test"), NXDOMAIN, "test")
    _assert_data(client.ask("nas.lan"), _a("10.0.0.2"))


@row("G-23")
def test_resolver_arpa_is_answered_here_whatever_routes_say(env):
    default, routed = env.upstream(), env.upstream()
    env.proxy(default, local_names=True, routes=[{"domains": ["arpa"], "upstreams": [routed]}])
    _assert_negative(env.ask(f"_dns.{RESOLVER}", qtype=64), NOERROR, RESOLVER)
    env.assert_ok(env.ask("1.10.in-addr.arpa", qtype=PTR))
    assert [query.name for query in routed.queries] == ["1.10.in-addr.arpa"]


# Names of one label.


@row("G-21")
def test_single_labels_are_answered_here(env):
    server = env.upstream()
    env.proxy(server, single_labels="nxdomain", hosts={"nas": "10.0.0.1"})
    client = env.client()
    for qtype in TYPES:
        exchange = client.ask("printer", qtype=qtype)
        if qtype in (dnsmsg.NS, DS, SOA, 48):
            env.assert_ok(exchange)
        else:
            _assert_negative(exchange, NXDOMAIN, "printer")
    assert len(server.queries) == 4
    _assert_data(client.ask("nas"), _a("10.0.0.1"))
    env.assert_ok(client.ask("printer.example"))
    env.assert_ok(client.ask(".", qtype=dnsmsg.NS))


# Hosts.

HOSTS = {"Printer.lan.": "192.168.1.9", "db": ["10.0.0.5", "fd00::5", "10.0.0.6"]}
V6 = b"\xfd" + bytes(14) + b"\5"


@table("local_names", ("G-22-with-local-names", True), ("G-22-alone", False))
def test_hosts_are_answered_here(env, local_names):
    server = env.upstream()
    env.proxy(server, hosts=HOSTS, local_names=local_names)
    for client in (env.client(), env.datagrams()):
        _assert_data(client.ask("printer.LAN"), _a("192.168.1.9"))
        _assert_data(client.ask("db"), _a("10.0.0.5"), _a("10.0.0.6"))
        _assert_data(client.ask("db", qtype=AAAA), V6)
        _assert_data(client.ask("db", qtype=ANY), _a("10.0.0.5"), V6, _a("10.0.0.6"))
        _assert_data(client.ask("9.1.168.192.in-addr.arpa", qtype=PTR), _ptr("printer.lan"))
        _assert_data(client.ask("5." + "0." * 29 + "d.f.ip6.arpa", qtype=PTR), _ptr("db"))
        for qtype in set(TYPES) - {A, AAAA, ANY}:
            _assert_negative(client.ask("db", qtype=qtype), NOERROR, "db")
        assert server.connections == []
    for name in ("below.db", "lan"):
        env.assert_ok(env.ask(name))


@row("G-22")
def test_local_answers_come_while_upstreams_are_down(env):
    env.proxy("127.0.0.1:1", hosts=HOSTS, local_names=True)
    _assert_data(env.ask("db", qtype=AAAA), V6)
    _assert_data(env.ask("localhost"), _a("127.0.0.1"))


@row("G-22")
def test_hosts_file_is_read(env, tmp_path):
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
                                    "fe80::1%lo localhost\n192.168.1.9 NAS.lan nas\n"
                                    "192.168.1.10 db\n")
    server = env.upstream()
    env.proxy(server, hosts=HOSTS, hosts_file=str(tmp_path / "hosts"))
    client = env.client()
    _assert_data(client.ask("nas.lan"), _a("192.168.1.9"))
    _assert_data(client.ask("nas"), _a("192.168.1.9"))
    _assert_data(client.ask("db"), _a("10.0.0.5"), _a("10.0.0.6"))
    _assert_data(client.ask("localhost", qtype=ANY), _a("127.0.0.1"), bytes(15) + b"\1")
    _assert_data(client.ask("1.0.0.127.in-addr.arpa", qtype=PTR), _ptr("localhost"))
    assert server.connections == []


@row("G-22")
def test_reload_reads_hosts_again(env, tmp_path):
    path = tmp_path / "hosts"
    path.write_text("192.168.1.1 gone.lan stays.lan\n")
    env.proxy(env.upstream(), hosts={"a.lan": "10.0.0.1"}, hosts_file=str(path))
    _assert_data(env.ask("a.lan"), _a("10.0.0.1"))
    _assert_data(env.ask("gone.lan"), _a("192.168.1.1"))
    path.write_text("192.168.1.2 stays.lan\n")
    _assert_data(env.ask("stays.lan"), _a("192.168.1.1"))
    _reload(env, hosts={"b.lan": "10.0.0.2"})
    _assert_data(env.ask("b.lan"), _a("10.0.0.2"))
    _assert_data(env.ask("stays.lan"), _a("192.168.1.2"))
    for name in ("a.lan", "gone.lan"):
        env.assert_ok(env.ask(name))
    _reload(env, hosts=None, hosts_file=None)
    env.assert_ok(env.ask("b.lan"))


@row("G-22")
def test_reload_with_a_bad_hosts_file_changes_nothing(env, tmp_path):
    path = tmp_path / "hosts"
    path.write_text("192.168.1.1 nas.lan\n")
    running = env.proxy(env.upstream(), hosts_file=str(path))
    for bad, cause in (("192.168.1.2 nas.lan\n192.168.1 other.lan\n", f"{path}:2:1: `192.168.1' is"),
                       (None, f"hosts file {path}: No such file")):
        before = len(running.lines("reload failed"))
        if bad is None:
            path.unlink()
        else:
            path.write_text(bad)
        running.signal(signal.SIGHUP)
        wait_until(lambda: len(running.lines("reload failed")) > before, 5)
        assert running.lines("reload failed")[-1]["cause"].startswith(cause)
        _assert_data(env.ask("nas.lan"), _a("192.168.1.1"))


@row("G-22")
def test_many_addresses_are_truncated_over_udp(env, tmp_path):
    (tmp_path / "hosts").write_text("".join(f"10.0.0.{n} many.lan\n" for n in range(256)))
    env.proxy(env.upstream(), hosts_file=str(tmp_path / "hosts"))
    seen = env.datagrams().ask("many.lan").answer
    assert seen.flags & dnsmsg.TC and seen.counts == (1, 0, 0, 0)
    _assert_data(env.ask("many.lan"), *(_a(f"10.0.0.{n}") for n in range(256)))


@row("G-22")
def test_large_hosts_file(env, tmp_path):
    """Some 4 MiB of blocked names: served at once, and in shared memory pages of all workers."""
    (tmp_path / "hosts").write_text("".join(f"0.0.0.0 ads{n}.tracker{n // 7}.example\n"
                                            for n in range(100_000)))
    env.proxy(env.upstream(), hosts_file=str(tmp_path / "hosts"), workers=2)
    client = env.client()
    for n in range(0, 100_000, 9999):
        _assert_data(client.ask(f"ads{n}.tracker{n // 7}.example"), bytes(4))
    env.assert_ok(client.ask("ads1.tracker1.example"))


# What is reported.


def _check(tmp_path, text):
    (tmp_path / "config.yml").write_text("upstreams: [192.0.2.1#dns.example]\n" + text)
    (tmp_path / "config.yml").chmod(0o644)
    return subprocess.run([proxy.BINARY, "check"], cwd=tmp_path, capture_output=True, text=True,
                          timeout=10)


@table("hosts, message", ("F-22-not-an-address", "10.0.0.1 a\n10.0.0 b\n",
                          ":2:1: `10.0.0' is not an IP address"),
       ("F-22-name-first", "nas 10.0.0.1\n", ":1:1: `nas' is not an IP address"),
       ("F-22-no-name", "10.0.0.1\n", ":1:1: no name after the address"),
       ("F-22-bad-name", "10.0.0.1 a b_..c\n", ":1:12: `b_..c' has an empty label"),
       ("F-22-missing", None, ": No such file or directory"))
def test_check_reports_mistakes_in_a_hosts_file(tmp_path, authority, monkeypatch, hosts, message):
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    if hosts is not None:
        (tmp_path / "hosts").write_text(hosts)
    done = _check(tmp_path, "hosts_file: hosts\n")
    assert done.returncode == 2
    where = "hosts" if hosts is not None else "hosts file hosts"
    assert f"config.yml:2:13: {where}{message}" in done.stderr


@row("F-22")
def test_check_prints_hosts(tmp_path, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    done = _check(tmp_path, "hosts: {Printer.lan: 192.168.1.9, db: [10.0.0.5, 'fd00::5']}\n"
                            "hosts_file: /dev/../etc/hosts\nsingle_labels: nxdomain\n")
    assert done.returncode == 0, done.stderr
    assert re.search(r'^local_names: true\nsingle_labels: nxdomain\nhosts:\n'
                     r'  "Printer.lan": \["192.168.1.9"\]\n  "db": \["10.0.0.5", "fd00::5"\]\n'
                     r'hosts_file: "/dev/../etc/hosts"$', done.stdout, re.M)


@row("F-22")
def test_start_with_a_bad_hosts_file_is_refused(env, tmp_path):
    (tmp_path / "hosts").write_text("10.0.0.256 a\n")
    running = env.proxy(env.upstream(), hosts_file=str(tmp_path / "hosts"), start=False)
    assert running.wait() == 2
    cause = running.lines("cannot start")[0]["cause"]
    assert cause.startswith(f"{tmp_path}/hosts:1:1: `10.0.0.256' is not an IP address")
