"""TCP connections from netlink, since /proc/net/tcp is slow on a busy machine."""

import socket
import struct

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, NLMSG_DONE = 4, 20, 0x301, 3
ESTABLISHED, CLOSE_WAIT = 1 << 1, 1 << 8


def connections(address, make_socket=socket.socket):
    """
    The connections with this local address, as a list of (remote address, unread bytes, inode,
    which is 0 after the process has closed it).
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    request = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 0, 0, ESTABLISHED | CLOSE_WAIT)
    local = socket.inet_pton(family, address[0])
    found = []
    with make_socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY,
                                 NLM_F_REQUEST_DUMP, 1, 0) + request)
        while True:
            data = netlink.recv(1 << 18)
            while data:
                size, kind = struct.unpack("=IH", data[:6])
                if kind != SOCK_DIAG_BY_FAMILY:
                    assert kind == NLMSG_DONE, "the kernel does not answer"
                    return found
                body, data = data[16:size], data[(size + 3) & ~3:]
                local_port, remote_port = struct.unpack("!HH", body[4:8])
                if local_port == address[1] and body[8:8 + len(local)] == local:
                    remote = socket.inet_ntop(family, body[24:24 + len(local)]), remote_port
                    unread, = struct.unpack("=I", body[56:60])
                    inode, = struct.unpack("=I", body[68:72])
                    found.append((remote, unread, inode))
