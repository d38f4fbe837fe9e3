#ifndef DOTPROXY_UPSTREAM_INTERNAL_H
#define DOTPROXY_UPSTREAM_INTERNAL_H

#include "base/hash.h"
#include "shared/health.h"
#include "transport/connection.h"
#include "upstream/policy.h"
#include "upstream/upstream.h"

/*
 * What the sources of `upstream' share; nobody else includes this.
 *
 *	upstream.c		the list of a group, its life, what is logged of it
 *	upstream_groups.c	all lists, one for each group
 *	upstream_pool.c		connections: open, watch, drain, close
 *	upstream_results.c	events on connections become facts: responses, ends
 *	upstream_timers.c	so does time: silence, late responses, deadlines
 *	upstream_facts.c	what events record in a query
 *	upstream_fatal.c	questions at which servers end connections
 *	upstream_exchange.c	does what policy_next() decides about each query
 */

/* No server gets a query more often than this and once (RFC 9520 3.1). */
enum { UPSTREAM_RESENDS_MAX = 2 };

/* With more IDs than this in use for queries that were given up, a connection takes no more. */
enum { UPSTREAM_GIVEN_UP_MAX = 64 };

/*
 * With `fallback.after: auto', each query earns a part of an extra query, and few are saved up:
 * over any minute with 300 queries or more, fewer than 5 in 100 are extra.
 */
enum { HEDGE_COST = 100, HEDGE_EARNED = 4, HEDGE_SAVED_MAX = 3 * HEDGE_COST };

/*
 * Questions at which a server has ended a connection that carried nothing else. Each is sent on a
 * connection of its own for a while, so that it costs no other query anything.
 */
enum { FATAL_QUESTIONS = 16 };
struct fatal_question {
	uint64_t hash;
	struct deadline until;
};

/* A connection slot, and what the upstream module itself knows of the connection in it. */
struct upstream_connection {
	struct connection *connection; /* this and the next two are always the same */
	struct stream *stream;
	const struct connection_facts *facts;
	bool is_open;
	size_t upstream;         /* the index of the upstream */
	int idle_ms;             /* closed when idle for so long */
	uint32_t watched;        /* the events it is in the wait set with */
	bool draining;           /* takes no new query, and closes when it is idle */
	bool retries;            /* while opening, a draining connection takes retries */
	bool stalled;            /* nothing was received for too long */
	struct deadline step_by; /* the deadline of connect, then of the handshake */
	struct deadline opened;
};

/* One upstream and what is known of its health. */
struct upstream {
	const struct config_upstream *config;
	struct dot_trust *trust;             /* may be shared with others; NULL: in cleartext */
	struct dot_server *server;           /* the same */
	struct cleartext_server *cleartext;  /* NULL: over TLS */
	struct edns_settings privacy;        /* of the queries that it gets */
	struct upstream_connection *current; /* takes queries; NULL: none does */
	char name[CONFIG_UPSTREAM_NAME_MAX];
	uint8_t key[DOT_KEY_LEN]; /* stands for what it is reached and verified by */
	int row;                  /* in shared memory; -1: none */
	struct health *health;    /* shared with the other workers */
	struct failure cause;     /* of the last failure that was seen here */
	/*
	 * How many queries a connection answers before the server ends it: as many as the last two
	 * that ended with some unanswered. Others are opened in time, so that none waits for it.
	 * SIZE_MAX when it is not known, and as soon as a connection has answered more.
	 */
	size_t window;
	size_t last_end; /* what the last of them answered; 0: a connection has answered more */
	struct deadline answered; /* in time, the last one */
	unsigned canaries_lost;   /* by connections that ended; none since it has answered */
	struct deadline canary_lost_at;
	struct deadline probed_at; /* `order: fastest' last sent it a query to learn its latency */
	enum edns_mode edns;       /* what it takes until then */
	struct deadline less_edns_until;
	bool log_edns;      /* it takes less than ours */
	bool was_connected; /* ever */
	bool log_connected;
	bool log_state;         /* it has gone down, or has come back */
	bool log_cause;         /* it is down for another reason */
	struct dot_facts facts; /* of the last connection */
};

/* The upstreams of a group. */
struct upstream_list {
	const struct config *config;
	const struct config_group *settings;
	size_t number; /* of the group */
	int set;
	struct query_table *table;
	struct scoreboard *shared;
	struct upstream *upstreams;
	size_t count;
	struct connection_table *slots;
	struct upstream_connection *connections;
	size_t connection_count;
	struct query_list in_flight; /* the oldest, which is due first, in front */
	struct query_list changed;   /* those of them that policy_next() is to be asked about */
	struct query_list done;
	struct policy_group group;
	struct policy_member *members; /* as they are in this turn */
	struct query canary; /* the name servers of the root, or of a domain of the route */
	uint8_t canary_message[DNS_NS_QUERY_MAX];
	struct hash_key hash_key;
	struct fatal_question fatal[FATAL_QUESTIONS]; /* a ring */
	size_t next_fatal;
	struct deadline fatal_until; /* of the last one */
	size_t hedged;               /* extra queries since upstream_take_hedged() */
	int hedge_credit;            /* see HEDGE_COST */
	bool queries_wait;           /* for a slot of a connection, and none was free */
	bool has_room;               /* there may be one now */
	struct deadline probe_at;    /* when the latency of another upstream is probed */
	struct deadline check_at;    /* nothing is due before */
};

/* In the wait set, connection I of a list has this index: I, and the number of the group above it. */
enum { UPSTREAM_INDEX_BITS = 16 };

/*
 * Prepares the upstreams of the group with that number, of which TRUSTS has the trust of each; it
 * must outlive the list. The functions below are those of upstream.h, for one list.
 */
struct upstream_list *upstream_list_new(const struct config *, size_t number,
    struct dot_trust *const *trusts, struct scoreboard *shared, struct failure *why);
void upstream_list_free(struct upstream_list *);
size_t upstream_list_connections_max(const struct config *, const struct config_group *);
int upstream_list_attach(struct upstream_list *, int set, struct query_table *,
    struct failure *why);
void upstream_list_state(const struct upstream_list *, size_t index, struct deadline now,
    struct upstream_state *);
bool upstream_list_all_down(const struct upstream_list *, struct deadline now);
void upstream_list_group(const struct upstream_list *, uint8_t group[static UPSTREAM_GROUP_LEN]);
void upstream_list_ask(struct upstream_list *, struct query *);
void upstream_list_ready(struct upstream_list *, size_t connection, struct deadline now);
void upstream_list_expire(struct upstream_list *, struct deadline now);
void upstream_list_send(struct upstream_list *, struct deadline now);
struct query *upstream_list_next_done(struct upstream_list *);
void upstream_list_cancel(struct upstream_list *, struct query *);
void upstream_list_explain(const struct upstream_list *, const struct query *, struct failure *why);
bool upstream_list_next_event(struct upstream_list *, struct upstream_event *);

/* Something is due then: upstream_list_expire() checks everything no later. */
void upstream_due(struct upstream_list *, struct deadline);

/* It could not be reached, or did not answer: it is in backoff, for all workers. */
void upstream_report_failure(struct upstream_list *, size_t index, const struct failure *why,
    struct deadline now);

/* The upstream has answered in time: it is up. */
void upstream_report_success(struct upstream *, struct deadline now);

/* Changes the wait set to the events that the connection needs now. */
void upstream_watch(struct upstream_list *, struct upstream_connection *);

/* Closes a connection that no query waits for. */
void upstream_discard(struct upstream_list *, struct upstream_connection *);

/* It takes no more queries, and closes once the last that it has is done. */
void upstream_drain(struct upstream_list *, struct upstream_connection *);

/* A slot for one more connection, or NULL. */
struct upstream_connection *upstream_free_slot(struct upstream_list *);

/* What a connection is opened for. */
enum opened_for {
	OPENED_FOR_ALL,
	OPENED_FOR_RETRIES, /* queries under which another one has ended */
	OPENED_FOR_ONE      /* a query that may be the cause of that */
};

/* Opens a connection in a free slot. NULL with the reason. */
struct upstream_connection *upstream_open(struct upstream_list *, struct upstream_connection *slot,
    size_t index, enum opened_for, struct deadline now, struct failure *why);

/* Puts the sessions that the server has given where all workers find them. */
void upstream_share_sessions(struct upstream_list *, size_t index, struct deadline now);

/* The connection that takes the next query, if there is one. */
struct upstream_connection *upstream_usable_connection(struct upstream_list *, size_t index);

/* The same for a query under which a connection has ended: one with few others, or none yet. */
struct upstream_connection *upstream_retry_connection(struct upstream_list *, size_t index);

/* With a window: opens the next connection while the present ones still take queries. */
void upstream_open_ahead(struct upstream_list *, size_t index, struct deadline now);

/* A connection has answered more than the window: it is the one that takes queries now. */
void upstream_forget_window(struct upstream_list *, struct upstream_connection *);

/* A connection has ended at this question, and at no other. */
void upstream_note_fatal(struct upstream_list *, const struct query *, struct deadline now);
bool upstream_is_fatal(const struct upstream_list *, const struct query *, struct deadline now);

/* Something has happened to the query: this turn, policy_next() is asked what to do. */
void upstream_changed(struct upstream_list *, struct query *);

/* Records why an upstream failed a query. The client gets the reason of the first one. */
void upstream_note_failure(struct upstream_list *, struct query *, size_t index,
    const struct failure *why);

/* The same for an attempt that has been taken off its connection. */
void upstream_note_failed(struct upstream_list *, struct attempt *, const struct failure *why);

/*
 * The query is to be sent again to the same upstream. The attempt, which has been taken off its
 * connection, does not count, since a server may close a connection when it likes (RFC 7766
 * 6.2.4).
 */
void upstream_note_retry(struct upstream_list *, struct attempt *);

/* Closes a connection that has failed, and records what that means for its queries. */
void upstream_lose(struct upstream_list *, struct upstream_connection *, const struct failure *why,
    struct deadline now);

/* When something must be done about the silence of a connection; NEVER if nothing is due on it. */
struct deadline upstream_silent_at(const struct upstream_list *,
    const struct upstream_connection *);

#endif
