"""What dot-proxy shall reach, and whether it did; and what of it docs/BENCHMARKS.md shows."""

import report
from figures import ADDRESSES, BUNDLE, CACHE, IDLE, LEVELS, ONE_CA, UPSTREAMS

OURS, OURS_CACHED = "dot-proxy", "dot-proxy-cache"
KIB = 1024
DOCUMENT_CASES = ["each-1-0ms", "each-10-0ms", "each-100-0ms", "each-1000-0ms", "tcp-10x10-0ms",
                  "tcp-100x1-0ms", "udp-1-0ms", "udp-100-0ms", "udp-1000-0ms", "each-1000-20ms",
                  "udp-1000-20ms", "each-1000-100ms", "udp-1000-100ms"]
DOCUMENT_HITS = ["hit-each-1", "hit-each-10", "hit-tcp-10x10", "hit-udp-1", "hit-udp-100"]
PICTURE_CASES = ["each-100-0ms", "tcp-100x1-0ms", "udp-1000-0ms", "udp-1000-20ms"]


class Bars:
    """A list of (what, wanted, measured, met); met is None where something was not measured."""

    def __init__(self, data):
        self.data, self.rows = data, []
        self.throughput()
        self.hits()
        self.misses()
        self.delayed()
        self.troubled()
        self.sizes()
        self.flat()

    def ours(self, case, key, name=OURS):
        return report.of(self.data, name, case, key)

    def at_least(self, what, value, limit, digits=2, words=""):
        self.add(what, f"at least {limit:,}{words}", value, digits, lambda: value >= limit)

    def at_most(self, what, value, limit, digits=2, words=""):
        self.add(what, f"at most {limit:,}{words}", value, digits, lambda: value <= limit)

    def add(self, what, wanted, value, digits, is_met):
        met = None if value is None else is_met()
        self.rows.append((what, wanted, report.write(value, digits), met))

    def ratio(self, case, key, name=OURS, more=True, peer=None):
        """Beside the best peer, or a certain one."""
        value = self.ours(case, key, name)
        best = self.ours(case, key, peer) if peer else report.best(self.data, case, key, more)[0]
        return value / best if value is not None and best else None

    def beside_best(self, case, least, cpu=None, name=OURS):
        """Queries per second of the best peer; CPU per query of that same peer."""
        title = self.data["cases"][case]["title"]
        peer = report.best(self.data, case, "qps", True)[1]
        self.at_least(title, self.ratio(case, "qps", name), least,
                      words=f" x {peer or 'the best'}")
        if cpu:
            self.at_most("  CPU per query", self.ratio(case, "cpu_us", name, peer=peer), cpu,
                         words=f" x {peer or 'the best'}")

    def none_of(self, key, cases, name=OURS):
        samples = [sample for case in cases
                   for sample in self.data["results"].get(name, {}).get(case, ())]
        count = sum(sample[key] for sample in samples) if samples else None
        self.at_most(f"  {key}, in all of these", count, 0, 0)

    def no_failures(self, cases):
        self.none_of("failed", cases)

    def throughput(self):
        for n in (100, 1000):
            self.beside_best(f"udp-{n}-0ms", 2.0, cpu=0.5)
        self.no_failures(["udp-100-0ms", "udp-1000-0ms"])
        self.beside_best("tcp-10x10-0ms", 2.5)
        self.beside_best("tcp-100x1-0ms", 1.5)
        for n in (10, 100, 1000):
            self.beside_best(f"each-{n}-0ms", 1.25)
        self.at_most("  p99 of 1,000 clients", self.ratio("each-1000-0ms", "p99_ms", more=False),
                     1.0, words=" x the best")
        for case in ("each-1-0ms", "udp-1-0ms"):
            self.beside_best(case, 1.0, cpu=0.8)

    def hits(self):
        self.beside_best("hit-udp-100", 1.3, cpu=0.85, name=OURS_CACHED)
        self.beside_best("hit-tcp-10x10", 3.0, name=OURS_CACHED)
        self.beside_best("hit-each-10", 1.0, name=OURS_CACHED)
        for case in ("hit-each-1", "hit-udp-1"):
            self.at_most(f"{self.data['cases'][case]['title']}: median",
                         self.ratio(case, "p50_ms", OURS_CACHED, more=False), 1.0,
                         words=" x the best")
        for key in ("failed", "misses"):
            self.none_of(key, DOCUMENT_HITS, OURS_CACHED)

    def misses(self):
        off, on = (self.data["figures"].get("misses", {}).get(label, ()) for label in CACHE)
        for key, words in (("tcp_qps", "connection per query"), ("udp_qps", "UDP"),
                           ("kept_qps", "10 TCP connections")):
            self.at_least(f"Misses with the cache on, {words}: q/s",
                          report.median_ratio(on, off, key), 0.97, words=" x those with it off")

    def delayed(self):
        for delay, least in ((20, {"tcp-10x10": .97, "tcp-100x1": .97, "udp-100": .97,
                                   "udp-1000": .90}), (100, {"udp-1000": .98})):
            for case, share in least.items():
                case = f"{case}-{delay}ms"
                self.at_least(self.data["cases"][case]["title"], self.ours(case, "possible"), share,
                              words=" of what is possible")
            self.beside_best(f"each-1000-{delay}ms", 1.1 if delay == 20 else 1.0)
        self.no_failures([case for case, about in self.data["cases"].items() if about["delay"]])

    def troubled(self):
        for mode in ("tcp", "udp"):
            slow, even = (self.ours(f"{mode}-rate-1000{beside}", "p99_ms")
                          for beside in ("-slow", ""))
            self.at_most(f"{mode.upper()}, 1,000 queries/s, 1% of the names take 1 s: p99 of the "
                         "others", slow / even if slow and even else None, 2.0,
                         words=" x without those")
        for case, about in self.data["cases"].items():
            if about["kind"] == "dead":
                self.at_most(about["title"] + ": first answer, ms", self.ours(case, "first_ms"),
                             500, 0)
                self.at_most("  the next ten", self.ours(case, "next_x"), 2.0, words=" x healthy")
        for case in ("dead-refused", "dead-dropped", "dead-accepts", "dead-silent"):
            value, peer = (self.ours(case, "first_ms", name)
                           for name in ("dot-proxy-at-once", "smartdns"))
            # To be matched: what differs by less than is shown is the same.
            self.at_most(f"  {case} with `after: 0', ms", value and round(value, 1),
                         round(peer or 2, 1), 1, " (smartdns)")

    def sizes(self):
        peer, name = report.best(self.data, "start", "ms", False)
        self.at_most("Start to first answer, ms", self.ours("start", "ms"), round(peer or 8.5, 1),
                     1, f" ({name or 'smartdns, elsewhere'})")
        self.at_most("  with the system's bundle, ms",
                     self.ours("start", "ms", "dot-proxy-system-ca"), 40, 1)
        self.at_most("Cold first query", self.ours("cold", "bare_x"), 1.3, words=" x bare")
        for words, key, limit, name in (
                ("Memory, idle", "idle_pss", 6, OURS),
                ("  with the system's bundle", "idle_pss", 9, "dot-proxy-system-ca"),
                ("  loaded", "loaded_pss", 40, OURS), ("  at rest again", "after_pss", 10, OURS)):
            kib = self.ours("memory", key, name)
            self.at_most(f"{words}, MiB", None if kib is None else kib / KIB, limit, 1)
        with_cache, without = (self.ours("memory", "idle_pss", name)
                               for name in (OURS_CACHED, OURS))
        self.at_most("  the cache's share of it when idle, KiB",
                     with_cache - without if with_cache and without else None, 200, 0)
        workers = self.data["figures"].get("memory", {})
        for label in (ONE_CA, BUNDLE):
            self.at_most(f"  one more worker with TLS, {label}, KiB",
                         report.median(workers.get(label, ()), "tls_costs"), 450, 0)
        self.at_most("Upstream connections under light load", self.ours("cold", "in_use"), 1, 0)
        processes = self.ours("memory", "processes")
        self.at_most("  under heavy load", self.ours("udp-1000-0ms", "in_use"),
                     round(processes or 3) - 1, 0, " (workers)")

    def flat(self):
        for table, labels, least in (
                ("growth", [f"{n:,} addresses of clients" for n in ADDRESSES], 0.9),
                ("growth", [f"{n:,} idle clients beside" for n in IDLE], 0.9),
                ("growth", [f"{n} upstreams" for n in UPSTREAMS], 0.9),
                ("level", [f"log level {level}" for level in LEVELS], 0.97)):
            for key, words in (("tcp_qps", "connection per query"), ("udp_qps", "UDP")):
                values = [report.median(self.data["figures"].get(table, {}).get(label, ()), key)
                          for label in labels]
                share = min(values[1:]) / values[0] if all(values) else None
                self.at_least(f"From {labels[0]} to {labels[-1]}, {words}: q/s", share, least,
                              words=" x the first")

    def show(self):
        words = {True: "met", False: "NOT MET", None: "not measured"}
        report.print_rows("Bars", [["", "wanted", "measured", ""],
                              *([what, wanted, measured, words[met]]
                                for what, wanted, measured, met in self.rows)])


def document(data, picture):
    """Writes the picture; returns the table and its words, in Markdown."""
    report.draw_bars(picture, data, PICTURE_CASES)
    counts = [len(samples) for samples in data["results"][OURS].values()]
    lines = [f"Measured {data['date']} on {data['cores']} cores of {data['cpu']}, "
             f"{data['system']}; medians of {min(counts)} to {max(counts)}, everything on that "
             "one machine, certificates verified.", ""]
    ahead = []
    lines += throughput(data, DOCUMENT_CASES, OURS, "queries/s, caches off", ("p99_ms", 1), ahead)
    lines += ["", *throughput(data, DOCUMENT_HITS, OURS_CACHED, "queries/s, caches on",
                              ("p50_ms", 3), ahead)]
    lines += ["", "| other | dot-proxy | best of the others |", "| --- | ---: | ---: |"]
    for case, key, words, unit, digits in (
            ("start", "ms", "start to first response", "ms", 1),
            ("memory", "idle_pss", "memory, idle", "KiB", 0),
            ("memory", "loaded_pss", "memory, loaded", "KiB", 0),
            ("dead-dropped", "first_ms", "first upstream drops SYNs: first response", "ms", 0)):
        value, (peer, name) = report.of(data, OURS, case, key), report.best(data, case, key, False)
        if value is not None and peer is not None:
            lines.append(f"| {words} | {value:,.{digits}f} {unit} | "
                         f"{name} {peer:,.{digits}f} {unit} |")
            ahead += leaders(data, case, key, False, words)
    lines += ["", "Ahead of dot-proxy: " + "; ".join(ahead) + "." if ahead else
              "In none of these another is ahead.", "",
              "; ".join(f"{name}: {about['version']}" for name, about in data["targets"].items()
                        if name == OURS or not about["ours"] and not name.endswith("-cache"))
              + ".", "",
              f"![Queries per second, beside the others]({picture})"]
    return "\n".join(lines)


def throughput(data, wanted, ours, heading, time, ahead):
    """The lines of a table, with a column for a time (key, digits); who is ahead goes to AHEAD."""
    key, digits = time
    lines = [f"| {heading} | dot-proxy | best of the others | ratio | {key[:3]} ms | "
             "CPU us/query |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for case in wanted:
        title = data["cases"][case]["title"]
        value = report.of(data, ours, case, "qps")
        peer, name = report.best(data, case, "qps", True)
        if value is None or peer is None:
            continue
        lines.append(f"| {title} | {value:,.0f} | {name} {peer:,.0f} | {value / peer:.2f} | "
                     f"{report.write(report.of(data, ours, case, key), digits)} | "
                     f"{report.write(report.of(data, ours, case, 'cpu_us'), 1)} |")
        ahead += leaders(data, case, "qps", True, title, ours)
    return lines


def leaders(data, case, key, more, words, ours=OURS):
    """Compares with the best, also with proxies that only forward bytes."""
    value = report.of(data, ours, case, key)
    found = []
    for name in data["results"]:
        theirs = report.of(data, name, case, key)
        if theirs and not data["targets"][name]["ours"] and (theirs > value) == more \
                and theirs != value:
            found.append(name)
    return [f"{words}: {', '.join(found)}"] if found else []
