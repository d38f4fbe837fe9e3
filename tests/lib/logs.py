"""The log of a process, read from a pipe."""

import os
import select
import shlex
import threading

from clock import now


class Line(dict):
    """A line of the log: its key=value pairs, and when it was read."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.at = now()
        try:
            self.update(pair.split("=", 1) for pair in shlex.split(text) if "=" in pair)
        except ValueError:
            pass


class Log:
    """
    A thread reads the pipe, so that each line has its time and the pipe is never full. lines()
    first reads all lines that were written before the call, so that a line precedes its
    consequences.
    """

    def __init__(self, pipe):
        os.set_blocking(pipe.fileno(), False)
        self._pipe = pipe
        self._lines = []
        self._unfinished = b""
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self):
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while self._read():
            poll.poll()

    def _read(self):
        """Reads the available lines; returns False at the end."""
        with self._lock:
            while True:
                try:
                    data = os.read(self._pipe.fileno(), 65536)
                except BlockingIOError:
                    return True
                *whole, self._unfinished = (self._unfinished + data).split(b"\n")
                if not data and self._unfinished:
                    whole, self._unfinished = [self._unfinished], b""
                self._lines += (Line(line.decode("utf-8", "backslashreplace")) for line in whole)
                if not data:
                    return False

    def lines(self):
        self._read()
        return list(self._lines)

    def wait_end(self, seconds):
        """Waits until the other end is closed."""
        self._reader.join(seconds)
