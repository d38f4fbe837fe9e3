"""A server at the address of dot-proxy that sends scripted replies over UDP and TCP."""

import selectors
import socket
import threading

import dnsmsg
import upstream


class FakeServer:
    """
    REPLY returns, for a query (as bytes, without a length), the list of messages to reply with;
    over TCP, None closes the connection.
    """

    def __init__(self, reply):
        self.queries = []
        self._reply = reply
        self._connections = []
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((upstream.own_address(), 0))
        self.address = self._datagrams.getsockname()
        self._listener = socket.create_server(self.address)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._datagrams, selectors.EVENT_READ, self._take_datagram)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ending.is_set():
            for key, _ in self._selector.select(0.02):
                key.data(key.fileobj)

    def _replies(self, query):
        self.queries.append(query)
        return self._reply(query)

    def _take_datagram(self, sock):
        query, source = sock.recvfrom(65536)
        for message in self._replies(query) or []:
            sock.sendto(message, source)

    def _accept(self, listener):
        connection, _ = listener.accept()
        self._connections.append(connection)
        self._selector.register(connection, selectors.EVENT_READ, self._take_message)

    def _take_message(self, connection):
        data = connection.recv(65536)       # a small query arrives in one segment on loopback
        replies = self._replies(data[2:]) if data else None
        for message in replies or []:
            connection.sendall(dnsmsg.framed(message))
        if replies is None:
            self._selector.unregister(connection)
            connection.close()

    def close(self):
        self._ending.set()
        self._thread.join(5)
        for sock in (self._datagrams, self._listener, *self._connections):
            sock.close()
