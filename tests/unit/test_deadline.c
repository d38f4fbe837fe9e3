#include "base/deadline.h"

#include <limits.h>
#include <poll.h>

#include "unit.h"

static const struct left_row {
	const char *name;
	int64_t at_us;
	int64_t now_us;
	int left_ms;
	bool passed;
} left_rows[] = {
	{ "to come", 5000, 3000, 2, false },
	{ "one microsecond is rounded up", 3001, 3000, 1, false },
	{ "a millisecond is not", 4000, 3000, 1, false },
	{ "a little more than one is", 4001, 3000, 2, false },
	{ "now", 3000, 3000, 0, true },
	{ "just passed", 2999, 3000, 0, true },
	{ "long passed", 0, INT64_MAX - 1, 0, true },
	{ "the longest that poll can wait", INT_MAX * INT64_C(1000), 0, INT_MAX, false },
	{ "longer than that", INT_MAX * INT64_C(1000) + 1, 0, INT_MAX, false },
	{ "the last possible moment", INT64_MAX - 1, INT64_MAX - 2, 1, false },
	{ "never", INT64_MAX, 3000, -1, false },
};

static void
remaining_time(void **state)
{
	const struct left_row *row = *state;
	struct deadline d = { row->at_us };
	struct deadline now = { row->now_us };

	assert_int_equal(deadline_left_ms(d, now), row->left_ms);
	assert_int_equal(deadline_passed(d, now), row->passed);
}

static void
deadline_is_that_much_later(void **state)
{
	struct deadline from = { 1000 };

	(void)state;
	assert_int_equal(deadline_after(from, 3).at_us, 4000);
	assert_int_equal(deadline_after(from, 0).at_us, 1000);
	assert_int_equal(deadline_after(from, INT_MAX).at_us, 1000 + INT_MAX * INT64_C(1000));
	assert_int_equal(deadline_after(DEADLINE_NEVER, 3).at_us, INT64_MAX);
}

static void
picks_the_earlier(void **state)
{
	struct deadline early = { 1 };
	struct deadline late = { 2 };

	(void)state;
	assert_int_equal(deadline_sooner(early, late).at_us, 1);
	assert_int_equal(deadline_sooner(late, early).at_us, 1);
	assert_int_equal(deadline_sooner(late, DEADLINE_NEVER).at_us, 2);
	assert_int_equal(deadline_later(early, late).at_us, 2);
	assert_int_equal(deadline_later(late, early).at_us, 2);
	assert_int_equal(deadline_us_between(early, late), 1);
	assert_int_equal(deadline_us_between(late, early), -1);
}

static void
follows_the_clock(void **state)
{
	struct deadline before = deadline_now();
	struct deadline by = deadline_in(20);
	struct deadline after;

	(void)state;
	assert_in_range(deadline_left_ms(by, before), 20, 1000);
	(void)poll(NULL, 0, deadline_left_ms(by, deadline_now()));
	after = deadline_now();
	assert_true(deadline_passed(by, after));
	assert_true(deadline_us_between(before, after) >= 20000);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(deadline_is_that_much_later),
		cmocka_unit_test(picks_the_earlier),
		cmocka_unit_test(follows_the_clock),
	};

	return RUN_ROWS(left_rows, remaining_time) +
	    cmocka_run_group_tests_name("deadline", singles, NULL, NULL);
}
