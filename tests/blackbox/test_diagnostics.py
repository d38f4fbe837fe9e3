"""
Group F: mistakes in configurations and command lines. Each message has the place (file, line and
column, or the word of the command line), the problem and the fix.
"""

import os
import re
import signal
import socket
import subprocess

import pytest

import proxy
from clock import now, wait_until
from rows import row, table
from test_config import run
from upstream import own_address

GOOD = "upstreams: [192.0.2.1#dns.test]\n"
PIN = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
IN_USE = "192.0.2.7"                    # of no interface here (RFC 5737)


def says(done, place, cause, cure):
    """Exit status 2, and a line with the place, the cause and the fix, in this order."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    for line in done.stderr.splitlines():
        if line.startswith(f"{place}: "):
            said = line.removeprefix(f"{place}: ")
            assert cause in said, line
            assert cure in said[said.index(cause) + len(cause):], line
            return
    raise AssertionError(f"nothing about {place}:\n{done.stderr}")


@pytest.fixture
def configured(tmp_path):
    def write(text):
        (tmp_path / "config.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "config.yml").chmod(0o644)
    return write


def upstream(name, written, cause, cure):
    """An entry of `upstreams', quoted so that YAML does not interpret it."""
    return (f"F-17-upstream-{name}", f"upstreams: ['{written}']\n", "1:13", f"`{written}' {cause}",
            cure)


def listener(name, written, cause, cure):
    return (f"F-17-listen-{name}", f"{GOOD}listen: '{written}'\n", "2:9", f"`{written}' {cause}",
            cure)


def key(program, written, cure, value="x"):
    return (f"F-17-{program}-{written}", f"{GOOD}{written}: {value}\n", "2:1",
            f"unknown key `{written}'", cure)


def upstream_key(program, written, cure):
    return (f"F-17-{program}-{written}", f"upstreams:\n  - address: 192.0.2.1\n    {written}: x\n",
            "3:5", f"unknown key `{written}'", cure)


ALWAYS_TLS = "leave it out: upstreams are always queried over verified TLS"
A_LIST = "write `upstreams: [9.9.9.9#dns.quad9.net]'"
AS_DOT = "as in `9.9.9.9#dns.quad9.net'"


@table("text, place, cause, cure",
       # Addresses in the notation of other programs.
       upstream("tls", "tls://1.1.1.1", "has a scheme", "write `1.1.1.1'"),
       upstream("tls-port", "tls://1.1.1.1:853", "has a scheme", "write `1.1.1.1:853'"),
       upstream("tls-name", "tls://1.1.1.1#one.test", "has a scheme", "write `1.1.1.1#one.test'"),
       upstream("tls-IPv6", "tls://[2001:db8::1]:853", "has a scheme",
                'write "[2001:db8::1]:853"'),
       upstream("tls-slash", "tls://1.1.1.1/", "has a scheme", "write `1.1.1.1'"),
       upstream("tls-host", "tls://dns.test", "has a scheme and a host name",
                "as in `192.0.2.1#dns.test'"),
       upstream("tls-host-port", "tls://dns.test:853", "has a scheme and a host name",
                "as in `192.0.2.1#dns.test'"),
       upstream("tcp-tls", "tcp-tls:1.1.1.1:853", "has a scheme", "write `1.1.1.1:853'"),
       upstream("tcp-tls-host", "tcp-tls:dns.test:853", "has a scheme and a host name",
                "as in `192.0.2.1#dns.test'"),
       upstream("tcp-tls-name", "tcp-tls://1.1.1.1@853#one.test", "has a scheme",
                "write `1.1.1.1:853#one.test'"),
       upstream("dot", "dot://1.1.1.1", "has a scheme", "write `1.1.1.1'"),
       upstream("sdns", "sdns://AwAAAAAAAAAACTkuOS45Ljk", "is a DNS stamp", AS_DOT),
       upstream("https", "https://dns.test/dns-query", "is a URL for DNS over HTTPS", AS_DOT),
       upstream("https-address", "https://1.1.1.1/dns-query", "is a URL for DNS over HTTPS",
                AS_DOT),
       upstream("h3", "h3://dns.test/dns-query", "is a URL for DNS over HTTPS", AS_DOT),
       upstream("quic", "quic://dns.test", "is a URL for DNS over QUIC", AS_DOT),
       upstream("udp", "udp://1.1.1.1:53", "has a scheme for DNS without TLS", "write `1.1.1.1'"),
       upstream("tcp", "tcp://1.1.1.1", "has a scheme for DNS without TLS", "write `1.1.1.1'"),
       upstream("at", "1.1.1.1@853", "has its port after `@'", "write `1.1.1.1:853'"),
       upstream("at-name", "1.1.1.1@853#one.test", "has its port after `@'",
                "write `1.1.1.1:853#one.test'"),
       upstream("at-IPv6", "2001:db8::1@853#one.test", "has its port after `@'",
                'write "[2001:db8::1]:853#one.test"'),
       upstream("hash", "127.0.0.1#5300", "has its port after `#'", "write `127.0.0.1:5300'"),
       upstream("name-port", "1.1.1.1#one.test:853", "has its port after the host name",
                "write `1.1.1.1:853#one.test'"),
       upstream("name-at-port", "1.1.1.1#one.test@853", "has its port after the host name",
                "write `1.1.1.1:853#one.test'"),
       upstream("port-as-group", "2606:4700::1111:853", "is ambiguous",
                'write "[2606:4700::1111]:853" for port 853, or "[2606:4700::1111:853]" for'),
       upstream("no-brackets", "2606:4700::1111:85300", "has a port that is not a number",
                'as in "[2606:4700::1111]:853"'),
       upstream("no-brackets-port", "2606:4700::1111:18853",
                "has a port but no brackets around the address",
                'write "[2606:4700::1111]:18853"'),
       upstream("host", "dns.test", "is a host name, and names are not looked up",
                "as in `192.0.2.1#dns.test'"),
       upstream("host-port", "dns.test:853", "is a host name, and names are not looked up",
                "as in `192.0.2.1#dns.test'"),
       upstream("range", "1.1.1.1/32", "is a range", "write one address"),
       upstream("several", "1.1.1.1, 8.8.8.8", "has more than one address", "write a list"),
       upstream("several-words", "1.1.1.1 8.8.8.8", "has more than one address", "write a list"),
       upstream("brackets", "[1.1.1.1]:853", "has brackets, which are for IPv6",
                "write `1.1.1.1:853'"),
       upstream("domain", "[/example.test/]1.1.1.1", "is for some names only",
                "write it in `routes', as in {domains: corp.example, upstreams: 10.1.1.1}"),
       upstream("name-only", "#one.test", "has no address", AS_DOT),
       upstream("port-0", "1.1.1.1:0", "has a port that is not a number from 1 to 65535",
                "as in `1.1.1.1:853'"),
       upstream("port-name", "1.1.1.1:domain-s#one.test", "has a port that is not a number",
                "as in `1.1.1.1:853#one.test'"),
       upstream("wrong", "1.1.1.256", "is not an IP address", "as in 192.0.2.1"),
       ("F-17-upstream-wildcard", "upstreams: [0.0.0.0]\n", "1:13",
        "upstream address must not be a wildcard", "write the server's address"),
       ("F-17-address-hash", "upstreams: [{address: '1.1.1.1#one.test'}]\n", "1:23",
        "has a host name after the `#'", "write it as `hostname'"),
       ("F-17-address-port", "upstreams: [{address: '2606:4700::1111:853'}]\n", "1:23",
        "is ambiguous", 'write "[2606:4700::1111]:853" for port 853'),
       ("F-17-address-host", "upstreams: [{address: dns.test}]\n", "1:23",
        "is a host name, and names are not looked up", "the name as `hostname'"),
       ("F-17-port-twice", "upstreams: {address: '9.9.9.9:853', port: 853}\n", "1:37",
        "repeated port", "leave one out"),
       listener("hash", "127.0.0.1#5300", "has its port after `#'", "write `127.0.0.1:5300'"),
       listener("at", "127.0.0.1@5300", "has its port after `@'", "write `127.0.0.1:5300'"),
       listener("port-too-large", "0.0.0.0:99999",
                "has a port that is not a number from 1 to 65535",
                "as in `0.0.0.0:53'"),
       listener("port-as-group", "::1:53", "is ambiguous",
                'write "[::1]:53" for port 53, or "[::1:53]" for'),
       listener("scheme", "udp://127.0.0.1:53", "has a scheme", "write `127.0.0.1:53'"),
       listener("dns", "dns://.:53", "has a scheme", "as in `127.0.0.1:53'"),
       listener("port", "53", "has no address", "as in `127.0.0.1:53'"),
       listener("colon-port", ":53", "has no address", '`0.0.0.0:53\' or "[::]:53" listen on all'),
       listener("star", "*:53", "has no address", "as in `127.0.0.1:53'"),
       listener("localhost", "localhost:53", "is a host name, and names are not looked up",
                "as in `127.0.0.1:53'"),
       listener("multicast", "224.0.0.251:5353", "is a multicast or broadcast address",
                "write a unicast address"),
       listener("multicast-IPv6", "ff02::1%lo", "is a multicast or broadcast address",
                "write a unicast address"),
       upstream("broadcast", "255.255.255.255", "is a multicast or broadcast address",
                "write a unicast address"),
       listener("interface", "2001:db8::1%nowhere", "has an unknown interface", "`ip link' shows"),
       ("F-17-star-without-quotes", f"{GOOD}listen: *:53\n", "2:10", "not YAML: `*' cannot begin",
        "without quotes"),
       ("F-17-colon-at-the-end", f"{GOOD}listen: 127.0.0.1:\n", "2:18",
        "not YAML: mapping values are not allowed", "put a value that ends in a colon in quotes"),
       ("F-17-INI", "[server]\nlisten = 53\n", "2:1", "not YAML: ", "write `key: value' lines"),
       ("F-17-empty-list", f"{GOOD}listen: []\n", "2:9", "the list is empty",
        "write one entry at least"),
       ("F-17-step-too-long", f"{GOOD}timeouts: {{connect: 5s}}\n", "2:12",
        "`connect' is longer than `query'", "change one of the two"),
       ("F-17-empty-path", f"{GOOD}tls: {{ca_file: ''}}\n", "2:16", "the path is empty",
        "leave the key out"),
       ("F-17-wildcard-name", "upstreams: ['192.0.2.1#*.one.test']\n", "1:13",
        "has characters that are not allowed in a host name", "write letters, digits"),
       ("F-17-IPv6-in-a-list", f"{GOOD}listen: [127.0.0.1, ::1]\n", "2:21",
        "not YAML: an address that begins with a colon", 'needs quotes here, as in "::1"'),

       # Values where maps should be, and other formats.
       ("F-17-log-level", f"{GOOD}log: debug\n", "2:6", "found a single value",
        "as in `{level: debug}'"),
       ("F-17-timeouts", f"{GOOD}timeouts: 5s\n", "2:11", "found a single value",
        "as in `{query: 5s}'"),
       ("F-17-tls-file", f"{GOOD}tls: /etc/ca.pem\n", "2:6", "found a single value",
        "as in `{ca_file: /etc/ca.pem}'"),
       ("F-17-clients", f"{GOOD}clients: 100\n", "2:10", "found a single value",
        "as in `{max: 100}'"),
       ("F-17-fallback-list", f"{GOOD}fallback: [9.9.9.9]\n", "2:11", "found a list",
        "as in `{after: ...}'"),
       ("F-17-Corefile", ".:53 {\n    forward . tls://1.1.1.1 {\n"
        "        tls_servername one.test\n    }\n}\n", "1:1", "found a block as of a Corefile",
        "write YAML, as in `upstreams: ...'"),
       ("F-17-TOML", 'server_names = ["one"]\n', "1:1", "expected keys and values",
        "write `key: value', with a colon and a space"),
       ("F-17-resolv.conf", "nameserver 1.1.1.1\n", "1:1", "found a single value",
        "as in `{upstreams: "),
       ("F-17-UTF-16", "\ufeffupstreams: [1.1.1.1]\n".encode("utf-16-le"), "1:1",
        "not UTF-8 text", "UTF-16 (save it as UTF-8)"),
       ("F-17-empty", "", "1:1", "file is empty", "write at least `upstreams'"),
       ("F-17-no-unit", f"{GOOD}timeouts: {{query: 4500}}\n", "2:19", "`4500' has no unit",
        "as in 1500ms, 2s, 1m"),
       ("F-17-bool", f"{GOOD}privacy: {{padding: yes}}\n", "2:20", "expected true or false",
        "found `yes'"),
       ("F-17-unknown-key", f"{GOOD}log: {{file: /var/log/dns}}\n", "2:7", "unknown key `file'",
        "one of: level, queries"),
       ("F-17-address-as-key", "upstreams: {1.1.1.1: one.test}\n", "1:13",
        "unknown key `1.1.1.1'", "entries such as 192.0.2.1#host.name"),
       ("F-17-pin-HPKP", f"upstreams: [{{address: 1.1.1.1, pins: ['pin-sha256=\"{PIN}\"']}}]\n",
        "1:39", "has more than the value", f'write "{PIN}"'),
       ("F-17-pin-curl", f"upstreams: [{{address: 1.1.1.1, pins: ['sha256//{PIN}']}}]\n", "1:39",
        "has more than the value", f'write "{PIN}"'),
       ("F-17-pin-stubby",
        f"upstreams: [{{address: 1.1.1.1, pins: [{{digest: sha256, value: '{PIN}'}}]}}]\n",
        "1:39", "expected a pin, found keys and values", "write only the value"),
       ("F-17-pin-hex", f"upstreams: [{{address: 1.1.1.1, pins: [{'ab' * 32}]}}]\n", "1:39",
        "not a pin", "base64 of a SHA-256, 44 characters"),

       # Keys of other programs.
       key("stubby", "resolution_type", "leave it out: queries are always forwarded"),
       key("stubby", "dns_transport_list", ALWAYS_TLS),
       key("stubby", "tls_authentication", ALWAYS_TLS),
       key("stubby", "tls_query_padding_blocksize", "write `privacy: {padding: true}'", "128"),
       key("stubby", "edns_client_subnet_private", "write `privacy: {client_subnet: false}'"),
       key("stubby", "round_robin_upstreams", "write `order'"),
       key("stubby", "idle_timeout", "write `timeouts: {upstream_idle: 8s}'", "10000"),
       key("stubby", "timeout", "write `timeouts: {query: 4500ms}'", "5000"),
       key("stubby", "listen_addresses", "write `listen'"),
       key("stubby", "upstream_recursive_servers", "write `upstreams'"),
       key("stubby", "tls_ca_file", "write `tls: {ca_file: ...}'"),
       upstream_key("stubby", "tls_auth_name", "write `hostname'"),
       upstream_key("stubby", "tls_pubkey_pinset", "write `pins'"),
       upstream_key("stubby", "tls_port", "write `port'"),
       upstream_key("stubby", "address_data", "write `address'"),
       key("unbound", "server", "its options are at the top level", "{interface: 127.0.0.1}"),
       key("unbound", "forward-zone", A_LIST, "{name: '.', forward-addr: 1.1.1.1@853#one.test}"),
       key("unbound", "interface", "write `listen'"),
       key("unbound", "access-control", "write `allow: [10.0.0.0/8]'"),
       key("unbound", "forward-addr", A_LIST),
       key("unbound", "forward-tls-upstream", ALWAYS_TLS),
       key("unbound", "tls-cert-bundle", "write `tls: {ca_file: ...}'"),
       key("unbound", "num-threads", "write `workers'", "4"),
       key("unbound", "msg-cache-size", "write `cache: {size: 4MiB}'", "50m"),
       key("unbound", "cache-max-ttl", "write `cache: {max_ttl: 1d}'", "86400"),
       key("unbound", "serve-expired", "write `cache: {stale: 1d}'", "yes"),
       key("unbound", "verbosity", "write `log: {level: info}'", "1"),
       key("CoreDNS", "forward", A_LIST),
       key("CoreDNS", "bind", "write `listen'"),
       key("dnsproxy", "cache-size", "write `cache: {size: 4MiB}'", "4194304"),
       key("CoreDNS", "max_concurrent", "write `inflight'", "1000"),
       upstream_key("CoreDNS", "tls_servername", "write `hostname'"),
       key("dnsproxy", "upstream", "did you mean `upstreams'?", "[tls://1.1.1.1]"),
       key("dnsproxy", "listen-addrs", "write `listen'"),
       key("dnsproxy", "listen-ports", "write `listen: 0.0.0.0:53'", "[53]"),
       key("dnsproxy", "bootstrap", "names are not looked up"),
       key("dnsproxy", "upstream-mode", "write `order: fastest'"),
       key("dnsproxy", "insecure", ALWAYS_TLS, "true"),
       key("cloudflared", "proxy-dns-upstream", A_LIST),
       key("blocky", "bootstrapDns", "names are not looked up"),
       # Keys of dot-proxy in the wrong mapping.
       key("here", "level", "write `log: {level: ...}'"),
       key("here", "stale", "write `cache: {stale: ...}'", "1d"),
       key("here", "query", "write `timeouts: {query: ...}'"),
       key("here", "ca_file", "write `tls: {ca_file: ...}'"),
       key("here", "port", "write it after the address", "53"),
       key("here", "hostname", "write it next to `address'"))
def test_configuration_error_has_place_cause_and_fix(tmp_path, configured, text, place,
                                                           cause, cure):
    configured(text)
    for command in ([], ["check"]):
        says(run(tmp_path, *command), f"config.yml:{place}", cause, cure)


@table("text",
       ("F-17-byte-order-mark", "\ufeffupstreams: [192.0.2.1#dns.test]\n"),
       ("F-17-JSON", '{"upstreams": ["192.0.2.1#dns.test"], "log": {"level": "debug"}}\n'),
       ("F-17-CRLF", "upstreams:\r\n  - 192.0.2.1#dns.test\r\n"),
       ("F-17-port-of-its-own", "upstreams: [{address: '2001:db8::1:853', port: 853}]\n"),
       ("F-17-brackets", "upstreams: ['[2001:db8::1:853]']\n"),
       ("F-17-group-like-a-port", "upstreams: ['2620:119:53::53']\n"))
def test_unambiguous_notation_is_accepted(tmp_path, configured, monkeypatch, authority, text):
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    configured(text)
    done = run(tmp_path, "check")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "again.yml").write_text(done.stdout)
    assert run(tmp_path, "-c", "again.yml", "check").stdout == done.stdout


# F-16: mistakes that depend on this machine and on other files.


@table("text, place, cause, cure",
       ("F-16-user", "user: no-such-user\n", "1:7", "user no-such-user: no such user",
        "use a name in /etc/passwd"),
       ("F-16-user-root", "user: 0\n", "1:7", "user 0: no such user",
        "a number above 0"),
       ("F-16-CA-missing", "tls: {ca_file: none.pem}\n", "1:16",
        "CA file none.pem: No such file or directory", "check the path"),
       ("F-16-CA-empty", "tls: {ca_file: empty}\n", "1:16", "CA file empty: ", "must contain PEM"),
       ("F-16-CA-of-an-upstream",
        "tls: {ca_file: ca.pem}\n"
        "upstreams:\n  - 192.0.2.1\n  - {address: 192.0.2.2, ca_file: empty}\n", "4:35",
        "CA file empty: ", "must contain PEM"),
       ("F-16-CRL-missing", "tls: {ca_file: ca.pem, crl_file: none.crl}\n", "1:34",
        "CRL file none.crl: No such file or directory", "check the path"),
       ("F-16-CRL-of-an-upstream",
        "tls: {ca_file: ca.pem}\nupstreams:\n"
        "  - {address: 192.0.2.2, ca_file: ca.pem, crl_file: empty}\n", "3:53",
        "CRL file empty: ", "must contain PEM"),
       ("F-16-pin-missing",
        "upstreams:\n  - {address: 192.0.2.2, verify: pins}\n", "2:26",
        "`verify: pins' without `pins'", "`dot-proxy probe' prints them"),
       ("F-16-pin-wrong",
        "upstreams:\n  - {address: 192.0.2.2, pins: [abc]}\n", "2:33", "not a pin: `abc'",
        "`dot-proxy probe' prints it"),
       ("F-16-address", f"listen: ['{IN_USE}:5399']\n", "1:10",
        f"listen on {IN_USE}:5399: Cannot assign requested address", "`ip address' lists"),
       ("F-16-address-of-a-map", f"listen:\n  - {{address: {IN_USE}, tcp: false}}\n", "2:15",
        f"listen on {IN_USE}:53: Cannot assign requested address", "`ip address' lists"),
       ("F-16-loop", "listen: 127.0.0.1:853\nupstreams: [127.0.0.1]\n", "2:13",
        "a loop: dot-proxy itself listens on 127.0.0.1:853", "change one of the two"),
       ("F-16-neither", "listen: {address: 127.0.0.1, udp: false, tcp: false}\n", "1:9",
        "at least one of `udp', `tcp'", "must be true"))
def test_check_finds_startup_errors(tmp_path, configured, monkeypatch, authority,
                                                 text, place, cause, cure):
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    (tmp_path / "empty").write_bytes(b"")
    os.symlink(authority.path, tmp_path / "ca.pem")
    if "upstreams:" not in text:
        text += GOOD
    configured(text)
    says(run(tmp_path, "check"), f"config.yml:{place}", cause, cure)
    instead = [] if "listen" in text else ["-l", f"{own_address()}:5300"]
    assert run(tmp_path, *instead).returncode != 0


@table("address", ("F-16-one-address-of-two", f"{IN_USE}:5399"),
       ("F-20-interface", "[fe80::77%vpn0]:5399"))
def test_check_warns_about_a_missing_listen_address(tmp_path, configured, monkeypatch,
                                                         authority, address):
    """The start succeeds, since the other address is served."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    configured(f"listen: [127.0.0.1, '{address}']\n{GOOD}")
    done = run(tmp_path, "check")
    assert done.returncode == 0
    assert f"config.yml:1:21: listen on {address}: " in done.stderr, done.stderr
    assert f'- "{address}"' in done.stdout


def test_check_reports_all_errors_in_line_order(tmp_path, configured):
    configured(f"user: no-such-user\nlisten: ['{IN_USE}']\ntls: {{ca_file: none.pem}}\n{GOOD}")
    done = run(tmp_path, "check")
    places = re.findall(r"^config\.yml:(\d+):\d+: ", done.stderr, re.M)
    assert (done.returncode, places) == (2, ["1", "2", "3"])


def test_check_passes_if_the_port_is_in_use(tmp_path, configured, monkeypatch, authority):
    """As when dot-proxy is running already."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(tcp.getsockname())
        configured(f"{GOOD}listen: 127.0.0.1:{tcp.getsockname()[1]}\n")
        assert run(tmp_path, "check").returncode == 0


def test_check_warns_about_workers_as_root(tmp_path, configured, monkeypatch, authority):
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    configured(f"{GOOD}user: root\n")
    done = run(tmp_path, "check")
    assert done.returncode == 0
    assert done.stderr == ("config.yml:2:7: user root: workers run as root "
                           "(leave `user' out, or name an unprivileged user)\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_check_warns_about_the_privilege_to_change_user(tmp_path, configured, authority):
    configured(f"{GOOD}user: daemon\ntls: {{ca_file: ca.pem}}\n")
    (tmp_path / "ca.pem").write_bytes(open(authority.path, "rb").read())
    (tmp_path / "dot-proxy").write_bytes(open(proxy.BINARY, "rb").read())
    for name, mode in ((".", 0o755), ("ca.pem", 0o644), ("dot-proxy", 0o755)):
        (tmp_path / name).chmod(mode)
    done = subprocess.run(["./dot-proxy", "check"], cwd=tmp_path, user=65532, group=65532,
                          extra_groups=[], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ("config.yml:2:7: user daemon: changing to this user needs CAP_SETUID "
                           "and CAP_SETGID (start as root, or leave `user' out)\n")


# F-18: the command line.


def word(name, args, at, cause, cure):
    return f"F-18-{name}", args, at, cause, cure


@table("args, at, cause, cure",
       word("command", ["chekc"], "`chekc'", "unknown command", "did you mean `check'?"),
       word("command-cut", ["health"], "`health'", "unknown command", "write `healthcheck'"),
       word("command-case", ["CHECK"], "`CHECK'", "unknown command", "did you mean `check'?"),
       word("command-serve", ["serve"], "`serve'", "unknown command",
            "without a command it serves"),
       word("command-test", ["configtest"], "`configtest'", "unknown command", "write `check'"),
       word("command-reload", ["reload"], "`reload'", "unknown command", "send SIGHUP"),
       word("command-help", ["help"], "`help'", "unknown command", "write `--help'"),
       word("command-unknown", ["frobnicate"], "`frobnicate'", "unknown command",
            "write check, probe, healthcheck or schema"),
       word("command-empty", [""], "`'", "unknown command",
            "write check, probe, healthcheck or schema"),
       word("file", ["/etc/dot-proxy/config.yml"], "`/etc/dot-proxy/config.yml'",
            "unknown command", "write `-c /etc/dot-proxy/config.yml'"),
       word("file-behind-command", ["check", "other.yml"], "`other.yml'", "unknown argument",
            "write `-c other.yml'"),
       word("address", ["127.0.0.1:53"], "`127.0.0.1:53'", "unknown command",
            "write `-l 127.0.0.1:53'"),
       word("address-of-an-upstream", ["probe", "1.1.1.1"], "`1.1.1.1'", "unknown argument",
            "upstreams are set in the configuration"),
       word("option-signal", ["-s", "reload"], "`-s'", "unknown option", "send SIGHUP"),
       word("option-short-value", ["-v=1", "check"], "`-v=1'", "`-v' takes no value",
            "write it alone"),
       word("two-commands", ["check", "probe"], "`probe'", "a second command, after `check'",
            "give one"),
       word("command-twice", ["check", "check"], "`check'", "a second command", "give one"),
       word("option", ["--upsteam", "healthcheck"], "`--upsteam'", "unknown option",
            "did you mean `--upstream'?"),
       word("option-cut", ["--vers"], "`--vers'", "unknown option", "did you mean `--version'?"),
       word("option-unknown", ["--frobnicate"], "`--frobnicate'", "unknown option",
            "`dot-proxy --help' shows all"),
       word("option-long", ["--config=/x.yml"], "`--config=/x.yml'", "unknown option",
            "write `-c FILE'"),
       word("option-listen", ["--listen", "127.0.0.1"], "`--listen'", "unknown option",
            "write `-l ADDRESS:PORT'"),
       word("option-port", ["-p", "5353"], "`-p'", "unknown option", "write `-l ADDRESS:PORT'"),
       word("option-verbose", ["--verbose"], "`--verbose'", "unknown option", "write `-v'"),
       word("option-version", ["-V"], "`-V'", "unknown option", "write `--version'"),
       word("option-test", ["-t"], "`-t'", "unknown option", "write `dot-proxy check'"),
       word("option-daemon", ["-D"], "`-D'", "unknown option", "it stays in the foreground"),
       word("option-user", ["--user=dns"], "`--user=dns'", "unknown option",
            "write `user' in the configuration"),
       word("option-in-a-word", ["-vx"], "`-vx'", "unknown option `-x'",
            "`dot-proxy --help' shows all"),
       word("option-dash", ["-config", "x"], "`-config'", "unknown option", "write `-c FILE'"),
       word("option-value", ["healthcheck", "--upstream=1.1.1.1"], "`--upstream=1.1.1.1'",
            "`--upstream' takes no value", "write `--upstream' alone"),
       word("two-files", ["-c", "a.yml", "-c", "b.yml", "check"], "`-c b.yml'",
            "`-c' was given before, as `a.yml'", "give one of the two"),
       word("two-addresses", ["-l", "127.0.0.1", "-l", "127.0.0.2"], "`-l 127.0.0.2'",
            "`-l' was given before, as `127.0.0.1'", "give one of the two"),
       word("verbose-twice", ["-vv"], "`-v'", "given twice", "give it once"),
       word("ready-twice", ["healthcheck", "--ready", "--ready"], "`--ready'", "given twice",
            "give it once"),
       word("no-file", ["check", "-c"], "`-c'", "needs a file",
            "as in `-c config.yml'"),
       word("no-file-but-option", ["-c", "-v", "check"], "`-c'", "needs a file before `-v'",
            "as in `-c config.yml'"),
       word("empty-file", ["-c", "", "check"], "`-c'", "needs a file", "as in `-c config.yml'"),
       word("equals", ["-c=config.yml", "check"], "`-c=config.yml'",
            "`=' between option and value", "write `-c config.yml'"),
       word("standard-input", ["-c", "-", "check"], "`-c -'", "standard input is not read",
            "write it to a file"),
       word("no-address", ["-l"], "`-l'", "needs an address",
            "as in `-l 127.0.0.1:53'"),
       word("address-host", ["-l", "localhost"], "-l", "`localhost' is a host name",
            "as in `127.0.0.1:53'"),
       word("address-hash", ["-l", "127.0.0.1#5300"], "-l",
            "`127.0.0.1#5300' has its port after `#'", "write `127.0.0.1:5300'"),
       word("address-port", ["-l", "5353"], "-l", "`5353' has no address", "as in `127.0.0.1:53'"),
       word("address-port-too-large", ["-l", "0.0.0.0:99999"], "-l",
            "`0.0.0.0:99999' has a port that is not a number", "as in `0.0.0.0:53'"),
       word("address-ambiguous", ["-l", "::1:53"], "-l", "`::1:53' is ambiguous",
            'write "[::1]:53" for port 53'),
       word("address-of-no-interface", ["-l", IN_USE, "check"], "-l",
            f"listen on {IN_USE}:53: Cannot assign requested address", "`ip address' lists"),
       word("address-loop", ["-l", "192.0.2.1:853", "check"], "-l",
            "`192.0.2.1:853' is an upstream: a loop", "name another address or port"),
       word("both", ["healthcheck", "--upstream", "--ready"], "`--ready'",
            "cannot be combined with `--upstream'", "give one of the two"),
       word("not-with-check", ["check", "--ready"], "`--ready'", "not valid with `check'",
            "write `dot-proxy healthcheck --ready'"),
       word("not-with-probe", ["--upstream", "probe"], "`--upstream'", "not valid with `probe'",
            "write `dot-proxy healthcheck --upstream'"),
       word("not-with-serving", ["--upstream"], "`--upstream'", "only valid with `healthcheck'",
            "write `dot-proxy healthcheck --upstream'"))
def test_command_line_error_has_word_cause_and_fix(tmp_path, configured, monkeypatch,
                                                         authority, args, at, cause, cure):
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    configured(GOOD)
    done = run(tmp_path, *args)
    says(done, f"dot-proxy: {at}", cause, cure)
    assert len(done.stderr.splitlines()) == 1


@table("args", ("F-18-h", ["-h"]), ("F-18-help", ["--help"]),
       ("F-18-h-behind-a-command", ["check", "-h"]), ("F-18-h-in-a-word", ["-vh"]))
def test_help_is_printed_on_standard_output(tmp_path, args):
    done = run(tmp_path, *args)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: dot-proxy ")


@table("args", ("F-18-options-first", ["-v", "-c", "other.yml", "check"]),
       ("F-18-options-last", ["check", "-c", "other.yml", "-v"]),
       ("F-18-options-in-a-word", ["-vcother.yml", "check"]),
       ("F-18-two-dashes", ["-c", "other.yml", "--", "check"]))
def test_options_are_accepted_in_any_position(tmp_path, monkeypatch, authority, args):
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    (tmp_path / "other.yml").write_text(GOOD)
    done = run(tmp_path, *args)
    assert (done.returncode, done.stderr) == (0, "")


# F-15: special files.


def make_fifo(path):
    os.mkfifo(path)


def make_directory(path):
    os.mkdir(path)


def make_device(path):
    os.symlink("/dev/zero", path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def make_huge(path):
    with open(path, "wb") as file:
        file.truncate(1 << 30)


NO_FILES = [("FIFO", make_fifo, "is a FIFO, not a regular file", "write the content to a file"),
            ("directory", make_directory, "is a directory", "give the path of a file"),
            ("device", make_device, "is a device, not a regular file",
             "write the content to a file"),
            ("socket", make_socket, "is a socket, not a regular file",
             "write the content to a file"),
            ("1-GiB", make_huge, "is larger than ", "check that this is the right file")]
FILES = [("config", "config.yml", "config.yml: "),
         ("CA", "tls: {ca_file: odd.pem}\n", "CA file odd.pem "),
         ("CRL", "tls: {ca_file: ca.pem, crl_file: odd.pem}\n", "CRL file odd.pem ")]


@table("make, cause, cure, text, what",
       *((f"F-15-{what}-{name}", make, cause, cure, text, said)
         for what, text, said in FILES for name, make, cause, cure in NO_FILES))
def test_special_file_is_an_error_at_once(tmp_path, configured, authority, make, cause, cure,
                                             text, what):
    os.symlink(authority.path, tmp_path / "ca.pem")
    if text == "config.yml":
        make(tmp_path / text)
    else:
        make(tmp_path / "odd.pem")
        configured(GOOD + text)
    for command in (["-l", f"{own_address()}:5300"], ["check"]):
        done = subprocess.run([proxy.BINARY, *command], cwd=tmp_path, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=10)
        assert done.returncode == 2
        said = done.stderr.replace('"', "").replace("file odd.pem:", "file odd.pem")
        assert what + cause in said, done.stderr
        assert cure in said


@table("make, cause, of",
       *((f"F-15-{what}-{name}", make, cause, what)
         for what in ("config", "CA", "CRL") for name, make, cause, _ in NO_FILES))
def test_reload_of_a_special_file_does_not_block(env, tmp_path, make, cause, of):
    odd = str(tmp_path / "odd.pem")
    running = env.proxy(env.upstream(), reload="signal")
    if of == "config":
        os.unlink(env.config_path)
        make(env.config_path)
    else:
        make(odd)
        tls = {"ca_file": odd} if of == "CA" else {"ca_file": env.authority.path,
                                                    "crl_file": odd}
        proxy.write_config(env.config_path, {**env.config, "tls": tls})
    begin = now()
    running.signal(signal.SIGHUP)
    line = running.wait_line("reload failed")
    env.within(1, begin)
    assert cause in line.text
    # The supervisor still works.
    worker, = running.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: running.workers() not in ([], [worker]), 2, "the worker is replaced")
    env.assert_ok(env.ask("after.test"))
