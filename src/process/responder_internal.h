#ifndef DOTPROXY_RESPONDER_INTERNAL_H
#define DOTPROXY_RESPONDER_INTERNAL_H

#include "format/answer.h"
#include "process/responder.h"
#include "query/joins.h"
#include "shared/cache.h"

/*
 * What the sources of `responder' share; nobody else includes this.
 *
 *	responder.c		what is answered here, and what comes out
 *	responder_cache.c	the cache, and queries that wait for the response to an equal one
 */

/* The key of a question in the cache. */
struct responder_key {
	struct cache_key key;
	uint8_t bytes[CACHE_KEY_MAX];
};

struct responder {
	struct responder_setup setup;
	struct query_list done; /* with a response, and no longer upstream */

	/* The rest only with a cache. */
	struct cache_user *user; /* NULL: there is none */
	struct joins *joins;
	struct responder_group {
		uint8_t fingerprint[UPSTREAM_GROUP_LEN];
		struct answer_limits limits;
		uint32_t stale_s;
	} groups[CONFIG_GROUPS_MAX];
	struct query_list
	    stale_waiting; /* may get a stale answer, the one that is due first in front */
	struct query_list postponed; /* to be looked up in the next turn */
	size_t large_given;          /* bytes of large responses that were copied in this turn */
	uint32_t now_s;              /* cache_now() of this turn */
	uint8_t scratch[DNS_MESSAGE_MAX];
};

static inline void
responder_put(struct query_list *list, struct query *q)
{
	q->list = list;
	TAILQ_INSERT_TAIL(list, q, upstream_link);
}

static inline void
responder_take(struct query *q)
{
	TAILQ_REMOVE(q->list, q, upstream_link);
	q->list = NULL;
}

/* 0, or -1 with the reason. */
int responder_cache_open(struct responder *, struct failure *why);
void responder_cache_close(struct responder *);

/* Whether the cache may answer a query that is not answered here. */
bool responder_cache_may_have(const struct responder *, const struct query *);

void responder_cache_key(const struct responder *, const struct query *, struct responder_key *);

/*
 * Answers a query from the cache, or has it wait for an equal one, or asks upstream. Postpones it if
 * enough large responses were given in this turn.
 */
void responder_cache_ask(struct responder *, struct query *, const struct responder_key *,
    struct deadline now);

/*
 * An upstream was asked for a query that others may wait for; its response is set, with the
 * INFO-CODE and EXTRA-TEXT that it has if it was made here. Keeps the response, and gives it to
 * those that wait.
 */
void responder_cache_settle(struct responder *, struct query *, enum dns_ede, const char *text);

/*
 * Begins a turn: looks up what was postponed, and gives what is out of date to queries that have
 * waited long enough for an upstream.
 */
void responder_cache_begin(struct responder *, struct deadline now);

/* Counts what has been evicted since the last time. */
void responder_cache_count_evicted(const struct responder *);

/* A query that is not done is given up: those that wait for its response go on without it. */
void responder_cache_cancel(struct responder *, struct query *);

#endif
