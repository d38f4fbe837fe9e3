"""`healthcheck' uses the status socket of the running proxy, whatever the file contains (F-14)."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

import proxy
import status
import processes
from clock import now, wait_until
from rows import row, table
from test_health import LIMIT, Check
from upstream import own_address, with_port

REFUSED = "reload failed"
OTHER_USER = 54321

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


# ---- the file is not what runs ----


def _typo(env):
    with open(env.config_path, "w") as file:
        file.write("upstream: [192.0.2.1]\n")


def _no_yaml(env):
    with open(env.config_path, "w") as file:
        file.write("{{{\n")


def _refused_listen(env):
    """The address is taken; the old configuration stays."""
    held = socket.socket()
    env.others.append(held)
    held.bind((own_address(), 0))
    held.listen()
    proxy.write_config(env.config_path,
                       {**env.config, "listen": with_port(*held.getsockname())})


def _newer(env):
    """What a later version, or the next reload, would listen on."""
    proxy.write_config(env.config_path,
                       {**env.config, "listen": f"{own_address()}:1", "reload": "signal"})


def _deleted(env):
    os.unlink(env.config_path)


def _directory_instead(env):
    os.unlink(env.config_path)
    os.mkdir(env.config_path)


@table("spoil, reload", ("F-14-typo", _typo, True), ("F-14-no-yaml", _no_yaml, True),
       ("F-14-refused-listen", _refused_listen, True), ("F-14-unread-edit", _newer, False),
       ("F-14-deleted", _deleted, True), ("F-14-directory", _directory_instead, True))
def test_healthcheck_passes_with_a_wrong_newer_or_missing_file(env, spoil, reload):
    running = env.proxy(env.upstream(), reload="signal")
    where = with_port(*running.address)
    spoil(env)
    for _ in range(2):
        Check(env).good(f"{where}: it answers over UDP and TCP")
        Check(env, "--ready").good(f"{where}: it is ready over UDP and TCP")
        Check(env, "--upstream").good(f"{where}: an upstream answers over UDP and TCP")
        if reload:
            running.signal(signal.SIGHUP)
            running.wait_line(REFUSED)
    running.stop()
    for options in (), ("--ready",), ("--upstream",):
        check = Check(env, *options)
        assert (check.status, check.out) == (1, ""), (check.status, check.out, check.err)
        env.within(LIMIT, check.begin, check.end)


@row("F-14")
def test_healthcheck_asks_the_address_of_option_l(env):
    """With `-l', which is not in the file."""
    host, port = env.free_address(own_address())
    running = env.proxy(env.upstream(), start=False,
                          popen_args={"args": ["-l", with_port(host, port)]})
    assert running.address != (host, port)
    running.address = host, port
    running.start()
    Check(env).good(f"{host}:{port}: it answers over UDP and TCP")
    Check(env, args=["-l", with_port(host, port)]).good(f"{host}:{port}: it answers")
    _typo(env)
    Check(env, "--ready").good(f"{host}:{port}: it is ready")
    Check(env, args=["-l", with_port(host, port)]).good(f"{host}:{port}: it answers")
    Check(env, args=["-l", f"{host}:1"]).bad("Connection refused")


@row("F-14")
def test_healthcheck_asks_the_reloaded_address(env):
    running = env.proxy(env.upstream(), reload="signal")
    elsewhere = env.free_address(own_address())
    proxy.write_config(env.config_path, {
        **env.config, "listen": [{"address": with_port(*elsewhere), "udp": False}]})
    Check(env).good(f"{with_port(*running.address)}: it answers over UDP and TCP")
    running.signal(signal.SIGHUP)
    running.wait_line("configuration reloaded")
    running.address = elsewhere
    Check(env).good(f"{with_port(*elsewhere)}: it answers over TCP,")


@row("F-14")
def test_healthcheck_uses_the_running_allow_list(env):
    running = env.proxy(env.upstream(), reload="signal")
    proxy.write_config(env.config_path, {**env.config, "allow": ["192.0.2.0/24"]})
    Check(env).good(": it answers over UDP and TCP")
    running.signal(signal.SIGHUP)
    running.wait_line("configuration reloaded")
    Check(env).good(": it answers over TCP (UDP not checked: 127.0.0.1 is not in `allow')")
    proxy.write_config(env.config_path, env.config)
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines("configuration reloaded")) == 2)


@table("path", ("F-14-relative", "config.yml"), ("F-14-dot", "./config.yml"),
       ("F-14-up", "sub/../config.yml"), ("F-14-link", "link/config.yml"),
       ("F-14-slashes", ".//config.yml"))
def test_healthcheck_finds_the_server_by_any_path_of_its_file(env, path):
    env.proxy(env.upstream())
    os.mkdir(f"{env.directory}/sub")
    os.symlink(".", f"{env.directory}/link")
    _typo(env)
    Check(env, config=path, cwd=env.directory).good("it answers")


@row("F-14")
def test_healthcheck_with_a_long_path(env, tmp_path):
    """Longer than the name of a socket may be."""
    env.directory = tmp_path / ("d" * 200) / ("e" * 200)
    env.directory.mkdir(parents=True)
    env.proxy(env.upstream())
    _typo(env)
    Check(env).good("it answers")


@row("F-14")
def test_wrong_config_map_does_not_kill_the_pod(env, tmp_path):
    """The kubelet replaces a link to a directory; all three probes still pass."""
    (tmp_path / "first").mkdir()
    os.symlink("first", tmp_path / "..data")
    running = env.proxy(env.upstream(), start=False)
    running.kill()
    os.rename(env.config_path, tmp_path / "first" / "config.yml")
    os.symlink("..data/config.yml", env.config_path)
    running = proxy.Proxy(env.config_path, running.address, env.loop)
    env.proxies[:] = [running]
    running.start()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "config.yml").write_text("upstreams: [192.0.2.1\n")
    os.symlink("second", tmp_path / "..new")
    os.rename(tmp_path / "..new", tmp_path / "..data")
    running.wait_line(REFUSED)
    Check(env).good("it answers")
    Check(env, "--ready").good("it is ready")
    env.assert_ok(env.ask())


# ---- which server responds ----


@row("F-14")
def test_healthcheck_does_not_wait_for_a_stopped_supervisor(env):
    """Its workers serve at the address in the file."""
    running = env.proxy(env.upstream())
    processes.pause(running.pid)
    try:
        Check(env).good("it answers over UDP and TCP")
        _typo(env)
        check = Check(env)
        assert check.status == 1 and "unknown key" in check.err
        env.within(LIMIT, check.begin, check.end)
    finally:
        os.kill(running.pid, signal.SIGCONT)
    proxy.write_config(env.config_path, env.config)


@row("F-14")
@needs_root
def test_other_pid_namespace_reads_the_file(env):
    env.proxy(env.upstream())

    def check():
        return Check(env, popen=lambda command, **args: subprocess.Popen(
            ["unshare", "--pid", "--fork", "--mount-proc", *command], **args))
    check().good("it answers")
    _typo(env)
    found = check()
    assert found.status == 1 and "no dot-proxy is running with" in found.err


@row("F-14")
@needs_root
def test_containers_with_one_network_have_separate_status_sockets(env):
    """The same path in two PID namespaces: each check finds its own."""
    first = env.proxy(env.upstream())
    host, port = env.free_address(own_address())
    second = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", proxy.BINARY, "-c",
         env.config_path, "-l", with_port(host, port)], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child = wait_until(lambda: _children(second.pid))[0]
        wait_until(lambda: status.name(child), 5, "it has a status socket")
        assert status.name(child) != status.name(first.pid)

        def inside(command, **args):
            return subprocess.Popen(["nsenter", "--target", child, "--pid", "--mount", *command],
                                    **args)
        wait_until(lambda: Check(env, popen=inside).status == 0, 5, "the second one serves")
        Check(env, popen=inside).good(f"{host}:{port}: it answers")
        Check(env).good(f"{with_port(*first.address)}: it answers")
    finally:
        second.kill()
        second.wait(5)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


@row("F-14")
@needs_root
def test_other_users_read_nothing_from_the_status_socket(env):
    running = env.proxy(env.upstream())
    name = status.name(running.pid)
    assert status.read(name).startswith(f"listen {with_port(*running.address)} udp tcp\nallow ")
    assert _as_other_user(
        f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({chr(0) + name!r});"
        "print(s.makefile('rb').read())") == "b''\n"


@pytest.fixture
def public(env):
    """The program, in a directory that every user may read, where the configuration is, too."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        env.directory = directory
        yield shutil.copy(proxy.BINARY, directory)


def _as_other_user(code):
    return subprocess.run([sys.executable, "-c", code], user=OTHER_USER, group=OTHER_USER,
                          extra_groups=[], capture_output=True, text=True, timeout=20,
                          check=True).stdout


@row("F-14")
@needs_root
def test_status_socket_of_another_user_is_ignored(env, public):
    """Another user's check reads the file, and the proxy serves without the socket."""
    running = env.proxy(env.upstream())
    name = status.name(running.pid)
    running.stop()
    code = (f"import socket, time; s = socket.socket(socket.AF_UNIX); s.bind({chr(0) + name!r});"
            "s.listen(); print(flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], user=OTHER_USER, group=OTHER_USER,
                          extra_groups=[], stdout=subprocess.PIPE) as stranger:
        try:
            stranger.stdout.readline()

            def as_third(command, **args):
                return subprocess.Popen([public, *command[1:]], user=OTHER_USER + 1,
                                        group=OTHER_USER + 1, extra_groups=[], **args)
            Check(env, popen=as_third).bad("Connection refused")
            # The name is in use: the proxy serves and logs what does not work.
            again = proxy.Proxy(env.config_path, running.address, env.loop)
            env.proxies.append(again)
            again.start()
            assert again.lines("no status socket", cause="Address already in use")
            again.descriptors_at_start += 1     # the one that it opens when the name is free
        finally:
            stranger.kill()
    wait_until(lambda: status.name(again.pid) == name, 5, "it takes the name when it is free")
    assert len(again.lines("no status socket")) == 1


# ---- other processes cannot disturb the supervisor ----


@row("F-14")
def test_status_peers_that_do_not_read_block_nothing(env):
    """Hundreds of connections, some of which write, and none of which reads or closes."""
    running = processes.start_workers(env, env.upstream(), workers=2, reload="signal")
    name = status.name(running.pid)
    before = sorted(os.listdir(f"/proc/{running.pid}/fd"))
    peers = []
    for n in range(600 if proxy.sanitized() else 900):
        peers.append(status.connect(name))
        if n % 3 == 0:
            with contextlib.suppress(OSError):
                peers[-1].send(b"x" * 4096)
    wait_until(lambda: sorted(os.listdir(f"/proc/{running.pid}/fd")) == before, 5,
               "the supervisor holds none of them")
    victim = running.workers()[0]
    begin = now()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: processes.all_serving(running, 2, [victim]))
    env.within(1, begin)
    Check(env).good("it answers")
    old = running.workers()
    running.signal(signal.SIGHUP)
    running.wait_line("configuration reloaded")
    processes.wait_all_serving(running, 2, old)
    for peer in peers:
        peer.close()


@row("F-14")
def test_status_connection_flood_does_not_block_the_supervisor(env):
    running = processes.start_workers(env, env.upstream(), workers=2)
    name = status.name(running.pid)
    floods = [subprocess.Popen([sys.executable, "-c", f"""
import socket
while True:
    with socket.socket(socket.AF_UNIX) as s:
        s.setblocking(False)
        try:
            s.connect({chr(0) + name!r})
        except OSError:
            pass
"""]) for _ in range(2)]
    try:
        time.sleep(0.5)
        for _ in range(2):
            old = running.workers()
            time.sleep(1.1)         # what dies sooner than that has died quickly
            begin = now()
            os.kill(old[0], signal.SIGKILL)
            wait_until(lambda old=old: processes.all_serving(running, 2, old[:1]))
            env.within(1, begin)
        env.assert_ok(env.ask())
    finally:
        for flood in floods:
            flood.kill()
            flood.wait()
    Check(env).good("it answers")


@row("F-14")
def test_workers_do_not_hold_the_status_socket(env):
    running = processes.start_workers(env, env.upstream(), workers=2)
    assert status.name(running.pid)
    for worker in running.workers():
        assert status.name(worker) is None
