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
 * UDP frontend. Yields queries and takes responses as `tcp' does; both share the table of queries
 * and the quotas. It receives and sends in batches.
 */
struct udp;

/*
 * Serves the COUNT sockets SOCKETS (see net_listen_udp()), which stay the caller's and may be
 * shared with other processes, in the wait set SET. Queries take slots of TABLE, of which a few are
 * left for TCP. QUOTA is of all frontends, and for as many addresses more as TABLE has slots.
 * CONFIG, TABLE and QUOTA must outlive it. NULL with the reason.
 */
struct udp *udp_new(const struct config *config, const int *sockets, size_t count, int set,
    struct query_table *table, struct quota *quota, struct failure *why);

/* Frees the slots of what was not sent. NULL is fine. */
void udp_free(struct udp *);

/* Something happened on the socket with that number (WAITSET_DATAGRAMS). */
void udp_ready(struct udp *, size_t socket);

/* Leaves queries that come until then to other workers. */
void udp_pause_listening(struct udp *, struct deadline until);

/*
 * Takes the queries that are there now, MOST at most and no more than there are free slots, with
 * one call for each socket. Each query is the caller's until it is given back by udp_answer()
 * or udp_reject(). Returns their number.
 */
size_t udp_gather(struct udp *, struct query **queries, size_t most, struct deadline now);

/* Whether udp_gather() would read something without a wait. */
bool udp_has_work(const struct udp *);

/*
 * Hands over a query whose response is set, which is made to fit what the client takes. Sent
 * by udp_send(), which frees its slot.
 */
void udp_answer(struct udp *, struct query *);

/* Frees a message that is no query; it gets no answer. */
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

/* Reads what has come, up to one batch of each socket, and nothing more. */
void udp_drain(struct udp *);

/* Whether any query is still to be read or answered. */
bool udp_is_busy(const struct udp *);

/* Why datagrams were dropped. */
enum udp_drop_reason {
	UDP_DROP_INVALID_SOURCE, /* an address that no client can have, or sent by broadcast */
	UDP_DROP_NOT_ALLOWED,    /* the address may not use us */
	UDP_DROP_MALFORMED,      /* no query, or longer than any */
	UDP_DROP_DUPLICATE,      /* the same query is in flight */
	UDP_DROP_CLIENT_LIMIT,   /* the address has too many queries in flight */
	UDP_DROP_NOT_SENT,       /* answers that could not be sent */
	UDP_DROP_EVICTED,        /* given up for others, and answered with an error */
	UDP_DROP_REASONS
};

/*
 * What was dropped since the last call, and the last address that had too many queries in flight
 * (AF_UNSPEC: none had). False when nothing was.
 */
bool udp_drops(struct udp *, unsigned counts[static UDP_DROP_REASONS], struct address *limited);

/*
 * The next socket on which the kernel has dropped datagrams, since the receive buffer was full:
 * its number, and how many it has dropped in all, which other processes see as well. False when
 * that has not changed on any socket since the last call.
 */
bool udp_next_overflow(struct udp *, size_t *socket, uint32_t *total);

/* Whether a socket was found to be shut down for sending: another one is needed. */
bool udp_is_shut_down(const struct udp *);

#endif
