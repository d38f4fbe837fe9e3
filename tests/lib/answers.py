"""
Responses with chosen records and TTLs, and scripts of servers that send them. Each has a version
in it, the number of queries for its question so far, which says whether a response is a new one.
"""

import asyncio
import struct

import dnsmsg
from dnsmsg import AD, CD, DO, QR, RA, RD
from upstream import Script, answer

CNAME, RRSIG, NSEC = 5, 46, 47
CNAME_TTL = 300
MARK = b"\x7f"          # the first byte of data that has a version

# EDNS options, and Extended DNS Errors (RFC 8914 4).
NSID, COOKIE, KEEPALIVE, PADDING, REPORT_CHANNEL, ZONEVERSION = 3, 10, 11, 12, 18, 19
STALE, DNSSEC_BOGUS, CACHED_ERROR, STALE_NXDOMAIN = 3, 6, 13, 19


# Records.


def record(owner, rtype, ttl, rdata, rclass=dnsmsg.IN):
    """OWNER is a name, or labels; None is the name of the question."""
    if owner is None:
        wire = b"\xc0\x0c"
    else:
        wire = dnsmsg.name_wire(dnsmsg.labels(owner) if isinstance(owner, str) else owner)
    return dnsmsg.record(wire, rtype, rclass, ttl, rdata)


def cname(owner, target, ttl=CNAME_TTL):
    return record(owner, CNAME, ttl, dnsmsg.name_wire(dnsmsg.labels(target)))


def soa(owner, ttl, minimum, version=0):
    """The version is the serial number."""
    names = dnsmsg.name_wire((b"ns",)) + dnsmsg.name_wire((b"root",))
    return record(owner, dnsmsg.SOA, ttl, names + struct.pack("!5I", version, 1, 2, 3, minimum))


def rrsig(owner, covered, ttl, original_ttl=3600):
    """A signature of the right form."""
    fixed = struct.pack("!HBBIIIH", covered, 13, 2, original_ttl, 2**31, 1, 4711)
    return record(owner, RRSIG, ttl, fixed + dnsmsg.name_wire((b"test",)) + bytes(64))


def data(query, version, ttl, owner=None):
    """The records of the expected answer: its data, and data that has the version."""
    return [record(owner, query.qtype, ttl, rdata, query.qclass)
            for rdata in (dnsmsg.rdata_for(query.parts, query.qtype),
                          version_data(query.qtype, version))]


def version_data(qtype, version):
    rdata = MARK + version.to_bytes(3, "big")
    if qtype == dnsmsg.TXT:
        return bytes([len(rdata)]) + rdata
    return rdata.ljust(16, b"\0") if qtype == dnsmsg.AAAA else rdata


def version(exchange):
    """The version of a response; None if it has none."""
    seen = exchange.answer
    for section, rtype, _, _, rdata in seen.records:
        if section == 2 and rtype == dnsmsg.SOA:
            return int.from_bytes(rdata[-20:-16], "big")
    for rdata in seen.rdatas:
        body = rdata[1:] if seen.qtype == dnsmsg.TXT else rdata
        if body[:1] == MARK:
            return int.from_bytes(body[1:4], "big")
    return None


def ttls(exchange):
    """The TTLs of all records, in the order of the response, without the OPT."""
    return [ttl for _, rtype, _, ttl, _ in exchange.answer.records if rtype != dnsmsg.OPT]


# Responses.


def message(query, records=(), authority=(), additional=(), rcode=dnsmsg.NOERROR, flags=0,
            options=b"", questions=1, tail=b""):
    """
    A response to a query, with these flags added. AD is a wish: the client has to understand it
    (RFC 6840 5.8). TAIL is behind the last record.
    """
    if not _understands_ad(query):
        flags &= ~AD
    extra = [dnsmsg.opt(options, flags=query.opt[3] & DO, rcode_high=rcode >> 4)] \
        if query.opt else []
    sections = list(records), list(authority), [*extra, *additional]
    return dnsmsg.header(query.ident, QR | RA | query.flags & (RD | CD) | flags | rcode & 15,
                         questions, *map(len, sections)) \
        + query.question * questions + b"".join(b"".join(part) for part in sections) + tail


def _understands_ad(query):
    return bool(query.flags & AD or query.opt and query.opt[3] & DO)


# What serve() calls to make responses: functions of the query and the version.


def positive(ttl=60, **more):
    """The expected answer."""
    return lambda query, version: message(query, data(query, version, ttl), **more)


def signed(ttl=60):
    """With DNSSEC records for a query that has DO."""
    def make(query, version):
        if not query.opt or not query.opt[3] & DO:
            return positive(ttl)(query, version)
        return message(query, data(query, version, ttl) + [rrsig(None, query.qtype, ttl)],
                       [record("test", NSEC, ttl, dnsmsg.name_wire((b"z",)) + b"\0\1\x40")],
                       flags=AD)
    return make


def negative(rcode=dnsmsg.NOERROR, ttl=60, minimum=60, zone="test", **more):
    """NXDOMAIN or, with NOERROR, NODATA. A zone of None: without SOA."""
    def make(query, version):
        authority = [] if zone is None else [soa(zone, ttl, minimum, version)]
        return message(query, (), authority, rcode=rcode, **more)
    return make


def chain(*links, ttl=60, end=None):
    """
    A chain of CNAMEs, given as pairs in the order of the response, behind which are the expected
    data at the name END. The owner None is the name of the question.
    """
    def make(query, version):
        return message(query, [cname(owner, target) for owner, target in links]
                       + (data(query, version, ttl, end) if end else []))
    return make


def failure(rcode=dnsmsg.SERVFAIL, ede=None, text=b"", **more):
    options = b"" if ede is None else dnsmsg.option(dnsmsg.EDE, ede.to_bytes(2, "big") + text)
    return lambda query, version: message(query, rcode=rcode, options=options, **more)


def large(size, ttl=60):
    """The expected answer, and a record that makes it that long."""
    def make(query, version):
        whole = message(query, data(query, version, ttl))
        filler = record(None, dnsmsg.FILLER, ttl, b"")
        return message(query, data(query, version, ttl)
                       + [record(None, dnsmsg.FILLER, ttl, bytes(size - len(whole) - len(filler)))])
    return make


def by_name(makers, otherwise=positive()):
    """Different responses for the names of a dictionary."""
    def make(query, version):
        name = b".".join(query.parts).decode().lower()
        return makers.get(name, otherwise)(query, version)
    return make


# Servers.


def serve(make, delay=0.0):
    """Answers with what MAKE returns for the query and the version; None: not at all."""
    async def asked(connection, query):
        if query.is_canary:
            await answer(connection, query)
            return
        versions = connection.upstream.versions
        versions[query.seen.question.lower()] += 1
        response = make(query.seen, versions[query.seen.question.lower()])
        await asyncio.sleep(delay + query.delay)
        if response is not None:
            await connection.reply(response)
    return Script(on_query=asked)
