#include "upstream/policy.h"

#include "config/config.h"

enum {
	/* When all upstreams have failed a query, they are tried once more after this pause. */
	PAUSE_MS = 100,

	/* With `auto', a query is hedged no sooner than this; and when its connection is new. */
	HEDGE_MIN_MS = 20,
	HEDGE_OPENING_MS = 250,

	/* How often a query is sent to servers that do not respond at all (RFC 9520 3.1). */
	BARREN_ENDS_MAX = 3
};

bool
policy_was_tried(const struct query *q, size_t upstream)
{
	return (q->tried[upstream / 64] & UINT64_C(1) << upstream % 64) != 0;
}

bool
policy_is_usable(const struct policy_member *m)
{
	return m->state != HEALTH_DOWN && !m->is_overloaded;
}

bool
policy_is_in_flight(const struct query *q)
{
	int i;

	for (i = 0; i < q->attempt_count; i++)
		if (q->attempts[i].state != ATTEMPT_FREE && q->attempts[i].state != ATTEMPT_RETRY)
			return true;
	return false;
}

bool
policy_is_asked(const struct query *q, size_t upstream)
{
	int i;

	for (i = 0; i < q->attempt_count; i++)
		if (q->attempts[i].state == ATTEMPT_OPEN && q->attempts[i].upstream == upstream)
			return true;
	return false;
}

/*
 * The attempt that is to be sent again, by its number, those off their connection first; -1: there
 * is none. *IN_FLIGHT: whether any other one is in flight.
 */
static int
attempt_to_repeat(const struct query *q, bool *in_flight)
{
	int resend = -1;
	int i;

	*in_flight = false;
	for (i = 0; i < q->attempt_count; i++)
		switch (q->attempts[i].state) {
		case ATTEMPT_FREE:
			break;
		case ATTEMPT_OPEN:
		case ATTEMPT_STALLED:
			*in_flight = true;
			break;
		case ATTEMPT_RESEND:
			resend = resend == -1 ? i : resend;
			break;
		case ATTEMPT_RETRY:
			return i;
		}
	return resend;
}

/* Whether the second one is clearly faster; not if it was never asked. */
static bool
is_faster(const struct policy_member *than, const struct policy_member *m)
{
	return m->usual_us > 0 &&
	    (than->usual_us == 0 || m->usual_us < than->usual_us - than->usual_us / 5);
}

/* The first one in the order that was not tried yet and is, or is not, usable; -1: none. */
static int
pick(const struct query *q, const struct policy_group *g, bool usable)
{
	int best = -1;
	size_t i;

	for (i = 0; i < g->count; i++) {
		if (policy_was_tried(q, i) || policy_is_usable(&g->members[i]) != usable)
			continue;
		if (!g->order_fastest)
			return (int)i;
		if (best == -1 || is_faster(&g->members[best], &g->members[i]))
			best = (int)i;
	}
	return best;
}

static int
search(const struct query *q, const struct policy_group *g, enum query_search s)
{
	int i = -1;

	if (s == QUERY_SEARCH_UP || s == QUERY_SEARCH_ANY)
		i = pick(q, g, true);
	if (i == -1 && (s == QUERY_SEARCH_ANY || s == QUERY_SEARCH_DOWN))
		i = pick(q, g, false);
	return i;
}

int
policy_hedge_ms(const struct policy_group *g, const struct policy_member *m, bool is_opening)
{
	if (g->count == 1 || g->fallback_after_ms == CONFIG_AFTER_NEVER)
		return 0;
	if (g->fallback_after_ms != CONFIG_AFTER_AUTO)
		return g->fallback_after_ms;
	if (is_opening)
		return HEDGE_OPENING_MS;
	if (m->hedge_ms == 0 || m->hedge_ms > POLICY_LATE_MS)
		return POLICY_LATE_MS;
	return m->hedge_ms < HEDGE_MIN_MS ? HEDGE_MIN_MS : m->hedge_ms;
}

enum query_search
policy_search_on(const struct policy_member *m, const struct policy_group *g)
{
	if (!policy_is_usable(m))
		return QUERY_SEARCH_DOWN;
	/* If it is suspect or may still be down, the next one is tried as well. */
	if (g->fallback_after_ms == 0 || m->state != HEALTH_UP)
		return QUERY_SEARCH_UP;
	return QUERY_SEARCH_NONE;
}

static struct policy_step
finish(enum query_outcome outcome)
{
	return (struct policy_step){ .action = POLICY_FINISH, .outcome = outcome };
}

static struct policy_step
wait_until(struct deadline until)
{
	return (struct policy_step){ .action = POLICY_WAIT, .until = until };
}

static struct policy_step
try_upstream(int upstream)
{
	return (struct policy_step){ .action = POLICY_TRY,
		.upstream = (size_t)upstream,
		.attempt = -1 };
}

static struct policy_step
try_again(const struct query *q, int attempt)
{
	return (struct policy_step){ .action = POLICY_TRY,
		.upstream = q->attempts[attempt].upstream,
		.attempt = attempt };
}

/* How a query ends that no upstream has answered well. */
static enum query_outcome
failed_outcome(const struct query *q)
{
	if (q->response_len > 0)
		return QUERY_ANSWERED;
	return q->was_sent ? QUERY_UNANSWERED : QUERY_UNREACHABLE;
}

/*
 * All have failed this query, one after the other. One that failed first may be well again: a
 * moment later they are tried once more, as far as the limits allow. Not when none was up to
 * begin with: then its client is told at once.
 */
static bool
may_pause(const struct query *q, const struct policy_group *g)
{
	return q->had_healthy_upstream && q->barren_ends < BARREN_ENDS_MAX &&
	    q->tries < g->count + POLICY_EXTRA_TRIES && !q->is_fatal;
}

/* The response that there is, an error, stands when no other upstream can be asked. */
static struct policy_step
improve(const struct query *q, const struct policy_group *g)
{
	int i = q->error_retried ? -1 : search(q, g, QUERY_SEARCH_UP);

	return i == -1 ? finish(QUERY_ANSWERED) : try_upstream(i);
}

static struct policy_step
start(const struct query *q, const struct policy_group *g, struct deadline now)
{
	int i;

	if (q->response_len > 0)
		return improve(q, g);
	if (q->waits_for_slot)
		return wait_until(q->by);
	if (!deadline_passed(q->pause_until, now))
		return wait_until(deadline_sooner(q->by, q->pause_until));
	i = search(q, g, q->search == QUERY_SEARCH_DOWN ? QUERY_SEARCH_DOWN : QUERY_SEARCH_ANY);
	if (i != -1)
		return try_upstream(i);
	if (!may_pause(q, g))
		return finish(failed_outcome(q));
	return (
	    struct policy_step){ .action = POLICY_PAUSE, .until = deadline_after(now, PAUSE_MS) };
}

struct policy_step
policy_next(const struct query *q, const struct policy_group *g, struct deadline now)
{
	bool in_flight;
	int i;

	if (q->has_final_response)
		return finish(QUERY_ANSWERED);
	if (deadline_passed(q->by, now))
		return finish(failed_outcome(q));
	if ((i = attempt_to_repeat(q, &in_flight)) != -1)
		return try_again(q, i);
	if (!in_flight)
		return start(q, g, now);
	if ((i = search(q, g, q->search)) != -1)
		return try_upstream(i);
	return wait_until(deadline_sooner(q->by, q->hedge_at));
}
