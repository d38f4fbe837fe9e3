#ifndef DOTPROXY_NET_H
#define DOTPROXY_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/deadline.h"
#include "base/fail.h"

/*
 * Sockets. All sockets opened here are non-blocking and close-on-exec, and the caller closes them.
 */

/* The backlog of listen(2): with a short one, clients wait for seconds during bursts. */
enum { NET_BACKLOG = 4096 };

/*
 * Whether an interface of this machine has the address (true for a wildcard). Returns 0, or -1 with
 * the reason.
 */
int net_check_address(const struct address *, struct failure *why);

/*
 * Opens a TCP socket that listens on the address; accepted connections have TCP_NODELAY. No
 * interface needs to have the address yet, see net_check_address(). Returns the socket, or -1 with
 * errno, the reason and, for a port that is in use or not permitted, the remedy.
 */
int net_listen(const struct address *, struct failure *why);

/*
 * The requested size, in bytes, of the buffers of a UDP socket: they hold the datagrams of a burst
 * until the loop reads them.
 */
enum { NET_DATAGRAM_BUFFER = 4 << 20 };

/*
 * Opens a UDP socket bound to the address, which never sends a fragment (EMSGSIZE instead). Each
 * datagram is received with the number of datagrams dropped before it (SO_RXQ_OVFL), and for a
 * wildcard with its destination address and interface (IP_PKTINFO, IPV6_PKTINFO). Returns as
 * net_listen() does.
 */
int net_listen_udp(const struct address *, struct failure *why);

/*
 * Opens another UDP socket for the address of FD, which was shut down and which other processes
 * share: new datagrams are received by the new one. FD stays open. Returns as net_listen_udp().
 */
int net_replace_udp(int fd, const struct address *, struct failure *why);

/*
 * Whether a UDP socket was shut down, for receiving or for sending. The latter can only be found by
 * sending, so an empty datagram is sent to the socket itself.
 */
bool net_receives_no_more(int fd);
bool net_sends_no_more(int fd);

/*
 * Sets the options of net_listen() or net_listen_udp() on a socket that another process has opened
 * and bound. IPV6_V6ONLY stays as it is, and buffers are never made smaller. AT becomes its
 * address. Returns SOCK_STREAM or SOCK_DGRAM; or -1 with the reason when it is neither a listening
 * TCP socket nor a bound UDP socket.
 */
int net_adopt(int fd, struct address *at, struct failure *why);

/*
 * Makes a TCP socket of net_listen() listen again if it was shut down, also for the processes that
 * share it. Returns 1 if it was, 0 if not, -1 with errno.
 */
int net_listen_again(int fd);

/* The size of the receive buffer in bytes; NET_DATAGRAM_BUFFER was requested. */
int net_receive_buffer(int fd);

/*
 * Whether a UDP socket reports what the kernel has dropped, and whether it never sends fragments.
 * Some kernels support neither, and the socket is used without.
 */
bool net_counts_drops(int fd);
bool net_forbids_fragments(int fd);

/* How many datagrams the kernel has dropped on a UDP socket so far; 0 if it does not say. */
uint32_t net_dropped(int fd);

/*
 * Starts a TCP connection, with TCP_NODELAY and TCP_USER_TIMEOUT. With FAST_OPEN (RFC 7413) it
 * appears established at once, and the first bytes written are sent with the SYN. It is established
 * or has failed when the socket becomes writable, see net_connected(). Returns the socket, or -1
 * with the reason.
 */
int net_connect(const struct address *, bool fast_open, struct failure *why);

/*
 * Opens a UDP socket connected to the address; FROM becomes its own address. Returns the socket, or
 * -1 with the reason.
 */
int net_connect_udp(const struct address *, struct address *from, struct failure *why);

/* Whether the connection is established: 1, 0 not yet, or -1 with the reason. */
int net_connected(int fd, struct failure *why);

/* Accepts the next client; FROM becomes its address. Returns the socket, or -1 with errno. */
int net_accept(int listener, struct address *from);

/*
 * Waits until the socket is ready for EVENTS (POLLIN, POLLOUT). Returns 0, or -1
 * with errno (ETIMEDOUT). For the commands only: the loop of a worker must not block here.
 */
int net_wait(int fd, short events, struct deadline by);

/* Opens /dev/null on closed descriptors from 0 to 2, so that no socket gets one. 0 or -1. */
int net_guard_standard_descriptors(struct failure *why);

/* Raises the soft limit of descriptors to the hard one, and returns it. */
unsigned net_raise_descriptor_limit(void);

#endif
