#include "query/hosts.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/pages.h"

/* A host may hold so many times the places that are free. */
enum { SHARE = 128 };

LIST_HEAD(host_chain, host);

/* Chains are as many as hosts at least, a power of two: nearly all hold one or none. */
struct hosts {
	size_t most;
	size_t mask; /* chains, less 1 */
	struct hash_key key;
	struct host_chain *chains;
	struct host_chain vacant;
	struct host *places;
	size_t used; /* of the places, ever: those behind are vacant too */
};

struct hosts *
hosts_new(size_t count)
{
	struct hosts *h = calloc(1, sizeof *h);
	size_t chains = 1;

	if (h == NULL)
		return NULL;
	while (chains < count)
		chains *= 2;
	h->most = count;
	h->mask = chains - 1;
	h->chains = pages_new(chains, sizeof *h->chains);
	h->places = pages_new(count, sizeof *h->places);
	if (h->chains == NULL || h->places == NULL || hash_key_init(&h->key) == -1) {
		hosts_free(h);
		return NULL;
	}
	return h;
}

void
hosts_free(struct hosts *h)
{
	if (h == NULL)
		return;
	pages_free(h->chains, h->mask + 1, sizeof *h->chains);
	pages_free(h->places, h->most, sizeof *h->places);
	free(h);
}

static struct host *
find(const struct hosts *h, const struct address *a, uint64_t hash)
{
	struct host *host;

	LIST_FOREACH(host, &h->chains[hash & h->mask], link)
	if (address_same_host(&host->address, a))
		return host;
	return NULL;
}

static struct host *
add(struct hosts *h, const struct address *a, uint64_t hash)
{
	struct host *host = LIST_FIRST(&h->vacant);

	if (host != NULL)
		LIST_REMOVE(host, link);
	else
		host = &h->places[h->used++];
	host->address = *a;
	host->hash = hash;
	host->uses = 0;
	host->held = 0;
	host->large = 0;
	TAILQ_INIT(&host->queries);
	TAILQ_INIT(&host->crowding);
	LIST_INSERT_HEAD(&h->chains[hash & h->mask], host, link);
	return host;
}

struct host *
hosts_find(const struct hosts *h, const struct address *a)
{
	return find(h, a, address_hash_host(a, &h->key));
}

struct host *
hosts_use(struct hosts *h, const struct address *a)
{
	uint64_t hash = address_hash_host(a, &h->key);
	struct host *host = find(h, a, hash);

	if (host == NULL)
		host = add(h, a, hash);
	host->uses++;
	return host;
}

void
hosts_leave(struct hosts *h, struct host *host)
{
	if (--host->uses > 0)
		return;
	LIST_REMOVE(host, link);
	LIST_INSERT_HEAD(&h->vacant, host, link);
}

bool
hosts_may_hold_more(const struct host *host, size_t room)
{
	return host->held <= SHARE * room;
}
