/*
 * A process that uses the cache is traced instruction by instruction. After each one that changes
 * shared memory, the test checks what others would find if the process were killed there. It also
 * stops the process there, lets others change the cache meanwhile, and lets it go on.
 * DOT_PROXY_CACHE_SECONDS makes it stop at each change.
 */
#include "shared/cache.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include "base/sanitized.h"
#include "cache_scenarios.h"
#include "unit.h"

enum {
	CANNOT = 77, /* exit status: ptrace(2) is not permitted */
	CHANGES_MAX = 1000,
	/* It is stopped at one of so many changes, at each in a longer run, at none if that is slow. */
	STRIDE = SANITIZED ? 2 * CHANGES_MAX : 20
};

/* Starts the process, which stops before and after the call. -1 if it cannot be traced. */
static pid_t
start(const struct scenario *s)
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1)
			_exit(CANNOT);
		(void)raise(SIGSTOP);
		s->call();
		(void)raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
		return -1;
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	/* Not longer than the test, even if that fails. */
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL), 0);
	return pid;
}

/* False when the call has returned. */
static bool
step(pid_t pid)
{
	int status;

	assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	return WSTOPSIG(status) == SIGTRAP;
}

static void
stop(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* In this copy of the cache, the process was killed. */
static void
check_after_death(struct cache *copy, const struct scenario *s)
{
	struct cache_user *u;
	size_t missing = 0;
	size_t number;

	cache_remove_worker(copy, SUBJECT);
	assert_int_equal(count_owned(copy, SUBJECT), 0);
	cache_remove_worker(copy, OTHER);
	u = cache_user_new(copy, SUBJECT);
	assert_non_null(u);
	assert_true(get(u, "key", 0) != 0 || !s->is_kept);
	for (number = 1; number < KEYS; number++)
		missing += get(u, "key", number) == 0;
	assert_in_range(missing, 0, s->lost_max);
	(void)get(u, "key", KEYS);
	(void)get(u, "open", 0);
	/* All of the memory can be used. */
	for (number = 0; number < FLOOD; number++)
		assert_int_equal(put(u, "after", number, LEN), CACHE_STORED);
	missing = 0;
	for (number = FLOOD - copy->segment_count * copy->segment_len * 3 / 4 / LEN; number < FLOOD;
	     number++)
		missing += get(u, "after", number) == 0;
	assert_in_range(missing, 0, FLOOD / 20);
	cache_user_free(u);
	for (number = 0; number < copy->segment_count; number++)
		assert_int_equal(cache_load(&copy->segments[number].owner), 0);
}

/* Whether shared memory has changed since this was last called. */
static bool
has_changed(void)
{
	static uint8_t before[1 << 20];
	bool changed = memcmp(before, cache->head, cache->size) != 0;

	if (changed)
		memcpy(before, cache->head, cache->size);
	return changed;
}

/*
 * Fills STEPS with the numbers of instructions after which shared memory is not what it was.
 * Returns how many there are; 0 if the process cannot be traced.
 */
static size_t
kill_at_each_change(const struct scenario *s, size_t steps[static CHANGES_MAX])
{
	struct cache *copy;
	size_t changes = 0;
	size_t i;
	pid_t pid;

	begin(s);
	copy = cache_new(cache->size);
	assert_non_null(copy);
	copy->key = cache->key;
	(void)has_changed();
	pid = start(s);
	if (pid != -1) {
		for (i = 1; step(pid); i++) {
			if (!has_changed())
				continue;
			assert_in_range(changes, 0, CHANGES_MAX - 1);
			steps[changes++] = i;
			memcpy(copy->head, cache->head, cache->size);
			check_after_death(copy, s);
		}
		stop(pid);
	}
	cache_free(copy);
	end();
	return changes;
}

static void
stop_after(const struct scenario *s, size_t steps, const struct event *e)
{
	int status;
	pid_t pid;

	begin(s);
	pid = start(s);
	for (; steps > 0; steps--)
		assert_true(step(pid));
	e->happen();
	assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	e->check(s);
	assert_in_range(count_owned(cache, SUBJECT), 0, AREAS);
	stop(pid);
	end();
}

static void
may_be_killed_or_stopped_at_any_instruction(void **state)
{
	size_t stride = getenv("DOT_PROXY_CACHE_SECONDS") != NULL ? 1 : STRIDE;
	size_t steps[CHANGES_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(scenarios); i++) {
		size_t changes = kill_at_each_change(&scenarios[i], steps);
		size_t n;
		size_t e;

		if (changes == 0) {
			skip();
			return;
		}
		(void)printf("%s: %zu changes of shared memory in %zu instructions\n", scenarios[i].name,
		    changes, steps[changes - 1]);
		for (n = stride / 2; n < changes; n += stride)
			for (e = 0; e < LENGTH(events); e++) {
				/* Just before it, too: what was read by then is outdated when it goes on. */
				stop_after(&scenarios[i], steps[n] - 1, &events[e]);
				stop_after(&scenarios[i], steps[n], &events[e]);
			}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(may_be_killed_or_stopped_at_any_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
