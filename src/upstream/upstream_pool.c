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

/* The index of a connection in the wait set. */
static size_t
index_of(const struct upstream_list *l, const struct upstream_connection *c)
{
	return l->number << UPSTREAM_INDEX_BITS | (size_t)(c - l->connections);
}

void
upstream_watch(struct upstream_list *l, struct upstream_connection *c)
{
	uint32_t events = stream_events(c->stream);

	if (events == c->watched)
		return;
	(void)waitset_change(l->set, stream_fd(c->stream), events, WAITSET_CONNECTION,
	    index_of(l, c));
	c->watched = events;
}

void
upstream_discard(struct upstream_list *l, struct upstream_connection *c)
{
	if (l->upstreams[c->upstream].current == c)
		l->upstreams[c->upstream].current = NULL;
	waitset_remove(l->set, stream_fd(c->stream));
	connection_close(c->connection);
	c->is_open = false;
	l->has_room = true;
}

void
upstream_drain(struct upstream_list *l, struct upstream_connection *c)
{
	c->draining = true;
	if (l->upstreams[c->upstream].current == c)
		l->upstreams[c->upstream].current = NULL;
}

struct upstream_connection *
upstream_free_slot(struct upstream_list *l)
{
	size_t i;

	for (i = 0; i < l->connection_count; i++)
		if (!l->connections[i].is_open)
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

/* Starts to open a stream to an upstream, of its kind; the only place that does. */
static int
open_stream(struct upstream_list *l, size_t index, struct stream *stream, struct deadline now,
    struct failure *why)
{
	struct upstream *u = &l->upstreams[index];
	uint8_t session[SESSIONS_LEN_MAX];
	size_t len;

	if (u->cleartext != NULL)
		return stream_open_cleartext(stream, u->cleartext, why);
	upstream_share_sessions(l, index, now);
	len = sessions_take(l->shared->sessions, (size_t)u->row, session, now);
	return stream_open_tls(stream, u->server, session, len, why);
}

struct upstream_connection *
upstream_open(struct upstream_list *l, struct upstream_connection *slot, size_t index,
    enum opened_for purpose, struct deadline now, struct failure *why)
{
	struct upstream *u = &l->upstreams[index];
	struct stream stream = { .kind = STREAM_CLOSED };
	uint32_t events;

	if (open_stream(l, index, &stream, now, why) == -1)
		return NULL;
	connection_open(slot->connection, stream, &u->privacy, now);
	events = stream_events(slot->stream);
	if (waitset_add(l->set, stream_fd(slot->stream), events, WAITSET_CONNECTION,
		index_of(l, slot)) == -1) {
		(void)fail_errno(why, "connect");
		connection_close(slot->connection);
		return NULL;
	}
	slot->is_open = true;
	slot->upstream = index;
	slot->idle_ms = l->config->timeouts.upstream_idle_ms;
	slot->watched = events;
	/* After the one query that it is opened for. */
	slot->draining = purpose != OPENED_FOR_ALL || slot->idle_ms == 0;
	slot->retries = purpose == OPENED_FOR_RETRIES;
	slot->stalled = false;
	slot->step_by = deadline_after(now, l->config->timeouts.connect_ms);
	slot->opened = now;
	upstream_due(l, slot->step_by);
	if (!slot->draining)
		u->current = slot;
	/* Its query may be answered by another upstream before this one shows that it is back. */
	if (begins_with_canary(u, purpose))
		connection_begin_with_canary(slot->connection, &l->canary);
	else if (u->current == slot && health_is_down(u->health))
		connection_send_canary(slot->connection, &l->canary);
	return slot;
}

void
upstream_share_sessions(struct upstream_list *l, size_t index, struct deadline now)
{
	struct upstream *u = &l->upstreams[index];
	uint8_t session[SESSIONS_LEN_MAX];
	size_t len;
	int ms;

	if (u->server == NULL)
		return;
	while ((len = dot_next_session(u->server, session, sizeof session, &ms)) > 0)
		sessions_put(l->shared->sessions, (size_t)u->row, session, len,
		    deadline_after(now, ms));
}

/* Whether a connection is one of those of an upstream that take queries. */
static bool
takes_queries(const struct upstream_connection *c, size_t index)
{
	return c->is_open && c->upstream == index && !c->draining;
}

/* One that has answered all that the window allows gets one more query at a time: a trial. */
static bool
has_room(const struct upstream_connection *c, size_t window)
{
	return c->facts->taken < window ||
	    (connection_is_idle(c->connection) && c->facts->given_up == 0);
}

/* The fullest first: what is opened ahead stands by until the others are full. */
static struct upstream_connection *
fullest_with_room(struct upstream_list *l, size_t index)
{
	struct upstream_connection *best = NULL;
	size_t i;

	for (i = 0; i < l->connection_count; i++) {
		struct upstream_connection *c = &l->connections[i];

		if (takes_queries(c, index) && has_room(c, l->upstreams[index].window) &&
		    (best == NULL || c->facts->taken > best->facts->taken))
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
	struct upstream_connection *slot;
	struct failure why;
	size_t i;

	if (window == SIZE_MAX || window < AHEAD_WINDOW_MIN)
		return;
	for (i = 0; i < l->connection_count; i++) {
		const struct upstream_connection *c = &l->connections[i];

		if (!takes_queries(c, index))
			continue;
		in_flight += c->facts->taken - c->facts->answers;
		room += c->facts->taken < window ? window - c->facts->taken : 0;
	}
	if (room >= AHEAD_ROUND_TRIPS * in_flight || (slot = upstream_free_slot(l)) == NULL)
		return;
	/* If this fails, the query that needs it reports why. */
	(void)upstream_open(l, slot, index, OPENED_FOR_ALL, now, &why);
}

void
upstream_forget_window(struct upstream_list *l, struct upstream_connection *by)
{
	struct upstream *u = &l->upstreams[by->upstream];
	size_t i;

	u->window = SIZE_MAX;
	u->current = by;
	l->has_room = true;
	for (i = 0; i < l->connection_count; i++) {
		struct upstream_connection *c = &l->connections[i];

		if (c != by && takes_queries(c, by->upstream))
			upstream_drain(l, c);
	}
}

struct upstream_connection *
upstream_retry_connection(struct upstream_list *l, size_t index)
{
	struct upstream_connection *emptiest = NULL;
	size_t count = 0;
	size_t i;

	for (i = 0; i < l->connection_count; i++) {
		struct upstream_connection *c = &l->connections[i];

		if (!c->is_open || c->upstream != index || !c->retries ||
		    stream_stage(c->stream) == STREAM_READY)
			continue;
		count++;
		if (emptiest == NULL || c->facts->taken < emptiest->facts->taken)
			emptiest = c;
	}
	if (emptiest == NULL || emptiest->facts->taken < RETRIES_TOGETHER ||
	    count == RETRY_CONNECTIONS_MAX || upstream_free_slot(l) == NULL)
		return emptiest;
	return NULL;
}

struct upstream_connection *
upstream_usable_connection(struct upstream_list *l, size_t index)
{
	struct upstream_connection *c = l->upstreams[index].current;

	if (l->upstreams[index].window != SIZE_MAX)
		c = fullest_with_room(l, index);
	if (c == NULL)
		return NULL;
	if (c->facts->given_up > UPSTREAM_GIVEN_UP_MAX && upstream_free_slot(l) != NULL) {
		upstream_drain(l, c);
		return NULL;
	}
	if (stream_has_expired(c->stream)) {
		upstream_drain(l, c);
		return NULL;
	}
	return c;
}
