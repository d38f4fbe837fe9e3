#ifndef DOTPROXY_UDP_H
#define DOTPROXY_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/deadline.h"
#include "base/fail.h"
#include "config/config.h"
#include "query/query.h"
#include "query/quota.h"

/*
 * Those who ask by UDP. Yields queries and takes responses as `front' does for TCP; both share
 * the table of queries. What comes is taken in batches, and so is what goes.
 */
struct udp;

/*
 * Serves the COUNT sockets SOCKETS (see net_listen_udp()), which stay the caller's and may be
 * shared with other processes, in the wait set SET. They share OVERFLOWS too, a number for each
 * socket, so that what the kernel loses is counted by one of them. Queries take their places
 * in TABLE, of which a few are left for TCP. QUOTA is of all frontends, and for as many
 * addresses more as TABLE has slots. CONFIG, OVERFLOWS, TABLE and QUOTA must outlive it. NULL
 * with the reason.
 */
struct udp *udp_new(const struct config *config, const int *sockets, _Atomic uint32_t *overflows,
    size_t count, int set, struct query_table *table, struct quota *quota, struct failure *why);

/* Frees the places of what was not sent. NULL is fine. */
void udp_free(struct udp *);

/* Something happened on the socket with that number (WAITSET_DATAGRAMS). */
void udp_ready(struct udp *, size_t socket);

/* Leaves what comes until then to other workers. */
void udp_pause_listening(struct udp *, struct deadline until);

/*
 * Takes the queries that are there now, MOST at most and no more than there are places, with
 * one call for each socket. Each query is the caller's until it is given back by udp_answer()
 * or udp_reject(). Returns their number.
 */
size_t udp_gather(struct udp *, struct query **queries, size_t most, struct deadline now);

/* Whether udp_gather() would read something without a wait. */
bool udp_has_work(const struct udp *);

/*
 * Hands over a query whose response is set, which is made to fit what the client takes. Sent
 * by udp_send(), which frees its place.
 */
void udp_answer(struct udp *, struct query *);

/* Frees a message that is no query; nothing is said. */
void udp_reject(struct udp *, struct query *);

/*
 * The next query to give up so that others are served, while slow queries hold nearly all slots:
 * the oldest of the address with most queries in flight. The caller stops asking for it and hands
 * it over to udp_answer() with an error. NULL: none.
 */
struct query *udp_next_evicted(struct udp *, struct deadline now);

/* Sends what udp_answer() has collected. To be called once a turn, whether there is any or not. */
void udp_send(struct udp *, struct deadline now);

/* When udp_send() must be called next, or sooner. */
struct deadline udp_deadline(const struct udp *);

/* Takes what has come, up to one batch of each socket, and nothing more. */
void udp_drain(struct udp *);

/* Whether any client is still to get something. */
bool udp_is_busy(const struct udp *);

/* Datagrams that led to nothing, by the reason. */
enum udp_loss {
	UDP_LOSS_SOURCE,    /* from where no client can be, or broadcast */
	UDP_LOSS_REFUSED,   /* the address may not ask here */
	UDP_LOSS_MALFORMED, /* no query, or longer than any */
	UDP_LOSS_REPEATED,  /* the same query is in hand */
	UDP_LOSS_EXCESS,    /* the address has too many in hand */
	UDP_LOSS_OVERFLOW,  /* the receive buffer was full: the kernel says so */
	UDP_LOSS_UNSENT,    /* answers that could not be sent */
	UDP_LOSS_EVICTED,   /* given up for others, and answered with an error */
	UDP_LOSSES
};

/*
 * What was lost since this was asked last, and the last address that had too many in hand
 * (AF_UNSPEC: none had). False when nothing was.
 */
bool udp_losses(struct udp *, unsigned counts[static UDP_LOSSES], struct address *excessive);

/* Whether a socket was found to be shut down for sending: another one is needed. */
bool udp_is_shut_down(const struct udp *);

#endif
