"""
Dead upstreams of several kinds before one that works. Targets that only wait for a response are
measured in parallel.
"""

import concurrent.futures
import contextlib
import socket
import time

import cases
import load
import target

HOLE = "127.0.50.3"     # no listener, unless one of the upstreams below has one
FIRST_SECONDS = 5       # as long as dig waits
NEXT_SECONDS = 2        # no further queries after this time
WARM = 20
SETTLE_SECONDS = 0.5    # all of them have started
ALONE_SECONDS = 0.6     # before the next target starts in parallel with one that has not answered


@contextlib.contextmanager
def silent_listener(backlog, full=False):
    """Nobody accepts: TLS never begins. When its queue is full, each SYN is lost."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOLE, load.PORT))
        listener.listen(backlog)
        if full:
            for _ in range(backlog + 1):
                stack.enter_context(socket.create_connection((HOLE, load.PORT), 1))
        yield


@contextlib.contextmanager
def silent(upstream):
    upstream.silence(True)
    try:
        yield
    finally:
        upstream.silence(False)


def dead(way, upstream):
    """A context in which the first upstream is dead, unless it is well or is only to die later."""
    return {"none": contextlib.nullcontext,
            "refused": contextlib.nullcontext,
            "dropped": lambda: silent_listener(0, full=True),
            "accepts": lambda: silent_listener(4096),
            "silent": lambda: silent(upstream),
            "warm": contextlib.nullcontext}[way]()


def ask_all(bench, names, way):
    """{target: (what came of the first query, of the following ones)}; or why it did not start."""
    upstream = HOLE if way in ("refused", "dropped", "accepts") else bench.upstream.address
    settings = {"upstream": upstream, "second": bench.second.address}

    def start(name):
        try:
            return stack.enter_context(bench.started(name, **settings))
        except target.Unusable as why:
            return why

    def ask(name, seconds, limit):
        return load.by_client(bench.client, "each", bench.targets[name].address, seconds,
                              limit=limit, response_timeout=seconds)

    def ask_both(name):
        return ask(name, FIRST_SECONDS, 1), ask(name, NEXT_SECONDS, cases.FOLLOWING)

    with (dead(way, bench.upstream), contextlib.ExitStack() as stack,
          concurrent.futures.ThreadPoolExecutor(len(names)) as pool):
        started = dict(zip(names, pool.map(start, names)))
        failed = {name: why for name, why in started.items() if isinstance(why, target.Unusable)}
        serve = [name for name in names if name not in failed]
        if way == "warm":
            for name in serve:
                ask(name, NEXT_SECONDS, WARM)
        time.sleep(SETTLE_SECONDS)
        with silent(bench.upstream) if way == "warm" else contextlib.nullcontext():
            asked = {}
            for name in serve:
                asked[name] = pool.submit(ask_both, name)
                concurrent.futures.wait([asked[name]], ALONE_SECONDS)
            return {name: future.result() for name, future in asked.items()}, failed


def measure(bench, names, way):
    """{target: sample} for each of them, and {target: why} for those that did not start."""
    healthy, _ = ask_all(bench, names, "none")
    asked, failed = ask_all(bench, names, way)
    samples = {}
    for name, (first, following) in asked.items():
        samples[name] = {
            "first_ms": first.get("max_ms"), "next_ms": following.get("p50_ms"),
            "worst_ms": following.get("max_ms"), "failed": first["failed"] + following["failed"]}
        usual = healthy.get(name, ({}, {}))[1].get("p50_ms")
        if usual and following["answered"]:
            samples[name]["next_x"] = samples[name]["next_ms"] / usual
    return samples, failed
