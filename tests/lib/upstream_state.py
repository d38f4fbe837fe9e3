"""What tests ask about an upstream that went down or came back."""

from clock import now, wait_until


def went_down(proxy, upstream, *words, seconds=3):
    """The one line that says so (promise O7): it names the upstream, the step and the reason."""
    line = proxy.wait_line("upstream down", seconds, upstream=upstream.name)
    assert line.get("level") == "warn", line.text
    for word in words:
        assert word.lower() in line.get("cause", "").lower(), line.text
    return line


def times_down(proxy, upstream):
    return len(proxy.lines("upstream down", upstream=upstream.name))


def ask_until(env, condition, seconds=4, what="the condition"):
    """Asks one query after another, all of which must be answered rightly."""
    limit, asked = now() + seconds, 0
    while not condition():
        assert now() < limit, f"not within {seconds} s: {what}\n{env.proxies[-1].log_text()}"
        env.assert_ok(env.ask(f"until-{asked}.test"))
        asked += 1
    return asked


def comes_back(env, upstream, seconds=4):
    """Asks on until the one line says that it is back; queries tell, not probes."""
    running = env.proxies[-1]
    ask_until(env, lambda: running.lines("upstream back", upstream=upstream.name), seconds,
              f"{upstream.name} is back")
    assert len(running.lines("upstream back", upstream=upstream.name)) == 1


def wait_idle_end(upstream, seconds=3):
    """Waits until the upstream has no connection any more."""
    wait_until(lambda: not upstream.open_connections, seconds, "the upstream's connections end")
