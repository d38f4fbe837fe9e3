#include "upstream.h"

#include "upstream_internal.h"
#include "waitset.h"

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
	l->upstreams[c->upstream].looking = false;
	waitset_remove(l->set, dot_fd(c->dot));
	connection_close(c, l->ids);
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

struct connection *
upstream_open(struct upstream_list *l, struct connection *place, size_t index, struct deadline now,
    struct failure *why)
{
	struct upstream *u = &l->upstreams[index];
	uint8_t session[BOARD_SESSION_MAX];
	struct dot *dot;
	size_t len;

	upstream_share_sessions(l, index, now);
	len = board_take_session(l->board, index, session, now);
	if ((dot = dot_open(u->server, session, len, why)) == NULL)
		return NULL;
	connection_init(place, dot, index, &l->config->privacy,
	    l->config->timeouts.upstream_idle_ms);
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
	if (l->config->timeouts.upstream_idle_ms == 0)
		place->draining = true; /* after the one query that it is opened for */
	else
		u->current = place;
	return place;
}

void
upstream_share_sessions(struct upstream_list *l, size_t index, struct deadline now)
{
	uint8_t session[BOARD_SESSION_MAX];
	size_t len;
	int ms;

	while (
	    (len = dot_next_session(l->upstreams[index].server, session, sizeof session, &ms)) > 0)
		board_put_session(l->board, index, session, len, deadline_after(now, ms));
}

struct connection *
upstream_usable_connection(struct upstream_list *l, size_t index)
{
	struct connection *c = l->upstreams[index].current;

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
