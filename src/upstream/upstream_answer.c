#include "upstream/upstream.h"

#include <string.h>

#include "format/dns.h"
#include "format/edns.h"
#include "upstream_internal.h"

enum {
	/* What was not sent on a connection may be retried while this is not longer ago. */
	HEARD_OF_LATE_MS = 1000,

	/* An upstream is down when this many connections have ended before their canary was answered. */
	CANARIES_LOST_MAX = 2,

	/* A server that does not understand our EDNS gets less of it for this long. */
	LESS_EDNS_MS = 3600000
};

/* What the end of a connection means for the queries on it. */
enum end {
	END_NO_ATTEMPT, /* not at all: they are retried */
	END_ATTEMPT     /* they have had an attempt, and the next upstream is tried */
};

/* Whether the server may have ended the connection because it answers no more than the canary. */
static bool
is_spent(const struct connection *c)
{
	return c->has_answered && TAILQ_FIRST(&c->sent)->query->barren_ends == 0;
}

/*
 * A server may close a connection when it likes (RFC 7766 6.2.3, RFC 7858 3.4), and any of the
 * queries on it may be the cause. So an end is an attempt only where nothing
 * was answered on the connection and no other query can be the cause. Nor is it one for what was
 * not sent, as long as the upstream is up and has answered recently.
 */
static enum end
judge_end(const struct upstream *u, const struct connection *c)
{
	if (c->answers > 0 || connection_unanswered(c) > 1)
		return END_NO_ATTEMPT;
	if (connection_unanswered(c) == 1)
		return is_spent(c) ? END_NO_ATTEMPT : END_ATTEMPT;
	if (dot_stage(c->dot) != DOT_READY)
		return dot_may_try_again(c->dot) ? END_NO_ATTEMPT : END_ATTEMPT;
	if (health_is_down(u->health) ||
	    deadline_us_between(u->answered, c->opened) > (int64_t)HEARD_OF_LATE_MS * 1000)
		return END_ATTEMPT;
	return END_NO_ATTEMPT;
}

/*
 * What an end says about the upstream. It is down if it cannot be reached; if it ends a
 * connection without any answer it is suspect, and the next connection begins with a canary. When
 * two of these in a row end as well, it is down.
 */
static void
note_end(struct upstream_list *l, const struct connection *c, const struct failure *why,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];

	if (c->has_answered || c->suspect)
		return;
	if (dot_stage(c->dot) != DOT_READY) {
		if (!dot_may_try_again(c->dot))
			upstream_mark_failed(l, c->upstream, why, now);
		return;
	}
	if (connection_is_idle(c))
		return;
	u->cause = *why;
	/* Of several that were open at the same time, one counts. */
	if (c->gated && deadline_us_between(u->canary_lost_at, c->opened) > 0) {
		u->canaries_lost++;
		u->canary_lost_at = now;
	}
	if (u->canaries_lost >= CANARIES_LOST_MAX)
		upstream_mark_failed(l, c->upstream, why, now);
	else
		health_suspect(u->health);
}

/*
 * The canary was the one response that the connection had: the server would have answered one
 * query on it.
 */
static void
note_used_up(struct upstream *u, const struct connection *c)
{
	if (c->has_answered && c->answers == 0 && connection_unanswered(c) == 0 &&
	    !TAILQ_EMPTY(&c->waiting))
		u->last_end = 1;
}

/* What an end says about how many queries the server answers on a connection. */
static void
note_window(struct upstream *u, const struct connection *c)
{
	if (c->answers == 0 || connection_unanswered(c) == 0 || c->draining)
		return;
	if (c->answers == u->last_end)
		u->window = c->answers;
	u->last_end = c->answers;
}

/* Records in the queries on a connection that it has ended. */
static void
note_queries(struct upstream_list *l, const struct connection *c, enum end end, struct deadline now)
{
	struct ask *a;

	TAILQ_FOREACH(a, &c->sent, link) {
		a->query->ends++;
		/* It is retried, but no other query can be the cause. */
		a->query->attempts += end == END_NO_ATTEMPT && connection_unanswered(c) == 1;
		a->query->barren_ends += c->answers == 0;
		/* A canary was answered, and then this was alone on it. */
		if (end == END_ATTEMPT && c->has_answered)
			upstream_note_fatal(l, a->query, now);
	}
}

/* Decides what becomes of the queries of a connection that has ended. */
static void
redistribute(struct upstream_list *l, struct ask_list *asks, size_t index, enum end end,
    const struct ask *mismatched, const struct failure *why, struct deadline now)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(asks)) != NULL) {
		TAILQ_REMOVE(asks, a, link);
		if (end == END_NO_ATTEMPT && a != mismatched)
			upstream_retry(l, a, index, now);
		else
			upstream_charge(l, a, index, why, now);
	}
}

void
upstream_lose(struct upstream_list *l, struct connection *c, const struct failure *why,
    struct deadline now)
{
	struct ask_list asks = TAILQ_HEAD_INITIALIZER(asks);
	struct upstream *u = &l->upstreams[c->upstream];
	const struct ask *mismatched = c->mismatched;
	enum end end;

	upstream_share_sessions(l, c->upstream, now);
	note_end(l, c, why, now);
	note_used_up(u, c);
	note_window(u, c);
	end = judge_end(u, c);
	/* It belongs to the connection, whose slot may be in use again while the others are retried. */
	if (c->canary.at != NULL)
		connection_release(&c->canary, l->ids);
	note_queries(l, c, end, now);
	if (c->outstanding > 0)
		outstanding_clear(l->ids, c->index);
	TAILQ_CONCAT(&asks, &c->sent, link);
	TAILQ_CONCAT(&asks, &c->waiting, link);
	upstream_discard(l, c);
	redistribute(l, &asks, (size_t)(u - l->upstreams), end, mismatched, why, now);
	/* They may have gone to a connection that this turn has looked at already. */
	upstream_due(l, now);
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
keep_response(const struct upstream_list *l, const struct upstream *u,
    const struct arrival *arrival, const struct edns_response *r)
{
	struct query *q = arrival->ask->query;
	struct failure why;

	if (arrival->match == DNS_MATCH_BARE) {
		q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns,
		    dns_response_rcode(arrival->message, arrival->len), DNS_EDE_NONE, NULL);
		return;
	}
	q->response_len = edns_write_response(q->response, arrival->message, arrival->len, r,
	    &q->dns, &l->config->privacy);
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
	note_used_up(&l->upstreams[c->upstream], c);
	upstream_drain(l, c);
	if (c->canary.at != NULL && !c->canary.sent)
		connection_release(&c->canary, l->ids);
	while ((a = TAILQ_FIRST(&c->waiting)) != NULL) {
		TAILQ_REMOVE(&c->waiting, a, link);
		upstream_retry(l, a, c->upstream, now);
	}
}

/* What may help an upstream that does not understand the OPT record that it got. */
static enum edns_mode
less_edns(enum edns_mode mode, bool is_formerr, const struct edns_response *r)
{
	/* It has copied ours to a section where none belongs. */
	if (r->opt.is_misplaced)
		return EDNS_NONE;
	/* It may not support what was added (RFC 6891 7). */
	return is_formerr && mode == EDNS_OURS ? EDNS_CLIENT : mode;
}

/*
 * Asks an upstream once more, with less EDNS, if that may help. If it does, it is remembered.
 * Whether it is asked.
 */
static bool
asks_with_less_edns(struct upstream_list *l, struct connection *c, const struct arrival *arrival,
    const struct edns_response *r, struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];
	struct ask *a = arrival->ask;
	struct query *q = a->query;
	bool is_formerr = dns_response_rcode(arrival->message, DNS_HEADER_LEN) == DNS_FORMERR;
	enum edns_mode mode = less_edns(a->edns, is_formerr, r);

	if (a->edns != EDNS_OURS && !is_formerr && !r->opt.is_misplaced &&
	    deadline_passed(u->less_edns_until, now)) {
		u->edns = a->edns;
		u->less_edns_until = deadline_after(now, LESS_EDNS_MS);
		u->news_edns = true;
	}
	if (mode == a->edns || q->dns.is_signed || q->replays == UPSTREAM_REPLAYS_MAX)
		return false;
	q->replays++;
	if (c->draining)
		return upstream_ask_as(l, q, c->upstream, mode, now) == TAKEN;
	upstream_hand_over(c, a, q, mode);
	return true;
}

/* Gives the answer to its query, if it is one that counts. */
static void
use_answer(struct upstream_list *l, struct connection *c, const struct arrival *arrival,
    const struct edns_response *response, struct deadline now)
{
	struct query *q = arrival->ask->query;
	bool final;

	if (asks_with_less_edns(l, c, arrival, response, now))
		return;
	final = is_final(arrival, response);
	if (final || q->response_len == 0)
		keep_response(l, &l->upstreams[c->upstream], arrival, response);
	if (final)
		upstream_finish(l, q, QUERY_ANSWERED);
	else if (!upstream_is_asked(q) &&
	    (q->has_second_opinion || upstream_ask_next(l, q, now) != TAKEN))
		upstream_finish(l, q, QUERY_ANSWERED);
	else
		q->has_second_opinion = true;
}

/* An answer has come, whether or not anybody waits for it any more. */
static void
deliver(struct upstream_list *l, struct connection *c, const struct arrival *arrival,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];
	struct edns_response response;
	int64_t took_us = deadline_us_between(arrival->since, now);
	bool is_canary = arrival->ask == &c->canary;

	/* What takes longer is no sign that others will be answered in time. */
	if (took_us <= (int64_t)l->config->timeouts.answer_ms * 1000)
		upstream_mark_good(u, now);
	if (arrival->ask == NULL)
		health_looked(u->health, took_us);
	else if (!is_canary)
		health_took(u->health, took_us);
	if (c->answers > u->last_end)
		u->last_end = 0;
	if (u->window != SIZE_MAX && c->answers > u->window && !c->draining)
		upstream_forget_window(l, c);
	else if (u->window != SIZE_MAX)
		l->has_room = true;
	edns_read_response(arrival->message, arrival->len, &response);
	if (arrival->ask != NULL && !is_canary)
		use_answer(l, c, arrival, &response, now);
	/* Last, since it may send all that waits on this connection elsewhere. */
	if (c->dot != NULL)
		heed_keepalive(l, c, response.keepalive_ms, now);
	upstream_due(l, deadline_after(now, c->idle_ms));
}

/* One line at the level of the program says it once for an upstream. */
static void
note_connected(struct upstream_list *l, const struct connection *c)
{
	struct upstream *u = &l->upstreams[c->upstream];

	health_set_ready(l->shared->health);
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
		upstream_lose(l, c, &why, now);
		return false;
	}
	if (before == DOT_CONNECTING && dot_stage(c->dot) != DOT_CONNECTING) {
		c->step_by = deadline_after(now, l->config->timeouts.handshake_ms);
		upstream_due(l, c->step_by);
	}
	if (dot_stage(c->dot) == DOT_READY)
		note_connected(l, c);
	upstream_watch(l, c);
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
		if (c->dot == NULL)
			return;
		if (c->draining && connection_is_idle(c)) {
			upstream_discard(l, c);
			return;
		}
	}
	upstream_share_sessions(l, c->upstream, now);
	if (rc == -1)
		upstream_lose(l, c, &why, now);
	else
		upstream_watch(l, c);
}

/* Sends what waits on a connection. */
static void
send_waiting(struct upstream_list *l, struct connection *c, struct deadline now)
{
	struct ask *a = TAILQ_LAST(&c->sent, ask_list);
	struct failure why;
	int rc = connection_send(c, l->ids, now, &why);

	for (a = a == NULL ? TAILQ_FIRST(&c->sent) : TAILQ_NEXT(a, link); a != NULL;
	     a = TAILQ_NEXT(a, link))
		a->query->was_sent = true;
	upstream_due(l, upstream_silent_at(l, c));
	if (rc == -1)
		upstream_lose(l, c, &why, now);
	else
		upstream_watch(l, c);
}

void
upstream_send(struct upstream_list *l, struct deadline now)
{
	struct query *q;
	struct query *next;
	size_t i;

	if (l->stranded && l->has_room) {
		l->stranded = false;
		l->has_room = false;
		for (q = TAILQ_FIRST(&l->in_hand); q != NULL; q = next) {
			next = TAILQ_NEXT(q, upstream_link);
			if (q->stranded)
				upstream_move_on(l, q, now);
		}
	}
	for (i = 0; i < l->connection_count; i++) {
		struct connection *c = &l->connections[i];

		if (c->dot != NULL && dot_stage(c->dot) == DOT_READY &&
		    (!TAILQ_EMPTY(&c->waiting) || c->out_len > 0))
			send_waiting(l, c, now);
	}
}
