"""Waiting for conditions, and how much of a wait was this machine's own fault."""

import asyncio
import bisect
import concurrent.futures
import threading
import time

now = time.monotonic


def wait_until(condition, seconds=5.0, what=None):
    """Polls until the condition holds and returns what it gave; fails after `seconds`."""
    limit = now() + seconds
    while True:
        value = condition()
        if value:
            return value
        if now() > limit:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.005)


class Loop:
    """
    An asyncio loop in a thread of its own, in which the upstreams live. It also ticks, and
    remembers when a tick came late: that is time the machine was too busy to run us, and
    no test should blame the proxy for it.
    """

    TICK = 0.010

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._late_at = [0.0]
        self._late_sum = [0.0]
        self._thread = threading.Thread(target=self._run, name="upstreams", daemon=True)
        self._thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self._due = now() + self.TICK
        self.loop.call_later(self.TICK, self._tick)
        self.loop.run_forever()

    def _tick(self):
        moment = now()
        if moment - self._due > 0.005:
            self._late_at.append(moment)
            self._late_sum.append(self._late_sum[-1] + moment - self._due)
        self._due = moment + self.TICK
        self.loop.call_later(self.TICK, self._tick)

    def late(self, begin, end):
        """The seconds between two moments in which this machine did not run us on time."""
        first = bisect.bisect_right(self._late_at, begin)
        last = bisect.bisect_right(self._late_at, end + self.TICK)
        return self._late_sum[last - 1] - self._late_sum[first - 1]

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
