#include "shared/health.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <stdatomic.h>
#include <unistd.h>

#include "unit.h"

static const struct deadline start = { 1000000 };

static struct health_table *table;

static int
make_table(void **state)
{
	(void)state;
	table = health_table_new();
	return table == NULL ? -1 : 0;
}

static int
free_table(void **state)
{
	(void)state;
	health_table_free(table);
	health_table_free(NULL);
	return 0;
}

/* An upstream of which nothing is known. */
static struct health *
begin(void)
{
	struct health *u = health_row(table, 3);

	health_clear(u);
	return u;
}

static const struct back_off_row {
	const char *name;
	unsigned failures;
	int ms;
} back_off_rows[] = {
	{ "once", 1, 1000 },
	{ "twice", 2, 2000 },
	{ "three times", 3, 4000 },
	{ "four times", 4, 8000 },
	{ "five times", 5, 16000 },
	{ "six times", 6, 30000 },
	{ "seven times", 7, 30000 },
	{ "forty times", 40, 30000 },
};

static bool
is_in_backoff(const struct health *u, struct deadline now)
{
	return health_state(u, now) == HEALTH_DOWN;
}

/* The diagram of health.h as a table: each state, and what may happen in it. */
enum event { SUSPECTED, FAILED, RESPONDED, BACKOFF_ENDS, PROBED };

static const struct transition_row {
	const char *name;
	enum health_state from;
	enum event event;
	enum health_state to;
} transition_rows[] = {
	{ "up, suspected", HEALTH_UP, SUSPECTED, HEALTH_SUSPECT },
	{ "up, failed", HEALTH_UP, FAILED, HEALTH_DOWN },
	{ "up, responded", HEALTH_UP, RESPONDED, HEALTH_UP },
	{ "up is not probed", HEALTH_UP, PROBED, HEALTH_UP },
	{ "suspect, suspected", HEALTH_SUSPECT, SUSPECTED, HEALTH_SUSPECT },
	{ "suspect, failed", HEALTH_SUSPECT, FAILED, HEALTH_DOWN },
	{ "suspect, responded", HEALTH_SUSPECT, RESPONDED, HEALTH_UP },
	{ "suspect state does not expire", HEALTH_SUSPECT, BACKOFF_ENDS, HEALTH_SUSPECT },
	{ "down, suspected", HEALTH_DOWN, SUSPECTED, HEALTH_DOWN },
	{ "down, failed", HEALTH_DOWN, FAILED, HEALTH_DOWN },
	{ "down, responded", HEALTH_DOWN, RESPONDED, HEALTH_UP },
	{ "down, backoff ends", HEALTH_DOWN, BACKOFF_ENDS, HEALTH_PROBING },
	{ "down is not probed", HEALTH_DOWN, PROBED, HEALTH_DOWN },
	{ "probing, probed: down for the others", HEALTH_PROBING, PROBED, HEALTH_DOWN },
	{ "probing, failed", HEALTH_PROBING, FAILED, HEALTH_DOWN },
	{ "probing, responded", HEALTH_PROBING, RESPONDED, HEALTH_UP },
	{ "probing, suspected", HEALTH_PROBING, SUSPECTED, HEALTH_PROBING },
};

/* Longer than any backoff. */
enum { BACKOFF_ENDED_MS = 40000 };

static void
follows_the_diagram(void **state)
{
	const struct transition_row *row = *state;
	struct health *u = begin();
	struct deadline now = start;

	if (row->from == HEALTH_SUSPECT)
		health_suspect(u);
	if (row->from == HEALTH_DOWN || row->from == HEALTH_PROBING)
		assert_true(health_record_failure(u, now));
	if (row->from == HEALTH_PROBING)
		now = deadline_after(now, BACKOFF_ENDED_MS);
	assert_int_equal(health_state(u, now), row->from);
	switch (row->event) {
	case SUSPECTED:
		health_suspect(u);
		break;
	case FAILED:
		(void)health_record_failure(u, now);
		break;
	case RESPONDED:
		assert_int_equal(health_record_response(u),
		    row->from == HEALTH_DOWN || row->from == HEALTH_PROBING);
		break;
	case BACKOFF_ENDS:
		now = deadline_after(now, BACKOFF_ENDED_MS);
		break;
	case PROBED:
		assert_int_equal(health_claim_probe(u, now), row->from == HEALTH_PROBING);
		break;
	}
	assert_int_equal(health_state(u, now), row->to);
	assert_int_equal(health_is_down(u), row->to == HEALTH_DOWN || row->to == HEALTH_PROBING);
	assert_int_equal(health_is_suspect(u), row->to == HEALTH_SUSPECT);
}

/* Milliseconds of backoff from NOW on: at least LEAST. */
static int
backoff_ms(const struct health *u, struct deadline now, int least)
{
	int ms = least;

	while (is_in_backoff(u, deadline_after(now, ms)))
		ms++;
	return ms;
}

/* A fifth more or less, and not always the same. */
static void
backoff_grows_with_each_failure(void **state)
{
	const struct back_off_row *row = *state;
	int least = INT32_MAX;
	int most = 0;
	unsigned k;
	int ms;
	int i;

	for (i = 0; i < 100; i++) {
		struct health *u = begin();
		struct deadline now = start;

		for (k = 1; k < row->failures; k++) {
			(void)health_record_failure(u, now);
			now = deadline_after(now, 60000);
		}
		(void)health_record_failure(u, now);
		assert_int_equal(health_failures(u), row->failures);
		assert_true(is_in_backoff(u, deadline_after(now, row->ms * 4 / 5 - 1)));
		assert_false(is_in_backoff(u, deadline_after(now, row->ms * 6 / 5)));
		ms = backoff_ms(u, now, row->ms * 4 / 5 - 1);
		least = ms < least ? ms : least;
		most = ms > most ? ms : most;
	}
	assert_true(most - least > row->ms / 5);
}

static void
up_and_down_are_reported_once(void **state)
{
	struct health *u = begin();

	(void)state;
	assert_false(health_is_down(u));
	assert_false(health_record_response(u));
	assert_true(health_record_failure(u, start));
	assert_false(health_record_failure(u, deadline_after(start, 5000)));
	assert_true(health_is_down(u));
	assert_int_equal(health_down_s(u, deadline_after(start, 7900)), 7);
	assert_true(health_record_response(u));
	assert_false(health_record_response(u));
	assert_false(health_is_down(u));
	assert_false(is_in_backoff(u, start));
	/* The next time begins at the beginning. */
	assert_true(health_record_failure(u, deadline_after(start, 60000)));
	assert_int_equal(health_down_s(u, deadline_after(start, 60000)), 0);
	assert_false(is_in_backoff(u, deadline_after(start, 61200)));
}

/* What the log is to say, and when: seconds after the start. */
static void
is_logged_when_it_changes_but_not_too_often(void **state)
{
	struct health *u = begin();
	unsigned times = 0;

	(void)state;
	assert_int_equal(health_log_state(u, false, start, &times), HEALTH_LOG_NOTHING);
	(void)health_record_failure(u, start);
	assert_int_equal(health_log_state(u, false, start, &times), HEALTH_LOG_DOWN);
	assert_int_equal(times, 1);
	assert_int_equal(health_log_state(u, false, start, &times), HEALTH_LOG_NOTHING);
	assert_int_equal(health_log_state(u, true, deadline_after(start, 9000), &times),
	    HEALTH_LOG_LATER);
	(void)health_record_response(u);
	assert_int_equal(health_log_state(u, false, start, &times), HEALTH_LOG_BACK);
	assert_int_equal(health_log_state(u, false, start, &times), HEALTH_LOG_NOTHING);
	/* Down and back and down again: one line says how often, when it may. */
	(void)health_record_failure(u, deadline_after(start, 5000));
	assert_int_equal(health_log_state(u, false, deadline_after(start, 5000), &times),
	    HEALTH_LOG_LATER);
	(void)health_record_response(u);
	assert_int_equal(health_log_state(u, false, deadline_after(start, 6000), &times),
	    HEALTH_LOG_NOTHING);
	(void)health_record_failure(u, deadline_after(start, 10000));
	assert_int_equal(health_log_state(u, false, deadline_after(start, 10000), &times),
	    HEALTH_LOG_DOWN);
	assert_int_equal(times, 2);
}

static void
becomes_ready_once(void **state)
{
	(void)state;
	assert_false(health_is_ready(table));
	health_set_ready(table);
	assert_true(health_is_ready(table));
}

static void
only_one_worker_probes(void **state)
{
	struct health *u = begin();
	struct deadline later = deadline_after(start, 2000);

	(void)state;
	assert_false(health_claim_probe(u, start));
	(void)health_record_failure(u, start);
	assert_false(health_claim_probe(u, start));
	assert_true(health_claim_probe(u, later));
	assert_false(health_claim_probe(u, later));
	assert_true(is_in_backoff(u, later));
	/* The trial has failed until it is answered; that it has is nothing new. */
	assert_int_equal(health_failures(u), 2);
	assert_false(health_record_failure(u, deadline_after(later, 500)));
	assert_int_equal(health_failures(u), 2);
	/* The worker that claimed the probe may have died since. */
	assert_true(health_claim_probe(u, deadline_after(later, 2500)));
	assert_true(health_record_response(u));
}

enum { WORKERS = 4, ROUNDS = 3 };

/* Workers act at the same moment; returns how many of them claim the transition. */
static int
at_once(_Atomic int *gate, struct health *u, bool (*what)(struct health *, struct deadline),
    struct deadline now)
{
	pid_t pids[WORKERS];
	int sum = 0;
	int status;
	int i;

	atomic_store(gate, 0);
	for (i = 0; i < WORKERS; i++) {
		if ((pids[i] = fork()) == 0) {
			int times = 0;
			int k;

			(void)atomic_fetch_add(gate, 1);
			while (atomic_load(gate) < WORKERS)
				;
			for (k = 0; k < ROUNDS; k++)
				times += what(u, now);
			_exit(times);
		}
		assert_int_not_equal(pids[i], -1);
	}
	for (i = 0; i < WORKERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status));
		sum += WEXITSTATUS(status);
	}
	return sum;
}

static bool
answered(struct health *u, struct deadline now)
{
	(void)now;
	return health_record_response(u);
}

static void
state_is_shared_by_all_workers(void **state)
{
	_Atomic int *gate = mmap(NULL, sizeof *gate, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct health *u = begin();
	int i;

	(void)state;
	assert_ptr_not_equal(gate, MAP_FAILED);
	for (i = 0; i < 10; i++) {
		assert_int_equal(at_once(gate, u, health_record_failure, start), 1);
		/* They saw the same outage. */
		assert_int_equal(health_failures(u), 1);
		assert_int_equal(at_once(gate, u, health_claim_probe, start), 0);
		assert_int_equal(at_once(gate, u, health_claim_probe, deadline_after(start, 2000)),
		    1);
		assert_int_equal(at_once(gate, u, answered, start), 1);
		health_clear(u);
	}
	(void)munmap(gate, sizeof *gate);
}

static void
usual_response_time_is_measured(void **state)
{
	struct health *u = begin();
	int i;

	(void)state;
	assert_int_equal(health_usual_us(u), 0);
	health_record_latency(u, 8000);
	assert_int_equal(health_usual_us(u), 8000);
	/* One that is slow counts for an eighth. */
	health_record_latency(u, 16000);
	assert_int_equal(health_usual_us(u), 9000);
	for (i = 0; i < 50; i++)
		health_record_latency(u, 2000);
	assert_in_range(health_usual_us(u), 2000, 2020);
}

/* Another upstream gets the row. */
static void
cleared_state_is_empty(void **state)
{
	struct health *u = begin();
	struct health *other = health_row(table, 4);
	unsigned times;

	(void)state;
	health_record_latency(u, 1234);
	health_record_latency(other, 1234);
	(void)health_record_failure(u, start);
	assert_int_equal(health_log_state(u, false, start, &times), HEALTH_LOG_DOWN);
	assert_true(health_log_edns(u, start));
	health_suspect(u);
	health_clear(u);
	assert_false(health_is_down(u));
	assert_false(health_is_suspect(u));
	assert_int_equal(health_usual_us(u), 0);
	assert_int_equal(health_log_state(u, false, start, &times), HEALTH_LOG_NOTHING);
	assert_true(health_log_edns(u, start));
	assert_int_equal(health_usual_us(other), 1234);
}

static const struct percentile_row {
	const char *name;
	int fast;    /* responses */
	int fast_ms; /* that each of them took */
	int slow;
	int slow_ms;
	int least; /* what the percentile is between */
	int most;
} percentile_rows[] = {
	{ "nothing", 0, 0, 0, 0, 0, 0 },
	{ "too few", 19, 20, 0, 0, 0, 0 },
	{ "enough", 20, 20, 0, 0, 20, 24 },
	{ "at once", 100, 0, 0, 0, 1, 1 },
	{ "3 ms", 100, 3, 0, 0, 4, 4 },
	{ "5 ms", 100, 5, 0, 0, 6, 6 },
	{ "one slow in 100", 99, 20, 1, 320, 20, 24 },
	{ "five slow in 100", 95, 20, 5, 320, 20, 24 },
	{ "six slow in 100", 94, 20, 6, 320, 320, 384 },
	{ "all slow", 100, 59000, 0, 0, 59000, 70000 },
	{ "slower than can be recorded", 100, 70000, 0, 0, 60000, 80000 },
	{ "old ones fade", 3000, 300, 3000, 20, 20, 24 },
};

static void
percentiles_are_estimated(void **state)
{
	const struct percentile_row *row = *state;
	struct health *u = begin();
	int ms;
	int i;

	for (i = 0; i < row->fast; i++)
		health_record_latency(u, (int64_t)row->fast_ms * 1000 + 500);
	for (i = 0; i < row->slow; i++)
		health_record_latency(u, (int64_t)row->slow_ms * 1000 + 500);
	ms = health_percentile_ms(u, 95);
	assert_in_range(ms, row->least, row->most);
	health_clear(u);
	assert_int_equal(health_percentile_ms(u, 95), 0);
}

/* Corrupt counts of a faulty worker must cause neither an endless loop nor a crash. */
static void
percentile_of_corrupt_counts_is_bounded(void **state)
{
	struct health *u = begin();
	int ms;

	(void)state;
	memset((void *)u, 0xff, 64 + 60 * sizeof(uint32_t));
	ms = health_percentile_ms(u, 95);
	assert_in_range(ms, 0, 80000);
	health_record_latency(u, -1);
	health_record_latency(u, INT64_MAX);
	assert_in_range(health_percentile_ms(u, 95), 0, 80000);
	health_clear(u);
}

int
main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test(up_and_down_are_reported_once),
		cmocka_unit_test(is_logged_when_it_changes_but_not_too_often),
		cmocka_unit_test(becomes_ready_once),
		cmocka_unit_test(only_one_worker_probes),
		cmocka_unit_test(state_is_shared_by_all_workers),
		cmocka_unit_test(usual_response_time_is_measured),
		cmocka_unit_test(cleared_state_is_empty),
		cmocka_unit_test(percentile_of_corrupt_counts_is_bounded),
	};
	const struct fixtures with_table = { NULL, NULL, make_table, free_table };

	return RUN_ROWS_WITH(with_table, percentile_rows, percentiles_are_estimated) +
	    RUN_ROWS_WITH(with_table, transition_rows, follows_the_diagram) +
	    RUN_ROWS_WITH(with_table, back_off_rows, backoff_grows_with_each_failure) +
	    cmocka_run_group_tests_name("health", others, make_table, free_table);
}
