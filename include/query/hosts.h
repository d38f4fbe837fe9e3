#ifndef DOTPROXY_HOSTS_H
#define DOTPROXY_HOSTS_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

struct client;
struct query;

/*
 * The addresses that clients have, while they have something here: what is limited for an
 * address is limited for all that comes from it, whatever its port.
 */
struct hosts;

struct host {
	LIST_ENTRY(host) link; /* in its chain, or in that of the vacant ones */
	struct address address;
	uint64_t hash;                           /* of the address, under a key of the table */
	size_t uses;                             /* see hosts_use() */
	size_t held;                             /* places for queries that it has */
	TAILQ_ENTRY(host) held_link;             /* this and the next one: see pending.c */
	TAILQ_HEAD(host_queries, query) queries; /* in flight by UDP, the oldest first */
	size_t large; /* memory of its large queries and responses by TCP */
	/* Its clients that had to leave places to others. */
	TAILQ_HEAD(host_crowd, client) crowding;
};

/* For COUNT addresses at once at most. NULL with errno. */
struct hosts *hosts_new(size_t count);
void hosts_free(struct hosts *);

/* NULL: that address has nothing here. */
struct host *hosts_find(const struct hosts *, const struct address *);

/* The same, for one more use; each is given back by hosts_leave(). There are no more hosts than uses. */
struct host *hosts_use(struct hosts *, const struct address *);
void hosts_leave(struct hosts *, struct host *);

/*
 * Whether it may hold one more place for a query when ROOM are free: one that is alone gets
 * nearly all, K busy ones a K-th each, and a few are always left for who comes next.
 */
bool hosts_may_hold_more(const struct host *, size_t room);

#endif
