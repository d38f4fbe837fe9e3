"""Group P for several processes: workers that die, hang, or never start."""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

import faults
import proxy
import processes
from clock import now, wait_until
from dnsmsg import Query
from upstream_state import times_down, went_down
from rows import asks_again, row, table

RELOADED = "configuration reloaded"
REFUSED = "reload failed"

# A worker with this lifetime does not count as short-lived.
GROWN_UP = 1.1
SANITIZERS_LET_SIGNALS_PASS = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")
                               + ":handle_segv=0:handle_abort=0"}


def _died(running, worker, cause, seconds=2):
    """The only log line of its death."""
    return running.wait_line("worker died", seconds, pid=str(worker), cause=cause)


# All workers die, and nothing leaks. The first test, since it takes longest.


def _same(before, after):
    assert before[0] == after[0], "descriptors"
    assert abs(after[1] - before[1]) <= 2, "mappings"
    if not proxy.sanitized():
        assert after[2] <= before[2] * 1.05, f"memory: {before[2]} KiB, then {after[2]} KiB"


@row("P-12-deaths")
@pytest.mark.timeout(120)
def test_dead_workers_leak_nothing(env):
    workers, rounds = (20, 5) if env.sanitized else (50, 20)
    server = env.upstream()
    running = processes.start_workers(env, server, workers=workers)
    _kill_all(running, workers)
    before = processes.census(running)
    for n in range(rounds):
        _kill_all(running, workers)
        env.assert_ok(env.ask(f"n{n}.test"))
    _same(before, processes.census(running))
    assert len(running.lines("worker died")) == (rounds + 1) * workers
    assert not running.zombies()


def _kill_all(running, workers):
    """Once all of them are old enough not to have died quickly."""
    old = processes.wait_all_serving(running, workers)
    youngest = max(_start_time(pid) for pid in old)
    wait_until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > youngest + GROWN_UP)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    processes.wait_all_serving(running, workers, without=old)


def _start_time(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


# Distribution of the load.


@row("first-stays-hot")
@pytest.mark.parametrize("replaced", [False, True])
def test_first_worker_takes_all_of_a_light_load(env, replaced):
    """
    The kernel wakes the worker that began to listen first. A worker ahead of the first one yields
    a query to it once, and is behind it from then on.
    """
    server = env.upstream()
    running = processes.start_workers(env, server, workers=4)
    if replaced:
        first = running.workers()[0]
        os.kill(first, signal.SIGKILL)
        processes.wait_all_serving(running, 4, without=[first])
    for n in range(200):
        processes.wait_asleep(running)
        env.assert_ok(env.ask(f"n{n}.test"))
    *others, most = sorted(len(connection.queries) for connection in server.connections)
    assert others in ([], [1], [1, 1], [1, 1, 1]) and most == 200 - len(others)


@row("next-takes-over")
def test_workers_share_a_heavy_load(env):
    server = env.upstream()
    running = processes.start_workers(env, server, workers=3)
    for n, worker in enumerate(running.workers()):
        with processes.only_this_worker(running, worker):
            env.assert_ok(env.ask(f"n{n}.test"), 0.5)
    assert [len(connection.queries) for connection in server.connections] == [1, 1, 1]


# What they know together.


@row("P3")
def test_silent_upstream_costs_its_timeout_once_for_all_workers(env):
    a, b = env.pair(faults.accept_and_silence)
    running = processes.start_workers(env, a, b, workers=4)
    clients = list(processes.one_each(env).values())
    begin = now()
    env.assert_ok(clients[0].ask("first.test"))
    line = went_down(running, a)
    tried = len(a.connections)
    assert tried == 1
    for n, client in enumerate(clients):
        for exchange in client.send(*[Query(f"n{n}-{m}.test") for m in range(5)]):
            env.assert_ok(client.receive_until(exchange), 0.2)
    if now() - line.at < 0.8:       # after that, one of them may try it again
        assert len(a.connections) == 1
    assert times_down(running, a) == 1
    env.within(2, begin)


@row("P3")
def test_blackhole_seen_by_all_workers_counts_once(env, namespace):
    a, b = env.pair()
    namespace.drop("ip", "daddr", a.address, "tcp", "flags", "syn", "counter")
    running = processes.start_workers(env, a, b, workers=4)
    clients = list(processes.one_each(env).values())
    for round in range(3):
        for n, client in enumerate(clients):
            client.send(*[Query(f"r{round}-n{n}-{m}.test") for m in range(10)])
        for client in clients:
            client.receive_all()
        went_down(running, a, "connect")
    for exchange in (e for client in clients for e in client.exchanges):
        env.assert_ok(exchange, 1)
    assert times_down(running, a) == 1
    # One of each, and then one of them all when it may be back.
    assert _dropped(namespace) <= len(clients) + 1
    namespace.stop_dropping()


def _dropped(namespace):
    """How many packets the rule with a counter has met: each attempt to connect sends one."""
    table = namespace.call(subprocess.run, ["nft", "list", "table", "inet", "faults"],
                           capture_output=True, text=True)
    return int(re.search(r"counter packets (\d+)", table.stdout)[1])


@asks_again
@row("P5")
def test_recovered_upstream_is_seen_by_all_workers(env):
    a, b = env.pair(faults.refuse)
    running = processes.start_workers(env, a, b, workers=3)
    clients = list(processes.one_each(env).values())
    env.assert_ok(clients[0].ask("down.test"))
    went_down(running, a)
    a.do()
    wait_until(lambda: env.assert_ok(clients[0].ask("probe.test")) and a.queries, 5)
    running.wait_line("upstream back", upstream=a.name)
    for n, client in enumerate(clients):
        env.assert_ok(client.ask(f"back-{n}.test"))
        assert a.queries_for(f"back-{n}.test")
    assert len(running.lines("upstream back", upstream=a.name)) == 1


@asks_again
@row("P5")
def test_outage_seen_by_all_workers_counts_once(env):
    """The backoff is the same as if one worker had seen it."""
    a, b = env.pair()
    running = processes.start_workers(env, a, b, workers=6)
    clients = list(processes.one_each(env).values())
    a.do(faults.accept_and_silence)
    for worker in running.workers():
        processes.pause(worker)
    for n, client in enumerate(clients):
        client.send(Query(f"n{n}.test"))
    for worker in running.workers():
        os.kill(worker, signal.SIGCONT)
    for client in clients:
        client.receive_all()
    line = went_down(running, a)
    a.do()
    wait_until(lambda: env.assert_ok(env.ask("again.test")) and a.queries, 40)
    env.within(1.5, line.at)


@row("SIGUSR1")
def test_state_is_logged_on_sigusr1(env):
    a, b = env.pair(faults.refuse)
    running = processes.start_workers(env, a, b, workers=3)
    for n, client in enumerate(processes.one_each(env).values()):
        env.assert_ok(client.ask(f"n{n}.test"))
    # A worker publishes its queries in flight before it waits.
    running.signal(signal.SIGUSR1)
    wait_until(lambda: len(running.lines("upstream")) == 2)
    workers = running.lines("worker")
    assert sorted(int(line["pid"]) for line in workers) == sorted(running.workers())
    assert {line["state"] for line in workers} == {"serving"}
    assert sorted(int(line["answered"]) for line in workers) == [1, 1, 1]
    assert sum(int(line["clients"]) for line in workers) == 3
    down, up = running.lines("upstream")
    assert (down["upstream"], down["state"]) == (a.name, "down") and int(down["failures"]) >= 1
    assert (up["upstream"], up["state"]) == (b.name, "up") and float(up["answer_ms"]) > 0


# A worker dies.


@table("number", ("P-07-KILL", signal.SIGKILL), ("P-07-SEGV", signal.SIGSEGV),
       ("P-07-ABRT", signal.SIGABRT))
def test_dead_worker_is_replaced(env, number):
    server = env.upstream()
    running = processes.start_workers(env, server, workers=3,
                         popen_args={"env": SANITIZERS_LET_SIGNALS_PASS})
    clients = processes.one_each(env)
    victim = running.workers()[1]
    for n, client in enumerate(clients.values()):
        env.assert_ok(client.ask(f"before-{n}.test"))
    waiting = {worker: client.send(Query(f"delay-200.{worker}.test"))[0]
               for worker, client in clients.items()}
    wait_until(lambda: len(server.queries) == 6)
    begin = now()
    os.kill(victim, number)
    wait_until(lambda: processes.all_serving(running, 3, [victim]))
    env.within(0.1, begin)
    line = _died(running, victim, f"signal {int(number)}")
    assert line["level"] == "warn"
    assert clients[victim].wait_closed() and waiting[victim].answer is None
    for worker, client in clients.items():
        if worker != victim:
            env.assert_ok(client.receive_until(waiting[worker]))
            env.assert_ok(client.ask(f"after-{worker}.test"), 0.5)
    replacement, = set(running.workers()) - set(clients)
    env.assert_ok(processes.client_of(env, replacement).ask("replacement.test"), 0.5)
    assert len(running.lines("worker died")) == 1


@row("P-08")
def test_stuck_worker_is_replaced(env):
    running = processes.start_workers(env, env.upstream(), workers=2)
    stuck, other = running.workers()
    lost, client = processes.client_of(env, stuck), processes.client_of(env, other)
    begin = now()
    processes.pause(stuck)
    lost.send(Query("lost.test"))
    while stuck in running.workers():
        env.assert_ok(client.ask("kept.test"), 0.5)
        env.assert_ok(env.ask("new.test"), 0.5)
        assert now() < begin + 10
        time.sleep(0.02)
    assert now() - begin > 3
    env.within(6.5, begin)
    assert running.lines("worker stuck", pid=str(stuck))
    _died(running, stuck, "signal 9")
    lost.wait_closed()
    processes.wait_all_serving(running, 2, [stuck])


@row("P-08")
def test_frozen_container_does_not_kill_workers(env):
    """As with a paused container or a suspended machine."""
    running = processes.start_workers(env, env.upstream(), workers=2)
    workers = running.workers()
    for pid in (running.pid, *workers):
        processes.pause(pid)
    time.sleep(5.6)
    for pid in (running.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    _wait_ticks(running, 3)
    assert running.workers() == workers
    assert not running.lines("worker stuck") and not running.lines("worker died")


def _wait_ticks(running, count):
    """Waits until the supervisor has looked around so often, at every half second."""
    def switches():
        with open(f"/proc/{running.pid}/status") as file:
            return next(int(line.split()[1]) for line in file
                        if line.startswith("voluntary_ctxt_switches"))
    begin = switches()
    wait_until(lambda: switches() >= begin + count, 10, f"{count} ticks")


def _enough_memory(running):
    """Bytes of address space for all that the supervisor does, but not for a worker's queries."""
    with open(f"/proc/{running.pid}/status") as file:
        size = next(int(line.split()[1]) for line in file if line.startswith("VmSize:"))
    return size * 1024 + (32 << 20)


@row("P-09")
def test_workers_that_never_start(env):
    """There is memory for everything except a worker."""
    running = processes.start_workers(env, env.upstream())
    enough = _enough_memory(running)
    running.stop()
    again = env.proxy(*env.upstreams, workers=2, start=False, popen_args={
        "prefix": ("prlimit", f"--as={enough}:{enough}")})
    assert again.wait(10) == 1
    again.check_reports()
    begin = again.lines("listening")[0].at
    deaths = again.lines("worker died", cause="exit status 1")
    assert 2 <= len(deaths) <= 10
    env.within(5, begin, deaths[-1].at)
    assert again.lines("worker startup failed", cause="Cannot allocate memory")
    assert "no worker could start" in again.lines("cannot start")[-1]["cause"]
    assert not again.lines("serving")


@row("P-09")
@pytest.mark.parametrize("workers", [2, 12])
def test_workers_dying_at_start_do_not_storm(env, workers):
    """The supervisor keeps running, retries with backoff, and recovers."""
    server = env.upstream()
    running = processes.start_workers(env, server, workers=workers)
    env.assert_ok(env.ask())
    _wait_not_short_lived(running)
    was = resource.prlimit(running.pid, resource.RLIMIT_AS)
    resource.prlimit(running.pid, resource.RLIMIT_AS, (_enough_memory(running), was[1]))
    for pid in running.workers():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(running.lines("worker died", cause="exit status 1")) >= 10 + 2 * workers,
               20)
    # Each is replaced at once; those that die at their birth make ten starts a second at most.
    deaths = [line.at for line in running.lines("worker died", cause="exit status 1")]
    # A start takes until its death, and not always as long: longer under the sanitizers.
    uneven = 1.5 if env.sanitized else 0.5
    later = deaths[workers:]
    assert len(later) <= 10 * (later[-1] - later[0] + uneven), deaths
    resource.prlimit(running.pid, resource.RLIMIT_AS, was)
    processes.wait_all_serving(running, workers, seconds=21)
    env.assert_ok(env.ask("recovered.test"))


def _pause_after_starts(running, old, workers):
    """Begins a new generation, and halts the supervisor when five, but not all, are born."""
    for times in range(1, 21):
        os.kill(running.pid, signal.SIGHUP)
        limit = now() + 5
        while len(running.workers()) < len(old) + 5 and len(running.lines(REFUSED)) < times:
            assert now() < limit, running.log_text()
        processes.pause(running.pid)
        born = set(running.workers()) - old
        if 5 <= len(born) < workers:
            return born
        os.kill(running.pid, signal.SIGCONT)
        wait_until(lambda: len(running.lines(REFUSED)) == times, 5)
    raise AssertionError("all started before it was stopped")


@row("P-09")
def test_workers_dying_at_start_while_others_serve(env):
    """The first five new workers die while others serve and the supervisor is paused."""
    workers = 64
    running = processes.start_workers(env, env.upstream(), workers=workers, reload="signal")
    env.assert_ok(env.ask())
    old = set(running.workers())
    was = resource.prlimit(running.pid, resource.RLIMIT_AS)
    resource.prlimit(running.pid, resource.RLIMIT_AS, (_enough_memory(running), was[1]))
    born = _pause_after_starts(running, old, workers)
    wait_until(lambda: all(processes.state(pid) == "Z" for pid in born), 5, "they have died")
    resource.prlimit(running.pid, resource.RLIMIT_AS, was)
    refusals = len(running.lines(REFUSED))
    os.kill(running.pid, signal.SIGCONT)
    # Mostly other new workers serve before it checks; if not, the old workers continue.
    wait_until(lambda: running.lines(RELOADED) or len(running.lines(REFUSED)) > refusals, 10)
    processes.wait_all_serving(running, workers, seconds=20)
    env.assert_ok(env.ask("served.test"))


@row("P-09")
def test_stop_while_a_new_generation_dies_at_start(env):
    """Queries in flight are still answered."""
    workers = 64
    running = processes.start_workers(env, env.upstream(), workers=workers, reload="signal")
    client = env.client()
    asked, = client.send(Query("delay-700.in-hand.test"))
    wait_until(lambda: env.upstreams[0].queries, 2)
    old = set(running.workers())
    was = resource.prlimit(running.pid, resource.RLIMIT_AS)
    resource.prlimit(running.pid, resource.RLIMIT_AS, (_enough_memory(running), was[1]))
    born = _pause_after_starts(running, old, workers)
    wait_until(lambda: all(processes.state(pid) == "Z" for pid in born), 5, "they have died")
    os.kill(running.pid, signal.SIGTERM)
    os.kill(running.pid, signal.SIGCONT)
    env.assert_ok(client.receive_until(asked))
    assert running.wait() == 0, running.log_text()


@pytest.fixture
def limited(env):
    """The proxy with one worker, as an unused user; returns a setter of its RLIMIT_NPROC."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        env.directory = directory
        ca = shutil.copy(env.authority.path, directory)
        os.chmod(ca, 0o644)
        user = 50000 + os.getpid() % 10000
        running = processes.start_workers(
            env, env.upstream(), workers=1, tls={"ca_file": ca},
            popen_args={"user": user, "group": user, "extra_groups": []})

        def limit(soft):
            subprocess.run(["prlimit", f"--pid={running.pid}", f"--nproc={soft}:"], check=True,
                           user=user, group=user, extra_groups=[])
        yield running, limit


@row("P-27")
def test_failed_fork_is_retried_soon(env, limited):
    """Queries in between wait and are answered."""
    running, limit = limited
    _wait_not_short_lived(running)
    old = running.workers()
    limit(1)
    os.kill(old[0], signal.SIGKILL)
    line = running.wait_line("fork failed", cause="Resource temporarily unavailable")
    limit(200)
    assert line["level"] == "warn" and "TasksMax=" in line["remedy"]
    client = env.client()
    asked, = client.send(Query("meanwhile.test"))
    processes.wait_all_serving(running, 1, old)
    env.within(0.5, line.at)
    env.assert_ok(client.receive_until(asked))
    assert len(running.lines("fork failed")) == 1


@row("P-27")
def test_repeated_fork_failure_backs_off(env, limited):
    running, limit = limited
    uneven = 0.2 if env.sanitized else 0.05
    for name in "first", "second":      # the backoff starts again
        _wait_not_short_lived(running)
        old, before = running.workers(), len(running.lines("fork failed"))
        limit(1)
        os.kill(old[0], signal.SIGKILL)
        begin = now()
        wait_until(lambda before=before: len(running.lines("fork failed")) == before + 4, 5)
        limit(200)
        at = [line.at for line in running.lines("fork failed")[before:]]
        late = env.loop.late(begin, now())
        for pause, first, second in zip((0.2, 0.4, 0.8), at, at[1:]):
            # The first line may have been read late, as may the second.
            assert pause * 0.9 - late - uneven <= second - first \
                <= pause * 1.5 + 0.05 + late + uneven, at
        processes.wait_all_serving(running, 1, old)
        env.within(2.5, at[-1])
        env.assert_ok(env.ask(f"{name}.test"))


def _wait_not_short_lived(running):
    """Waits until no worker would count as one that died quickly."""
    def age(pid):
        with open(f"/proc/{pid}/stat") as file:
            started = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    wait_until(lambda: all(age(pid) > 1.02 for pid in running.workers()), 5,
               "they are a second old")


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


needs_namespace = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None,
                                     reason="needs root and unshare for a namespace")


def _start_as_pid_1(env):
    server = env.upstream()
    running = env.proxy(server, workers=2, start=False, popen_args={
        "prefix": ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")})
    running.start(probe=False)
    init, = running.workers()
    with open(f"/proc/{init}/status") as file:
        assert any(line.split() == ["NSpid:", str(init), "1"] for line in file)
    wait_until(lambda: len(_children(init)) == 2 and all(map(proxy.listens, _children(init))))
    return running, init


@row("P-10")
@needs_namespace
def test_pid_1_reaps_orphans(env):
    running, init = _start_as_pid_1(env)
    workers = _children(init)
    subprocess.run(["nsenter", "-t", str(init), "-p", "sh", "-c",
                    "for n in 1 2 3; do sleep 0.3 & done"], check=True)
    wait_until(lambda: len(_children(init)) == 5, 2, "the orphans are its children")
    wait_until(lambda: _children(init) == workers, 3, "the orphans are reaped")
    assert not running.lines("worker died")
    env.assert_ok(env.ask())
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: len(_children(init)) == 2 and workers[0] not in _children(init), 2)
    os.kill(init, signal.SIGTERM)
    assert running.wait() == 0


@table("number", ("P-10-SIGTERM", signal.SIGTERM), ("P-10-SIGINT", signal.SIGINT))
@needs_namespace
def test_pid_1_stops_on_signal(env, number):
    running, init = _start_as_pid_1(env)
    env.assert_ok(env.ask())
    begin = now()
    os.kill(init, number)
    assert running.wait() == 0
    env.within(1, begin)
    assert running.lines("stopped")


@row("P-11")
def test_20_workers_killed_at_once(env):
    running = processes.start_workers(env, env.upstream(), workers=20)
    _wait_not_short_lived(running)
    old = running.workers()
    # The supervisor sees them all at once, by one SIGCHLD.
    processes.pause(running.pid)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    begin = now()
    os.kill(running.pid, signal.SIGCONT)
    processes.wait_all_serving(running, 20, without=old)
    env.within(1, begin)
    assert sorted(int(line["pid"]) for line in running.lines("worker died")) == sorted(old)
    env.assert_ok(env.ask())


# The supervisor dies.


@row("P-15")
def test_workers_end_with_the_supervisor(env):
    """Their queries in flight are answered; then the port is free."""
    server = env.upstream()
    running = processes.start_workers(env, server, workers=3)
    clients = processes.one_each(env)
    asked = [client.send(Query(f"delay-300.{worker}.test"))[0]
             for worker, client in clients.items()]
    wait_until(lambda: len(server.queries) == 3)
    begin = now()
    running.process.kill()
    running.process.wait()
    for client, exchange in zip(clients.values(), asked):
        env.assert_ok(client.receive_until(exchange))
        client.wait_closed()
    wait_until(lambda: not any(map(_is_running, clients)), 5, "all workers end")
    env.within(1, begin)
    again = proxy.Proxy(env.config_path, running.address, env.loop)
    env.proxies.append(again)
    again.start()
    env.assert_ok(env.ask("again.test"))
    processes.wait_all_serving(again, 3)
    again._record_usage()


def _is_running(pid):
    """Whether the process still runs; a zombie does not count."""
    try:
        return processes.state(pid) != "Z"
    except FileNotFoundError:
        return False


@row("P-15")
def test_port_is_free_after_supervisor_death_with_idle_clients(env):
    running = processes.start_workers(env, env.upstream(), timeouts={"client_idle": "20s"})
    for client in processes.one_each(env).values():
        env.assert_ok(client.ask())
    begin = now()
    running.process.kill()
    running.process.wait()
    wait_until(lambda: _can_bind(running.address), 3, "the port is free")
    env.within(1, begin)
    for client in env.clients:
        client.wait_closed()


def _can_bind(address):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen()
        except OSError:
            return False
    return True


# Signals, descriptors and the log, with several workers.


@table("number", ("P-19-SIGTERM", signal.SIGTERM), ("P-19-SIGINT", signal.SIGINT))
def test_stop_with_queries_in_flight_at_each_worker(env, number):
    server = env.upstream()
    running = processes.start_workers(env, server, workers=3)
    clients = list(processes.one_each(env).values())
    for n, client in enumerate(clients):
        client.send(*[Query(f"delay-300.n{n}-{m}.test") for m in range(34)])
    wait_until(lambda: len(server.queries) == 102)
    begin = now()
    running.signal(number)
    for client in clients:
        client.receive_all()
        client.wait_closed()
    assert running.wait() == 0
    env.within(2, begin)
    running.check_reports()
    assert all(e.answer.is_correct for client in clients for e in client.exchanges)
    assert not running.lines("worker died")
    assert len(running.lines("stopped")) == 1


@row("P-19")
def test_second_sigterm_stops_all_workers_at_once(env):
    server = env.upstream(faults.never_answer)
    running = processes.start_workers(env, server, workers=3,
                                      timeouts={"query": "8s", "answer": "8s"})
    workers = running.workers()
    for client in processes.one_each(env).values():
        client.send(Query())
    wait_until(lambda: len(server.queries) == 3)
    running.signal(signal.SIGTERM)
    begin = now()
    running.signal(signal.SIGTERM)
    running.wait()
    env.within(0.5, begin)
    assert not any(map(_is_running, workers))
    for client in env.clients:
        client.close()


@row("P-19")
def test_stop_does_not_wait_for_a_stuck_worker(env):
    running = processes.start_workers(env, env.upstream(), workers=2, timeouts={"query": "1s"})
    processes.pause(running.workers()[0])
    begin = now()
    running.signal(signal.SIGTERM)
    running.wait(5)
    env.within(2, begin)


@table("number", *((f"P-20-{name}", getattr(signal, name)) for name in
                   ("SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCONT",
                    "SIGWINCH", "SIGCHLD", "SIGIO", "SIGRTMIN")))
def test_signals_ignored_by_workers(env, number):
    running = processes.start_workers(env, env.upstream(), workers=2)
    clients = processes.one_each(env)
    for _ in range(3):
        for worker, client in clients.items():
            os.kill(worker, number)
            env.assert_ok(client.ask(f"{worker}.test"), 0.5)
    assert running.workers() == list(clients)
    assert not running.lines("worker died")


@table("number", ("P-20-SIGTERM", signal.SIGTERM), ("P-20-SIGQUIT", signal.SIGQUIT))
def test_terminated_worker_is_replaced(env, number):
    """Its queries in flight are answered first."""
    server = env.upstream()
    running = processes.start_workers(env, server, workers=2)
    told = running.workers()[0]
    client = processes.client_of(env, told)
    asked, = client.send(Query("delay-200.test"))
    wait_until(lambda: server.queries)
    os.kill(told, number)
    env.assert_ok(client.receive_until(asked))
    client.wait_closed()
    processes.wait_all_serving(running, 2, [told])
    _died(running, told, "exit status 0")


@table("number", *((f"P-20-{name}", getattr(signal, name)) for name in
                   ("SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCONT", "SIGQUIT", "SIGIO")))
def test_signals_ignored_by_the_service(env, number):
    running = processes.start_workers(env, env.upstream(), workers=2)
    workers = running.workers()
    client = env.client()
    for n in range(10):
        running.signal(number)
        env.assert_ok(client.ask(f"n{n}.test"), 0.5)
    assert running.alive and running.workers() == workers


@table("closed", ("P-18-stdin-stdout", "<&- >&-"), ("P-18-all", "<&- >&- 2>&-"))
def test_standard_descriptors_are_not_sockets_in_a_worker(env, closed):
    running = processes.start_workers(env, env.upstream(), workers=3, popen_args={
        "prefix": ("sh", "-c", f'exec "$@" {closed}', "sh")})
    for client in processes.one_each(env).values():
        env.assert_ok(client.ask())
    killed = running.workers()[0]
    os.kill(killed, signal.SIGKILL)
    for pid in processes.wait_all_serving(running, 3, [killed]):
        for number in range(3):
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            assert not target.startswith(("socket:", "anon_inode:")), f"{number} is {target}"


@row("P-17")
def test_full_log_pipe_does_not_block_workers(env):
    """With a full pipe, workers are still replaced and the configuration is still reloaded."""
    a, b = env.pair(faults.refuse)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    running = processes.start_workers(env, a, b, workers=2, log={"level": "debug", "queries": True},
                         popen_args={"prefix": ("sh", "-c", f'exec "$@" 2>/dev/fd/{writing}',
                                                "sh"), "pass_fds": [writing]})
    os.close(writing)
    for round in range(2):
        old = running.workers()
        for client in processes.one_each(env).values():
            for n in range(10):
                env.assert_ok(client.ask(f"n{n}.test"), 1)
        if round == 0:
            os.kill(old[0], signal.SIGKILL)
            processes.wait_all_serving(running, 2, old[:1])
        else:
            running.signal(signal.SIGHUP)
            processes.wait_all_serving(running, 2, old)
    env.assert_ok(env.ask("again.test"))
    os.close(reading)
