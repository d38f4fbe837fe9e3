#ifndef DOTPROXY_UNIT_H
#define DOTPROXY_UNIT_H

/* Headers that cmocka.h needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* A string literal as bytes and their number, without the NUL at the end. */
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* A copy in a block of exactly LEN bytes, so that a sanitizer sees a read past its end. */
static inline uint8_t *
tight_copy(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	return copy;
}

/* What each test of a group needs before and after it, and the group itself; or NULL. */
struct fixtures {
	CMFixtureFunction set_up;
	CMFixtureFunction tear_down;
	CMFixtureFunction group_set_up;
	CMFixtureFunction group_tear_down;
};

/*
 * Runs a group of tests: one for each row of a table. A row begins with its name, and is the state
 * of its test. Returns how many have failed.
 */
#define RUN_ROWS(rows, test) RUN_ROWS_WITH(((struct fixtures){ 0 }), rows, test)
#define RUN_ROWS_WITH(fixtures, rows, test) \
	run_rows(fixtures, #test, rows, sizeof(rows)[0], LENGTH(rows), test)

static inline int
run_rows(struct fixtures f, const char *group, const void *rows, size_t size, size_t count,
    CMUnitTestFunction test)
{
	struct CMUnitTest *tests = calloc(count, sizeof *tests);
	size_t i;
	int failed;

	assert_non_null(tests);
	for (i = 0; i < count; i++) {
		const void *row = (const char *)rows + i * size;

		tests[i] = (struct CMUnitTest){ .name = *(const char *const *)row,
			.test_func = test,
			.setup_func = f.set_up,
			.teardown_func = f.tear_down,
			.initial_state = (void *)(uintptr_t)row };
	}
	failed = _cmocka_run_group_tests(group, tests, count, f.group_set_up, f.group_tear_down);
	free(tests);
	return failed;
}

#endif
