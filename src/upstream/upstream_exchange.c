#include "upstream/upstream.h"

#include <string.h>

#include "upstream_internal.h"

/*
 * Once a turn this goes through the queries of which something has changed, asks policy_next()
 * what to do about each, and does it. Nothing else starts an attempt, opens a connection for a
 * query, or finishes a query.
 */

enum {
	/* A query is hedged when its response takes longer than this many in 100 do. */
	HEDGE_PERCENTILE = 95,

	/* After this many ends, a query gets a connection of its own: it may be the cause. */
	ENDS_MAX = 2,

	/* With `order: fastest', how often the latency of another upstream is probed. */
	PROBE_INTERVAL_MS = 10000,

	/* The same when it had no connection yet, and gets one first. */
	PROBE_AGAIN_MS = 1000
};

enum start { STARTED, FAILED, NO_SLOT };

/* ---- what policy_next() is told ---- */

static void
describe(struct upstream_list *l, size_t i, struct deadline now)
{
	const struct upstream *u = &l->upstreams[i];
	struct policy_member *m = &l->members[i];

	m->state = health_state(u->health, now);
	m->usual_us = health_usual_us(u->health);
	if (l->group.fallback_after_ms == CONFIG_AFTER_AUTO)
		m->hedge_ms = health_percentile_ms(u->health, HEDGE_PERCENTILE);
	m->is_overloaded = m->state == HEALTH_SUSPECT && u->current != NULL &&
	    u->current->facts->given_up >= UPSTREAM_GIVEN_UP_MAX;
}

/* ---- attempts ---- */

static struct attempt *
free_attempt(struct query *q)
{
	int i;

	for (i = 0; i < q->attempt_count; i++)
		if (q->attempts[i].state == ATTEMPT_FREE)
			return &q->attempts[i];
	return i < QUERY_ATTEMPTS_MAX ? &q->attempts[q->attempt_count++] : NULL;
}

static enum opened_for
purpose_of(const struct query *q)
{
	if (q->ends >= ENDS_MAX || q->is_fatal)
		return OPENED_FOR_ONE;
	return q->ends > 0 ? OPENED_FOR_RETRIES : OPENED_FOR_ALL;
}

/* The connection for a query, if there is one that it may share. */
static struct upstream_connection *
shared_connection(struct upstream_list *l, size_t index, enum opened_for purpose)
{
	/* Each query has a connection of its own. */
	if (l->config->timeouts.upstream_idle_ms == 0)
		return NULL;
	switch (purpose) {
	case OPENED_FOR_ALL:
		return upstream_usable_connection(l, index);
	case OPENED_FOR_RETRIES:
		return upstream_retry_connection(l, index);
	case OPENED_FOR_ONE:
		break;
	}
	return NULL;
}

/* Opens a connection for a query. A failure is recorded. */
static enum start
open_connection(struct upstream_list *l, struct query *q, size_t index, enum opened_for purpose,
    struct upstream_connection **out, struct deadline now)
{
	struct upstream_connection *slot = upstream_free_slot(l);
	struct failure why;

	if (slot == NULL)
		return NO_SLOT;
	*out = upstream_open(l, slot, index, purpose, now, &why);
	if (*out != NULL)
		return STARTED;
	upstream_note_failure(l, q, index, &why);
	upstream_report_failure(l, index, &why, now);
	return FAILED;
}

static void
note_tried(struct query *q, size_t index)
{
	q->tried[index / 64] |= UINT64_C(1) << index % 64;
}

/* Hands a query to a connection of an upstream, as the attempt A (NULL: no entry is free). */
static enum start
start(struct upstream_list *l, struct query *q, struct attempt *a, size_t index,
    enum edns_mode mode, struct deadline now)
{
	enum opened_for purpose;
	struct upstream_connection *c;
	enum start started = STARTED;

	/* A failure of another upstream may lead to one that has the query already. */
	if (policy_is_asked(q, index)) {
		note_tried(q, index);
		return STARTED;
	}
	if (q->tries >= l->count + POLICY_EXTRA_TRIES) {
		note_tried(q, index);
		return FAILED;
	}
	if (a == NULL)
		return NO_SLOT;
	q->is_fatal = upstream_is_fatal(l, q, now);
	purpose = purpose_of(q);
	if ((c = shared_connection(l, index, purpose)) == NULL &&
	    (started = open_connection(l, q, index, purpose, &c, now)) == NO_SLOT)
		return NO_SLOT;
	note_tried(q, index);
	q->tries++;
	if (started == FAILED)
		return FAILED;
	connection_add(c->connection, a, q, mode);
	a->upstream = (uint16_t)index;
	upstream_open_ahead(l, index, now);
	return STARTED;
}

static enum edns_mode
edns_for(const struct upstream *u, struct deadline now)
{
	return deadline_passed(u->less_edns_until, now) ? EDNS_OURS : u->edns;
}

/* Sends a query again to the upstream of one of its attempts. */
static void
repeat(struct upstream_list *l, struct query *q, struct attempt *a, struct deadline now)
{
	size_t index = a->upstream;

	if (a->state == ATTEMPT_RESEND) {
		a->state = ATTEMPT_STALLED;
		(void)start(l, q, free_attempt(q), index, edns_for(&l->upstreams[index], now), now);
		return;
	}
	a->state = ATTEMPT_FREE;
	(void)start(l, q, a, index, a->edns, now);
}

/* Nothing more can be tried now: there is no slot for a connection. */
static void
note_no_slot(struct upstream_list *l, struct query *q)
{
	q->search = QUERY_SEARCH_NONE;
	if (q->response_len > 0) {
		q->error_retried = true;
	} else if (!policy_is_in_flight(q)) {
		q->waits_for_slot = true;
		l->queries_wait = true;
	}
}

/* Tries an upstream for the first time. Whether the query is on its way, or waits for a slot. */
static bool
try_upstream(struct upstream_list *l, struct query *q, size_t index, struct deadline now)
{
	struct upstream *u = &l->upstreams[index];
	struct policy_member was = l->members[index];
	bool begins = !policy_is_in_flight(q);
	enum start started;

	if (was.state == HEALTH_PROBING)
		(void)health_claim_probe(u->health, now);
	else if (policy_is_usable(&was))
		q->had_healthy_upstream = true;
	started = start(l, q, free_attempt(q), index, edns_for(u, now), now);
	/* The attempt may have changed it; one at an upstream that is up does not at once. */
	if (started == FAILED || was.state != HEALTH_UP)
		describe(l, index, now);
	if (started == NO_SLOT) {
		note_no_slot(l, q);
		return q->is_late;
	}
	if (started == FAILED)
		return false;
	if (q->response_len > 0) {
		q->error_retried = true;
	} else if (!begins) {
		l->hedged++;
		l->hedge_credit -= q->is_hedge ? HEDGE_COST : 0;
	}
	q->search = policy_search_on(&was, &l->group);
	return q->is_late || (begins && q->response_len == 0);
}

/* ---- queries ---- */

/* No attempt is needed any more; IDs of those that were sent stay in use. */
static void
release_attempts(struct query *q)
{
	int i;

	for (i = 0; i < q->attempt_count; i++) {
		if (q->attempts[i].at != NULL)
			connection_release(&q->attempts[i]);
		q->attempts[i].state = ATTEMPT_FREE;
	}
}

static void
finish(struct upstream_list *l, struct query *q, enum query_outcome outcome)
{
	release_attempts(q);
	q->outcome = outcome;
	TAILQ_REMOVE(&l->in_flight, q, upstream_link);
	TAILQ_INSERT_TAIL(&l->done, q, upstream_link);
}

/*
 * The fastest upstream may change: now and then a query is sent to another one as well, to that
 * whose latency was probed longest ago.
 */
static void
probe_latency(struct upstream_list *l, struct query *q, struct deadline now)
{
	struct upstream *oldest = NULL;
	size_t index;
	size_t i;

	if (!l->settings->order_fastest || !deadline_passed(l->probe_at, now))
		return;
	l->probe_at = deadline_after(now, PROBE_INTERVAL_MS);
	for (i = 0; i < l->count; i++) {
		struct upstream *u = &l->upstreams[i];

		if (!policy_was_tried(q, i) && policy_is_usable(&l->members[i]) &&
		    (oldest == NULL || u->probed_at.at_us < oldest->probed_at.at_us))
			oldest = u;
	}
	if (oldest == NULL)
		return;
	index = (size_t)(oldest - l->upstreams);
	if (start(l, q, free_attempt(q), index, edns_for(oldest, now), now) != STARTED)
		return;
	if (oldest->current != NULL && stream_stage(oldest->current->stream) == STREAM_READY)
		oldest->probed_at = now;
	else
		l->probe_at = deadline_after(now, PROBE_AGAIN_MS);
}

static void
pause_query(struct query *q, struct deadline until)
{
	q->pause_until = until;
	q->had_healthy_upstream = false;
	memset(q->tried, 0, sizeof q->tried);
}

/* Whether the connection by which an upstream is asked is not ready yet. */
static bool
is_opening(const struct query *q, size_t upstream)
{
	int i;

	for (i = 0; i < q->attempt_count; i++)
		if (q->attempts[i].at != NULL && q->attempts[i].upstream == upstream)
			return stream_stage(connection_stream(q->attempts[i].at)) != STREAM_READY;
	return false;
}

/* An upstream has been tried: when the next one is to be tried as well. */
static struct deadline
set_hedge(const struct upstream_list *l, struct query *q, size_t upstream, struct deadline now)
{
	int ms = policy_hedge_ms(&l->group, &l->members[upstream], is_opening(q, upstream));

	if (ms == 0)
		return DEADLINE_NEVER;
	q->hedge_at = deadline_after(now, ms);
	q->late_at = q->hedge_at;
	if (l->group.fallback_after_ms == CONFIG_AFTER_AUTO)
		q->late_at = deadline_after(now, POLICY_LATE_MS);
	return q->hedge_at;
}

/* Does what policy_next() says until the query has to wait, or is finished. */
static void
exchange(struct upstream_list *l, struct query *q, struct deadline now)
{
	bool begins_anew = false;
	struct policy_step step;
	size_t upstream = 0;

	if (q->is_hedge && l->hedge_credit < HEDGE_COST)
		q->search = QUERY_SEARCH_NONE;
	while ((step = policy_next(q, &l->group, now)).action != POLICY_WAIT) {
		switch (step.action) {
		case POLICY_FINISH:
			finish(l, q, step.outcome);
			return;
		case POLICY_PAUSE:
			pause_query(q, step.until);
			break;
		case POLICY_TRY:
			if (step.attempt != -1) {
				repeat(l, q, &q->attempts[step.attempt], now);
			} else if (try_upstream(l, q, step.upstream, now)) {
				begins_anew = true;
				upstream = step.upstream;
			}
			break;
		case POLICY_WAIT:
			break;
		}
	}
	q->search = QUERY_SEARCH_NONE;
	q->is_late = false;
	q->is_hedge = false;
	if (begins_anew)
		step.until = deadline_sooner(step.until, set_hedge(l, q, upstream, now));
	if (q->is_new)
		probe_latency(l, q, now);
	q->is_new = false;
	upstream_due(l, step.until);
}

/* There may be slots now for the connections of those that wait for one. */
static void
wake_waiting(struct upstream_list *l)
{
	struct query *q;

	if (!l->queries_wait || !l->has_room)
		return;
	l->queries_wait = false;
	TAILQ_FOREACH(q, &l->in_flight, upstream_link) {
		if (!q->waits_for_slot)
			continue;
		q->waits_for_slot = false;
		upstream_changed(l, q);
	}
}

static void
exchange_changed(struct upstream_list *l, struct deadline now)
{
	struct query *q;
	size_t i;

	wake_waiting(l);
	l->has_room = false;
	if (TAILQ_EMPTY(&l->changed))
		return;
	for (i = 0; i < l->count; i++)
		describe(l, i, now);
	while ((q = TAILQ_FIRST(&l->changed)) != NULL) {
		TAILQ_REMOVE(&l->changed, q, changed_link);
		q->is_changed = false;
		exchange(l, q, now);
	}
}

void
upstream_list_ask(struct upstream_list *l, struct query *q)
{
	TAILQ_INSERT_TAIL(&l->in_flight, q, upstream_link);
	if (l->hedge_credit < HEDGE_SAVED_MAX)
		l->hedge_credit += HEDGE_EARNED;
	q->is_new = true;
	upstream_changed(l, q);
}

void
upstream_list_cancel(struct upstream_list *l, struct query *q)
{
	release_attempts(q);
	if (q->is_changed)
		TAILQ_REMOVE(&l->changed, q, changed_link);
	q->is_changed = false;
	if (q->outcome == QUERY_OPEN)
		TAILQ_REMOVE(&l->in_flight, q, upstream_link);
	else
		TAILQ_REMOVE(&l->done, q, upstream_link);
}

/* Sends what waits on a connection. */
static void
send_waiting(struct upstream_list *l, struct upstream_connection *c, struct deadline now)
{
	struct failure why;
	int rc = connection_send(c->connection, now, &why);

	upstream_due(l, upstream_silent_at(l, c));
	if (rc == -1)
		upstream_lose(l, c, &why, now);
	else
		upstream_watch(l, c);
}

void
upstream_list_send(struct upstream_list *l, struct deadline now)
{
	size_t i;

	exchange_changed(l, now);
	for (i = 0; i < l->connection_count; i++) {
		struct upstream_connection *c = &l->connections[i];

		if (!c->is_open)
			continue;
		if (c->draining && connection_is_idle(c->connection))
			upstream_discard(l, c);
		else if (stream_stage(c->stream) == STREAM_READY &&
		    connection_has_unsent(c->connection))
			send_waiting(l, c, now);
	}
	if (l->queries_wait && l->has_room)
		upstream_due(l, now);
}
