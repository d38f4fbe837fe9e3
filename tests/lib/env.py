"""
The environment of a test: upstreams, one proxy, clients. When the test ends, it checks the
promises that hold in every test (O1 to O6, O8 to O10 in tests/README.md).
"""

import errno
import os
import random
import socket
import subprocess
import time

import dnsmsg
import proxy
import routes
import upstream
from client import Client
from clock import now, wait_until
from datagram import Datagrams

MIB = 1 << 20
EDNS = dnsmsg.opt()

# Timeouts as short as a busy machine allows.
QUERY, CONNECT, HANDSHAKE, ANSWER = 2.0, 0.4, 0.5, 0.5
TIMEOUTS = {"query": "2s", "connect": "400ms", "handshake": "500ms", "answer": "500ms",
            "client_idle": "3s", "client_read": "300ms", "upstream_idle": "8s"}

# Most tests count the queries at upstreams, and their names repeat.
NO_CACHE = {"size": 0}
CACHE_EVERYWHERE = os.environ.get("DOT_PROXY_TEST_CACHE") == "on"


class Env:
    def __init__(self, loop, authority, directory):
        self.loop = loop
        self.authority = authority
        self.directory = directory
        self.upstreams = []
        self.clients = []
        self.proxies = []
        self.others = []                # other objects of a test, closed at its end
        self.namespace = None
        self.may_grow = 24 * MIB        # growth of resident memory during the test
        self.allow_wrong_responses = False      # the test is about wrong responses
        self.query_seconds = 2.0
        self.default_cache = CACHE_EVERYWHERE
        self.routes = None              # of the proxy that was started last; None: not to be checked

    # For use in tests.

    def upstream(self, *scripts, **args):
        script = upstream.HEALTHY
        for other in scripts:
            script = script | other
        made = upstream.Upstream(self.loop, self.authority, script,
                                 make_socket=self._make_socket, **args)
        self.upstreams.append(made)
        return made

    def pair(self, *scripts, **args):
        """Upstream A, which runs the scripts, and B, which is healthy."""
        return self.upstream(*scripts, **args), self.upstream()

    def proxy(self, *upstreams, host=None, port=0, timeouts=None, popen_args=None, start=True,
              cache=None, **settings):
        """
        Starts the proxy with upstreams (or their entries); it serves when this returns. It has no
        cache unless CACHE is its settings, or True for the program's defaults; or None, and
        DOT_PROXY_TEST_CACHE=on is in the environment. False: never. Names below `test' are
        forwarded unless `local_names' is among the settings.
        """
        entries = routes.entries(upstreams)
        self.routes = routes.Routes(upstreams, settings.get("routes", []))
        if "routes" in settings:
            settings["routes"] = routes.settings(settings["routes"])
        address = self.free_address(host or upstream.own_address(), port)
        config = {"listen": upstream.with_port(*address), "upstreams": entries,
                  "tls": {"ca_file": self.authority.path},
                  "timeouts": {**TIMEOUTS, **(timeouts or {})}, "workers": 1,
                  "local_names": False,
                  **_cache_settings(self.default_cache if cache is None else cache),
                  **settings}
        self.query_seconds = _seconds(config["timeouts"]["query"])
        self.config = config
        # The status socket is named after the file, so proxies that run side by side have one each.
        others = sum(p.alive for p in self.proxies)
        name = f"config-{others + 1}.yml" if others else "config.yml"
        self.config_path = proxy.write_config(os.path.join(self.directory, name), config)
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
        """Sends one query on a new connection."""
        client = self.client()
        exchange = client.ask(name, seconds, **fields)
        client.finish()
        return exchange

    def within(self, seconds, begin, end=None):
        """
        Fails if more time has passed, without the scheduler delay of the machine. Short limits
        are tripled for sanitizers, which make the program slower.
        """
        end = now() if end is None else end
        allowed = seconds * (3 if proxy.sanitized() and seconds < 0.3 else 1)
        late = self.loop.late(begin, end)
        assert end - begin <= allowed + late, \
            f"took {end - begin:.3f} s, not {allowed} s (the machine was {late:.3f} s late)"

    def answered_within(self, seconds, exchange):
        self.within(seconds, exchange.at, exchange.answered)

    def assert_ok(self, exchange, seconds=None):
        """Checks that the response is correct, and within some seconds if given."""
        assert exchange.answer is not None, f"no answer to {exchange.query}"
        assert exchange.answer.is_correct, f"{exchange.query}: {exchange.answer}"
        if seconds is not None:
            self.answered_within(seconds, exchange)
        return exchange

    def servfail(self, exchange, seconds=None):
        assert exchange.rcode == dnsmsg.SERVFAIL, f"{exchange.query}: {exchange.answer}"
        if seconds is not None:
            self.answered_within(seconds, exchange)
        return exchange

    def idle(self, seconds=0.1):
        """O8: no CPU is used when there is nothing to do."""
        running = self.proxies[-1]
        before = running.cpu()
        time.sleep(seconds)
        used = running.cpu() - before
        assert used < 0.2 * seconds, f"O8: {used:.3f} s of CPU in {seconds} s of idleness"

    def free_address(self, host, port=0):
        """A host and a free port outside of the ephemeral range."""
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
        """Makes all later sockets and processes in a network namespace."""
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
        """Checks all promises after the test."""
        running = [p for p in self.proxies if p.alive]
        self._settle()
        self._check_answers()
        self._check_upstreams()
        self._check_routes()
        for made in running:
            self._check_recovery(made)
            self._check_census(made)
            self.idle()
            made.stop()
        self._check_upstreams()
        for client in self.clients:
            self._check_silence(client)

    def _settle(self):
        """O1: each query gets a response, or its connection is closed."""
        for client in self.clients:
            last = max((e.at for e in client.exchanges), default=0)
            client.settle(max(now(), last + self.query_seconds) + 1)

    def _check_answers(self):
        """O2 and O3: responses are correct and in time."""
        for client in self.clients:
            for exchange in client.exchanges:
                if exchange.answer is None:
                    assert client.abandoned or client.ended is not None, "O1: no answer"
                    continue
                self.within(self.query_seconds + 0.2, exchange.at, exchange.answered)
                if exchange.answer.flags & dnsmsg.TC and client.truncates:
                    continue
                if exchange.query and exchange.rcode == dnsmsg.NOERROR \
                        and not self.allow_wrong_responses:
                    assert exchange.answer.is_correct, f"O2: {exchange.query}: {exchange.answer}"

    def _check_upstreams(self):
        """O4: only TLS was sent to upstreams, but to those of cleartext routes."""
        for server in self.upstreams:
            assert not server.errors, "the upstream itself failed:\n" + "\n".join(server.errors)
            for connection in server.connections if not server.cleartext else ():
                assert connection.first_byte in (None, 0x16), \
                    f"O4: the first byte to {server.name} was {connection.first_byte:#x}"
                assert connection.cleartext is None, f"O4: cleartext: {connection.cleartext}"

    def _check_routes(self):
        """O10: an upstream of a route sees names of its domains only, and no other one sees these."""
        for server in self.upstreams if self.routes else []:
            for query in server.arrived:
                where = self.routes.upstreams_of(query.name)
                assert where is None or server in where, \
                    f"O10: {query.name!r} was sent to {server.name}"

    def _check_recovery(self, made):
        """O5: after all faults have ended, a good query is answered at once."""
        if not self.upstreams:
            return
        for server in self.upstreams:
            server.restart()
        with Client(made.address, self.loop, self._make_socket) as client:
            exchange = client.ask(
                "canary.example" if self.config.get("local_names") else "canary.test")
            assert exchange.answer.is_correct, f"O5: {exchange.answer}\n{made.log_text()}"
            self.within(1, exchange.at, exchange.answered)
            client.finish()

    def _check_census(self, made):
        """O6 and O9: descriptors, threads, children and memory are back at their initial values."""
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
        """O1: no query gets a second response."""
        if not client.is_closed and not client.unanswered:
            client.finish()

    def clean(self):
        """Ends all processes and closes all sockets, whatever the result."""
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


def _cache_settings(cache):
    if cache is True:
        return {}
    return {"cache": NO_CACHE if cache is False else cache}


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
