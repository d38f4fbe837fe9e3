"""The two ends of a measurement: the TLS server and the clients."""

import contextlib
import re
import subprocess
import time

PORT = 8530             # of upstreams
RESPONSE_TIMEOUT = 2            # seconds
PROBE_RATE = 200        # queries a second
AT_ONCE = 100_000       # queries a second


class Upstream:
    """tests/bench/upstream.c, running; it ends with its standard input."""

    def __init__(self, program, address, certificate):
        self.address = address
        self.process = subprocess.Popen(
            [program, "-a", address, "-p", str(PORT), "-c", certificate],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the upstream does not start")

    def counters(self):
        return self.tell("")

    def settle(self, seconds=5):
        """Returns when no more connections come."""
        by = time.monotonic() + seconds
        last = None
        while (now := self.counters()["connected"]) != last and time.monotonic() < by:
            last = now
            time.sleep(0.2)

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
    """The standard output of a load, with a timeout beyond its duration."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=seconds + 30)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _client(program, mode, address, *, seconds=1, clients=1, delay=0, rate=None, slow=0,
            limit=None, addresses=None, outstanding=None, names=None,
            response_timeout=RESPONSE_TIMEOUT):
    command = [program, "-c", str(clients), "-l", str(round(seconds * 1000)), "-d", str(delay),
               "-w", str(round(response_timeout * 1000))]
    command += ["-a", str(addresses)] if addresses else []
    command += ["-r", str(rate)] if rate else []
    command += ["-s", str(slow)] if slow else []
    command += ["-o", str(outstanding)] if outstanding else []
    command += ["-n", str(limit)] if limit else []
    command += ["-u", str(names)] if names else []
    return [*command, mode, *map(str, address)]


def _sample(said):
    said = dict(re.findall(r"(\w+)=([\d.]+)", said))
    sample = {"qps": float(said["qps"]), "answered": int(said["answered"]),
              "failed": int(said["failed"])}
    for ours, theirs in (("p50_ms", "fast_p50_us"), ("p99_ms", "fast_p99_us"),
                         ("max_ms", "fast_max_us")):
        if theirs in said:
            sample[ours] = float(said[theirs]) / 1000
    return sample


def by_client(program, mode, address, seconds, **options):
    return _sample(run(_client(program, mode, address, seconds=seconds, **options), seconds))


@contextlib.contextmanager
def crowd(program, mode, address, clients):
    """Clients that stay connected and behave as their mode defines."""
    process = subprocess.Popen(_client(program, mode, address, clients=clients),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        yield
    finally:
        process.communicate("", timeout=10)


def slow_ones(program, address, count, delay, after):
    """
    COUNT queries at once, after some seconds, on ten connections, with delayed responses. A
    process.
    """
    command = _client(program, "tcp", address, seconds=count / AT_ONCE, rate=AT_ONCE, clients=10,
                      delay=delay, response_timeout=delay / 1000 + RESPONSE_TIMEOUT)
    return subprocess.Popen(["sh", "-c", f'sleep {after}; exec "$@"', "sh", *command],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def outcome(process, seconds):
    return _sample(process.communicate(timeout=seconds)[0])


def by_dnsperf(client, address, seconds, file, *, clients, outstanding, delay=0, names=None):
    """
    Over TCP connections that are kept, for the names in a file. It reports no percentiles:
    client.c measures them at a low rate on a separate connection, with only so many NAMES.
    """
    probe = subprocess.Popen(_client(client, "tcp", address, seconds=seconds, rate=PROBE_RATE,
                                     delay=delay, names=names),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    said = run(["dnsperf", "-s", address[0], "-p", str(address[1]), "-m", "tcp", "-T", "1",
                "-c", str(clients), "-q", str(clients * outstanding), "-l", str(seconds),
                "-t", str(RESPONSE_TIMEOUT), "-d", str(file)], seconds)
    probed = outcome(probe, seconds + RESPONSE_TIMEOUT + 30)

    def number(pattern):
        found = re.search(pattern, said)
        return float(found[1]) if found else 0.0

    good = int(number(r"NOERROR (\d+)"))
    failed = int(number(r"Queries sent: +(\d+)")) - good
    return {"qps": good / number(r"Run time \(s\): +([\d.]+)"),
            "answered": good + probed["answered"], "failed": failed + probed["failed"],
            "p50_ms": probed.get("p50_ms"), "p99_ms": probed.get("p99_ms")}


def bare_ms(program, ca_file, hostname, address, wait):
    """The time of a first query without a proxy, sent by a process that is already running."""
    said = run([program, ca_file, hostname, address, str(PORT), str(int(1000 * wait))], 1 + wait)
    return int(re.search(r"us=(\d+)", said)[1]) / 1000


def write_names(path, delay, count=50_000):
    """
    Names for dnsperf, each used once per round, so that no two queries coincide. Those of client.c
    are the same when it uses only so many.
    """
    path.write_text("".join(f"d{delay}-{n}.bench.example A\n" for n in range(count)))
