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

NAME = "www.example.com"
CONFIG = """\
listen: {listen}
upstreams:
  - address: {address}
    port: {port}
    hostname: {hostname}
tls:
  ca_file: {directory}/ca.pem
log:
  queries: true
"""


def say(text=""):
    print(text, flush=True)


def title(text):
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    say(f"\n{bold}{text}{plain}")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def show(running, server):
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
    say(f"  a connection to {server.address}:{server.port} whose first byte was "
        f"{query.connection.first_byte:#04x}: a TLS handshake, no cleartext")
    say(f"  {facts['version']} for the server name {facts['sni']}, then inside of it "
        f"{len(query.seen.wire)} bytes of DNS: {query.name}, type A")
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
        config = os.path.join(directory, "config.yml")
        text = CONFIG.format(listen="{}:{}".format(*address), directory=directory,
                             **server.config())
        with open(config, "w") as file:
            file.write(text)
        title("The configuration: one upstream, verified by a throw-away CA")
        say("".join("  " + line for line in text.splitlines(True)).rstrip())
        running = proxy.Proxy(config, address, loop)
        try:
            running.start(probe=False)
            status = show(running, server)
            running.stop()
        finally:
            running.kill()
            server.close()
            loop.close()
        title("What dot-proxy did")
        for line in running.lines("upstream connected"):
            say(f"  asked {line['upstream']} over {line['tls']}, {line['cipher']}")
            say(f"  verified: the certificate is for {line['certificate']}, good until "
                f"{line['until']}, and by one of {line['trust']}")
        title("Its log")
        say("\n".join("  " + line.text for line in running.log))
        say()
    return status


if __name__ == "__main__":
    sys.exit(main())
