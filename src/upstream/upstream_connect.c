#include "upstream/upstream.h"

#include "base/waitset.h"
#include "upstream_internal.h"

enum {
	/*
	 * Opening a connection takes about three round trips, and the queries of one round trip are
	 * in flight: with fewer free slots than that times this, the next connection is opened.
	 */
	AHEAD_ROUND_TRIPS = 4,

	/* How many queries that may have made a connection end are retried on one, if possible. */
	RETRIES_TOGETHER = 4,

	/* Of an upstream, while they open. */
	RETRY_CONNECTIONS_MAX = 8,

	/* Not for a server that answers fewer queries on a connection than this. */
	AHEAD_WINDOW_MIN = 16
};

void
upstream_watch(struct upstream_list *l, struct connection *c)
{
	uint32_t events = dot_events(c->dot);

	if (events == c->watched)
		return;
	(void)waitset_change(l->set, dot_fd(c->dot), events, WAITSET_CONNECTION, c->index);
	c->watched = events;
}

void
upstream_discard(struct upstream_list *l, struct connection *c)
{
	if (l->upstreams[c->upstream].current == c)
		l->upstreams[c->upstream].current = NULL;
	waitset_remove(l->set, dot_fd(c->dot));
	connection_close(c, l->ids);
	l->has_room = true;
}

void
upstream_drain(struct upstream_list *l, struct connection *c)
{
	c->draining = true;
	if (l->upstreams[c->upstream].current == c)
		l->upstreams[c->upstream].current = NULL;
}

struct connection *
upstream_free_place(struct upstream_list *l)
{
	size_t i;

	for (i = 0; i < l->connection_count; i++)
		if (l->connections[i].dot == NULL)
			return &l->connections[i];
	return NULL;
}

/*
 * Whether a connection sends nothing else until a canary has been answered: where the upstream is
 * suspect, and for a query that may be the cause of ends, unless the server would have done its
 * work with the canary.
 */
static bool
begins_with_canary(const struct upstream *u, enum opened_for purpose)
{
	return health_is_suspect(u->health) || (purpose == OPENED_FOR_ONE && u->last_end != 1);
}

struct connection *
upstream_open(struct upstream_list *l, struct connection *place, size_t index,
    enum opened_for purpose, struct deadline now, struct failure *why)
{
	struct upstream *u = &l->upstreams[index];
	uint8_t session[SESSIONS_LEN_MAX];
	struct dot *dot;
	size_t len;

	upstream_share_sessions(l, index, now);
	len = sessions_take(l->shared->sessions, (size_t)u->row, session, now);
	if ((dot = dot_open(u->server, session, len, why)) == NULL)
		return NULL;
	connection_init(place, dot, index, &l->config->privacy,
	    l->config->timeouts.upstream_idle_ms);
	place->opened = now;
	place->heard = now;
	place->step_by = deadline_after(now, l->config->timeouts.connect_ms);
	place->watched = dot_events(dot);
	if (waitset_add(l->set, dot_fd(dot), place->watched, WAITSET_CONNECTION, place->index) ==
	    -1) {
		(void)fail_errno(why, "connect");
		connection_close(place, l->ids);
		return NULL;
	}
	upstream_due(l, place->step_by);
	place->retries = purpose == OPENED_FOR_RETRIES;
	if (purpose != OPENED_FOR_ALL || l->config->timeouts.upstream_idle_ms == 0)
		place->draining = true; /* after the one query that it is opened for */
	else
		u->current = place;
	place->gated = begins_with_canary(u, purpose);
	/* Its query may be answered by another upstream before this one shows that it is back. */
	if (place->gated || (u->current == place && health_is_down(u->health)))
		connection_send_canary(place, &l->canary);
	return place;
}

void
upstream_share_sessions(struct upstream_list *l, size_t index, struct deadline now)
{
	struct upstream *u = &l->upstreams[index];
	uint8_t session[SESSIONS_LEN_MAX];
	size_t len;
	int ms;

	while ((len = dot_next_session(u->server, session, sizeof session, &ms)) > 0)
		sessions_put(l->shared->sessions, (size_t)u->row, session, len,
		    deadline_after(now, ms));
}

/* Whether a connection is one of those of an upstream that take queries. */
static bool
takes_queries(const struct connection *c, size_t index)
{
	return c->dot != NULL && c->upstream == index && !c->draining;
}

/* One that has answered all that the window allows gets one more query at a time: a trial. */
static bool
has_room(const struct connection *c, size_t window)
{
	return c->taken < window || (connection_is_idle(c) && c->given_up == 0);
}

/* The fullest first: what is opened ahead stands by until the others are full. */
static struct connection *
fullest_with_room(struct upstream_list *l, size_t index)
{
	struct connection *best = NULL;
	size_t i;

	for (i = 0; i < l->connection_count; i++) {
		struct connection *c = &l->connections[i];

		if (takes_queries(c, index) && has_room(c, l->upstreams[index].window) &&
		    (best == NULL || c->taken > best->taken))
			best = c;
	}
	return best;
}

void
upstream_open_ahead(struct upstream_list *l, size_t index, struct deadline now)
{
	size_t window = l->upstreams[index].window;
	size_t in_flight = 0;
	size_t room = 0;
	struct connection *place;
	struct failure why;
	size_t i;

	if (window == SIZE_MAX || window < AHEAD_WINDOW_MIN)
		return;
	for (i = 0; i < l->connection_count; i++) {
		const struct connection *c = &l->connections[i];

		if (!takes_queries(c, index))
			continue;
		in_flight += c->taken - c->answers;
		room += c->taken < window ? window - c->taken : 0;
	}
	if (room >= AHEAD_ROUND_TRIPS * in_flight || (place = upstream_free_place(l)) == NULL)
		return;
	/* If this fails, the query that needs it reports why. */
	(void)upstream_open(l, place, index, OPENED_FOR_ALL, now, &why);
}

void
upstream_forget_window(struct upstream_list *l, struct connection *by)
{
	struct upstream *u = &l->upstreams[by->upstream];
	size_t i;

	u->window = SIZE_MAX;
	u->current = by;
	l->has_room = true;
	for (i = 0; i < l->connection_count; i++) {
		struct connection *c = &l->connections[i];

		if (c == by || !takes_queries(c, by->upstream))
			continue;
		upstream_drain(l, c);
		if (connection_is_idle(c))
			upstream_discard(l, c);
	}
}

struct connection *
upstream_retry_connection(struct upstream_list *l, size_t index)
{
	struct connection *emptiest = NULL;
	size_t count = 0;
	size_t i;

	for (i = 0; i < l->connection_count; i++) {
		struct connection *c = &l->connections[i];

		if (c->dot == NULL || c->upstream != index || !c->retries ||
		    dot_stage(c->dot) == DOT_READY)
			continue;
		count++;
		if (emptiest == NULL || c->taken < emptiest->taken)
			emptiest = c;
	}
	if (emptiest == NULL || emptiest->taken < RETRIES_TOGETHER ||
	    count == RETRY_CONNECTIONS_MAX || upstream_free_place(l) == NULL)
		return emptiest;
	return NULL;
}

struct connection *
upstream_usable_connection(struct upstream_list *l, size_t index)
{
	struct connection *c = l->upstreams[index].current;

	if (l->upstreams[index].window != SIZE_MAX)
		c = fullest_with_room(l, index);
	if (c == NULL)
		return NULL;
	if (c->given_up > UPSTREAM_GIVEN_UP_MAX && upstream_free_place(l) != NULL) {
		upstream_drain(l, c);
		return NULL;
	}
	if (dot_has_expired(c->dot)) {
		upstream_drain(l, c);
		if (connection_is_idle(c))
			upstream_discard(l, c);
		return NULL;
	}
	return c;
}
