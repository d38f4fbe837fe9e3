#ifndef DOTPROXY_UPSTREAM_INTERNAL_H
#define DOTPROXY_UPSTREAM_INTERNAL_H

#include "base/hash.h"
#include "shared/health.h"
#include "transport/connection.h"
#include "transport/outstanding.h"
#include "upstream/upstream.h"

/*
 * What the sources of `upstream' share; nobody else includes this.
 *
 *	upstream.c		the list, its life, what it tells
 *	upstream_connect.c	connections: open, watch, drain, close
 *	upstream_ask.c		whom to ask
 *	upstream_answer.c	what happens on connections: answers, and their end
 *	upstream_time.c		what happens when nothing does
 *	upstream_names.c	questions at which servers end connections
 */

/* No server gets a query more often than this and once (RFC 9520 3.1). */
enum { UPSTREAM_REPLAYS_MAX = 2 };

/* So many answers that nobody waits for any more, and a connection is not used on. */
enum { UPSTREAM_GIVEN_UP_MAX = 64 };

/*
 * Questions at which a server has ended a connection that carried nothing else. Each is sent on a
 * connection of its own for a while, so that it costs no other query anything.
 */
enum { FATAL_QUESTIONS = 16 };
struct fatal_question {
	uint64_t hash;
	struct deadline until;
};

/* One upstream and what is known of its health. */
struct upstream {
	const struct config_upstream *config;
	struct dot_trust *trust; /* may be shared with others */
	struct dot_server *server;
	struct connection *current; /* takes queries; NULL: none does */
	char name[CONFIG_UPSTREAM_NAME_MAX];
	int row;               /* in shared memory; -1: none */
	struct health *health; /* shared with the other workers */
	struct failure cause;  /* of the last failure that was seen here */
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
	struct deadline looked_at; /* `order: fastest' last asked it to learn its latency */
	enum edns_mode edns;       /* what it takes until then */
	struct deadline less_edns_until;
	bool news_edns;     /* it takes less than ours */
	bool was_connected; /* ever */
	bool news_connected;
	bool news_state;        /* it has gone down, or has come back */
	bool news_cause;        /* it is down for another reason */
	struct dot_facts facts; /* of the last connection */
};

struct upstream_list {
	const struct config *config;
	int set;
	struct query_table *table;
	struct scoreboard *shared;
	struct upstream *upstreams;
	size_t count;
	struct connection *connections;
	size_t connection_count;
	struct outstanding *ids;
	struct query_list in_hand; /* the oldest, which is due first, in front */
	struct query_list done;
	struct query canary; /* ". NS": any resolver has the answer */
	uint8_t canary_message[DNS_OWN_QUERY_MAX];
	struct hash_key hash_key;
	struct fatal_question fatal[FATAL_QUESTIONS]; /* a ring */
	size_t next_fatal;
	struct deadline fatal_until; /* of the last one */
	bool stranded;               /* queries wait for a connection, and none was free */
	bool has_room;               /* there may be one now */
	struct deadline look_at;     /* when another one is sent a query to learn its latency */
	struct deadline check_at;    /* nothing is due before */
};

/* How an upstream took it that it should be asked. */
enum taken { TAKEN, FAILED, NO_ROOM };

/* Something is due then: upstream_expire() looks at everything no later. */
void upstream_due(struct upstream_list *, struct deadline);

/* It could not be reached, or did not answer: all workers leave it alone for a while. */
void upstream_mark_failed(struct upstream_list *, size_t index, const struct failure *why,
    struct deadline now);

/* The upstream has answered in time: it is up. */
void upstream_mark_good(struct upstream *, struct deadline now);

/* Whether the upstream may be asked: it is up, or its backoff has ended. */
bool upstream_is_usable(const struct upstream *, struct deadline now);

/* Waits for the events that the connection wants now. */
void upstream_watch(struct upstream_list *, struct connection *);

/* Closes a connection that nobody waits for any more. */
void upstream_discard(struct upstream_list *, struct connection *);

/* It takes no more queries, and closes once the last that it has is done. */
void upstream_drain(struct upstream_list *, struct connection *);

/* A place for one more connection, or NULL. */
struct connection *upstream_free_place(struct upstream_list *);

/* What a connection is opened for. */
enum opened_for {
	OPENED_FOR_ALL,
	OPENED_FOR_RETRIES, /* queries under which another one has ended */
	OPENED_FOR_ONE      /* a query that may be the cause of that */
};

/* Opens a connection in a free place. NULL with the reason. */
struct connection *upstream_open(struct upstream_list *, struct connection *place, size_t index,
    enum opened_for, struct deadline now, struct failure *why);

/* Puts the sessions that the server has given where all workers find them. */
void upstream_share_sessions(struct upstream_list *, size_t index, struct deadline now);

/* The connection that takes the next query, if there is one. */
struct connection *upstream_usable_connection(struct upstream_list *, size_t index);

/* The same for a query under which a connection has ended: one with few others, or none yet. */
struct connection *upstream_retry_connection(struct upstream_list *, size_t index);

/* With a window: opens the next connection while the present ones still take queries. */
void upstream_open_ahead(struct upstream_list *, size_t index, struct deadline now);

/* A connection has answered more than the window: it is the one that takes queries now. */
void upstream_forget_window(struct upstream_list *, struct connection *);

/* Whether that upstream was asked this query. */
bool upstream_was_tried(const struct query *, size_t index);

/* Whether anybody has the query in hand. */
bool upstream_is_asked(const struct query *);

/* Records why an upstream failed a query. The client gets the reason of the first one. */
void upstream_blame(struct upstream_list *, struct query *, size_t index,
    const struct failure *why);

/* Has a connection send a query. */
void upstream_hand_over(struct connection *, struct ask *, struct query *, enum edns_mode mode);

/* Sends the query to that upstream. The reason of a failure has been recorded. */
enum taken upstream_ask_as(struct upstream_list *, struct query *, size_t index,
    enum edns_mode mode, struct deadline now);

/* The same, with what it is known to like. */
enum taken upstream_ask_of(struct upstream_list *, struct query *, size_t index,
    struct deadline now);

/*
 * Asks the next upstream that is up. One whose time of being left alone has just ended may
 * still be down, as one may that is in doubt: then the next one is asked beside it.
 */
enum taken upstream_ask_next(struct upstream_list *, struct query *, struct deadline now);

/* The same, and when none is up, asks all those that are down, side by side: any of them may be back. */
enum taken upstream_ask_anyone(struct upstream_list *, struct query *, struct deadline now);

/* A connection has ended at this question, and at no other. */
void upstream_note_fatal(struct upstream_list *, const struct query *, struct deadline now);
bool upstream_is_fatal(const struct upstream_list *, const struct query *, struct deadline now);

/* Sees to it that a query that nobody has in hand is asked of somebody, or ends. */
void upstream_move_on(struct upstream_list *, struct query *, struct deadline now);

/* The query is done with; who was asked and has not answered need not. */
void upstream_finish(struct upstream_list *, struct query *, enum query_outcome outcome);

/* How a query ends that nobody has answered well. */
enum query_outcome upstream_failed_outcome(const struct query *);

/* Closes a connection that has failed, and sees to the queries on it. */
void upstream_lose(struct upstream_list *, struct connection *, const struct failure *why,
    struct deadline now);

/*
 * Retries a query, whose ask has been taken off its connection, with the same upstream: it was
 * no attempt, since a server may close a connection when it likes (RFC 7766 6.2.4).
 */
void upstream_retry(struct upstream_list *, struct ask *, size_t index, struct deadline now);

/* The same for an attempt that failed: the next upstream is tried. */
void upstream_charge(struct upstream_list *, struct ask *, size_t index, const struct failure *why,
    struct deadline now);

/* When something must be done about the silence of a connection; NEVER when nothing is due on it. */
struct deadline upstream_silent_at(const struct upstream_list *, const struct connection *);

#endif
