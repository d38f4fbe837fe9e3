"""P-32: kernels and emulators without features that dot-proxy does not require."""

import os
import platform
import shutil
import signal

import pytest

import oldkernel
import proxy
import processes
from rows import row, table

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or platform.machine() != "x86_64",
                                reason="needs root and x86-64")
needs_sandbox = pytest.mark.skipif(proxy.sanitized(),
                                   reason="the sandbox is off under sanitizers")


QEMU = "qemu-x86_64-static"


def _serve(env, *lacks, prefix=(), **settings):
    """A proxy that answers over UDP and TCP, reloads, and replaces a worker."""
    running = processes.start_workers(env, env.upstream(), **settings,
                         popen_args={"prefix": prefix or oldkernel.prefix(*lacks)})
    env.assert_ok(env.ask("tcp.test"))
    host, port = running.address
    with env.datagrams(("127.0.0.1" if host == "0.0.0.0" else host, port)) as datagrams:
        env.assert_ok(datagrams.ask("udp.test"))
    old = running.workers()
    running.signal(signal.SIGHUP)
    new = processes.wait_all_serving(running, 2, old)
    os.kill(new[0], signal.SIGKILL)
    processes.wait_all_serving(running, 2, new[:1])
    env.assert_ok(env.ask("replaced.test"))
    return running


@table("lacks, on, missing",
       ("P-32-nothing", (), ("Landlock for files", "seccomp"), ()),
       ("P-32-landlock", ("landlock",), ("seccomp",), ("Landlock (not in this kernel", "5.13)")),
       ("P-32-landlock-at-boot", ("landlock-at-boot",), ("seccomp",), ("Landlock (not", "lsm=")),
       ("P-32-landlock-by-a-filter", ("landlock-by-a-filter",), ("seccomp",),
        ("Landlock (landlock_create_ruleset: Operation not permitted)",)),
       ("P-32-landlock-in-use", ("landlock-in-use",), ("seccomp",),
        ("Landlock (landlock_restrict_self: Argument list too long)",)),
       ("P-32-seccomp", ("seccomp",), ("Landlock for files",),
        ("seccomp (not in this kernel)",)),
       ("P-32-landlock-and-seccomp", ("landlock", "seccomp"), (), ("Landlock (", "seccomp (")),
       ("P-32-no-new-privs", ("no-new-privs",), (), ("no_new_privs (Invalid argument)",)),
       ("P-32-prctl", ("prctl",), (),
        ("Landlock (", "seccomp (", "no_new_privs (", "PR_SET_DUMPABLE (")))
@needs_sandbox
def test_best_effort_sandbox_logs_missing_parts_once(env, lacks, on, missing):
    running = _serve(env, *lacks)
    line, = running.lines("sandbox")
    assert line["level"] == "info"
    assert all(word in line.get("on", "") for word in on) and bool(line.get("on")) == bool(on)
    assert all(word in line.get("missing", "") for word in missing)
    assert not missing == ("missing" in line)
    assert not running.lines("worker startup failed")


@row("P-32-qemu-user")
@needs_sandbox
@pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"needs {QEMU}")
def test_serves_under_an_emulated_kernel(env):
    running = _serve(env, prefix=(QEMU,))
    line, = running.lines("sandbox")
    assert "on" not in line and "Landlock (" in line["missing"] and "seccomp (" in line["missing"]
    assert len(running.lines("UDP drops are not counted")) == 1


@row("P-32-strict")
@needs_sandbox
def test_strict_sandbox_names_all_missing_parts(env):
    running = env.proxy(env.upstream(), sandbox="strict", start=False,
                          popen_args={"prefix": oldkernel.prefix("landlock", "seccomp")})
    assert running.wait() == 2
    line, = running.lines("cannot start")
    assert "Landlock (not in this kernel" in line["cause"]
    assert "seccomp (not in this kernel)" in line["cause"]
    assert "best-effort" in line["remedy"]


@table("lacks, missing", ("P-32-strict-landlock-in-use", "landlock-in-use", "restrict_self"),
       ("P-32-strict-no-new-privs", "no-new-privs", "no_new_privs"))
@needs_sandbox
def test_strict_worker_does_not_serve_after_late_sandbox_failure(env, lacks, missing):
    running = env.proxy(env.upstream(), sandbox="strict", start=False,
                          popen_args={"prefix": oldkernel.prefix(lacks)})
    assert running.wait() == 1
    assert all(missing in line["cause"] for line in running.lines("worker startup failed"))
    assert running.lines("cannot start", cause="no worker could start")


@row("P-32-off")
def test_disabled_sandbox_is_logged(env):
    running = processes.start_workers(env, env.upstream(), sandbox="off")
    line, = running.lines("sandbox")
    assert "on" not in line and "off" in line["missing"]


@row("P-32-root")
def test_workers_as_root_are_warned_about(env):
    running = processes.start_workers(env, env.upstream(), user="root")
    line, = running.lines("workers run as root")
    assert line["level"] == "warn" and line["remedy"]
    running.stop()      # it would use the file of the next proxy
    processes.start_workers(env, env.upstream())
    assert not env.proxies[-1].lines("workers run as root")


@table("lack, event", ("P-32-rxq-ovfl", "rxq-ovfl", "UDP drops are not counted"),
       ("P-32-mtu-discover", "mtu-discover", "UDP answers may be fragmented"))
@pytest.mark.parametrize("host", ("127.0.0.1", "0.0.0.0", "::1"))
def test_missing_socket_option_is_logged_once(env, lack, event, host):
    running = _serve(env, lack, host=host)
    line, = running.lines(event)
    assert line["level"] == "info" and line["cause"]
