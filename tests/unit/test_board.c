#include "shared/board.h"

#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include "shared/health.h"
#include "unit.h"

enum { WORKERS = 5, UPSTREAMS = 7 };

static void
begins_with_nothing_known(void **state)
{
	struct board *b = board_new(WORKERS, UPSTREAMS);
	size_t i;

	(void)state;
	assert_non_null(b);
	for (i = 0; i < WORKERS; i++) {
		assert_int_equal(atomic_load(&board_worker(b, i)->state), BOARD_EMPTY);
		assert_int_equal(atomic_load(&board_worker(b, i)->queries), 0);
	}
	for (i = 0; i < UPSTREAMS; i++)
		assert_int_equal(atomic_load(&board_upstream(b, i)->failures), 0);
	for (i = 0; i < BOARD_SOCKETS; i++)
		assert_int_equal(atomic_load(&board_overflows(b)[i]), 0);
	assert_false(board_is_ready(b));
	board_free(b);
	board_free(NULL);
}

/* A row that is written must not take the next one's cache line away from another processor. */
static void
gives_each_row_its_own_cache_lines(void **state)
{
	struct board *b = board_new(WORKERS, UPSTREAMS);
	uintptr_t end;
	size_t i;

	(void)state;
	assert_non_null(b);
	for (i = 0; i < WORKERS; i++) {
		end = i + 1 < WORKERS ? (uintptr_t)board_worker(b, i + 1) :
		    (uintptr_t)board_upstream(b, 0);
		assert_int_equal((uintptr_t)board_worker(b, i) % 64, 0);
		assert_true((uintptr_t)board_worker(b, i) + sizeof(struct board_worker) <= end);
	}
	for (i = 0; i < UPSTREAMS; i++) {
		assert_int_equal((uintptr_t)board_upstream(b, i) % 64, 0);
		memset(board_upstream(b, i), 0xff, sizeof(struct board_upstream));
		assert_int_equal(atomic_load(&board_worker(b, WORKERS - 1)->clients), 0);
		if (i + 1 < UPSTREAMS)
			assert_int_equal(atomic_load(&board_upstream(b, i + 1)->failures), 0);
	}
	board_free(b);
}

static void
leaves(void **state)
{
	struct board *b = board_new(WORKERS, UPSTREAMS);
	struct board_worker *row;

	(void)state;
	assert_non_null(b);
	row = board_worker(b, 2);
	board_count(&row->queries, 3);
	board_count(&row->queries, 4);
	assert_int_equal(atomic_load(&row->queries), 7);
	atomic_store(&row->state, BOARD_SERVING);
	atomic_store(&row->in_hand, 5);
	atomic_store(&row->clients, 6);
	board_leave(b, 2, 4711);
	assert_int_equal(atomic_load(&row->state), BOARD_EMPTY);
	assert_int_equal(atomic_load(&row->in_hand), 0);
	assert_int_equal(atomic_load(&row->clients), 0);
	/* What was counted was counted. */
	assert_int_equal(atomic_load(&row->queries), 7);
	assert_int_equal(atomic_load(&board_worker(b, 1)->queries), 0);
	board_free(b);
}

/* Counts on the board until it is killed. */
static pid_t
start_counting(struct board *b, size_t index)
{
	struct board_worker *row = board_worker(b, index);
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid != 0)
		return pid;
	for (;;) {
		board_count(&row->queries, 1);
		atomic_fetch_add(&board_upstream(b, 0)->failures, 1);
	}
}

static void
outlives_the_death_of_any_worker(void **state)
{
	struct board *b = board_new(2, 1);
	pid_t pids[2];
	uint64_t counted;
	size_t i;
	int status;

	(void)state;
	assert_non_null(b);
	for (i = 0; i < 2; i++)
		pids[i] = start_counting(b, i);
	for (i = 0; i < 2; i++) {
		while (atomic_load(&board_worker(b, i)->queries) < 100)
			;
		assert_int_equal(kill(pids[i], SIGKILL), 0);
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
	}
	/* Each may have been killed between the one and the other. */
	counted = atomic_load(&board_worker(b, 0)->queries) +
	    atomic_load(&board_worker(b, 1)->queries);
	assert_in_range(atomic_load(&board_upstream(b, 0)->failures), counted - 2, counted);
	board_free(b);
}

/* Whoever of them was connected, all know. */
static void
tells_all_that_it_is_ready(void **state)
{
	struct board *b = board_new(WORKERS, UPSTREAMS);
	pid_t pid;
	int status;

	(void)state;
	assert_non_null(b);
	if ((pid = fork()) == 0) {
		board_set_ready(b);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(board_is_ready(b));
	assert_int_equal(atomic_load(&board_worker(b, 0)->queries), 0);
	board_leave(b, 0, pid);
	assert_true(board_is_ready(b));
	board_free(b);
}

/* What the first of the workers shows, and whether the one behind it leaves it what has come. */
static const struct turn_row {
	const char *name;
	uint32_t state;
	int64_t turn_us;
	uint32_t busy;
	bool leaves; /* the first time; and the second, after it has stood back */
	bool leaves_again;
} turn_rows[] = {
	{ "it waits, or was just woken", BOARD_SERVING, 0, 10, true, false },
	{ "it waits, and had no time left", BOARD_SERVING, 0, BOARD_BUSY, false, false },
	{ "its turn has begun", BOARD_SERVING, 1000000, 10, true, true },
	{ "its turn is still short", BOARD_SERVING, 1000001 - BOARD_TURN_MS * 1000, 10, true, true },
	{ "its turn is long", BOARD_SERVING, 1000000 - BOARD_TURN_MS * 1000, 10, false, false },
	{ "it is stuck", BOARD_SERVING, 1, 10, false, false },
	{ "it has a little time left", BOARD_SERVING, 1000000, BOARD_BUSY - 1, true, true },
	{ "it has no time left", BOARD_SERVING, 1000000, BOARD_BUSY, false, false },
	{ "it stops", BOARD_STOPPING, 1000000, 10, false, false },
	{ "it is ahead of us", BOARD_SERVING, 1000001, 10, true, true },
	{ "its turn is yet to come", BOARD_SERVING, INT64_MAX, 10, false, false },
	{ "its turn was before there was time", BOARD_SERVING, INT64_MIN, 10, false, false },
	{ "its state is none", UINT32_MAX, 1000000, 10, false, false },
	{ "it does not serve yet", BOARD_EMPTY, 1000000, 10, false, false },
};

static void
leaves_it_to_who_comes_back(void **state)
{
	struct deadline now = { 1000000 };
	struct board *b = board_new(WORKERS, UPSTREAMS);
	struct board_worker *first;
	size_t i;

	(void)state;
	assert_non_null(b);
	first = board_worker(b, 0);
	for (i = 0; i < LENGTH(turn_rows); i++) {
		const struct turn_row *row = &turn_rows[i];

		atomic_store(&first->state, row->state);
		atomic_store(&first->turn_us, row->turn_us);
		atomic_store(&first->busy, row->busy);
		if (board_another_takes(b, 1, false, now) != row->leaves ||
		    board_another_takes(b, 2, false, now) != row->leaves ||
		    board_another_takes(b, 1, true, now) != row->leaves_again)
			fail_msg("%s", row->name);
		/* The first never does, or all would. */
		assert_false(board_another_takes(b, 0, false, now));
	}
	atomic_store(&first->state, BOARD_SERVING);
	board_leave(b, 0, 4711);
	assert_false(board_another_takes(b, 1, false, now));
	board_free(b);
}

static const uint64_t words[] = { 0, 0, 1, 2, 100, 8192, 8193, UINT32_MAX, 0xffffffff00000000,
	INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, 0x7fffffff00000000, 0x0000200100000000 };

/* Whatever stands there, nothing is read or written beyond it, and no number overflows. */
static void
survives_any_octets(void **state)
{
	struct board *b = board_new(2, 1);
	struct board_upstream *upstream = board_upstream(b, 0);
	uint64_t *begin = (uint64_t *)(void *)board_worker(b, 0);
	uint8_t session[BOARD_SESSION_MAX];
	struct deadline now = { 1000000 };
	size_t count = ((uintptr_t)upstream + 64 - (uintptr_t)begin) / sizeof *begin +
	    BOARD_SESSIONS * ((size_t)BOARD_SESSION_MAX + 24) / sizeof *begin;
	unsigned round;
	size_t i;

	(void)state;
	assert_non_null(b);
	srandom(1);
	for (round = 0; round < 3000; round++) {
		for (i = 0; i < count; i++)
			begin[i] = words[(size_t)random() % LENGTH(words)];
		assert_in_range(board_take_session(b, 0, session, now), 0, sizeof session);
		board_put_session(b, 0, session, sizeof session, now);
		(void)board_another_takes(b, 1, round % 2 == 0, now);
		(void)board_is_ready(b);
		(void)health_state(upstream, now);
		(void)health_claim_trial(upstream, now);
		(void)health_failed(upstream, now);
		assert_in_range(health_down_s(upstream, now), 0, 1);
		health_took(upstream, 1000);
		health_looked(upstream, 1000);
		assert_in_range(health_usual_us(upstream), 0, 60000000);
		(void)health_answered(upstream);
		board_leave(b, 0, 4711);
	}
	board_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_with_nothing_known),
		cmocka_unit_test(gives_each_row_its_own_cache_lines),
		cmocka_unit_test(leaves),
		cmocka_unit_test(survives_any_octets),
		cmocka_unit_test(tells_all_that_it_is_ready),
		cmocka_unit_test(leaves_it_to_who_comes_back),
		cmocka_unit_test(outlives_the_death_of_any_worker),
	};

	return cmocka_run_group_tests_name("board", tests, NULL, NULL);
}
