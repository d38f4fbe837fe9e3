#include "shared/board.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include "unit.h"

static const struct deadline now = { 1000 };
static const struct deadline later = { 2000 };

/* A session that says which one it is. */
static void
put(struct board *b, size_t upstream, uint8_t name, size_t len)
{
	uint8_t octets[BOARD_SESSION_MAX];

	memset(octets, name, sizeof octets);
	board_put_session(b, upstream, octets, len, later);
}

/* Takes the newest one: which one it is, or 0 when there is none. */
static uint8_t
take(struct board *b, size_t upstream, size_t expected_len)
{
	uint8_t octets[BOARD_SESSION_MAX];
	size_t len = board_take_session(b, upstream, octets, now);
	size_t i;

	if (len == 0)
		return 0;
	assert_int_equal(len, expected_len);
	for (i = 0; i < len; i++)
		assert_int_equal(octets[i], octets[0]);
	return octets[0];
}

static void
gives_the_newest_first_and_each_once(void **state)
{
	struct board *b = board_new(1, 2);

	(void)state;
	assert_non_null(b);
	assert_int_equal(take(b, 0, 1), 0);
	put(b, 0, 'a', 100);
	put(b, 0, 'b', 100);
	assert_int_equal(take(b, 0, 100), 'b');
	put(b, 0, 'c', 100);
	assert_int_equal(take(b, 0, 100), 'c');
	assert_int_equal(take(b, 0, 100), 'a');
	assert_int_equal(take(b, 0, 100), 0);
	board_free(b);
}

static void
forgets_the_oldest_when_there_is_no_room(void **state)
{
	struct board *b = board_new(1, 1);
	unsigned name;

	(void)state;
	assert_non_null(b);
	for (name = 1; name <= BOARD_SESSIONS + 2; name++)
		put(b, 0, (uint8_t)name, 10);
	for (name = BOARD_SESSIONS + 2; name > 2; name--)
		assert_int_equal(take(b, 0, 10), name);
	assert_int_equal(take(b, 0, 10), 0);
	board_free(b);
}

static void
keeps_upstreams_apart(void **state)
{
	struct board *b = board_new(3, 3);

	(void)state;
	assert_non_null(b);
	put(b, 1, 'b', BOARD_SESSION_MAX);
	put(b, 2, 'c', 20);
	assert_int_equal(take(b, 0, 1), 0);
	assert_int_equal(take(b, 2, 20), 'c');
	assert_int_equal(take(b, 2, 20), 0);
	assert_int_equal(take(b, 1, BOARD_SESSION_MAX), 'b');
	/* Nor do they touch the rows beside them. */
	assert_int_equal(atomic_load(&board_upstream(b, 2)->failures), 0);
	assert_int_equal(atomic_load(&board_worker(b, 2)->queries), 0);
	board_free(b);
}

static void
takes_none_that_is_too_large(void **state)
{
	struct board *b = board_new(1, 1);
	static const uint8_t octets[BOARD_SESSION_MAX + 1];

	(void)state;
	assert_non_null(b);
	put(b, 0, 'a', 10);
	board_put_session(b, 0, octets, sizeof octets, later);
	assert_int_equal(take(b, 0, 10), 'a');
	assert_int_equal(take(b, 0, 10), 0);
	board_free(b);
}

static void
gives_none_whose_time_is_over(void **state)
{
	static const struct {
		int64_t	until_us;
		bool	given;
	} cases[] = { { 999, false }, { 1000, false }, { 1001, true } };
	uint8_t octets[BOARD_SESSION_MAX] = { 'b' };
	struct board *b;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(cases); i++) {
		b = board_new(1, 1);
		assert_non_null(b);
		put(b, 0, 'a', 1);
		board_put_session(b, 0, octets, 1, (struct deadline){ cases[i].until_us });
		assert_int_equal(take(b, 0, 1), cases[i].given ? 'b' : 'a');
		board_free(b);
	}
}

/* Until it is killed. */
static pid_t
start_exchanging(struct board *b, size_t index)
{
	uint8_t octets[BOARD_SESSION_MAX];
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid != 0)
		return pid;
	for (;;) {
		put(b, 0, (uint8_t)('a' + index), BOARD_SESSION_MAX);
		(void)board_take_session(b, 0, octets, now);
		board_count(&board_worker(b, index)->queries, 1);
	}
}

/* Wherever they are killed: once they are reaped, all places are free and no session is torn. */
static void
outlives_the_death_of_any_worker(void **state)
{
	struct board *b = board_new(2, 1);
	unsigned round;
	size_t i;
	int status;

	(void)state;
	assert_non_null(b);
	for (round = 0; round < 100; round++) {
		pid_t pids[2] = { start_exchanging(b, 0), start_exchanging(b, 1) };

		for (i = 0; i < 2; i++) {
			while (atomic_load(&board_worker(b, i)->queries) < 10ULL * (round + 1))
				(void)usleep(100);
			assert_int_equal(kill(pids[i], SIGKILL), 0);
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		}
		for (i = 0; i < 2; i++)
			board_leave(b, i, pids[i]);
		while (take(b, 0, BOARD_SESSION_MAX) != 0)
			continue;
		for (i = 1; i <= BOARD_SESSIONS; i++)
			put(b, 0, (uint8_t)i, 10);
		for (i = BOARD_SESSIONS; i > 0; i--)
			assert_int_equal(take(b, 0, 10), i);
	}
	board_free(b);
}

/* How often each session was taken by two processes, and how many of them have begun. */
struct tally {
	_Atomic unsigned takes[256];
	_Atomic unsigned begun;
};

/* Puts every other session from FIRST on, and counts those that it takes. */
static pid_t
start_taking(struct board *b, unsigned first, struct tally *t)
{
	uint8_t octets[BOARD_SESSION_MAX];
	pid_t pid = fork();
	unsigned name;
	size_t len;

	assert_int_not_equal(pid, -1);
	if (pid != 0)
		return pid;
	atomic_fetch_add(&t->begun, 1);
	while (atomic_load(&t->begun) < 2)
		continue;
	for (name = first; name < LENGTH(t->takes); name += 2) {
		put(b, 0, (uint8_t)name, BOARD_SESSION_MAX);
		len = board_take_session(b, 0, octets, now);
		if (len > 0 && (octets[0] != octets[len - 1] || octets[0] != octets[len / 2]))
			_exit(1);
		if (len > 0)
			atomic_fetch_add(&t->takes[octets[0]], 1);
	}
	_exit(0);
}

/* RFC 8446 C.4: no session is used by two, nor is one made of two. */
static void
gives_a_session_to_one_of_two_that_ask_at_once(void **state)
{
	struct board *b = board_new(2, 1);
	struct tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned round;
	unsigned name;
	unsigned taken = 0;

	(void)state;
	assert_non_null(b);
	assert_ptr_not_equal(t, MAP_FAILED);
	for (round = 0; round < 50; round++) {
		pid_t pids[2] = { start_taking(b, 1, t), start_taking(b, 2, t) };
		size_t i;
		int status;

		for (i = 0; i < 2; i++) {
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_int_equal(status, 0);
		}
		while ((name = take(b, 0, BOARD_SESSION_MAX)) != 0)
			atomic_fetch_add(&t->takes[name], 1);
		for (name = 0; name < LENGTH(t->takes); name++) {
			assert_in_range(atomic_load(&t->takes[name]), 0, 1);
			taken += atomic_load(&t->takes[name]);
		}
		memset(t, 0, sizeof *t);
	}
	assert_true(taken > 0);
	(void)munmap(t, sizeof *t);
	board_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_newest_first_and_each_once),
		cmocka_unit_test(forgets_the_oldest_when_there_is_no_room),
		cmocka_unit_test(keeps_upstreams_apart),
		cmocka_unit_test(takes_none_that_is_too_large),
		cmocka_unit_test(gives_none_whose_time_is_over),
		cmocka_unit_test(outlives_the_death_of_any_worker),
		cmocka_unit_test(gives_a_session_to_one_of_two_that_ask_at_once),
	};

	return cmocka_run_group_tests_name("board_sessions", tests, NULL, NULL);
}
