"""
Load that accounts for every query, as a separate process so that it has a CPU of its own. Writes
its results as JSON: churn.py HOST PORT SECONDS RATE KIND, where KIND is

  single  a connection for each query
  kept    persistent connections; a query on one that is closed without a response is not lost: it
          is resent on a new connection (RFC 7766 6.2.4)
"""

import collections
import json
import select
import socket
import sys
import time

import dnsmsg

RESPONSE_TIMEOUT = 6.0
QUERIES_PER_CONNECTION = 200
now = time.monotonic


class Connection:
    """One connection and its query in flight."""

    def __init__(self, sock):
        self.sock = sock
        self.sent = 0
        self.query = None
        self.data = b""


class Load:
    def __init__(self, address, seconds, rate, kept):
        self.address = address
        self.kept = kept
        self.end = now() + seconds
        self.interval = 1 / rate
        self.poll = select.epoll()
        self.busy = {}
        self.idle = collections.deque()
        self.number = 0
        self.seen = {"answered": 0, "again": 0, "servfail": 0, "lost": [], "wrong": [],
                     "slowest": 0.0}

    def run(self):
        due = now()
        while now() < self.end or self.busy:
            while due <= now() < self.end:
                self.number += 1
                self.ask(self.query())
                due += self.interval
            wait = due - now() if now() < self.end else 0.1
            for fd, _ in self.poll.poll(max(0.0, wait)):
                self.receive(self.busy[fd])
            self.give_up()
        self.seen["asked"] = self.number
        return self.seen

    def query(self):
        kind = "kept" if self.kept else "single"
        return dnsmsg.Query(f"q{self.number}.{kind}.test", ident=self.number % 65536), now()

    def ask(self, query, fresh=False):
        connection = self.idle.popleft() if self.idle and not fresh else self.connect()
        if connection is None:
            self.lost(query, "refused")
            return
        connection.query, connection.data = query, b""
        connection.sent += 1
        try:
            connection.sock.send(dnsmsg.framed(query[0].wire))
        except OSError:
            pass            # the close is seen at the next read
        self.busy[connection.sock.fileno()] = connection
        self.poll.register(connection.sock.fileno(), select.EPOLLIN)

    def connect(self):
        sock = socket.socket()
        sock.settimeout(RESPONSE_TIMEOUT)
        try:
            sock.connect(self.address)
        except OSError:
            sock.close()
            return None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        return Connection(sock)

    def receive(self, connection):
        try:
            data = connection.sock.recv(65536)
        except OSError:
            data = b""
        connection.data += data
        if not data:
            self.closed(connection)
        elif len(connection.data) >= 2 + int.from_bytes(connection.data[:2], "big"):
            self.answered(connection)

    def release(self, connection, close):
        del self.busy[connection.sock.fileno()]
        self.poll.unregister(connection.sock.fileno())
        if close:
            connection.sock.close()

    def answered(self, connection):
        query, asked_at = connection.query
        done = not self.kept or connection.sent >= QUERIES_PER_CONNECTION
        self.release(connection, done)
        if not done:
            self.idle.append(connection)
        self.seen["slowest"] = max(self.seen["slowest"], now() - asked_at)
        seen = dnsmsg.read(connection.data[2:])
        if seen.ident != query.ident or seen.question != query.question:
            self.seen["wrong"].append(f"{query.name}: {connection.data.hex()}")
        elif seen.rcode == dnsmsg.SERVFAIL:
            self.seen["servfail"] += 1
        elif seen.is_correct:
            self.seen["answered"] += 1
        else:
            self.seen["wrong"].append(f"{query.name}: {connection.data.hex()}")

    def closed(self, connection):
        self.release(connection, True)
        if self.kept and not connection.data:
            self.seen["again"] += 1
            self.ask(connection.query, fresh=True)
        else:
            self.lost(connection.query, "closed")

    def lost(self, query, how):
        self.seen["lost"].append((query[1], now(), how))

    def give_up(self):
        for connection in [a for a in self.busy.values() if now() > a.query[1] + RESPONSE_TIMEOUT]:
            self.release(connection, True)
            self.lost(connection.query, "silence")


if __name__ == "__main__":
    host, port, seconds, rate, kind = sys.argv[1:]
    print(json.dumps(Load((host, int(port)), float(seconds), float(rate), kind == "kept").run()))
