"""Checks of upstreams that went down or recovered."""

from clock import now, wait_until


def went_down(proxy, upstream, *words, seconds=3):
    """The only log line of it (promise O7), with the upstream, the step and the cause."""
    line = proxy.wait_line("upstream down", seconds, upstream=upstream.name)
    assert line.get("level") == "warn", line.text
    for word in words:
        assert word.lower() in line.get("cause", "").lower(), line.text
    return line


def times_down(proxy, upstream):
    return len(proxy.lines("upstream down", upstream=upstream.name))


def ask_until(env, condition, seconds=4, what="the condition"):
    """Sends one query after another, all of which must be answered correctly."""
    limit, asked = now() + seconds, 0
    while not condition():
        assert now() < limit, f"not within {seconds} s: {what}\n{env.proxies[-1].log_text()}"
        env.assert_ok(env.ask(f"until-{asked}.test"))
        asked += 1
    return asked


def wait_back(env, upstream, seconds=4):
    """Sends queries until the only log line of its recovery; the proxy sends no probes."""
    running = env.proxies[-1]
    ask_until(env, lambda: running.lines("upstream back", upstream=upstream.name), seconds,
              f"{upstream.name} is back")
    assert len(running.lines("upstream back", upstream=upstream.name)) == 1


def wait_idle_end(upstream, seconds=3):
    """Waits until the upstream has no connections."""
    wait_until(lambda: not upstream.open_connections, seconds, "the upstream's connections end")
