#include "shared/sessions.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "unit.h"

static const struct deadline now = { 1000 };
static const struct deadline later = { 2000 };

enum { ROWS = 3 };

static struct sessions *
begin(void)
{
	struct sessions *s = sessions_new();
	size_t row;

	assert_non_null(s);
	for (row = 0; row < ROWS; row++)
		sessions_clear(s, row);
	return s;
}

/* A session that contains its own number. */
static void
put(struct sessions *b, size_t row, uint8_t name, size_t len)
{
	uint8_t bytes[SESSIONS_LEN_MAX];

	memset(bytes, name, sizeof bytes);
	sessions_put(b, row, bytes, len, later);
}

/* Takes the newest one: which one it is, or 0 when there is none. */
static uint8_t
take(struct sessions *b, size_t row, size_t expected_len)
{
	uint8_t bytes[SESSIONS_LEN_MAX];
	size_t len = sessions_take(b, row, bytes, now);
	size_t i;

	if (len == 0)
		return 0;
	assert_int_equal(len, expected_len);
	for (i = 0; i < len; i++)
		assert_int_equal(bytes[i], bytes[0]);
	return bytes[0];
}

static void
newest_session_is_returned_first_and_once(void **state)
{
	struct sessions *b = begin();

	(void)state;
	assert_int_equal(take(b, 0, 1), 0);
	put(b, 0, 'a', 100);
	put(b, 0, 'b', 100);
	assert_int_equal(take(b, 0, 100), 'b');
	put(b, 0, 'c', 100);
	assert_int_equal(take(b, 0, 100), 'c');
	assert_int_equal(take(b, 0, 100), 'a');
	assert_int_equal(take(b, 0, 100), 0);
	sessions_free(b);
}

static void
oldest_session_is_dropped_when_full(void **state)
{
	struct sessions *b = begin();
	unsigned name;

	(void)state;
	for (name = 1; name <= SESSIONS_EACH + 2; name++)
		put(b, 0, (uint8_t)name, 10);
	for (name = SESSIONS_EACH + 2; name > 2; name--)
		assert_int_equal(take(b, 0, 10), name);
	assert_int_equal(take(b, 0, 10), 0);
	sessions_free(b);
}

static void
keeps_upstreams_apart(void **state)
{
	struct sessions *b = begin();

	(void)state;
	put(b, 1, 'b', SESSIONS_LEN_MAX);
	put(b, 2, 'c', 20);
	assert_int_equal(take(b, 0, 1), 0);
	assert_int_equal(take(b, 2, 20), 'c');
	assert_int_equal(take(b, 2, 20), 0);
	assert_int_equal(take(b, 1, SESSIONS_LEN_MAX), 'b');
	sessions_free(b);
}

static void
too_large_session_is_refused(void **state)
{
	struct sessions *b = begin();
	static const uint8_t bytes[SESSIONS_LEN_MAX + 1];

	(void)state;
	put(b, 0, 'a', 10);
	sessions_put(b, 0, bytes, sizeof bytes, later);
	assert_int_equal(take(b, 0, 10), 'a');
	assert_int_equal(take(b, 0, 10), 0);
	sessions_free(b);
}

static void
expired_session_is_not_returned(void **state)
{
	static const struct {
		int64_t	until_us;
		bool	given;
	} cases[] = { { 999, false }, { 1000, false }, { 1001, true } };
	uint8_t bytes[SESSIONS_LEN_MAX] = { 'b' };
	struct sessions *b;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(cases); i++) {
		b = begin();
			put(b, 0, 'a', 1);
		sessions_put(b, 0, bytes, 1, (struct deadline){ cases[i].until_us });
		assert_int_equal(take(b, 0, 1), cases[i].given ? 'b' : 'a');
		sessions_free(b);
	}
}

/* Memory that this process shares with its children. */
static void *
share(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Counts its turns until it is killed. */
static pid_t
start_exchanging(struct sessions *b, _Atomic uint64_t *turns, size_t index)
{
	uint8_t bytes[SESSIONS_LEN_MAX];
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid != 0)
		return pid;
	for (;;) {
		put(b, 0, (uint8_t)('a' + index), SESSIONS_LEN_MAX);
		(void)sessions_take(b, 0, bytes, now);
		(void)atomic_fetch_add(turns, 1);
	}
}

/* Wherever workers are killed: once reaped, all slots are free and no session is torn. */
static void
survives_the_death_of_any_worker(void **state)
{
	struct sessions *b = begin();
	_Atomic uint64_t *turns = share(2 * sizeof *turns);
	unsigned round;
	size_t i;
	int status;

	(void)state;
	for (round = 0; round < 100; round++) {
		pid_t pids[2] = { start_exchanging(b, &turns[0], 0),
			start_exchanging(b, &turns[1], 1) };

		for (i = 0; i < 2; i++) {
			while (atomic_load(&turns[i]) < 10ULL * (round + 1))
				(void)usleep(100);
			assert_int_equal(kill(pids[i], SIGKILL), 0);
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		}
		for (i = 0; i < 2; i++)
			sessions_release(b, pids[i]);
		while (take(b, 0, SESSIONS_LEN_MAX) != 0)
			continue;
		for (i = 1; i <= SESSIONS_EACH; i++)
			put(b, 0, (uint8_t)i, 10);
		for (i = SESSIONS_EACH; i > 0; i--)
			assert_int_equal(take(b, 0, 10), i);
	}
	sessions_free(b);
}

/* How often each session was taken by two processes, and how many of them have begun. */
struct tally {
	_Atomic unsigned takes[256];
	_Atomic unsigned begun;
};

/* Puts every other session from FIRST on, and counts those that it takes. */
static pid_t
start_taking(struct sessions *b, unsigned first, struct tally *t)
{
	uint8_t bytes[SESSIONS_LEN_MAX];
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
		put(b, 0, (uint8_t)name, SESSIONS_LEN_MAX);
		len = sessions_take(b, 0, bytes, now);
		if (len > 0 && (bytes[0] != bytes[len - 1] || bytes[0] != bytes[len / 2]))
			_exit(1);
		if (len > 0)
			atomic_fetch_add(&t->takes[bytes[0]], 1);
	}
	_exit(0);
}

/* RFC 8446 C.4: no session is used by two, and none is mixed from two. */
static void
concurrent_takers_get_a_session_once(void **state)
{
	struct sessions *b = begin();
	struct tally *t = share(sizeof *t);
	unsigned round;
	unsigned name;
	unsigned taken = 0;

	(void)state;
	for (round = 0; round < 50; round++) {
		pid_t pids[2] = { start_taking(b, 1, t), start_taking(b, 2, t) };
		size_t i;
		int status;

		for (i = 0; i < 2; i++) {
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_int_equal(status, 0);
		}
		while ((name = take(b, 0, SESSIONS_LEN_MAX)) != 0)
			atomic_fetch_add(&t->takes[name], 1);
		for (name = 0; name < LENGTH(t->takes); name++) {
			assert_in_range(atomic_load(&t->takes[name]), 0, 1);
			taken += atomic_load(&t->takes[name]);
		}
		memset(t, 0, sizeof *t);
	}
	assert_true(taken > 0);
	(void)munmap(t, sizeof *t);
	sessions_free(b);
}

/* Another upstream gets the row, and none of the sessions. */
static void
clearing_a_row_drops_its_sessions(void **state)
{
	struct sessions *b = begin();
	size_t i;

	(void)state;
	for (i = 0; i < SESSIONS_EACH; i++)
		put(b, 1, 'a', 100);
	put(b, 2, 'b', 100);
	sessions_clear(b, 1);
	assert_int_equal(take(b, 1, 100), 0);
	assert_int_equal(take(b, 2, 100), 'b');
	sessions_free(b);
	sessions_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(newest_session_is_returned_first_and_once),
		cmocka_unit_test(oldest_session_is_dropped_when_full),
		cmocka_unit_test(keeps_upstreams_apart),
		cmocka_unit_test(clearing_a_row_drops_its_sessions),
		cmocka_unit_test(too_large_session_is_refused),
		cmocka_unit_test(expired_session_is_not_returned),
		cmocka_unit_test(survives_the_death_of_any_worker),
		cmocka_unit_test(concurrent_takers_get_a_session_once),
	};

	return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
