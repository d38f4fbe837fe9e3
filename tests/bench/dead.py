"""Upstreams that are dead, each in its way, in front of one that is well."""

import contextlib
import socket

import cases
import load

HOLE = "127.0.50.3"     # where nobody listens, unless one of the below does
FIRST_SECONDS = 8       # unbound takes 7
NEXT_SECONDS = 2        # no more of the following are asked after that
WARM = 20


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
    """A context in which the first upstream is dead, unless it is only to die later."""
    return {"refused": contextlib.nullcontext,
            "dropped": lambda: silent_listener(0, full=True),
            "accepts": lambda: silent_listener(4096),
            "silent": lambda: silent(upstream),
            "warm": contextlib.nullcontext}[way]()


def measure(start, ask, way, upstream, second):
    """
    What a target makes of it, that start(upstream=..., second=...) runs and ask(seconds, limit)
    asks. For `x healthy', it is asked beside it while all upstreams are well.
    """
    address = upstream.address if way in ("silent", "warm") else HOLE
    with start(upstream=upstream.address, second=second.address):
        ask(FIRST_SECONDS, 1)
        healthy = ask(NEXT_SECONDS, cases.FOLLOWING)
    with dead(way, upstream), start(upstream=address, second=second.address):
        if way == "warm":
            ask(NEXT_SECONDS, WARM)
        with silent(upstream) if way == "warm" else contextlib.nullcontext():
            first, following = ask(FIRST_SECONDS, 1), ask(NEXT_SECONDS, cases.FOLLOWING)
    sample = {"first_ms": first.get("max_ms"), "next_ms": following.get("p50_ms"),
              "worst_ms": following.get("max_ms"), "failed": first["failed"] + following["failed"]}
    if following["answered"] and healthy["answered"]:
        sample["next_x"] = sample["next_ms"] / healthy["p50_ms"]
    return sample
