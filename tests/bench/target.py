"""A server under load: how it is started, from a file of tests/bench/targets, and what it
costs while it runs."""

import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
CPU_OF_PROCESS = 2      # as clock_getcpuclockid(3) makes a clock of a process
START_SECONDS = 10
STOP_SECONDS = 6
LISTEN = "0A"           # the state of a socket, in /proc/net/tcp

QUERY = struct.pack(">6H", 0x5d07, 0x0100, 1, 0, 0, 0) + b"\5first\5bench\7example\0\0\1\0\1"


class Unusable(Exception):
    """The target is not installed or does not start; the text is the reason."""


class Target:
    """
    A text of lines `key: value', then files for the target to read, each below a line
    `--- NAME'. In both, @key@ stands for a setting of this run. The keys are: start, the
    command; version, a command whose first line with a number is shown; module, a file it
    needs beside the program, below a lib directory; cases, the kinds of cases when not all but
    hits (brief: loads of the short form); short, `no' when the short form leaves it out; kind,
    `bytes' when it does not look at messages. Lines with @second@ count only where there is a
    second upstream.
    """

    def __init__(self, name, text, settings):
        head, *files = re.split(r"^--- (\S+)\n", text, flags=re.M)
        self.name = name
        self.keys = dict(re.findall(r"^(\w+): *(.*)$", head, re.M))
        self.files = dict(zip(files[::2], files[1::2]))
        self.settings = settings
        self.address = settings["address"], int(settings["port"])
        self.root = "" if self.is_ours or not self._is_below(settings["root"]) else settings["root"]

    @property
    def is_ours(self):
        return self.name.startswith("dot-proxy")

    @property
    def passes_bytes(self):
        return self.keys.get("kind") == "bytes"

    def _is_below(self, root):
        """What starts it may be a shell: the program that says its version is what counts."""
        return bool(root) and _which(self.fill_in(self.keys["version"]).split()[0], root)

    @property
    def is_in_short_form(self):
        return self.keys.get("short") != "no"

    def takes(self, case):
        if "cases" not in self.keys:
            return case.kind != "hits"
        kinds = self.keys["cases"].split()
        return case.kind in kinds or "brief" in kinds and case.kind == "load" and case.quick > 0

    def fill_in(self, text, **more):
        settings = {**self.settings, **more}
        if "second" not in settings:
            text = re.sub(r"^.*@second@.*\n", "", text, flags=re.M)
        return re.sub(r"@(\w+)@", lambda m: settings.get(m[1], m[0]), text)

    def command(self, key, **more):
        words = self.fill_in(self.keys[key], **more).split()
        program = _which(words[0], self.root)
        if program is None:
            raise Unusable(f"{words[0]} is not installed")
        return [program, *words[1:]]

    def popen_options(self, directory):
        """For subprocess, so that a command runs in a directory of its root."""
        if not self.settings["root"]:
            return {"cwd": directory}

        # For those of this machine, too: all are to be started in the same way, as fast as others.
        def enter():
            os.chroot(self.root or "/")
            os.chdir(directory)
        return {"preexec_fn": enter}

    def version(self):
        done = subprocess.run(self.command("version"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10,
                              **self.popen_options("/"))
        lines = done.stdout.decode(errors="replace").splitlines()
        return next((line.strip() for line in lines if re.search(r"\d", line)), "unknown")

    def module(self):
        """The file that `module' names, below the library directories of the program."""
        program = pathlib.Path(self.root + self.command("start")[0]).resolve()
        for directory in ("lib", "lib64"):
            path = program.parent.parent / directory / self.keys["module"]
            if path.exists():
                return str(path).removeprefix(self.root)
        raise Unusable(f"{self.keys['module']} is not installed")

    def start(self, directory, asks=True, **settings):
        """
        Starts it, with some settings changed, and returns when it has answered a first query;
        or at once, unasked.
        """
        more = {**settings, "dir": str(directory)}
        if "module" in self.keys:
            more["module"] = self.module()
        command = self.command("start", **more)
        for name, text in self.files.items():
            (directory / name).write_text(self.fill_in(text, **more))
        return Running(self, command, directory, asks)


class Running:
    """A target that runs: started, with its first answer awaited or not; ended by stop()."""

    def __init__(self, target, command, directory, asks):
        self.target = target
        self.output = directory / "output"
        with open(self.output, "wb") as output:
            began = time.monotonic()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, env={**os.environ, "PATH": PATH},
                **target.popen_options(directory))
        if not asks:
            return
        try:
            self._await(self.answers, began + START_SECONDS)
            self.start_seconds = time.monotonic() - began
            self.serves_udp = self._serves_udp()
        except BaseException:
            self.stop()
            raise

    def await_listening(self):
        self._await(self._listens, time.monotonic() + START_SECONDS)

    def _await(self, condition, by):
        while not condition():
            if self.process.poll() is not None:
                raise Unusable(self._last_words() or f"ends with status {self.process.returncode}")
            if time.monotonic() > by:
                raise Unusable(f"no answer within {START_SECONDS} s: {self._last_words()}")
            time.sleep(0.0005)

    def _listens(self):
        """From the kernel's socket table: some targets connect upstream for each client."""
        address, port = self.target.address
        local = f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}:{port:04X}"
        lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()
        return any(line.split()[1] == local and line.split()[3] == LISTEN for line in lines[1:])

    def answers(self):
        """Whether it answers over TCP, and without error."""
        try:
            with socket.create_connection(self.target.address, timeout=1) as sock:
                sock.sendall(struct.pack(">H", len(QUERY)) + QUERY)
                answer = sock.recv(4096)
                while 2 <= len(answer) < 2 + struct.unpack(">H", answer[:2])[0]:
                    more = sock.recv(4096)
                    if not more:
                        return False
                    answer += more
        except OSError:
            return False
        return len(answer) > 14 and answer[5] & 15 == 0 and answer[8:10] == b"\0\1"

    def _serves_udp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.connect(self.target.address)
            try:
                sock.send(QUERY)
                return len(sock.recv(4096)) > 12
            except OSError:
                return False

    def _last_words(self):
        lines = self.output.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else ""

    def pids(self):
        """Of the process that was started and all below it."""
        children = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                fields = _stat(entry.name)
                if fields:
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_seconds(self):
        """Of all its processes that live, and of all their threads that ever did."""
        seconds = 0
        for pid in self.pids():
            try:
                seconds += time.clock_gettime(~pid << 3 | CPU_OF_PROCESS)
            except OSError:
                pass        # it has exited
        return seconds

    def memory(self):
        """
        PSS and RSS of all its processes, the largest RSS of one, and the PSS without what is
        mapped from files (code that is there once, and whose share depends on who else maps
        it), in KiB.
        """
        each = [sizes for sizes in map(memory_of, self.pids()) if sizes]
        rss = [sizes["Rss"] for sizes in each]
        return {"pss": sum(sizes["Pss"] for sizes in each), "rss": sum(rss),
                "pss_of_data": sum(sizes["Pss"] - sizes["Pss_File"] for sizes in each),
                "largest": max(rss, default=None)}

    def stop(self):
        """Stops it as a service manager does: SIGTERM, and SIGKILL after a while."""
        pids = self.pids() if self.process.poll() is None else []
        if pids:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in pids[1:]:
            # A child that outlives its parent is still in the session that was made for it.
            try:
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _which(program, root):
    """The path of a program, as it is below a root; None if it is not installed there."""
    found = shutil.which(program, path=":".join(root + path for path in PATH.split(":")))
    return found and found.removeprefix(root)


def _sizes(text):
    return {key: int(value) for key, value in re.findall(r"^(\w+): +(\d+) kB$", text, re.M)}


def memory_of(pid):
    """The values of smaps_rollup in KiB; None without permission or after its exit."""
    try:
        return _sizes(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return None


def mappings_of(pid):
    """(name, sizes as in memory_of()) of each mapping; anonymous ones have an empty name."""
    text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    head = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$", re.M)
    _, *parts = head.split(text)
    return [(name, _sizes(sizes)) for name, sizes in zip(parts[::2], parts[1::2])]


def _stat(pid):
    """/proc/PID/stat behind the name: state, parent... None if the process has exited."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None
