"""The program under test, as a process."""

import functools
import json
import os
import re
import signal
import socket
import subprocess

import client
import dnsmsg
import logs
import sockdiag
from clock import now, run_delay, wait_until

BINARY = os.path.abspath(os.environ.get("DOT_PROXY", os.path.join(
    os.path.dirname(__file__), "..", "..", "build", "dot-proxy")))
REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
           "WARNING: MemorySanitizer", "WARNING: ThreadSanitizer")


@functools.cache
def sanitized():
    """Whether the program was built with sanitizers, which make it slower and larger."""
    with open(BINARY, "rb") as file:
        return b"__asan_init" in file.read()


def write_config(path, settings):
    """Writes settings as YAML: one key per line, nested values as flow collections."""
    with open(path, "w") as file:
        for key, value in settings.items():
            if isinstance(value, list) and value:
                file.write(f"{key}:\n")
                for item in value:
                    file.write(f"  - {json.dumps(item)}\n")
            else:
                file.write(f"{key}: {json.dumps(value)}\n")
    return path


# The values of enum waitset_owner for listening sockets.
LISTENERS = 0, 3


def listens(pid):
    """Whether the process waits for clients. Workers start with a copy of the supervisor's set."""
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventpoll]":
                with open(f"/proc/{pid}/fdinfo/{fd}") as file:
                    owners = [int(data, 16) >> 32
                              for data in re.findall(r"data:\s*([0-9a-f]+)", file.read())]
                if any(owner in LISTENERS for owner in owners):
                    return True
    except OSError:
        pass
    return False


class Proxy:
    """
    One run of the program. start() returns when it serves; stop() checks its exit status.
    """

    def __init__(self, config, address, loop, make_socket=socket.socket, popen=subprocess.Popen,
                 args=(), prefix=(), count=1, **popen_args):
        self.address = address
        self.count = count          # of workers, at least
        self.started = now()
        self._loop = loop
        self._make_socket = make_socket
        command = [*prefix, BINARY, "-c", config, *args]
        popen_args.setdefault("stdin", subprocess.DEVNULL)
        popen_args.setdefault("stdout", subprocess.DEVNULL)
        self.process = popen(command, stderr=subprocess.PIPE, **popen_args)
        loop.watch(self.starved)
        self._log = logs.Log(self.process.stderr)

    def start(self, probe=True):
        """Waits until all workers serve, and records the resource usage."""
        connection = wait_until(self.connect, 10, "the proxy listens")
        wait_until(self._all_workers_listen if probe else self.workers, 10, "all workers serve")
        self.serves = now()
        if probe:
            # A query with a local response: after it, all descriptors are open.
            connection.send(dnsmsg.header(1, 2 << 11, 0, 0, 0, 0))
            connection.receive()
        connection.close()
        if probe:
            self._record_usage()
        return self

    def _record_usage(self):
        wait_until(lambda: self.clients() == 0, 5, "the first client is closed")
        self.descriptors_at_start = self.descriptors()
        self.threads_at_start = self.threads()
        self.children_at_start = self.children()
        self.memory_at_start = self.memory()

    def connect(self):
        """A client, or None if the proxy does not listen yet."""
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}:\n{self.log_text()}")
        try:
            return client.Client(self.address, self._loop, self._make_socket)
        except OSError:
            return None

    def _all_workers_listen(self):
        return sum(map(listens, self.workers())) >= self.count

    # The log.

    @property
    def log(self):
        """All lines that were written so far."""
        return self._log.lines()

    def log_text(self):
        return "\n".join(line.text for line in self.log)

    def lines(self, event=None, **fields):
        """The lines of an event whose fields contain the given texts."""
        return [line for line in self.log
                if (event is None or line.get("event") == event)
                and all(text in line.get(key, "") for key, text in fields.items())]

    def wait_line(self, event, seconds=5, **fields):
        try:
            return wait_until(lambda: self.lines(event, **fields), seconds)[0]
        except AssertionError:
            raise AssertionError(f"no line {event!r} with {fields} within {seconds} s in:\n"
                                 + self.log_text()) from None

    # Resource usage.

    @property
    def pid(self):
        return self.process.pid

    def _proc(self, name, pid=None):
        with open(f"/proc/{pid or self.pid}/{name}") as file:
            return file.read()

    def workers(self):
        return [int(pid) for pid in self._proc(f"task/{self.pid}/children").split()]

    def _processes(self):
        return [self.pid, *self.workers()]

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self._processes())

    def clients(self):
        """The number of client connections, as the kernel reports it."""
        return sum(inode != 0 for _, _, inode
                   in sockdiag.connections(self.address, self._make_socket))

    def threads(self):
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self._processes())

    def children(self):
        return len(self.workers())

    def zombies(self):
        return [pid for pid in self.workers() if "\nState:\tZ" in self._proc("status", pid)]

    def memory(self):
        """Anonymous resident memory in bytes; shared memory counts for each process."""
        return sum(int(line.split()[1]) * 1024 for pid in self._processes()
                   for line in self._proc("status", pid).splitlines() if line.startswith("RssAnon"))

    def cpu(self):
        """Seconds of CPU used so far."""
        return sum(int(self._proc("schedstat", pid).split()[0]) for pid in self._processes()) / 1e9

    def starved(self):
        """Seconds for which it was ready to run but had no CPU."""
        try:
            return sum(run_delay(f"/proc/{pid}") for pid in self._processes())
        except OSError:
            return 0.0

    # Signals and exit.

    @property
    def alive(self):
        return self.process.poll() is None

    def signal(self, number):
        """Sends a signal and waits until it is delivered."""
        self.process.send_signal(number)
        wait_until(lambda: not self.alive or not self._pending(), 2, "the signal arrives")

    def _pending(self):
        try:
            return any(int(line.split()[1], 16) for line in self._proc("status").splitlines()
                       if line.startswith(("SigPnd", "ShdPnd")))
        except (FileNotFoundError, ProcessLookupError):
            return False

    def wait(self, seconds=8):
        """Waits for its exit and for the end of the log; returns the exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {seconds} s:\n{self.log_text()}") from None
        self._log.wait_end(2)
        return status

    def stop(self):
        """Stops it with SIGTERM; checks exit status 0 and that there is no sanitizer report."""
        self.signal(signal.SIGTERM)
        status = self.wait()
        self.check_reports()
        assert status == 0, f"exit status {status}:\n{self.log_text()}"

    def check_reports(self):
        for line in self.log:
            assert not any(report in line.text for report in REPORTS), self.log_text()

    def kill(self):
        if self.alive:
            self.process.kill()
            self.process.wait()
        self._log.wait_end(2)
