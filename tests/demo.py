#!/usr/bin/python3
"""Shows dot-proxy at work, without the internet: `make demo` runs this after building."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

import certs        # noqa: E402
import clock        # noqa: E402
import dnsmsg       # noqa: E402
import proxy        # noqa: E402
import upstream     # noqa: E402

NAME = "www.example.test"


def say(text=""):
    print(text, flush=True)


def title(text):
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    say(f"\n{bold}{text}{plain}")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def show(running, server, directory):
    command = ["dig", "+tcp", "@127.0.0.1", "-p", str(running.address[1]), NAME, "A",
               "+noall", "+comments", "+question", "+answer", "+stats", "+tries=1", "+time=5"]
    title("$ " + shlex.join(command[:7]))
    done = subprocess.run(command, capture_output=True, text=True, timeout=8)
    say("\n".join("  " + line for line in done.stdout.splitlines()
                  if line and not line.startswith(("; <<>>", ";; Got", "; EDNS"))))
    expected = ".".join(map(str, dnsmsg.rdata_for(dnsmsg.labels(NAME), dnsmsg.A)))
    if done.returncode != 0 or expected not in done.stdout or not server.queries:
        say(f"dig failed:\n{done.stdout}{done.stderr}\n{running.log_text()}")
        return 1
    query = server.queries[0]
    facts = query.connection.facts
    title("What the upstream saw")
    say(f"  a connection to {server.address}:{server.port} whose first octet was "
        f"{query.connection.first_octet:#04x}: a TLS handshake, no cleartext")
    say(f"  {facts['version']}, asked for the name {facts['sni']}; the certificate is by "
        f"{os.path.relpath(server.authority.path, directory)}, made a moment ago")
    say(f"  then {len(query.seen.wire)} octets of DNS inside of it: {query.name}, type A")
    return 0


def main():
    if shutil.which("dig") is None:
        say("The demo needs dig (Debian: bind9-dnsutils); `make deps' installs it.")
        return 1
    loop = clock.Loop()
    authority = certs.Authority("dot-proxy demo")
    server = upstream.Upstream(loop, authority, address="127.0.0.2")
    with tempfile.TemporaryDirectory(prefix="dot-proxy-demo-") as directory:
        shutil.copy(authority.path, os.path.join(directory, "ca.pem"))
        address = "127.0.0.1", free_port()
        config = proxy.write_config(os.path.join(directory, "config.yml"), {
            "listen": f"{address[0]}:{address[1]}", "upstreams": [server.config()],
            "tls": {"ca_file": os.path.join(directory, "ca.pem")}, "log": {"level": "debug"}})
        title("The configuration: one upstream, verified by a throw-away CA")
        with open(config) as file:
            say("".join("  " + line for line in file).rstrip())
        running = proxy.Proxy(config, address, loop)
        try:
            running.start(probe=False)
            status = show(running, server, directory)
            running.stop()
        finally:
            running.kill()
            server.close()
            loop.close()
        title("What dot-proxy said")
        say("\n".join("  " + line.text for line in running.log))
        say()
    return status


if __name__ == "__main__":
    sys.exit(main())
