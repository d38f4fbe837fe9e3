/*
 * Threads that use one cache as processes do, with pauses between the steps of the protocol, which
 * make rare orders of them frequent. For ThreadSanitizer as well (`make threads'), which finds
 * words that are not loaded and stored as atomics. It does not model the two fences, so it does not
 * show that those are right.
 */
static void pause_at_random(void);
#define CACHE_STEP() pause_at_random()
/* NOLINTBEGIN(bugprone-suspicious-include): not the objects of the program */
#include "../../src/shared/cache.c"
#include "../../src/shared/cache_entries.c"
#include "../../src/shared/cache_segments.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "unit.h"

enum { THREADS = 4, KEYS = 200, VALUE_MAX = 500, CALLS = 100000 };

struct worker {
	pthread_t thread;
	struct cache_user *user;
	unsigned puts;
	unsigned hits;
	unsigned wrong;
};

static _Thread_local uint64_t random_state;

static size_t
draw(size_t end)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 0x2545f4914f6cdd1d >> 33) % end;
}

static void
pause_at_random(void)
{
	size_t kind = draw(200);

	if (kind == 0)
		(void)usleep((useconds_t)draw(300));
	else if (kind < 20)
		(void)sched_yield();
}

static uint8_t
byte_of(size_t number, size_t len, size_t i)
{
	return (uint8_t)(number * 31 + len * 7 + i * i);
}

static void
put(struct worker *w, size_t number, size_t len)
{
	struct cache_entry entry = { .born = (uint32_t)number, .until = (uint32_t)len, .len = len };
	uint8_t bytes[sizeof number];
	uint8_t value[VALUE_MAX];
	struct cache_key key;
	size_t i;

	memcpy(bytes, &number, sizeof bytes);
	cache_key_init(w->user, &key, bytes, sizeof bytes);
	for (i = 0; i < len; i++)
		value[i] = byte_of(number, len, i);
	w->puts += cache_put(w->user, &key, &entry, value) == CACHE_STORED;
}

static void
get(struct worker *w, size_t number)
{
	uint8_t value[VALUE_MAX] = { 0 };
	uint8_t bytes[sizeof number];
	struct cache_entry entry;
	struct cache_key key;
	bool is_right;
	size_t i;

	memcpy(bytes, &number, sizeof bytes);
	cache_key_init(w->user, &key, bytes, sizeof bytes);
	if (!cache_get(w->user, &key, value, sizeof value, &entry))
		return;
	is_right = entry.born == number && entry.until == entry.len;
	for (i = 0; i < entry.len; i++)
		is_right = is_right && value[i] == byte_of(number, entry.len, i);
	w->hits++;
	w->wrong += !is_right;
}

static void *
work(void *argument)
{
	struct worker *w = argument;
	unsigned calls;

	random_state = w->user->owner;
	for (calls = 0; calls < CALLS; calls++) {
		size_t number = draw(draw(2) == 0 ? KEYS : KEYS / 10);

		if (draw(2) == 0)
			put(w, number, draw(VALUE_MAX));
		else
			get(w, number);
		if (draw(5000) == 0)
			cache_clear(w->user->cache);
		if (draw(5000) == 0) {
			size_t owner = w->user->owner;
			struct cache *cache = w->user->cache;

			cache_user_free(w->user);
			w->user = cache_user_new(cache, owner - 1);
			if (w->user == NULL)
				return NULL;
		}
	}
	return NULL;
}

static void
finds_nothing_wrong(void **state)
{
	struct cache *cache = cache_new(cache_size_min(THREADS));
	struct worker workers[THREADS] = { 0 };
	size_t i;

	(void)state;
	random_state = 1;
	assert_non_null(cache);
	for (i = 0; i < THREADS; i++) {
		workers[i].user = cache_user_new(cache, i);
		assert_non_null(workers[i].user);
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		assert_non_null(workers[i].user);
		assert_int_equal(workers[i].wrong, 0);
		assert_true(workers[i].puts > CALLS / 4);
		assert_true(workers[i].hits > CALLS / 20);
		cache_user_free(workers[i].user);
	}
	for (i = 0; i < cache->segment_count; i++) {
		assert_int_equal(cache_load(&cache->segments[i].owner), 0);
		assert_true(cache_load(&cache->segments[i].generation) > 20);
	}
	cache_free(cache);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_nothing_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
