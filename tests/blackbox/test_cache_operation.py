"""Group K: the cache as operators see it: configuration, log, counters, signals, reload."""

import os
import re
import signal
import subprocess

import pytest
import yaml

import answers
import caching
import certs
import dnsmsg
import faults
import processes
import proxy
from answers import failure, negative, positive, serve, version
from caching import MIB, PLAIN, STALE, written
from clock import wait_until
from dnsmsg import RD, Query
from env import EDNS
from rows import row, table

RELAY = {"timeouts": {"upstream_idle": "0s", "client_idle": "0s"}, "inflight": 1}


def _check(env):
    """The configuration that `check' prints for the one of the proxy."""
    done = subprocess.run([proxy.BINARY, "-c", env.config_path, "check"], capture_output=True,
                          text=True, timeout=10)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def _reload(env, **changes):
    """Reloads a changed configuration; waits until only new workers are there."""
    running = env.proxies[-1]
    before, old = len(running.lines("configuration reloaded")), running.workers()
    env.config = {**env.config, **changes}
    path = proxy.write_config(f"{env.config_path}.new", env.config)
    os.rename(path, env.config_path)
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines("configuration reloaded")) > before, 5,
               f"reloads:\n{running.log_text()}")
    wait_until(lambda: not set(old) & set(running.workers()), 5, "the old workers exit")
    processes.wait_all_serving(running, env.config["workers"])


# Configuration.


def test_check_prints_the_settings_of_the_cache(env):
    env.proxy(env.upstream(), cache={"size": written(2 * MIB), "min_ttl": "5s", "stale": 0})
    shown = _check(env)["cache"]
    assert shown["min_ttl"] == "5s" and str(shown["stale"]) in ("0", "0s")
    assert {"size", "max_ttl", "negative_ttl", "stale_after", "prefetch"} <= set(shown)


def test_cache_is_on_by_default(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=True)
    assert _check(env)["cache"]["size"]
    assert [version(env.ask()) for _ in range(3)] == [1, 1, 1]


def test_plain_relay_has_no_cache_unless_given(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=True, **RELAY)
    assert _check(env)["cache"]["size"] == 0
    assert [version(env.ask()) for _ in range(3)] == [1, 2, 3]


def test_plain_relay_with_a_cache(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache={"size": written(MIB)}, **RELAY)
    assert [version(env.ask()) for _ in range(3)] == [1, 1, 1]


# Log and counters.


def test_query_log_has_the_source(env):
    server = env.upstream(serve(answers.by_name({"none.test": negative(dnsmsg.NXDOMAIN)})))
    running = env.proxy(server, cache=PLAIN, log={"queries": True})
    for name in ("a.test", "a.test", "none.test", "none.test", "b.test"):
        env.ask(name)
    env.allow_wrong_responses = True
    env.ask("health.dot-proxy", qtype=dnsmsg.TXT, qclass=dnsmsg.CH)
    wait_until(lambda: running.lines("query", name="health"), 2)
    seen = [(line["name"].rstrip("."), line["source"]) for line in running.lines("query", name="t")]
    assert seen == [("a.test", "upstream"), ("a.test", "cache"), ("none.test", "upstream"),
                    ("none.test", "cache"), ("b.test", "upstream"), ("health.dot-proxy", "local")]


def test_counters_of_hits_and_misses(env):
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=PLAIN)
    client, datagrams = env.client(), env.datagrams()
    for n in range(10):
        for asking in (client, datagrams, client):
            env.assert_ok(asking.ask(f"n{n}.test"))
    caching.wait_counters(running, hits=20, misses=10, stale=0, joined=0, prefetched=0,
                          evicted_probation=0, evicted_main=0)


@table("make, reason", ("truncated", positive(flags=dnsmsg.TC), "truncated"),
       ("no_soa", negative(zone=None), "no_soa"), ("zero_ttl", positive(ttl=0), "zero_ttl"),
       ("signed", positive(additional=[dnsmsg.record(b"\3key\0", 250, 255, 0, b"tsig")]), "signed"),
       ("inconsistent", answers.chain((None, "loop.test"), ("loop.test", "example.test")),
        "inconsistent"))
def test_counters_of_responses_that_are_not_kept(env, make, reason):
    env.allow_wrong_responses = True
    server = env.upstream(serve(make))
    running = env.proxy(server, cache=PLAIN)
    for _ in range(3):
        env.ask()
    caching.wait_counters(running, **{f"not_stored_{reason}": 3, "hits": 0, "misses": 3})


def test_counters_of_joined_queries(env):
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=PLAIN)
    client = env.client()
    client.send(*[Query("delay-200.test") for _ in range(5)])
    client.receive_all()
    caching.wait_counters(running, joined=4, hits=0)


def test_counters_of_stale_answers(env, boottime):
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=STALE, popen_args=boottime.popen_args)
    env.assert_ok(env.ask())
    boottime.jump(61)
    server.restart(faults.refuse)
    for _ in range(3):
        env.assert_ok(env.ask())
    caching.wait_counters(running, stale=3, hits=0)


def test_counters_of_all_workers_and_of_those_that_died(env):
    server = env.upstream(serve(positive()))
    running = processes.start_workers(env, server, workers=2, cache=PLAIN)
    for n, client in enumerate(processes.one_each(env).values()):
        for _ in range(4):
            env.assert_ok(client.ask(f"n{n}.test"))
    caching.wait_counters(running, hits=6, misses=2)
    victim = running.workers()[0]
    os.kill(victim, signal.SIGKILL)
    processes.wait_all_serving(running, 2, [victim])
    caching.wait_counters(running, hits=6, misses=2)
    for client in env.clients:
        client.close()


def test_no_counters_without_a_cache(env):
    running = env.proxy(env.upstream(), cache=False)
    env.assert_ok(env.ask())
    running.signal(signal.SIGUSR1)
    running.wait_line("upstream")
    assert not running.lines("cache")


# Signals.


def test_sigusr2_empties_the_cache(env):
    server = env.upstream(serve(positive()))
    running = processes.start_workers(env, server, workers=2, cache=PLAIN)
    clients = list(processes.one_each(env).values())
    for number in (1, 2, 3):
        for client in clients:
            for _ in range(2):
                assert version(env.assert_ok(client.ask())) == number
        running.signal(signal.SIGUSR2)
        wait_until(lambda: len(running.lines("cache cleared")) == number, 2)
    assert len(server.queries) == 3
    assert len(running.lines("cache cleared")) == 3


def test_sigusr2_empties_what_would_be_given_stale(env, boottime):
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=STALE, popen_args=boottime.popen_args)
    env.assert_ok(env.ask())
    boottime.jump(61)
    running.signal(signal.SIGUSR2)
    running.wait_line("cache cleared")
    server.restart(faults.refuse)
    env.servfail(env.ask())


def test_sigusr2_while_a_query_is_in_flight(env):
    """Its client and those that have joined it are answered."""
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=PLAIN)
    client = env.client()
    asked = client.send(*[Query("delay-300.test") for _ in range(3)])
    wait_until(lambda: server.queries)
    running.signal(signal.SIGUSR2)
    running.wait_line("cache cleared")
    client.receive_all()
    for exchange in asked:
        env.assert_ok(exchange)


# Reload.


def test_reload_keeps_the_cache(env):
    server = env.upstream(serve(positive()))
    processes.start_workers(env, server, workers=2, cache=PLAIN, reload="signal")
    env.assert_ok(env.ask())
    for changes in ({}, {"log": {"level": "debug"}}, {"workers": 3}, {"inflight": 100},
                    {"workers": 2}):
        _reload(env, **changes)
        assert version(env.assert_ok(env.ask())) == 1
    assert len(server.queries) == 1


@row("K-13-upstreams", "K-47-upstreams")
def test_reload_with_other_upstreams_does_not_find_old_entries(env):
    a, b = env.upstream(serve(positive())), env.upstream(serve(positive()))
    processes.start_workers(env, a, cache=PLAIN, reload="signal")
    assert version(env.assert_ok(env.ask())) == 1
    _reload(env, upstreams=[b.config()])
    env.assert_ok(env.ask())
    assert len(a.queries) == len(b.queries) == 1
    _reload(env, upstreams=[a.config(), b.config()])
    env.assert_ok(env.ask())
    assert len(a.queries) + len(b.queries) == 3


@row("K-13-ca")
def test_reload_with_other_trust_does_not_find_old_entries(env):
    """What one authority vouched for is not given to who trusts another."""
    other = certs.Authority("another authority")
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, reload="signal")
    env.assert_ok(env.ask())
    _reload(env, tls={"ca_file": other.path})
    env.servfail(env.ask())
    _reload(env, tls={"ca_file": env.authority.path})
    env.assert_ok(env.ask())


@row("K-13-ca-stale")
def test_reload_with_other_trust_gives_no_stale_answer(env, boottime):
    other = certs.Authority("another authority")
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=STALE, reload="signal", popen_args=boottime.popen_args)
    env.assert_ok(env.ask())
    boottime.jump(61)
    _reload(env, tls={"ca_file": other.path})
    env.servfail(env.ask())
    _reload(env, tls={"ca_file": env.authority.path})


@row("K-13-name")
def test_reload_with_other_hostname_does_not_find_old_entries(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, reload="signal")
    env.assert_ok(env.ask())
    _reload(env, upstreams=[server.config(hostname="other.test")])
    env.servfail(env.ask())
    _reload(env, upstreams=[server.config()])


@row("K-13-ca-content")
def test_reload_with_other_content_of_the_ca_file_does_not_find_old_entries(env):
    """The path is the same, and the certificates in it are others."""
    path = os.path.join(env.directory, "ca.pem")
    other = certs.Authority("another authority")

    def trust(authority):
        with open(authority.path) as source, open(f"{path}.new", "w") as copy:
            copy.write(source.read())
        os.rename(f"{path}.new", path)

    trust(env.authority)
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, reload="signal", tls={"ca_file": path})
    env.assert_ok(env.ask())
    trust(other)
    _reload(env)
    env.servfail(env.ask())
    trust(env.authority)
    _reload(env)
    env.assert_ok(env.ask())


@row("K-27-reload")
def test_reload_that_lets_client_subnets_cross(env):
    """Entries stay for queries without a subnet."""
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=PLAIN, reload="signal")
    subnet = dnsmsg.opt(dnsmsg.option(8, b"\0\1\x18\0\xc0\0\2"))
    assert version(env.assert_ok(env.ask(edns=subnet))) == 1
    assert version(env.assert_ok(env.ask(edns=subnet))) == 1
    _reload(env, privacy={"client_subnet": True})
    assert version(env.assert_ok(env.ask(edns=subnet))) == 2
    assert version(env.assert_ok(env.ask(edns=EDNS))) in (1, 3)


@table("size", ("K-17-larger", 4 * MIB), ("K-17-smaller", MIB), ("K-17-off", 0))
def test_reload_with_another_size(env, size):
    """It is a new cache, or none."""
    server = env.upstream(serve(positive()))
    running = processes.start_workers(env, server, workers=2, reload="signal",
                                      cache={**PLAIN, "size": written(2 * MIB)})
    env.assert_ok(env.ask("before.test"))
    _reload(env, cache={**PLAIN, "size": written(size)})
    first, second = (env.assert_ok(env.ask("after.test")) for _ in range(2))
    assert version(second) - version(first) == (0 if size else 1)
    with open(f"/proc/{running.pid}/smaps") as file:
        areas = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw-s ", file.read(), re.M)
    sizes = [int(end, 16) - int(begin, 16) for begin, end in areas]
    if size:
        caching.Mapping(running.workers()[0], size)
    assert sizes.count(2 * MIB) == 0, "the old memory is given back"


@row("K-17-reload-counters")
def test_counters_go_on_over_a_reload(env):
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=PLAIN, reload="signal")
    env.assert_ok(env.ask())
    env.assert_ok(env.ask())
    caching.wait_counters(running, hits=1, misses=1)
    _reload(env)
    env.assert_ok(env.ask())
    caching.wait_counters(running, hits=2, misses=1)


# Real programs.


@pytest.mark.parametrize("flags", [(), ("+dnssec",), ("+cd",), ("+noedns",), ("+tcp",),
                                   ("+bufsize=4096", "+nocookie")])
def test_dig_gets_the_same_answer_twice(env, flags):
    server = env.upstream(serve(positive()))
    running = env.proxy(server, cache=PLAIN)
    host, port = running.address
    said = []
    for _ in range(2):
        done = subprocess.run(["dig", "+time=2", "+tries=1", *flags, f"@{host}", "-p", str(port),
                               "example.test", "A"], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0 and "status: NOERROR" in done.stdout, done.stdout
        assert "WARNING" not in done.stdout and "Warning" not in done.stderr
        said.append(sorted(re.findall(r"^example\.test\..*\sA\s+(\S+)$", done.stdout, re.M)))
    assert said[0] == said[1] and len(said[0]) == 2
    assert len(server.queries) == 1


def test_failure_that_is_kept_says_so(env):
    """RFC 8914 4.14: a cached error."""
    server = env.upstream(serve(failure()))
    env.proxy(server, cache=PLAIN)
    env.servfail(env.ask(edns=EDNS, flags=RD))
    second = env.servfail(env.ask(edns=EDNS, flags=RD))
    assert answers.CACHED_ERROR in {code for code, _ in second.answer.ede}
