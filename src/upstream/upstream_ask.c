#include "upstream/upstream.h"

#include <string.h>

#include "upstream_internal.h"

enum {
	/* One more than this and the number of upstreams is too often for any query (RFC 9520 3.1). */
	EXTRA_ATTEMPTS = 2,

	/* When all have failed a query, it is asked once more after so long. */
	TRY_AGAIN_MS = 100,

	/* After this many ends of its connection, a query gets one of its own: it may be the cause. */
	ENDS_MAX = 2,

	/* How often it is sent to servers that do not respond at all (RFC 9520 3.1). */
	BARREN_ENDS_MAX = 3,

	/* What was not sent is moved to another connection so often before that is an attempt. */
	MOVES_MAX = 4,

	/* With `order: fastest', so often another one than the fastest is looked at. */
	LOOK_AROUND_MS = 10000,

	/* The same when it had no connection yet, and gets one first. */
	LOOK_AGAIN_MS = 1000
};

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
			upstream_discard(l, c);
	}
}

void
upstream_finish(struct upstream_list *l, struct query *q, enum query_outcome outcome)
{
	release_asks(l, q);
	q->outcome = outcome;
	TAILQ_REMOVE(&l->in_hand, q, upstream_link);
	TAILQ_INSERT_TAIL(&l->done, q, upstream_link);
}

void
upstream_blame(struct upstream_list *l, struct query *q, size_t index, const struct failure *why)
{
	l->upstreams[index].cause = *why;
	if (q->blame == -1)
		q->blame = (int)index;
}

bool
upstream_was_tried(const struct query *q, size_t index)
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

bool
upstream_is_asked(const struct query *q)
{
	size_t i;

	for (i = 0; i < QUERY_ASKS_MAX; i++)
		if (q->asks[i].at != NULL)
			return true;
	return false;
}

static void
note_tried(struct query *q, size_t index)
{
	q->tried[index / 64] |= UINT64_C(1) << index % 64;
}

void
upstream_hand_over(struct connection *c, struct ask *a, struct query *q, enum edns_mode mode)
{
	note_tried(q, c->upstream);
	a->query = q;
	a->at = c;
	a->sent = false;
	a->edns = mode;
	c->taken++;
	TAILQ_INSERT_TAIL(&c->waiting, a, link);
}

/* Whether the query is on its way to an upstream by a connection that is not stalled. */
static bool
is_asked_at(const struct query *q, size_t index)
{
	size_t i;

	for (i = 0; i < QUERY_ASKS_MAX; i++) {
		const struct connection *c = q->asks[i].at;

		if (c != NULL && c->upstream == index && !c->suspect)
			return true;
	}
	return false;
}

static enum opened_for
purpose_for(const struct upstream_list *l, const struct query *q, struct deadline now)
{
	if (q->ends >= ENDS_MAX || upstream_is_fatal(l, q, now))
		return OPENED_FOR_ONE;
	return q->ends > 0 ? OPENED_FOR_RETRIES : OPENED_FOR_ALL;
}

/* The connection for a query, if there is one that it may share. */
static struct connection *
connection_for(struct upstream_list *l, size_t index, enum opened_for purpose)
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

enum taken
upstream_ask_as(struct upstream_list *l, struct query *q, size_t index, enum edns_mode mode,
    struct deadline now)
{
	enum opened_for purpose = purpose_for(l, q, now);
	struct ask *a = vacant_ask(q);
	struct connection *c;
	struct failure why;

	/* Another upstream's failure may lead to one that has the query already. */
	if (is_asked_at(q, index)) {
		note_tried(q, index);
		return TAKEN;
	}
	if (a == NULL)
		return NO_ROOM;
	if (q->attempts >= l->count + EXTRA_ATTEMPTS) {
		note_tried(q, index);
		return FAILED;
	}
	if ((c = connection_for(l, index, purpose)) == NULL) {
		if ((c = upstream_free_place(l)) == NULL)
			return NO_ROOM;
		q->attempts++;
		if ((c = upstream_open(l, c, index, purpose, now, &why)) == NULL) {
			note_tried(q, index);
			upstream_blame(l, q, index, &why);
			upstream_mark_failed(l, index, &why, now);
			return FAILED;
		}
	} else {
		q->attempts++;
	}
	upstream_hand_over(c, a, q, mode);
	upstream_open_ahead(l, index, now);
	return TAKEN;
}

enum taken
upstream_ask_of(struct upstream_list *l, struct query *q, size_t index, struct deadline now)
{
	const struct upstream *u = &l->upstreams[index];

	return upstream_ask_as(l, q, index,
	    deadline_passed(u->less_edns_until, now) ? EDNS_OURS : u->edns, now);
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
		if (upstream_was_tried(q, i) || upstream_is_usable(&l->upstreams[i], now) != usable)
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

		if (!upstream_was_tried(q, i) && upstream_is_usable(u, now) &&
		    (oldest == NULL || u->looked_at.at_us < oldest->looked_at.at_us))
			oldest = u;
	}
	if (oldest == NULL || upstream_ask_of(l, q, (size_t)(oldest - l->upstreams), now) != TAKEN)
		return;
	if (oldest->current != NULL && dot_stage(oldest->current->dot) == DOT_READY)
		oldest->looked_at = now;
	else
		l->look_at = deadline_after(now, LOOK_AGAIN_MS);
}

enum taken
upstream_ask_next(struct upstream_list *l, struct query *q, struct deadline now)
{
	enum taken taken = FAILED;
	int i;

	while ((i = pick(l, q, true, now)) != -1) {
		struct upstream *u = &l->upstreams[i];
		bool on_trial = health_is_down(u->health) || health_is_suspect(u->health);

		if (health_is_down(u->health))
			(void)health_claim_trial(u->health, now);
		else
			q->found_one_up = true;
		switch (upstream_ask_of(l, q, (size_t)i, now)) {
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
		enum taken this = upstream_ask_of(l, q, (size_t)i, now);

		if (this == NO_ROOM)
			return taken == TAKEN ? TAKEN : NO_ROOM;
		if (this == TAKEN)
			taken = TAKEN;
	}
	return taken;
}

enum query_outcome
upstream_failed_outcome(const struct query *q)
{
	if (q->response_len > 0)
		return QUERY_ANSWERED;
	return q->was_sent ? QUERY_UNANSWERED : QUERY_UNREACHABLE;
}

enum taken
upstream_ask_anyone(struct upstream_list *l, struct query *q, struct deadline now)
{
	enum taken taken = upstream_ask_next(l, q, now);

	return taken == FAILED ? ask_those_down(l, q, now) : taken;
}

/*
 * All have failed this query, one after the other. One that failed first may be well again: a
 * moment later they are asked once more, as far as the bounds allow. Not when none was up to
 * begin with: then its client is told at once.
 */
static bool
tries_again(struct upstream_list *l, struct query *q, struct deadline now)
{
	if (!q->found_one_up || q->barren_ends >= BARREN_ENDS_MAX ||
	    q->attempts >= l->count + EXTRA_ATTEMPTS || upstream_is_fatal(l, q, now))
		return false;
	q->found_one_up = false;
	memset(q->tried, 0, sizeof q->tried);
	q->next_at = deadline_after(now, TRY_AGAIN_MS);
	upstream_due(l, q->next_at);
	return true;
}

void
upstream_move_on(struct upstream_list *l, struct query *q, struct deadline now)
{
	enum taken taken;

	if (upstream_is_asked(q))
		return;
	/* An error that is worth a second opinion stands when there is none. */
	if (q->response_len > 0) {
		upstream_finish(l, q, QUERY_ANSWERED);
		return;
	}
	taken = upstream_ask_anyone(l, q, now);
	if (taken == FAILED && !tries_again(l, q, now))
		upstream_finish(l, q, upstream_failed_outcome(q));
	/* Whenever that is: also for a query that had to wait for a slot. */
	if (taken == TAKEN && l->config->fallback_after_ms > 0 && l->count > 1) {
		q->next_at = deadline_after(now, l->config->fallback_after_ms);
		upstream_due(l, q->next_at);
	}
	q->stranded = taken == NO_ROOM;
	l->stranded = l->stranded || q->stranded;
}

void
upstream_retry(struct upstream_list *l, struct ask *a, size_t index, struct deadline now)
{
	struct query *q = a->query;
	enum edns_mode mode = a->edns;

	if (a->sent || q->moves++ < MOVES_MAX)
		q->attempts--;
	q->tried[index / 64] &= ~(UINT64_C(1) << index % 64);
	a->at = NULL;
	a->sent = false;
	if (upstream_ask_as(l, q, index, mode, now) != TAKEN)
		upstream_move_on(l, q, now);
}

void
upstream_charge(struct upstream_list *l, struct ask *a, size_t index, const struct failure *why,
    struct deadline now)
{
	a->at = NULL;
	a->sent = false;
	upstream_blame(l, a->query, index, why);
	upstream_move_on(l, a->query, now);
}

void
upstream_ask(struct upstream_list *l, struct query *q, struct deadline now)
{
	int after_ms = l->config->fallback_after_ms;

	TAILQ_INSERT_TAIL(&l->in_hand, q, upstream_link);
	upstream_due(l, q->by);
	upstream_move_on(l, q, now);
	/* At once means all of them. */
	while (after_ms == 0 && q->outcome == QUERY_OPEN && upstream_ask_next(l, q, now) == TAKEN)
		continue;
	if (q->outcome == QUERY_OPEN)
		look_around(l, q, now);
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
