#include "upstream.h"

#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "dns.h"
#include "edns.h"
#include "health.h"
#include "outstanding.h"
#include "waitset.h"

enum {
	/* The wait for an answer on a kept connection: three times what is usual, within these. */
	KEPT_ANSWER_MIN_MS = 200,
	KEPT_ANSWER_MAX_MS = 1000,

	/* So many answers that nobody waits for any more, and a connection is not used on. */
	GIVEN_UP_MAX = 64,

	/* Without kept connections each query has one of its own; so many side by side. */
	SINGLE_CONNECTIONS_MAX = 256,

	/* No server gets a query more often than this and once (RFC 9520 3.1). */
	REPLAYS_MAX = 2,

	/* A server that ends connections before it has answered all is asked one by one for so long. */
	ONE_BY_ONE_MS = 60000,

	/* A server that does not like what we add to a query is asked without for so long. */
	BARE_MS = 3600000,

	/* With `order: fastest', so often another one than the fastest is looked at. */
	LOOK_AROUND_MS = 10000,

	/* A changed reason of an upstream that is down is news so often at most. */
	NEWS_INTERVAL_MS = 10000
};

/* One upstream and what is known of its health. */
struct upstream {
	const struct config_upstream	*config;
	struct dot_trust		*trust;		/* may be shared with others */
	struct dot_server		*server;
	struct connection		*current;	/* takes queries; NULL: none does */
	char				 name[CONFIG_UPSTREAM_NAME_MAX];
	struct board_upstream		*health;	/* shared with the other workers */
	struct failure			 cause;		/* of the last failure that was seen here */
	unsigned			 cut_short;	/* connections in a row that ended with queries on them */
	struct deadline			 one_by_one;	/* until then, one query at a time */
	bool				 doubtful;	/* it was slow to show that it is there, and has not answered since */
	struct deadline			 looked_at;	/* a query was asked of it to see how fast it is */
	bool				 looking;	/* and was not answered yet */
	struct deadline			 bare_until;	/* until then, nothing is added to a query */
	bool				 was_connected;	/* ever */
	bool				 news_connected;
	bool				 news_down;
	bool				 news_back;
	struct deadline			 news_at;	/* of the last news_down */
	struct dot_facts		 facts;		/* of the last connection */
};

struct upstream_list {
	const struct config	*config;
	int			 set;
	struct query_table	*table;
	struct board		*board;
	struct upstream		*upstreams;
	size_t			 count;
	struct connection	*connections;
	size_t			 connection_count;
	struct outstanding	*ids;
	struct query_list	 in_hand;	/* the oldest, which is due first, in front */
	struct query_list	 done;
	bool			 stranded;	/* some in hand found no place for a connection */
	struct deadline		 look_at;	/* then another one is asked beside, to see how fast it is */
	struct deadline		 check_at;	/* nothing is due before */
};

/* ---- life ---- */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static struct dot_trust *
trust_for(const struct upstream_list *l, const struct config_upstream *c, struct failure *why)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		const struct config_upstream *other = l->upstreams[i].config;

		if (same_text(c->ca_file, other->ca_file) && same_text(c->crl_file, other->crl_file))
			return l->upstreams[i].trust;
	}
	return dot_trust_new(c->ca_file, c->crl_file, why);
}

struct dot_identity
upstream_identity(const struct config_upstream *c)
{
	return (struct dot_identity){ .address = c->address, .hostname = c->hostname,
		.pins = (const char *const *)c->pins, .pin_count = c->pin_count, .pins_only = c->pins_only };
}

struct upstream_list *
upstream_list_new(const struct config *config, struct failure *why)
{
	struct upstream_list *l = calloc(1, sizeof *l);
	struct dot_identity identity;

	if (l == NULL || (l->upstreams = calloc(config->upstream_count, sizeof *l->upstreams)) == NULL) {
		(void)fail_errno(why, "upstreams");
		free(l);
		return NULL;
	}
	l->config = config;
	TAILQ_INIT(&l->in_hand);
	TAILQ_INIT(&l->done);
	l->check_at = DEADLINE_NEVER;
	while (l->count < config->upstream_count) {
		struct upstream *u = &l->upstreams[l->count];

		u->config = &config->upstreams[l->count];
		(void)config_upstream_name(u->config, u->name);
		if ((u->trust = trust_for(l, u->config, why)) == NULL) {
			upstream_list_free(l);
			return NULL;
		}
		l->count++;
		identity = upstream_identity(u->config);
		u->server = dot_server_new(u->trust, &identity, config->tls.fast_open, why);
		if (u->server == NULL) {
			upstream_list_free(l);
			return NULL;
		}
	}
	return l;
}

/* Whether an upstream further in front has the same trust. */
static bool
trust_is_shared(const struct upstream_list *l, size_t index)
{
	size_t i;

	for (i = 0; i < index; i++)
		if (l->upstreams[i].trust == l->upstreams[index].trust)
			return true;
	return false;
}

void
upstream_list_free(struct upstream_list *l)
{
	size_t i;

	if (l == NULL)
		return;
	for (i = 0; i < l->connection_count; i++)
		if (l->connections[i].dot != NULL)
			connection_close(&l->connections[i], l->ids);
	connection_table_free(l->connections, l->connection_count);
	outstanding_free(l->ids);
	for (i = l->count; i > 0; i--) {
		dot_server_free(l->upstreams[i - 1].server);
		if (!trust_is_shared(l, i - 1))
			dot_trust_free(l->upstreams[i - 1].trust);
	}
	free(l->upstreams);
	free(l);
}

int
upstream_attach(struct upstream_list *l, int set, struct query_table *table, struct board *board,
    struct failure *why)
{
	size_t inflight = (size_t)l->config->inflight;
	/* While one takes queries, others finish theirs. */
	size_t connections = 2 * l->count + 2;
	size_t i;

	if (l->config->timeouts.upstream_idle_ms == 0)
		connections += inflight < SINGLE_CONNECTIONS_MAX ? inflight : SINGLE_CONNECTIONS_MAX;
	l->set = set;
	l->table = table;
	l->board = board;
	for (i = 0; i < l->count; i++)
		l->upstreams[i].health = board_upstream(board, i);
	l->ids = outstanding_new(2 * inflight + connections * GIVEN_UP_MAX);
	l->connections = connection_table_new(connections);
	if (l->ids == NULL || l->connections == NULL)
		return fail_errno(why, "upstreams");
	l->connection_count = connections;
	return 0;
}

/* ---- health ---- */

static bool
same_upstream(const struct config_upstream *a, const struct config_upstream *b)
{
	return address_equal(&a->address, &b->address) && same_text(a->hostname, b->hostname);
}

void
upstream_inherit(const struct upstream_list *l, struct board *board, const struct upstream_list *from,
    struct board *from_board)
{
	size_t i;
	size_t k;

	for (i = 0; i < l->count; i++)
		for (k = 0; k < from->count; k++)
			if (same_upstream(l->upstreams[i].config, from->upstreams[k].config))
				health_copy(board_upstream(board, i), board_upstream(from_board, k));
}

void
upstream_state(const struct upstream_list *l, struct board *board, size_t index, struct deadline now,
    struct upstream_state *state)
{
	const struct board_upstream *row = board_upstream(board, index);

	state->name = l->upstreams[index].name;
	state->failures = atomic_load(&row->failures);
	state->down_s = health_down_s(row, now);
	state->usual_us = health_usual_us(row);
}

static void
due(struct upstream_list *l, struct deadline d)
{
	l->check_at = deadline_sooner(l->check_at, d);
}

static void
mark_failed(struct upstream_list *l, size_t index, const struct failure *why, struct deadline now)
{
	struct upstream *u = &l->upstreams[index];
	bool changed = u->cause.text[0] != '\0' && strcmp(u->cause.text, why->text) != 0;
	bool was_up = health_failed(u->health, now);

	u->cause = *why;
	if (was_up || (changed && deadline_passed(deadline_after(u->news_at, NEWS_INTERVAL_MS), now))) {
		u->news_down = true;
		u->news_at = now;
	}
}

static void
mark_good(struct upstream *u)
{
	if (!health_answered(u->health))
		return;
	/* What was never reported need not be taken back. */
	u->news_back = !u->news_down;
	u->news_down = false;
}

/* Whether it is worth asking: it is up, or its time of being left alone is over, or it could be reached again. */
static bool
is_usable(const struct upstream *u, struct deadline now)
{
	return !health_is_left_alone(u->health, now) ||
	    (u->current != NULL && dot_stage(u->current->dot) == DOT_READY);
}

/* ---- connections ---- */

static void
watch(struct upstream_list *l, struct connection *c)
{
	uint32_t events = dot_events(c->dot);

	if (events == c->watched)
		return;
	(void)waitset_change(l->set, dot_fd(c->dot), events, WAITSET_CONNECTION, c->index);
	c->watched = events;
}

/* Closes a connection that nobody waits for any more. */
static void
discard(struct upstream_list *l, struct connection *c)
{
	if (l->upstreams[c->upstream].current == c)
		l->upstreams[c->upstream].current = NULL;
	waitset_remove(l->set, dot_fd(c->dot));
	connection_close(c, l->ids);
}

/* It takes no more queries, and closes once the last that it has is done. */
static void
drain(struct upstream_list *l, struct connection *c)
{
	c->draining = true;
	if (l->upstreams[c->upstream].current == c)
		l->upstreams[c->upstream].current = NULL;
}

static struct connection *
free_place(struct upstream_list *l)
{
	size_t i;

	for (i = 0; i < l->connection_count; i++)
		if (l->connections[i].dot == NULL)
			return &l->connections[i];
	return NULL;
}

static struct connection *
open_connection(struct upstream_list *l, struct connection *place, size_t index, struct deadline now,
    struct failure *why)
{
	struct upstream *u = &l->upstreams[index];
	uint8_t session[BOARD_SESSION_MAX];
	size_t len = board_take_session(l->board, index, session, now);
	struct dot *dot;

	if ((dot = dot_open(u->server, session, len, why)) == NULL)
		return NULL;
	connection_init(place, dot, index, &l->config->privacy, l->config->timeouts.upstream_idle_ms);
	place->heard = now;
	place->step_by = deadline_after(now, l->config->timeouts.connect_ms);
	place->watched = dot_events(dot);
	if (waitset_add(l->set, dot_fd(dot), place->watched, WAITSET_CONNECTION, place->index) == -1) {
		(void)fail_errno(why, "connect");
		connection_close(place, l->ids);
		return NULL;
	}
	due(l, place->step_by);
	if (l->config->timeouts.upstream_idle_ms == 0)
		place->draining = true; /* after the one query that it is opened for */
	else
		u->current = place;
	return place;
}

/* Puts the sessions that the server has given where all workers find them. */
static void
share_sessions(struct upstream_list *l, size_t index, struct deadline now)
{
	uint8_t session[BOARD_SESSION_MAX];
	size_t len;
	int ms;

	while ((len = dot_next_session(l->upstreams[index].server, session, sizeof session, &ms)) > 0)
		board_put_session(l->board, index, session, len, deadline_after(now, ms));
}

/* The connection that takes queries, if it still can. */
static struct connection *
usable_connection(struct upstream_list *l, size_t index)
{
	struct connection *c = l->upstreams[index].current;

	if (c == NULL)
		return NULL;
	if (c->given_up > GIVEN_UP_MAX) {
		drain(l, c);
		return NULL;
	}
	if (connection_is_idle(c) && dot_stage(c->dot) == DOT_READY && !dot_is_alive(c->dot)) {
		discard(l, c);
		return NULL;
	}
	return c;
}

/* ---- a query ---- */

/* Nobody is asked any more; IDs of what was sent stay taken. */
static void
release_asks(struct upstream_list *l, struct query *q)
{
	size_t i;

	for (i = 0; i < QUERY_ASKS_MAX; i++) {
		struct connection *c = q->asks[i].at;

		if (c == NULL)
			continue;
		connection_release(&q->asks[i], l->ids);
		if (c->draining && connection_is_idle(c))
			discard(l, c);
	}
}

static void
finish(struct upstream_list *l, struct query *q, enum query_outcome outcome)
{
	release_asks(l, q);
	q->outcome = outcome;
	TAILQ_REMOVE(&l->in_hand, q, upstream_link);
	TAILQ_INSERT_TAIL(&l->done, q, upstream_link);
}

/* The first to fail a query is the one that is told about. */
static void
blame(struct query *q, size_t index)
{
	if (q->blame == -1)
		q->blame = (int)index;
}

static bool
was_tried(const struct query *q, size_t index)
{
	return (q->tried[index / 64] & UINT64_C(1) << index % 64) != 0;
}

static struct ask *
vacant_ask(struct query *q)
{
	size_t i;

	for (i = 0; i < QUERY_ASKS_MAX; i++)
		if (q->asks[i].at == NULL)
			return &q->asks[i];
	return NULL;
}

static bool
is_asked(const struct query *q)
{
	size_t i;

	for (i = 0; i < QUERY_ASKS_MAX; i++)
		if (q->asks[i].at != NULL)
			return true;
	return false;
}

/* How an upstream took it that it should be asked. */
enum taken { TAKEN, FAILED, NO_ROOM };

static void
hand_over(struct connection *c, struct ask *a, struct query *q, bool bare)
{
	q->tried[c->upstream / 64] |= UINT64_C(1) << c->upstream % 64;
	a->query = q;
	a->at = c;
	a->sent = false;
	a->bare = bare;
	TAILQ_INSERT_TAIL(&c->waiting, a, link);
}

/*
 * Asks that upstream, with what we add to its EDNS or BARE; what can be told of a failure
 * has been noted.
 */
static enum taken
ask_as(struct upstream_list *l, struct query *q, size_t index, bool bare, struct deadline now)
{
	struct connection *c = usable_connection(l, index);
	struct ask *a = vacant_ask(q);
	struct connection *place;
	struct failure why;

	if (a == NULL)
		return NO_ROOM;
	if (c == NULL) {
		if ((place = free_place(l)) == NULL)
			return NO_ROOM;
		if ((c = open_connection(l, place, index, now, &why)) == NULL) {
			q->tried[index / 64] |= UINT64_C(1) << index % 64;
			blame(q, index);
			mark_failed(l, index, &why, now);
			return FAILED;
		}
	}
	hand_over(c, a, q, bare);
	return TAKEN;
}

static enum taken
ask(struct upstream_list *l, struct query *q, size_t index, struct deadline now)
{
	return ask_as(l, q, index, !deadline_passed(l->upstreams[index].bare_until, now), now);
}

/* Whether the second one is clearly faster: one that was never asked is not. */
static bool
is_faster(const struct upstream *than, const struct upstream *u)
{
	int64_t usual_us = health_usual_us(u->health);
	int64_t than_us = health_usual_us(than->health);

	return usual_us > 0 && (than_us == 0 || usual_us < than_us - than_us / 5);
}

/* The first one in the order that was not tried yet and is, or is not, left alone for now. */
static int
pick(const struct upstream_list *l, const struct query *q, bool usable, struct deadline now)
{
	int best = -1;
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (was_tried(q, i) || is_usable(&l->upstreams[i], now) != usable)
			continue;
		if (!l->config->order_fastest)
			return (int)i;
		if (best == -1 || is_faster(&l->upstreams[best], &l->upstreams[i]))
			best = (int)i;
	}
	return best;
}

/*
 * Who is fastest changes: now and then a query is asked of another one beside, of that whose
 * time was looked at longest ago.
 */
static void
look_around(struct upstream_list *l, struct query *q, struct deadline now)
{
	struct upstream *oldest = NULL;
	size_t i;

	if (!l->config->order_fastest || !deadline_passed(l->look_at, now))
		return;
	l->look_at = deadline_after(now, LOOK_AROUND_MS);
	for (i = 0; i < l->count; i++) {
		struct upstream *u = &l->upstreams[i];

		if (!was_tried(q, i) && is_usable(u, now) &&
		    (oldest == NULL || u->looked_at.at_us < oldest->looked_at.at_us))
			oldest = u;
	}
	if (oldest == NULL)
		return;
	oldest->looked_at = now;
	oldest->looking = ask(l, q, (size_t)(oldest - l->upstreams), now) == TAKEN;
}

/*
 * Asks the next upstream that is up. One whose time of being left alone has just ended may
 * still be down, as one may that is in doubt: then the next one is asked beside it.
 */
static enum taken
ask_next(struct upstream_list *l, struct query *q, struct deadline now)
{
	enum taken taken = FAILED;
	int i;

	while ((i = pick(l, q, true, now)) != -1) {
		struct upstream *u = &l->upstreams[i];
		bool on_trial = u->doubtful || health_is_down(u->health);

		if (health_is_down(u->health))
			(void)health_claim_trial(u->health, now);
		switch (ask(l, q, (size_t)i, now)) {
		case NO_ROOM:
			return taken == TAKEN ? TAKEN : NO_ROOM;
		case TAKEN:
			if (!on_trial)
				return TAKEN;
			taken = TAKEN;
			break;
		case FAILED:
			break;
		}
	}
	return taken;
}

/* Asks all those that are down, side by side: any of them may be back. */
static enum taken
ask_those_down(struct upstream_list *l, struct query *q, struct deadline now)
{
	enum taken taken = FAILED;
	int i;

	while ((i = pick(l, q, false, now)) != -1) {
		enum taken this = ask(l, q, (size_t)i, now);

		if (this == NO_ROOM)
			return taken == TAKEN ? TAKEN : NO_ROOM;
		if (this == TAKEN)
			taken = TAKEN;
	}
	return taken;
}

static enum query_outcome
failed_outcome(const struct query *q)
{
	if (q->response_len > 0)
		return QUERY_ANSWERED;
	return q->was_sent ? QUERY_UNANSWERED : QUERY_UNREACHABLE;
}

/* Sees to it that a query that nobody has in hand is asked of somebody, or ends. */
static void
move_on(struct upstream_list *l, struct query *q, struct deadline now)
{
	enum taken taken;

	if (is_asked(q))
		return;
	/* An error that is worth a second opinion stands when there is none. */
	if (q->response_len > 0) {
		finish(l, q, QUERY_ANSWERED);
		return;
	}
	taken = ask_next(l, q, now);
	if (taken == FAILED)
		taken = ask_those_down(l, q, now);
	if (taken == FAILED)
		finish(l, q, failed_outcome(q));
	q->stranded = taken == NO_ROOM;
	l->stranded = l->stranded || q->stranded;
}

void
upstream_ask(struct upstream_list *l, struct query *q, struct deadline now)
{
	int after_ms = l->config->fallback_after_ms;

	TAILQ_INSERT_TAIL(&l->in_hand, q, upstream_link);
	due(l, q->by);
	move_on(l, q, now);
	/* At once means all of them. */
	while (after_ms == 0 && q->outcome == QUERY_OPEN && ask_next(l, q, now) == TAKEN)
		continue;
	if (q->outcome == QUERY_OPEN)
		look_around(l, q, now);
	if (after_ms > 0 && l->count > 1) {
		q->next_at = deadline_after(now, after_ms);
		due(l, q->next_at);
	}
}

void
upstream_cancel(struct upstream_list *l, struct query *q)
{
	release_asks(l, q);
	if (q->outcome == QUERY_OPEN)
		TAILQ_REMOVE(&l->in_hand, q, upstream_link);
	else
		TAILQ_REMOVE(&l->done, q, upstream_link);
}

/* ---- what happens on connections ---- */

/*
 * A server may end a connection with queries on it when it must. One that does so again
 * and again does not take several at a time.
 */
static void
note_end(struct upstream *u, bool cut_short, struct deadline now)
{
	u->cut_short = cut_short ? u->cut_short + 1 : 0;
	if (u->cut_short > 1)
		u->one_by_one = deadline_after(now, ONE_BY_ONE_MS);
}

/*
 * Asks again what a lost connection still owed. One that had answered before is no failed
 * upstream, since servers close connections when they like (RFC 7766 6.2.4): what was sent
 * on it is asked again on a fresh one, within bounds; what was not, as often as need be.
 */
static void
ask_again(struct upstream_list *l, struct ask *a, size_t index, bool kept, struct deadline now)
{
	struct query *q = a->query;
	bool again = kept && (!a->sent || q->replays < REPLAYS_MAX);

	q->replays += again && a->sent;
	a->at = NULL;
	a->sent = false;
	if (again && ask_as(l, q, index, a->bare, now) == TAKEN)
		return;
	if (!again)
		blame(q, index);
	move_on(l, q, now);
}

/* Closes a connection that has failed, and sees to the queries on it. */
static void
lose(struct upstream_list *l, struct connection *c, const struct failure *why, struct deadline now)
{
	struct ask_list lost = TAILQ_HEAD_INITIALIZER(lost);
	size_t index = c->upstream;
	bool kept = c->has_answered;
	struct ask *a;

	share_sessions(l, index, now);
	/* What the next one will leave out is no more reason to give the server up than to count it. */
	kept = kept || dot_may_try_again(c->dot);
	if (!kept && !c->suspect && (dot_stage(c->dot) != DOT_READY || !connection_is_idle(c)))
		mark_failed(l, index, why, now);
	if (c->outstanding > 0)
		outstanding_clear(l->ids, c->index);
	if (kept)
		note_end(&l->upstreams[index], c->outstanding > 0, now);
	TAILQ_CONCAT(&lost, &c->sent, link);
	TAILQ_CONCAT(&lost, &c->waiting, link);
	discard(l, c);
	while ((a = TAILQ_FIRST(&lost)) != NULL) {
		TAILQ_REMOVE(&lost, a, link);
		ask_again(l, a, index, kept, now);
	}
}

/* Whether another upstream could not do better. */
static bool
is_final(const struct arrival *arrival, const struct edns_response *r)
{
	if (!r->is_readable && !arrival->ask->query->dns.is_signed)
		return false;
	switch (dns_response_rcode(arrival->message, DNS_HEADER_LEN)) {
	case DNS_SERVFAIL:
		return dns_response_is_bogus(arrival->message, arrival->len);
	case DNS_FORMERR:
	case DNS_NOTIMP:
	case DNS_REFUSED:
		return false;
	default:
		return true;
	}
}

static void
keep_response(const struct upstream_list *l, const struct upstream *u, const struct arrival *arrival,
    const struct edns_response *r)
{
	struct query *q = arrival->ask->query;
	struct failure why;

	if (arrival->match == DNS_MATCH_BARE) {
		q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns,
		    dns_response_rcode(arrival->message, arrival->len), DNS_EDE_NONE, NULL);
		return;
	}
	q->response_len = edns_write_response(q->response, arrival->message, arrival->len, r, &q->dns,
	    &l->config->privacy);
	if (q->response_len == 0) {
		(void)fail_with(&why, "%s: query: the answer cannot be read", u->name);
		q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns,
		    DNS_SERVFAIL, DNS_EDE_NETWORK_ERROR, why.text);
		return;
	}
	dns_set_id(q->response, q->dns.id);
	if (!q->dns.is_signed)
		dns_copy_question(q->response, q->message, q->dns.question_len);
}

/*
 * The server keeps an idle connection for that long (RFC 7828 3.2.2), so it is closed before.
 * 0: it wants no more queries on it; those that were not sent yet go to another.
 */
static void
heed_keepalive(struct upstream_list *l, struct connection *c, int ms, struct deadline now)
{
	int own_ms = l->config->timeouts.upstream_idle_ms;
	struct ask *a;

	if (ms == -1)
		return;
	c->idle_ms = ms - ms / 4 < own_ms ? ms - ms / 4 : own_ms;
	if (ms > 0)
		return;
	drain(l, c);
	while ((a = TAILQ_FIRST(&c->waiting)) != NULL) {
		TAILQ_REMOVE(&c->waiting, a, link);
		ask_again(l, a, c->upstream, true, now);
	}
}

/*
 * FORMERR may mean that the server does not like what we have added (RFC 6891 7). It is asked
 * once more without, and if that helps, it is remembered. Whether it is asked.
 */
static bool
asks_bare(struct upstream_list *l, struct connection *c, const struct arrival *arrival,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];
	struct ask *a = arrival->ask;
	struct query *q = a->query;
	bool formerr = dns_response_rcode(arrival->message, DNS_HEADER_LEN) == DNS_FORMERR;

	if (a->bare && !formerr && deadline_passed(u->bare_until, now))
		u->bare_until = deadline_after(now, BARE_MS);
	if (a->bare || !formerr || q->dns.is_signed || q->replays == REPLAYS_MAX)
		return false;
	q->replays++;
	if (c->draining)
		return ask_as(l, q, c->upstream, true, now) == TAKEN;
	hand_over(c, a, q, true);
	return true;
}

static void
deliver(struct upstream_list *l, struct connection *c, const struct arrival *arrival,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];
	struct edns_response response;
	struct query *q;
	bool final;

	c->has_answered = true;
	u->doubtful = false;
	mark_good(u);
	edns_read_response(arrival->message, arrival->len, &response);
	heed_keepalive(l, c, response.keepalive_ms, now);
	due(l, deadline_after(now, c->idle_ms));
	/* Nobody waits for it any more, but how long it took is worth knowing. */
	if (arrival->ask == NULL && u->looking)
		health_took(u->health, deadline_us_between(u->looked_at, now));
	u->looking = false;
	if (arrival->ask == NULL)
		return;
	health_took(u->health, deadline_us_between(arrival->ask->since, now));
	if (asks_bare(l, c, arrival, now))
		return;
	q = arrival->ask->query;
	final = is_final(arrival, &response);
	if (final || q->response_len == 0)
		keep_response(l, u, arrival, &response);
	if (final)
		finish(l, q, QUERY_ANSWERED);
	else if (!is_asked(q) && (q->has_second_opinion || ask_next(l, q, now) != TAKEN))
		finish(l, q, QUERY_ANSWERED);
	else
		q->has_second_opinion = true;
}

/* One line at the level of the program says it once for an upstream. */
static void
note_connected(struct upstream *u, const struct connection *c)
{
	dot_describe(c->dot, &u->facts);
	u->news_connected = true;
}

/* Goes on opening a connection. False when it is not ready yet, or lost. */
static bool
opens(struct upstream_list *l, struct connection *c, struct deadline now)
{
	enum dot_stage before = dot_stage(c->dot);
	struct failure why;

	if (before == DOT_READY)
		return true;
	if (dot_step(c->dot, &why) == -1) {
		lose(l, c, &why, now);
		return false;
	}
	if (before == DOT_CONNECTING && dot_stage(c->dot) != DOT_CONNECTING) {
		c->step_by = deadline_after(now, l->config->timeouts.handshake_ms);
		due(l, c->step_by);
	}
	if (dot_stage(c->dot) == DOT_READY)
		note_connected(&l->upstreams[c->upstream], c);
	watch(l, c);
	return dot_stage(c->dot) == DOT_READY;
}

void
upstream_ready(struct upstream_list *l, size_t connection, struct deadline now)
{
	struct connection *c = &l->connections[connection];
	struct arrival arrival;
	struct failure why;
	int rc;

	/* It may have been closed earlier in this turn. */
	if (c->dot == NULL || !opens(l, c, now))
		return;
	while ((rc = connection_receive(c, l->ids, &arrival, now, &why)) == 1) {
		deliver(l, c, &arrival, now);
		if (c->draining && connection_is_idle(c)) {
			discard(l, c);
			return;
		}
	}
	share_sessions(l, c->upstream, now);
	if (rc == -1)
		lose(l, c, &why, now);
	else
		watch(l, c);
}

/* How long a connection that owes an answer may be silent. */
static int
patience_ms(const struct upstream_list *l, const struct connection *c)
{
	int64_t usual_us = health_usual_us(l->upstreams[c->upstream].health);
	int64_t ms = 3 * usual_us / 1000;

	if (!c->has_answered || usual_us == 0)
		return l->config->timeouts.answer_ms;
	if (ms < KEPT_ANSWER_MIN_MS)
		ms = KEPT_ANSWER_MIN_MS;
	if (ms > KEPT_ANSWER_MAX_MS)
		ms = KEPT_ANSWER_MAX_MS;
	return ms < l->config->timeouts.answer_ms ? (int)ms : l->config->timeouts.answer_ms;
}

/* Sends what waits on a connection. */
static void
send_waiting(struct upstream_list *l, struct connection *c, struct deadline now)
{
	struct ask *a = TAILQ_LAST(&c->sent, ask_list);
	bool one = !deadline_passed(l->upstreams[c->upstream].one_by_one, now);
	struct failure why;
	int rc = connection_send(c, l->ids, one ? 1 : SIZE_MAX, now, &why);

	for (a = a == NULL ? TAILQ_FIRST(&c->sent) : TAILQ_NEXT(a, link); a != NULL; a = TAILQ_NEXT(a, link))
		a->query->was_sent = true;
	due(l, deadline_after(c->owed_since, patience_ms(l, c)));
	if (rc == -1)
		lose(l, c, &why, now);
	else
		watch(l, c);
}

void
upstream_send(struct upstream_list *l, struct deadline now)
{
	struct query *q;
	struct query *next;
	size_t i;

	if (l->stranded && free_place(l) != NULL) {
		l->stranded = false;
		for (q = TAILQ_FIRST(&l->in_hand); q != NULL; q = next) {
			next = TAILQ_NEXT(q, upstream_link);
			if (q->stranded)
				move_on(l, q, now);
		}
	}
	for (i = 0; i < l->connection_count; i++) {
		struct connection *c = &l->connections[i];

		if (c->dot != NULL && dot_stage(c->dot) == DOT_READY &&
		    (!TAILQ_EMPTY(&c->waiting) || c->out_len > 0))
			send_waiting(l, c, now);
	}
}

/* ---- time ---- */

/* A query whose answer is owed by a connection that has fallen silent; it may still come. */
static void
ask_elsewhere(struct upstream_list *l, struct query *q, const struct connection *c, struct deadline now)
{
	if (!c->has_answered) {
		blame(q, c->upstream);
		(void)ask_next(l, q, now);
	} else if (q->replays < REPLAYS_MAX) {
		q->replays++;
		(void)ask(l, q, c->upstream, now);
	}
}

/*
 * An answer is owed and nothing at all has come for too long: the connection takes no more
 * queries. Whether that tells against the upstream depends on whether it ever answered on
 * it: a kept connection may have died on the way. An answer that comes after all counts.
 */
static void
suspect(struct upstream_list *l, struct connection *c, struct deadline now)
{
	struct failure why;
	struct ask *a;

	c->suspect = true;
	drain(l, c);
	if (!c->has_answered) {
		(void)dot_fail_timeout(c->dot, patience_ms(l, c), &why);
		mark_failed(l, c->upstream, &why, now);
	}
	TAILQ_FOREACH(a, &c->sent, link)
		ask_elsewhere(l, a->query, c, now);
	if (connection_is_idle(c))
		discard(l, c);
}

static void
expire_opening(struct upstream_list *l, struct connection *c, struct deadline now)
{
	struct failure why;

	if (!deadline_passed(c->step_by, now)) {
		due(l, c->step_by);
		return;
	}
	(void)dot_fail_timeout(c->dot, dot_stage(c->dot) == DOT_CONNECTING ?
	    l->config->timeouts.connect_ms : l->config->timeouts.handshake_ms, &why);
	lose(l, c, &why, now);
}

static void
expire_connection(struct upstream_list *l, struct connection *c, struct deadline now)
{
	struct deadline silent_at;
	struct deadline idle_at = DEADLINE_NEVER;

	if (dot_stage(c->dot) != DOT_READY) {
		expire_opening(l, c, now);
		return;
	}
	silent_at = c->suspect ? DEADLINE_NEVER : deadline_after(c->owed_since, patience_ms(l, c));
	if (connection_is_idle(c))
		idle_at = deadline_after(c->heard, c->idle_ms);
	if (deadline_passed(silent_at, now))
		suspect(l, c, now);
	else if (deadline_passed(idle_at, now))
		discard(l, c);
	else
		due(l, deadline_sooner(silent_at, idle_at));
}

/* Whether nothing has come on the connection of an ask since it was asked. */
static bool
is_in_doubt(const struct ask *a)
{
	return dot_stage(a->at->dot) != DOT_READY || (a->sent && deadline_us_between(a->since, a->at->heard) <= 0);
}

/* An answer is late: the next upstream is asked beside, and whichever answers counts. */
static void
run_late(struct upstream_list *l, struct query *q, struct deadline now)
{
	size_t i;

	for (i = 0; i < QUERY_ASKS_MAX; i++)
		if (q->asks[i].at != NULL && is_in_doubt(&q->asks[i]))
			l->upstreams[q->asks[i].at->upstream].doubtful = true;
	q->next_at = ask_next(l, q, now) == TAKEN ? deadline_after(now, l->config->fallback_after_ms) :
	    DEADLINE_NEVER;
}

void
upstream_expire(struct upstream_list *l, struct deadline now)
{
	struct query *q;
	struct query *next;
	size_t i;

	if (!deadline_passed(l->check_at, now))
		return;
	l->check_at = DEADLINE_NEVER;
	for (i = 0; i < l->connection_count; i++)
		if (l->connections[i].dot != NULL)
			expire_connection(l, &l->connections[i], now);
	for (q = TAILQ_FIRST(&l->in_hand); q != NULL; q = next) {
		next = TAILQ_NEXT(q, upstream_link);
		if (deadline_passed(q->by, now)) {
			finish(l, q, failed_outcome(q));
			continue;
		}
		if (deadline_passed(q->next_at, now))
			run_late(l, q, now);
		due(l, deadline_sooner(q->by, q->next_at));
	}
}

struct deadline
upstream_deadline(const struct upstream_list *l)
{
	return l->check_at;
}

/* ---- what comes out ---- */

struct query *
upstream_next_done(struct upstream_list *l)
{
	struct query *q = TAILQ_FIRST(&l->done);

	if (q != NULL)
		TAILQ_REMOVE(&l->done, q, upstream_link);
	return q;
}

void
upstream_explain(const struct upstream_list *l, const struct query *q, struct failure *why)
{
	size_t i = 0;

	if (q->blame != -1) {
		*why = l->upstreams[q->blame].cause;
		(void)fail_in(why, "%s", l->upstreams[q->blame].name);
		return;
	}
	while (i < l->count - 1 && !was_tried(q, i))
		i++;
	(void)fail_with(why, "%s: query: no answer in %d ms", l->upstreams[i].name,
	    l->config->timeouts.query_ms);
}

bool
upstream_next_event(struct upstream_list *l, struct upstream_event *event)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		struct upstream *u = &l->upstreams[i];

		if (!u->news_connected && !u->news_down && !u->news_back)
			continue;
		memset(event, 0, sizeof *event);
		event->name = u->name;
		event->ca_file = dot_trust_file(u->trust);
		if (u->news_connected) {
			u->news_connected = false;
			event->what = UPSTREAM_CONNECTED;
			event->facts = u->facts;
			event->first = !u->was_connected;
			u->was_connected = true;
		} else if (u->news_down) {
			u->news_down = false;
			event->what = UPSTREAM_DOWN;
			event->cause = u->cause;
		} else {
			u->news_back = false;
			event->what = UPSTREAM_BACK;
			event->down_s = health_down_s(u->health, deadline_now());
		}
		return true;
	}
	return false;
}
