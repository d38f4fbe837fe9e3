/*
 * Processes that use the cache are killed, or stopped for a while, at any moment.
 * DOT_PROXY_CACHE_SECONDS is how long that goes on, in each test; the default is one.
 */
#include "shared/cache.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "../../src/shared/cache_internal.h"
#include "base/deadline.h"
#include "unit.h"

enum { WORKERS = 4, KEYS = 2000, VALUE_MAX = 1000, KEY_LEN = 30 };

/* What the processes have done; in shared memory. */
struct tally {
	_Atomic uint64_t puts;
	_Atomic uint64_t busy;
	_Atomic uint64_t hits;
	_Atomic uint64_t wrong;
};

struct worker {
	struct cache_user *user;
	struct tally *tally;
	uint64_t random;
};

struct team {
	struct cache *cache;
	struct tally *tally;
	pid_t pids[WORKERS];
	uint64_t random;
	unsigned deaths;
	unsigned stops;
};

static uint64_t
draw(uint64_t *random)
{
	*random ^= *random >> 12;
	*random ^= *random << 25;
	*random ^= *random >> 27;
	return *random * 0x2545f4914f6cdd1d >> 33;
}

static void
make_key(const struct worker *w, size_t number, uint8_t bytes[static KEY_LEN],
    struct cache_key *key)
{
	memset(bytes, 'k', KEY_LEN);
	memcpy(bytes, &number, sizeof number);
	cache_key_init(w->user, key, bytes, KEY_LEN - number % 5);
}

/* All of an entry follows from its key and its length. */
static uint8_t
byte_of(size_t number, size_t len, size_t i)
{
	return (uint8_t)(number * 31 + len * 7 + i * i);
}

static struct cache_entry
entry_of(size_t number, size_t len)
{
	return (struct cache_entry){
		.class = (enum cache_class)((number + len) % (CACHE_FAILURE + 1)),
		.born = (uint32_t)(number ^ len << 16),
		.until = (uint32_t)(number * len),
		.len = len,
	};
}

static void
put(struct worker *w, size_t number, size_t len)
{
	struct cache_entry entry = entry_of(number, len);
	uint8_t value[VALUE_MAX];
	uint8_t bytes[KEY_LEN];
	struct cache_key key;
	size_t i;

	for (i = 0; i < len; i++)
		value[i] = byte_of(number, len, i);
	make_key(w, number, bytes, &key);
	if (cache_put(w->user, &key, &entry, value) == CACHE_STORED)
		(void)atomic_fetch_add(&w->tally->puts, 1);
	else
		(void)atomic_fetch_add(&w->tally->busy, 1);
}

static void
get(struct worker *w, size_t number)
{
	struct cache_entry expected;
	struct cache_entry entry;
	uint8_t value[VALUE_MAX];
	uint8_t bytes[KEY_LEN];
	struct cache_key key;
	bool is_right;
	size_t i;

	make_key(w, number, bytes, &key);
	if (!cache_get(w->user, &key, value, sizeof value, &entry))
		return;
	expected = entry_of(number, entry.len);
	is_right = entry.class == expected.class && entry.born == expected.born &&
	    entry.until == expected.until;
	for (i = 0; i < entry.len; i++)
		is_right = is_right && value[i] == byte_of(number, entry.len, i);
	(void)atomic_fetch_add(is_right ? &w->tally->hits : &w->tally->wrong, 1);
}

static void
call_at_random(struct worker *w)
{
	/* Half of the calls are about few of the keys. */
	size_t number = draw(&w->random) % (draw(&w->random) % 2 == 0 ? KEYS : KEYS / 50);

	if (draw(&w->random) % 3 == 0)
		put(w, number, draw(&w->random) % VALUE_MAX);
	else
		get(w, number);
}

static void
start_worker(struct team *t, size_t number)
{
	struct worker w = { .tally = t->tally, .random = draw(&t->random) + 1 };
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	t->pids[number] = pid;
	if (pid != 0)
		return;
	/* Not longer than the test, even if that fails. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	w.user = cache_user_new(t->cache, number);
	if (w.user == NULL)
		_exit(1);
	for (;;)
		call_at_random(&w);
}

/* Kills those whose bit is set, at about the same time. */
static void
kill_workers(struct team *t, unsigned which)
{
	size_t i;

	for (i = 0; i < WORKERS; i++)
		if ((which >> i & 1) != 0)
			assert_int_equal(kill(t->pids[i], SIGKILL), 0);
	for (i = 0; i < WORKERS; i++) {
		int status;

		if ((which >> i & 1) == 0)
			continue;
		assert_int_equal(waitpid(t->pids[i], &status, 0), t->pids[i]);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		cache_remove_worker(t->cache, i);
		t->deaths++;
	}
}

static void
begin(struct team *t)
{
	size_t i;

	memset(t, 0, sizeof *t);
	t->random = 1;
	/* So small that it is overwritten many times. */
	t->cache = cache_new(cache_size_min(WORKERS + 1));
	t->tally = mmap(NULL, sizeof *t->tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_non_null(t->cache);
	assert_ptr_not_equal(t->tally, MAP_FAILED);
	for (i = 0; i < WORKERS; i++)
		start_worker(t, i);
}

static size_t
count_owned(const struct team *t)
{
	size_t owned = 0;
	size_t i;

	for (i = 0; i < t->cache->segment_count; i++)
		owned += cache_load(&t->cache->segments[i].owner) != 0;
	return owned;
}

/* Kills all, and checks that all memory is there, and that what is found is right. */
static void
end(struct team *t)
{
	struct worker w = { .tally = t->tally, .random = 1 };
	unsigned turns = 0;
	size_t i;

	kill_workers(t, (1 << WORKERS) - 1);
	assert_int_equal(count_owned(t), 0);
	w.user = cache_user_new(t->cache, 0);
	assert_non_null(w.user);
	for (i = 0; i < KEYS; i++)
		get(&w, i);
	assert_in_range(count_owned(t), 0, 2);
	for (i = 0; i < t->cache->segment_count; i++)
		turns += cache_load(&t->cache->segments[i].generation);
	(void)printf("%ju entries stored, %ju hits, %u segments filled, %ju busy, %u deaths, %u stops\n",
	    (uintmax_t)atomic_load(&t->tally->puts), (uintmax_t)atomic_load(&t->tally->hits), turns,
	    (uintmax_t)atomic_load(&t->tally->busy), t->deaths, t->stops);
	assert_int_equal(atomic_load(&t->tally->wrong), 0);
	assert_true(atomic_load(&t->tally->hits) > atomic_load(&t->tally->puts) / 10);
	assert_true(atomic_load(&t->tally->busy) < atomic_load(&t->tally->puts) / 10);
	cache_user_free(w.user);
	cache_free(t->cache);
	assert_int_equal(munmap(t->tally, sizeof *t->tally), 0);
}

static struct deadline
end_of_test(void)
{
	const char *seconds = getenv("DOT_PROXY_CACHE_SECONDS");

	return deadline_in(seconds != NULL ? (int)strtol(seconds, NULL, 10) * 1000 : 1000);
}

static void
survives_killed_processes(void **state)
{
	struct deadline until = end_of_test();
	struct team t;

	(void)state;
	begin(&t);
	while (!deadline_passed(until, deadline_now())) {
		unsigned which = 1 + (unsigned)draw(&t.random) % ((1 << WORKERS) - 1);
		size_t i;

		(void)usleep((useconds_t)(draw(&t.random) % 2000));
		kill_workers(&t, which);
		assert_in_range(count_owned(&t), 0, (WORKERS - 1) * AREAS);
		for (i = 0; i < WORKERS; i++)
			if ((which >> i & 1) != 0)
				start_worker(&t, i);
		if (draw(&t.random) % 50 == 0)
			cache_clear(t.cache);
	}
	end(&t);
}

static void
stop_worker(struct team *t, size_t number)
{
	int status;

	assert_int_equal(kill(t->pids[number], SIGSTOP), 0);
	assert_int_equal(waitpid(t->pids[number], &status, WUNTRACED), t->pids[number]);
	assert_true(WIFSTOPPED(status));
	t->stops++;
}

/*
 * While one of them is stopped, wherever it was, the others overwrite the whole cache. The stopped
 * one goes on with the same segments, and nobody finds anything wrong.
 */
static void
survives_stopped_processes(void **state)
{
	struct deadline until = end_of_test();
	struct team t;

	(void)state;
	begin(&t);
	while (!deadline_passed(until, deadline_now())) {
		size_t number = draw(&t.random) % WORKERS;

		(void)usleep((useconds_t)(draw(&t.random) % 2000));
		stop_worker(&t, number);
		(void)usleep(10000);
		assert_int_equal(kill(t.pids[number], SIGCONT), 0);
	}
	end(&t);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives_killed_processes),
		cmocka_unit_test(survives_stopped_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
