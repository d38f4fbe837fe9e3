"""The two ends of a measurement: the server that is asked over TLS, and those who ask."""

import contextlib
import re
import subprocess

AT_ONCE = 100_000       # queries a second


class Upstream:
    """tests/bench/upstream.c, running; it ends with its standard input."""

    def __init__(self, program, address, port, certificate):
        self.process = subprocess.Popen(
            [program, "-a", address, "-p", str(port), "-c", certificate],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the upstream does not start")

    def counters(self):
        return self.tell("")

    def silence(self, silent):
        """Gives no more answers, or does again."""
        self.tell("silent" if silent else "speak")

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return {key: int(value) for key, value in
                re.findall(r"(\w+)=(\d+)", self.process.stdout.readline())}

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def run(command, seconds):
    """What a load says on standard output; it has some time beyond its own."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=seconds + 30)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _client(program, mode, address, *, seconds=1, clients=1, delay=0, rate=None, slow=0,
            limit=None):
    command = [program, "-c", str(clients), "-l", str(round(seconds * 1000)), "-d", str(delay)]
    command += ["-r", str(rate)] if rate else []
    command += ["-s", str(slow)] if slow else []
    command += ["-n", str(limit)] if limit else []
    return [*command, mode, *map(str, address)]


def _sample(said):
    said = dict(re.findall(r"(\w+)=([\d.]+)", said))
    sample = {"qps": float(said["qps"]), "answered": int(said["answered"]),
              "failed": int(said["failed"])}
    for ours, theirs in (("p50_ms", "fast_p50_us"), ("p99_ms", "fast_p99_us"),
                         ("max_ms", "fast_max_us")):
        if theirs in said:
            sample[ours] = int(said[theirs]) / 1000
    return sample


def by_client(program, mode, address, seconds, **options):
    return _sample(run(_client(program, mode, address, seconds=seconds, **options), seconds))


@contextlib.contextmanager
def crowd(program, mode, address, clients):
    """Clients that are connected meanwhile, and do no more than their mode says."""
    process = subprocess.Popen(_client(program, mode, address, clients=clients),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        yield
    finally:
        process.communicate("", timeout=10)


def slow_ones(program, address, count, delay, after):
    """
    COUNT queries at once, after some seconds, on ten connections; answers take so long. A
    process.
    """
    command = _client(program, "tcp", address, seconds=count / AT_ONCE, rate=AT_ONCE, clients=10,
                      delay=delay)
    return subprocess.Popen(["sh", "-c", f'sleep {after}; exec "$@"', "sh", *command],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def outcome(process, seconds):
    return _sample(process.communicate(timeout=seconds)[0])


def by_dnsperf(address, seconds, names, *, clients, outstanding):
    """
    Over TCP connections that are kept. It says no percentiles: what a query took on average
    stands for the median. (With a single query outstanding it stands still for most of the
    time, whatever it asks: that is left to client.c.)
    """
    said = run(["dnsperf", "-s", address[0], "-p", str(address[1]), "-m", "tcp", "-T", "1",
                "-c", str(clients), "-q", str(outstanding), "-l", str(seconds), "-d", str(names)],
               seconds)

    def number(pattern):
        found = re.search(pattern, said)
        return float(found[1]) if found else 0.0

    good = int(number(r"NOERROR (\d+)"))
    sent = int(number(r"Queries sent: +(\d+)"))
    return {"qps": good / number(r"Run time \(s\): +([\d.]+)"), "answered": good,
            "failed": sent - good, "p50_ms": number(r"Average Latency \(s\): +([\d.]+)") * 1000}


def write_names(path, delay, count=50_000):
    """Names for dnsperf, each asked once in a round, so that none are asked together."""
    path.write_text("".join(f"d{delay}-{n}.bench.example A\n" for n in range(count)))
