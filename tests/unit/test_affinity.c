#include "shared/affinity.h"

#include "unit.h"

static const struct deadline now = { 1000000 };

/* What the first worker publishes, and whether the next worker yields to it. */
static const struct row {
	const char *name;
	bool accepting;
	int64_t turn_us;
	unsigned busy;
	bool yields; /* the first time; and the second, after it has yielded */
	bool yields_again;
} rows[] = {
	{ "it waits, or was just woken", true, 0, 10, true, false },
	{ "it waits, and had no time left", true, 0, AFFINITY_BUSY, false, false },
	{ "its turn has begun", true, 1000000, 10, true, true },
	{ "its turn is still short", true, 1000001 - AFFINITY_TURN_MS * 1000, 10, true, true },
	{ "its turn is long", true, 1000000 - AFFINITY_TURN_MS * 1000, 10, false, false },
	{ "it is stuck", true, 1, 10, false, false },
	{ "it has a little time left", true, 1000000, AFFINITY_BUSY - 1, true, true },
	{ "it has no time left", true, 1000000, AFFINITY_BUSY, false, false },
	{ "its load is invalid", true, 1000000, UINT32_MAX, false, false },
	{ "it does not accept", false, 1000000, 10, false, false },
	{ "its clock is a little ahead", true, 1000001, 10, true, true },
	{ "its turn is in the future", true, INT64_MAX, 10, false, false },
	{ "its turn began at 0", true, INT64_MIN, 10, false, false },
};

static void
publish(struct affinity *a, size_t worker, const struct row *row)
{
	affinity_set_accepting(a, worker, row->accepting);
	affinity_set_turn(a, worker, (struct deadline){ row->turn_us });
	affinity_set_busy(a, worker, row->busy);
}

static void
yields_to_a_worker_that_will_accept(void **state)
{
	const struct row *row = *state;
	struct affinity *a = affinity_new();

	assert_non_null(a);
	publish(a, 64, row);
	assert_int_equal(affinity_should_yield(a, 64, 65, false, now), row->yields);
	assert_int_equal(affinity_should_yield(a, 64, 66, false, now), row->yields);
	assert_int_equal(affinity_should_yield(a, 64, 65, true, now), row->yields_again);
	/* The first worker never yields, or all would. No worker yields to another generation. */
	assert_false(affinity_should_yield(a, 64, 64, false, now));
	assert_false(affinity_should_yield(a, 0, 1, false, now));
	assert_false(affinity_should_yield(a, 128, 130, false, now));
	affinity_free(a);
}

static void
does_not_yield_to_ended_workers(void **state)
{
	struct affinity *a = affinity_new();

	(void)state;
	assert_non_null(a);
	assert_false(affinity_should_yield(a, 0, 1, false, now));
	publish(a, 0, &rows[0]);
	assert_true(affinity_should_yield(a, 0, 1, false, now));
	affinity_clear(a, 0);
	assert_false(affinity_should_yield(a, 0, 1, false, now));
	affinity_free(a);
	affinity_free(NULL);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(does_not_yield_to_ended_workers),
	};

	return RUN_ROWS(rows, yields_to_a_worker_that_will_accept) +
	    cmocka_run_group_tests_name("affinity", singles, NULL, NULL);
}
