"""P-30: no content of the shared memory kills a process."""

import os
import random
import signal
import struct

import pytest

import faults
import processes
from clock import now
from rows import row, table

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to write into a process")

SECONDS = 4
WORDS = (0, 0, 1, 2, 100, 8192, 8193, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63,
         (1 << 64) - 1, 0x2001 << 32)


class Shared:
    """The memory that a worker shares with the others: what is in use of each mapping."""

    USED = 160 << 10

    def __init__(self, pid):
        self._mappings = []
        with open(f"/proc/{pid}/maps") as file:
            for line in file:
                if " rw-s " in line:
                    begin, end = (int(number, 16) for number in line.split()[0].split("-"))
                    self._mappings.append((begin, min(end - begin, self.USED)))
        self._random = random.Random(1)
        self._file = open(f"/proc/{pid}/mem", "r+b", buffering=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def _write(self, at, data):
        self._file.seek(at)
        self._file.write(data)

    def random_bytes(self):
        """All of it."""
        for begin, size in self._mappings:
            self._write(begin, self._random.randbytes(size))

    def words(self):
        """All of it: lengths, numbers and moments at their limits."""
        for begin, size in self._mappings:
            count = size // 8
            self._write(begin, struct.pack(f"{count}Q", *self._random.choices(WORDS, k=count)))

    def rows(self):
        """The same at the beginning of each, so that most of the sessions stay."""
        for begin, _ in self._mappings:
            self._write(begin, struct.pack("64Q", *self._random.choices(WORDS, k=64)))

    def flips(self):
        """Single bits."""
        for begin, size in self._mappings:
            for _ in range(64):
                at = begin + self._random.randrange(size)
                self._file.seek(at)
                byte, = self._file.read(1)
                self._write(at, bytes([byte ^ 1 << self._random.randrange(8)]))

    def zeros(self):
        for begin, size in self._mappings:
            self._write(begin, bytes(size))


@table("how", *((f"P-30-{how}", how) for how in ("random_bytes", "words", "rows", "flips",
                                                 "zeros")))
def test_random_bytes_in_shared_memory_kill_no_process(env, how):
    """Each connection reads a session from it, and each query is answered."""
    running = processes.start_workers(env, env.upstream(faults.close_after_answer),
                         timeouts={"upstream_idle": 0})
    workers = running.workers()
    asked, until = 0, now() + SECONDS
    with Shared(workers[0]) as shared, env.datagrams() as datagrams:
        while now() < until:
            getattr(shared, how)()
            env.assert_ok(env.ask(f"{asked}.tcp.test"))
            env.assert_ok(datagrams.ask(f"{asked}.udp.test"))
            asked += 1
            if asked % 10 == 0:
                running.signal(signal.SIGUSR1)      # the supervisor reads all of it, too
        assert asked > 20
        assert running.workers() == workers
        running.signal(signal.SIGHUP)
        running.wait_line("configuration reloaded")
    assert not running.lines("worker died") and not running.lines("worker stuck")


@row("P-30-heartbeat")
def test_overwritten_heartbeat_does_not_kill_the_worker(env):
    """The supervisor only checks whether it changes, and signals no unknown process."""
    running = processes.start_workers(env, env.upstream())
    workers = running.workers()
    with Shared(workers[0]) as shared:
        for _ in range(20):
            shared.zeros()
            env.idle(0.1)
    env.assert_ok(env.ask())
    assert running.workers() == workers
    assert not running.lines("worker stuck")
