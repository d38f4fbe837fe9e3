"""A DNS client over TCP that accounts for its queries and responses."""

import contextlib
import dataclasses
import socket
import struct

import dnsmsg
import sockdiag
import upstream
from clock import now, wait_until


@dataclasses.dataclass(eq=False)
class Exchange:
    """One message that was sent, and its response."""

    sent: bytes
    query: dnsmsg.Query         # None for a message that is no well-formed query
    at: float
    answer: dnsmsg.Seen = None
    answered: float = None

    @property
    def took(self):
        return self.answered - self.at

    @property
    def rcode(self):
        return self.answer.rcode

    def matches(self, seen):
        """Whether a response matches this message (promise O2)."""
        if seen.ident != int.from_bytes(self.sent[:2], "big"):
            return False
        if not seen.flags & dnsmsg.QR or seen.opcode != self.sent[2] >> 3 & 15:
            return False
        return self.query is None or seen.question == self.query.question


class Client:
    """
    One connection to the proxy. receive() accepts only responses to unanswered queries. When the
    test ends, env.py checks that each query was answered once.
    """

    truncates = False       # whether responses may be truncated, with TC

    def __init__(self, address, loop, make_socket=socket.socket, receive_buffer=None, source=None):
        self.loop = loop
        self._make_socket = make_socket
        self.exchanges = []
        self.unanswered = []
        self.abandoned = False       # the test closed it with queries in flight
        self.ended = None           # the time at which the proxy closed it
        self.how = None             # eof or reset
        self._buffer = b""
        self.sock = make_socket(upstream.family(address[0]), socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(5)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened = now()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *messages):
        """Sends queries (or messages as bytes) in one write; returns an exchange for each."""
        made = [self._note(message) for message in messages]
        self.send_bytes(b"".join(dnsmsg.framed(exchange.sent) for exchange in made))
        moment = now()
        for exchange in made:
            exchange.at = moment
        return made

    def expect(self, message):
        """Registers a query whose bytes the test sends itself."""
        return self._note(message)

    def _note(self, message):
        query = None if isinstance(message, bytes) else message
        exchange = Exchange(query.wire if query else message, query, now())
        self.exchanges.append(exchange)
        self.unanswered.append(exchange)
        return exchange

    def send_bytes(self, data):
        self.sock.sendall(data)

    def ask(self, query="example.test", seconds=10, **fields):
        """Sends a query and waits for its response."""
        if isinstance(query, (str, tuple)):
            query = dnsmsg.Query(query, **fields)
        exchange, = self.send(query)
        self.receive_until(exchange, seconds)
        return exchange

    def receive(self, seconds=10):
        """The next exchange that is answered; None when the connection has ended."""
        message = self._receive_message(seconds)
        if message is None:
            return None
        seen = dnsmsg.read(message)
        for exchange in self.unanswered:
            if exchange.matches(seen):
                exchange.answer, exchange.answered = seen, now()
                self.unanswered.remove(exchange)
                return exchange
        raise AssertionError(f"O1, O2: unsolicited response: {message[:80].hex()} ({seen})")

    def receive_until(self, exchange, seconds=10):
        limit = now() + seconds
        while exchange.answer is None:
            if self.receive(limit - now()) is None:
                raise AssertionError(f"closed ({self.how}) without an answer to {exchange.query}")
        return exchange

    def receive_all(self, seconds=10):
        """Until nothing is unanswered."""
        limit = now() + seconds
        while self.unanswered:
            if self.receive(limit - now()) is None:
                raise AssertionError(f"closed ({self.how}) with {len(self.unanswered)} unanswered")

    def _receive_message(self, seconds):
        while True:
            if len(self._buffer) >= 2:
                size, = struct.unpack("!H", self._buffer[:2])
                if len(self._buffer) >= 2 + size:
                    message, self._buffer = self._buffer[2:2 + size], self._buffer[2 + size:]
                    return message
            if not self._receive_more(seconds):
                return None

    def _receive_more(self, seconds):
        if self.ended is not None:
            return False
        self.sock.settimeout(max(0.001, seconds))
        try:
            data = self.sock.recv(1 << 18)
        except socket.timeout:
            raise AssertionError(
                f"O1: silence on an open connection, {len(self.unanswered)} unanswered") from None
        except ConnectionError:
            data = b""
            self.how = "reset"
        self._buffer += data
        if not data:
            self.ended = now()
            self.how = self.how or "eof"
        return bool(data)

    def wait_closed(self, seconds=10):
        """Waits until the proxy closes, and reads responses until then; returns the time."""
        limit = now() + seconds
        while self.receive(limit - now()) is not None:
            pass
        assert not self._buffer, f"half a message before the end: {self._buffer.hex()}"
        return self.ended

    def wait_read(self, seconds=2):
        """Waits until the proxy has read all that was sent."""
        own, peer = self.sock.getsockname()[:2], self.sock.getpeername()[:2]

        def taken():
            return any(remote == own and not unread and inode for remote, unread, inode
                       in sockdiag.connections(peer, self._make_socket))
        wait_until(taken, seconds, "the proxy reads")

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def finish(self, seconds=5):
        """Ends the connection after all responses; only the close may follow (O1)."""
        with contextlib.suppress(OSError):
            self.half_close()
        extra = self.receive(seconds)
        assert extra is None, f"O1: surplus response: {extra}"
        self.close()

    def reset(self):
        self.abandoned = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        """Closes and abandons unanswered queries."""
        self.abandoned = True
        with contextlib.suppress(OSError):
            self.sock.close()

    @property
    def is_closed(self):
        return self.sock.fileno() == -1

    def settle(self, limit):
        """Waits until each query is answered or the connection is closed."""
        if self.is_closed:
            return
        while self.unanswered and self.receive(max(0.001, limit - now())) is not None:
            pass

    def closed_by_peer(self):
        """Whether the proxy has closed; without reading anything."""
        if self.ended is not None:
            return True
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def wait_closed_unread(self, seconds):
        wait_until(self.closed_by_peer, seconds, "closed by the proxy")
        return now()


def proc_name(address):
    """An address and its port as /proc/net/tcp writes them."""
    data = socket.inet_pton(upstream.family(address[0]), address[0])
    words = struct.unpack(f"={len(data) // 4}I", data)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
