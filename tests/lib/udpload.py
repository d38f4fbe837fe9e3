"""
UDP load that counts every query, as a program of its own so that it does not wait for the
scripted servers: udpload.py HOST PORT RATE COUNT[/POOL] [NAME...]. Each query has a name of its
own, or a random one of POOL names, but that every 60th is for one of NAMEs, in turn. Each socket
has few queries in flight, as resolvers do. Writes what it saw as JSON.
"""

import json
import random
import select
import socket
import sys
import time

import dnsmsg

SOCKETS = 64
RESPONSE_TIMEOUT = 6.0
EVERY = 60
now = time.monotonic


class Load:
    def __init__(self, address, rate, count, special=(), pool=0):
        self.rate, self.count, self.special, self.pool = rate, count, special, pool
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(SOCKETS)]
        self.poll = select.epoll()
        for number, sock in enumerate(self.sockets):
            sock.setblocking(False)
            sock.connect(address)
            self.poll.register(sock, select.EPOLLIN)
        self.numbers = {sock.fileno(): number for number, sock in enumerate(self.sockets)}
        self.open = {}              # (socket, ID) -> (query, when)
        self.took = []
        self.seen = {"asked": 0, "answered": 0, "servfail": 0, "lost": 0, "wrong": [],
                     "special": {name: {"answered": 0, "servfail": 0, "lost": 0}
                                 for name in special}}

    def run(self):
        due = now()
        while self.seen["asked"] < self.count or self.open:
            # A machine that is too slow sends fewer queries, without bursts.
            due = max(due, now() - 0.05)
            while self.seen["asked"] < self.count and due <= now():
                self.ask()
                due += 1 / self.rate
            wait = due - now() if self.seen["asked"] < self.count else 0.1
            ready = self.poll.poll(max(0.0, wait))
            for fd, _ in ready:
                self.receive(self.numbers[fd])
            if not ready:
                self.give_up()
        self.took.sort()
        for name, share in (("p50", 0.5), ("p99", 0.99), ("slowest", 1)):
            self.seen[name] = self.took[min(len(self.took) - 1, int(share * len(self.took)))] \
                if self.took else None
        return self.seen

    def ask(self):
        number = self.seen["asked"]
        name = f"n{random.randrange(self.pool) if self.pool else number}.test"
        if self.special and number % EVERY == EVERY - 1:
            name = self.special[number // EVERY % len(self.special)]
        query = dnsmsg.Query(name, ident=number % 65536)
        self.open[number % SOCKETS, query.ident] = query, now()
        self.sockets[number % SOCKETS].send(query.wire)
        self.seen["asked"] += 1

    def receive(self, number):
        while True:
            try:
                message = self.sockets[number].recv(65536)
            except (BlockingIOError, ConnectionError):
                return
            seen = dnsmsg.read(message)
            query, at = self.open.pop((number, seen.ident), (None, None))
            if query is None or seen.question != query.question:
                self.seen["wrong"].append(message.hex())
                continue
            self.took.append(now() - at)
            if seen.rcode == dnsmsg.SERVFAIL:
                self.count_as(query, "servfail")
            elif seen.is_correct:
                self.count_as(query, "answered")
            else:
                self.seen["wrong"].append(message.hex())

    def count_as(self, query, what):
        (self.seen["special"].get(query.name) or self.seen)[what] += 1

    def give_up(self):
        for key in [key for key, (_, at) in self.open.items() if now() > at + RESPONSE_TIMEOUT]:
            self.count_as(self.open.pop(key)[0], "lost")


if __name__ == "__main__":
    host, port, rate, count, *names = sys.argv[1:]
    count, _, pool = count.partition("/")
    print(json.dumps(Load((host, int(port)), float(rate), int(count), names,
                          int(pool or 0)).run()))
