#include "base/fail.h"

#include <errno.h>

#include "unit.h"

/* Longer than either text of a failure. */
#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X500 X100 X100 X100 X100 X100

static void
cause_is_reported(void **state)
{
	struct failure why = { .text = "old", .remedy = "old" };

	(void)state;
	assert_int_equal(fail_with(&why, "%s %d", "step", 1), -1);
	assert_string_equal(why.text, "step 1");
	assert_string_equal(why.remedy, "");
}

static void
errno_is_described(void **state)
{
	struct failure why = { .remedy = "old" };

	(void)state;
	errno = ECONNREFUSED;
	assert_int_equal(fail_errno(&why, "connect to %s", "here"), -1);
	assert_string_equal(why.text, "connect to here: Connection refused");
	assert_string_equal(why.remedy, "");
}

static void
context_is_prepended(void **state)
{
	struct failure why;

	(void)state;
	(void)fail_with(&why, "timed out");
	fail_remedy(&why, "wait %d s", 5);
	assert_int_equal(fail_in(&why, "step %d", 2), -1);
	assert_int_equal(fail_in(&why, "outside"), -1);
	assert_string_equal(why.text, "outside: step 2: timed out");
	assert_string_equal(why.remedy, "wait 5 s");
}

static void
long_text_is_truncated(void **state)
{
	struct failure why;

	(void)state;
	(void)fail_with(&why, "%s", X500);
	assert_int_equal(strlen(why.text), sizeof why.text - 1);
	fail_remedy(&why, "%s", X500);
	assert_int_equal(strlen(why.remedy), sizeof why.remedy - 1);
	(void)fail_in(&why, "where");
	assert_int_equal(strlen(why.text), sizeof why.text - 1);
	assert_memory_equal(why.text, "where: xxx", 10);
	(void)fail_in(&why, "%s", X500);
	assert_int_equal(strlen(why.text), sizeof why.text - 1);
	errno = EPERM;
	(void)fail_errno(&why, "%s", X500);
	assert_int_equal(strlen(why.text), sizeof why.text - 1);
}

static void
works_without_an_observer(void **state)
{
	(void)state;
	errno = EPERM;
	assert_int_equal(fail_with(NULL, "step"), -1);
	assert_int_equal(fail_errno(NULL, "step"), -1);
	assert_int_equal(fail_in(NULL, "step"), -1);
	fail_remedy(NULL, "nothing");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cause_is_reported),
		cmocka_unit_test(errno_is_described),
		cmocka_unit_test(context_is_prepended),
		cmocka_unit_test(long_text_is_truncated),
		cmocka_unit_test(works_without_an_observer),
	};

	return cmocka_run_group_tests_name("fail", tests, NULL, NULL);
}
