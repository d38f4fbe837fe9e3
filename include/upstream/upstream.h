#ifndef DOTPROXY_UPSTREAM_H
#define DOTPROXY_UPSTREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "config/config.h"
#include "query/query.h"
#include "shared/scoreboard.h"
#include "transport/dot.h"

/*
 * The upstreams of each group in their order, and the policy: which one a query is sent to, when the
 * next one is tried as well, which one is down and until when. A query is sent to upstreams of its
 * `group' and to no others. Every query that is handed over comes back, answered or with the reason
 * why not, before its deadline.
 */
struct upstream_groups;

/*
 * Loads the trust stores and prepares the upstreams of CONFIG, which must outlive them. What workers
 * learn of an upstream is in SHARED, in the row that it had before, if it had one. Opens no socket.
 * NULL with the reason when a CA file cannot be used.
 */
struct upstream_groups *upstream_groups_new(const struct config *config, struct scoreboard *shared,
    struct failure *why);

/* How an upstream is verified; the texts belong to the configuration. */
struct dot_identity upstream_identity(const struct config_upstream *);

/* Closes all connections; queries in flight are forgotten. NULL is fine. */
void upstream_groups_free(struct upstream_groups *);

/* The most connections that a worker opens: it needs a descriptor for each. */
size_t upstream_connections_max(const struct config *);

/*
 * Prepares it for queries: its connections are waited for in the wait set SET, and the queries are
 * those of TABLE. Both stay the caller's. -1 with the reason.
 */
int upstream_attach(struct upstream_groups *, int set, struct query_table *table,
    struct failure *why);

/* The state of an upstream, for the log and the status; INDEX is that in the configuration. */
struct upstream_state {
	const char *name;  /* not the caller's, as the next */
	const char *route; /* the first domain of its route; NULL: at the top level */
	unsigned failures; /* in a row; 0: it is up */
	int down_s;        /* for how long it has been down */
	int64_t usual_us;  /* smoothed response time; 0: not known */
};
void upstream_state(const struct upstream_groups *, size_t index, struct deadline now,
    struct upstream_state *);

/* Whether all upstreams of a group are down, as far as any worker knows. */
bool upstream_all_down(const struct upstream_groups *, size_t group, struct deadline now);

/* What stands for all upstreams of a group, and what they are verified by, whatever their order. */
enum { UPSTREAM_GROUP_LEN = 16 };
void upstream_group(const struct upstream_groups *, size_t group,
    uint8_t out[static UPSTREAM_GROUP_LEN]);

/* Takes a query over. It is sent by upstream_send(). */
void upstream_ask(struct upstream_groups *, struct query *);

/* Something is ready on the connection with that index in the wait set (WAITSET_CONNECTION). */
void upstream_ready(struct upstream_groups *, size_t index, struct deadline now);

/* Does what has become due. */
void upstream_expire(struct upstream_groups *, struct deadline now);

/* Decides about each query that has changed, and sends: one write for each connection. */
void upstream_send(struct upstream_groups *, struct deadline now);

/* How many hedged queries were sent since the last call. */
size_t upstream_take_hedged(struct upstream_groups *);

/* When upstream_expire() must be called next, or sooner. */
struct deadline upstream_deadline(const struct upstream_groups *);

/* The next query that has ended, with its `outcome'; it is the caller's again. NULL: none. */
struct query *upstream_next_done(struct upstream_groups *);

/* Cancels a query that was handed over: it is the caller's again. */
void upstream_cancel(struct upstream_groups *, struct query *);

/* Why a query that has ended was not answered, as text: "1.1.1.1:853 ...: connect: ...". */
void upstream_explain(const struct upstream_groups *, const struct query *, struct failure *why);

/* What an operator should know. Each state of an upstream is reported once. */
struct upstream_event {
	enum { UPSTREAM_CONNECTED, UPSTREAM_DOWN, UPSTREAM_BACK, UPSTREAM_LESS_EDNS } what;
	const char *name;       /* "1.1.1.1:853 cloudflare-dns.com"; not the caller's */
	const char *route;      /* the first domain of its route; NULL: at the top level */
	const char *ca_file;    /* not the caller's; NULL: in cleartext */
	struct failure cause;   /* of UPSTREAM_DOWN */
	unsigned times;         /* of UPSTREAM_DOWN: how often, since that was last reported */
	struct dot_facts facts; /* of UPSTREAM_CONNECTED */
	int down_s;             /* of UPSTREAM_BACK: how long it was down */
	bool first;             /* UPSTREAM_CONNECTED: never before */
	bool no_edns;           /* UPSTREAM_LESS_EDNS: it gets no OPT record at all */
};

/* The next event. False when there is none. */
bool upstream_next_event(struct upstream_groups *, struct upstream_event *);

#endif
