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

PATIENCE = 6.0
QUERIES_PER_CONNECTION = 200
now = time.monotonic


class Asking:
    """One connection and its query in flight."""

    def __init__(self, sock):
        self.sock = sock
        self.asked = 0
        self.query = None
        self.octets = b""


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
        asking = self.idle.popleft() if self.idle and not fresh else self.connect()
        if asking is None:
            self.lost(query, "refused")
            return
        asking.query, asking.octets = query, b""
        asking.asked += 1
        try:
            asking.sock.send(dnsmsg.framed(query[0].wire))
        except OSError:
            pass            # the close is seen at the next read
        self.busy[asking.sock.fileno()] = asking
        self.poll.register(asking.sock.fileno(), select.EPOLLIN)

    def connect(self):
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        try:
            sock.connect(self.address)
        except OSError:
            sock.close()
            return None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        return Asking(sock)

    def receive(self, asking):
        try:
            data = asking.sock.recv(65536)
        except OSError:
            data = b""
        asking.octets += data
        if not data:
            self.closed(asking)
        elif len(asking.octets) >= 2 + int.from_bytes(asking.octets[:2], "big"):
            self.answered(asking)

    def release(self, asking, close):
        del self.busy[asking.sock.fileno()]
        self.poll.unregister(asking.sock.fileno())
        if close:
            asking.sock.close()

    def answered(self, asking):
        query, asked_at = asking.query
        done = not self.kept or asking.asked >= QUERIES_PER_CONNECTION
        self.release(asking, done)
        if not done:
            self.idle.append(asking)
        self.seen["slowest"] = max(self.seen["slowest"], now() - asked_at)
        seen = dnsmsg.read(asking.octets[2:])
        if seen.ident != query.ident or seen.question != query.question:
            self.seen["wrong"].append(f"{query.name}: {asking.octets.hex()}")
        elif seen.rcode == dnsmsg.SERVFAIL:
            self.seen["servfail"] += 1
        elif seen.is_correct:
            self.seen["answered"] += 1
        else:
            self.seen["wrong"].append(f"{query.name}: {asking.octets.hex()}")

    def closed(self, asking):
        self.release(asking, True)
        if self.kept and not asking.octets:
            self.seen["again"] += 1
            self.ask(asking.query, fresh=True)
        else:
            self.lost(asking.query, "closed")

    def lost(self, query, how):
        self.seen["lost"].append((query[1], now(), how))

    def give_up(self):
        for asking in [a for a in self.busy.values() if now() > a.query[1] + PATIENCE]:
            self.release(asking, True)
            self.lost(asking.query, "silence")


if __name__ == "__main__":
    host, port, seconds, rate, kind = sys.argv[1:]
    print(json.dumps(Load((host, int(port)), float(seconds), float(rate), kind == "kept").run()))
