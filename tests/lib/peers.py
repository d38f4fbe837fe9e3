"""
Real servers and clients: unbound and knot-resolver as upstreams, and the data for tests with real
clients.
"""

import os
import signal
import socket
import ssl
import subprocess

import dns.dnssec
import dns.name
import dns.rrset
import dnsmsg
import sockdiag
import upstream
from clock import wait_until
from cryptography.hazmat.primitives.asymmetric import ec

# The zone of every peer: names, types, and the number of records besides the expected one.
NAMES = ["canary.test", "example.test", *(f"n{n}.test" for n in range(300))]
LARGE = "large.test"
ZONE = {(name, rtype): 0 for name in NAMES for rtype in (dnsmsg.A, dnsmsg.AAAA)}
ZONE |= {(LARGE, dnsmsg.TXT): 30, ("huge.test", dnsmsg.TXT): 240}


def rdatas(name, rtype):
    """The expected answer, and records of 250 bytes to make it large."""
    fill = [bytes([249]) + f"{n:03}".encode() * 83 for n in range(ZONE[name, rtype])]
    return [dnsmsg.rdata_for(dnsmsg.labels(name), rtype), *fill]


class Peer:
    """
    A real DNS server with TLS and its own zone. The env treats it as an upstream, but it has no
    scripted faults.
    """

    def __init__(self, authority, directory, hostname="dot.test"):
        self.hostname = hostname
        self.address = upstream.own_address()
        with socket.socket() as sock:
            sock.bind((self.address, 0))
            self.port = sock.getsockname()[1]
        self._context = ssl.create_default_context(cafile=authority.path)
        self.identity = authority.identity(dns=[hostname])
        self.connections = []           # not visible in a real server
        self.errors = []
        self.cleartext = False
        self.arrived = []               # not visible either
        self.log_path = os.path.join(directory, "log")
        self._directory = directory
        self.command = self._configure(directory)
        self.process = None

    def _configure(self, directory):
        raise NotImplementedError

    def start(self):
        """Returns when it serves."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self._directory, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._serves, 15, f"{self.command[0]} serves")

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.command[0]} ended:\n{self.log()}")
        try:
            with socket.create_connection((self.address, self.port), 5) as sock, \
                    self._context.wrap_socket(sock, server_hostname=self.hostname):
                return True
        except ConnectionRefusedError:
            return False

    def log(self):
        with open(self.log_path) as file:
            return file.read()

    @property
    def name(self):
        return f"{self.address}:{self.port} {self.hostname}"

    @property
    def open_connections(self):
        """As the kernel reports them at the server's end."""
        return sockdiag.connections((self.address, self.port))

    def config(self, **changes):
        return {"address": self.address, "port": self.port, "hostname": self.hostname, **changes}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def restart(self):
        assert self.process.poll() is None, f"{self.command[0]} ended:\n{self.log()}"
        self.stop()
        self.start()

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            print(f"The log of {self.command[0]}:\n{self.log()}")

    def write(self, name, text):
        path = os.path.join(self._directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path


class Unbound(Peer):
    idle_ms = 30000

    def _configure(self, directory):
        data = "".join(f'  local-data: "{_generic(name, rtype, rdata)}"\n'
                       for name, rtype in ZONE for rdata in rdatas(name, rtype))
        return ["unbound", "-d", "-p", "-c", self.write("unbound.conf", f"""
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  use-syslog: no
  interface: {self.address}@{self.port}
  tls-port: {self.port}
  tls-service-key: {self.identity.path}
  tls-service-pem: {self.identity.path}
  tcp-idle-timeout: {self.idle_ms}
  do-not-query-address: 0.0.0.0/0
  do-not-query-address: ::/0
  module-config: "{self.modules}"
  local-zone: "test." static
  local-data: "test. {dnsmsg.TTL} IN SOA ns.test. host.test. 1 3600 600 86400 300"
{data}{self.server_options()}
remote-control:
  control-enable: no
{self.other_options()}""")]

    modules = "iterator"

    def server_options(self):
        return ""

    def other_options(self):
        return ""


class ImpatientUnbound(Unbound):
    """Closes connections that are idle for 200 ms."""

    idle_ms = 200


class ValidatingUnbound(Unbound):
    """Validates two zones with trust anchors. One of them has wrong signatures."""

    modules = "validator iterator"

    def server_options(self):
        zones = [SignedZone("signed.example"), SignedZone("bogus.example", spoilt=True)]
        self._zones = [(zone.name, self.write(f"{zone.name}.zone", zone.text)) for zone in zones]
        return "  ede: yes\n  trust-anchor-signaling: no\n" + "".join(
            f'  trust-anchor: "{zone.anchor}"\n' for zone in zones)

    def other_options(self):
        return "".join(f'auth-zone:\n  name: "{name}"\n  zonefile: "{path}"\n'
                       "  for-downstream: no\n  for-upstream: yes\n" for name, path in self._zones)


class KnotResolver(Peer):
    def _configure(self, directory):
        rules = []
        for name in sorted({name for name, _ in ZONE}):
            answers = ", ".join(
                f"[{rtype}] = {{ttl = {dnsmsg.TTL}, rdata = {{{_lua(name, rtype)}}}}}"
                for owner, rtype in ZONE if owner == name)
            rules.append(f"policy.add(policy.domains(policy.ANSWER({{{answers}}}), "
                         f"{{todname('{name}')}}))\n")
        return ["kresd", "-n", "-c", self.write("kresd.conf", f"""
net.tls('{self.identity.path}', '{self.identity.path}')
-- It is alone in the world.
trust_anchors.remove('.')
for _, name in ipairs({{'ta_signal_query', 'ta_update', 'priming', 'detect_time_skew'}}) do
	modules.unload(name)
end
cache.size = 1 * MB
{"".join(rules)}policy.add(policy.all(policy.DENY))
net.listen('{self.address}', {self.port}, {{kind = 'tls'}})
"""), directory]


def _generic(name, rtype, rdata):
    """A record of any type as text (RFC 3597)."""
    return f"{name}. {dnsmsg.TTL} IN TYPE{rtype} \\# {len(rdata)} {rdata.hex()}"


def _lua(name, rtype):
    return ", ".join("'" + "".join(f"\\x{byte:02x}" for byte in rdata) + "'"
                     for rdata in rdatas(name, rtype))


class SignedZone:
    """A zone with a host `www`, signed with one key; `spoilt` makes the signatures of www wrong."""

    def __init__(self, name, spoilt=False):
        self.name = name
        self._apex = dns.name.from_text(name)
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._key = dns.dnssec.make_dnskey(self._private.public_key(), "ECDSAP256SHA256",
                                           flags=257)
        self.anchor = f"{name}. IN DS " + dns.dnssec.make_ds(self._apex, self._key,
                                                             "SHA256").to_text()
        www = f"www.{name}."
        address = ".".join(map(str, dnsmsg.rdata_for(dnsmsg.labels(www), dnsmsg.A)))
        self.text = "\n".join([
            self._signed(f"{name}.", "SOA", f"ns.{name}. host.{name}. 1 3600 600 86400 300"),
            self._signed(f"{name}.", "NS", f"ns.{name}."),
            self._signed(f"{name}.", "DNSKEY", self._key.to_text()),
            self._signed(www, "A", "192.0.2.66" if spoilt else address)]) + "\n"
        if spoilt:
            self.text = self.text.replace("192.0.2.66", address)

    def _signed(self, owner, rtype, rdata):
        rrset = dns.rrset.from_text(owner, dnsmsg.TTL, "IN", rtype, rdata)
        signature = dns.dnssec.sign(rrset, self._private, self._apex, self._key, lifetime=86400)
        return f"{rrset.to_text()}\n{owner} {dnsmsg.TTL} IN RRSIG {signature.to_text()}"
