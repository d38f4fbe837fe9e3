"""Group F: what `check' and the start report about a configuration."""

import os
import shutil
import subprocess

import pytest

import proxy
from rows import row, table
from upstream import own_address

GOOD = b"upstreams: [192.0.2.1#dns.test]\n"
TOO_LONG = b"a" * 64
FORMS = ("is not an IP address "
         "(as in 192.0.2.1, 192.0.2.1:853, 2001:db8::1, \"[2001:db8::1]:853\")")
ALL_KEYS = (" (one of: upstreams, routes, listen, tls, timeouts, order, fallback, cache, local_names, "
            "single_labels, hosts, hosts_file, inflight, udp_size, workers, clients, allow, "
            "reload, user, sandbox, privacy, log)")


def run(directory, *args):
    """Runs the program in the directory; it must exit without a signal."""
    return subprocess.run([proxy.BINARY, *args], cwd=directory, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)


def refused(directory, *messages, args=()):
    """`check' and the start print the same messages and exit with the same status."""
    for command in ([], ["check"]):
        done = run(directory, *args, *command)
        assert done.stderr.splitlines() == list(messages)
        assert done.stdout == ""
        assert done.returncode == 2


@pytest.fixture
def config(tmp_path, authority):
    """Writes config.yml, with the CA file of the tests unless it is not trusted."""
    def write(text, trusted=True):
        tls = f"tls: {{ca_file: {authority.path}}}\n".encode() if trusted else b""
        (tmp_path / "config.yml").write_bytes(text + tls)
        (tmp_path / "config.yml").chmod(0o644)
    return write


def accepted_output(directory, *args):
    """What `check' prints for a valid configuration, and its warnings."""
    done = run(directory, *args, "check")
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


# F-01: files that are not a configuration.


@row("F-01-missing")
def test_missing_file(tmp_path):
    refused(tmp_path, "config.yml: No such file or directory (check the path; it is "
            "relative to the working directory unless it begins with `/')")


@row("F-01-unreadable")
def test_unreadable_file(tmp_path):
    refused(tmp_path, "/proc/self/mem: cannot read: Input/output error",
            args=["-c", "/proc/self/mem"])


@row("F-01-directory")
def test_directory(tmp_path):
    refused(tmp_path,
            "/: is a directory (give the path of a file; container engines make a directory "
            "where the file to mount is missing)", args=["-c", "/"])


@row("F-01-1-GB")
def test_huge_file(tmp_path):
    with open(tmp_path / "config.yml", "wb") as file:
        file.truncate(1 << 30)
    refused(tmp_path, "config.yml: is larger than 4096 KiB (check that this is the right file)")


@table("text, messages",
       ("F-01-empty", b"", ["1:1: file is empty (write at least `upstreams')"]),
       ("F-01-NUL", GOOD + b"log\0", ["2:4: not text: a NUL byte"]),
       ("F-01-not-UTF-8", GOOD + b"# \xfc\n",
        ["2:3: not UTF-8 text: invalid leading UTF-8 octet"]),
       # F-02: YAML that is not a configuration.
       ("F-02-unknown-key", b"upstreams:\n  - adress: 192.0.2.1\n    address: 192.0.2.1\n",
        ["2:5: unknown key `adress' (did you mean `address'?)"]),
       ("F-02-duplicate-key", GOOD + b"inflight: 1\ninflight: 1\n",
        ["3:1: repeated key `inflight' (line 2 has `inflight' already)"]),
       ("F-02-wrong-type", GOOD + b"log: info\ninflight: [1]\n",
        ["2:6: expected keys and values, found a single value (as in `{level: info}')",
         "3:11: expected a number, found a list"]),
       ("F-02-negative-number", GOOD + b"inflight: -1\n",
        ["2:11: expected a number from 1 to 16384, found `-1'"]),
       ("F-02-overflowing-number", GOOD + b"inflight: 18446744073709551617\n",
        ["2:11: expected a number from 1 to 16384, found `18446744073709551617'"]),
       ("F-02-tabs", GOOD + b"log:\n\tlevel: info\n",
        ["3:1: not YAML: tab in the indentation (use spaces)"]),
       ("F-02-alias-cycle", b"upstreams: &u [*u]\n",
        ["1:12: expected an upstream, found a list"]),
       ("F-02-billion-laughs",
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [%s]\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 9))
                                    for n in b"bcdefghi") + b"upstreams: *i\n",
        [f"{n}:1: unknown key `{key}'{ALL_KEYS}" for n, key in enumerate("abcdefgh", 1)]
        + ["8:4: expected an upstream, found a list"] * 9 + [f"9:1: unknown key `i'{ALL_KEYS}"]),
       ("F-02-deep-nesting", b"upstreams: " + b"[" * 200_000,
        ["1:27: nested deeper than 16 levels"]),
       ("F-02-second-document", GOOD + b"---\n" + GOOD,
        ["3:1: a second document begins here; there can be only one"]),
       ("F-02-all-errors", b"inflight: 0\nupstreams: [x y]\nlog: {level: loud}\n",
        ["1:11: expected a number from 1 to 16384, found `0'",
         f"2:13: `x y' {FORMS}",
         "3:14: expected error, warn, info or debug, found `loud'"]),
       # F-06, F-07: upstreams that cannot work.
       ("F-06-no-upstreams", b"upstreams: []\n",
        ["1:12: the list is empty (write one entry at least)"]),
       ("F-06-upstreams-missing", b"log: {level: info}\n",
        ["1:1: missing key `upstreams': the servers to ask"]),
       ("F-06-loop", b"listen: '[::1]:853'\nupstreams: ['::1']\n",
        ["2:13: a loop: dot-proxy itself listens on [::1]:853 "
         "(change one of the two)"]),
       ("F-06-loop-by-wildcard", b"listen: 0.0.0.0:8853\nupstreams: ['127.0.0.9:8853']\n",
        ["2:13: a loop: dot-proxy itself listens on 0.0.0.0:8853 "
         "(change one of the two)"]),
       ("F-07", b"upstreams: ['192.0.2.1:53']\n",
        ["1:13: port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is"]),
       # F-08: times.
       ("F-08-zero", GOOD + b"timeouts: {query: 0}\n",
        ["2:19: expected a time from 100ms to 9s, found `0'"]),
       ("F-08-tiny", GOOD + b"timeouts: {handshake: 1ms}\n",
        ["2:23: expected a time from 10ms to 9s, found `1ms'"]),
       ("F-08-huge", GOOD + b"timeouts: {query: 1m}\n",
        ["2:19: expected a time from 100ms to 9s, found `1m'"]),
       ("F-08-step-larger-than-total", GOOD + b"timeouts: {query: 1s, connect: 2s}\n",
        ["2:23: `connect' is longer than `query', which it is a part of (change one of the two)"]),
       ("F-08-no-unit", GOOD + b"timeouts: {query: 5}\n",
        ["2:19: `5' has no unit (as in 1500ms, 2s, 1m)"]),
       ("F-08-not-whole-seconds", GOOD + b"cache: {max_ttl: 1500ms}\n",
        ["2:18: expected a time in whole seconds (as in 5s, 1m), found `1500ms'"]),
       ("F-08-kept-too-long", GOOD + b"cache: {max_ttl: 8d, stale: 25d}\n",
        ["2:18: expected a time from 1s to 7d, found `8d'",
         "2:29: expected a time from 0 to 7d, found `25d'"]),
       ("F-08-min-over-max", GOOD + b"cache: {max_ttl: 1m, min_ttl: 61s}\n",
        ["2:22: `min_ttl' is longer than `max_ttl' (change one of the two)"]),
       ("F-08-stale-after-the-deadline", GOOD + b"cache: {stale_after: 5s}\n",
        ["2:9: `stale_after' is longer than `timeouts.query', in which a query is answered "
         "(change one of the two)"]),
       # F-21: the size of the cache.
       ("F-21-no-unit", GOOD + b"cache: {size: 4194304}\n",
        ["2:15: `4194304' has no unit (as in 512KiB, 4MiB, 1GiB)"]),
       ("F-21-other-unit", GOOD + b"cache: {size: 4MB}\n",
        ["2:15: expected a size from 126KiB to 4GiB, or 0, found `4MB'"]),
       ("F-21-too-large", GOOD + b"cache: {size: 5GiB}\n",
        ["2:15: expected a size from 126KiB to 4GiB, or 0, found `5GiB'"]),
       ("F-21-overflow", GOOD + b"cache: {size: 18446744073709551616GiB}\n",
        ["2:15: expected a size from 126KiB to 4GiB, or 0, found `18446744073709551616GiB'"]),
       ("F-21-negative", GOOD + b"cache: {size: -1MiB}\n",
        ["2:15: expected a size from 126KiB to 4GiB, or 0, found `-1MiB'"]),
       ("F-21-alone", GOOD + b"cache: 8MiB\n",
        ["2:8: expected keys and values, found a single value (as in `{size: 8MiB}')"]),
       ("F-21-too-small", GOOD + b"cache: {size: 1MiB}\nworkers: 64\n",
        ["2:9: `size' 1MiB is too small for 64 workers "
         "(write 3528KiB or more, or 0 for no cache)"]),
       # F-10: names that cannot be checked against a certificate.
       ("F-10-empty", b"upstreams: {address: 192.0.2.1, hostname: ''}\n",
        ["1:43: host name `' is empty; without `hostname' the certificate must name the address"]),
       ("F-10-leading-dot", b"upstreams: [192.0.2.1#.test]\n",
        ["1:13: host name `.test' begins with a dot"]),
       ("F-10-trailing-dot", b"upstreams: [192.0.2.1#dns.test.]\n",
        ["1:13: host name `dns.test.' ends with a dot; leave it off"]),
       ("F-10-IDN", "upstreams: [192.0.2.1#bücher.test]\n".encode(),
        ["1:13: host name `bücher.test' is not ASCII; "
         "write international names in their `xn--' form"]),
       ("F-10-300-characters", b"upstreams: [192.0.2.1#" + b"abcd." * 60 + b"test]\n",
        [f"1:13: host name `{'abcd.' * 16}' has more than 253 characters"]),
       ("F-10-label-of-64", b"upstreams: [192.0.2.1#" + TOO_LONG + b".test]\n",
        [f"1:13: host name `{TOO_LONG.decode()}.test' "
         "has more than 63 characters between two dots"]),
       ("F-10-address", b"upstreams: [192.0.2.1#192.0.2.1]\n",
        ["1:13: host name `192.0.2.1' is an address; "
         "without `hostname' the certificate must name the address"]),
       # F-13: invalid addresses.
       ("F-13-host-name", b"upstreams: [dns.test]\n",
        ["1:13: `dns.test' is a host name, and names are not looked up "
         "(write its address before it, as in `192.0.2.1#dns.test')"]),
       ("F-13-brackets-without-quotes", GOOD + b"listen: [::1]:53\n",
        ["2:10: not YAML: an address in brackets needs quotes, as in \"[::1]:53\""]),
       ("F-13-unknown-zone", b"upstreams: ['fe80::1%nowhere']\n",
        ["1:13: `fe80::1%nowhere' has an unknown interface (`ip link' shows those there are)"]),
       ("F-13-zone-missing", b"upstreams: ['fe80::1']\n",
        ["1:13: `fe80::1' needs its interface, as in fe80::1%eth0"]),
       ("F-13-IPv4-mapped", GOOD + b"listen: '[::ffff:127.0.0.1]:53'\n",
        ["2:9: `[::ffff:127.0.0.1]:53' is an IPv4 address; write it as one, as in 192.0.2.1"]),
       ("F-13-port-out-of-range", GOOD + b"listen: 127.0.0.1:65536\n",
        ["2:9: `127.0.0.1:65536' has a port that is not a number from 1 to 65535 "
         "(write one, as in `127.0.0.1:53')"]))
def test_invalid_configuration_is_refused(tmp_path, config, text, messages):
    config(text, trusted=False)
    refused(tmp_path, *(f"config.yml:{message}" for message in messages))


@table("listen",
       ("F-06-loop-by-option", "127.0.0.1:853"),
       ("F-06-loop-by-option-and-wildcard", "0.0.0.0:853"),
       ("F-13-host-name-as-option", "localhost"),
       ("F-13-port-0-as-option", "127.0.0.1:0"),
       ("F-13-zone-missing-as-option", "fe80::1"),
       ("F-13-IPv4-mapped-as-option", "[::ffff:127.0.0.1]:53"))
def test_invalid_listen_option_is_refused(tmp_path, config, listen):
    config(b"upstreams: [127.0.0.1]\n")
    for command in ([], ["check"]):
        done = run(tmp_path, "-l", listen, *command)
        assert done.returncode == 2
        assert listen in done.stderr
        assert done.stdout == ""


@row("F-06-twice")
def test_duplicate_upstream_is_dropped(tmp_path, config):
    config(b"upstreams:\n  - 192.0.2.1#dns.test\n  - 192.0.2.1:853#DNS.test\n")
    printed, warnings = accepted_output(tmp_path)
    assert printed.count("192.0.2.1") == 1
    assert warnings == ["config.yml:3:5: the same upstream as on line 2; left out"]


# F-09: CA files without certificates.


@table("content",
       ("F-09-missing", None),
       ("F-09-empty", b""),
       ("F-09-no-certificates",
        b"-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"),
       ("F-09-directory", "directory"))
def test_ca_file_without_certificates(tmp_path, config, content):
    if content == "directory":
        (tmp_path / "ca.pem").mkdir()
    elif content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    config(GOOD + b"tls: {ca_file: ca.pem}\n", trusted=False)
    for command in (["-l", f"{own_address()}:5300"], ["check"]):
        done = run(tmp_path, *command)
        assert done.returncode == 2
        assert "ca.pem" in done.stderr
        assert done.stdout == ""


# F-11: files that other users can write to.


@row("F-11-world-writable")
def test_world_writable_file_is_a_warning(tmp_path, config):
    config(GOOD)
    (tmp_path / "config.yml").chmod(0o646)
    _, warnings = accepted_output(tmp_path)
    assert warnings == ["config.yml: file is world-writable (fix: chmod o-w)"]


@table("user, owner, warnings",
       ("F-11-foreign-owner", 0, 12345,
        ["config.yml: file is owned by uid 12345 but used by root (fix: chown root)"]),
       ("F-11-foreign-owner-mounted", 65532, 12345, []),
       ("F-11-own", 65532, 65532, []))
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_foreign_owner_is_a_warning_for_root(tmp_path, config, user, owner, warnings):
    config(GOOD, trusted=False)
    os.chown(tmp_path / "config.yml", owner, owner)
    tmp_path.chmod(0o755)
    shutil.copy(proxy.BINARY, tmp_path / "dot-proxy")
    done = subprocess.run(["./dot-proxy", "check"], cwd=tmp_path, user=user, group=user,
                          extra_groups=[], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20)
    assert (done.returncode, done.stderr.splitlines()) == (0, warnings)


# Valid configurations.


@table("written, address",
       ("F-13-IPv4", "192.0.2.1", "192.0.2.1:53"),
       ("F-13-IPv4-port", "192.0.2.1:8853", "192.0.2.1:8853"),
       ("F-13-IPv6", "2001:DB8::1", "[2001:db8::1]:53"),
       ("F-13-IPv6-port", "[2001:db8::1]:8853", "[2001:db8::1]:8853"),
       ("F-13-IPv6-brackets", "[2001:db8::1]", "[2001:db8::1]:53"),
       ("F-13-zone", "fe80::1%lo", "[fe80::1%lo]:53"),
       ("F-13-zone-port", "[fe80::1%lo]:8853", "[fe80::1%lo]:8853"))
def test_address_notations(tmp_path, config, any_address, written, address):
    config(GOOD + f"listen: '{written}'\n".encode())
    printed, warnings = any_address(accepted_output, tmp_path)
    assert f"\nlisten:\n  - \"{address}\"\ntls:\n" in printed
    assert warnings == []
    config(GOOD)
    assert any_address(accepted_output, tmp_path, "-l", written) == (printed, [])


def test_output_of_check_is_an_equal_configuration(tmp_path, config):
    config(b"upstreams: [192.0.2.1, {address: '2001:db8::1', port: 8853, hostname: dns.test}]\n"
           b"timeouts: {query: 2s, client_idle: 0}\nallow: [any]\nlog: {level: debug}\n")
    printed, warnings = accepted_output(tmp_path)
    assert warnings == []
    (tmp_path / "again.yml").write_text(printed)
    assert accepted_output(tmp_path, "-c", "again.yml") == (printed, [])


def test_file_of_the_previous_version_means_the_same(tmp_path, config):
    config(b"DNS_SERVERS:\n  - 192.0.2.1\n  - 192.0.2.2\nSOCKET_ADDRESS: 127.0.0.1:5353\n")
    ancestors = accepted_output(tmp_path)
    config(b"upstreams: [192.0.2.1, 192.0.2.2]\nlisten: 127.0.0.1:5353\n")
    assert accepted_output(tmp_path) == ancestors


def test_shipped_file_is_valid():
    printed, warnings = accepted_output(os.path.join(os.path.dirname(__file__), "..", ".."))
    assert warnings == []
    assert printed.count("- address: ") == 4
    assert printed.count("hostname: ") == 4
