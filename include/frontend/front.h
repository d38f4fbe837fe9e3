#ifndef DOTPROXY_FRONT_H
#define DOTPROXY_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "config/config.h"
#include "query/query.h"
#include "query/quota.h"

/*
 * Those who ask: the listeners and the TCP clients. Yields queries, takes responses.
 * Silent and slow clients are entries in the wait set, and nothing else.
 */
struct front;

/*
 * Serves the COUNT sockets LISTENERS, which listen and stay the caller's, in the wait set
 * SET. Queries take their places in TABLE. At most CLIENTS clients are connected at a
 * time; one more, and the one that has been idle longest makes room. QUOTA is of all frontends, and for as
 * many addresses more. CONFIG, TABLE and QUOTA must outlive it. NULL with the reason.
 */
struct front *front_new(const struct config *config, const int *listeners, size_t count, int set,
    struct query_table *table, struct quota *quota, size_t clients, struct failure *why);

/* Closes all clients. NULL is fine. */
void front_free(struct front *);

/* Something happened on the listener or client with that number (WAITSET_LISTENER, WAITSET_CLIENT). */
void front_listener_ready(struct front *, size_t listener, struct deadline now);
void front_client_ready(struct front *, size_t client, uint32_t events);

/* Leaves those who connect until then to other workers. */
void front_pause_listening(struct front *, struct deadline until);

/*
 * Takes the queries that are ready now, ROOM at most and no more than the table has places:
 * reads once from each client that has sent something. Each query is whole, in its place,
 * and the caller's until it is given back by front_answer() or front_reject(). Returns
 * their number.
 */
size_t front_gather(struct front *, struct query **queries, size_t room, struct deadline now);

/* Whether front_gather() would read something without a wait. */
bool front_has_work(const struct front *);

/* The next query whose client has gone: nobody wants its answer any more. NULL: none. */
struct query *front_next_abandoned(struct front *);

/* Hands over a query whose response is set. Sent by front_send(), which frees its place. */
void front_answer(struct front *, struct query *);

/* Frees a message that is no query, and reads nothing more from who sent it. */
void front_reject(struct front *, struct query *);

/* Sends what front_answer() has collected: one write for each client. */
void front_send(struct front *, struct deadline now);

/* Closes clients that have been idle, or slow, for too long. */
void front_expire(struct front *, struct deadline now);

/* When front_expire() must be called next, or sooner. */
struct deadline front_deadline(const struct front *);

/* Takes no more clients but those that have connected by now, and closes each as soon as it pauses. */
void front_retire(struct front *, struct deadline now);

/* Then takes nothing more from the clients but what has already come, and closes each when it has all its answers. */
void front_drain(struct front *);

/* How many clients are connected. Those that drain are until they have all their answers. */
size_t front_client_count(const struct front *);

/* What an operator should know of. */
enum front_trouble {
	FRONT_CANNOT_ACCEPT,   /* accept(2) failed, for want of descriptors or the like */
	FRONT_CROWDED,         /* a client had to make room for another */
	FRONT_ADDRESS_CROWDED, /* so did one of an address that has too many */
	FRONT_TROUBLES
};

/* Whether there was any of that kind since it was asked last, the reason of the first, and how often. */
bool front_trouble(struct front *, enum front_trouble, struct failure *why, unsigned *times);

#endif
