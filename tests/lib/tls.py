"""
The server side of TLS over memory buffers, so that the caller decides when and in which pieces
bytes are sent. Two implementations of one interface: the ssl module, and pyOpenSSL for features
that only OpenSSL has.
"""

import ctypes
import ctypes.util
import dataclasses
import ssl
import struct

from OpenSSL import SSL

ALPN = "dot"


class Ended(Exception):
    """The peer has ended the connection: `how` is "close_notify", "eof" or an error's text."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a server speaks TLS."""

    newest: str = "1.3"
    oldest: str = "1.2"
    tickets: int = 2
    wants_client_certificate: str = None        # the file of the authorities to name
    unknown_name: bool = False                  # answer any SNI with unrecognized_name
    raw: bool = False                           # by OpenSSL itself: renegotiation, KeyUpdate
    protocol: str = ALPN                        # what raw TLS chooses; None: it sends an alert
    ticket_padding: int = 0                     # bytes by which raw TLS makes its tickets larger
    ticket_seconds: int = 7200                  # how long a session of raw TLS may be resumed


VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1,
            "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(settings, identity):
    make = _raw_context if settings.raw else _context
    return make(settings, identity)


def _context(settings, identity):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # So that the server can present certificates that must be rejected.
    made.set_ciphers("ALL:@SECLEVEL=0")
    made.minimum_version = VERSIONS[settings.oldest]
    made.maximum_version = VERSIONS[settings.newest]
    made.load_cert_chain(identity.path)
    made.num_tickets = settings.tickets
    made.set_alpn_protocols([ALPN])
    made.sni_callback = lambda sslobject, name, _: _remember(sslobject, name, settings)
    if settings.wants_client_certificate:
        made.verify_mode = ssl.CERT_OPTIONAL
        made.load_verify_locations(settings.wants_client_certificate)
    return made


def _remember(sslobject, name, settings):
    sslobject.sni = name
    return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if settings.unknown_name else None


def _raw_context(settings, identity):
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.use_certificate_chain_file(identity.path)
    made.use_privatekey_file(identity.path)
    made.set_max_proto_version(int(VERSIONS[settings.newest]))
    made.set_alpn_select_callback(lambda *_: _choose(settings))
    made.set_timeout(settings.ticket_seconds)
    if settings.ticket_padding:
        _pad_tickets(made, settings.ticket_padding)
    return made


def _pad_tickets(made, count):
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def generate(ssl_pointer, _):
        return _libssl.SSL_SESSION_set1_ticket_appdata(
            ctypes.c_void_p(_libssl.SSL_get_session(ctypes.c_void_p(ssl_pointer))),
            bytes(count), ctypes.c_size_t(count))

    made.pad_tickets = generate         # kept for as long as OpenSSL may call it
    pointer = int(SSL._ffi.cast("uintptr_t", made._context))
    assert _libssl.SSL_CTX_set_session_ticket_cb(ctypes.c_void_p(pointer), generate, None, None)


def _choose(settings):
    if settings.protocol is None:
        raise SSL.Error("no protocol that it speaks")
    return settings.protocol.encode()


def session(made):
    return _RawSession(made) if isinstance(made, SSL.Context) else _Session(made)


class _Session:
    def __init__(self, made):
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._ssl = made.wrap_bio(self._in, self._out, server_side=True)
        self._ssl.sni = None

    def feed(self, data):
        """Bytes from the wire; none mean its end."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def pending(self):
        """Bytes that wait to be sent."""
        return self._out.read()

    def handshake(self):
        """True when it is done, False when it needs more bytes."""
        return self._try(self._ssl.do_handshake) is not _MORE

    def read(self):
        """What one record holds, or None when there is none yet."""
        data = self._try(self._ssl.read, 65536)
        if data == b"":
            raise Ended("close_notify")
        return None if data is _MORE else data

    def write(self, data):
        self._ssl.write(data)

    def close_notify(self):
        try:
            self._ssl.unwrap()
        except ssl.SSLError:
            pass

    def _try(self, call, *args):
        try:
            return call(*args)
        except ssl.SSLWantReadError:
            return _MORE
        except ssl.SSLZeroReturnError:
            raise Ended("close_notify") from None
        except ssl.SSLEOFError:
            raise Ended("eof") from None
        except ssl.SSLError as error:
            raise Ended(error.reason or str(error)) from None

    @property
    def facts(self):
        """What the handshake settled."""
        return {"version": self._ssl.version(), "resumed": self._ssl.session_reused,
                "alpn": self._ssl.selected_alpn_protocol(), "sni": self._ssl.sni}


_MORE = object()
_libssl = ctypes.CDLL(ctypes.util.find_library("ssl") or "libssl.so.3")
_libssl.SSL_get_session.restype = ctypes.c_void_p


class _RawSession:
    def __init__(self, made):
        self._ssl = SSL.Connection(made, None)
        self._ssl.set_accept_state()
        self._ended = False

    def feed(self, data):
        if data:
            self._ssl.bio_write(data)
        else:
            self._ended = True

    def pending(self):
        data = b""
        while True:
            try:
                data += self._ssl.bio_read(65536)
            except SSL.Error:
                return data

    def handshake(self):
        return self._try(self._ssl.do_handshake) is not _MORE

    def read(self):
        data = self._try(self._ssl.recv, 65536)
        return None if data is _MORE else data

    def write(self, data):
        self._ssl.send(data)

    def close_notify(self):
        try:
            self._ssl.shutdown()
        except SSL.Error:
            pass

    def renegotiate(self):
        """Requests a new handshake (TLS 1.2)."""
        self._ssl.renegotiate()
        self._try(self._ssl.do_handshake)

    def update_key(self):
        """Requests new keys in both directions (TLS 1.3)."""
        assert _libssl.SSL_key_update(self._pointer, 1) == 1
        self._try(self._ssl.do_handshake)

    @property
    def _pointer(self):
        return ctypes.c_void_p(int(SSL._ffi.cast("uintptr_t", self._ssl._ssl)))

    def _try(self, call, *args):
        try:
            return call(*args)
        except SSL.WantReadError:
            if self._ended:
                raise Ended("eof") from None
            return _MORE
        except SSL.ZeroReturnError:
            raise Ended("close_notify") from None
        except SSL.Error as error:
            raise Ended(str(error)) from None

    @property
    def facts(self):
        name = self._ssl.get_servername()
        return {"version": self._ssl.get_protocol_version_name(),
                "resumed": _libssl.SSL_session_reused(self._pointer) == 1,
                "alpn": self._ssl.get_alpn_proto_negotiated().decode() or None,
                "sni": name.decode() if name else None}


@dataclasses.dataclass
class Hello:
    """The fields of a ClientHello."""

    compressions: bytes
    extensions: dict            # by their numbers

    EARLY_DATA, PRE_SHARED_KEY, ALPN, SERVER_NAME = 42, 41, 16, 0

    @property
    def tickets(self):
        """The sessions that it offers to resume (RFC 8446 4.2.11)."""
        data, found = self.extensions.get(self.PRE_SHARED_KEY, b"\0\0"), []
        end, at = 2 + int.from_bytes(data[:2], "big"), 2
        while at < end:
            size = int.from_bytes(data[at:at + 2], "big")
            found.append(data[at + 2:at + 2 + size])
            at += 2 + size + 4
        return found


def read_hello(data):
    """Reads a TLS record with a ClientHello (RFC 8446 4.1.2)."""
    body = data[9:]             # behind the headers of record and message
    at = 2 + 32
    at += 1 + body[at]          # session id
    at += 2 + int.from_bytes(body[at:at + 2], "big")
    compressions = body[at + 1:at + 1 + body[at]]
    at += 1 + len(compressions)
    end = at + 2 + int.from_bytes(body[at:at + 2], "big")
    at += 2
    extensions = {}
    while at < end:
        kind, size = struct.unpack("!HH", body[at:at + 4])
        extensions[kind] = body[at + 4:at + 4 + size]
        at += 4 + size
    return Hello(compressions, extensions)
