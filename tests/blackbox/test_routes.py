"""Group G: routes, which send the names of some domains to upstreams of their own."""

import signal
import socket
import subprocess

import pytest

import answers
import dnsmsg
import faults
import proxy
import routes as routes_of
from clock import now, wait_until
from dnsmsg import Query
from rows import row, table
from test_config import refused
from upstream import Script, answer
from upstream_state import times_down

CORP, CLUSTER = "corp.test", "cluster.local"


@pytest.fixture(params=[False, True], ids=["tls", "cleartext"])
def is_cleartext(request):
    """Whether the upstreams of the route are asked in cleartext."""
    return request.param


def routed(env, *upstreams, domains=(CORP,), **settings):
    """A route to some upstreams."""
    return {"domains": list(domains), "upstreams": list(upstreams), **settings}


def names(server):
    return [query.name for query in server.queries]


def assert_at(env, name, server, others):
    """Asks for the name, and only this server sees it."""
    before = len(server.queries_for(name))
    env.assert_ok(env.ask(name))
    assert len(server.queries_for(name)) == before + 1
    assert [other for other in others if other.queries_for(name)] == []


def rewrite(env, top, *routes, retires=True):
    """
    Changes the routes of the running proxy, and waits until that is in use; if RETIRES, by all that
    comes from then on.
    """
    env.config["routes"] = routes_of.settings(routes)
    if not routes:
        del env.config["routes"]
    env.routes = None           # which name may be where has changed during the test
    routes_of.Routes(top, routes)
    proxy.write_config(env.config_path, env.config)
    running = env.proxies[-1]
    count = len(running.lines("configuration reloaded"))
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines("configuration reloaded")) > count, 5)
    if retires:
        wait_until(lambda: len(running.workers()) == 1, 5, "the old worker has ended")


# Which route a name has.

NAMES = [
    ("G-01-shorter", "a.corp.test", 1),
    ("G-01-itself", "corp.test", 1),
    ("G-01-longer", "a.dev.corp.test", 2),
    ("G-01-longer-itself", "dev.corp.test", 2),
    ("G-01-no-label", "xcorp.test", 0),
    ("G-01-other-end", "corp.test.example", 0),
    ("G-01-above", "test", 0),
    ("G-02-query", "A.CoRp.TeSt", 1),
    ("G-02-configuration", "a.mixed.example", 2),
    ("G-02-both", "a.mixed.EXAMPLE", 2),
    ("G-03-itself", "only-below.test", 0),
    ("G-03-below", "a.only-below.test", 1),
    ("G-03-far-below", "a.b.only-below.test", 1),
    ("G-03-next-to-the-domain", "both.test", 1),
    ("G-03-below-the-domain", "a.both.test", 2),
    ("G-04-exception", "www.corp.test", 0),
    ("G-04-below-the-exception", "a.www.corp.test", 0),
    ("G-01-prefix", "1.0.96.10.in-addr.arpa", 1),
    ("G-01-prefix-end", "1.0.111.10.in-addr.arpa", 1),
    ("G-01-next-to-the-prefix", "1.0.112.10.in-addr.arpa", 0),
    ("G-01-longer-prefix", "1.7.96.10.in-addr.arpa", 2),
]


@table("name, where", *NAMES)
def test_name_goes_to_the_longest_domain(env, name, where):
    servers = env.upstream(), env.upstream(cleartext=True), env.upstream()
    env.proxy(servers[0], routes=[
        routed(env, servers[1], domains=[CORP, "*.only-below.test", "10.96.0.0/12", "both.test"]),
        routed(env, servers[2], domains=["dev.corp.test", "MiXeD.example", "10.96.7.0/24",
                                         "*.both.test"]),
        {"domains": ["www.corp.test"], "upstreams": "default"}])
    assert_at(env, name, servers[where], [s for s in servers if s is not servers[where]])


@table("answer, rcode",
       ("G-19-nxdomain", "nxdomain", dnsmsg.NXDOMAIN),
       ("G-19-nodata", "nodata", dnsmsg.NOERROR),
       ("G-19-refused", "refused", dnsmsg.REFUSED))
def test_route_with_an_answer_asks_nobody(env, answer, rcode):
    top = env.upstream()
    env.allow_wrong_responses = True
    env.proxy(top, routes=[{"domains": ["ads.test"], "answer": answer},
                           {"domains": ["good.ads.test"], "upstreams": "default"}])
    for qtype in dnsmsg.A, dnsmsg.NS, 65:
        exchange = env.ask("a.ads.test", qtype=qtype, edns=dnsmsg.opt())
        assert exchange.rcode == rcode
        assert exchange.answer.counts[1] == 0
        assert exchange.answer.ede == [(15, "routes: answered here")]
        zones = [r[1] for r in exchange.answer.records if r[0] == 2]
        assert zones == ([] if answer == "refused" else [dnsmsg.SOA])
    assert top.queries == []
    assert_at(env, "a.good.ads.test", top, [])


@row("G-05")
def test_failed_route_does_not_fall_back_to_others(env, is_cleartext):
    top, other = env.pair()
    servers = [env.upstream(faults.refuse, cleartext=is_cleartext) for _ in range(2)]
    env.proxy(top, routes=[routed(env, *servers), routed(env, other, domains=["other.test"])])
    for n in range(3):
        exchange = env.servfail(env.ask(f"a{n}.{CORP}", edns=dnsmsg.opt()))
        (code, text), = exchange.answer.ede
        assert code == 22
        assert text.startswith(servers[0].name + ": connect: "), text
    assert top.arrived == other.arrived == []
    assert_at(env, "a.test", top, [other, *servers])


@row("G-05-error")
def test_error_of_a_route_is_the_answer(env, is_cleartext):
    top = env.upstream()
    server = env.upstream(faults.rcode(dnsmsg.NXDOMAIN), cleartext=is_cleartext)
    env.proxy(top, routes=[routed(env, server)])
    assert env.ask(f"a.{CORP}").rcode == dnsmsg.NXDOMAIN
    server.do(faults.rcode(dnsmsg.SERVFAIL))
    env.servfail(env.ask(f"b.{CORP}"))
    assert top.arrived == []


# What an upstream of a route may do wrong: the next one of the route answers, and no other.

FAULTS = {
    "U-01": faults.refuse, "U-04": faults.accept_and_silence, "U-05-close": faults.accept_and_close,
    "U-05-reset": faults.accept_and_reset, "U-06": faults.http,
    "D-01": faults.never_answer, "D-02": faults.close_after_query, "D-03": faults.one_byte,
    "D-04": faults.half_a_message, "D-04-close": faults.half_a_message_and_close,
    "D-06": faults.wrong_id, "D-07": faults.unrelated_first,
    "D-08-name": faults.wrong(parts=dnsmsg.labels("foreign.test")),
    "D-08-type": faults.wrong(qtype=dnsmsg.AAAA), "D-15": faults.reset_after_query,
    "D-21": faults.rcode(dnsmsg.SERVFAIL), "D-22": faults.rcode(dnsmsg.REFUSED),
}


@pytest.mark.parametrize("fault", FAULTS, ids=[f"G-06-{name}" for name in FAULTS])
def test_fault_stays_inside_the_route(env, fault, is_cleartext):
    top = env.upstream()
    a = env.upstream(FAULTS[fault], cleartext=is_cleartext)
    b = env.upstream(cleartext=is_cleartext)
    env.proxy(top, routes=[routed(env, a, b)])
    env.assert_ok(env.ask(f"a.{CORP}"), 2)
    assert top.arrived == []
    env.assert_ok(env.ask("a.test"))


# Cleartext.

async def _garbage(connection, query):
    await connection.send(bytes(range(255, 155, -1)))


async def _garbage_of_right_length(connection, query):
    await connection.send(dnsmsg.framed(bytes(range(200, 250))))


BROKEN = {
    "garbage": Script(on_query=_garbage),
    "garbage-with-a-length": Script(on_query=_garbage_of_right_length),
    "wrong-id": faults.wrong_id,
    "wrong-question": faults.wrong(parts=dnsmsg.labels("foreign.test")),
    "half": faults.half_a_message,
    "half-and-close": faults.half_a_message_and_close,
    "reset": faults.reset_after_query,
    "close": faults.close_after_query,
    "silence": faults.never_answer,
    "twice": faults.answer_twice,
}


@pytest.mark.parametrize("fault", BROKEN, ids=[f"G-17-{name}" for name in BROKEN])
def test_broken_cleartext_upstream_gives_no_wrong_answer(env, fault):
    """Alone: what it sends is the answer to the query that it is about, or there is none."""
    top, server = env.upstream(), env.upstream(BROKEN[fault], cleartext=True)
    env.proxy(top, routes=[routed(env, server)])
    client = env.client()
    for n in range(3):
        client.send(Query(f"a{n}.{CORP}"))
    client.receive_all(4)
    for exchange in client.exchanges:
        if fault == "twice":
            env.assert_ok(exchange)
        else:
            env.servfail(exchange)
    assert top.arrived == []


@row("G-17")
def test_cleartext_upstream_keeps_its_connection(env):
    top, server = env.upstream(), env.upstream(cleartext=True)
    env.proxy(top, routes=[routed(env, server)])
    client = env.client()
    for n in range(20):
        env.assert_ok(client.ask(f"a{n}.{CORP}"))
    for n in range(20):
        client.send(Query(f"b{n}.{CORP}"))
    client.receive_all(3)
    assert len(server.connections) == 1
    assert len(server.queries) == 40


@row("G-17-options")
def test_cleartext_query_has_no_options(env):
    """Nothing that only makes sense over TLS, or that says something about the client."""
    top, server = env.upstream(), env.upstream(cleartext=True)
    env.proxy(top, routes=[routed(env, server)])
    options = dnsmsg.option(8, b"\0\1\x18\0\xc0\0\2") + dnsmsg.option(10, bytes(8))
    env.assert_ok(env.ask(f"a.{CORP}", edns=dnsmsg.opt(options)))
    assert server.queries[0].seen.opt is not None
    keepalive = 11
    assert {code for code, _ in server.queries[0].seen.options} <= {keepalive}


@row("G-07")
def test_packets_in_cleartext_have_names_of_the_route_only(env, namespace):
    """What is on the wire, as an observer sees it, between the proxy and its upstreams."""
    env.may_grow *= 2
    sniffer = namespace.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sniffer.settimeout(0.2)
    top, server = env.upstream(), env.upstream(cleartext=True)
    env.proxy(top, routes=[routed(env, server, domains=[CLUSTER, "10.96.0.0/12"])])
    asked = ["secret.test", f"web.default.svc.{CLUSTER}", "1.0.96.10.in-addr.arpa",
             f"secret.test.{CLUSTER}", "secret.example", "1.2.3.10.in-addr.arpa"]
    for name in asked:
        env.assert_ok(env.ask(name))
    packets = []
    try:
        while True:
            packets.append(sniffer.recv(65536)[14:])
    except socket.timeout:
        sniffer.close()
    seen = {socket.inet_aton(top.address): b"", socket.inet_aton(server.address): b""}
    for packet in packets:
        for address in packet[12:16], packet[16:20]:
            if address in seen:
                seen[address] += packet[20:]
    wires = {name: dnsmsg.name_wire(dnsmsg.labels(name)) for name in asked}
    found = {name for name, wire in wires.items() if wire in seen[socket.inet_aton(server.address)]}
    assert found == {asked[1], asked[2], asked[3]}
    assert not any(wire in seen[socket.inet_aton(top.address)] for wire in wires.values())


# The configuration.

@table("text, said",
       ("G-08-top-level", "upstreams: [{address: 10.0.0.1, cleartext: true}]\n",
        "1:33: `cleartext' is only for upstreams of a route with named domains"),
       ("G-08-public", "upstreams: 1.1.1.1\nroutes:\n- domains: a.test\n"
        "  upstreams: {address: 8.8.8.8, cleartext: true}\n",
        "4:24: a cleartext upstream needs a private address; 8.8.8.8 is public"),
       ("G-08-root", "upstreams: 1.1.1.1\nroutes:\n- domains: .\n  answer: nxdomain\n",
        "3:12: `.' is the domain of the top-level upstreams (write its servers there)"))
def test_cleartext_is_refused_where_it_does_not_belong(tmp_path, text, said):
    (tmp_path / "config.yml").write_text(text)
    refused(tmp_path, f"config.yml:{said}")


@row("G-08-words")
def test_log_says_what_leaves_in_cleartext(env):
    top, server = env.upstream(), env.upstream(cleartext=True)
    running = env.proxy(top, routes=[routed(env, server, domains=[CLUSTER, "10.96.0.0/12"]),
                                     routed(env, env.upstream())])
    line = running.wait_line("cleartext")
    assert line.get("domains") == f"{CLUSTER}, 10.96.0.0/12"
    assert line.get("to") == server.name
    assert len(running.lines("cleartext")) == 1


@row("G-09")
def test_reload_takes_a_route_away(env):
    top, server = env.upstream(), env.upstream(cleartext=True)
    server.do(answers.serve(answers.positive()))
    top.do(answers.serve(answers.positive()))
    env.allow_wrong_responses = True
    env.proxy(top, cache=True, routes=[routed(env, server)])
    for _ in range(2):
        env.ask(f"a.{CORP}")
    assert (names(server), names(top)) == ([f"a.{CORP}"], [])
    rewrite(env, [top])
    env.ask(f"a.{CORP}")
    assert (names(server), names(top)) == ([f"a.{CORP}"], [f"a.{CORP}"])
    rewrite(env, [top], routed(env, server))
    # What came from the upstream of the route is still the answer.
    env.ask(f"a.{CORP}")
    env.ask(f"b.{CORP}")
    assert names(server) == [f"a.{CORP}", f"b.{CORP}"]
    assert names(top) == [f"a.{CORP}"]


@row("G-09-load")
def test_reload_of_routes_loses_no_query(env):
    """Routes come, go and change places while a client never pauses."""
    top, a, b = env.upstream(), env.upstream(cleartext=True), env.upstream()
    env.proxy(top, routes=[routed(env, a)])
    client = env.client()
    layouts = [[], [routed(env, b), routed(env, a, domains=["x.test"])], [routed(env, a)]] * 2
    for n, layout in enumerate(layouts):
        for k in range(20):
            client.send(Query(f"q{n}-{k}.{CORP}"))
        rewrite(env, [top], *layout, retires=False)
        client.receive_all(5)
        for exchange in client.exchanges:
            env.assert_ok(exchange)
        client.finish()
        client = env.client()
        wait_until(lambda: len(env.proxies[-1].workers()) == 1, 5, "the old worker has ended")
        expected = next((r["upstreams"][0] for r in layout if CORP in r["domains"]), top)
        env.assert_ok(env.ask(f"after-{n}.{CORP}"))
        assert [s for s in (top, a, b) if s.queries_for(f"after-{n}.{CORP}")] == [expected]


# Groups.

@table("settings",
       ("G-10-at-once", {"fallback": {"after": 0}}),
       ("G-10-soon", {"fallback": {"after": "20ms"}}),
       ("G-10-auto", {"fallback": {"after": "auto"}}),
       ("G-10-fastest", {"order": "fastest"}))
def test_hedged_queries_stay_in_their_group(env, settings, is_cleartext):
    """Promise O10 is checked at the end."""
    top = [env.upstream() for _ in range(2)]
    servers = [env.upstream(faults.slow(0.2), cleartext=is_cleartext), env.upstream(
        cleartext=is_cleartext)]
    env.proxy(*top, routes=[routed(env, *servers)], **settings)
    client = env.client()
    for n in range(30):
        client.send(Query(f"a{n}.{CORP}"))
        client.send(Query(f"a{n}.test"))
    client.receive_all(4)
    for exchange in client.exchanges:
        env.assert_ok(exchange)
    assert servers[0].queries and sum(len(s.queries) for s in top) >= 30


@row("G-10-own-settings")
def test_route_has_its_own_fallback(env):
    top = [env.upstream(faults.slow(0.3)), env.upstream()]
    servers = [env.upstream(faults.slow(0.3)), env.upstream()]
    env.proxy(*top, fallback={"after": "never"},
              routes=[routed(env, *servers, fallback={"after": 0})])
    env.assert_ok(env.ask(f"a.{CORP}"), 0.25)
    assert env.assert_ok(env.ask("a.test")).took >= 0.29
    assert top[1].queries == []


def _fails_for(domain):
    async def asked(connection, query):
        if query.name.endswith(domain):
            connection.reset()
        else:
            await answer(connection, query)
    return Script(on_query=asked)


@row("G-11")
def test_same_server_in_two_groups_is_down_in_one(env):
    server = env.upstream(_fails_for(CORP))
    running = env.proxy(server, routes=[routed(env, server)])
    for n in range(6):
        env.servfail(env.ask(f"a{n}.{CORP}"))
        env.assert_ok(env.ask(f"a{n}.test"))
    wait_until(lambda: times_down(running, server) == 1, 3)
    running.signal(signal.SIGUSR1)
    wait_until(lambda: len(running.lines("upstream")) == 2, 3)
    states = {line.get("route"): line.get("state") for line in running.lines("upstream")}
    assert states == {None: "up", CORP: "down"}
    assert not running.lines("upstream back")


@row("G-12")
def test_cname_to_a_name_outside_is_relayed(env, is_cleartext):
    top, server = env.upstream(), env.upstream(cleartext=is_cleartext)
    server.do(answers.serve(answers.chain((None, "target.outside.example"))))
    env.allow_wrong_responses = True
    env.proxy(top, routes=[routed(env, server)])
    exchange = env.ask(f"a.{CORP}")
    assert exchange.rcode == dnsmsg.NOERROR
    assert b"target" in exchange.answer.wire
    assert top.arrived == []


@row("G-16")
def test_ten_thousand_routes(env):
    top, server = env.upstream(), env.upstream()
    count = 10000
    routes = [{"domains": [f"n{n}.ads.test"], "answer": "nxdomain"} for n in range(count)]
    env.may_grow *= 2
    begin = now()
    running = env.proxy(top, routes=[*routes, routed(env, server)])
    env.within(3, begin)
    env.allow_wrong_responses = True
    for n in 0, 1, count // 2, count - 1:
        assert env.ask(f"www.n{n}.ads.test").rcode == dnsmsg.NXDOMAIN
    assert_at(env, f"n{count}.ads.test", top, [server])
    assert_at(env, f"a.{CORP}", server, [top])
    begin = now()
    done = running.lines("configuration reloaded")
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines("configuration reloaded")) > len(done), 3)
    env.within(2, begin)


# Commands.

@row("G-20")
def test_probe_tries_upstreams_of_routes(env):
    top, tls, clear = env.upstream(), env.upstream(), env.upstream(cleartext=True)
    env.proxy(top, routes=[routed(env, tls), routed(env, clear, domains=[CLUSTER])])
    done = subprocess.run([proxy.BINARY, "-c", env.config_path, "probe"], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line[0] != " "] == \
        [top.name, tls.name, clear.name]
    assert done.stdout.count("  usable") == 3
    assert [q.name for q in clear.arrived] == [CLUSTER]
    assert [q.name for q in tls.arrived] == [CORP]


@row("G-20-check")
def test_check_prints_what_leaves_in_cleartext(env):
    top, clear = env.upstream(), env.upstream(cleartext=True)
    env.proxy(top, routes=[routed(env, clear, domains=[CLUSTER, "10.96.0.0/12"])])
    done = subprocess.run([proxy.BINARY, "-c", env.config_path, "check"], capture_output=True,
                          text=True, timeout=20)
    assert f"# cleartext: {CLUSTER}, 10.96.0.0/12, to {clear.name}\n" in done.stdout
