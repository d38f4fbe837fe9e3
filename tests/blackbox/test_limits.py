"""Groups C and P at the limits: clients, descriptors, memory."""

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import time

import pytest

import dnsmsg
import faults
import processes
from clock import now, wait_until
from dnsmsg import Query
from env import MIB
from rows import row, table

PATIENT = {"client_idle": "20s"}
ADDRESS_CROWDED = "too many clients of one address"
CROWDED = "too many clients"


def _clients(env, count, **args):
    """Clients that are accepted one after the other."""
    made = []
    for _ in range(count):
        made.append(env.client(**args))
        made[-1].wait_read()
    return made


@row("C-07")
def test_idle_clients_at_every_worker_delay_no_other_client(env):
    processes.start_workers(env, env.upstream(), workers=3, timeouts=PATIENT)
    for _ in range(3):
        processes.one_each(env)
    env.client()
    env.assert_ok(env.ask(), 1)
    env.idle(0.3)


@row("C-08", "P9")
def test_slow_lorises_at_every_worker_delay_no_other_client(env):
    workers, seconds = 3, 4
    processes.start_workers(env, env.upstream(), workers=workers)
    data = dnsmsg.framed(Query("a-name-that-takes-a-while.test").wire)
    slow, times, begin = [], [], now()
    while now() < begin + seconds:
        slow = [[client, at] for client, at in slow if not client.closed_by_peer()]
        while len(slow) < 10 * workers:
            slow.append([env.client(), 0])
        for entry in slow:
            entry[1] = min(entry[1] + 1, len(data) - 1)
            try:
                entry[0].send_bytes(data[entry[1] - 1:entry[1]])
            except OSError:
                pass        # it was closed just now
        times.append(env.assert_ok(env.ask(f"good-{len(times)}.test")).took)
        select.select([], [], [], max(0.0, begin + len(times) / 50 - now()))
    assert len(times) >= 50
    times.sort()
    late = env.loop.late(begin, now())
    assert times[len(times) * 99 // 100] < 1 + late
    for client, _ in slow:
        client.close()


# Limits of clients.


@row("C-09")
def test_address_over_its_limit_loses_its_longest_idle_client(env):
    """Only its longest idle client is closed."""
    running = env.proxy(env.upstream(), timeouts=PATIENT,
                          clients={"max": 100, "per_address": 5})
    others = _clients(env, 4, source="127.0.0.9")
    many = _clients(env, 3, source="127.0.0.8")
    env.assert_ok(many[0].ask("busy-lately.test"))
    many += _clients(env, 6, source="127.0.0.8")
    for client in (many[1], many[2], many[3], many[0]):
        client.wait_closed()
        assert client.how == "eof"
    for n, client in enumerate(many[4:] + others):
        env.assert_ok(client.ask(f"stays-{n}.test"), 0.5)
    line = running.wait_line(ADDRESS_CROWDED)
    assert "127.0.0.8" in line["cause"] and "per_address" in line["remedy"]
    assert len(running.lines(ADDRESS_CROWDED)) == 1
    assert not running.lines(CROWDED)


@row("C-09")
def test_address_limit_refuses_if_all_its_clients_are_active(env):
    server = env.upstream()
    env.proxy(server, timeouts=PATIENT, clients={"max": 100, "per_address": 3})
    waiting = _clients(env, 3, source="127.0.0.8")
    for n, client in enumerate(waiting):
        client.send(Query(f"delay-400.n{n}.test"))
    wait_until(lambda: len(server.queries) == 3)
    refused = env.client(source="127.0.0.8")
    env.within(0.3, refused.opened, refused.wait_closed())
    env.assert_ok(env.client(source="127.0.0.9").ask("other.test"), 0.3)
    for client in waiting:
        env.assert_ok(client.receive_until(client.exchanges[0]))
    again = env.client(source="127.0.0.8")
    env.assert_ok(again.ask("again.test"), 0.3)


@row("C-10", "C-11")
def test_longest_idle_client_is_closed_at_client_limit(env, row):
    running = env.proxy(env.upstream(), timeouts=PATIENT, clients={"max": 20})
    env.assert_ok(env.ask())
    old = _clients(env, 4)
    new = [env.client() for _ in range(36)]
    env.assert_ok(env.ask("one-more.test"), 1)
    for client in old:
        client.wait_closed()
        assert client.how == "eof"
    env.assert_ok(new[-1].ask("youngest.test"), 1)
    assert running.clients() <= 20
    line = running.wait_line(CROWDED)
    assert "20" in line["cause"] and "max" in line["remedy"]
    assert len(running.lines(CROWDED)) == 1
    if row == "C-11":
        for client in new:
            client.close()
        wait_until(lambda: running.clients() == 0)
        for n, client in enumerate(_clients(env, 10)):
            env.assert_ok(client.ask(f"again-{n}.test"), 1)


@row("C-10")
def test_active_clients_are_not_evicted(env):
    """New clients wait in the accept queue and are served when a slot is free."""
    server = env.upstream()
    env.proxy(server, timeouts={"answer": "2s", **PATIENT}, clients={"max": 8})
    waiting = []
    for n in range(8):
        waiting.append(env.client())
        waiting[-1].send(Query(f"delay-700.n{n}.test"))
    wait_until(lambda: len(server.queries) == 8)
    late = [env.client() for _ in range(8)]
    for client in late:
        client.send(Query("late.test"))
    env.idle(0.2)
    for client in waiting:
        env.assert_ok(client.receive_until(client.exchanges[0]))
    for client in late:
        client.receive_until(client.exchanges[0])
        env.within(1.5, client.exchanges[0].at, client.exchanges[0].answered)


@row("C-10")
def test_client_with_unread_query_is_not_idle(env):
    """More clients than slots connect and send queries while the worker is paused."""
    running = env.proxy(env.upstream(), timeouts=PATIENT, clients={"max": 8})
    worker, = running.workers()
    processes.pause(worker)
    clients = [env.client() for _ in range(16)]
    for n, client in enumerate(clients):
        client.send(Query(f"n{n}.test"))
    os.kill(worker, signal.SIGCONT)
    for client in clients:
        env.assert_ok(client.receive_until(client.exchanges[0]), 2)


@row("C-12")
def test_idle_timeout_shrinks_under_load_and_recovers(env):
    idle = 1.5
    env.proxy(env.upstream(), timeouts={"client_idle": "1500ms"}, clients={"max": 20})
    crowd = [env.client() for _ in range(19)]
    env.within(0.8, crowd[0].opened, crowd[0].wait_closed())
    for client in crowd:
        client.close()
    client = env.client()
    closed = client.wait_closed()
    assert closed - client.opened > 0.95 * idle
    env.within(idle + 0.2, client.opened, closed)


@row("C-13")
def test_clients_that_never_read_use_bounded_memory(env):
    """10,000 unread responses are neither kept forever nor in unbounded memory."""
    workers = 2
    env.may_grow = 64 * MIB
    running = processes.start_workers(env, env.upstream(), workers=workers)
    deaf = list(processes.one_each(env).values())
    pending = []
    data = b"".join(dnsmsg.framed(Query(f"size-1500.n{n}.test").wire) for n in range(10000))
    for client in deaf:
        client.abandoned = True
        client.sock.setblocking(False)
        pending.append([client, memoryview(data)])
    most, begin, asked = 0, now(), 0
    while pending and now() < begin + 12:
        for entry in list(pending):
            try:
                entry[1] = entry[1][entry[0].sock.send(entry[1]):]
            except BlockingIOError:
                pass
            except OSError:
                pending.remove(entry)
                continue
            if not entry[1] and running.clients() == 0:
                pending.remove(entry)
        env.assert_ok(env.ask(f"good-{asked}.test"), 1)
        asked += 1
        most = max(most, running.memory() - running.memory_at_start)
        time.sleep(0.02)
    assert not pending, "a client that never reads was kept for 12 s"
    if not env.sanitized:
        assert most < workers * 64 * MIB, f"{most / MIB:.0f} MiB"
    for client in deaf:
        client.close()


@row("C-10")
def test_exactly_the_client_limit_evicts_nobody(env):
    """None of them is closed for a client that does not exist."""
    server = env.upstream()
    running = processes.start_workers(env, server, timeouts={"answer": "2s", **PATIENT},
                                      clients={"max": 8})
    first = running.workers()[0]
    with processes.only_this_worker(running, first):
        for n in range(8):
            env.client().send(Query(f"delay-300.n{n}.test"))
        for client in env.clients:
            client.wait_read()
    for client in env.clients:
        env.assert_ok(client.receive_until(client.exchanges[0]))
    assert not running.lines(CROWDED)


# Descriptors.


def no_more_descriptors(pid):
    """From now on, that process, which is of our own user, gets none; returns the limit before."""
    used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    lowest = next(number for number in range(len(used) + 1) if number not in used)
    was = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, was[1]))
    return was


def assert_logged_once_without_spin(env, cause, remedy):
    running = env.proxies[-1]
    line = running.wait_line("accept failed", cause=cause)
    assert remedy in line["remedy"]
    before, begin = running.cpu(), now()
    time.sleep(1)
    used = running.cpu() - before
    assert used < 0.05 * (now() - begin) * (3 if env.sanitized else 1), f"{used:.3f} s of CPU"
    assert len(running.lines("accept failed")) == 1


@row("P-01")
def test_descriptor_shortage_at_accept(env):
    """No spin, no log flood; connected clients are served, new ones later."""
    server = env.upstream()
    running = env.proxy(server, timeouts={"query": "4s", "answer": "4s", **PATIENT},
                          user="root")
    worker, = running.workers()
    there = env.client()
    asked, = there.send(Query("delay-1800.test"))
    wait_until(lambda: server.queries)
    was = no_more_descriptors(worker)
    late = [env.client() for _ in range(20)]
    assert_logged_once_without_spin(env, "Too many open files", "ulimit -n")
    assert asked.answer is None
    env.assert_ok(there.receive_until(asked))
    resource.prlimit(worker, resource.RLIMIT_NOFILE, was)
    begin = now()
    for n, client in enumerate(late):
        client.settle(now())
        env.assert_ok(client.ask(f"late-{n}.test"))
    env.within(1, begin)


@row("C-32")
def test_new_client_not_touched_by_events_of_the_evicted_one(env):
    """It gets the slot of a client whose reset is in the same batch of events."""
    running = env.proxy(env.upstream(), timeouts=PATIENT, clients={"max": 4})
    worker, = running.workers()
    env.assert_ok(env.ask("warm.test"))
    for n in range(20):
        evicted, *others = _clients(env, 4)
        processes.pause(worker)
        new = env.client()
        asked, = new.send(Query(f"delay-50.n{n}.test"))
        evicted.reset()
        os.kill(worker, signal.SIGCONT)
        env.assert_ok(new.receive_until(asked))
        env.assert_ok(new.ask(f"second-{n}.test"))
        for client in (new, *others):
            client.close()
        wait_until(lambda: running.clients() == 0)


can_tamper = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("strace") is None,
                                reason="needs root and strace, to make a system call fail")


@row("P-01")
@can_tamper
def test_system_wide_descriptor_shortage(env):
    """ENFILE, a shortage caused by others. The seccomp filter would block the tracer."""
    running = env.proxy(env.upstream(), user="root", sandbox="off")
    worker, = running.workers()
    env.assert_ok(env.ask())
    with tampered(worker, "accept4:error=ENFILE"):
        late = [env.client() for _ in range(20)]
        assert_logged_once_without_spin(env, "Too many open files in system", "fs.file-max")
    for n, client in enumerate(late):
        client.settle(now())
        env.assert_ok(client.ask(f"late-{n}.test"))


@contextlib.contextmanager
def tampered(pid, how):
    """Meanwhile the kernel fails that system call of the process."""
    tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-e", f"inject={how}",
                               "-p", str(pid)])
    try:
        wait_until(lambda: traced(pid), 5, "it is traced")
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def traced(pid):
    with open(f"/proc/{pid}/status") as file:
        return "TracerPid:\t0\n" not in file.read()


# Responses that the kernel does not accept at the moment.


@can_tamper
@table("error", ("X-11-ENOBUFS", "ENOBUFS"), ("X-11-ENOMEM", "ENOMEM"), ("X-11-EAGAIN", "EAGAIN"),
       ("P-31-EINTR", "EINTR"))
def test_failed_sendmmsg_is_retried_and_stops_no_other_client(env, error):
    running = env.proxy(env.upstream(), user="root", sandbox="off",
                        timeouts={"query": "9s", "answer": "4s"})
    worker, = running.workers()
    client = env.datagrams()
    env.assert_ok(client.ask("warm.test"))
    # Once a millisecond. It ends before the tracer does, which would leave a call half done.
    with tampered(worker, f"sendmmsg:error={error}:when=1..600"):
        waiting = client.send(*[Query(f"waiting-{n}.test") for n in range(100)])
        for n in range(5):
            env.assert_ok(env.ask(f"meanwhile-{n}.test"), 3)
        client.assert_silent()
        for exchange in waiting:
            env.assert_ok(client.receive_until(exchange))


@can_tamper
@row("P-31-EINTR")
def test_interrupted_sendmsg_is_retried_and_stops_no_other_client(env):
    running = env.proxy(env.upstream(), user="root", sandbox="off",
                          timeouts={"query": "5s", "answer": "4s"})
    worker, = running.workers()
    client, other = env.client(), env.datagrams()
    env.assert_ok(client.ask("warm.test"))
    # It ends before the tracer does, which would leave a call half done.
    with tampered(worker, "sendmsg:error=EINTR:when=1..300"):
        waiting = client.send(*[Query(f"waiting-{n}.test") for n in range(100)])
        for n in range(2):
            env.assert_ok(other.ask(f"meanwhile-{n}.test"), 3)
        for exchange in waiting:
            env.assert_ok(client.receive_until(exchange))


@row("P-02")
def test_descriptor_shortage_for_the_upstream_recovers(env):
    server = env.upstream()
    running = env.proxy(server, timeouts=PATIENT, user="root")
    worker, = running.workers()
    client = env.client()
    client.wait_read()
    was = no_more_descriptors(worker)
    for n in range(5):
        exchange = env.servfail(client.ask(f"n{n}.test", edns=dnsmsg.opt()), 0.5)
        assert "Too many open files" in exchange.answer.ede[0][1]
    assert "Too many open files" in running.wait_line("upstream down")["cause"]
    env.idle(0.2)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, was)
    env.assert_ok(client.ask("again.test"), 0.5)


@row("P-02")
def test_descriptor_shortage_for_the_second_upstream(env):
    """The connection of the first upstream stays usable."""
    a, b = env.pair()
    running = env.proxy(a, b, timeouts=PATIENT, user="root")
    worker, = running.workers()
    client = env.client()
    env.assert_ok(client.ask("warm.test"))
    was = no_more_descriptors(worker)
    a.do(faults.rcode(dnsmsg.SERVFAIL))
    assert client.ask("bad.test").rcode == dnsmsg.SERVFAIL
    a.do()
    env.assert_ok(client.ask("good.test"), 0.5)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, was)
    a.do(faults.rcode(dnsmsg.SERVFAIL))
    wait_until(lambda: client.ask("better.test").answer.is_correct, 3, "B gets queries again")


# accept(2) fails for reasons of the client that connects.

ACCEPT = """
#include <sys/socket.h>
#include <sys/syscall.h>
#include <errno.h>
#include <unistd.h>

int
accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	static const int errors[] = { ECONNABORTED, EPROTO, EPERM, ENETDOWN, EINTR, EHOSTUNREACH };
	static unsigned calls;
	unsigned n = calls++;

	if (n % 3 != 2) {
		errno = errors[n % (sizeof errors / sizeof errors[0])];
		return -1;
	}
	return (int)syscall(SYS_accept4, fd, from, len, flags);
}
"""


@row("P-06")
def test_transient_accept_errors(env):
    """Two of three calls fail, with each of the errors in turn."""
    source, library = (os.path.join(env.directory, name) for name in ("accept.c", "accept.so"))
    with open(source, "w") as file:
        file.write(ACCEPT)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    running = processes.start_workers(env, env.upstream(), popen_args={"env": {
        **os.environ, "LD_PRELOAD": library,
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}})
    with open(f"/proc/{running.pid}/maps") as file:
        assert library in file.read()
    for n in range(100):
        env.assert_ok(env.ask(f"n{n}.test"), 0.5)
    clients = [env.client() for _ in range(100)]
    for n, client in enumerate(clients):
        env.assert_ok(client.ask(f"at-once-{n}.test"), 1)
    assert not running.lines("accept failed")
    for client in clients:
        client.close()
    env.idle(0.2)


@row("P-06")
def test_clients_reset_before_accept(env):
    running = processes.start_workers(env, env.upstream())
    workers = running.workers()
    for pid in workers:
        processes.pause(pid)
    for n in range(200):
        client = env.client()
        if n % 2:
            client.send(Query(f"gone-{n}.test"))
        client.reset() if n % 4 < 2 else client.close()
    stays = env.client()
    stays.send(Query("stays.test"))
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    env.assert_ok(stays.receive_until(stays.exchanges[0]), 2)
    assert running.workers() == workers
    wait_until(lambda: running.clients() == 1)
    assert not running.lines("accept failed")
