#include "base/fail.h"

#include <errno.h>

#include "unit.h"

/* Longer than either text of a failure. */
#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X500 X100 X100 X100 X100 X100

static void
says_why(void **state)
{
	struct failure why = { .text = "old", .remedy = "old" };

	(void)state;
	assert_int_equal(fail_with(&why, "%s %d", "step", 1), -1);
	assert_string_equal(why.text, "step 1");
	assert_string_equal(why.remedy, "");
}

static void
says_what_errno_means(void **state)
{
	struct failure why = { .remedy = "old" };

	(void)state;
	errno = ECONNREFUSED;
	assert_int_equal(fail_errno(&why, "connect to %s", "here"), -1);
	assert_string_equal(why.text, "connect to here: Connection refused");
	assert_string_equal(why.remedy, "");
}

static void
says_where(void **state)
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
cuts_what_is_too_long(void **state)
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
does_without_one_who_wants_to_know(void **state)
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
		cmocka_unit_test(says_why),
		cmocka_unit_test(says_what_errno_means),
		cmocka_unit_test(says_where),
		cmocka_unit_test(cuts_what_is_too_long),
		cmocka_unit_test(does_without_one_who_wants_to_know),
	};

	return cmocka_run_group_tests_name("fail", tests, NULL, NULL);
}
