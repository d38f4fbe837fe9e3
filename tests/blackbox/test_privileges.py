"""Row P-16: what the processes still may do, as the kernel says it of the running ones."""

import ctypes
import os
import pwd
import shutil
import signal
import struct
import sys
import tempfile

import pytest

import faults
import hooks
import proxy
import team
from clock import wait_until
from dnsmsg import Query
from rows import row, table

NOBODY = 65534
SANDBOXED = not proxy.sanitized()     # sanitizers look into their own process, and need more calls
CAP = {name: 1 << number for name, number in (("kill", 5), ("dac_read_search", 2), ("setgid", 6),
                                              ("setuid", 7), ("setpcap", 8),
                                              ("net_bind_service", 10))}

needs_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None,
                                reason="needs root and setpriv")
pytestmark = needs_root


def _status(pid):
    with open(f"/proc/{pid}/status") as file:
        return {key: value.split() for key, _, value in
                (line.partition(":") for line in file.read().splitlines())}


def _landlock():
    """The version that this kernel has; 0: none."""
    return max(0, ctypes.CDLL(None).syscall(444, None, 0, 1))


def _has_nothing(pid, uid, gid=None, groups=(), bounding=0, seccomp=True):
    status = _status(pid)
    assert status["Uid"] == [str(uid)] * 4
    assert status["Gid"] == [str(uid if gid is None else gid)] * 4
    assert status["Groups"] == [str(group) for group in groups]
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind][0], 16) == 0, kind
    assert int(status["CapBnd"][0], 16) == bounding
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2" if seccomp and SANDBOXED else "0"]
    with open(f"/proc/{pid}/limits") as file:
        core, = (line for line in file if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    if uid != 0 and SANDBOXED:
        # What others must not look into is root's, whoever runs it.
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0


def _works(house, running):
    """A handshake through each of the workers."""
    for client in team.one_each(house).values():
        house.right(client.ask())
    assert len(house.upstreams[0].handshakes) == len(running.workers())


@row("P-16")
def test_workers_of_root_are_nobody(house):
    running = team.serve(house, house.upstream())
    for pid in running.workers():
        _has_nothing(pid, NOBODY)
    _works(house, running)


@row("P-16")
def test_replaced_and_reloaded_workers_are_nobody_too(house):
    running = team.serve(house, house.upstream())
    old = running.workers()
    os.kill(old[0], signal.SIGKILL)
    for pid in team.wait_whole(running, 2, old[:1]):
        _has_nothing(pid, NOBODY)
    old = running.workers()
    running.signal(signal.SIGHUP)
    for pid in team.wait_whole(running, 2, old):
        _has_nothing(pid, NOBODY)
    house.right(house.ask())


@row("P-16")
def test_supervisor_keeps_what_a_reload_needs(house):
    running = team.serve(house, house.upstream())
    status = _status(running.pid)
    mask = sum(CAP.values())
    assert int(status["CapPrm"][0], 16) & ~mask == 0
    assert int(status["CapEff"][0], 16) & ~mask == 0
    assert int(status["CapBnd"][0], 16) & ~mask == 0
    assert int(status["CapInh"][0], 16) == 0
    assert status["NoNewPrivs"] == ["1"]


@table("user, uid, gid", ("P-16-by-name", "daemon", *pwd.getpwnam("daemon")[2:4]),
       ("P-16-by-number", "12345", 12345, 12345))
def test_workers_are_whom_the_configuration_says(house, user, uid, gid):
    running = team.serve(house, house.upstream(), user=user)
    for pid in running.workers():
        _has_nothing(pid, uid, gid)
    _works(house, running)


@table("level, seccomp", ("P-16-best-effort", "best-effort", True), ("P-16-off", "off", False))
def test_sandbox_as_the_configuration_says(house, level, seccomp):
    running = team.serve(house, house.upstream(), sandbox=level)
    for pid in running.workers():
        _has_nothing(pid, NOBODY, seccomp=seccomp)
    _works(house, running)


@row("P-16-strict")
@pytest.mark.skipif(not SANDBOXED, reason="the sandbox is off under sanitizers")
def test_strict_sandbox_starts_where_the_kernel_has_all_of_it(house):
    if _landlock() >= 4:
        running = team.serve(house, house.upstream(), sandbox="strict")
        for pid in running.workers():
            _has_nothing(pid, NOBODY)
        _works(house, running)
    else:
        running = house.proxy(house.upstream(), sandbox="strict", start=False)
        assert running.wait() == 2
        assert "Landlock" in running.lines("cannot start")[0]["cause"]


@pytest.fixture
def public(house, monkeypatch):
    """The program and its files where everybody may read them."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        monkeypatch.setattr(proxy, "BINARY", shutil.copy(proxy.BINARY, directory))
        house.directory = directory
        ca = shutil.copy(house.authority.path, directory)
        os.chmod(ca, 0o644)
        yield {"tls": {"ca_file": ca}}


DROPPED = ("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")


@table("options, groups, bounded",
       ("P-16-unprivileged", ("--clear-groups",), (), False),
       ("P-16-unprivileged-in-a-group", ("--groups=100",), (100,), False),
       ("P-16-unprivileged-without-capabilities", ("--clear-groups", *DROPPED), (), True))
def test_started_without_privileges(house, public, options, groups, bounded):
    running = team.serve(house, house.upstream(), **public, popen_args={
        "prefix": ("setpriv", "--reuid=12345", "--regid=12345", *options)})
    bounding = 0 if bounded else int(_status("self")["CapBnd"][0], 16)
    for pid in running.workers():
        _has_nothing(pid, 12345, groups=groups, bounding=bounding)
    _works(house, running)


UNPRIVILEGED = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
# As Kubernetes starts the program of a user where `add: [NET_BIND_SERVICE]' says so: the right is
# not ambient, no other can be had, and there are no new privileges.
OF_A_POD = (sys.executable, "-c", """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
libc.prctl(8, 1)                # PR_SET_KEEPCAPS
os.setgroups([])
os.setresgid(12345, 12345, 12345)
os.setresuid(12345, 12345, 12345)
libc.capset(struct.pack("<2I", 0x20080522, 0), struct.pack("<6I", 1 << 10, 1 << 10, 0, 0, 0, 0))
libc.prctl(38, 1, 0, 0, 0)      # PR_SET_NO_NEW_PRIVS
os.execvp(sys.argv[1], sys.argv[1:])
""")


@table("prefix, status", ("P-16-file-capability", UNPRIVILEGED, 0),
       ("P-16-file-capability-of-a-pod", OF_A_POD, 0),
       ("P-16-file-capability-that-is-not-to-be-had", (*UNPRIVILEGED, *DROPPED), 1))
def test_right_to_the_port_from_the_file(house, namespace, public, prefix, status):
    """As in the image: permitted, not effective, so that it starts in either case."""
    os.setxattr(proxy.BINARY, "security.capability",
                struct.pack("<5I", 0x02000000, CAP["net_bind_service"], 0, 0, 0))
    running = house.proxy(house.upstream(), workers=2, port=53, start=False, **public,
                          popen_args={"prefix": prefix})
    if status:
        assert running.wait() == status
        assert running.lines("cannot start", cause="Permission denied", remedy="CAP_NET_BIND")
        return
    team.wait_whole(running, 2)
    for pid in running.start().workers():
        _has_nothing(pid, 12345, bounding=int(_status("self")["CapBnd"][0], 16))
    assert int(_status(running.pid)["CapPrm"][0], 16) == CAP["net_bind_service"]
    _works(house, running)


@table("prefix", ("P-16-container-without-capabilities", ("setpriv", *DROPPED)),
       ("P-16-container-without-new-privileges", ("setpriv", "--no-new-privs", *DROPPED)),
       ("P-16-container-with-a-read-only-root",
        ("unshare", "-m", "sh", "-c", 'mount -o remount,bind,ro / && exec setpriv --no-new-privs '
         + " ".join(DROPPED) + ' "$@"', "sh")))
def test_started_as_root_without_any_right(house, prefix):
    """As in a container: it cannot become anybody else, and need not."""
    running = team.serve(house, house.upstream(), popen_args={"prefix": prefix})
    for pid in running.workers():
        _has_nothing(pid, 0, groups=os.getgroups())
    _works(house, running)
    old = running.workers()
    running.signal(signal.SIGHUP)
    team.wait_whole(running, 2, old)
    house.right(house.ask("reloaded.test"))


@row("P-16-user")
def test_user_that_it_has_no_right_to_become(house):
    running = house.proxy(house.upstream(), user="daemon", start=False,
                          popen_args={"prefix": ("setpriv", *DROPPED)})
    assert running.wait() == 2
    line, = running.lines("cannot start")
    assert "daemon" in line["cause"] and line["remedy"]


@pytest.fixture
def hooked(monkeypatch):
    monkeypatch.setattr(proxy, "BINARY", hooks.build())


FORBIDDEN = ("socket-mptcp", "socket-udp", "socket-udp-lite", "socket-raw", "socket-sctp",
             "socket-unix", "kill", "tgkill", "shutdown", "disconnect-tcp", "connect-udp",
             "set-option", "fast-open", "duplicate")


@table("call", ("P-16-forbidden-call", "uname"),
       *((f"P-28-{call}", call) for call in FORBIDDEN))
def test_worker_that_makes_a_forbidden_call_dies(house, hooked, call):
    running = team.serve(house, house.upstream(), workers=2)
    clients = team.one_each(house)
    victim, other = clients
    hooks.make_try(victim, call)
    running.wait_line("worker died", pid=str(victim), cause="signal 31")
    clients[victim].wait_closed()
    house.right(clients[other].ask("other.test"), 0.5)
    team.wait_whole(running, 2, [victim])
    house.right(house.ask())
    with house.datagrams() as datagrams:
        house.right(datagrams.ask("udp.test"))
    assert not running.lines("hook")


@table("call, result", ("P-28-set-owner", "set-owner", "Permission denied"),
       ("P-28-tcp-is-allowed", "socket-tcp", "done"))
def test_worker_lives_after_call_that_fails_or_is_allowed(house, hooked, call, result):
    running = house.proxy(house.upstream())
    hooks.make_try(running.workers()[0], call)
    assert hooks.wait_result(running, call) == result
    house.right(house.ask())


@row("P-28-abort")
def test_worker_can_abort_itself(house, hooked):
    running = team.serve(house, house.upstream())
    victim = running.workers()[0]
    hooks.make_try(victim, "abort")
    running.wait_line("worker died", pid=str(victim), cause="signal 6")
    team.wait_whole(running, 2, [victim])


def _sockets(pid):
    directory = f"/proc/{pid}/fd"
    return sum(os.readlink(os.path.join(directory, fd)).startswith("socket:")
               for fd in os.listdir(directory))


@row("P-28-retiring")
def test_retiring_worker_connects_to_its_upstreams(house):
    """No new socket has the number of a listener that it closed, which the sandbox guards."""
    running = house.proxy(house.upstream(faults.slow(0.4)), timeouts={"upstream_idle": 0})
    old, = running.workers()
    client = house.client()
    first, = client.send(Query("first.test"))
    wait_until(lambda: house.upstreams[0].connections, 2)
    before = _sockets(old)
    running.signal(signal.SIGHUP)
    wait_until(lambda: _sockets(old) < before, 2, "it closes its listener")
    others = client.send(*(Query(f"{i}.test") for i in range(8)))
    for exchange in (first, *others):
        house.right(client.receive_until(exchange))
    assert not running.lines("worker died")
    assert len(house.upstreams[0].connections) >= 9


HARMLESS = ("uname", "socket-udp", "socket-raw", "socket-unix", "kill", "tgkill", "fast-open",
            "duplicate")


@row("P-16-forbidden-call", "P-28-without-a-sandbox")
def test_worker_that_makes_the_same_calls_without_a_sandbox_lives(house, hooked):
    """What the tests before this one have seen was the sandbox."""
    running = team.serve(house, house.upstream(), workers=2, sandbox="off")
    clients = team.one_each(house)
    worker = next(iter(clients))
    for call in HARMLESS:
        hooks.make_try(worker, call)
        hooks.wait_result(running, call)
    for client in clients.values():
        house.right(client.ask())
    assert running.workers() == list(clients)
