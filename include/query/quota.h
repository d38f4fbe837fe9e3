#ifndef DOTPROXY_QUOTA_H
#define DOTPROXY_QUOTA_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/chains.h"

/*
 * The addresses of clients, while they have a connection or a query here. What is limited for an
 * address is limited for all that comes from it, whatever its port, by TCP and UDP together.
 */
struct quota;

struct client_addr {
	struct chains_link link;
	TAILQ_ENTRY(client_addr) rank_link; /* among the free ones, or those with as many by UDP */
	struct address address;
	size_t index; /* in the table, for tables of others with an entry for each address */
	size_t uses;  /* see quota_use() */
	size_t connections;
	size_t queries_in_flight;
	size_t udp_queries; /* those of them that came by UDP */
	size_t large;       /* bytes that its large queries and responses by TCP take */

	/* TCP clients that wait until it is allowed a query; and whether one by UDP has ended since. */
	size_t waiting;
	bool is_released;
	TAILQ_ENTRY(client_addr) released_link;
};

/*
 * For ADDRESSES at once at most, and QUERIES in flight by UDP. NULL with errno when there is no
 * memory.
 */
struct quota *quota_new(size_t addresses, size_t queries);
void quota_free(struct quota *);

/* For how many addresses it is: each index is less than that. */
size_t quota_capacity(const struct quota *);

/* NULL: that address has nothing here. */
struct client_addr *quota_find(const struct quota *, const struct address *);

/*
 * The same, for one more use, which is given back by quota_leave(). There must be no more uses at
 * once than there may be addresses. With the first use everything in it is zero.
 */
struct client_addr *quota_use(struct quota *, const struct address *);
void quota_leave(struct quota *, struct client_addr *);

/*
 * Whether an address may have one more query in flight while FREE_SLOTS are free: alone it gets
 * nearly all slots, K busy addresses get a K-th each, and a few always stay free for the next.
 */
bool quota_allows(const struct client_addr *, size_t free_slots);

/* Counts a query in flight by UDP, or one less. The TCP frontend counts its own. */
void quota_add_udp(struct quota *, struct client_addr *);
void quota_remove_udp(struct quota *, struct client_addr *);

/*
 * The address with the most queries in flight by UDP; of equals, the one that has had so many for
 * longer. NULL: there is no such query.
 */
struct client_addr *quota_heaviest_udp(const struct quota *);

/*
 * The next address with `waiting' clients of which a query by UDP has ended since it was returned
 * last. NULL: none. And whether there is any.
 */
struct client_addr *quota_next_released(struct quota *);
bool quota_has_released(const struct quota *);

#endif
