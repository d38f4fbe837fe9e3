"""
Real resolvers that forward to the proxy over UDP, and are queried over UDP. They run in the
network namespace of the env.
"""

import os
import shutil
import subprocess

import dns.exception
import dns.message
import dns.query
import netns
from clock import wait_until

# Where tests/deps has unpacked it.
RESOLVED = "/var/cache/dot-proxy-tests/systemd-resolved"


class Forwarder:
    """Serves when this returns."""

    def __init__(self, env, directory):
        self._namespace = env.namespace
        self._log_path = directory / "forwarder.log"
        self.address, command = self._configure(env, directory, *env.proxies[-1].address)
        with open(self._log_path, "wb") as log:
            self._process = env._popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        env.others.append(self)
        wait_until(self._serves, 10, f"{type(self).__name__} forwards")

    def _configure(self, env, directory, host, port):
        """The address to serve at, and the command that makes it forward to the proxy."""
        raise NotImplementedError

    def _serves(self):
        assert self._process.poll() is None, self._log_path.read_text()
        try:
            return self.ask("warm.test", "A", 0.2)[0].answer
        except (dns.exception.Timeout, OSError):
            return False

    def ask(self, name, qtype, seconds=5):
        """The answer, and whether it was too large for UDP and is that by TCP."""
        query = dns.message.make_query(name, qtype, use_edns=True, payload=1232)
        host, port = self.address
        return self._namespace.call(dns.query.udp_with_fallback, query, host, seconds, port)

    def stop(self):
        self._process.kill()
        self._process.wait()

    def close(self):
        self.stop()
        print(f"The log of {type(self).__name__}:\n{self._log_path.read_text()}")


class Unbound(Forwarder):
    def _configure(self, env, directory, host, port):
        own_host, own_port = env.free_address("127.0.0.1")
        path = directory / "forwarder.conf"
        path.write_text(f"""
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  use-syslog: no
  interface: {own_host}@{own_port}
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {host}@{port}
""")
        return (own_host, own_port), ["unbound", "-d", "-p", "-c", path]


class Resolved(Forwarder):
    """
    systemd-resolved, without systemd and D-Bus. It drops its privileges, so it needs the user
    that its package creates, and it sends no query while loopback is the only network.
    """

    host = "127.0.0.53"

    def _configure(self, env, directory, host, port):
        self._lan = self._namespace.tun("lan", "10.78.0.1/32", "10.78.0.2")
        program = shutil.which("systemd-resolved",
                               path=f"{RESOLVED}/lib/systemd:{RESOLVED}/usr/lib/systemd")
        assert program, "systemd-resolved is not there: run tests/deps"
        library = next(path for path, _, files in os.walk(RESOLVED)
                       if any(name.startswith("libsystemd-shared") for name in files))
        files = {"passwd": "root:x:0:0::/:/bin/sh\nsystemd-resolve:x:990:990::/:/bin/sh\n",
                 "group": "root:x:0:\nsystemd-resolve:x:990:\n",
                 "systemd/resolved.conf": f"""
[Resolve]
DNS={host}:{port}
FallbackDNS=
Domains=~.
LLMNR=no
MulticastDNS=no
DNSSEC=no
DNSOverTLS=no
Cache=no
ReadEtcHosts=no
"""}
        start = ("mount -t tmpfs run /run && mkdir -p /run/systemd/resolve && "
                 'chown 990:990 /run/systemd/resolve && LD_LIBRARY_PATH="$1" exec "$2"')
        return (self.host, 53), [*netns.with_own_etc(directory / "etc", files),
                                 "sh", "-c", start, "sh", library, program]

    def close(self):
        super().close()
        os.close(self._lan)


class ResolvedAsProxy(Resolved):
    """Its other address, where it hands over messages as they are."""

    host = "127.0.0.54"
