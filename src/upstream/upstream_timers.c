#include "upstream/upstream.h"

#include "upstream_internal.h"

enum {
	/* How long a connection may be silent: three times the usual time, within these limits. */
	SILENCE_MIN_MS = 200,
	SILENCE_MAX_MS = 1000,

	/* Each canary that is answered doubles that, this often at most. */
	DOUBLED_MAX = 4
};

static int
sooner_ms(int64_t a, int b)
{
	return a < b ? (int)a : b;
}

/* How long a connection may be silent while a response is due on it. */
static int
response_timeout_ms(const struct upstream_list *l, const struct upstream_connection *c)
{
	int64_t usual_us = health_usual_us(l->upstreams[c->upstream].health);
	int answer_ms = l->config->timeouts.answer_ms;
	unsigned doubled = c->facts->canaries < DOUBLED_MAX ? c->facts->canaries : DOUBLED_MAX;
	int64_t ms = 3 * usual_us / 1000;

	/* The canary was alone on it, and needs no recursion. */
	if (c->facts->is_gated && !c->facts->has_answered)
		return answer_ms / 2;
	if (!c->facts->has_answered || usual_us == 0)
		return answer_ms;
	if (ms < SILENCE_MIN_MS)
		ms = SILENCE_MIN_MS;
	return sooner_ms((int64_t)sooner_ms(ms, SILENCE_MAX_MS) << doubled, answer_ms);
}

/*
 * Whether a canary is useful: a name may be slow, but a server that answers
 * nothing at all is suspect. Not where no query waits for a response, the upstream is down
 * already, or the server has stopped in the middle of a message.
 */
static bool
needs_canary(const struct upstream *u, const struct connection *c)
{
	const struct connection_facts *facts = connection_facts(c);

	return connection_takes_canary(c) && !health_is_down(u->health) &&
	    (!facts->has_answered || facts->unanswered > 0);
}

struct deadline
upstream_silent_at(const struct upstream_list *l, const struct upstream_connection *c)
{
	int ms = response_timeout_ms(l, c);

	if (c->stalled)
		return DEADLINE_NEVER;
	if (needs_canary(&l->upstreams[c->upstream], c->connection))
		ms /= 2;
	return deadline_after(c->facts->owed_since, ms);
}

/* A query whose response is due on a connection that has stalled; it may still come. */
static void
note_stalled(struct upstream_list *l, struct attempt *a, const struct failure *why)
{
	struct query *q = a->query;

	a->state = ATTEMPT_STALLED;
	if (!connection_facts(a->at)->has_answered) {
		upstream_note_failure(l, q, a->upstream, why);
		q->search = QUERY_SEARCH_ANY;
	} else if (q->resends < UPSTREAM_RESENDS_MAX) {
		q->resends++;
		a->state = ATTEMPT_RESEND;
	}
	upstream_changed(l, q);
}

/*
 * Nothing has come for too long, not even the response to a canary. The connection takes no more
 * queries; a response that comes after all counts. A connection that has answered before may
 * have died on the way. One that never has makes its upstream suspect; and when the next one,
 * which begins with a canary, says nothing either, the upstream is down.
 */
static void
stall(struct upstream_list *l, struct upstream_connection *c, struct deadline now)
{
	const struct upstream *u = &l->upstreams[c->upstream];
	struct failure why;
	struct attempt *a = NULL;

	(void)stream_fail_timeout(c->stream, response_timeout_ms(l, c), &why);
	c->stalled = true;
	connection_release_canary(c->connection);
	/* A server that answers on other connections is busy, not down. */
	if (!c->facts->has_answered && c->facts->is_gated &&
	    deadline_us_between(c->opened, u->answered) <= 0)
		upstream_report_failure(l, c->upstream, &why, now);
	else if (!c->facts->has_answered)
		health_suspect(u->health);
	/* Its slot is needed: no client waits for it to end. */
	if (!c->facts->has_answered && upstream_free_slot(l) == NULL) {
		upstream_lose(l, c, &why, now);
		return;
	}
	upstream_drain(l, c);
	while ((a = connection_next_sent(c->connection, a)) != NULL)
		note_stalled(l, a, &why);
	while ((a = connection_take(c->connection)) != NULL) {
		if (c->facts->has_answered)
			upstream_note_retry(l, a);
		else
			upstream_note_failed(l, a, &why);
	}
}

/* A response is due, and nothing has come: asks whether the server is there, or gives it up. */
static void
expire_silence(struct upstream_list *l, struct upstream_connection *c, struct deadline now)
{
	if (!needs_canary(&l->upstreams[c->upstream], c->connection)) {
		stall(l, c, now);
		return;
	}
	connection_send_canary(c->connection, &l->canary);
	upstream_due(l, upstream_silent_at(l, c));
}

static void
expire_opening(struct upstream_list *l, struct upstream_connection *c, struct deadline now)
{
	struct failure why;

	if (!deadline_passed(c->step_by, now)) {
		upstream_due(l, c->step_by);
		return;
	}
	(void)stream_fail_timeout(c->stream,
	    stream_stage(c->stream) == STREAM_CONNECTING ? l->config->timeouts.connect_ms :
							   l->config->timeouts.handshake_ms,
	    &why);
	upstream_lose(l, c, &why, now);
}

static void
expire_connection(struct upstream_list *l, struct upstream_connection *c, struct deadline now)
{
	struct deadline silent_at;
	struct deadline idle_at = DEADLINE_NEVER;

	if (stream_stage(c->stream) != STREAM_READY) {
		expire_opening(l, c, now);
		return;
	}
	silent_at = upstream_silent_at(l, c);
	if (connection_is_idle(c->connection))
		idle_at = deadline_after(c->facts->heard, c->idle_ms);
	if (deadline_passed(silent_at, now))
		expire_silence(l, c, now);
	else if (deadline_passed(idle_at, now))
		upstream_discard(l, c);
	else
		upstream_due(l, deadline_sooner(silent_at, idle_at));
}

/* Whether nothing was received on the connection of an attempt since it was sent. */
static bool
is_unheard(const struct attempt *a)
{
	return stream_stage(connection_stream(a->at)) != STREAM_READY ||
	    (a->sent && deadline_us_between(a->since, connection_facts(a->at)->heard) <= 0);
}

/* A response is late: another upstream is to be tried as well, and the first response counts. */
static void
note_late(struct upstream_list *l, struct query *q)
{
	int i;

	/* A slow answer is no reason to try upstreams that are in backoff; silence is. */
	q->search = QUERY_SEARCH_UP;
	for (i = 0; i < q->attempt_count; i++) {
		const struct upstream *u = &l->upstreams[q->attempts[i].upstream];
		struct connection *c = q->attempts[i].at;

		if (c == NULL || !is_unheard(&q->attempts[i]))
			continue;
		health_suspect(u->health);
		if (stream_stage(connection_stream(c)) == STREAM_READY && needs_canary(u, c))
			connection_send_canary(c, &l->canary);
		q->search = QUERY_SEARCH_ANY;
	}
	q->is_late = true;
}

/* It is time for an extra query; and when the response is late by any measure, for suspicion. */
static void
note_hedge(struct upstream_list *l, struct query *q, struct deadline now)
{
	bool is_late = deadline_passed(q->late_at, now);

	q->hedge_at = is_late ? DEADLINE_NEVER : q->late_at;
	if (!policy_is_in_flight(q))
		return;
	if (is_late)
		note_late(l, q);
	else
		q->search = QUERY_SEARCH_UP;
	/* Silence is a failure, and takes as many queries as it needs. */
	q->is_hedge = l->group.fallback_after_ms == CONFIG_AFTER_AUTO &&
	    q->search == QUERY_SEARCH_UP;
}

static void
expire_query(struct upstream_list *l, struct query *q, struct deadline now)
{
	bool hedges = deadline_passed(q->hedge_at, now);
	bool pause_ends = q->pause_until.at_us != 0 && deadline_passed(q->pause_until, now);

	if (hedges)
		note_hedge(l, q, now);
	if (pause_ends)
		q->pause_until = (struct deadline){ 0 };
	if (hedges || pause_ends || deadline_passed(q->by, now))
		upstream_changed(l, q);
	upstream_due(l, deadline_sooner(q->by, q->hedge_at));
	if (q->pause_until.at_us != 0)
		upstream_due(l, q->pause_until);
}

void
upstream_list_expire(struct upstream_list *l, struct deadline now)
{
	struct query *q;
	size_t i;

	if (!deadline_passed(l->check_at, now))
		return;
	l->check_at = DEADLINE_NEVER;
	for (i = 0; i < l->connection_count; i++)
		if (l->connections[i].is_open)
			expire_connection(l, &l->connections[i], now);
	TAILQ_FOREACH(q, &l->in_flight, upstream_link) {
		expire_query(l, q, now);
	}
}
