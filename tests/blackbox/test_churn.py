"""Promises P6 and P8 under load: workers are killed, the configuration is reloaded, all at once."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import pytest

import processes
from clock import now
from env import MIB
from rows import row

RATE = 1000         # queries a second
CHURN = os.path.join(os.path.dirname(__file__), "..", "lib", "churn.py")

# Queries in flight at a killed worker: the load of a few milliseconds.
IN_HAND = RATE // 50


class Load:
    """Half of the queries each on a connection of its own, half of them on kept ones."""

    def __init__(self, address, seconds):
        # Not pipes: who has lost much has much to write, and nobody reads while it runs.
        self._outputs = [tempfile.TemporaryFile() for _ in range(2)]
        self._processes = [subprocess.Popen(
            [sys.executable, CHURN, *map(str, (*address, seconds, RATE / 2, kind))],
            stdout=output) for kind, output in zip(("single", "kept"), self._outputs)]
        self._seconds = seconds

    @property
    def running(self):
        return any(process.poll() is None for process in self._processes)

    def results(self):
        found = []
        for process, output in zip(self._processes, self._outputs):
            process.wait(self._seconds + 20)
            output.seek(0)
            found.append(json.load(output))
        for seen in found:
            # A machine that is too slow only sends fewer queries.
            assert seen["asked"] >= RATE / 2 * self._seconds * 0.5
            assert seen["asked"] == seen["answered"] + seen["servfail"] + len(seen["lost"]) + \
                len(seen["wrong"])
            assert not seen["wrong"], seen["wrong"][:5]
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
            process.wait()
        for output in self._outputs:
            output.close()


@row("P6")
@pytest.mark.timeout(180)
def test_reloads_lose_nothing(env):
    """One reload per second under load: every query is answered."""
    server = env.upstream()
    env.may_grow = 64 * MIB
    running = processes.start_workers(env, server, workers=2)
    with Load(running.address, 10 if env.sanitized else 30) as load:
        while load.running:
            running.signal(signal.SIGHUP)
            time.sleep(1)
        single, kept = load.results()
    assert not single["lost"] and not kept["lost"], (single["lost"][:5], kept["lost"][:5])
    assert not single["servfail"] and not kept["servfail"]
    assert len(running.lines("configuration reloaded")) >= 3
    assert not running.lines("worker died")
    _wait_settled(running, 2)


@row("P6-P8")
@pytest.mark.timeout(240)
def test_killed_worker_loses_only_its_queries_in_flight(env):
    """
    Workers are killed at random while the configuration is reloaded every second. Clients that
    retry lose nothing; others lose the worker's queries in flight.
    """
    server = env.upstream()
    env.may_grow = 64 * MIB
    running = processes.start_workers(env, server, workers=3)
    pick, deaths, next_reload = random.Random(6), [], 0.0
    with Load(running.address, 20 if env.sanitized else 60) as load:
        while load.running:
            workers = running.workers()
            if workers:
                victim = pick.choice(workers)
                os.kill(victim, pick.choice((signal.SIGKILL, signal.SIGABRT)))
                deaths.append(now())
            if now() >= next_reload:
                next_reload = now() + 1
                running.process.send_signal(signal.SIGHUP)
            time.sleep(pick.uniform(0.2, 1.2))
        single, kept = load.results()
    assert len(deaths) >= 15
    assert not kept["lost"], kept["lost"][:5]
    assert len(single["lost"]) <= IN_HAND * len(deaths)
    for asked, lost, how in single["lost"]:
        assert how == "closed"
        assert any(asked - 0.05 <= death <= lost + 0.05 for death in deaths), \
            f"lost at {lost:.3f}, asked at {asked:.3f}: {how}; no worker died then"
    # Promise P1: what no worker had in its hands was answered by an upstream that is well.
    assert not single["servfail"] and not kept["servfail"]
    _wait_settled(running, 3)
    assert len(running.lines("worker died")) <= len(deaths)


def _wait_settled(running, workers):
    """Old generations go, and what died is replaced."""
    processes.wait_all_serving(running, workers, seconds=20)
