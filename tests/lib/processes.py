"""The worker processes of a proxy: wait for them, pause them, find the one that has a client."""

import contextlib
import os
import signal

import proxy
from clock import wait_until


def start_workers(env, *upstreams, workers=2, **settings):
    """Like env.proxy(); all workers serve when this returns."""
    running = env.proxy(*upstreams, workers=workers, start=False, **settings)
    wait_all_serving(running, workers)
    wait_until(lambda: not running.log or running.lines("serving"), 2, "it logs that it serves")
    return running.start()


def all_serving(running, count, without=()):
    """Whether `count` workers exist and serve, and none of them is in `without`."""
    assert running.alive, f"it ended:\n{running.log_text()}"
    pids = running.workers()
    return len(pids) == count and not set(pids) & set(without) and all(map(proxy.listens, pids))


def wait_all_serving(running, count, without=(), seconds=10):
    wait_until(lambda: all_serving(running, count, without), seconds, f"{count} workers serve")
    return running.workers()


def state(pid):
    """The state letter of a process, see proc(5)."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def wait_asleep(running):
    """Waits until each worker sleeps."""
    for pid in running.workers():
        wait_until(lambda: state(pid) == "S", 2, "it sleeps")


def pause(pid):
    """Stops a process and waits until it is stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state(pid) == "T", 2, "it is stopped")


@contextlib.contextmanager
def only_this_worker(running, worker):
    """Stops the other workers, so that this one accepts all clients."""
    others = [pid for pid in running.workers() if pid != worker]
    try:
        for pid in others:
            pause(pid)
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)
        for pid in others:
            wait_until(lambda: state(pid) == "S", 2, "it sleeps again")


def client_of(env, worker, **args):
    """A client that this worker has accepted."""
    with only_this_worker(env.proxies[-1], worker):
        client = env.client(**args)
        client.wait_read()
    return client


def one_each(env):
    """One client for each worker: a dictionary by PID."""
    return {worker: client_of(env, worker) for worker in env.proxies[-1].workers()}


def census(running):
    """Descriptors, mappings, and memory in KiB, of the supervisor."""
    with open(f"/proc/{running.pid}/smaps_rollup") as file:
        memory = next(int(line.split()[1]) for line in file if line.startswith("Rss:"))
    with open(f"/proc/{running.pid}/maps") as file:
        mappings = len(file.readlines())
    return sorted(os.listdir(f"/proc/{running.pid}/fd")), mappings, memory
