"""DNS over TCP without TLS, with the interface of tls.session()."""

import tls


class Session:
    """The server's side of a connection; bytes go through it as they are."""

    facts = {}

    def __init__(self):
        self._in = b""
        self._out = b""
        self._ended = False

    def feed(self, data):
        """Takes received bytes; b"" is the end."""
        self._in += data
        self._ended = self._ended or not data

    def pending(self):
        """Bytes that wait to be sent."""
        data, self._out = self._out, b""
        return data

    def handshake(self):
        return True

    def read(self):
        """All that has been received since, or None when there is nothing yet."""
        data, self._in = self._in, b""
        if not data and self._ended:
            raise tls.Ended("eof")
        return data or None

    def write(self, data):
        self._out += data

    def close_notify(self):
        pass
