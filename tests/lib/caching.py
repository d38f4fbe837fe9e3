"""The cache of a proxy as tests see it: settings, counters, its memory, and the clock it reads."""

import collections
import os
import re
import signal
import struct
import subprocess
import time

from clock import now, wait_until

MIB = 1 << 20


def written(size):
    """A size in bytes as in a configuration."""
    return f"{size >> 10}KiB" if size else 0


# Entries that only live and end.
PLAIN = {"stale": 0, "prefetch": False}
# Expired ones are used while upstreams do not answer, soon enough for a test.
STALE = {"stale": "1h", "stale_after": "300ms", "prefetch": False}
PREFETCH = {"stale": 0, "prefetch": True}



class Boottime:
    """CLOCK_BOOTTIME as a proxy sees it that is started with POPEN_ARGS."""

    def __init__(self, directory):
        library = os.path.join(directory, "boottime.so")
        source = os.path.join(os.path.dirname(__file__), "boottime.c")
        subprocess.run(["cc", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library, source],
                       check=True)
        self._path = os.path.join(directory, "boottime")
        self._ahead = 0
        self.jump(0)
        sanitizer = os.environ.get("ASAN_OPTIONS", "")
        self.popen_args = {"env": {
            **os.environ, "LD_PRELOAD": library, "BOOTTIME_FILE": self._path,
            "ASAN_OPTIONS": f"{sanitizer}:verify_asan_link_order=0"}}

    def jump(self, seconds):
        """As if the machine had slept that long, in addition to earlier jumps."""
        self._ahead += seconds
        mode = "r+b" if os.path.exists(self._path) else "wb"
        with open(self._path, mode, buffering=0) as file:
            file.write(struct.pack("q", self._ahead))


# Counters.


def counters(running):
    """
    What SIGUSR1 logs about the cache, as numbers, with not_stored_REASON for each reason; 0 for
    what is not there.
    """
    before = len(running.log)
    running.signal(signal.SIGUSR1)
    wait_until(lambda: "cache" in [line.get("event") for line in running.log[before:]], 2,
               "SIGUSR1 is answered")
    seen = collections.Counter()
    for line in running.log[before:]:
        if line.get("event") == "cache":
            seen.update({key: int(value) for key, value in line.items() if value.isdigit()})
        elif line.get("event") == "cache not stored":
            seen[f"not_stored_{line['reason'].replace(' ', '_')}"] = int(line["count"])
    return seen


def wait_counters(running, **expected):
    """Waits until counters have these values; workers publish them before they wait."""
    limit = now() + 2
    while (seen := counters(running)) and any(seen[key] != expected[key] for key in expected):
        assert now() < limit, f"not {expected}: {dict(seen)}"
        time.sleep(0.05)


# Memory.


class Mapping:
    """The cache's memory in a process, from /proc/PID/smaps."""

    def __init__(self, pid, size):
        self.pid = pid
        self.size = size
        self.resident = self.flags = None
        self.read()

    def read(self):
        """Reads it again; returns itself."""
        with open(f"/proc/{self.pid}/smaps") as file:
            areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", file.read(), flags=re.M)
        found = [area for area in areas if self._is_cache(area)]
        assert len(found) == 1, f"{len(found)} shared mappings of {self.size} bytes"
        self.resident = int(re.search(r"^Rss:\s+(\d+) kB", found[0], re.M)[1]) * 1024
        self.flags = re.search(r"^VmFlags: (.*)", found[0], re.M)[1].split()
        return self

    def _is_cache(self, area):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-s ", area)
        return head and int(head[2], 16) - int(head[1], 16) == self.size
