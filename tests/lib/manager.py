"""The service manager: receives notifications and passes opened sockets."""

import os
import socket
import sys
import threading

import upstream
from clock import now, wait_until

# Moves the named descriptors to 3 and up, where a service expects them, and executes it.
PASS = """
import fcntl, os, sys
given = [int(text) for text in sys.argv[1].split()]
apart = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in given]
for fd in given:
    os.close(fd)
for number, fd in enumerate(apart, 3):
    os.dup2(fd, number, inheritable=True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)),
                  LISTEN_FDNAMES=":".join("dns" for _ in given))
os.environ.update(pair.split("=", 1) for pair in sys.argv[2].split())
os.execv(sys.argv[3], sys.argv[3:])
"""


class Message(dict):
    """One that came: its assignments, and when."""

    def __init__(self, data, at):
        self.at = at
        self.text = data.decode()
        super().__init__(line.split("=", 1) for line in self.text.splitlines())


class Manager:
    """Listens at a path, or with `@' in front at a name that no file has."""

    def __init__(self, name):
        self.name = name
        self.messages = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0", 1))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while data := self._socket.recv(8192):
            self.messages.append(Message(data, now()))

    def environment(self, **others):
        return {**os.environ, "NOTIFY_SOCKET": self.name, **others}

    def having(self, name, word=""):
        """The messages that assign this, with that word in it, in the order in which they came."""
        return [m for m in list(self.messages) if word in m.get(name, "") and name in m]

    def wait(self, name, word="", count=1, seconds=5):
        """Waits for `count` messages and returns the last one."""
        try:
            return wait_until(lambda: self.having(name, word)[count - 1:], seconds)[0]
        except AssertionError:
            raise AssertionError(f"no {name}={word} ({count}) within {seconds} s in:\n"
                                 + "\n".join(m.text for m in self.messages)) from None

    def status(self):
        return self.having("STATUS")[-1]["STATUS"]

    def wait_status(self, text, seconds=5):
        """Waits until this is the last word."""
        wait_until(lambda: self.having("STATUS") and self.status() == text, seconds,
                   f"{text!r}, after:\n" + "\n".join(m.text for m in self.messages))

    def close(self):
        if self._reader.is_alive():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", self.name.replace("@", "\0", 1))
            self._reader.join(5)
        self._socket.close()
        if not self.name.startswith("@") and os.path.exists(self.name):
            os.unlink(self.name)


def listen(address, make_socket=socket.socket, dual=False):
    """A TCP listener as systemd would open it."""
    sock = make_socket(upstream.family(address[0]), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(sock, address, dual)
    sock.listen(128)
    return sock


def bind(address, make_socket=socket.socket, dual=False):
    """A UDP socket."""
    sock = make_socket(upstream.family(address[0]), socket.SOCK_DGRAM)
    _bind(sock, address, dual)
    return sock


def _bind(sock, address, dual):
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    sock.bind(tuple(address))


def passing(*sockets, **variables):
    """The popen_args for Env.proxy() that pass these sockets to the program."""
    numbers = [sock if isinstance(sock, int) else sock.fileno() for sock in sockets]
    return {"prefix": (sys.executable, "-I", "-c", PASS, " ".join(map(str, numbers)),
                       " ".join(f"{key}={value}" for key, value in variables.items())),
            "pass_fds": numbers}
