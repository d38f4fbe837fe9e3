"""Listen addresses that come late, go, and come back (F-20); sockets that were shut down (P-29)."""

import contextlib
import ctypes
import os
import signal
import socket
import time

import pytest

import proxy
import processes
from clock import now, wait_until
from dnsmsg import Query
from rows import row, table
from test_health import Check
from upstream import own_address, with_port

MISSING = "listen address missing"
SHUT_DOWN = "listening socket was shut down"
RELOADED = "configuration reloaded"
REFUSED = "reload failed"
LATE = {"IPv4": "10.77.0.1", "IPv6": "fd00:77::1"}
# The interval of the supervisor's checks, plus a margin.
NOTICED = 3.5


class Address:
    """One that an interface gets and loses."""

    def __init__(self, namespace, host):
        self._namespace = namespace
        self._spec = [f"{host}/{128 if ':' in host else 32}", "dev", "lo"]

    def add(self):
        v6 = "/128" in self._spec[0]
        self._namespace.run("ip", "addr", "add", *self._spec, *(["nodad"] if v6 else []))

    def delete(self):
        self._namespace.run("ip", "addr", "del", *self._spec)


def _ask_at(env, address, name):
    """Over both transports."""
    running = env.proxies[-1]
    was, running.address = running.address, address
    env.assert_ok(env.ask(f"tcp.{name}"), 1)
    client = env.datagrams()
    env.assert_ok(client.ask(f"udp.{name}"), 1)
    running.address = was


def _lines(running, event, address):
    return len(running.lines(event, address=with_port(*address)))


def _wait_count(running, event, address, count):
    wait_until(lambda: _lines(running, event, address) == count, NOTICED,
               f"{count} x {event!r}:\n{running.log_text()}")


@table("host, first", ("F-20-IPv4-second", LATE["IPv4"], False),
       ("F-20-IPv4-first", LATE["IPv4"], True), ("F-20-IPv6-second", LATE["IPv6"], False))
def test_late_address_is_served_when_added_and_added_again(env, namespace, host, first):
    """Other addresses are served all the time; each change is logged once, and nothing restarts."""
    main = env.free_address(own_address())
    late = host, main[1]
    made = Address(namespace, host)
    listen = [with_port(*late), with_port(*main)] if first else [with_port(*main), with_port(*late)]
    running = processes.start_workers(env, env.upstream(), host=main[0], port=main[1],
                                      listen=listen)
    workers = running.workers()
    assert _lines(running, "listening", late) == 0
    for n in range(3):
        _ask_at(env, main, f"missing-{n}.test")
        Check(env).good(f"{with_port(*main)}: it answers")
        made.add()
        _ask_at(env, late, f"there-{n}.test")
        _ask_at(env, main, f"both-{n}.test")
        _wait_count(running, "listening", late, 2 * (n + 1))
        Check(env).good(f"{with_port(*(late if first else main))}: it answers")
        if n < 2:
            made.delete()
            _wait_count(running, MISSING, late, n + 2)
    line = running.lines(MISSING)[0]
    assert line["level"] == "warn" and line["remedy"]
    assert _lines(running, MISSING, main) == 0 and _lines(running, "listening", main) == 2
    assert running.workers() == workers


@row("F-20")
def test_late_address_loses_no_query_at_other_addresses(env, namespace):
    main = env.free_address(own_address())
    late = LATE["IPv4"], main[1]
    made = Address(namespace, late[0])
    processes.start_workers(env, env.upstream(), host=main[0], port=main[1],
               listen=[with_port(*main), with_port(*late)])
    client = env.datagrams()
    count = 0
    for _ in range(4):
        for change in made.add, made.delete:
            change()
            asked = client.send(*[Query(f"n{count + n}.test") for n in range(100)])
            count += 100
            client.receive_all()
            for exchange in asked:
                env.assert_ok(exchange)
    assert len(env.upstreams[0].queries) == count == 800


@row("F-20")
def test_recreated_interface_is_served(env, namespace):
    """As with a VPN: interface and address are deleted, then created with the same name."""
    main = env.free_address(own_address())
    late = LATE["IPv4"], main[1]
    running = env.proxy(env.upstream(), host=main[0], port=main[1],
                          listen=[with_port(*main), with_port(*late)])
    for n in range(2):
        namespace.run("ip", "link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1")
        namespace.run("ip", "addr", "add", f"{late[0]}/24", "dev", "vpn0")
        namespace.run("ip", "link", "set", "vpn0", "up")
        _ask_at(env, late, f"there-{n}.test")
        namespace.run("ip", "link", "del", "vpn0")
        _ask_at(env, main, f"gone-{n}.test")
    assert running.alive


@table("first", ("F-20-link-local-second", False), ("F-20-link-local-first", True))
def test_link_local_address_of_a_recreated_interface(env, namespace, first):
    """Each time the interface has another index; no manual reload is needed."""
    main = env.free_address(own_address())
    named = f"[fe80::77%vpn0]:{main[1]}"
    listen = [named, with_port(*main)] if first else [with_port(*main), named]
    running = processes.start_workers(env, env.upstream(), host=main[0], port=main[1],
                                      listen=listen, reload="signal")
    for n in range(3):
        _ask_at(env, main, f"missing-{n}.test")
        Check(env).good(f"{with_port(*main)}: it answers")
        wait_until(lambda: len(running.lines(MISSING, address=named)) == n + 1, NOTICED,
                   f"is missed:\n{running.log_text()}")
        namespace.run("ip", "link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1")
        namespace.run("ip", "addr", "add", "fe80::77/64", "dev", "vpn0", "nodad")
        namespace.run("ip", "link", "set", "vpn0", "up")
        # A link has no carrier, and accepts no packets, while its other end is down.
        namespace.run("ip", "link", "set", "vpn1", "up")
        wait_until(lambda: len(running.lines("listening", address=named)) == 2 * (n + 1), 6,
                   f"is served:\n{running.log_text()}")
        index = namespace.call(socket.if_nametoindex, "vpn0")
        _ask_at(env, ("fe80::77", main[1], 0, index), f"there-{n}.test")
        _ask_at(env, main, f"both-{n}.test")
        namespace.run("ip", "link", "del", "vpn0")
    # Two sockets more in the supervisor and in each of two workers: those that were late.
    running.descriptors_at_start += 6
    assert not running.lines(REFUSED)
    assert len(running.lines(RELOADED)) == 3


@row("F-20")
def test_interface_added_while_the_file_is_invalid(env, namespace):
    """The file is read once for it, not every few seconds."""
    main = env.free_address(own_address())
    running = env.proxy(env.upstream(), host=main[0], port=main[1], reload="signal",
                          listen=[with_port(*main), f"[fe80::77%vpn0]:{main[1]}"])
    with open(env.config_path, "a", encoding="utf-8") as file:
        file.write("wrong: 1\n")
    namespace.run("ip", "link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1")
    wait_until(lambda: running.lines(REFUSED), NOTICED, running.log_text)
    time.sleep(NOTICED)
    assert len(running.lines(REFUSED)) == 1
    _ask_at(env, main, "n.test")


@row("F-20")
def test_reload_while_an_address_is_missing(env, namespace):
    main = env.free_address(own_address())
    late, other = (LATE["IPv4"], main[1]), (LATE["IPv6"], main[1])
    running = processes.start_workers(env, env.upstream(), host=main[0], port=main[1],
                         listen=[with_port(*main), with_port(*late)], reload="signal")
    # One missing address stays in the list, another one is added.
    _reload(env, listen=[with_port(*main), with_port(*late), with_port(*other)])
    assert _lines(running, MISSING, late) == _lines(running, MISSING, other) == 1
    Address(namespace, late[0]).add()
    Address(namespace, other[0]).add()
    for address in main, late, other:
        _ask_at(env, address, f"n{len(address[0])}.test")
    # The only address is gone, which must not make a reload fail.
    _reload(env, listen=with_port(*late))
    running.address = late
    Address(namespace, late[0]).delete()
    _reload(env, listen=with_port(*late), inflight=1000)
    Address(namespace, late[0]).add()
    _ask_at(env, late, "again.test")


def _reload(env, **changes):
    running = env.proxies[-1]
    before, old = len(running.lines(RELOADED)), running.workers()
    env.config = {**env.config, **changes}
    proxy.write_config(env.config_path, env.config)
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.lines(RELOADED)) > before, 5, f"reloads:\n{running.log_text()}")
    wait_until(lambda: not set(old) & set(running.workers()), 12, "the old workers exit")
    processes.wait_all_serving(running, env.config["workers"])


@row("F-20")
def test_start_fails_without_any_listen_address(env, namespace):
    """It exits; a restart succeeds once an address exists."""
    listen = [f"{host}:5353" if "." in host else f"[{host}]:5353" for host in LATE.values()]
    ended = env.proxy(env.upstream(), start=False, listen=listen)
    assert ended.wait(5) == 1
    ended.check_reports()
    line, = ended.log
    assert "Cannot assign requested address" in line["cause"] and "ip address" in line["remedy"]
    Address(namespace, LATE["IPv6"]).add()
    again = proxy.Proxy(env.config_path, (LATE["IPv6"], 5353), env.loop, env._make_socket,
                        env._popen)
    env.proxies[:] = [again]
    again.start()
    env.assert_ok(env.ask())
    assert again.lines(MISSING, address=listen[0])


@row("F-20")
def test_start_fails_if_the_only_interface_is_missing(env, namespace):
    ended = env.proxy(env.upstream(), start=False, listen="[fe80::77%vpn0]:5353")
    assert ended.wait(5) == 1
    ended.check_reports()
    line, = ended.log
    assert line["cause"] == "listen on [fe80::77%vpn0]:5353: no such interface `vpn0'"
    assert "ip link" in line["remedy"]


# ---- sockets that were shut down ----


def _shut_down(pid, port, kind=socket.SOCK_STREAM, how=socket.SHUT_RDWR):
    """Shuts down a listening socket of a process, as a debugger would."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        for number in map(int, os.listdir(f"/proc/{pid}/fd")):
            if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                continue
            fd = libc.syscall(438, pidfd, number, 0)      # pidfd_getfd
            if fd == -1:
                error = ctypes.get_errno()
                pytest.skip(f"no pidfd_getfd: {os.strerror(error)}")
            with socket.socket(fileno=fd) as sock:
                if sock.family == socket.AF_INET and sock.type == kind \
                        and sock.getsockname()[1] == port:
                    with contextlib.suppress(OSError):      # UDP: not connected, but done
                        sock.shutdown(how)
                    return
    finally:
        os.close(pidfd)
    raise AssertionError("no such socket")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to reach into another process")
@row("P-29")
def test_shut_down_tcp_socket_listens_again(env):
    running = processes.start_workers(env, env.upstream(), workers=2)
    kept = env.client()
    env.assert_ok(kept.ask("kept.test"))
    workers = running.workers()
    for n in range(2):
        _shut_down(running.pid, running.address[1])
        begin = now()
        wait_until(lambda n=n: len(running.lines(SHUT_DOWN, over="TCP")) == n + 1,
                   3, "it notices")
        env.within(1, begin)
        env.assert_ok(env.ask(f"tcp-{n}.test"), 1)
        env.assert_ok(env.datagrams().ask(f"udp-{n}.test"), 1)
        env.assert_ok(kept.ask(f"kept-{n}.test"))
    assert running.workers() == workers


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to reach into another process")
@table("how", ("P-29-UDP-receiving", socket.SHUT_RD), ("P-29-UDP-sending", socket.SHUT_WR),
       ("P-29-UDP-both", socket.SHUT_RDWR))
def test_shut_down_udp_socket_is_replaced(env, how):
    running = processes.start_workers(env, env.upstream(), workers=2)
    env.assert_ok(env.datagrams().ask("before.test"))
    _shut_down(running.pid, running.address[1], socket.SOCK_DGRAM, how)
    if how == socket.SHUT_WR:
        running.signal(signal.SIGHUP)
    wait_until(lambda: running.lines("configuration reloaded"), 5, "new workers have the new one")
    assert len(running.lines(SHUT_DOWN, over="UDP")) == 1
    for n in range(10):
        env.assert_ok(env.datagrams().ask(f"udp-{n}.test"), 1)
    wait_until(lambda: len(running.workers()) == 2, 3, "the old workers exit")
    env.idle(0.5)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to reach into another process")
@row("P-29")
def test_udp_socket_with_failing_sends_is_replaced(env):
    """A worker reports it, and the supervisor verifies it."""
    running = processes.start_workers(env, env.upstream(), workers=2)
    _shut_down(running.pid, running.address[1], socket.SOCK_DGRAM, socket.SHUT_WR)
    lost = env.datagrams()
    lost.abandoned = True
    lost.send(Query("lost.test"))
    wait_until(lambda: running.lines("configuration reloaded"), 5, "new workers have the new one")
    assert len(running.lines(SHUT_DOWN, over="UDP")) == 1
    for n in range(10):
        env.assert_ok(env.datagrams().ask(f"udp-{n}.test"), 1)
