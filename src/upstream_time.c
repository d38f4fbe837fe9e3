#include "upstream.h"

#include "upstream_internal.h"

/* A query whose answer is owed by a connection that has fallen silent; it may still come. */
static void
ask_elsewhere(struct upstream_list *l, struct query *q, const struct connection *c,
    struct deadline now)
{
	if (!c->has_answered) {
		upstream_blame(q, c->upstream);
		(void)upstream_ask_anyone(l, q, now);
	} else if (q->replays < UPSTREAM_REPLAYS_MAX) {
		q->replays++;
		(void)upstream_ask_of(l, q, c->upstream, now);
	}
}

/*
 * A connection that never brought an answer says nothing. It may be a name that takes long, or
 * several: its upstream is down when the next such connection says nothing either.
 */
static void
note_silence(struct upstream_list *l, const struct connection *c, const struct failure *why,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];

	if (health_is_down(u->health) || deadline_passed(u->silent_at, c->owed_since)) {
		upstream_mark_failed(l, c->upstream, why, now);
		return;
	}
	u->silent_at = deadline_sooner(u->silent_at, now);
	u->cause = *why;
}

/*
 * An answer is owed and nothing at all has come for too long: the connection takes no more
 * queries. Whether that tells against the upstream depends on whether it ever answered on
 * it: a kept connection may have died on the way. An answer that comes after all counts.
 */
static void
suspect(struct upstream_list *l, struct connection *c, struct deadline now)
{
	bool was_down = health_is_down(l->upstreams[c->upstream].health);
	struct failure why;
	struct ask *a;

	(void)dot_fail_timeout(c->dot, upstream_patience_ms(l, c), &why);
	c->suspect = true;
	if (!c->has_answered)
		note_silence(l, c, &why, now);
	/* Its silence was to be expected, or its place is needed: no client waits for it to end. */
	if (!c->has_answered && (was_down || upstream_free_place(l) == NULL)) {
		upstream_lose(l, c, &why, now);
		return;
	}
	upstream_drain(l, c);
	TAILQ_FOREACH(a, &c->sent, link) {
		ask_elsewhere(l, a->query, c, now);
	}
	while ((a = TAILQ_FIRST(&c->waiting)) != NULL) {
		TAILQ_REMOVE(&c->waiting, a, link);
		upstream_ask_again(l, a, c->upstream, c->has_answered, now);
	}
	if (connection_is_idle(c))
		upstream_discard(l, c);
}

static void
expire_opening(struct upstream_list *l, struct connection *c, struct deadline now)
{
	struct failure why;

	if (!deadline_passed(c->step_by, now)) {
		upstream_due(l, c->step_by);
		return;
	}
	(void)dot_fail_timeout(c->dot,
	    dot_stage(c->dot) == DOT_CONNECTING ? l->config->timeouts.connect_ms :
						  l->config->timeouts.handshake_ms,
	    &why);
	upstream_lose(l, c, &why, now);
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
	silent_at = c->suspect ? DEADLINE_NEVER :
				 deadline_after(c->owed_since, upstream_patience_ms(l, c));
	if (connection_is_idle(c))
		idle_at = deadline_after(c->heard, c->idle_ms);
	if (deadline_passed(silent_at, now))
		suspect(l, c, now);
	else if (deadline_passed(idle_at, now))
		upstream_discard(l, c);
	else
		upstream_due(l, deadline_sooner(silent_at, idle_at));
}

/* Whether nothing has come on the connection of an ask since it was asked. */
static bool
is_in_doubt(const struct ask *a)
{
	return dot_stage(a->at->dot) != DOT_READY ||
	    (a->sent && deadline_us_between(a->since, a->at->heard) <= 0);
}

/* An answer is late: the next upstream is asked beside, and whichever answers counts. */
static void
run_late(struct upstream_list *l, struct query *q, struct deadline now)
{
	bool in_doubt = false;
	enum taken taken;
	size_t i;

	q->next_at = DEADLINE_NEVER;
	if (!upstream_is_asked(q)) {
		upstream_move_on(l, q, now);
		return;
	}
	for (i = 0; i < QUERY_ASKS_MAX; i++) {
		if (q->asks[i].at == NULL || !is_in_doubt(&q->asks[i]))
			continue;
		health_doubt(l->upstreams[q->asks[i].at->upstream].health);
		in_doubt = true;
	}
	/* A slow answer is no reason to trouble those that are down; silence is. */
	taken = in_doubt ? upstream_ask_anyone(l, q, now) : upstream_ask_next(l, q, now);
	if (taken != FAILED)
		q->next_at = deadline_after(now, l->config->fallback_after_ms);
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
			upstream_finish(l, q, upstream_failed_outcome(q));
			continue;
		}
		if (deadline_passed(q->next_at, now))
			run_late(l, q, now);
		upstream_due(l, deadline_sooner(q->by, q->next_at));
	}
}

struct deadline
upstream_deadline(const struct upstream_list *l)
{
	return l->check_at;
}
