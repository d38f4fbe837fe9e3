"""A DNS client over UDP, and datagrams with forged sources."""

import contextlib
import socket
import struct

import dnsmsg
import upstream
from client import Client
from clock import now

UDP = socket.IPPROTO_UDP


class Datagrams(Client):
    """
    One UDP socket. Responses must come from the address of the query and match it; Client
    accounts for them.
    """

    truncates = True

    def __init__(self, address, loop, make_socket=socket.socket, source=None, port=0):
        self.loop = loop
        self.exchanges = []
        self.unanswered = []
        self.abandoned = False
        self.ended = None
        self.how = "nothing more comes"
        self.address = address
        self.sizes = []             # of the received datagrams
        self.sock = make_socket(upstream.family(address[0]), socket.SOCK_DGRAM)
        if source:
            self.sock.bind((source, port))
        # A thousand responses may arrive at once.
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)    # SO_RCVBUFFORCE

    def send(self, *messages):
        """Sends a datagram for each query (or message as bytes); returns an exchange for each."""
        made = [self._note(message) for message in messages]
        for exchange in made:
            self.sock.sendto(exchange.sent, self.address)
        return made

    def repeat(self, exchange):
        """Retransmits a query, as a resolver does."""
        self.sock.sendto(exchange.sent, self.address)

    def _receive_message(self, seconds):
        self.sock.settimeout(max(0.001, seconds))
        try:
            message, source = self.sock.recvfrom(65536)
        except socket.timeout:
            return None
        assert source[:2] == tuple(self.address)[:2], f"queried {self.address}, not {source}"
        self.sizes.append(len(message))
        return message

    def assert_silent(self, seconds=0.2):
        message = self._receive_message(seconds)
        assert message is None, message.hex()

    def finish(self):
        """No surplus response: on loopback all packets have arrived by now."""
        self.assert_silent(0.001)
        self.close()

    def closed_by_peer(self):
        return True         # the proxy has no descriptor for it


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(source, to, payload):
    """An IP packet with a datagram in it, from (host, port) to (host, port)."""
    v6 = ":" in to[0]
    source_host, to_host = (socket.inet_pton(upstream.family(to[0]), end[0])
                            for end in (source, to))
    head = struct.pack("!HHHH", source[1], to[1], 8 + len(payload), 0)
    length = struct.pack("!II", 8 + len(payload), UDP) if v6 else \
        struct.pack("!BBH", 0, UDP, 8 + len(payload))
    pseudo = source_host + to_host + length
    head = head[:6] + struct.pack("!H", checksum(pseudo + head + payload) or 0xffff)
    if v6:
        return struct.pack("!IHBB", 6 << 28, 8 + len(payload), UDP, 64) + source_host + to_host \
            + head + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 1, 0x4000, 64, UDP, 0,
                     source_host, to_host)
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + head + payload


class Packet:
    """An IP packet with a datagram, or a part of one, as it came."""

    def __init__(self, data):
        self.data = data
        self.v6 = data[0] >> 4 == 6
        if self.v6:
            self.protocol, start = data[6], 40
            self.source, self.to = (socket.inet_ntop(socket.AF_INET6, data[n:n + 16])
                                    for n in (8, 24))
            self.is_fragment = self.protocol == 44
            self.may_be_cut = False
        else:
            self.protocol, start = data[9], (data[0] & 15) * 4
            self.source, self.to = (socket.inet_ntoa(data[n:n + 4]) for n in (12, 16))
            flags, = struct.unpack("!H", data[6:8])
            self.is_fragment = bool(flags & 0x3fff)
            self.may_be_cut = not flags & 0x4000
        self.is_udp = self.protocol == UDP
        self.ports = struct.unpack("!HH", data[start:start + 4]) if self.is_udp else None
        self.message = dnsmsg.read(data[start + 8:]) if self.is_udp else None


def too_big(data, mtu):
    """The ICMP message of a router about a packet larger than the next link's MTU."""
    inner = data[:28]
    icmp = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + inner
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0, data[16:20],
                     data[12:16])
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + icmp


def wait_packet(read, seconds=5):
    """The next packet with a datagram in it that READ gives (None: nothing now)."""
    limit = now() + seconds
    while now() < limit:
        data = read()
        if data and Packet(data).is_udp:
            return Packet(data)
    raise AssertionError(f"no datagram within {seconds} s")
