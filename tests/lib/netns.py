"""
Network namespaces made by a test, for what loopback alone cannot show: packets that are lost,
networks that cannot be reached, ports that run out. Needs root.
"""

import concurrent.futures
import ctypes
import ctypes.util
import os
import random
import select
import struct
import subprocess
import threading
import fcntl

from clock import now

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def missing():
    """Why namespaces cannot be used here, or None."""
    if os.geteuid() != 0:
        return "needs root for a network namespace"
    try:
        Namespace().close()
    except FileNotFoundError:
        raise           # a command is missing, not a privilege
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace: {error}"
    return None


def with_own_etc(directory, files):
    """A command prefix that mounts a directory with these files at /etc."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {directory} /etc && exec "$@"', "sh"]


class Namespace:
    """A thread in its own network namespace that runs functions."""

    def __init__(self):
        self._thread = concurrent.futures.ThreadPoolExecutor(1, initializer=self._unshare)
        self._error = None
        self.call(lambda: None)
        if self._error:
            raise self._error
        self.run("ip", "link", "set", "lo", "up")

    def _unshare(self):
        if _libc.unshare(CLONE_NEWNET) != 0:
            self._error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def call(self, function, *args, **kwargs):
        """Runs a function in the namespace; its sockets and processes stay there."""
        return self._thread.submit(function, *args, **kwargs).result(20)

    def run(self, *command):
        self.call(subprocess.run, command, check=True, capture_output=True)

    def drop(self, *rule):
        """Drops the packets that an nft expression matches."""
        self.run("nft", "add", "table", "inet", "faults")
        self.run("nft", "add", "chain", "inet", "faults", "input",
                 "{ type filter hook input priority 0; }")
        self.run("nft", "add", "rule", "inet", "faults", "input", *rule, "drop")

    def stop_dropping(self):
        self.run("nft", "delete", "table", "inet", "faults")

    def tun(self, name, address, peer):
        """Makes a tun interface for packets of the test; returns its descriptor."""
        return self.call(self._tun, name, address, peer)

    def _tun(self, name, address, peer):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        for command in (["addr", "add", address, "peer", peer, "dev", name],
                        ["link", "set", name, "up"]):
            subprocess.run(["ip", *command], check=True, capture_output=True)
        return fd

    def close(self):
        self._thread.shutdown()


class Link:
    """Carries packets between two interfaces with delay and loss."""

    def __init__(self, left, right, delay, loss, seed):
        self._other = {left: right, right: left}
        self._delay = delay
        self._loss = loss
        self._random = random.Random(seed)
        self._stop, self._stopping = os.pipe()
        self.carried = self.lost = 0
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self):
        waiting = []
        while True:
            wait = max(0.0, waiting[0][0] - now()) if waiting else None
            ready, _, _ = select.select([*self._other, self._stop], [], [], wait)
            if self._stop in ready:
                return
            for fd in ready:
                packet = os.read(fd, 65536)
                if self._random.random() < self._loss:
                    self.lost += 1
                else:
                    waiting.append((now() + self._delay, self._other[fd], packet))
            while waiting and waiting[0][0] <= now():
                _, fd, packet = waiting.pop(0)
                os.write(fd, packet)
                self.carried += 1

    def close(self):
        os.write(self._stopping, b"x")
        self._thread.join(5)
        for fd in (*self._other, self._stop, self._stopping):
            os.close(fd)
