#ifndef DOTPROXY_PENDING_H
#define DOTPROXY_PENDING_H

#include <stddef.h>

#include "query/query.h"

/*
 * The queries in hand that came by UDP, so that none is asked twice because its client has
 * sent it again, and none has all places: who has many gets no more than what others leave.
 */
struct pending;

/* For COUNT queries at most. NULL with errno when there is no memory. */
struct pending *pending_new(size_t count);
void pending_free(struct pending *);

/* How many there are, and how many more there may be. */
size_t pending_count(const struct pending *);
size_t pending_room(const struct pending *);

enum pending_verdict {
	PENDING_TAKEN,
	PENDING_REPEATED, /* the same ID, flags and question is in hand from the same port */
	PENDING_EXCESS    /* the address has too many in hand; never for questions of our own */
};

/*
 * Takes a query into account, while there is room. Once it was taken, its place must not be
 * freed before pending_remove().
 */
enum pending_verdict pending_add(struct pending *, struct query *);
void pending_remove(struct pending *, struct query *);

/*
 * The query to give up when others need its slot: the oldest one, not answered yet, of the
 * address with most queries in flight. NULL: all queries of that address are answered.
 */
struct query *pending_eviction_candidate(const struct pending *);

#endif
