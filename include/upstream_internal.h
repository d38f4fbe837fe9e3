#ifndef DOTPROXY_UPSTREAM_INTERNAL_H
#define DOTPROXY_UPSTREAM_INTERNAL_H

#include "connection.h"
#include "health.h"
#include "outstanding.h"
#include "upstream.h"

/*
 * What the sources of `upstream' share; nobody else includes this.
 *
 *	upstream.c		the list, its life, what it tells
 *	upstream_connect.c	connections: open, watch, drain, close
 *	upstream_ask.c		whom to ask
 *	upstream_answer.c	what happens on connections: answers, and their end
 *	upstream_time.c		what happens when nothing does
 */

/* No server gets a query more often than this and once (RFC 9520 3.1). */
enum { UPSTREAM_REPLAYS_MAX = 2 };

/* So many answers that nobody waits for any more, and a connection is not used on. */
enum { UPSTREAM_GIVEN_UP_MAX = 64 };

/* One upstream and what is known of its health. */
struct upstream {
	const struct config_upstream *config;
	struct dot_trust *trust; /* may be shared with others */
	struct dot_server *server;
	struct connection *current; /* takes queries; NULL: none does */
	char name[CONFIG_UPSTREAM_NAME_MAX];
	struct board_upstream *health; /* shared with the other workers */
	struct failure cause;          /* of the last failure that was seen here */
	unsigned cut_short;            /* connections in a row that ended with queries on them */
	struct deadline one_by_one;    /* until then, one query at a time */
	struct deadline silent_at;     /* silent on a fresh connection since; NEVER: it answers */
	struct deadline looked_at;     /* `order: fastest' last asked it to learn its latency */
	struct deadline bare_until;    /* until then, nothing is added to a query */
	bool was_connected;            /* ever */
	bool news_connected;
	bool news_down;
	bool news_back;
	struct deadline news_at; /* of the last news_down */
	struct dot_facts facts;  /* of the last connection */
};

struct upstream_list {
	const struct config *config;
	int set;
	struct query_table *table;
	struct board *board;
	struct upstream *upstreams;
	size_t count;
	struct connection *connections;
	size_t connection_count;
	struct outstanding *ids;
	struct query_list in_hand; /* the oldest, which is due first, in front */
	struct query_list done;
	bool stranded;            /* some in hand found no place for a connection */
	struct deadline look_at;  /* then another one is asked beside, to see how fast it is */
	struct deadline check_at; /* nothing is due before */
};

/* How an upstream took it that it should be asked. */
enum taken { TAKEN, FAILED, NO_ROOM };

/* Something is due then: upstream_expire() looks at everything no later. */
void upstream_due(struct upstream_list *, struct deadline);

/* It could not be reached, or did not answer: all workers leave it alone for a while. */
void upstream_mark_failed(struct upstream_list *, size_t index, const struct failure *why,
    struct deadline now);

/* It has answered: it is up. */
void upstream_mark_good(struct upstream *);

/* Whether it is worth asking: it is up, or its time of being left alone is over, or it could be reached again. */
bool upstream_is_usable(const struct upstream *, struct deadline now);

/* Waits for the events that the connection wants now. */
void upstream_watch(struct upstream_list *, struct connection *);

/* Closes a connection that nobody waits for any more. */
void upstream_discard(struct upstream_list *, struct connection *);

/* It takes no more queries, and closes once the last that it has is done. */
void upstream_drain(struct upstream_list *, struct connection *);

/* A place for one more connection, or NULL. */
struct connection *upstream_free_place(struct upstream_list *);

/* Opens a connection in a free place. NULL with the reason. */
struct connection *upstream_open(struct upstream_list *, struct connection *place, size_t index,
    struct deadline now, struct failure *why);

/* Puts the sessions that the server has given where all workers find them. */
void upstream_share_sessions(struct upstream_list *, size_t index, struct deadline now);

/* The connection that takes queries, if there is one and it still can. */
struct connection *upstream_usable_connection(struct upstream_list *, size_t index);

/* Whether that upstream was asked this query. */
bool upstream_was_tried(const struct query *, size_t index);

/* Whether anybody has the query in hand. */
bool upstream_is_asked(const struct query *);

/* The first to fail a query is the one that is told about. */
void upstream_blame(struct query *, size_t index);

/* Has a connection send a query, with what we add to its EDNS or BARE. */
void upstream_hand_over(struct connection *, struct ask *, struct query *, bool bare);

/* Asks that upstream, with what we add or BARE; what can be told of a failure has been noted. */
enum taken upstream_ask_as(struct upstream_list *, struct query *, size_t index, bool bare,
    struct deadline now);

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
 * Asks again what a lost connection still owed. One that had answered before is no failed
 * upstream, since servers close connections when they like (RFC 7766 6.2.4): what was sent
 * on it is asked again on a fresh one, within bounds; what was not, as often as need be.
 */
void upstream_ask_again(struct upstream_list *, struct ask *, size_t index, bool kept,
    struct deadline now);

/* How long a connection that owes an answer may be silent. */
int upstream_patience_ms(const struct upstream_list *, const struct connection *);

#endif
