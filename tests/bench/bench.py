"""Visits to the targets: each starts one, measures it, and ends it."""

import collections
import concurrent.futures
import contextlib
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import cases
import dead
import load
import target

SETTLE_SECONDS = 0.2
LIGHT_SECONDS = 0.3
LOOK_SECONDS = 2.5      # for an answer that must not come
WARM_SECONDS_MOST = 5
FIRST, SECOND = "127.0.50.1", "127.0.50.2"
HOSTNAME = "bench.test"


class Progress:
    """Says how far it is: on a terminal in one line, else in a line now and then."""

    def __init__(self, seconds):
        self.expected, self.done = seconds, 0
        self.began = self.said = time.monotonic()
        print(f"About {self.clock(seconds)} minutes.", file=sys.stderr, flush=True)

    @staticmethod
    def clock(seconds):
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

    def step(self, doing, seconds):
        """Prints the name and expected duration of a step."""
        now = time.monotonic()
        spent = now - self.began
        pace = spent / self.done if self.done > 0.1 * self.expected else 1
        left = pace * (self.expected - self.done)
        text = (f"{100 * self.done / self.expected:3.0f}%, {self.clock(spent)} gone, "
                f"about {self.clock(left)} to go: {doing}")
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif now - self.said > 10 or self.done == 0:
            print(text, file=sys.stderr, flush=True)
            self.said = now
        self.done += seconds

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class Bench:
    """What came of it is in results, {target: {case: [samples]}}."""

    def __init__(self, targets, times, seconds, rest, programs, scratch):
        self.targets, self.times, self.seconds = targets, times, seconds
        self.rest, self.scratch = rest, scratch
        self.client, self.bare = str(programs / "client"), str(programs / "bare")
        self.results = {name: {} for name in targets}
        self.left_out = collections.defaultdict(dict)     # case: target: why
        self.progress = None    # set before the first visit
        self.broken = False     # a target of ours is left out somewhere
        self.stack = contextlib.ExitStack()
        identity = str(scratch / "identity.pem")
        self.upstream, self.second = (
            self.stack.enter_context(contextlib.closing(
                load.Upstream(str(programs / "upstream"), address, identity)))
            for address in (FIRST, SECOND))

    def close(self):
        self.stack.close()

    @contextlib.contextmanager
    def started(self, name, **settings):
        """A target that serves and has received no query."""
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self.scratch) as directory:
            running = self.targets[name].start(pathlib.Path(directory), asks=False, **settings)
            try:
                running.await_listening()
                time.sleep(SETTLE_SECONDS)
                yield running
            finally:
                running.stop()

    # Whether they verify.

    def verify(self):
        """
        Queries each target that trusts another CA than the upstream's, or expects another name:
        {target: the faults it accepts}.
        """
        wrong = {"another CA": {"ca": str(self.scratch / "other-ca.pem")},
                 "another name": {"hostname": "other.test"}}
        found = {}
        with concurrent.futures.ThreadPoolExecutor(len(self.targets)) as pool:
            for what, settings in wrong.items():
                asked = pool.map(lambda name: self.accepts(name, settings), self.targets)
                for name, accepts in zip(self.targets, asked):
                    if accepts:
                        found.setdefault(name, []).append(what)
        return found

    def accepts(self, name, settings):
        try:
            with self.started(name, **settings) as running:
                by = time.monotonic() + LOOK_SECONDS
                while time.monotonic() < by:
                    if running.answers():
                        return True
                    time.sleep(0.1)
        except target.Unusable:
            pass        # some do not even start
        return False

    # What is measured.

    def run_load(self, running, case, names):
        """A sample of the load of a case, with the CPU time of the target."""
        address, seconds = running.target.address, case.stretch * self.seconds
        cpu = running.cpu_seconds()
        if case.mode == "dnsperf":
            sample = load.by_dnsperf(self.client, address, seconds, self.scratch / names,
                                     delay=case.delay, **case.options)
        else:
            sample = load.by_client(self.client, case.mode, address, seconds, delay=case.delay,
                                    **case.options)
        spent = running.cpu_seconds() - cpu
        if sample["answered"]:
            sample["cpu_us"] = spent * 1e6 / sample["answered"]
        return sample

    def measure_load(self, running, case):
        before = self.upstream.counters()
        sample = self.run_load(running, case, f"names-{case.delay}")
        after = self.upstream.counters()
        if case.delay and case.outstanding:
            sample["possible"] = sample["qps"] * case.delay / 1000 / case.outstanding
        sample["connections"] = after["connected"] - before["connected"]
        sample["in_use"] = after["most"]
        return sample

    def measure_hits(self, running, case):
        """
        Each name has been asked twice before, over the transport of the case: some caches keep
        what came by UDP and by TCP apart, others keep a name longer when it is asked again.
        """
        mode = "each-udp" if case.needs_udp else "each"
        load.by_client(self.client, mode, running.target.address, WARM_SECONDS_MOST, clients=10,
                       limit=2 * cases.HIT_NAMES, names=cases.HIT_NAMES)
        before = self.queries()
        sample = self.run_load(running, case, "names-hits")
        sample["misses"] = self.queries() - before
        return sample

    def queries(self):
        """How many the upstreams have received."""
        return sum(one.counters()["queries"] for one in (self.upstream, self.second))

    def measure_crowd(self, running, _):
        """The latency of a good client: alone, and together with clients of each mode."""
        def median_ms():
            samples.append(load.by_client(self.client, "each", address, self.seconds))
            return samples[-1].get("p50_ms")

        address, samples = running.target.address, []
        sample = {"alone_ms": median_ms()}
        pss = running.memory()["pss"]
        for mode in ("idle", "byte"):
            with load.crowd(self.client, mode, address, cases.CROWD):
                self.upstream.settle()
                if mode == "idle":
                    sample["client_kib"] = (running.memory()["pss"] - pss) / cases.CROWD
                    sample["in_use"] = self.upstream.counters()["open"]
                sample[f"{mode}_ms"] = median_ms()
            if sample[f"{mode}_ms"] and sample["alone_ms"]:
                sample[f"{mode}_x"] = sample[f"{mode}_ms"] / sample["alone_ms"]
        sample["failed"] = sum(one["failed"] for one in samples)
        return sample

    def measure_slow(self, running, _):
        """Fast queries at a low rate from before the slow ones come until they are answered."""
        address = running.target.address
        options = {"clients": 10, "rate": cases.LIGHT_RATE}
        seconds = cases.SLOW_MS / 1000 + max(0.4, self.seconds)
        alone = load.by_client(self.client, "tcp", address, seconds, **options)
        slow = load.slow_ones(self.client, address, cases.SLOW_ONES, cases.SLOW_MS, after=0.2)
        beside = load.by_client(self.client, "tcp", address, seconds, **options)
        sample = {"alone_ms": alone.get("p99_ms"), "beside_ms": beside.get("p99_ms"),
                  "failed": alone["failed"] + beside["failed"],
                  "slow_failed": load.outcome(slow, 30)["failed"]}
        if sample["alone_ms"] and sample["beside_ms"]:
            sample["beside_x"] = sample["beside_ms"] / sample["alone_ms"]
        return sample

    def measure_cold(self, name):
        with self.started(name) as running:
            first = load.by_client(self.client, "each", running.target.address, 5, limit=1,
                                   response_timeout=5)
            sample = {"ms": first.get("max_ms")}
            load.by_client(self.client, "tcp", running.target.address, LIGHT_SECONDS, clients=2,
                           rate=cases.LIGHT_RATE)
            sample["in_use"] = self.upstream.counters()["open"]
        sample["bare_ms"] = load.bare_ms(self.bare, str(self.scratch / "ca.pem"), HOSTNAME, FIRST,
                                         SETTLE_SECONDS)
        if sample["ms"]:
            sample["bare_x"] = sample["ms"] / sample["bare_ms"]
        return sample

    # Visits.

    def visit(self, name, due):
        by_kind = collections.defaultdict(list)
        for case in due:
            by_kind[case.kind].append(case)
        if by_kind.keys() - {"cold"}:
            self.visit_running(name, by_kind)
        for case in by_kind["cold"]:
            self.take(name, case, lambda: self.measure_cold(name))

    def take(self, name, case, measure):
        """Keeps a sample, or why there is none: one that breaks down does not end the run."""
        self.progress.step(f"{name}: {case.name}", case.takes(self.seconds))
        try:
            self.results[name].setdefault(case.name, []).append(measure())
        except (target.Unusable, RuntimeError, OSError, subprocess.TimeoutExpired) as why:
            self.left_out[case.name][name] = f"it broke down: {why}"
            self.broken = self.broken or self.targets[name].is_ours

    def visit_running(self, name, by_kind):
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self.scratch) as directory:
            running = self.targets[name].start(pathlib.Path(directory))
            try:
                for case in by_kind["start"]:
                    self.take(name, case, lambda: {"ms": running.start_seconds * 1000})
                if not by_kind.keys() - {"start", "cold"}:
                    return
                time.sleep(SETTLE_SECONDS)
                memory = {f"idle_{key}": value for key, value in running.memory().items()}
                memory["processes"] = len(running.pids())
                loaded = (self.visit_loaded(running, by_kind["load"], self.measure_load)
                          + self.visit_loaded(running, by_kind["hits"], self.measure_hits))
                for case in by_kind["memory"]:
                    self.take(name, case, lambda: self.rested(running, memory, loaded))
                self.visit_loaded(running, by_kind["crowd"], self.measure_crowd)
                self.visit_loaded(running, by_kind["slow"], self.measure_slow)
            finally:
                running.stop()

    def visit_loaded(self, running, due, measure):
        """The memory after each of these cases, in KiB."""
        name, pss = running.target.name, []
        for case in due:
            if case.needs_udp and not running.serves_udp:
                self.left_out[case.name][name] = "it does not listen on UDP"
                continue
            self.take(name, case, lambda case=case: measure(running, case))
            pss.append(running.memory()["pss"])
        return pss

    def rested(self, running, memory, loaded):
        if loaded:
            memory["loaded_pss"] = max(loaded)
        if loaded and self.rest:
            time.sleep(self.rest)
            memory["after_pss"] = running.memory()["pss"]
        return memory

    def visit_all(self, n):
        """The n-th round: every target, with the cases that are measured so often."""
        due = [case for case, times in self.times.items() if n < times]
        names = list(self.targets)
        # What a case or a target leaves behind (where processes run, how busy they were) shall
        # not always meet the same one. The order of cases is the same for all targets.
        order = random.Random(n)
        order.shuffle(due)
        order.shuffle(names)
        for name in names:
            own = [case for case in due if case.kind != "dead" and self.targets[name].takes(case)]
            if not own:
                continue
            try:
                self.visit(name, own)
            except target.Unusable as why:
                print(f"{name}: left out: {why}", file=sys.stderr)
                self.left_out["all"][name] = str(why)
                self.broken = self.broken or self.targets[name].is_ours
                del self.targets[name]
                del self.results[name]
        for case in due:
            names = [name for name in self.targets if self.targets[name].takes(case)]
            if case.kind == "dead" and names:
                self.visit_dead(case, names)

    def visit_dead(self, case, names):
        self.progress.step(f"all: {case.name}", case.takes(self.seconds))
        samples, failed = dead.measure(self, names, case.options["way"])
        for name, sample in samples.items():
            self.results[name].setdefault(case.name, []).append(sample)
        for name, why in failed.items():
            self.left_out[case.name][name] = str(why)
            self.broken = self.broken or self.targets[name].is_ours
