#ifndef DOTPROXY_POLICY_H
#define DOTPROXY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "query/query.h"
#include "shared/health.h"

/*
 * What is done about a query: a pure function of values. Events record their facts in the query
 * and in the health of upstreams; here it is decided what follows from them; `exchange' does it.
 */

/* One upstream, as it is at the moment. */
struct policy_member {
	enum health_state state;
	bool is_overloaded; /* suspect, and it owes as many answers as a connection may */
	int64_t usual_us;   /* smoothed response time; 0: not known */
	int hedge_ms;       /* 95 % of the responses come sooner; 0: not known */
};

/* The upstreams that a query may be sent to, in the order of the configuration. */
struct policy_group {
	const struct policy_member *members;
	size_t count;
	bool order_fastest;
	int fallback_after_ms; /* as in the configuration */
};

/*
 * After this time a response is late by any measure: with `auto', a query that is hedged before
 * that is no evidence against its upstream.
 */
enum { POLICY_LATE_MS = 400 };

/* More tries than upstreams and this many are too many for any query (RFC 9520 3.1). */
enum { POLICY_EXTRA_TRIES = 2 };

/* What to do next about a query. */
struct policy_step {
	enum {
		POLICY_FINISH, /* with `outcome' */
		POLICY_WAIT,   /* until something happens, or until `until' */
		POLICY_PAUSE,  /* until `until'; then all upstreams may be tried once more */
		POLICY_TRY     /* `upstream' */
	} action;
	enum query_outcome outcome;
	struct deadline until;
	size_t upstream;
	int attempt; /* the one that is to be sent again, by its number; -1: a new one */
};

struct policy_step policy_next(const struct query *, const struct policy_group *,
    struct deadline now);

/*
 * How long a query waits for an upstream before the next one is tried as well, in ms; 0: it does
 * not. IS_OPENING: its connection is not ready yet (RFC 8305 5).
 */
int policy_hedge_ms(const struct policy_group *, const struct policy_member *, bool is_opening);

/* What is still searched for when an upstream, which was in this state then, is being tried. */
enum query_search policy_search_on(const struct policy_member *, const struct policy_group *);

/* Whether an upstream may be tried: it is not in backoff. */
bool policy_is_usable(const struct policy_member *);

/* Whether any attempt is in flight; its response may come. */
bool policy_is_in_flight(const struct query *);

/* Whether an attempt is in flight at that upstream on a connection that has not stalled. */
bool policy_is_asked(const struct query *, size_t upstream);

bool policy_was_tried(const struct query *, size_t upstream);

#endif
