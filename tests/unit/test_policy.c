#include "upstream/policy.h"

#include "config/config.h"

#include "unit.h"

/*
 * What is done about a query, as a table: each row is a state of a query and of up to four
 * upstreams, and the one step that follows. It is the description of fallback, hedging, retries
 * and backoff that the documents give in words.
 */

enum {
	NOW_MS = 1000000,
	BY_MS = NOW_MS + 4000,
	HEDGE_MS = NOW_MS + 300,
	MEMBERS_MAX = 4,
	NEW = -1 /* no attempt is repeated */
};

#define UP { HEALTH_UP, false, 0, 0 }
#define UP_OF(ms) { HEALTH_UP, false, INT64_C(1000) * (ms), 0 }
#define SUSPECT { HEALTH_SUSPECT, false, 0, 0 }
#define FULL { HEALTH_SUSPECT, true, 0, 0 }
#define DOWN { HEALTH_DOWN, false, 0, 0 }
#define PROBING { HEALTH_PROBING, false, 0, 0 }

#define FINISH(how) { .action = POLICY_FINISH, .outcome = (how) }
#define WAIT(ms) { .action = POLICY_WAIT, .until = { INT64_C(1000) * (ms) } }
#define PAUSE { .action = POLICY_PAUSE, .until = { INT64_C(1000) * (NOW_MS + 100) } }
#define TRY(index) { .action = POLICY_TRY, .upstream = (index), .attempt = NEW }
#define AGAIN(index, which) { .action = POLICY_TRY, .upstream = (index), .attempt = (which) }

#define ON(what, index) { .state = ATTEMPT_##what, .upstream = (index) }
#define LATE_BY(ms) { INT64_C(1000) * (NOW_MS - (ms)) }

static const struct policy_row {
	const char *name;
	struct policy_member members[MEMBERS_MAX];
	size_t count;
	bool fastest;
	bool at_once; /* fallback.after is 0 */
	struct query q;
	struct policy_step step;
} policy_rows[] = {
	/* A new query. */
	{ "the first upstream is tried", { UP, UP }, 2, .step = TRY(0) },
	{ "the only one is tried", { UP }, 1, .step = TRY(0) },
	{ "an upstream in backoff is skipped", { DOWN, UP }, 2, .step = TRY(1) },
	{ "two upstreams in backoff are skipped", { DOWN, DOWN, UP }, 3, .step = TRY(2) },
	{ "a suspect upstream is tried in its turn", { SUSPECT, UP }, 2, .step = TRY(0) },
	{ "an upstream after its backoff is tried in its turn", { PROBING, UP }, 2,
	    .step = TRY(0) },
	{ "a suspect upstream with too many queries in flight is skipped", { FULL, UP }, 2,
	    .step = TRY(1) },
	{ "when all are in backoff, the first is tried", { DOWN, DOWN }, 2, .step = TRY(0) },
	{ "the only one is tried in backoff, too", { DOWN }, 1, .step = TRY(0) },
	{ "the only one is tried despite too many queries in flight", { FULL }, 1, .step = TRY(0) },

	/* order: fastest */
	{ "the fastest is tried", { UP_OF(40), UP_OF(20), UP_OF(30) }, 3, .fastest = true,
	    .step = TRY(1) },
	{ "a fifth faster is not enough", { UP_OF(20), UP_OF(16) }, 2, .fastest = true,
	    .step = TRY(0) },
	{ "more than a fifth faster is", { UP_OF(20), UP_OF(15) }, 2, .fastest = true,
	    .step = TRY(1) },
	{ "an upstream without latency is not faster", { UP_OF(500), UP }, 2, .fastest = true,
	    .step = TRY(0) },
	{ "an upstream with latency precedes one without", { UP, UP_OF(500) }, 2,
	    .fastest = true, .step = TRY(1) },
	{ "the fastest is skipped in backoff", { UP_OF(40), { HEALTH_DOWN, false, 1000, 0 } }, 2,
	    .fastest = true, .step = TRY(0) },
	{ "the fastest that was not tried yet", { UP_OF(40), UP_OF(20), UP_OF(30) }, 3,
	    .fastest = true, .q = { .tried = { 2 } }, .step = TRY(2) },

	/* In flight. */
	{ "wait for the response, until it is late", { UP, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 } }, .step = WAIT(HEDGE_MS) },
	{ "the deadline comes first", { UP, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 },
		.hedge_at = { INT64_C(1000) * (BY_MS + 1) } }, .step = WAIT(BY_MS) },
	{ "a stalled connection may still deliver the response", { UP }, 1,
	    .q = { .attempts = { ON(STALLED, 0) }, .tried = { 1 } }, .step = WAIT(HEDGE_MS) },
	{ "a probe is hedged", { PROBING, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_UP },
	    .step = TRY(1) },
	{ "not hedged with an upstream in backoff", { PROBING, DOWN }, 2,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_UP },
	    .step = WAIT(HEDGE_MS) },
	{ "not hedged twice with one upstream", { PROBING, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 3 }, .search = QUERY_SEARCH_UP },
	    .step = WAIT(HEDGE_MS) },
	{ "when all are in backoff, all race", { DOWN, DOWN, DOWN }, 3,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_DOWN },
	    .step = TRY(1) },
	{ "and not those that are up again", { DOWN, UP, DOWN }, 3,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_DOWN },
	    .step = TRY(2) },
	{ "after: 0 tries the next one as well", { UP, UP }, 2, .at_once = true,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_UP },
	    .step = TRY(1) },

	/* Late. */
	{ "late, but others are answered: the next that is up", { UP, DOWN, UP }, 3,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_UP },
	    .step = TRY(2) },
	{ "late, but others are answered: not one in backoff", { UP, DOWN }, 2,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_UP },
	    .step = WAIT(HEDGE_MS) },
	{ "late, and nothing is heard: the next that is up", { SUSPECT, DOWN, UP }, 3,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_ANY },
	    .step = TRY(2) },
	{ "late, and nothing is heard: also one in backoff", { SUSPECT, DOWN }, 2,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .search = QUERY_SEARCH_ANY },
	    .step = TRY(1) },
	{ "late, and all were tried", { UP, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 0), ON(OPEN, 1) }, .tried = { 3 },
		.search = QUERY_SEARCH_ANY, .hedge_at = { INT64_MAX } }, .step = WAIT(BY_MS) },

	/* Connections end. */
	{ "retried with the same upstream", { UP, UP }, 2, .q = { .attempts = { ON(RETRY, 0) } },
	    .step = AGAIN(0, 0) },
	{ "with the same one though it is in backoff", { DOWN, UP }, 2,
	    .q = { .attempts = { ON(RETRY, 0) } }, .step = AGAIN(0, 0) },
	{ "also while another upstream has the query", { UP, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 0), ON(RETRY, 1) }, .tried = { 1 } },
	    .step = AGAIN(1, 1) },
	{ "one after the other", { UP, UP }, 2,
	    .q = { .attempts = { ON(RETRY, 1), ON(RETRY, 0) } }, .step = AGAIN(1, 0) },
	{ "retries come before a search", { UP, UP, UP }, 3,
	    .q = { .attempts = { ON(OPEN, 0), ON(RETRY, 1) }, .tried = { 1 },
		.search = QUERY_SEARCH_ANY }, .step = AGAIN(1, 1) },
	{ "resent where a connection stalled that had answered", { UP, UP }, 2,
	    .q = { .attempts = { ON(RESEND, 0) }, .tried = { 1 } }, .step = AGAIN(0, 0) },
	{ "retries come before resends", { UP, UP }, 2,
	    .q = { .attempts = { ON(RESEND, 0), ON(RETRY, 1) }, .tried = { 1 } },
	    .step = AGAIN(1, 1) },

	/* Attempts fail. */
	{ "the next upstream is tried", { UP, UP }, 2, .q = { .tried = { 1 } }, .step = TRY(1) },
	{ "not while another upstream has the query", { UP, UP, UP }, 3,
	    .q = { .attempts = { ON(OPEN, 1) }, .tried = { 3 } }, .step = WAIT(HEDGE_MS) },
	{ "upstreams in backoff when no other is left", { UP, DOWN }, 2, .q = { .tried = { 1 } },
	    .step = TRY(1) },
	{ "all are tried again when no attempt is in flight", { PROBING, DOWN }, 2,
	    .q = { .tried = { 1 }, .search = QUERY_SEARCH_UP }, .step = TRY(1) },
	{ "of those in backoff the next", { DOWN, DOWN }, 2,
	    .q = { .tried = { 1 }, .search = QUERY_SEARCH_DOWN }, .step = TRY(1) },

	/* All have failed. */
	{ "a pause, and all are tried once more", { DOWN, DOWN }, 2,
	    .q = { .tried = { 3 }, .tries = 2, .had_healthy_upstream = true }, .step = PAUSE },
	{ "the pause lasts", { UP, UP }, 2,
	    .q = { .tries = 2, .pause_until = { INT64_C(1000) * (NOW_MS + 50) } },
	    .step = WAIT(NOW_MS + 50) },
	{ "no longer than the deadline", { UP, UP }, 2,
	    .q = { .tries = 2, .pause_until = { INT64_C(1000) * (BY_MS + 50) } },
	    .step = WAIT(BY_MS) },
	{ "the pause ends", { DOWN, DOWN }, 2,
	    .q = { .tries = 2, .pause_until = { INT64_C(1000) * NOW_MS } }, .step = TRY(0) },
	{ "no pause when none was up", { DOWN, DOWN }, 2, .q = { .tried = { 3 }, .tries = 2 },
	    .step = FINISH(QUERY_UNREACHABLE) },
	{ "no retry after upstreams + 2 attempts", { DOWN, DOWN }, 2,
	    .q = { .tried = { 3 }, .tries = 4, .had_healthy_upstream = true },
	    .step = FINISH(QUERY_UNREACHABLE) },
	{ "one try less, and there is", { DOWN, DOWN }, 2,
	    .q = { .tried = { 3 }, .tries = 3, .had_healthy_upstream = true }, .step = PAUSE },
	{ "no retry after three connections without any response", { UP }, 1,
	    .q = { .tried = { 1 }, .tries = 1, .barren_ends = 3, .had_healthy_upstream = true,
		.was_sent = true }, .step = FINISH(QUERY_UNANSWERED) },
	{ "two of these are not enough", { UP }, 1,
	    .q = { .tried = { 1 }, .tries = 1, .barren_ends = 2, .had_healthy_upstream = true,
		.was_sent = true }, .step = PAUSE },
	{ "no retry for a question that closes connections", { UP }, 1,
	    .q = { .tried = { 1 }, .tries = 1, .is_fatal = true, .had_healthy_upstream = true,
		.was_sent = true }, .step = FINISH(QUERY_UNANSWERED) },
	{ "unreachable: it was sent to none", { DOWN }, 1, .q = { .tried = { 1 } },
	    .step = FINISH(QUERY_UNREACHABLE) },
	{ "unanswered: it was sent", { DOWN }, 1, .q = { .tried = { 1 }, .was_sent = true },
	    .step = FINISH(QUERY_UNANSWERED) },

	/* No slot for a connection. */
	{ "wait for a slot", { UP, UP }, 2, .q = { .waits_for_slot = true }, .step = WAIT(BY_MS) },
	{ "not after the deadline", { UP, UP }, 2,
	    .q = { .waits_for_slot = true, .by = LATE_BY(0) },
	    .step = FINISH(QUERY_UNREACHABLE) },

	/* Responses. */
	{ "a final one ends it", { UP, UP }, 2,
	    .q = { .tried = { 1 }, .has_final_response = true, .response_len = 12 },
	    .step = FINISH(QUERY_ANSWERED) },
	{ "even if another upstream has the query", { UP, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 1), ON(RETRY, 0) }, .tried = { 3 },
		.has_final_response = true, .response_len = 12 }, .step = FINISH(QUERY_ANSWERED) },
	{ "also after the deadline", { UP }, 1,
	    .q = { .has_final_response = true, .response_len = 12, .by = LATE_BY(1) },
	    .step = FINISH(QUERY_ANSWERED) },
	{ "an error: retry on the next upstream", { UP, UP }, 2,
	    .q = { .tried = { 1 }, .response_len = 12 }, .step = TRY(1) },
	{ "one only", { UP, UP, UP }, 3,
	    .q = { .tried = { 3 }, .response_len = 12, .error_retried = true },
	    .step = FINISH(QUERY_ANSWERED) },
	{ "no retry on an upstream in backoff", { UP, DOWN }, 2,
	    .q = { .tried = { 1 }, .response_len = 12 }, .step = FINISH(QUERY_ANSWERED) },
	{ "retry on an upstream after its backoff", { UP, PROBING }, 2,
	    .q = { .tried = { 1 }, .response_len = 12 }, .step = TRY(1) },
	{ "no retry with one upstream", { UP }, 1, .q = { .tried = { 1 }, .response_len = 12 },
	    .step = FINISH(QUERY_ANSWERED) },
	{ "an error while another one has it: wait", { UP, UP, UP }, 3,
	    .q = { .attempts = { ON(OPEN, 1) }, .tried = { 3 }, .response_len = 12,
		.error_retried = true }, .step = WAIT(HEDGE_MS) },
	{ "an error, and no other upstream can be reached", { UP, UP, UP }, 3,
	    .q = { .tried = { 3 }, .response_len = 12, .error_retried = true },
	    .step = FINISH(QUERY_ANSWERED) },
	{ "an error stands at the deadline", { UP, UP }, 2,
	    .q = { .attempts = { ON(OPEN, 1) }, .tried = { 3 }, .response_len = 12,
		.by = LATE_BY(0) }, .step = FINISH(QUERY_ANSWERED) },

	/* The deadline. */
	{ "nothing is sent at the deadline", { UP }, 1, .q = { .by = LATE_BY(0) },
	    .step = FINISH(QUERY_UNREACHABLE) },
	{ "nothing is retried after it", { UP }, 1,
	    .q = { .attempts = { ON(RETRY, 0) }, .was_sent = true, .by = LATE_BY(1) },
	    .step = FINISH(QUERY_UNANSWERED) },
	{ "attempts in flight are abandoned", { UP }, 1,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .was_sent = true,
		.by = LATE_BY(0) }, .step = FINISH(QUERY_UNANSWERED) },
	{ "a query waiting for a connection was not sent", { UP }, 1,
	    .q = { .attempts = { ON(OPEN, 0) }, .tried = { 1 }, .by = LATE_BY(0) },
	    .step = FINISH(QUERY_UNREACHABLE) },
};

static struct policy_group
group_of(const struct policy_row *row)
{
	return (struct policy_group){ .members = row->members,
		.count = row->count,
		.order_fastest = row->fastest,
		.fallback_after_ms = row->at_once ? 0 : 400 };
}

static void
decides(void **state)
{
	const struct policy_row *row = *state;
	struct policy_group group = group_of(row);
	struct query q = row->q;
	struct policy_step step;

	q.attempt_count = QUERY_ATTEMPTS_MAX;
	if (q.by.at_us == 0)
		q.by = (struct deadline){ INT64_C(1000) * BY_MS };
	if (q.hedge_at.at_us == 0)
		q.hedge_at = (struct deadline){ INT64_C(1000) * HEDGE_MS };
	step = policy_next(&q, &group, (struct deadline){ INT64_C(1000) * NOW_MS });
	assert_int_equal(step.action, row->step.action);
	switch (step.action) {
	case POLICY_FINISH:
		assert_int_equal(step.outcome, row->step.outcome);
		break;
	case POLICY_WAIT:
	case POLICY_PAUSE:
		assert_int_equal(step.until.at_us, row->step.until.at_us);
		break;
	case POLICY_TRY:
		assert_int_equal(step.upstream, row->step.upstream);
		assert_int_equal(step.attempt, row->step.attempt);
		break;
	}
}

static const struct search_row {
	const char *name;
	struct policy_member member;
	bool at_once;
	enum query_search search;
} search_rows[] = {
	{ "one that is up is enough", UP, false, QUERY_SEARCH_NONE },
	{ "a suspect upstream is hedged", SUSPECT, false, QUERY_SEARCH_UP },
	{ "a probe is hedged", PROBING, false, QUERY_SEARCH_UP },
	{ "all upstreams in backoff are tried", DOWN, false, QUERY_SEARCH_DOWN },
	{ "all upstreams with too many queries in flight are tried", FULL, false,
	    QUERY_SEARCH_DOWN },
	{ "after: 0 means all that are up", UP, true, QUERY_SEARCH_UP },
	{ "after: 0 means all in backoff when none is up", DOWN, true, QUERY_SEARCH_DOWN },
};

static void
continues_the_search(void **state)
{
	const struct search_row *row = *state;
	struct policy_group group = { .fallback_after_ms = row->at_once ? 0 : 400 };

	assert_int_equal(policy_search_on(&row->member, &group), row->search);
}

static const struct hedge_row {
	const char *name;
	int after_ms;
	size_t count;
	int percentile_ms;
	bool is_opening;
	int ms;
} hedge_rows[] = {
	{ "a fixed time", 400, 2, 30, false, 400 },
	{ "a fixed time, also while opening", 700, 2, 30, true, 700 },
	{ "never", CONFIG_AFTER_NEVER, 2, 30, false, 0 },
	{ "all at once", 0, 2, 30, false, 0 },
	{ "no other upstream", 400, 1, 30, false, 0 },
	{ "no other upstream, auto", CONFIG_AFTER_AUTO, 1, 30, false, 0 },
	{ "auto", CONFIG_AFTER_AUTO, 2, 30, false, 30 },
	{ "auto, 20 ms at least", CONFIG_AFTER_AUTO, 2, 3, false, 20 },
	{ "auto, 400 ms at most", CONFIG_AFTER_AUTO, 2, 448, false, 400 },
	{ "auto, nothing is known", CONFIG_AFTER_AUTO, 2, 0, false, 400 },
	{ "auto, while opening", CONFIG_AFTER_AUTO, 2, 30, true, 250 },
};

static void
hedges_after(void **state)
{
	const struct hedge_row *row = *state;
	struct policy_group group = { .count = row->count, .fallback_after_ms = row->after_ms };
	struct policy_member member = { .hedge_ms = row->percentile_ms };

	assert_int_equal(policy_hedge_ms(&group, &member, row->is_opening), row->ms);
}

static const struct flight_row {
	const char *name;
	enum attempt_state state; /* of an attempt at upstream 2 */
	bool is_in_flight;
	bool is_asked;
} flight_rows[] = {
	{ "no attempt", ATTEMPT_FREE, false, false },
	{ "an open attempt is in flight", ATTEMPT_OPEN, true, true },
	{ "a stalled attempt is in flight", ATTEMPT_STALLED, true, false },
	{ "an attempt that is sent once more is in flight", ATTEMPT_RESEND, true, false },
	{ "an attempt off its connection is not in flight", ATTEMPT_RETRY, false, false },
};

static void
tells_who_is_asked(void **state)
{
	const struct flight_row *row = *state;
	struct query q = { .attempt_count = QUERY_ATTEMPTS_MAX };
	struct attempt *last = &q.attempts[QUERY_ATTEMPTS_MAX - 1];

	*last = (struct attempt){ .state = row->state, .upstream = 2 };
	assert_int_equal(policy_is_in_flight(&q), row->is_in_flight);
	assert_int_equal(policy_is_asked(&q, 2), row->is_asked);
	assert_false(policy_is_asked(&q, 1));
}

/* Every query ends, even if each step that policy_next() returns fails. */
static void
query_ends_whatever_fails(void **state)
{
	static const struct policy_member members[] = { UP, DOWN, PROBING, SUSPECT };
	struct policy_group group = { .members = members, .count = LENGTH(members),
	    .fallback_after_ms = 400 };
	struct deadline now = { INT64_C(1000) * NOW_MS };
	struct query q = { .by = { INT64_C(1000) * BY_MS }, .hedge_at = DEADLINE_NEVER };
	struct policy_step step;
	unsigned steps = 0;

	(void)state;
	while ((step = policy_next(&q, &group, now)).action != POLICY_FINISH) {
		assert_in_range(++steps, 1, 20);
		switch (step.action) {
		case POLICY_TRY:
			q.tried[0] |= UINT64_C(1) << step.upstream;
			q.tries++;
			q.had_healthy_upstream = true;
			break;
		case POLICY_PAUSE:
			q.pause_until = step.until;
			q.had_healthy_upstream = false;
			q.tried[0] = 0;
			break;
		case POLICY_WAIT:
			now = step.until;
			break;
		case POLICY_FINISH:
			break;
		}
	}
	assert_int_equal(step.outcome, QUERY_UNREACHABLE);
	assert_in_range(now.at_us, INT64_C(1000) * NOW_MS, INT64_C(1000) * (NOW_MS + 200));
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(query_ends_whatever_fails),
	};

	return RUN_ROWS(policy_rows, decides) +
	    RUN_ROWS(search_rows, continues_the_search) +
	    RUN_ROWS(hedge_rows, hedges_after) +
	    RUN_ROWS(flight_rows, tells_who_is_asked) +
	    cmocka_run_group_tests_name("policy", singles, NULL, NULL);
}
