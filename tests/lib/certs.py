"""A throw-away certificate authority, and certificates with every fault of group T."""

import datetime
import functools
import ipaddress
import itertools
import os
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOSTNAME = "dot.test"

DAY = datetime.timedelta(days=1)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)

_numbers = itertools.count(1)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificates):
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


class Identity:
    """A private key and the certificate chain of a server."""

    def __init__(self, key, chain):
        self.key = key
        self.chain = chain

    def with_bytes(self, text, data):
        """
        A copy in which DATA replace TEXT in the leaf certificate. The signature becomes
        invalid, which is checked last.
        """
        assert len(text) == len(data)
        own = self.chain[0].public_bytes(serialization.Encoding.DER)
        assert text.encode() in own
        if len(text) < 128:
            # OpenSSL reads no UTF8String that is none; a TeletexString may hold anything.
            head = bytes([len(text)]) + text.encode()
            own = own.replace(b"\x0c" + head, b"\x14" + head)
        return Identity(self.key, [x509.load_der_x509_certificate(
            own.replace(text.encode(), data)), *self.chain[1:]])

    @functools.cached_property
    def path(self):
        """A file with the key and the chain, as a server loads it."""
        key = self.key.private_bytes(serialization.Encoding.PEM,
                                     serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption())
        return _write(key + _pem(self.chain))


@functools.cache
def _directory():
    holder = tempfile.TemporaryDirectory(prefix="dot-proxy-certs-")
    _directory.holder = holder      # removed when the interpreter ends
    return holder.name


def _write(data):
    path = os.path.join(_directory(), f"{next(_numbers)}.pem")
    with open(path, "wb") as file:
        file.write(data)
    return path


def trust_file(*authorities):
    """A file with the certificates of several authorities, in that order."""
    return _write(_pem([authority.certificate for authority in authorities]))


class Authority:
    """Signs certificates; itself a root, or signed by another authority."""

    def __init__(self, name="dot-proxy tests", above=None, key=None, **faults):
        self.key = key or new_key()
        self.text = name
        self.name = _name(name)
        self.above = above
        signer = above or self
        faults.setdefault("ca", True)
        self.certificate = signer.sign(self.name, self.key, usage=None, **faults)

    @functools.cached_property
    def path(self):
        """The trust file: this authority's certificate in PEM."""
        return _write(_pem([self.certificate]))

    def sign(self, subject, key, *, dns=(), ip=(), ca=None, path_length=None, permitted=(),
             usage=SERVER, begin=-DAY, end=30 * DAY, digest=None):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder()
                   .subject_name(subject)
                   .issuer_name(self.name)
                   .public_key(key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now + begin)
                   .not_valid_after(now + end))
        if dns or ip:
            builder = builder.add_extension(x509.SubjectAlternativeName(
                [x509.DNSName(name) for name in dns]
                + [x509.IPAddress(ipaddress.ip_address(address)) for address in ip]), False)
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, path_length), True)
        if permitted:
            builder = builder.add_extension(x509.NameConstraints(
                [x509.DNSName(name) for name in permitted], None), True)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), False)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        return builder.sign(self.key, digest or hashes.SHA256())

    def identity(self, *, key=None, name="a DNS server", present=True, **faults):
        """An identity signed by this authority, with the intermediates up to the root."""
        key = key or new_key()
        chain = [self.sign(_name(name), key, **faults)]
        authority = self
        while present and authority.above is not None:
            chain.append(authority.certificate)
            authority = authority.above
        return Identity(key, chain)

    def below(self, **faults):
        """An intermediate authority."""
        return Authority(f"dot-proxy tests, below {next(_numbers)}", above=self, **faults)


def self_signed(dns=(HOSTNAME,)):
    """A self-signed certificate that is in no trust file."""
    authority = Authority(HOSTNAME, ca=None, dns=dns)
    return Identity(authority.key, [authority.certificate])


def reversed_chain(identity):
    """The leaf certificate first, as it must be, the others in reverse order."""
    return Identity(identity.key, identity.chain[:1] + identity.chain[:0:-1])


# The identities of group T that must be rejected when HOSTNAME is expected.
# Each is made of the authority that the proxy trusts.
REJECTED = {
    "T-01": lambda ca: ca.identity(dns=["other.test"]),
    "T-02": lambda ca: ca.identity(dns=[HOSTNAME], begin=-30 * DAY, end=-DAY),
    "T-03": lambda ca: ca.identity(dns=[HOSTNAME], begin=DAY),
    "T-04": lambda ca: self_signed(),
    "T-05": lambda ca: Authority("some other authority").identity(dns=[HOSTNAME]),
    "T-06": lambda ca: ca.identity(name=HOSTNAME),
    "T-07": lambda ca: ca.identity(dns=["d*.test"]),
    "T-10-missing-intermediate": lambda ca: ca.below().identity(dns=[HOSTNAME], present=False),
    "T-11-intermediate-is-no-ca": lambda ca: ca.below(ca=False).identity(dns=[HOSTNAME]),
    "T-11-path-length": lambda ca: ca.below(path_length=0).below().identity(dns=[HOSTNAME]),
    "T-11-name-constraints":
        lambda ca: ca.below(permitted=["other.test"]).identity(dns=[HOSTNAME]),
    "T-12": lambda ca: ca.identity(dns=[HOSTNAME], usage=CLIENT),
    "T-13-rsa-1024":
        lambda ca: ca.identity(dns=[HOSTNAME], key=rsa.generate_private_key(65537, 1024)),
    "T-13-sha-1": lambda ca: ca.identity(dns=[HOSTNAME], digest=hashes.SHA1()),
    "T-13-md5": lambda ca: ca.below(key=rsa.generate_private_key(65537, 2048)).identity(
        dns=[HOSTNAME], digest=hashes.MD5()),
}


def huge(ca):
    """Valid, with 10,000 additional names."""
    return ca.identity(dns=[HOSTNAME] + [f"name-{n}.test" for n in range(10000)])


def long_chain(ca):
    """Valid, with about 100 kB of unneeded certificates."""
    identity = ca.identity(dns=[HOSTNAME])
    other = ca.identity(dns=[f"name-{n}.test" for n in range(400)]).chain
    return Identity(identity.key, identity.chain + other * 16)
