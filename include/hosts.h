#ifndef DOTPROXY_HOSTS_H
#define DOTPROXY_HOSTS_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "address.h"

struct client;

/*
 * The addresses that clients have, while they have something here: what is limited for an
 * address is limited for all that comes from it, whatever its port.
 */
struct hosts;

struct host {
	LIST_ENTRY(host) link; /* in its chain, or in that of the vacant ones */
	struct address address;
	uint64_t hash; /* of the address, with a seed */
	size_t uses;   /* see hosts_use() */
	size_t held;   /* places for queries that it has */
	TAILQ_HEAD(host_crowd, client)
	crowding; /* its clients that had to leave places to others */
};

/* For COUNT addresses at once at most. NULL with errno. */
struct hosts *hosts_new(size_t count);
void hosts_free(struct hosts *);

/* NULL: that address has nothing here. */
struct host *hosts_find(const struct hosts *, const struct address *);

/* The same, for one more use; each is given back by hosts_leave(). There are no more hosts than uses. */
struct host *hosts_use(struct hosts *, const struct address *);
void hosts_leave(struct hosts *, struct host *);

#endif
