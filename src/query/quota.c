#include "query/quota.h"

#include <stdlib.h>

#include "base/pages.h"

/*
 * The most queries in flight of an address, as a multiple of the free slots: a single busy address
 * is stopped when 7 of 1,024 slots are left, and the last free slot is open to every address with
 * at most 128 queries.
 */
enum { SHARE = 128 };

/* Addresses per chain when all are in use. Few ever are, and each chain takes memory. */
enum { ADDRESSES_PER_CHAIN = 4 };

TAILQ_HEAD(addr_list, client_addr);

struct quota {
	size_t capacity;
	size_t queries;
	struct chains chains;
	struct client_addr *addrs;
	struct addr_list unused; /* entries that were used before */
	size_t touched;          /* the first so many of `addrs' were ever used */

	/*
	 * ranks[n] lists the addresses with n queries in flight by UDP. The lists up to
	 * `initialised' are initialised; `heaviest' is the last one that is not empty, or 0.
	 */
	struct addr_list *ranks;
	size_t initialised;
	size_t heaviest;

	struct addr_list released; /* see quota_next_released() */
};

struct quota *
quota_new(size_t addresses, size_t queries)
{
	struct quota *q = calloc(1, sizeof *q);

	if (q == NULL)
		return NULL;
	q->capacity = addresses;
	q->queries = queries;
	TAILQ_INIT(&q->unused);
	TAILQ_INIT(&q->released);
	q->addrs = pages_new(addresses, sizeof *q->addrs);
	q->ranks = pages_new(queries + 1, sizeof *q->ranks);
	if (q->addrs == NULL || q->ranks == NULL ||
	    chains_init(&q->chains, addresses / ADDRESSES_PER_CHAIN) == -1) {
		quota_free(q);
		return NULL;
	}
	return q;
}

void
quota_free(struct quota *q)
{
	if (q == NULL)
		return;
	chains_free(&q->chains);
	pages_free(q->addrs, q->capacity, sizeof *q->addrs);
	pages_free(q->ranks, q->queries + 1, sizeof *q->ranks);
	free(q);
}

size_t
quota_capacity(const struct quota *q)
{
	return q->capacity;
}

static struct client_addr *
find(const struct quota *q, const struct address *a, uint64_t hash)
{
	struct chains_link *link;
	struct client_addr *addr;

	for (link = chains_first(&q->chains, hash); link != NULL; link = chains_next(link)) {
		addr = link->entry;
		if (address_same_host(&addr->address, a))
			return addr;
	}
	return NULL;
}

static struct client_addr *
add(struct quota *q, const struct address *a, uint64_t hash)
{
	struct client_addr *addr = TAILQ_FIRST(&q->unused);

	if (addr != NULL)
		TAILQ_REMOVE(&q->unused, addr, rank_link);
	else
		addr = &q->addrs[q->touched++];
	*addr = (struct client_addr){ .address = *a, .index = (size_t)(addr - q->addrs) };
	chains_add(&q->chains, &addr->link, hash, addr);
	return addr;
}

struct client_addr *
quota_find(const struct quota *q, const struct address *a)
{
	return find(q, a, address_hash_host(a, &q->chains.key));
}

struct client_addr *
quota_use(struct quota *q, const struct address *a)
{
	uint64_t hash = address_hash_host(a, &q->chains.key);
	struct client_addr *addr = find(q, a, hash);

	if (addr == NULL)
		addr = add(q, a, hash);
	addr->uses++;
	return addr;
}

static void
set_released(struct quota *q, struct client_addr *addr, bool released)
{
	if (addr->is_released == released)
		return;
	addr->is_released = released;
	if (released)
		TAILQ_INSERT_TAIL(&q->released, addr, released_link);
	else
		TAILQ_REMOVE(&q->released, addr, released_link);
}

void
quota_leave(struct quota *q, struct client_addr *addr)
{
	if (--addr->uses > 0)
		return;
	chains_remove(&addr->link);
	set_released(q, addr, false);
	/* The entry used last is the most likely one to be in the cache. */
	TAILQ_INSERT_HEAD(&q->unused, addr, rank_link);
}

bool
quota_allows(const struct client_addr *addr, size_t free_slots)
{
	return addr->queries_in_flight <= SHARE * free_slots;
}

static void
set_udp_queries(struct quota *q, struct client_addr *addr, size_t count)
{
	if (addr->udp_queries > 0)
		TAILQ_REMOVE(&q->ranks[addr->udp_queries], addr, rank_link);
	addr->udp_queries = count;
	for (; q->initialised < count; q->initialised++)
		TAILQ_INIT(&q->ranks[q->initialised + 1]);
	if (count > 0)
		TAILQ_INSERT_TAIL(&q->ranks[count], addr, rank_link);
	if (count > q->heaviest)
		q->heaviest = count;
	while (q->heaviest > 0 && TAILQ_EMPTY(&q->ranks[q->heaviest]))
		q->heaviest--;
}

void
quota_add_udp(struct quota *q, struct client_addr *addr)
{
	addr->queries_in_flight++;
	set_udp_queries(q, addr, addr->udp_queries + 1);
}

void
quota_remove_udp(struct quota *q, struct client_addr *addr)
{
	addr->queries_in_flight--;
	set_udp_queries(q, addr, addr->udp_queries - 1);
	if (addr->waiting > 0)
		set_released(q, addr, true);
}

struct client_addr *
quota_heaviest_udp(const struct quota *q)
{
	return q->heaviest == 0 ? NULL : TAILQ_FIRST(&q->ranks[q->heaviest]);
}

struct client_addr *
quota_next_released(struct quota *q)
{
	struct client_addr *addr = TAILQ_FIRST(&q->released);

	if (addr != NULL)
		set_released(q, addr, false);
	return addr;
}

bool
quota_has_released(const struct quota *q)
{
	return !TAILQ_EMPTY(&q->released);
}
