#ifndef DOTPROXY_RESPONDER_H
#define DOTPROXY_RESPONDER_H

#include <stddef.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "config/config.h"
#include "query/names.h"
#include "query/query.h"
#include "query/route.h"
#include "shared/health.h"
#include "upstream/upstream.h"

/*
 * Finds the response to each query: some are answered here, some from the cache, the others by an
 * upstream. Every query that it is asked about comes back, with its response, no later than its
 * deadline.
 */
struct responder;

/* What it works with. All of it stays the caller's, and must outlive the responder. */
struct responder_setup {
	const struct config *config;
	struct upstream_groups *upstreams; /* see upstream_attach() */
	const struct route_table *routes;  /* of the configuration; NULL: there are none */
	const struct names *names;
	struct query_table *table;
	struct health_table *health;
	struct cache *cache;      /* NULL: there is none */
	struct stats_worker *row; /* where hits and the like are counted */
	size_t worker;            /* its number in shared memory */
};

/* NULL with the reason. Freed by responder_free(); NULL is fine there. */
struct responder *responder_new(const struct responder_setup *, struct failure *why);
void responder_free(struct responder *);

/* Takes over COUNT queries that have just been received, and does what is due. Once a turn. */
void responder_ask(struct responder *, struct query *const *queries, size_t count,
    struct deadline now);

/* When responder_ask() must be called next, or sooner. */
struct deadline responder_deadline(const struct responder *);

/*
 * The next query whose response is known; it is the caller's again. NULL: none. Its `source' says
 * where the response is from. A message that must not be answered has none.
 */
struct query *responder_next_done(struct responder *);

/* Nobody wants the response to a query any more: it is the caller's again. */
void responder_cancel(struct responder *, struct query *);

/* Answers a query, which is the caller's, with an error: RCODE, INFO-CODE and EXTRA-TEXT. */
void responder_write_error(struct query *, enum dns_rcode, enum dns_ede, const char *text);

#endif
