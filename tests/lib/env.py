"""
The environment of a test: upstreams, one proxy, clients. It keeps the promises that are true in
every test (O1 to O6, O8 and O9 in tests/README.md) and checks them when the test ends.
"""

import errno
import os
import random
import socket
import subprocess
import time

import dnsmsg
import proxy
import upstream
from client import Client
from clock import now, wait_until
from datagram import Datagrams

MIB = 1 << 20
EDNS = dnsmsg.opt()

# As short as a busy machine allows.
QUERY, CONNECT, HANDSHAKE, ANSWER = 2.0, 0.4, 0.5, 0.5
TIMEOUTS = {"query": "2s", "connect": "400ms", "handshake": "500ms", "answer": "500ms",
            "client_idle": "3s", "client_read": "300ms", "upstream_idle": "8s"}


class Env:
    def __init__(self, loop, authority, directory):
        self.loop = loop
        self.authority = authority
        self.directory = directory
        self.upstreams = []
        self.clients = []
        self.proxies = []
        self.others = []                # what else a test has, to be closed when all is over
        self.namespace = None
        self.may_grow = 24 * MIB        # resident memory at the end over that at the start
        self.wrong_answers_are_relayed = False      # the upstream's nonsense is the row's point
        self.query_seconds = 2.0

    # What tests use.

    def upstream(self, *scripts, **args):
        script = upstream.HEALTHY
        for other in scripts:
            script = script | other
        made = upstream.Upstream(self.loop, self.authority, script,
                                 make_socket=self._make_socket, **args)
        self.upstreams.append(made)
        return made

    def pair(self, *scripts, **args):
        """A, which does as the scripts say, and B, which is healthy."""
        return self.upstream(*scripts, **args), self.upstream()

    def proxy(self, *upstreams, host=None, port=0, timeouts=None, popen_args=None, start=True,
              **settings):
        """The proxy in front of upstreams (or of their entries), which serves when this returns."""
        entries = [u.config() if isinstance(u, upstream.Upstream) else u for u in upstreams]
        address = self.free_address(host or upstream.own_address(), port)
        config = {"listen": upstream.with_port(*address), "upstreams": entries,
                  "tls": {"ca_file": self.authority.path},
                  "timeouts": {**TIMEOUTS, **(timeouts or {})}, "workers": 1, **settings}
        self.query_seconds = _seconds(config["timeouts"]["query"])
        self.config = config
        self.config_path = proxy.write_config(os.path.join(self.directory, "config.yml"), config)
        made = proxy.Proxy(self.config_path, address, self.loop, self._make_socket, self._popen,
                           count=config["workers"], **(popen_args or {}))
        self.proxies.append(made)
        return made.start() if start else made

    def client(self, **args):
        made = Client(self.proxies[-1].address, self.loop, self._make_socket, **args)
        self.clients.append(made)
        return made

    def datagrams(self, address=None, **args):
        """A client over UDP."""
        made = Datagrams(address or self.proxies[-1].address, self.loop, self._make_socket, **args)
        self.clients.append(made)
        return made

    def ask(self, name="example.test", seconds=10, **fields):
        """One query on a connection of its own."""
        client = self.client()
        exchange = client.ask(name, seconds, **fields)
        client.finish()
        return exchange

    def within(self, seconds, begin, end=None):
        """
        Fails when more time has passed, but for what the machine was too busy to run us in.
        Sanitizers make the program a few times slower, which counts for the short limits.
        """
        end = now() if end is None else end
        allowed = seconds * (3 if proxy.sanitized() and seconds < 0.3 else 1)
        late = self.loop.late(begin, end)
        assert end - begin <= allowed + late, \
            f"took {end - begin:.3f} s, not {allowed} s (the machine was {late:.3f} s late)"

    def answered_within(self, seconds, exchange):
        self.within(seconds, exchange.at, exchange.answered)

    def assert_ok(self, exchange, seconds=None):
        """It was answered, rightly, and within some seconds if given."""
        assert exchange.answer is not None, f"no answer to {exchange.query}"
        assert exchange.answer.is_right, f"{exchange.query}: {exchange.answer}"
        if seconds is not None:
            self.answered_within(seconds, exchange)
        return exchange

    def servfail(self, exchange, seconds=None):
        assert exchange.rcode == dnsmsg.SERVFAIL, f"{exchange.query}: {exchange.answer}"
        if seconds is not None:
            self.answered_within(seconds, exchange)
        return exchange

    def idle(self, seconds=0.1):
        """No CPU is used when there is nothing to do (O8)."""
        running = self.proxies[-1]
        before = running.cpu()
        time.sleep(seconds)
        used = running.cpu() - before
        assert used < 0.2 * seconds, f"O8: {used:.3f} s of CPU in {seconds} s of idleness"

    def free_address(self, host, port=0):
        """A host with a port that is free there, and that no socket chooses by itself."""
        while True:
            address = host, port or random.randrange(10000, 32768)
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with self._make_socket(upstream.family(host), kind) as sock:
                        sock.bind(address)
                return address
            except OSError as error:
                if port or error.errno != errno.EADDRINUSE:
                    raise

    def enter(self, namespace):
        """From now on, sockets and processes are made in a network namespace."""
        self.namespace = namespace

    def _make_socket(self, *args):
        if self.namespace:
            return self.namespace.call(socket.socket, *args)
        return socket.socket(*args)

    def _popen(self, *args, **kwargs):
        if self.namespace:
            return self.namespace.call(subprocess.Popen, *args, **kwargs)
        return subprocess.Popen(*args, **kwargs)

    # The promises.

    def check(self):
        """After the test; what the upstreams do wrong ends here."""
        running = [p for p in self.proxies if p.alive]
        self._settle()
        self._check_answers()
        self._check_upstreams()
        for made in running:
            self._check_recovery(made)
            self._check_census(made)
            self.idle()
            made.stop()
        self._check_upstreams()
        for client in self.clients:
            self._check_silence(client)

    def _settle(self):
        """O1: every query is answered, or its connection is closed."""
        for client in self.clients:
            last = max((e.at for e in client.exchanges), default=0)
            client.settle(max(now(), last + self.query_seconds) + 1)

    def _check_answers(self):
        """O2 and O3, for what the clients got."""
        for client in self.clients:
            for exchange in client.exchanges:
                if exchange.answer is None:
                    assert client.given_up or client.ended is not None, "O1: no answer"
                    continue
                self.within(self.query_seconds + 0.2, exchange.at, exchange.answered)
                if exchange.answer.flags & dnsmsg.TC and client.truncates:
                    continue
                if exchange.query and exchange.rcode == dnsmsg.NOERROR \
                        and not self.wrong_answers_are_relayed:
                    assert exchange.answer.is_right, f"O2: {exchange.query}: {exchange.answer}"

    def _check_upstreams(self):
        """O4: nothing but TLS was ever sent to an upstream."""
        for server in self.upstreams:
            assert not server.errors, "the upstream itself failed:\n" + "\n".join(server.errors)
            for connection in server.connections:
                assert connection.first_octet in (None, 0x16), \
                    f"O4: the first octet to {server.name} was {connection.first_octet:#x}"
                assert connection.cleartext is None, f"O4: cleartext: {connection.cleartext}"

    def _check_recovery(self, made):
        """O5: when all faults have ended, a good query is answered at once."""
        if not self.upstreams:
            return
        for server in self.upstreams:
            server.restart()
        with Client(made.address, self.loop, self._make_socket) as client:
            exchange = client.ask("canary.test")
            assert exchange.answer.is_right, f"O5: {exchange.answer}\n{made.log_text()}"
            self.within(1, exchange.at, exchange.answered)
            client.finish()

    def _check_census(self, made):
        """O6 and O9: descriptors, threads, children and memory are what they were."""
        def descriptors():
            ours = sum(len(server.open_connections) for server in self.upstreams)
            clients = sum(not c.is_closed and not c.closed_by_peer() for c in self.clients)
            return made.descriptors() - ours - clients

        try:
            wait_until(lambda: descriptors() <= made.descriptors_at_start, 4)
        except AssertionError:
            raise AssertionError(f"O6: {descriptors()} descriptors, {made.descriptors_at_start} "
                                 f"at the start: {_descriptors(made.pid)}") from None
        wait_until(lambda: made.threads() == made.threads_at_start, 4, "O6: threads")
        wait_until(lambda: made.children() == made.children_at_start, 4, "O6: children")
        assert not made.zombies(), "O9: zombies"
        if not proxy.sanitized():
            grown = made.memory() - made.memory_at_start
            assert grown < self.may_grow, f"O6: {grown / MIB:.1f} MiB more resident memory"

    def _check_silence(self, client):
        """O1: after the end there must be no second answer to anything."""
        if not client.is_closed and not client.unanswered:
            client.finish()

    def clean(self):
        """Whatever happened, nothing is left behind."""
        for made in self.proxies:
            made.kill()
        for client in self.clients:
            client.close()
        for other in (*self.upstreams, *self.others):
            other.close()
        if self.namespace:
            self.namespace.close()

    @property
    def sanitized(self):
        return proxy.sanitized()


def _seconds(text):
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])


def _descriptors(pid):
    directory = f"/proc/{pid}/fd"
    found = []
    for name in os.listdir(directory):
        try:
            found.append(f"{name}={os.readlink(os.path.join(directory, name))}")
        except OSError:
            pass
    return " ".join(sorted(found))
