"""What is measured of each target: the kinds of load, how often, and what its table shows."""

import dataclasses

CROWD = 1000
SLOW_ONES = 1000
SLOW_MS = 2000
LIGHT_RATE = 100
FOLLOWING = 10
HIT_NAMES = 1000
WARM_SECONDS = 0.2

# How the first upstream can be dead; dead.py brings it about.
WAYS = {"refused": "refuses connections", "dropped": "does not answer a SYN",
        "accepts": "accepts, and stays silent", "silent": "is silent after TLS",
        "warm": "goes silent while connections to it are open"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement, repeated."""

    name: str
    title: str
    kind: str                   # which table it gets: a key of COLUMNS
    mode: str = ""              # load: of client.c, or dnsperf: TCP connections that are kept
    delay: int = 0              # of the upstream, in milliseconds
    outstanding: int = 0        # queries, all the time
    options: dict = dataclasses.field(default_factory=dict, compare=False)
    quick: int = 0              # repetitions in the short form, 0.3 s each
    often: int = 1              # so many times as often as others in the long form
    stretch: float = 1          # so much longer than the others

    @property
    def needs_udp(self):
        return self.mode.endswith("udp")

    def takes(self, seconds):
        """About how long, in seconds."""
        if self.kind == "load":
            lost = 0.8 if self.outstanding == 1000 else 0
            return (self.stretch * seconds + 0.2 + lost + 2 * self.delay / 1000
                    + (0.9 if self.options.get("slow") else 0))
        if self.kind == "hits":
            return seconds + 0.2 + WARM_SECONDS
        return {"start": 0.3, "cold": 1.2, "memory": 3, "dead": 14, "crowd": 3 * seconds + 2,
                "slow": 2 * (SLOW_MS / 1000 + seconds + 0.5)}[self.kind]


def all_cases():
    yield Case("start", "Start to first answer", "start", quick=3, often=9)
    yield Case("cold", "First query of a target that has waited, beside a bare connection, "
               f"handshake and query; then {LIGHT_RATE} queries/s", "cold", quick=3, often=3)
    yield from loads()
    yield from rates()
    yield from hits()
    yield Case("memory", "Memory of all processes of a target, in KiB: after its first answer, the "
               "most after any load, and after 3 s of rest", "memory", quick=1)
    yield Case("crowd", f"A client's connection and query beside {CROWD:,} clients that do "
               "nothing, or sent one byte", "crowd")
    yield Case("slow", f"{LIGHT_RATE} queries/s beside {SLOW_ONES:,} that came at once and take "
               f"{SLOW_MS // 1000} s", "slow")
    for way, words in WAYS.items():
        yield Case(f"dead-{way}", f"The first upstream {words}, the second is well", "dead",
                   options={"way": way}, quick=int(way in ("dropped", "silent")))


def loads():
    """Closed loop: a constant number of outstanding queries."""
    quick = {"each-1-0ms": 3, "each-100-0ms": 3, "each-1000-0ms": 1, "tcp-10x10-0ms": 3,
             "tcp-100x1-0ms": 3, "udp-1-0ms": 3, "udp-100-0ms": 3, "udp-1000-20ms": 1}
    for delay in (0, 20, 100):
        at = f"upstream at {delay} ms"
        cases = [(f"each-{n}", f"A connection per query, {n:,} client{'s' * (n > 1)}", "each",
                  {"clients": n}, n) for n in (1, 10, 100, 1000)]
        # dnsperf sends in bursts: where there is time to wait, it would wait longer itself.
        cases += [(f"tcp-{n}x{100 // n}", f"{n} TCP connections, 100 outstanding in all",
                   "kept" if delay else "dnsperf",
                   {"clients": n, "outstanding": 100 // n}, 100) for n in (10, 100)]
        cases += [(f"udp-{n}", f"UDP, {n:,} outstanding", "each-udp", {"clients": n}, n)
                  for n in (1, 100, 1000)]
        for name, title, mode, options, outstanding in cases:
            name = f"{name}-{delay}ms"
            # With no time to wait, it matters where the kernel happens to put the processes, and
            # most where few queries are there at a time.
            often = 1 if delay else 3 if outstanding > 10 else 6
            yield Case(name, f"{title}, {at}", "load", mode, delay, outstanding, options,
                       quick.get(name, 0), often)


def rates():
    """So many queries a second, whether the answers come or not."""
    for mode in ("tcp", "udp"):
        for rate in (100, 1000, 5000):
            for slow in (0, 100):
                beside = ", 1% of the names take 1 s (times of the others)" if slow else ""
                yield Case(f"{mode}-rate-{rate}{'-slow' if slow else ''}",
                           f"{mode.upper()}, {rate:,} queries/s, 10 clients{beside}", "load", mode,
                           options={"clients": 10, "rate": rate, "slow": slow},
                           quick=int((mode, rate) == ("udp", 1000)),
                           stretch=2 if rate == 100 else 1)


def hits():
    """Closed loop, for names that have been asked before; of targets whose caches are on."""
    for name, title, mode, options, outstanding, quick in (
            ("each-1", "a connection per query, 1 client", "each", {"clients": 1}, 1, 0),
            ("each-10", "a connection per query, 10 clients", "each", {"clients": 10}, 10, 0),
            ("tcp-10x10", "10 TCP connections, 100 outstanding in all", "dnsperf",
             {"clients": 10, "outstanding": 10}, 100, 1),
            ("udp-1", "UDP, 1 outstanding", "each-udp", {"clients": 1}, 1, 0),
            ("udp-100", "UDP, 100 outstanding", "each-udp", {"clients": 100}, 100, 1)):
        yield Case(f"hit-{name}", f"Hits: {title}", "hits", mode, 0, outstanding,
                   {**options, "names": HIT_NAMES}, quick, 3 if outstanding > 10 else 6)


# (heading, key, digits, more is better or None). Beside those with a better stands the ratio
# to the best of the others.
COLUMNS = {
    "start": [("ms to the first answer", "ms", 1, False)],
    "cold": [("first query ms", "ms", 2, False), ("bare ms", "bare_ms", 2, None),
             ("x bare", "bare_x", 2, None), ("upstream conns", "in_use", 0, None)],
    "load": [("q/s", "qps", 0, True), ("of possible", "possible", 2, None),
             ("CPU us/query", "cpu_us", 1, False), ("p50 ms", "p50_ms", 2, None),
             ("p99 ms", "p99_ms", 2, False), ("failed", "failed", 0, None),
             ("upstream conns", "in_use", 0, None), ("new ones", "connections", 0, None)],
    "hits": [("q/s", "qps", 0, True), ("CPU us/query", "cpu_us", 2, False),
             ("p50 ms", "p50_ms", 3, False), ("p99 ms", "p99_ms", 3, False),
             ("failed", "failed", 0, None), ("misses", "misses", 0, None)],
    "memory": [("idle PSS", "idle_pss", 0, False), ("RSS", "idle_rss", 0, None),
               ("loaded PSS", "loaded_pss", 0, False), ("at rest PSS", "after_pss", 0, False),
               ("processes", "processes", 0, None)],
    "crowd": [("alone ms", "alone_ms", 2, None), ("beside idle ones ms", "idle_ms", 2, None),
              ("x alone", "idle_x", 2, None), ("beside one byte ms", "byte_ms", 2, None),
              ("x alone", "byte_x", 2, None), ("failed", "failed", 0, None),
              ("KiB per idle client", "client_kib", 1, None),
              ("upstream conns", "in_use", 0, None)],
    "slow": [("alone p99 ms", "alone_ms", 2, None), ("beside slow ones", "beside_ms", 2, None),
             ("x alone", "beside_x", 2, None), ("failed", "failed", 0, None),
             ("slow failed", "slow_failed", 0, None)],
    "dead": [("first answer ms", "first_ms", 1, None), ("next ten, median", "next_ms", 2, None),
             ("x healthy", "next_x", 2, None), ("worst", "worst_ms", 1, None),
             ("failed", "failed", 0, None)],
}
