"""systemd units, and their restrictions without systemd as PID 1."""

import subprocess

# Executes the program with the unit's system call filter. Any other call kills it, while systemd
# would only refuse the call, so that tests notice each of them.
SANDBOX = """
import os, sys
import seccomp
made = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
for name in sys.argv[1].split():
    try:
        call = seccomp.resolve_syscall(seccomp.Arch(), name)
    except ValueError:
        continue            # of another architecture
    if call < 0:
        continue
    if name == "mmap":      # MemoryDenyWriteExecute=: never both
        made.add_rule(seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, 4, 0))
        made.add_rule(seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, 2, 0))
    elif name == "mprotect":
        made.add_rule(seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, 4, 0))
    elif name == "socket":  # RestrictAddressFamilies=
        for family in sys.argv[2].split():
            made.add_rule(seccomp.ALLOW, call, seccomp.Arg(0, seccomp.EQ, int(family)))
    else:
        made.add_rule(seccomp.ALLOW, call)
made.load()
os.execv(sys.argv[3], sys.argv[3:])
"""


class Unit:
    """A unit as it is written."""

    def __init__(self, path):
        with open(path) as file:
            self._pairs = [line.strip().split("=", 1) for line in file
                           if "=" in line and not line.startswith("#")]

    def __getitem__(self, key):
        """The one value, or the last one."""
        return self.all(key)[-1]

    def all(self, key):
        return [value for name, value in self._pairs if name == key]

    def system_calls(self):
        """Those that are left when all lines of the filter have been read in turn."""
        allowed = set()
        for value in self.all("SystemCallFilter"):
            names = _expand(value.lstrip("~").split())
            allowed = allowed - names if value.startswith("~") else allowed | names
        return allowed | _expand(["@default"])


def _expand(names):
    found = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], check=True,
                              capture_output=True, text=True).stdout.splitlines()
        found |= _expand([line.strip() for line in said[1:] if line.strip()[:1] not in ("", "#")])
    return found


def sandbox_prefix(unit):
    """A command prefix that applies the restrictions of the unit, as far as possible."""
    families = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
    right = unit["AmbientCapabilities"].lower().removeprefix("cap_")
    bounds = unit["CapabilityBoundingSet"].lower().removeprefix("cap_")
    return ("setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "--no-new-privs",
            f"--inh-caps=-all,+{right}", f"--ambient-caps=-all,+{right}",
            f"--bounding-set=-all,+{bounds}", "/usr/bin/python3", "-I", "-c", SANDBOX,
            " ".join(sorted(unit.system_calls())),
            " ".join(str(families[name]) for name in unit["RestrictAddressFamilies"].split()))
