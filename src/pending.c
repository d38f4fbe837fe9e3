#include "pending.h"

#include <sys/random.h>

#include <stdlib.h>
#include <string.h>

#include "dns.h"
#include "pages.h"

enum {
	/*
	 * An address may have so many times the places in hand that are free. So one that is alone
	 * gets nearly all, K busy ones a K-th each, and a few are always left for who comes next.
	 */
	SHARE = 128,

	ID_AND_FLAGS = 4 /* in front of a message */
};

LIST_HEAD(query_chain, query);
LIST_HEAD(host_chain, pending_host);

/* A client address that has queries in hand. */
struct pending_host {
	LIST_ENTRY(pending_host) link; /* in its chain, or in that of the vacant ones */
	struct address address;
	size_t count; /* at least 1, but while vacant */
};

/* Chains are as many as queries at least, a power of two: nearly all hold one or none. */
struct pending {
	size_t most;
	size_t count;
	size_t mask;   /* chains, less 1 */
	uint64_t seed; /* nobody can choose which share a chain */
	struct query_chain *queries;
	struct host_chain *hosts;
	struct host_chain vacant;
	struct pending_host *places;
	size_t used; /* of the places, ever: those behind are vacant too */
};

struct pending *
pending_new(size_t count)
{
	struct pending *p = calloc(1, sizeof *p);
	size_t chains = 1;

	if (p == NULL)
		return NULL;
	while (chains < count)
		chains *= 2;
	p->most = count;
	p->mask = chains - 1;
	p->queries = pages_new(chains, sizeof *p->queries);
	p->hosts = pages_new(chains, sizeof *p->hosts);
	p->places = pages_new(count, sizeof *p->places);
	if (p->queries == NULL || p->hosts == NULL || p->places == NULL ||
	    getrandom(&p->seed, sizeof p->seed, 0) != sizeof p->seed) {
		pending_free(p);
		return NULL;
	}
	return p;
}

void
pending_free(struct pending *p)
{
	if (p == NULL)
		return;
	pages_free(p->queries, p->mask + 1, sizeof *p->queries);
	pages_free(p->hosts, p->mask + 1, sizeof *p->hosts);
	pages_free(p->places, p->most, sizeof *p->places);
	free(p);
}

size_t
pending_count(const struct pending *p)
{
	return p->count;
}

size_t
pending_room(const struct pending *p)
{
	return p->most - p->count;
}

static uint64_t
mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9fb21c651e98df25;
	return hash ^ hash >> 32;
}

static uint64_t
mix_octets(uint64_t hash, const uint8_t *octets, size_t len)
{
	uint64_t word;

	for (; len > 0; octets += sizeof word, len -= sizeof word) {
		word = 0;
		if (len <= sizeof word) {
			memcpy(&word, octets, len);
			return mix(hash, word);
		}
		memcpy(&word, octets, sizeof word);
		hash = mix(hash, word);
	}
	return hash;
}

static uint64_t
hash_host(const struct pending *p, const struct address *a)
{
	if (a->sa.sa_family == AF_INET6)
		return mix_octets(p->seed, a->in6.sin6_addr.s6_addr, sizeof a->in6.sin6_addr);
	return mix(p->seed, a->in.sin_addr.s_addr);
}

static uint64_t
hash_query(uint64_t hash, const struct query *q, size_t question_len)
{
	hash = mix(hash, address_port(&q->peer.from));
	hash = mix_octets(hash, q->message, ID_AND_FLAGS);
	return mix_octets(hash, q->message + DNS_HEADER_LEN, question_len);
}

/* A name says itself where it ends, so equal octets are an equal question. */
static bool
is_repeated(const struct pending *p, const struct query *q, size_t question_len)
{
	const struct query *other;

	LIST_FOREACH(other, &p->queries[q->pending_hash & p->mask], pending_link)
	if (other->pending_hash == q->pending_hash && other->len >= DNS_HEADER_LEN + question_len &&
	    address_equal(&other->peer.from, &q->peer.from) &&
	    memcmp(other->message, q->message, ID_AND_FLAGS) == 0 &&
	    memcmp(other->message + DNS_HEADER_LEN, q->message + DNS_HEADER_LEN, question_len) == 0)
		return true;
	return false;
}

static struct pending_host *
find_host(const struct pending *p, const struct address *a, uint64_t hash)
{
	struct pending_host *host;

	LIST_FOREACH(host, &p->hosts[hash & p->mask], link)
	if (address_same_host(&host->address, a))
		return host;
	return NULL;
}

static struct pending_host *
add_host(struct pending *p, const struct address *a, uint64_t hash)
{
	struct pending_host *host = LIST_FIRST(&p->vacant);

	if (host != NULL)
		LIST_REMOVE(host, link);
	else
		host = &p->places[p->used++];
	host->address = *a;
	host->count = 0;
	LIST_INSERT_HEAD(&p->hosts[hash & p->mask], host, link);
	return host;
}

/* What is answered here at once takes nothing from anybody, and must pass in any rush. */
static bool
is_own(const struct query *q, size_t question_len)
{
	return dns_asks(q->message, question_len, DNS_OWN_HEALTH) ||
	    dns_asks(q->message, question_len, DNS_OWN_READY);
}

enum pending_verdict
pending_add(struct pending *p, struct query *q)
{
	uint64_t hash = hash_host(p, &q->peer.from);
	struct pending_host *host = find_host(p, &q->peer.from, hash);
	size_t question_len = dns_question_len(q->message, q->len);

	if (question_len > 0) {
		q->pending_hash = hash_query(hash, q, question_len);
		if (is_repeated(p, q, question_len))
			return PENDING_REPEATED;
	}
	if (host == NULL)
		host = add_host(p, &q->peer.from, hash);
	else if (host->count > SHARE * pending_room(p) && !is_own(q, question_len))
		return PENDING_EXCESS;
	host->count++;
	p->count++;
	q->pending_host = host;
	LIST_INSERT_HEAD(&p->queries[q->pending_hash & p->mask], q, pending_link);
	return PENDING_TAKEN;
}

void
pending_remove(struct pending *p, struct query *q)
{
	LIST_REMOVE(q, pending_link);
	p->count--;
	if (--q->pending_host->count > 0)
		return;
	LIST_REMOVE(q->pending_host, link);
	LIST_INSERT_HEAD(&p->vacant, q->pending_host, link);
}
