"""Measurements of dot-proxy alone: memory of workers, share of useless hedged queries, and the
cost of additional entries that should cost nothing."""

import collections
import contextlib
import os
import pathlib
import random
import signal
import statistics
import tempfile
import time

import bench
import load
import target
import processes
from clock import wait_until

ADDRESS = "127.0.61.1"
PORT = 5300
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"

OWNERS = {"OpenSSL": ("libcrypto", "libssl"), "libc": ("libc.", "ld-linux"),
          "dot-proxy": ("dot-proxy",)}

WORKERS = 4             # number of workers started to measure the cost of one
EXTRA_QUERIES = 20_000
EXTRA_DELAY = 20
CLIENT_SECONDS = 60     # no client needs them

ONE_CA, BUNDLE = "a CA file with one certificate", "the system's bundle"

DOT_PROXY = """\
start: @dot_proxy@ -c @dir@/config.yml

--- config.yml
listen: @address@:@port@
upstreams:
@upstreams@
workers: @workers@
cache: {size: @cache@}
log: {level: @log@}
"""

MEMORY_COLUMNS = [("one more, idle", "idle_costs", 0), ("its PSS", "idle_pss", 0),
                  ("private dirty", "idle_dirty", 0), ("RSS", "idle_rss", 0),
                  ("one more, with TLS", "tls_costs", 0), ("its PSS", "tls_pss", 0),
                  ("private dirty", "tls_dirty", 0), ("supervisor's PSS", "supervisor_pss", 0)]
MAPPING_COLUMNS = [("idle PSS", "idle_pss", 0), ("private dirty", "idle_dirty", 0),
                   ("RSS", "idle_rss", 0), ("with TLS PSS", "tls_pss", 0),
                   ("private dirty", "tls_dirty", 0)]
EXTRA_COLUMNS = [("asked of the second", "extra", 0), ("% more", "percent", 3),
                 ("median ms", "p50_ms", 2), ("p99 ms", "p99_ms", 2), ("failed", "failed", 0)]

GROWTH_COLUMNS = [("connection per query, q/s", "tcp_qps", 0), ("CPU us/query", "tcp_cpu_us", 1),
                  ("UDP, q/s", "udp_qps", 0), ("CPU us/query", "udp_cpu_us", 1),
                  ("failed", "failed", 0)]
MISS_COLUMNS = [*GROWTH_COLUMNS[:-1], ("10 TCP connections, q/s", "kept_qps", 0),
                ("CPU us/query", "kept_cpu_us", 2), GROWTH_COLUMNS[-1]]
ADDRESSES = (100, 1000, 10_000)
IDLE = (1, 100, 1000)
UPSTREAMS = (1, 4, 16)
LEVELS = ("error", "info")
CACHE_ON = "4MiB"       # by default
CACHE = {"cache off": "0", "cache on": CACHE_ON}
NAMES_A_SECOND = 600_000    # more than can be asked

# Name, title and columns, in this order.
TABLES = (
    [("memory", "Memory of a worker in KiB, the middle one of four (wanted: under 250 idle, under "
      "450 with TLS).\n`One more': what all of them have beyond a single one, for each more, "
      "without code,\nwhich is there once and whose PSS depends on who else maps the libraries",
      MEMORY_COLUMNS)]
    + [(f"mappings: {label}", f"What each of those KiB is, with {label}", MAPPING_COLUMNS)
       for label in (ONE_CA, BUNDLE)]
    + [("extra", f"Asked of the second upstream in {EXTRA_QUERIES:,} queries that the first "
        f"answers in {EXTRA_DELAY} ms (wanted: under 0.1% more)", EXTRA_COLUMNS),
       ("growth", "What more of something costs: 100 clients with a connection per query, and 100 "
        "over UDP", GROWTH_COLUMNS),
       ("level", "What the log costs, in the same way", GROWTH_COLUMNS),
       ("misses", "What the cache costs where every query is a miss, in the same way, and with 100 "
        "outstanding over 10 TCP connections", MISS_COLUMNS)])

# Seconds, about.
FIGURES = {"memory": 6, "extra": 2, "growth": 16, "level": 4, "misses": 6}
LONG = ("misses",)      # only when it is asked for, in the short form
# So many times as often as the others in the long form: medians of what is to be flat within 10%,
# or 3%, have to be surer than that.
OFTEN = {"growth": 3, "level": 9, "misses": 9}
SETTLE_SECONDS = 0.2    # a worker serves by then, and rests


def kind_of(mapping, sizes):
    """What a mapping is for, by its name in /proc/PID/smaps and by what has become of it."""
    if mapping in ("[heap]", "[stack]"):
        return mapping.strip("[]")
    if mapping == "" or mapping.startswith("[anon"):
        return "tables, and other anonymous memory"
    if mapping.startswith(("/dev/zero", "/memfd:")):
        return "the shared page"
    if sizes["Anonymous"] == 0:
        return "code and constants, shared with all"
    name = os.path.basename(mapping)
    for owner, files in OWNERS.items():
        if name.startswith(files):
            return f"data of {owner}"
    return "data of others"


def add_up(pid):
    """{kind: PSS, private dirty and RSS in KiB} of a process."""
    sums = collections.defaultdict(collections.Counter)
    for name, sizes in target.mappings_of(pid):
        sums[kind_of(name, sizes)].update(pss=sizes["Pss"], dirty=sizes["Private_Dirty"],
                                          rss=sizes["Rss"])
    return sums


def _median_of(pids, state):
    """The middle worker: {kind: {"idle_pss": ...}}, and of all kinds together as `all'."""
    each = [add_up(pid) for pid in pids]
    for sums in each:
        sums["all"] = sum(sums.values(), collections.Counter())
    kinds = {kind for sums in each for kind in sums}
    return {kind: {f"{state}_{key}": statistics.median(sums[kind][key] for sums in each)
                   for key in ("pss", "dirty", "rss")} for kind in kinds}


class Figures:
    """Rows are kept as {figure: {label: samples}}."""

    def __init__(self, measured, dot_proxy):
        self.client, self.scratch = measured.client, measured.scratch
        self.seconds = measured.seconds
        self.first, self.second, self.dot_proxy = measured.upstream, measured.second, dot_proxy
        self.rows = collections.defaultdict(lambda: collections.defaultdict(list))

    def upstreams(self, *addresses, ca=None):
        return "\n".join(
            f"  - {{address: {address}, port: {load.PORT}, hostname: {bench.HOSTNAME}, "
            f"ca_file: {ca or self.scratch / 'ca.pem'}}}" for address in addresses)

    @contextlib.contextmanager
    def running(self, upstreams, workers=2, log="warn", cache="0"):
        """A dot-proxy that serves and has received no query."""
        made = target.Target("dot-proxy", DOT_PROXY, {
            "address": ADDRESS, "port": str(PORT), "dot_proxy": self.dot_proxy,
            "upstreams": upstreams, "workers": str(workers), "log": log, "cache": cache,
            "root": ""})
        with tempfile.TemporaryDirectory(prefix="figure-", dir=self.scratch) as directory:
            running = made.start(pathlib.Path(directory), asks=False)
            try:
                wait_until(lambda: len(running.pids()) == 1 + workers, 10, f"{workers} workers")
                time.sleep(SETTLE_SECONDS)
                yield running
            finally:
                running.stop()

    def ask(self, times):
        return load.by_client(self.client, "each", (ADDRESS, PORT), CLIENT_SECONDS, limit=times)

    # Memory.

    def memory(self):
        own = self.scratch / "ca.pem"
        bundle = self.scratch / "bundle.pem"
        bundle.write_bytes(own.read_bytes() + pathlib.Path(SYSTEM_CA).read_bytes())
        for label, path in ((ONE_CA, own), (BUNDLE, bundle)):
            upstreams = self.upstreams(bench.FIRST, ca=path)
            with self.running(upstreams, 1, cache=CACHE_ON) as alone:
                one = {"idle": alone.memory()["pss_of_data"]}
                self.connect_each(alone)
                one["tls"] = alone.memory()["pss_of_data"]
            with self.running(upstreams, WORKERS, cache=CACHE_ON) as running:
                self.memory_of(running, label, one)

    def memory_of(self, running, label, one):
        workers = running.pids()[1:]
        parts = collections.defaultdict(dict)
        sample = {"supervisor_pss": target.memory_of(running.pids()[0])["Pss"]}
        for state in ("idle", "tls"):
            if state == "tls":
                self.connect_each(running)
            sample[f"{state}_costs"] = ((running.memory()["pss_of_data"] - one[state])
                                        / (WORKERS - 1))
            for kind, sizes in _median_of(workers, state).items():
                parts[kind].update(sizes)
        sample.update(parts["all"])
        self.rows["memory"][label].append(sample)
        for kind in sorted(parts, key=lambda kind: -parts[kind].get("tls_pss", 0)):
            self.rows[f"mappings: {label}"][kind].append(parts[kind])

    def connect_each(self, running):
        """Opens a TLS connection in each worker by a query while the others are stopped."""
        workers = running.pids()[1:]
        before = self.first.counters()["connected"]
        for worker in workers:
            others = [pid for pid in workers if pid != worker]
            try:
                for pid in others:
                    processes.pause(pid)
                self.ask(1)
            finally:
                for pid in others:
                    os.kill(pid, signal.SIGCONT)
        connected = self.first.counters()["connected"] - before
        if connected != len(workers):
            raise RuntimeError(f"{connected} TLS connections of {len(workers)} workers")

    # The hedged query.

    def extra(self):
        with self.running(self.upstreams(bench.FIRST, bench.SECOND)):
            before = self.second.counters()["queries"]
            sample = load.by_client(self.client, "each-udp", (ADDRESS, PORT), CLIENT_SECONDS,
                                    clients=100, delay=EXTRA_DELAY, limit=EXTRA_QUERIES)
            sample["extra"] = self.second.counters()["queries"] - before
        sample["percent"] = 100 * sample["extra"] / EXTRA_QUERIES
        self.rows["extra"]["dot-proxy"].append(sample)

    # What should cost nothing.

    def growth(self):
        self.grown_each("growth",
            [(f"{count:,} addresses of clients", {"addresses": count}) for count in ADDRESSES]
            + [(f"{count:,} idle clients beside", {"idle": count}) for count in IDLE]
            + [(f"{count} upstreams", {"upstreams": count}) for count in UPSTREAMS])

    def level(self):
        self.grown_each("level", [(f"log level {level}", {"log": level}) for level in LEVELS])

    def misses(self):
        self.grown_each("misses", [(label, {"cache": size, "kept": True})
                                   for label, size in CACHE.items()])

    def grown_each(self, name, ways):
        """In another order each time, so that no case always has a cold or busy machine."""
        rows = [(self.rows[name][label], options) for label, options in ways]
        for samples, options in random.sample(rows, len(rows)):
            samples.append(self.grown(**options))

    def grown(self, addresses=None, idle=0, upstreams=1, log="warn", cache="0", kept=False):
        others = [f"127.0.51.{n}" for n in range(1, upstreams)]
        with contextlib.ExitStack() as stack:
            running = stack.enter_context(
                self.running(self.upstreams(bench.FIRST, *others), log=log, cache=cache))
            if idle:
                stack.enter_context(load.crowd(self.client, "idle", (ADDRESS, PORT), idle))
            self.ask(1)
            sample = {"failed": 0}
            loads = [("tcp", "each"), ("udp", "each-udp")] + [("kept", "dnsperf")] * kept
            for key, mode in loads:
                cpu = running.cpu_seconds()
                one = self.run_load(mode, addresses)
                sample[f"{key}_qps"] = one["qps"]
                sample[f"{key}_cpu_us"] = (running.cpu_seconds() - cpu) * 1e6 / one["answered"]
                sample["failed"] += one["failed"]
        return sample

    def run_load(self, mode, addresses):
        """100 queries outstanding, for other names than before."""
        if mode != "dnsperf":
            return load.by_client(self.client, mode, (ADDRESS, PORT), self.seconds, clients=100,
                                  addresses=addresses)
        path = self.scratch / "names-once"
        if not path.exists():
            load.write_names(path, 0, round(self.seconds * NAMES_A_SECOND))
        return load.by_dnsperf(self.client, (ADDRESS, PORT), self.seconds, path, clients=10,
                               outstanding=10)
