"""Waiting for conditions, and the scheduler delay of the machine."""

import asyncio
import bisect
import concurrent.futures
import threading
import time

now = time.monotonic


def wait_until(condition, seconds=5.0, what=None):
    """Polls until the condition holds and returns its value; fails after `seconds`."""
    limit = now() + seconds
    while True:
        value = condition()
        if value:
            return value
        if now() > limit:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.005)


def run_delay(directory):
    """Seconds for which a task (its /proc directory) was ready to run but had no CPU."""
    with open(f"{directory}/schedstat") as file:
        return int(file.read().split()[1]) / 1e9


def _test_starved():
    return run_delay(f"/proc/self/task/{threading.main_thread().native_id}")


class Loop:
    """
    An asyncio loop in its own thread, which runs the upstreams. A timer measures by how much it
    is late, and how long the proxy and the test's thread waited for a CPU. Tests subtract this
    time, since the proxy does not cause it.
    """

    TICK = 0.010

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._watched = []          # functions that return the seconds a task waited for a CPU
        self._late = 0.0            # in total, measured with the timer
        self._at = [now()]
        self._lost = [0.0]
        self._thread = threading.Thread(target=self._run, name="upstreams", daemon=True)
        self._thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self._due = now() + self.TICK
        self.loop.call_later(self.TICK, self._tick)
        self.loop.run_forever()

    def _tick(self):
        moment = now()
        if moment - self._due > 0.002:
            self._late += moment - self._due
        self._lost.append(max(self._lost[-1], self._late + sum(f() for f in self._watched)))
        self._at.append(moment)
        self._due = now() + self.TICK
        self.loop.call_later(self.TICK, self._tick)

    def watch(self, starved):
        """Adds the result of this function until the next call of watch()."""
        self.loop.call_soon_threadsafe(self._watch, starved)

    def _watch(self, starved):
        before = _test_starved()
        self._late = self._lost[-1]
        self._watched = [starved, lambda: _test_starved() - before]

    def late(self, begin, end):
        """The scheduler delay between two times, in seconds."""
        limit = now() + 1
        while self._at[-1] < end and now() < limit:
            time.sleep(0.002)
        first = bisect.bisect_right(self._at, begin) - 1
        last = min(bisect.bisect_left(self._at, end), len(self._at) - 1)
        return self._lost[last] - self._lost[max(0, first)]

    def call(self, coroutine, seconds=10.0):
        """Runs a coroutine in the loop and returns its result."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise AssertionError(f"{coroutine} took over {seconds} s") from None

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
