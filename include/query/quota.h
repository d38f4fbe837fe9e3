#ifndef DOTPROXY_QUOTA_H
#define DOTPROXY_QUOTA_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/chains.h"

/*
 * The addresses of clients that have a connection or a query. A limit per address counts all
 * traffic from it, whatever its port, by TCP and UDP together.
 */
struct quota;

struct client_addr {
	struct chains_link link;
	TAILQ_ENTRY(client_addr) rank_link; /* among the unused, or those of equal `udp_queries' */
	struct address address;
	size_t index; /* in the table, for other tables with an entry per address */
	size_t uses;  /* see quota_use() */
	size_t connections;
	size_t queries_in_flight;
	size_t udp_queries; /* those of them that came by UDP */
	size_t large;       /* bytes of its large queries and responses by TCP */

	/* Its throttled TCP clients, and whether a UDP query of the address has ended meanwhile. */
	size_t waiting;
	bool is_released;
	TAILQ_ENTRY(client_addr) released_link;
};

/*
 * For at most ADDRESSES addresses at a time, and QUERIES queries in flight by UDP. NULL with errno
 * when there is no memory.
 */
struct quota *quota_new(size_t addresses, size_t queries);
void quota_free(struct quota *);

/* The most addresses at a time; each index is less. */
size_t quota_capacity(const struct quota *);

/* The entry of an address; NULL when it has no connection and no query. */
struct client_addr *quota_find(const struct quota *, const struct address *);

/*
 * Finds or makes the entry of an address and counts a use of it, which quota_leave() ends. There
 * must never be more uses than quota_capacity(). A new entry is zero but for address and index.
 */
struct client_addr *quota_use(struct quota *, const struct address *);
void quota_leave(struct quota *, struct client_addr *);

/*
 * Whether an address may have one more query in flight while FREE_SLOTS slots are free. A single
 * busy address gets nearly all slots, K busy addresses get a K-th each, and a few always stay free
 * for another address.
 */
bool quota_allows(const struct client_addr *, size_t free_slots);

/* Count a query in flight by UDP, or its end. The TCP frontend counts its own queries. */
void quota_add_udp(struct quota *, struct client_addr *);
void quota_remove_udp(struct quota *, struct client_addr *);

/*
 * The address with the most queries in flight by UDP; of equals, the one that reached that number
 * first. NULL: there are no such queries.
 */
struct client_addr *quota_heaviest_udp(const struct quota *);

/*
 * The next address with `waiting' clients of which a UDP query has ended since the address was last
 * returned, or NULL; and whether there is one.
 */
struct client_addr *quota_next_released(struct quota *);
bool quota_has_released(const struct quota *);

#endif
