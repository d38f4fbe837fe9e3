"""P-16: the privileges of the running processes, as reported by the kernel."""

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
import processes
from clock import wait_until
from dnsmsg import Query
from rows import row, table

NOBODY = 65534
SANDBOXED = not proxy.sanitized()     # sanitizers need more system calls
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
        # Processes that others must not inspect belong to root for any user.
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0


def _works(env, running):
    """A handshake through each of the workers."""
    for number, client in enumerate(processes.one_each(env).values()):
        env.assert_ok(client.ask(f"worker-{number}.test"))
    assert len(env.upstreams[0].handshakes) == len(running.workers())


@row("P-16")
def test_workers_of_root_run_as_nobody(env):
    running = processes.start_workers(env, env.upstream())
    for pid in running.workers():
        _has_nothing(pid, NOBODY)
    _works(env, running)


@row("P-16")
def test_replaced_and_reloaded_workers_run_as_nobody(env):
    running = processes.start_workers(env, env.upstream())
    old = running.workers()
    os.kill(old[0], signal.SIGKILL)
    for pid in processes.wait_all_serving(running, 2, old[:1]):
        _has_nothing(pid, NOBODY)
    old = running.workers()
    running.signal(signal.SIGHUP)
    for pid in processes.wait_all_serving(running, 2, old):
        _has_nothing(pid, NOBODY)
    env.assert_ok(env.ask())


@row("P-16")
def test_supervisor_keeps_the_capabilities_for_reload(env):
    running = processes.start_workers(env, env.upstream())
    status = _status(running.pid)
    mask = sum(CAP.values())
    assert int(status["CapPrm"][0], 16) & ~mask == 0
    assert int(status["CapEff"][0], 16) & ~mask == 0
    assert int(status["CapBnd"][0], 16) & ~mask == 0
    assert int(status["CapInh"][0], 16) == 0
    assert status["NoNewPrivs"] == ["1"]


@table("user, uid, gid", ("P-16-by-name", "daemon", *pwd.getpwnam("daemon")[2:4]),
       ("P-16-by-number", "12345", 12345, 12345))
def test_workers_run_as_the_configured_user(env, user, uid, gid):
    running = processes.start_workers(env, env.upstream(), user=user)
    for pid in running.workers():
        _has_nothing(pid, uid, gid)
    _works(env, running)


@table("level, seccomp", ("P-16-best-effort", "best-effort", True), ("P-16-off", "off", False))
def test_sandbox_as_configured(env, level, seccomp):
    running = processes.start_workers(env, env.upstream(), sandbox=level)
    for pid in running.workers():
        _has_nothing(pid, NOBODY, seccomp=seccomp)
    _works(env, running)


@row("P-16-strict")
@pytest.mark.skipif(not SANDBOXED, reason="the sandbox is off under sanitizers")
def test_strict_sandbox_starts_with_full_kernel_support(env):
    if _landlock() >= 4:
        running = processes.start_workers(env, env.upstream(), sandbox="strict")
        for pid in running.workers():
            _has_nothing(pid, NOBODY)
        _works(env, running)
    else:
        running = env.proxy(env.upstream(), sandbox="strict", start=False)
        assert running.wait() == 2
        assert "Landlock" in running.lines("cannot start")[0]["cause"]


@pytest.fixture
def public(env, monkeypatch):
    """The program and its files in a directory that all users can read."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        monkeypatch.setattr(proxy, "BINARY", shutil.copy(proxy.BINARY, directory))
        env.directory = directory
        ca = shutil.copy(env.authority.path, directory)
        os.chmod(ca, 0o644)
        yield {"tls": {"ca_file": ca}}


DROPPED = ("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")


@table("options, groups, bounded",
       ("P-16-unprivileged", ("--clear-groups",), (), False),
       ("P-16-unprivileged-in-a-group", ("--groups=100",), (100,), False),
       ("P-16-unprivileged-without-capabilities", ("--clear-groups", *DROPPED), (), True))
def test_started_without_privileges(env, public, options, groups, bounded):
    running = processes.start_workers(env, env.upstream(), **public, popen_args={
        "prefix": ("setpriv", "--reuid=12345", "--regid=12345", *options)})
    bounding = 0 if bounded else int(_status("self")["CapBnd"][0], 16)
    for pid in running.workers():
        _has_nothing(pid, 12345, groups=groups, bounding=bounding)
    _works(env, running)


UNPRIVILEGED = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
# As Kubernetes starts the program of a user with `add: [NET_BIND_SERVICE]': the capability is not
# ambient, the bounding set has no other one, and no_new_privs is set.
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
def test_file_capability_binds_the_port(env, namespace, public, prefix, status):
    """As in the image: permitted, not effective, so that it starts with and without."""
    os.setxattr(proxy.BINARY, "security.capability",
                struct.pack("<5I", 0x02000000, CAP["net_bind_service"], 0, 0, 0))
    running = env.proxy(env.upstream(), workers=2, port=53, start=False, **public,
                          popen_args={"prefix": prefix})
    if status:
        assert running.wait() == status
        assert running.lines("cannot start", cause="Permission denied", remedy="CAP_NET_BIND")
        return
    processes.wait_all_serving(running, 2)
    for pid in running.start().workers():
        _has_nothing(pid, 12345, bounding=int(_status("self")["CapBnd"][0], 16))
    assert int(_status(running.pid)["CapPrm"][0], 16) == CAP["net_bind_service"]
    _works(env, running)


@table("prefix", ("P-16-container-without-capabilities", ("setpriv", *DROPPED)),
       ("P-16-container-without-new-privileges", ("setpriv", "--no-new-privs", *DROPPED)),
       ("P-16-container-with-a-read-only-root",
        ("unshare", "-m", "sh", "-c", 'mount -o remount,bind,ro / && exec setpriv --no-new-privs '
         + " ".join(DROPPED) + ' "$@"', "sh")))
def test_started_as_root_without_capabilities(env, prefix):
    """As in a container: it cannot change its user, and need not."""
    running = processes.start_workers(env, env.upstream(), popen_args={"prefix": prefix})
    for pid in running.workers():
        _has_nothing(pid, 0, groups=os.getgroups())
    _works(env, running)
    old = running.workers()
    running.signal(signal.SIGHUP)
    processes.wait_all_serving(running, 2, old)
    env.assert_ok(env.ask("reloaded.test"))


@row("P-16-user")
def test_user_change_without_privilege_is_refused(env):
    running = env.proxy(env.upstream(), user="daemon", start=False,
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
def test_forbidden_system_call_kills_the_worker(env, hooked, call):
    running = processes.start_workers(env, env.upstream(), workers=2)
    clients = processes.one_each(env)
    victim, other = clients
    hooks.make_try(victim, call)
    running.wait_line("worker died", pid=str(victim), cause="signal 31")
    clients[victim].wait_closed()
    env.assert_ok(clients[other].ask("other.test"), 0.5)
    processes.wait_all_serving(running, 2, [victim])
    env.assert_ok(env.ask())
    with env.datagrams() as datagrams:
        env.assert_ok(datagrams.ask("udp.test"))
    assert not running.lines("hook")


@table("call, result", ("P-28-set-owner", "set-owner", "Permission denied"),
       ("P-28-tcp-is-allowed", "socket-tcp", "done"))
def test_allowed_or_failing_system_call_does_not_kill_the_worker(env, hooked, call, result):
    running = env.proxy(env.upstream())
    hooks.make_try(running.workers()[0], call)
    assert hooks.wait_result(running, call) == result
    env.assert_ok(env.ask())


@row("P-28-abort")
def test_worker_can_abort(env, hooked):
    running = processes.start_workers(env, env.upstream())
    victim = running.workers()[0]
    hooks.make_try(victim, "abort")
    running.wait_line("worker died", pid=str(victim), cause="signal 6")
    processes.wait_all_serving(running, 2, [victim])


def _sockets(pid):
    directory = f"/proc/{pid}/fd"
    return sum(os.readlink(os.path.join(directory, fd)).startswith("socket:")
               for fd in os.listdir(directory))


@row("P-28-retiring")
def test_retiring_worker_connects_to_its_upstreams(env):
    """No new socket gets the number of a closed listener, which the sandbox protects."""
    running = env.proxy(env.upstream(faults.slow(0.4)), timeouts={"upstream_idle": 0})
    old, = running.workers()
    client = env.client()
    first, = client.send(Query("first.test"))
    wait_until(lambda: env.upstreams[0].connections, 2)
    before = _sockets(old)
    running.signal(signal.SIGHUP)
    wait_until(lambda: _sockets(old) < before, 2, "it closes its listener")
    others = client.send(*(Query(f"{i}.test") for i in range(8)))
    for exchange in (first, *others):
        env.assert_ok(client.receive_until(exchange))
    assert not running.lines("worker died")
    assert len(env.upstreams[0].connections) >= 9


HARMLESS = ("uname", "socket-udp", "socket-raw", "socket-unix", "kill", "tgkill", "fast-open",
            "duplicate")


@row("P-16-forbidden-call", "P-28-without-a-sandbox")
def test_same_system_calls_pass_without_a_sandbox(env, hooked):
    """So the failures in the tests above are caused by the sandbox."""
    running = processes.start_workers(env, env.upstream(), workers=2, sandbox="off")
    clients = processes.one_each(env)
    worker = next(iter(clients))
    for call in HARMLESS:
        hooks.make_try(worker, call)
        hooks.wait_result(running, call)
    for client in clients.values():
        env.assert_ok(client.ask())
    assert running.workers() == list(clients)
