#include "upstream/upstream.h"

#include <string.h>

#include "format/dns.h"
#include "format/edns.h"
#include "upstream_internal.h"

enum {
	/* What was not sent on a connection may be retried while this is not longer ago. */
	HEARD_OF_LATE_MS = 1000,

	/* An upstream is down when this many connections end before their canary is answered. */
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
is_spent(const struct upstream_connection *c)
{
	return c->facts->has_answered &&
	    connection_next_sent(c->connection, NULL)->query->barren_ends == 0;
}

/*
 * A server may close a connection when it likes (RFC 7766 6.2.3, RFC 7858 3.4), and any of the
 * queries on it may be the cause. So an end is an attempt only where nothing
 * was answered on the connection and no other query can be the cause. Nor is it one for what was
 * not sent, as long as the upstream is up and has answered recently.
 */
static enum end
judge_end(const struct upstream *u, const struct upstream_connection *c)
{
	if (c->facts->answers > 0 || c->facts->unanswered > 1)
		return END_NO_ATTEMPT;
	if (c->facts->unanswered == 1)
		return is_spent(c) ? END_NO_ATTEMPT : END_ATTEMPT;
	if (stream_stage(c->stream) != STREAM_READY)
		return stream_should_retry_reduced(c->stream) ? END_NO_ATTEMPT : END_ATTEMPT;
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
note_end(struct upstream_list *l, const struct upstream_connection *c, const struct failure *why,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];

	if (c->facts->has_answered || c->stalled)
		return;
	if (stream_stage(c->stream) != STREAM_READY) {
		if (!stream_should_retry_reduced(c->stream))
			upstream_report_failure(l, c->upstream, why, now);
		return;
	}
	if (connection_is_idle(c->connection))
		return;
	u->cause = *why;
	/* Of several that were open at the same time, one counts. */
	if (c->facts->is_gated && deadline_us_between(u->canary_lost_at, c->opened) > 0) {
		u->canaries_lost++;
		u->canary_lost_at = now;
	}
	if (u->canaries_lost >= CANARIES_LOST_MAX)
		upstream_report_failure(l, c->upstream, why, now);
	else
		health_suspect(u->health);
}

/*
 * The canary was the one response that the connection had: the server would have answered one
 * query on it.
 */
static void
note_used_up(struct upstream *u, const struct upstream_connection *c)
{
	if (c->facts->has_answered && c->facts->answers == 0 && c->facts->unanswered == 0 &&
	    connection_has_unsent(c->connection))
		u->last_end = 1;
}

/* What an end says about how many queries the server answers on a connection. */
static void
note_window(struct upstream *u, const struct upstream_connection *c)
{
	if (c->facts->answers == 0 || c->facts->unanswered == 0 || c->draining)
		return;
	if (c->facts->answers == u->last_end)
		u->window = c->facts->answers;
	u->last_end = c->facts->answers;
}

/* Records in the queries on a connection that it has ended. */
static void
note_queries(struct upstream_list *l, const struct upstream_connection *c, enum end end,
    struct deadline now)
{
	struct attempt *a = NULL;

	while ((a = connection_next_sent(c->connection, a)) != NULL) {
		a->query->ends++;
		/* It is retried, but no other query can be the cause. */
		a->query->tries += end == END_NO_ATTEMPT && c->facts->unanswered == 1;
		a->query->barren_ends += c->facts->answers == 0;
		/* A canary was answered, and then this was alone on it. */
		if (end == END_ATTEMPT && c->facts->has_answered) {
			upstream_note_fatal(l, a->query, now);
			a->query->is_fatal = true;
		}
	}
}

/* Records what the end of a connection, which is closed, means for each of the attempts. */
static void
note_attempts(struct upstream_list *l, const struct upstream_connection *c, enum end end,
    const struct failure *why)
{
	struct attempt *a;

	while ((a = connection_take(c->connection)) != NULL) {
		if (end == END_NO_ATTEMPT && a != c->facts->mismatched)
			upstream_note_retry(l, a);
		else
			upstream_note_failed(l, a, why);
	}
}

void
upstream_lose(struct upstream_list *l, struct upstream_connection *c, const struct failure *why,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];
	enum end end;

	upstream_share_sessions(l, c->upstream, now);
	note_end(l, c, why, now);
	note_used_up(u, c);
	note_window(u, c);
	end = judge_end(u, c);
	upstream_discard(l, c);
	note_queries(l, c, end, now);
	note_attempts(l, c, end, why);
	upstream_due(l, now);
}

/* Whether another upstream could not do better. */
static bool
is_final(const struct arrival *arrival, const struct edns_response *r)
{
	if (!r->is_readable && !arrival->attempt->query->dns.is_signed)
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
keep_response(const struct upstream *u, const struct arrival *arrival,
    const struct edns_response *r)
{
	struct query *q = arrival->attempt->query;
	struct failure why;

	q->is_canonical = false;
	if (arrival->match == DNS_MATCH_BARE) {
		q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns,
		    dns_response_rcode(arrival->message, arrival->len), DNS_EDE_NONE, NULL);
		return;
	}
	q->response_len = edns_write_canonical(q->response, arrival->message, arrival->len, r,
	    &u->privacy, q->dns.is_signed, &q->opt_len);
	if (q->response_len == 0) {
		(void)fail_with(&why, "%s: query: malformed response", u->name);
		q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns,
		    DNS_SERVFAIL, DNS_EDE_NETWORK_ERROR, why.text);
		return;
	}
	q->is_canonical = true;
	q->was_longer = !q->dns.is_signed && arrival->len > r->len;
}

/*
 * The server keeps an idle connection for that long (RFC 7828 3.2.2), so it is closed before.
 * 0: it wants no more queries on it; those that were not sent yet go to another.
 */
static void
heed_keepalive(struct upstream_list *l, struct upstream_connection *c, int ms)
{
	int own_ms = l->config->timeouts.upstream_idle_ms;
	struct attempt *a;

	if (ms == -1)
		return;
	c->idle_ms = ms - ms / 4 < own_ms ? ms - ms / 4 : own_ms;
	if (ms > 0)
		return;
	note_used_up(&l->upstreams[c->upstream], c);
	upstream_drain(l, c);
	while ((a = connection_take(c->connection)) != NULL)
		upstream_note_retry(l, a);
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
 * Whether the upstream is to be asked once more, with less EDNS, since that may help. If it has
 * helped, it is remembered.
 */
static bool
needs_less_edns(struct upstream_list *l, struct upstream_connection *c,
    const struct arrival *arrival, const struct edns_response *r, struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];
	struct attempt *a = arrival->attempt;
	struct query *q = a->query;
	bool is_formerr = dns_response_rcode(arrival->message, DNS_HEADER_LEN) == DNS_FORMERR;
	enum edns_mode mode = less_edns(a->edns, is_formerr, r);

	if (a->edns != EDNS_OURS && !is_formerr && !r->opt.is_misplaced &&
	    deadline_passed(u->less_edns_until, now)) {
		u->edns = a->edns;
		u->less_edns_until = deadline_after(now, LESS_EDNS_MS);
		u->log_edns = true;
	}
	if (mode == a->edns || q->dns.is_signed || q->resends == UPSTREAM_RESENDS_MAX)
		return false;
	q->resends++;
	a->edns = mode;
	return true;
}

/* Gives the answer to its query, if it is one that counts. */
static void
use_answer(struct upstream_list *l, struct upstream_connection *c, const struct arrival *arrival,
    const struct edns_response *response, struct deadline now)
{
	struct query *q = arrival->attempt->query;

	upstream_changed(l, q);
	if (needs_less_edns(l, c, arrival, response, now)) {
		arrival->attempt->sent = true;
		upstream_note_retry(l, arrival->attempt);
		return;
	}
	if (q->has_final_response)
		return;
	q->has_final_response = is_final(arrival, response);
	if (q->has_final_response || q->response_len == 0)
		keep_response(&l->upstreams[c->upstream], arrival, response);
	/* Another upstream has the query already. */
	if (policy_is_in_flight(q))
		q->error_retried = true;
}

/* A response was received, whether or not its query still waits for it. */
static void
deliver(struct upstream_list *l, struct upstream_connection *c, const struct arrival *arrival,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[c->upstream];
	struct edns_response response;
	int64_t took_us = deadline_us_between(arrival->since, now);

	/* What takes longer is no sign that others will be answered in time. */
	if (took_us <= (int64_t)l->config->timeouts.answer_ms * 1000)
		upstream_report_success(u, now);
	if (arrival->attempt != NULL)
		health_record_latency(u->health, took_us);
	else if (!arrival->is_canary)
		health_record_probe_latency(u->health, took_us);
	if (c->facts->answers > u->last_end)
		u->last_end = 0;
	if (u->window != SIZE_MAX && c->facts->answers > u->window && !c->draining)
		upstream_forget_window(l, c);
	else if (u->window != SIZE_MAX)
		l->has_room = true;
	edns_read_response(arrival->message, arrival->len, &response);
	if (arrival->attempt != NULL)
		use_answer(l, c, arrival, &response, now);
	heed_keepalive(l, c, response.keepalive_ms);
	upstream_due(l, deadline_after(now, c->idle_ms));
}

/* One line at the level of the program says it once for an upstream. */
static void
note_connected(struct upstream_list *l, const struct upstream_connection *c)
{
	struct upstream *u = &l->upstreams[c->upstream];

	health_set_ready(l->shared->health);
	stream_describe(c->stream, &u->facts);
	u->log_connected = true;
}

/* Goes on opening a connection. False when it is not ready yet, or lost. */
static bool
opens(struct upstream_list *l, struct upstream_connection *c, struct deadline now)
{
	enum stream_stage before = stream_stage(c->stream);
	struct failure why;

	if (before == STREAM_READY)
		return true;
	if (stream_step(c->stream, &why) == -1) {
		upstream_lose(l, c, &why, now);
		return false;
	}
	if (before == STREAM_CONNECTING && stream_stage(c->stream) != STREAM_CONNECTING) {
		c->step_by = deadline_after(now, l->config->timeouts.handshake_ms);
		upstream_due(l, c->step_by);
	}
	if (stream_stage(c->stream) == STREAM_READY)
		note_connected(l, c);
	upstream_watch(l, c);
	return stream_stage(c->stream) == STREAM_READY;
}

void
upstream_list_ready(struct upstream_list *l, size_t connection, struct deadline now)
{
	struct upstream_connection *c = &l->connections[connection];
	struct arrival arrival;
	struct failure why;
	int rc;

	if (!opens(l, c, now))
		return;
	while ((rc = connection_receive(c->connection, &arrival, now, &why)) == 1)
		deliver(l, c, &arrival, now);
	upstream_share_sessions(l, c->upstream, now);
	if (rc == -1)
		upstream_lose(l, c, &why, now);
	else
		upstream_watch(l, c);
}
