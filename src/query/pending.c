#include "query/pending.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/pages.h"
#include "format/dns.h"
#include "query/hosts.h"

enum {
	ID_AND_FLAGS = 4 /* in front of a message */
};

LIST_HEAD(query_chain, query);
TAILQ_HEAD(host_bucket, host);

/* Chains are as many as queries at least, a power of two: nearly all hold one or none. */
struct pending {
	size_t most;
	size_t count;
	size_t mask; /* chains, less 1 */
	struct hash_key key;
	struct query_chain *queries;
	struct hosts *hosts; /* clients, each used by its queries */

	/*
	 * Bucket N holds the addresses with N queries in flight. Those up to `initialised' are;
	 * `heaviest' is the last one that is not empty, or 0.
	 */
	struct host_bucket *buckets;
	size_t initialised;
	size_t heaviest;
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
	/* One more, who is refused, may be looked at. */
	p->hosts = hosts_new(count + 1);
	p->buckets = pages_new(count + 1, sizeof *p->buckets);
	if (p->queries == NULL || p->hosts == NULL || p->buckets == NULL ||
	    hash_key_init(&p->key) == -1) {
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
	pages_free(p->buckets, p->most + 1, sizeof *p->buckets);
	hosts_free(p->hosts);
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

/* The hash of what makes two queries the same: address, port, ID, flags and question. */
static uint64_t
hash_query(const struct pending *p, const struct host *host, const struct query *q,
    size_t question_len)
{
	uint8_t bytes[sizeof host->hash + sizeof(uint16_t) + ID_AND_FLAGS + DNS_QUESTION_MAX];
	uint16_t port = address_port(&q->peer.from);
	size_t len = 0;

	memcpy(bytes, &host->hash, sizeof host->hash);
	len += sizeof host->hash;
	memcpy(bytes + len, &port, sizeof port);
	len += sizeof port;
	memcpy(bytes + len, q->message, ID_AND_FLAGS);
	len += ID_AND_FLAGS;
	memcpy(bytes + len, q->message + DNS_HEADER_LEN, question_len);
	return hash_bytes(&p->key, bytes, len + question_len);
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

static enum pending_verdict
judge(const struct pending *p, const struct host *host, struct query *q)
{
	size_t question_len = dns_question_len(q->message, q->len);

	if (question_len > 0) {
		q->pending_hash = hash_query(p, host, q, question_len);
		if (is_repeated(p, q, question_len))
			return PENDING_REPEATED;
	}
	/* What is answered here at once takes nothing from anybody, and must pass in any rush. */
	if (!hosts_may_hold_more(host, pending_room(p)) && !dns_question_is_own(q->message, q->len))
		return PENDING_EXCESS;
	return PENDING_TAKEN;
}

/* Moves an address to the bucket of HELD queries in flight. */
static void
set_held(struct pending *p, struct host *host, size_t held)
{
	if (host->held > 0)
		TAILQ_REMOVE(&p->buckets[host->held], host, held_link);
	host->held = held;
	for (; p->initialised < held; p->initialised++)
		TAILQ_INIT(&p->buckets[p->initialised + 1]);
	if (held > 0)
		TAILQ_INSERT_TAIL(&p->buckets[held], host, held_link);
	if (held > p->heaviest)
		p->heaviest = held;
	while (p->heaviest > 0 && TAILQ_EMPTY(&p->buckets[p->heaviest]))
		p->heaviest--;
}

enum pending_verdict
pending_add(struct pending *p, struct query *q)
{
	struct host *host = hosts_use(p->hosts, &q->peer.from);
	enum pending_verdict verdict = judge(p, host, q);

	if (verdict != PENDING_TAKEN) {
		hosts_leave(p->hosts, host);
		return verdict;
	}
	set_held(p, host, host->held + 1);
	p->count++;
	q->host = host;
	TAILQ_INSERT_TAIL(&host->queries, q, host_link);
	LIST_INSERT_HEAD(&p->queries[q->pending_hash & p->mask], q, pending_link);
	return PENDING_TAKEN;
}

void
pending_remove(struct pending *p, struct query *q)
{
	LIST_REMOVE(q, pending_link);
	TAILQ_REMOVE(&q->host->queries, q, host_link);
	p->count--;
	set_held(p, q->host, q->host->held - 1);
	hosts_leave(p->hosts, q->host);
}

struct query *
pending_eviction_candidate(const struct pending *p)
{
	struct host *host;
	struct query *q;

	if (p->heaviest == 0)
		return NULL;
	host = TAILQ_FIRST(&p->buckets[p->heaviest]);
	TAILQ_FOREACH(q, &host->queries, host_link) {
		if (!q->is_answered)
			return q;
	}
	return NULL;
}
