"""The build of the program with hooks, which makes a worker try system calls; see hooks.h."""

import fcntl
import os
import signal
import subprocess

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
CALLS = ("uname", "socket-mptcp", "socket-udp", "socket-udp-lite", "socket-raw", "socket-sctp",
         "socket-unix", "socket-tcp", "kill", "tgkill", "set-owner", "shutdown", "disconnect-tcp",
         "connect-udp", "set-option", "fast-open", "duplicate", "abort")


def build():
    """The path of that program."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("MAKEFLAGS", "MAKELEVEL", "CC", "CFLAGS", "VARIANT")}
    with open(os.path.join(ROOT, "build", "hooked.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(["make", "-s", "-C", ROOT, "program", "CC=gcc", "VARIANT=hooked"],
                              env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return os.path.join(ROOT, "build", "gcc-hooked", "dot-proxy")


def make_try(pid, call):
    """That worker tries that call."""
    os.kill(pid, signal.SIGRTMIN + CALLS.index(call))


def wait_result(running, call):
    """What the call returned to the worker that lived: an error in words, or "done"."""
    return running.wait_line("hook", number=str(CALLS.index(call)))["result"]
