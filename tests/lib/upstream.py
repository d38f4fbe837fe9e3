"""
A scripted DNS-over-TLS server, or one in cleartext. It records all queries and connections and
sends the expected answer to each query, unless its Script defines a fault.
"""

import asyncio
import collections
import contextlib
import dataclasses
import random
import socket
import struct
import traceback
import typing

import cleartext
import dnsmsg
import tls
from clock import now


@dataclasses.dataclass(frozen=True)
class Script:
    """
    The behaviour of a server at each stage; None means the default. Stages are coroutines that
    get the Connection (and the query). Scripts are combined with `|`; the right operand wins.
    """

    listening: bool = None
    accepted: typing.Callable = None        # instead of TLS; the connection ends when it returns
    largest_hello: int = None               # a larger ClientHello is ignored, as if it was lost
    outgoing: typing.Callable = None        # instead of sending: gets the bytes of the TLS layer
    established: typing.Callable = None     # after the handshake, as a parallel task
    on_query: typing.Callable = None        # for each query: gets the connection and the query
    idle: float = None                      # seconds without a query after which it closes
    in_turn: bool = None                    # the next query is not read before this one is done
    tls: dict = None                        # changes of tls.Settings
    identity: object = None                 # replaces the right certificate

    def __or__(self, other):
        changes = {field.name: getattr(other, field.name) for field in dataclasses.fields(other)
                   if getattr(other, field.name) is not None}
        if self.tls and other.tls:
            changes["tls"] = {**self.tls, **other.tls}
        return dataclasses.replace(self, **changes)


HEALTHY = Script()


@dataclasses.dataclass(eq=False)
class ReceivedQuery:
    """A query as it arrived."""

    seen: dnsmsg.Seen
    connection: "Connection"
    at: float

    @property
    def name(self):
        return b".".join(self.seen.parts).decode("latin-1")

    @property
    def is_canary(self):
        own = self.connection.upstream.own_name
        return self.name == own and self.seen.qtype == dnsmsg.NS

    @property
    def number(self):
        """The number of earlier queries on this connection."""
        return self.connection.queries.index(self)

    def answer(self, **wrong):
        """The expected answer, changed by the arguments; `size-N.` makes it N bytes long."""
        for part in self.seen.parts:
            if part.startswith(b"size-"):
                wrong.setdefault("size", int(part[5:]))
        return dnsmsg.answer(self.seen, **wrong)

    @property
    def delay(self):
        """`delay-N.` delays the response by N ms."""
        return sum(int(part[6:]) for part in self.seen.parts if part.startswith(b"delay-")) / 1000


class Connection:
    """One connection to the server, and the record of it."""

    def __init__(self, upstream, sock, number):
        self.upstream = upstream
        self.sock = sock
        self.number = number
        self.peer_port = sock.getpeername()[1]
        self.opened = now()
        self.closed = None
        self.first_byte = None
        self.cleartext = None       # received data that is not a TLS record
        self.hello = b""            # the first record: the ClientHello
        self.established = None     # the time
        self.facts = {}
        self.queries = []
        self.reads = []             # the data of each TLS record
        self.ended = None           # how the client ended it: close_notify, eof, reset or an error
        self._session = None
        self._head = b""            # of the record that is being received
        self._skip = 0
        self._sending = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    # For use in scripts.

    async def reply(self, message):
        await self.send(dnsmsg.framed(message))

    async def send(self, data):
        """Sends bytes inside TLS, if the server has it."""
        async with self._sending:
            self._session.write(data)
            await self._flush()

    async def send_slowly(self, data, seconds):
        """Sends bytes inside TLS, one at a time."""
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(seconds)

    async def send_plain(self, data):
        """Sends bytes without TLS."""
        with contextlib.suppress(OSError):
            await self._loop.sock_sendall(self.sock, data)

    async def receive_plain(self):
        """The next data, or b"" at the end."""
        try:
            data = await self._loop.sock_recv(self.sock, 65536)
        except OSError:
            self.ended = self.ended or "reset"
            return b""
        if not data:
            self.ended = self.ended or "eof"
        self._inspect(data)
        return data

    async def silence(self):
        """Reads and ignores all data until the client disconnects."""
        while await self.receive_plain():
            pass

    async def close(self, notify=True):
        """Closes the connection with close_notify and FIN."""
        if notify and self._session:
            async with self._sending:
                self._session.close_notify()
                await self._flush()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        # Data still in flight must be read, else the kernel sends a reset.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._drain(), 1)
        self.abandon()

    def reset(self):
        """Resets the connection."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abandon()

    def abandon(self):
        if self.closed is None:
            self.closed = now()
            self._loop.remove_reader(self.sock.fileno())
            self._loop.remove_writer(self.sock.fileno())
            self.sock.close()
            if self._task is not asyncio.current_task():
                self._task.cancel()

    @property
    def is_established(self):
        """Whether the kernel reports the state ESTABLISHED."""
        state = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state == b"\x01"

    @property
    def session(self):
        return self._session

    async def flush(self):
        async with self._sending:
            await self._flush()

    # Implementation.

    async def run(self):
        self._task = asyncio.current_task()
        try:
            await self._serve()
        except (OSError, tls.Ended) as error:
            self.ended = self.ended or getattr(error, "how", None) or "reset"
            if self._session:
                with contextlib.suppress(OSError):
                    await self.flush()          # an alert, if there is one
        except Exception:
            self.upstream.errors.append(traceback.format_exc())
        finally:
            self.abandon()

    async def _serve(self):
        script = self.upstream.script
        if script.accepted:
            await script.accepted(self)
            return
        self._session = cleartext.Session() if self.upstream.cleartext else \
            tls.session(self.upstream.context())
        if script.largest_hello and await self._hello_size() > script.largest_hello:
            await self.silence()
            return
        while not self._session.handshake():
            await self._flush()
            await self._take()
        await self._flush()
        self.facts = self._session.facts
        self.established = now()
        tasks = []
        if script.established:
            tasks.append(asyncio.ensure_future(script.established(self)))
        try:
            await self._take_queries(tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _hello_size(self):
        """Reads the ClientHello, which is one record."""
        while len(self.hello) < 5 or len(self.hello) < self.hello_size:
            await self._take()
        return self.hello_size

    @property
    def hello_size(self):
        """The bytes of the ClientHello on the wire."""
        return 5 + int.from_bytes(self.hello[3:5], "big")

    async def _take_queries(self, tasks):
        buffer = b""
        while True:
            data = self._session.read()
            if data is None:
                await self.flush()
                if not await self._take_or_idle():
                    return
                continue
            self.reads.append(data)
            buffer += data
            while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], "big"):
                size = 2 + int.from_bytes(buffer[:2], "big")
                query = ReceivedQuery(dnsmsg.read(buffer[2:size]), self, now())
                buffer = buffer[size:]
                self.queries.append(query)
                script = self.upstream.script
                work = self._guarded(script.on_query or answer, query)
                if script.in_turn:
                    await work
                else:
                    tasks.append(asyncio.ensure_future(work))
                if self.closed:
                    return

    async def _guarded(self, work, query):
        try:
            await work(self, query)
        except (OSError, tls.Ended):
            pass            # the client is gone
        except Exception:
            self.upstream.errors.append(traceback.format_exc())

    async def _take_or_idle(self):
        idle = self.upstream.script.idle
        try:
            await asyncio.wait_for(self._take(), idle)
        except asyncio.TimeoutError:
            await self.close()
            return False
        return True

    async def _take(self):
        try:
            data = await self._loop.sock_recv(self.sock, 65536)
        except OSError:
            self.ended = self.ended or "reset"
            raise
        self._inspect(data)
        self._session.feed(data)
        if not data:
            raise tls.Ended("eof")

    async def _drain(self):
        while True:
            data = await self._loop.sock_recv(self.sock, 65536)
            self._inspect(data)
            if self._session and self.established and not self.ended:
                self._session.feed(data)
                try:
                    while self._session.read():
                        pass
                except tls.Ended as end:
                    self.ended = end.how
            if not data:
                return

    async def _flush(self):
        data = self._session.pending()
        if not data:
            return
        if self.upstream.script.outgoing:
            await self.upstream.script.outgoing(self, data)
        else:
            await self._loop.sock_sendall(self.sock, data)

    def _inspect(self, data):
        """Checks the record headers of received data: everything must be TLS (promise O4)."""
        if self.established is None and len(self.hello) < 16384:
            self.hello += data
        if self.first_byte is None and data:
            self.first_byte = data[0]
        while data and not self.upstream.cleartext:
            step = min(self._skip, len(data))
            self._skip -= step
            data = data[step:]
            if self._skip or not data:
                return
            need = 5 - len(self._head)
            self._head, data = self._head + data[:need], data[need:]
            if self._head[0] not in (20, 21, 22, 23) and self.cleartext is None:
                self.cleartext = self._head + data
                return
            if len(self._head) == 5:
                self._skip = int.from_bytes(self._head[3:], "big")
                self._head = b""


async def answer(connection, query):
    """The behaviour of a healthy server."""
    if query.delay:
        await asyncio.sleep(query.delay)
    await connection.reply(query.answer())


class Upstream:
    """
    The server. The thread of the test creates and controls it; its connections run in the loop.
    It binds its own address in 127.0.0.0/8, so that its port stays free when it restarts. One in
    CLEARTEXT runs the same scripts, without a handshake.
    """

    def __init__(self, loop, authority, script=HEALTHY, hostname="dot.test", address=None,
                 make_socket=socket.socket, identity=None, cleartext=False):
        self.loop = loop
        self.own_name = ""          # what the proxy's own queries to it are about
        self.authority = authority
        self.cleartext = cleartext
        self.hostname = None if cleartext else hostname
        self.address = address or own_address()
        self.connections = []
        self.most_at_once = 0
        self.errors = []            # exceptions in scripts and in this module
        self.versions = collections.Counter()       # of responses, see answers.py
        self._make_socket = make_socket
        self._contexts = {}
        self.identity = identity or authority.identity(dns=[hostname], ip=[self.address])
        self.script = HEALTHY
        self._listener = self._bind(0)
        self.port = self._listener.getsockname()[1]
        self.do(script)

    # What tests use.

    def do(self, *scripts):
        """Replaces the script by these; other stages get the default behaviour."""
        script = HEALTHY
        for other in scripts:
            script = script | other
        self.loop.call(self._do(script))

    def close_all(self):
        """Closes every connection without close_notify."""
        self.loop.call(self._close_all())

    def reset(self):
        """Resets every connection."""
        self.loop.call(self._close_all(Connection.reset))

    def restart(self, *scripts):
        """Closes every connection and replaces the script."""
        self.close_all()
        self.do(*scripts)

    def close(self):
        self.loop.call(self._close())

    def config(self, **changes):
        """Its entry in the list of upstreams."""
        entry = {"address": self.address, "port": self.port, "hostname": self.hostname,
                 "cleartext": self.cleartext or None}
        entry.update(changes)
        return {key: value for key, value in entry.items() if value is not None}

    @property
    def name(self):
        """Its name in the log of the proxy."""
        return " ".join(filter(None, (with_port(self.address, self.port), self.hostname)))

    @property
    def queries(self):
        """The queries of clients."""
        return [query for query in self.arrived if not query.is_canary]

    @property
    def canaries(self):
        """`. NS': the own queries of the proxy, `probe' and `healthcheck --upstream'."""
        return [query for query in self.arrived if query.is_canary]

    @property
    def arrived(self):
        """All queries; a client may send `. NS' as well."""
        return [query for connection in list(self.connections)
                for query in list(connection.queries)]

    @property
    def handshakes(self):
        return [c for c in list(self.connections) if c.established]

    @property
    def open_connections(self):
        return [c for c in list(self.connections) if c.closed is None]

    def queries_for(self, name):
        """The queries for a name."""
        return [query for query in self.queries if query.name.lower() == name.lower()]

    def context(self):
        """The TLS context of the current script."""
        identity = self.script.identity or self.identity
        settings = tls.Settings(**(self.script.tls or {}))
        key = settings, id(identity)
        if key not in self._contexts:
            # The identity is stored too, so that its id() stays unique.
            self._contexts[key] = tls.context(settings, identity), identity
        return self._contexts[key][0]

    def forget_sessions(self):
        """Refuses the tickets that were issued so far."""
        self._contexts.clear()

    # Implementation.

    def _bind(self, port):
        listener = self._make_socket(family(self.address), socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((self.address, port))
        return listener

    async def _do(self, script):
        was, self.script = self.script, script
        listen = script.listening is not False
        if listen and (was.listening is False or not self._is_listening()):
            self._listener.listen(4096)
            self.loop.loop.add_reader(self._listener.fileno(), self._accept)
        elif not listen and self._is_listening():
            self.loop.loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = self._bind(self.port)

    def _is_listening(self):
        return self._listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1

    def _accept(self):
        try:
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, len(self.connections))
        except OSError:
            return
        self.connections.append(connection)
        self.most_at_once = max(self.most_at_once,
                                sum(c.is_established for c in self.open_connections))
        connection._task = self.loop.loop.create_task(connection.run())

    async def _close(self):
        self.loop.loop.remove_reader(self._listener.fileno())
        self._listener.close()
        await self._close_all()

    async def _close_all(self, how=Connection.abandon):
        for connection in self.open_connections:
            how(connection)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def with_port(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def own_address():
    """A random address in 127.0.0.0/8, unlikely to be in use."""
    pick = random.SystemRandom().randrange
    return f"127.{pick(1, 255)}.{pick(0, 255)}.{pick(1, 255)}"
