/*
 * A process that uses the cache is traced instruction by instruction. After each one that changes
 * shared memory, the test checks what others would find if the process were killed there. It also
 * stops the process there, lets others overwrite, replace or clear entries, and lets it go on.
 * DOT_PROXY_CACHE_SECONDS makes it stop at each change.
 */
#include "shared/cache.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "../../src/shared/cache_internal.h"
#include "base/sanitized.h"
#include "unit.h"

enum {
	OTHER, /* numbers of users */
	TRACED,
	KEYS = 40,
	LEN = 500,     /* bytes of their values */
	NEW_LEN = 50,  /* of those that the traced process stores or gets */
	FLOOD = 2000,  /* entries that overwrite all but what is owned, about ten times */
	CANNOT = 77,   /* exit status: ptrace(2) is not permitted */
	/* It is stopped at one of so many changes, or at each in a longer run. */
	STRIDE = SANITIZED ? 40 : 10,
	CHANGES_MAX = 1000
};

/* The cache as the traced process finds it, and what it calls. */
struct scenario {
	const char *name;
	void (*prepare)(void);
	size_t number; /* of the key */
	void (*call)(void);
	bool is_kept;	 /* the entry of the key is there at any time, old or new */
	size_t lost_max; /* how many of the other entries may be overwritten */
};

static struct cache *cache;
static struct cache *copy;	   /* to look at it without a change */
static struct cache_user *other;   /* of this process */
static struct cache_user *traced; /* of the traced one */

/* An entry, all of which follows from its name, its number and its length. */
struct item {
	char text[32];
	struct cache_key key;
	struct cache_entry entry;
	uint8_t value[LEN];
};

static struct item subject; /* of the call of the traced process */

static void
make_item(struct item *item, const char *name, size_t number, size_t len)
{
	size_t i;

	(void)snprintf(item->text, sizeof item->text, "%s%zu", name, number);
	cache_key_init(other, &item->key, (const uint8_t *)item->text, strlen(item->text));
	item->entry = (struct cache_entry) { .class = CACHE_NEGATIVE, .born = (uint32_t)number,
		.until = (uint32_t)len, .len = len };
	for (i = 0; i < len; i++)
		item->value[i] = (uint8_t)((size_t)item->text[i % item->key.len] + len + i);
}

static enum cache_put
put(struct cache_user *u, const char *name, size_t number, size_t len)
{
	struct item item;

	make_item(&item, name, number, len);
	return cache_put(u, &item.key, &item.entry, item.value);
}

/* The length of the value that is there, which must be right; or 0. */
static size_t
get(struct cache_user *u, const char *name, size_t number)
{
	struct cache_entry entry;
	uint8_t value[LEN];
	struct item item;

	make_item(&item, name, number, 0);
	if (!cache_get(u, &item.key, value, sizeof value, &entry))
		return 0;
	make_item(&item, name, number, entry.len);
	assert_int_equal(entry.class, item.entry.class);
	assert_int_equal(entry.born, item.entry.born);
	assert_int_equal(entry.until, item.entry.until);
	assert_memory_equal(value, item.value, entry.len);
	return entry.len;
}

static void
put_subject(void)
{
	(void)cache_put(traced, &subject.key, &subject.entry, subject.value);
}

static void
get_subject(void)
{
	(void)cache_get(traced, &subject.key, subject.value, LEN, &subject.entry);
}

static void
clear_and_put(void)
{
	cache_clear(cache);
	put_subject();
}

static void
leave(void)
{
	cache_user_free(traced);
}

static void
fill_some(void)
{
	size_t i;

	for (i = 0; i < KEYS; i++)
		assert_int_equal(put(other, "key", i, i == 0 ? NEW_LEN + 1 : LEN), CACHE_STORED);
}

/* The process has open segments. */
static void
fill_and_open(void)
{
	fill_some();
	assert_int_equal(put(traced, "open", 0, 10), CACHE_STORED);
	assert_int_equal(put(traced, "open", 0, 11), CACHE_STORED);
}

/* No segment is free. */
static void
fill_all(void)
{
	size_t i;

	for (i = 0; i < FLOOD; i++)
		assert_int_equal(put(other, "flood", i, LEN), CACHE_STORED);
	fill_some();
}

/* The process has no room in its segment. */
static void
fill_own(void)
{
	fill_all();
	assert_int_equal(put(traced, "open", 0, 10), CACHE_STORED);
	traced->open[AREA_PROBATION].used = cache->segment_len - ENTRY_HEAD_LEN;
}

static const struct scenario scenarios[] = {
	{ "the first entry", fill_some, KEYS, put_subject, false, 0 },
	{ "a new entry", fill_and_open, KEYS, put_subject, false, 0 },
	{ "a new entry, in a segment that is overwritten", fill_all, KEYS, put_subject, false, KEYS },
	{ "a new entry, when the last segment is full", fill_own, KEYS, put_subject, false, KEYS },
	{ "replacement", fill_and_open, 0, put_subject, true, 0 },
	{ "replacement, in a new segment", fill_some, 0, put_subject, true, 0 },
	{ "move to main", fill_and_open, 0, get_subject, true, 0 },
	{ "move to main, in a new segment", fill_some, 0, get_subject, true, 0 },
	{ "move to main, in a segment that is overwritten", fill_all, 0, get_subject, false, KEYS },
	{ "all entries are cleared", fill_and_open, KEYS, clear_and_put, false, KEYS },
	{ "a user leaves", fill_and_open, KEYS, leave, false, 0 },
};

static size_t
count_owned(const struct cache *c, size_t number)
{
	size_t owned = 0;
	size_t i;

	for (i = 0; i < c->segment_count; i++)
		owned += cache_load(&c->segments[i].owner) == number + 1;
	return owned;
}

static void
begin(const struct scenario *s)
{
	cache = cache_new(cache_size_min(2));
	copy = cache_new(cache_size_min(2));
	assert_non_null(cache);
	assert_non_null(copy);
	copy->key = cache->key;
	other = cache_user_new(cache, OTHER);
	traced = cache_user_new(cache, TRACED);
	assert_non_null(other);
	assert_non_null(traced);
	s->prepare();
	make_item(&subject, "key", s->number, NEW_LEN);
}

static void
end(void)
{
	cache_user_free(other);
	/* It belongs to the process that has ended. */
	free(traced);
	cache_free(cache);
	cache_free(copy);
}

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

/* In the copy, the process was killed. */
static void
check_after_death(const struct scenario *s)
{
	struct cache_user *u;
	size_t missing = 0;
	size_t number;

	cache_remove_worker(copy, TRACED);
	assert_int_equal(count_owned(copy, TRACED), 0);
	cache_remove_worker(copy, OTHER);
	u = cache_user_new(copy, TRACED);
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
	size_t changes = 0;
	size_t i;
	pid_t pid;

	begin(s);
	(void)has_changed();
	pid = start(s);
	if (pid != -1) {
		for (i = 1; step(pid); i++) {
			if (!has_changed())
				continue;
			assert_in_range(changes, 0, CHANGES_MAX - 1);
			steps[changes++] = i;
			memcpy(copy->head, cache->head, cache->size);
			check_after_death(s);
		}
		stop(pid);
	}
	end();
	return changes;
}

static void
overwrite_all(void)
{
	size_t owned = count_owned(cache, TRACED);
	size_t number;

	for (number = 0; number < FLOOD; number++) {
		assert_int_equal(put(other, "flood", number, LEN), CACHE_STORED);
		/* As large as what the process stores. */
		assert_int_equal(put(other, "small", number, NEW_LEN), CACHE_STORED);
	}
	assert_int_equal(count_owned(cache, TRACED), owned);
}

static void
check_all(const struct scenario *s)
{
	size_t number;

	(void)s;
	for (number = 0; number < FLOOD; number++) {
		(void)get(other, "flood", number);
		(void)get(other, "small", number);
	}
	for (number = 0; number <= KEYS; number++)
		(void)get(other, "key", number);
}

static void
replace_first(void)
{
	assert_int_equal(put(other, "key", 0, LEN - 1), CACHE_STORED);
}

/* The process may have stored another value after that, but the old one must not come back. */
static void
check_first(const struct scenario *s)
{
	size_t len = get(other, "key", 0);

	assert_true(len == LEN - 1 || (len == NEW_LEN && s->call == put_subject));
}

static void
clear(void)
{
	cache_clear(cache);
}

static void
check_cleared(const struct scenario *s)
{
	size_t number;

	for (number = 1; number < KEYS; number++)
		assert_int_equal(get(other, "key", number), 0);
	assert_true(get(other, "key", 0) == 0 || s->call == put_subject);
}

/* What happens while the process is stopped, and what is to be found when it has gone on. */
static const struct event {
	void (*happen)(void);
	void (*check)(const struct scenario *);
} events[] = {
	{ overwrite_all, check_all },
	{ replace_first, check_first },
	{ clear, check_cleared },
};

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
	assert_in_range(count_owned(cache, TRACED), 0, AREAS);
	stop(pid);
	cache_remove_worker(cache, TRACED);
	assert_int_equal(count_owned(cache, TRACED), 0);
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
		for (n = i % stride; n < changes; n += stride)
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
