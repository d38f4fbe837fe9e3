"""Group K: which queries share an entry of the cache, and that each gets the form it asked for."""

import struct

import answers
import dnsmsg
from answers import message, positive, serve, version
from caching import PLAIN
from dnsmsg import A, AA, AAAA, AD, ANY, CD, CH, DO, RD, SERVFAIL, TC, TXT, Query, option
from env import EDNS
from rows import row, table

WITH_DO = dnsmsg.opt(flags=DO)
SUBNET = option(8, b"\0\1\x18\0\xc0\0\2")


def _versions(env, *queries, client=None):
    """Asks one after the other; the versions of the responses."""
    client = client or env.client()
    found = []
    for query in queries:
        exchange = client.ask(query)
        if not env.allow_wrong_responses:
            env.assert_ok(exchange)
        found.append(version(exchange))
    return found


def test_second_query_is_answered_from_the_cache(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=True)
    first = env.assert_ok(env.ask("once.test"))
    assert version(first) == 1
    for client in (env.client(), env.datagrams()):
        again = env.assert_ok(client.ask("once.test"), 0.1)
        assert version(again) == 1
    assert len(server.queries) == 1


def test_cache_of_size_0_is_off(env):
    env.proxy(env.upstream(serve(positive())), cache={"size": 0})
    assert _versions(env, Query(), Query()) == [1, 2]


@row("K-01")
def test_types_and_classes_have_their_own_entries(env):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=True)
    queries = [Query(qtype=A), Query(qtype=AAAA), Query(qtype=TXT), Query(qtype=A, qclass=CH),
               Query("other.test"), Query("example.test.test"), Query("test")]
    client = env.client()
    for _ in range(2):
        for query in queries:
            exchange = env.assert_ok(client.ask(query))
            assert version(exchange) == 1
            assert {r[2] for r in exchange.answer.records if r[0] == 1} == {query.qclass}
    assert len(server.queries) == len(queries)


@table("order", ("K-02-DO-first", (WITH_DO, EDNS)), ("K-02-DO-last", (EDNS, WITH_DO)),
       ("K-02-DO-and-no-EDNS", (WITH_DO, None)))
def test_dnssec_records_only_for_clients_with_do(env, order):
    server = env.upstream(serve(answers.signed()))
    env.proxy(server, cache=True)
    for _ in range(2):
        for edns in order:
            seen = env.assert_ok(env.ask(edns=edns)).answer
            types = {rtype for _, rtype, *_ in seen.records}
            assert (answers.RRSIG in types) == (answers.NSEC in types) == (edns == WITH_DO)
            assert not seen.opt or seen.opt[3] & DO == (DO if edns == WITH_DO else 0)
    assert len(server.queries) == 2


def _bogus(query, version):
    """SERVFAIL unless the client wants no validation."""
    make = positive() if query.flags & CD else answers.failure(ede=answers.DNSSEC_BOGUS)
    return make(query, version)


@row("K-03")
def test_unvalidated_answer_is_only_for_clients_with_cd(env):
    server = env.upstream(serve(_bogus))
    env.proxy(server, cache=True)
    unvalidated = Query("bogus.test", flags=RD | CD)
    env.assert_ok(env.ask(unvalidated))
    env.servfail(env.ask("bogus.test"))
    again = env.assert_ok(env.ask(unvalidated))
    assert version(again) == 1 and again.answer.flags & CD
    env.servfail(env.ask("bogus.test"))


@row("K-03")
def test_failure_is_not_for_clients_with_cd(env):
    """A SERVFAIL that is kept for a second says nothing about the data without validation."""
    env.proxy(env.upstream(serve(_bogus)), cache=True)
    env.servfail(env.ask("bogus.test"))
    env.assert_ok(env.ask("bogus.test", flags=RD | CD))


@table("query", ("K-04-EDNS", Query(edns=EDNS)),
       ("K-04-EDNS-size", Query(edns=dnsmsg.opt(size=4096))),
       ("K-04-cookie", Query(edns=dnsmsg.opt(option(answers.COOKIE, b"12345678")))),
       ("K-04-padding", Query(edns=dnsmsg.opt(option(answers.PADDING, bytes(40))))),
       ("K-04-client-subnet", Query(edns=dnsmsg.opt(SUBNET))),
       ("K-04-AD", Query(flags=RD | AD)), ("K-04-letter-case", Query("eXaMPLE.tEST")))
def test_queries_that_share_an_entry(env, query):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=True)
    assert _versions(env, Query(), query, query, Query()) == [1, 1, 1, 1]
    assert len(server.queries) == 1


@row("K-04-RD")
def test_query_without_rd_neither_reads_nor_writes_the_cache(env):
    """Its answer may be what the server happens to know."""
    env.proxy(env.upstream(serve(positive())), cache=True)
    without = Query(flags=0)
    assert _versions(env, without, without, Query(), without, Query()) == [1, 2, 3, 4, 3]


def _validated(query, version):
    return message(query, answers.data(query, version, 60), flags=AD)


# The flags and the OPT of a client, and whether it is shown AD.
AD_ROWS = [("K-20-nothing", 0, None, False), ("K-20-EDNS", 0, EDNS, False),
           ("K-20-AD", AD, None, True), ("K-20-DO", 0, WITH_DO, True),
           ("K-20-AD-and-DO", AD, WITH_DO, True)]


@table("flags, edns, shown", *AD_ROWS)
def test_ad_only_for_clients_that_understand_it(env, flags, edns, shown):
    """The upstream is always asked for it, whichever client asks first."""
    server = env.upstream(serve(_validated))
    env.proxy(server, cache=True)
    client = env.client()
    for n in range(3):
        seen = env.assert_ok(client.ask("miss.test", flags=RD | flags, edns=edns)).answer
        assert bool(seen.flags & AD) == shown, f"query {n}"
    for _, others, opt, show in AD_ROWS:
        if (opt == WITH_DO) == (edns == WITH_DO):
            seen = env.assert_ok(client.ask("miss.test", flags=RD | others, edns=opt)).answer
            assert bool(seen.flags & AD) == show
    assert [bool(query.seen.flags & AD) for query in server.queries] == [True]


@row("K-20")
def test_ad_is_not_made_up(env):
    env.proxy(env.upstream(serve(positive())), cache=True)
    for _ in range(2):
        assert not env.assert_ok(env.ask(flags=RD | AD, edns=WITH_DO)).answer.flags & AD


@row("K-22")
def test_cached_answer_is_not_authoritative(env):
    server = env.upstream(serve(positive(flags=AA)))
    env.proxy(server, cache=True)
    assert env.assert_ok(env.ask()).answer.flags & AA
    for _ in range(2):
        assert not env.assert_ok(env.ask()).answer.flags & AA
    assert len(server.queries) == 1


@table("client", ("K-23-UDP", "datagrams"), ("K-23-TCP", "client"))
def test_hit_has_id_flags_and_question_of_its_client(env, client):
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=True)
    asking = getattr(env, client)()
    for number, name in enumerate(("Example.TEST", "example.test", "EXAMPLE.test", "eXAMPLE.tesT")):
        for flags in (RD, RD | CD):
            # The client compares ID and question.
            seen = env.assert_ok(asking.ask(name, ident=number * 1000, flags=flags)).answer
            assert seen.flags & (RD | CD) == flags
            assert seen.flags & dnsmsg.RA and not seen.flags & dnsmsg.Z
    assert len(server.queries) == 2


@table("first, then", ("K-24-with-OPT-first", EDNS, None), ("K-24-without-OPT-first", None, EDNS),
       ("K-24-other-size", dnsmsg.opt(size=4096), EDNS))
def test_hit_has_opt_if_the_query_has(env, first, then):
    server = env.upstream(serve(positive(options=option(answers.NSID, b"one"))))
    env.proxy(server, cache=True)
    for edns in (first, then, first):
        seen = env.assert_ok(env.ask(edns=edns)).answer
        assert bool(seen.opt) == bool(edns)
        assert not edns or seen.opt[2] == 1232 and seen.opt[3] == 0
    assert len(server.queries) == 1


@row("K-25")
def test_extended_error_of_a_hit_is_for_clients_with_edns(env):
    text = b"blocked for the test"
    server = env.upstream(serve(positive(options=option(dnsmsg.EDE, b"\0\17" + text))))
    env.proxy(server, cache=True)
    for edns in (None, EDNS, None, EDNS):
        seen = env.assert_ok(env.ask(edns=edns)).answer
        assert seen.ede == ([(15, text.decode())] if edns else [])
        assert seen.options == ([(dnsmsg.EDE, b"\0\17" + text)] if edns else [])
    assert len(server.queries) == 1


@row("K-25")
def test_text_of_a_cached_extended_error_is_bounded(env):
    server = env.upstream(serve(positive(
        options=option(dnsmsg.EDE, b"\0\17" + b"x" * 6000) * 8)))
    env.proxy(server, cache=True)
    env.assert_ok(env.ask(edns=EDNS))
    hit = env.assert_ok(env.ask(edns=EDNS)).answer
    assert len(server.queries) == 1
    assert len(hit.wire) < 4096 and all(code == 15 for code, _ in hit.ede)


OPTIONS = b"".join(option(code, value) for code, value in (
    (answers.NSID, b"server-1"), (answers.REPORT_CHANNEL, b"\5agent\4test\0"),
    (answers.ZONEVERSION, b"\1\0\0\0\0\1"), (answers.KEEPALIVE, b"\0\x64"),
    (answers.COOKIE, b"12345678abcdefgh"), (answers.PADDING, bytes(64)), (65001, b"private")))


@row("K-26")
def test_options_about_the_server_or_the_hop_are_not_in_a_hit(env):
    server = env.upstream(serve(positive(options=OPTIONS)))
    env.proxy(server, cache=True)
    env.assert_ok(env.ask(edns=EDNS))
    assert env.assert_ok(env.ask(edns=EDNS)).answer.options == []
    assert len(server.queries) == 1


@table("code", ("K-26-NSID", answers.NSID), ("K-26-ZONEVERSION", answers.ZONEVERSION),
       ("K-26-private", 65001))
def test_query_with_an_option_for_the_server_is_forwarded(env, code):
    """The answer to it is for this client only."""
    env.proxy(env.upstream(serve(positive(options=OPTIONS))), cache=True)
    asking = Query(edns=dnsmsg.opt(option(code)))
    for expected, query in ((1, asking), (2, asking), (3, Query()), (4, asking), (3, Query())):
        exchange = env.assert_ok(env.ask(query))
        assert version(exchange) == expected
        assert not query.edns or code in [seen for seen, _ in exchange.answer.options]


@table("query", ("K-04-Z", Query(flags=RD | dnsmsg.Z)),
       ("K-04-EDNS-flags", Query(edns=dnsmsg.opt(flags=0x4000))))
def test_query_with_unknown_flags_is_forwarded(env, query):
    env.proxy(env.upstream(serve(positive())), cache=True)
    assert _versions(env, query, query, Query(), query, Query()) == [1, 2, 3, 4, 3]


@row("K-04-additional")
def test_query_with_more_than_a_question_is_forwarded(env):
    env.proxy(env.upstream(serve(positive())), cache=True)
    client = env.client()
    more = dnsmsg.header(1, RD, 1, 0, 0, 1) + Query().question \
        + answers.record("a.test", A, 0, b"abcd")
    got = []
    for sent in (more, more, Query(), more, Query()):
        exchange, = client.send(sent)
        client.receive_until(exchange)
        got.append(version(exchange))
    assert got == [1, 2, 3, 4, 3]


@row("K-27")
def test_query_with_a_client_subnet_that_crosses_is_not_cached(env):
    """The answer is made for that subnet."""
    env.proxy(env.upstream(serve(positive())), privacy={"client_subnet": True}, cache=True)
    subnet = Query(edns=dnsmsg.opt(SUBNET))
    assert _versions(env, subnet, subnet, Query(), subnet, Query()) == [1, 2, 3, 4, 3]


@row("K-28")
def test_udp_and_tcp_share_an_entry_that_is_truncated_when_sent(env):
    size = 3000
    server = env.upstream(serve(answers.large(size)))
    env.proxy(server, udp_size=4096, cache=True)
    by_udp = env.datagrams()
    for limit in (512, 1232, 4096, 512):
        query = Query(edns=dnsmsg.opt(size=limit))
        seen = by_udp.ask(query).answer
        assert bool(seen.flags & TC) == (limit < size)
        assert len(seen.wire) <= limit and seen.opt and (seen.flags & TC or seen.is_correct)
        whole = env.assert_ok(env.ask(query)).answer
        assert len(whole.wire) == size and not whole.flags & TC
    assert by_udp.ask(Query()).answer.flags & TC
    assert len(server.queries) == 1


SIGNATURES = {"TSIG": dnsmsg.record(b"\3key\0", 250, 255, 0, b"tsig"),
              "SIG-0": dnsmsg.record(b"\0", 24, 255, 0, b"\0\0sig0")}


@table("signature", *((f"K-38-{name}", record) for name, record in SIGNATURES.items()))
def test_signed_query_neither_reads_nor_writes_the_cache(env, signature):
    env.allow_wrong_responses = True
    server = env.upstream(serve(positive()))
    env.proxy(server, cache=True)
    client = env.client()
    signed = struct.pack("!6H", 4711, RD, 1, 0, 0, 1) + Query().question + signature
    got = []
    for sent in (signed, signed, Query(), signed, Query()):
        exchange, = client.send(sent)
        client.receive_until(exchange)
        got.append(version(exchange))
    assert got == [1, 2, 3, 4, 3]


@table("signature", *((f"K-38-{name}", record) for name, record in SIGNATURES.items()))
def test_signed_response_is_not_kept(env, signature):
    env.proxy(env.upstream(serve(positive(additional=[signature]))), cache=True)
    assert _versions(env, Query(), Query()) == [1, 2]


@table("qtype", ("K-39-0", 0), ("K-39-NXNAME", 128), ("K-39-TKEY", 249), ("K-39-TSIG", 250),
       ("K-39-IXFR", 251), ("K-39-AXFR", 252), ("K-39-MAILB", 253), ("K-39-MAILA", 254),
       ("K-39-OPT", 41))
def test_types_that_are_not_data_are_never_cached(env, qtype):
    """Each query is forwarded, or answered here."""
    env.allow_wrong_responses = True
    server = env.upstream(serve(answers.negative()))
    running = env.proxy(server, log={"queries": True}, cache=True)
    client = env.client()
    got = [version(client.ask(Query(qtype=qtype))) for _ in range(3)]
    assert got in ([1, 2, 3], [None] * 3) and len(server.queries) in (0, 3)
    assert not [line for line in running.lines("query") if line.get("source") == "cache"]


def _everything(query, version):
    """Records of several types to ANY, and signatures of several to RRSIG."""
    signatures = [answers.rrsig(None, covered, 60) for covered in (A, TXT)]
    if query.qtype == answers.RRSIG:
        return message(query, signatures)
    if query.qtype == ANY:
        data = [answers.record(None, rtype, 60, dnsmsg.rdata_for(query.parts, rtype))
                for rtype in (A, TXT)]
        return message(query, data + signatures)
    return positive()(query, version)


@table("qtype", ("K-40-ANY", ANY), ("K-40-RRSIG", answers.RRSIG))
def test_any_and_rrsig_answer_no_other_type(env, qtype):
    env.allow_wrong_responses = True
    server = env.upstream(serve(_everything))
    env.proxy(server, cache=True)
    client = env.client()
    first, second = (client.ask(Query(qtype=qtype)).answer for _ in range(2))
    assert [r[:2] for r in first.records] == [r[:2] for r in second.records]
    assert len(server.queries) == 1
    for other in (A, TXT):
        for _ in range(2):
            assert env.assert_ok(client.ask(Query(qtype=other))).answer.qtype == other
    assert len(server.queries) == 3


@row("K-40")
def test_any_with_hinfo_is_cached_as_any_other(env):
    """RFC 8482 4.2."""
    env.allow_wrong_responses = True
    server = env.upstream(serve(lambda query, version: message(
        query, [answers.record(None, 13, 3600, b"\7RFC8482\0")])))
    env.proxy(server, cache=True)
    for _ in range(2):
        assert [r[1] for r in env.ask(Query(qtype=ANY)).answer.records] == [13]
    assert len(server.queries) == 1


@row("K-55")
def test_local_answers_are_not_cached(env):
    """`ready.dot-proxy.' changes as soon as an upstream has been connected to."""
    env.allow_wrong_responses = True
    server = env.upstream(serve(positive()))
    running = env.proxy(server, log={"queries": True}, cache=PLAIN)
    ready = Query("ready.dot-proxy", qtype=TXT, qclass=CH)
    assert env.ask(ready).rcode == SERVFAIL
    env.assert_ok(env.ask())
    assert env.ask(ready).rcode == dnsmsg.NOERROR
    for name, qtype, qclass in (("health.dot-proxy", TXT, CH), ("ready.dot-proxy", TXT, CH),
                                ("_dns.resolver.arpa", 64, dnsmsg.IN)):
        for _ in range(2):
            assert env.ask(Query(name, qtype=qtype, qclass=qclass)).rcode == dnsmsg.NOERROR
    running.stop()
    sources = {line.get("source") for line in running.lines("query")
               if line["name"].rstrip(".") != "example.test"}
    assert sources == {"local"}
    assert len(server.queries) == 1
