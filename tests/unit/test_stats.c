#include "shared/stats.h"

#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include "unit.h"

static const struct deadline now = { 1000000 };

static void
new_generation_knows_no_upstream_state(void **state)
{
	struct stats *s = stats_new();
	int which;
	size_t i;

	(void)state;
	assert_non_null(s);
	for (i = 0; i < STATS_WORKERS; i++) {
		struct stats_worker *row = stats_worker(s, i);

		assert_int_equal(stats_state(row), STATS_EMPTY);
		for (which = 0; which < STATS_COUNTERS; which++)
			assert_int_equal(stats_counter(row, (enum stats_counter)which), 0);
	}
	for (i = 0; i < STATS_GENERATIONS; i++)
		assert_int_equal(stats_new_drops(s, i, STATS_SOCKETS - 1, 1), 1);
	stats_free(s);
	stats_free(NULL);
}

/* Writing a row must not invalidate the cache line of the next row. */
static void
gives_each_row_its_own_cache_lines(void **state)
{
	struct stats *s = stats_new();
	size_t i;

	(void)state;
	assert_non_null(s);
	for (i = 0; i < STATS_WORKERS; i++)
		assert_int_equal((uintptr_t)stats_worker(s, i) % 128, 0);
	for (i = 1; i < STATS_WORKERS; i++)
		assert_true((uintptr_t)stats_worker(s, i) >=
		    (uintptr_t)stats_worker(s, i - 1) + 128);
	stats_free(s);
}

/* Totals survive the death of the worker; queries in flight do not count. */
static void
totals_survive_the_end_of_a_worker(void **state)
{
	struct stats *s = stats_new();
	struct stats_worker *row;

	(void)state;
	assert_non_null(s);
	row = stats_worker(s, 2);
	stats_count(row, STATS_QUERIES, 3);
	stats_count(row, STATS_QUERIES, 4);
	stats_count(row, STATS_ANSWERED, 6);
	stats_count(row, STATS_FAILED, 1);
	stats_set_state(row, STATS_SERVING);
	stats_set_load(row, 5, 6);
	stats_beat(row, now);
	assert_int_equal(stats_state(row), STATS_SERVING);
	assert_int_equal(stats_queries_in_flight(row), 5);
	assert_int_equal(stats_clients(row), 6);
	assert_int_equal(stats_heartbeat(row), now.at_us);
	stats_clear_worker(row);
	assert_int_equal(stats_state(row), STATS_EMPTY);
	assert_int_equal(stats_queries_in_flight(row), 0);
	assert_int_equal(stats_clients(row), 0);
	assert_int_equal(stats_counter(row, STATS_QUERIES), 7);
	assert_int_equal(stats_counter(row, STATS_ANSWERED), 6);
	assert_int_equal(stats_counter(row, STATS_FAILED), 1);
	assert_int_equal(stats_counter(stats_worker(s, 1), STATS_QUERIES), 0);
	stats_free(s);
}

/* Counts until it is killed. */
static pid_t
start_counting(struct stats_worker *row)
{
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid != 0)
		return pid;
	for (;;) {
		stats_count(row, STATS_QUERIES, 1);
		stats_count(row, STATS_ANSWERED, 1);
	}
}

static void
survives_the_death_of_any_worker(void **state)
{
	struct stats *s = stats_new();
	struct stats_worker *row;
	uint64_t before = 0;
	uint64_t answered;
	unsigned round;
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(s);
	row = stats_worker(s, STATS_WORKERS - 1);
	for (round = 0; round < 20; round++) {
		pid = start_counting(row);
		while (stats_counter(row, STATS_QUERIES) < before + 100)
			;
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		/* Each may have been killed between the two steps. */
		before = stats_counter(row, STATS_QUERIES);
		answered = stats_counter(row, STATS_ANSWERED);
		assert_in_range(answered, before - round - 1, before);
		stats_clear_worker(row);
	}
	stats_free(s);
}

/* A report is consumed once, and only by the generation that it was made for. */
static void
socket_reports_belong_to_a_generation(void **state)
{
	struct stats *s = stats_new();

	(void)state;
	assert_non_null(s);
	assert_int_equal(stats_new_drops(s, 1, STATS_SOCKETS - 1, 12), 12);
	stats_report_shut_down(s, 1);
	assert_false(stats_take_shut_down(s, 0));
	assert_false(stats_take_shut_down(s, 2));
	assert_true(stats_take_shut_down(s, 1));
	assert_false(stats_take_shut_down(s, 1));
	assert_int_equal(stats_new_drops(s, 2, STATS_SOCKETS - 1, 3), 3);
	stats_report_shut_down(s, 1);
	stats_clear_sockets(s, 1);
	assert_false(stats_take_shut_down(s, 1));
	assert_int_equal(stats_new_drops(s, 1, STATS_SOCKETS - 1, 12), 12);
	stats_free(s);
}

/* Each drop is reported once, also when the count wraps; those before the first worker are not. */
static void
drops_are_reported_once(void **state)
{
	static const struct {
		bool ignored; /* what a worker finds when it starts, or else what it sees later */
		uint32_t total;
		uint32_t expected;
	} rows[] = {
		{ true, 4000000000, 0 },
		{ false, 4000000007, 7 },
		{ false, 4000000007, 0 },
		{ false, 4000000005, 0 },
		{ true, 4000000009, 0 },
		{ false, 4000000010, 3 },
		{ false, 5, 294967291 },
		{ false, 4294967295, 0 },
	};
	struct stats *s = stats_new();
	size_t i;

	(void)state;
	assert_non_null(s);
	for (i = 0; i < LENGTH(rows); i++)
		if (rows[i].ignored)
			stats_ignore_drops(s, 2, 1, rows[i].total);
		else
			assert_int_equal(stats_new_drops(s, 2, 1, rows[i].total), rows[i].expected);
	stats_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_generation_knows_no_upstream_state),
		cmocka_unit_test(gives_each_row_its_own_cache_lines),
		cmocka_unit_test(totals_survive_the_end_of_a_worker),
		cmocka_unit_test(survives_the_death_of_any_worker),
		cmocka_unit_test(socket_reports_belong_to_a_generation),
		cmocka_unit_test(drops_are_reported_once),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
