#include "shared/health.h"

#include <sys/wait.h>

#include <unistd.h>

#include "unit.h"

static const struct deadline start = { 1000000 };

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
	{ "a million times", 1000000, 30000 },
};

/* A fifth more or less, and not always the same. */
static bool
is_in_backoff(const struct board_upstream *u, struct deadline now)
{
	return health_state(u, now) == HEALTH_DOWN;
}

static void
leaves_it_alone_for_longer_each_time(void **state)
{
	const struct back_off_row *row = *state;
	int64_t least = INT64_MAX;
	int64_t most = 0;
	int i;

	for (i = 0; i < 200; i++) {
		struct board_upstream u = { .failures = row->failures - 1 };
		int64_t at;

		(void)health_failed(&u, start);
		at = atomic_load(&u.retry_at_us) - start.at_us;
		assert_true(is_in_backoff(&u, deadline_after(start, row->ms * 4 / 5 - 1)));
		assert_false(is_in_backoff(&u, deadline_after(start, row->ms * 6 / 5)));
		least = at < least ? at : least;
		most = at > most ? at : most;
	}
	assert_true(most - least > row->ms * 1000 / 5);
}

static void
says_once_that_it_went_down_and_came_back(void **state)
{
	struct board_upstream u = { .failures = 0 };

	(void)state;
	assert_false(health_is_down(&u));
	assert_false(health_answered(&u));
	assert_true(health_failed(&u, start));
	assert_false(health_failed(&u, deadline_after(start, 5000)));
	assert_true(health_is_down(&u));
	assert_int_equal(health_down_s(&u, deadline_after(start, 7900)), 7);
	assert_true(health_answered(&u));
	assert_false(health_answered(&u));
	assert_false(health_is_down(&u));
	assert_false(is_in_backoff(&u, start));
	/* The next time begins at the beginning. */
	assert_true(health_failed(&u, deadline_after(start, 60000)));
	assert_int_equal(health_down_s(&u, deadline_after(start, 60000)), 0);
	assert_false(is_in_backoff(&u, deadline_after(start, 61200)));
}

static void
is_tried_by_one_only(void **state)
{
	struct board_upstream u = { .failures = 0 };
	struct deadline later = deadline_after(start, 2000);

	(void)state;
	assert_false(health_claim_trial(&u, start));
	(void)health_failed(&u, start);
	assert_false(health_claim_trial(&u, start));
	assert_true(health_claim_trial(&u, later));
	assert_false(health_claim_trial(&u, later));
	assert_true(is_in_backoff(&u, later));
	/* The trial has failed until it is answered; that it has is nothing new. */
	assert_int_equal(atomic_load(&u.failures), 2);
	assert_false(health_failed(&u, deadline_after(later, 500)));
	assert_int_equal(atomic_load(&u.failures), 2);
	/* Who claimed it may have died since. */
	assert_true(health_claim_trial(&u, deadline_after(later, 2500)));
	assert_true(health_answered(&u));
}

enum { WORKERS = 4, ROUNDS = 3 };

/* Workers do something at the same moment; returns how many of them say that it was they. */
static int
at_once(struct board *b, bool (*what)(struct board_upstream *, struct deadline))
{
	_Atomic uint32_t *gate = &board_worker(b, 0)->state;
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
				times += what(board_upstream(b, 0), start);
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
answered(struct board_upstream *u, struct deadline now)
{
	(void)now;
	return health_answered(u);
}

static void
is_the_same_for_all_workers(void **state)
{
	struct board *b = board_new(1, 1);
	int i;

	(void)state;
	assert_non_null(b);
	for (i = 0; i < 10; i++) {
		assert_int_equal(at_once(b, health_failed), 1);
		/* They saw the same outage. */
		assert_int_equal(atomic_load(&board_upstream(b, 0)->failures), 1);
		assert_int_equal(at_once(b, health_claim_trial), 0);
		atomic_store(&board_upstream(b, 0)->retry_at_us, start.at_us);
		assert_int_equal(at_once(b, health_claim_trial), 1);
		assert_int_equal(at_once(b, answered), 1);
	}
	board_free(b);
}

static void
knows_how_long_an_answer_usually_takes(void **state)
{
	struct board_upstream u = { .failures = 0 };
	int i;

	(void)state;
	assert_int_equal(health_usual_us(&u), 0);
	health_took(&u, 8000);
	assert_int_equal(health_usual_us(&u), 8000);
	/* One that is slow counts for an eighth. */
	health_took(&u, 16000);
	assert_int_equal(health_usual_us(&u), 9000);
	for (i = 0; i < 50; i++)
		health_took(&u, 2000);
	assert_in_range(health_usual_us(&u), 2000, 2020);
}

static void
is_copied_whole(void **state)
{
	struct board_upstream from = { .failures = 0 };
	struct board_upstream to = { .failures = 9, .retry_at_us = 9, .down_since_us = 9, .usual_us = 9 };

	(void)state;
	health_took(&from, 1234);
	(void)health_failed(&from, start);
	(void)health_failed(&from, deadline_after(start, 2000));
	health_copy(&to, &from);
	assert_int_equal(health_usual_us(&to), 1234);
	assert_int_equal(atomic_load(&to.failures), 2);
	assert_int_equal(atomic_load(&to.retry_at_us), atomic_load(&from.retry_at_us));
	assert_int_equal(health_down_s(&to, deadline_after(start, 3000)), 3);
}

int
main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test(says_once_that_it_went_down_and_came_back),
		cmocka_unit_test(is_tried_by_one_only),
		cmocka_unit_test(is_the_same_for_all_workers),
		cmocka_unit_test(knows_how_long_an_answer_usually_takes),
		cmocka_unit_test(is_copied_whole),
	};
	struct CMUnitTest back_offs[LENGTH(back_off_rows)];
	size_t i;

	for (i = 0; i < LENGTH(back_off_rows); i++)
		back_offs[i] = (struct CMUnitTest){ .name = back_off_rows[i].name,
			.test_func = leaves_it_alone_for_longer_each_time,
			.initial_state = (void *)&back_off_rows[i] };
	return cmocka_run_group_tests_name("health, back-off", back_offs, NULL, NULL) +
	    cmocka_run_group_tests_name("health", others, NULL, NULL);
}
