#ifndef DOTPROXY_NET_H
#define DOTPROXY_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/deadline.h"
#include "base/fail.h"

/*
 * Sockets. All that come from here are non-blocking and closed on exec; all are the
 * caller's to close.
 */

/* Asks for this many connections in the accept queue: too few cost seconds under bursts. */
enum { NET_BACKLOG = 4096 };

/*
 * Whether an interface of this machine has the address (a wildcard always is there). Returns 0,
 * or -1 with the reason.
 */
int net_check_address(const struct address *, struct failure *why);

/*
 * A TCP socket that listens on the address; its clients have TCP_NODELAY. The address may come
 * later, see net_check_address(). Returns the socket, or -1 with the reason and, for a port that
 * is taken or not permitted, the remedy.
 */
int net_listen(const struct address *, struct failure *why);

/*
 * Octets of queries that wait in the receive buffer of a UDP socket: what comes in a burst
 * while the loop does something else.
 */
enum { NET_DATAGRAM_BUFFER = 4 << 20 };

/*
 * A UDP socket bound to the address, which never sends a fragment (EMSGSIZE instead). What
 * it receives comes with the number of datagrams that were lost before it (SO_RXQ_OVFL),
 * and, where the address is a wildcard, with the address and the interface that it came to
 * (IP_PKTINFO, IPV6_PKTINFO). Returns as net_listen() does.
 */
int net_listen_udp(const struct address *, struct failure *why);

/*
 * Opens another UDP socket for the address of FD, which was shut down and which other processes
 * have as well: what comes from now on comes to the new one. FD stays open. Returns as
 * net_listen_udp().
 */
int net_replace_udp(int fd, const struct address *, struct failure *why);

/*
 * Whether a UDP socket was shut down, for receiving or for sending. Only sending tells the
 * latter: an empty datagram goes to the socket itself.
 */
bool net_receives_no_more(int fd);
bool net_sends_no_more(int fd);

/*
 * Makes a socket that somebody else has opened and bound what net_listen() or net_listen_udp()
 * would have made it. Which families it takes stays as it is, and so do buffers that could only
 * be made smaller. AT becomes its address. Returns SOCK_STREAM or SOCK_DGRAM; or -1 with the
 * reason when it neither listens by TCP nor is bound for UDP.
 */
int net_adopt(int fd, struct address *at, struct failure *why);

/*
 * Makes a TCP socket of net_listen() listen again when it was shut down, also for those who share
 * it. Returns 1 when it was, 0 when it was not, -1 with errno.
 */
int net_listen_again(int fd);

/* The octets that the receive buffer has, of the NET_DATAGRAM_BUFFER that were asked for. */
int net_receive_buffer(int fd);

/*
 * Whether a UDP socket says what the kernel has dropped, and whether what it sends leaves whole
 * or not at all. It serves without, on a kernel that does not know how.
 */
bool net_counts_drops(int fd);
bool net_forbids_fragments(int fd);

/*
 * Starts a TCP connection, with TCP_NODELAY, that fails when what is sent on it is not
 * acknowledged for too long; with FAST_OPEN (RFC 7413) it seems to be up at once, and the
 * first octets written go with the SYN. It is up, or has failed, when the socket
 * becomes writable, see net_connected(). Returns the socket, or -1 with the reason.
 */
int net_connect(const struct address *, bool fast_open, struct failure *why);

/*
 * A UDP socket that speaks with that address only, from its own address FROM. Returns it, or
 * -1 with the reason.
 */
int net_connect_udp(const struct address *, struct address *from, struct failure *why);

/* Whether the connection is up: 1, 0 not yet, or -1 with the reason. */
int net_connected(int fd, struct failure *why);

/*
 * The next client of a listener, and its address. Returns the socket, or -1 with errno: EAGAIN when there is none.
 */
int net_accept(int listener, struct address *from);

/*
 * Waits until the socket is ready for EVENTS (POLLIN, POLLOUT). Returns 0, or -1
 * with errno (ETIMEDOUT). For programs that do one thing, never for the loop.
 */
int net_wait(int fd, short events, struct deadline by);

/* Opens /dev/null on each of the descriptors 0 to 2 that is closed, so that no socket becomes one. -1 when that fails. */
int net_guard_standard_descriptors(struct failure *why);

/* Raises the soft limit of descriptors to the hard one, and returns it. */
unsigned net_raise_descriptor_limit(void);

#endif
