"""Several workers side by side: which of them are there, and whose a client is."""

import contextlib
import os
import signal

import proxy
from clock import wait_until


def serve(house, *upstreams, workers=2, **settings):
    """As house.proxy(), and all of the workers serve when this returns."""
    running = house.proxy(*upstreams, workers=workers, start=False, **settings)
    wait_whole(running, workers)
    wait_until(lambda: not running.log or running.lines("serving"), 2, "it says that it serves")
    return running.start()


def is_whole(running, count, without=()):
    """Whether there are so many workers, all serve, and none of them is one of the `without`."""
    assert running.alive, f"it ended:\n{running.log_text()}"
    pids = running.workers()
    return len(pids) == count and not set(pids) & set(without) and all(map(proxy.listens, pids))


def wait_whole(running, count, without=(), seconds=10):
    wait_until(lambda: is_whole(running, count, without), seconds, f"{count} workers serve")
    return running.workers()


def state(pid):
    """A letter, as in proc(5)."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def wait_asleep(running):
    """Until each worker is in its wait."""
    for pid in running.workers():
        wait_until(lambda: state(pid) == "S", 2, "it waits")


def halt(pid):
    """Stops a process, and waits until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state(pid) == "T", 2, "it stands still")


@contextlib.contextmanager
def alone(running, worker):
    """Who connects meanwhile is this worker's: the others stand still."""
    others = [pid for pid in running.workers() if pid != worker]
    try:
        for pid in others:
            halt(pid)
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)
        for pid in others:
            wait_until(lambda: state(pid) == "S", 2, "it waits again")


def client_of(house, worker, **args):
    """A client that this worker has accepted."""
    with alone(house.proxies[-1], worker):
        client = house.client(**args)
        client.wait_taken()
    return client


def one_each(house):
    """A client of each worker, by the worker."""
    return {worker: client_of(house, worker) for worker in house.proxies[-1].workers()}
