"""DNS messages as bytes: queries, the expected answer to each, and a parser."""

import dataclasses
import hashlib
import random
import struct

QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
A, NS, SOA, TXT, AAAA, OPT, IXFR, AXFR, ANY = 1, 2, 6, 16, 28, 41, 251, 252, 255
IN, CH = 1, 3
DO = 0x8000
EDE = 15
TTL = 300
FILLER = 65280          # a private type (RFC 6895 3.1) that makes responses of the requested size


def labels(name):
    """The labels of a name that needs no escapes."""
    return tuple(part.encode() for part in name.rstrip(".").split(".") if part)


def name_wire(parts):
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def header(ident, flags, *counts):
    return struct.pack("!6H", ident, flags, *counts)


def record(owner, rtype, rclass, ttl, rdata):
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(rdata)) + rdata


def option(code, data=b""):
    return struct.pack("!HH", code, len(data)) + data


def opt(options=b"", size=1232, flags=0, version=0, rcode_high=0):
    return record(b"\0", OPT, size, rcode_high << 24 | version << 16 | flags, options)


def framed(message):
    return struct.pack("!H", len(message)) + message


@dataclasses.dataclass(frozen=True)
class Query:
    """A well-formed query; `name` is a string, or a tuple of labels of any bytes."""

    name: object = "example.test"
    qtype: int = A
    qclass: int = IN
    ident: int = dataclasses.field(default_factory=lambda: random.randrange(65536))
    flags: int = RD
    edns: bytes = None          # a whole OPT record

    @property
    def parts(self):
        return labels(self.name) if isinstance(self.name, str) else self.name

    @property
    def question(self):
        return name_wire(self.parts) + struct.pack("!HH", self.qtype, self.qclass)

    @property
    def wire(self):
        edns = self.edns or b""
        return header(self.ident, self.flags, 1, 0, 0, 1 if edns else 0) + self.question + edns


def rdata_for(parts, qtype):
    """The RDATA of the expected answer, which depends on the name."""
    digest = hashlib.sha256(name_wire(parts).lower() + struct.pack("!H", qtype)).digest()
    if qtype == A:
        return b"\x0a" + digest[:3]
    if qtype == AAAA:
        return b"\xfd" + digest[:15]
    if qtype == TXT:
        return b"\x20" + digest.hex()[:32].encode()
    return digest[:16]


@dataclasses.dataclass
class Seen:
    """A message as read; `error` is set when it cannot be read as one."""

    wire: bytes
    ident: int = 0
    flags: int = 0
    counts: tuple = (0, 0, 0, 0)
    parts: tuple = ()
    qtype: int = 0
    qclass: int = 0
    question: bytes = b""
    records: list = dataclasses.field(default_factory=list)     # (section, type, class, ttl, rdata)
    error: str = None

    @property
    def opcode(self):
        return self.flags >> 11 & 15

    @property
    def opt(self):
        return next((r for r in self.records if r[1] == OPT), None)

    @property
    def rcode(self):
        return self.flags & 15 | (self.opt[3] >> 24 << 4 if self.opt else 0)

    @property
    def options(self):
        """The EDNS options as a list of (code, data)."""
        found, data = [], self.opt[4] if self.opt else b""
        while len(data) >= 4:
            code, size = struct.unpack("!HH", data[:4])
            found.append((code, data[4:4 + size]))
            data = data[4 + size:]
        return found

    @property
    def ede(self):
        """The Extended DNS Errors as a list of (info code, text)."""
        return [(struct.unpack("!H", data[:2])[0], data[2:].decode())
                for code, data in self.options if code == EDE]

    @property
    def rdatas(self):
        """The data of the answers to the question itself."""
        return [r[4] for r in self.records if r[0] == 1 and r[1] == self.qtype]

    @property
    def is_correct(self):
        """Whether it is the expected answer to its own question."""
        return self.rcode == NOERROR and rdata_for(self.parts, self.qtype) in self.rdatas


def read(wire):
    seen = Seen(wire)
    try:
        _read(seen)
    except (struct.error, IndexError, ValueError) as error:
        seen.error = str(error) or type(error).__name__
    return seen


def _read(seen):
    wire = seen.wire
    seen.ident, seen.flags, *counts = struct.unpack("!6H", wire[:12])
    seen.counts = tuple(counts)
    at = 12
    for _ in range(counts[0]):
        parts, at = _read_name(wire, at)
        qtype, qclass = struct.unpack("!HH", wire[at:at + 4])
        at += 4
        if not seen.question:
            seen.parts, seen.qtype, seen.qclass = parts, qtype, qclass
            seen.question = wire[12:at]
    for section in (1, 2, 3):
        for _ in range(counts[section]):
            _, at = _read_name(wire, at)
            rtype, rclass, ttl, size = struct.unpack("!HHIH", wire[at:at + 10])
            at += 10 + size
            if at > len(wire):
                raise ValueError("a record ends behind the message")
            seen.records.append((section, rtype, rclass, ttl, wire[at - size:at]))
    if at != len(wire):
        raise ValueError(f"{len(wire) - at} bytes after the end")


def _read_name(wire, at):
    parts = []
    while wire[at]:
        size = wire[at]
        if size >= 0xc0:
            return tuple(parts), at + 2
        if size > 63 or at + 1 + size >= len(wire):
            raise ValueError("broken name")
        parts.append(wire[at + 1:at + 1 + size])
        at += 1 + size
    return tuple(parts), at + 1


def outside_opt(wire, with_tail=True):
    """The message without its OPT, and perhaps without the records behind it."""
    if opt_at(wire) is None:
        return wire
    start, end, behind = opt_at(wire)
    count = int.from_bytes(wire[10:12], "big") - 1 - (0 if with_tail else behind)
    return wire[:10] + struct.pack("!H", count) + wire[12:start] + wire[end:] * with_tail


def opt_at(wire):
    """Where the OPT of a message begins and ends, and how many records are behind it, or None."""
    counts = struct.unpack("!4H", wire[4:12])
    at = 12
    for _ in range(counts[0]):
        at = _read_name(wire, at)[1] + 4
    for behind in reversed(range(sum(counts[1:]))):
        start = at
        at = _read_name(wire, at)[1] + 10
        rtype, _, _, size = struct.unpack("!HHIH", wire[at - 10:at])
        at += size
        if rtype == OPT:
            return start, at, behind
    return None


def answer(query, *, ident=None, flags=None, parts=None, qtype=None, qclass=None, rcode=NOERROR,
           questions=1, options=b"", size=0, empty=False):
    """The expected answer to a query (as read), changed by the arguments."""
    parts = query.parts if parts is None else parts
    qtype = query.qtype if qtype is None else qtype
    qclass = query.qclass if qclass is None else qclass
    question = name_wire(parts) + struct.pack("!HH", qtype, qclass)
    records = []
    if rcode == NOERROR and not empty:
        records.append(record(b"\xc0\x0c" if questions else name_wire(parts), qtype, qclass, TTL,
                              rdata_for(parts, qtype)))
    extra = opt(options, rcode_high=rcode >> 4) if query.opt else b""
    if flags is None:
        flags = QR | RA | query.flags & (RD | CD)
    body = question * questions + b"".join(records)
    missing = size - 12 - len(body) - len(extra) - 12
    if missing >= 0:
        body += record(b"\xc0\x0c", FILLER, IN, TTL, bytes(missing))
        records.append(None)
    return header(query.ident if ident is None else ident, flags | rcode & 15,
                  questions, len(records), 0, 1 if extra else 0) + body + extra
