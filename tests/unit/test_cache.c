#include "shared/cache.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "../../src/shared/cache_internal.h"
#include "base/pages.h"
#include "unit.h"

#define MIB ((size_t)1 << 20)

enum {
	KEY_TEXT_MAX = 32,
	LARGE = 1000, /* an entry, of which a short segment holds about 16 */
	MANY = 3000   /* of them: more than a cache of 1 MiB holds */
};

static struct cache *cache;
static struct cache_user *user;

static void
begin(size_t size)
{
	cache = cache_new(size);
	assert_non_null(cache);
	user = cache_user_new(cache, 0);
	assert_non_null(user);
}

static void
end(void)
{
	cache_user_free(user);
	cache_free(cache);
}

static struct cache_key
key_of(const char *text)
{
	struct cache_key key;

	cache_key_init(user, &key, (const uint8_t *)text, strlen(text));
	return key;
}

/* LEN bytes that follow from the text. */
static uint8_t *
value_of(const char *text, size_t len)
{
	uint8_t *value = malloc(len > 0 ? len : 1);
	size_t i;

	assert_non_null(value);
	for (i = 0; i < len; i++)
		value[i] = (uint8_t)((uint8_t)text[i % strlen(text)] + i);
	return value;
}

static enum cache_put
put_as(struct cache_user *u, const char *text, size_t len)
{
	struct cache_entry entry = { .class = CACHE_NEGATIVE, .born = 5, .until = 7, .len = len };
	struct cache_key key = key_of(text);
	uint8_t *value = value_of(text, len);
	enum cache_put result = cache_put(u, &key, &entry, value);

	free(value);
	return result;
}

static void
put(const char *text, size_t len)
{
	assert_int_equal(put_as(user, text, len), CACHE_STORED);
}

/* Whether it is there. Then all of it must be right. */
static bool
get_as(struct cache_user *u, const char *text, size_t len)
{
	struct cache_key key = key_of(text);
	uint8_t *value = malloc(len > 0 ? len : 1);
	uint8_t *expected = value_of(text, len);
	struct cache_entry entry;
	bool is_there;

	assert_non_null(value);
	is_there = cache_get(u, &key, value, len, &entry);
	if (is_there) {
		assert_int_equal(entry.class, CACHE_NEGATIVE);
		assert_int_equal(entry.born, 5);
		assert_int_equal(entry.until, 7);
		assert_int_equal(entry.len, len);
		assert_memory_equal(value, expected, len);
	}
	free(value);
	free(expected);
	return is_there;
}

static bool
get(const char *text, size_t len)
{
	return get_as(user, text, len);
}

static const char *
numbered(char text[static KEY_TEXT_MAX], const char *name, unsigned number)
{
	(void)snprintf(text, KEY_TEXT_MAX, "%s%u", name, number);
	return text;
}

/* Stores COUNT entries under new names, and asks for each of them so many times. */
static void
flood(unsigned count, unsigned asks)
{
	static unsigned number;
	char text[KEY_TEXT_MAX];

	for (; count > 0; count--) {
		unsigned ask;

		put(numbered(text, "flood", number++), LARGE);
		for (ask = 0; ask < asks; ask++)
			assert_true(get(text, LARGE));
	}
}

/* How many of the entries NAME0 to NAME(COUNT - 1) are there; asks for them. */
static unsigned
count_there(const char *name, unsigned count, size_t len)
{
	char text[KEY_TEXT_MAX];
	unsigned there = 0;
	unsigned i;

	for (i = 0; i < count; i++)
		there += get(numbered(text, name, i), len);
	return there;
}

static size_t
count_owned(void)
{
	size_t owned = 0;
	size_t i;

	for (i = 0; i < cache->segment_count; i++)
		owned += cache_load(&cache->segments[i].owner) != 0;
	return owned;
}

static const size_t worker_rows[] = { 1, 2, 3, 10, 63, 64, 70, 74, 75, 100, 128, 256 };

static void
has_segments_for_all_workers(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(worker_rows); i++) {
		size_t size = cache_size_min(worker_rows[i]);
		size_t larger;

		for (larger = size; larger < (size_t)3 << 30; larger += larger / 50) {
			struct cache *c = cache_new(larger);

			assert_non_null(c);
			assert_int_equal(cache_size(c), larger);
			assert_in_range(c->segment_count, 3 * worker_rows[i] + 2, SEGMENTS_MAX);
			assert_true(c->bucket_count > 0);
			assert_true((const uint8_t *)c->data + c->segment_count * c->segment_len <=
			    (const uint8_t *)c->head + larger);
			cache_free(c);
		}
		if (worker_rows[i] > 74)
			continue;
		begin(size - 1 > cache_size_min(1) ? size - 1 : size);
		assert_true(cache->size == size || cache->segment_count < 3 * worker_rows[i] + 2);
		end();
	}
}

static void
refuses_what_is_impossible(void **state)
{
	(void)state;
	errno = 0;
	assert_null(cache_new(cache_size_min(1) - 1));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(cache_new(0));
	assert_int_equal(errno, EINVAL);
	assert_null(cache_new(SIZE_MAX / 2));
	begin(MIB);
	assert_null(cache_user_new(cache, CACHE_USERS));
	end();
	cache_free(NULL);
	cache_user_free(NULL);
}

static size_t
resident_pages(void)
{
	static unsigned char in_memory[64 * MIB / PAGES_LEN];
	size_t pages = 0;
	size_t i;

	assert_int_equal(mincore(cache->head, cache->size, in_memory), 0);
	for (i = 0; i < cache->size / PAGES_LEN; i++)
		pages += in_memory[i] & 1;
	return pages;
}

static void
takes_memory_as_it_fills(void **state)
{
	(void)state;
	begin(64 * MIB);
	assert_int_equal(resident_pages(), 0);
	put("a", 100);
	assert_true(get("a", 100));
	assert_in_range(resident_pages(), 1, 5);
	flood(1000, 0);
	/* Their slots may each be in another page of the index, which is a sixteenth of all. */
	assert_in_range(resident_pages(), 1000 * LARGE / PAGES_LEN,
	    1000 * (LARGE + 100) / PAGES_LEN + 64 * MIB / 16 / PAGES_LEN);
	end();
}

static const struct length_row {
	size_t key;
	size_t value;
} length_rows[] = {
	{ 1, 0 }, { 1, 1 }, { 7, 7 }, { 8, 8 }, { 9, 9 }, { 15, 15 }, { 16, 16 }, { 17, 17 },
	{ 287, 4000 }, { 288, 4001 }, { 288, 7872 }, { 2, 8152 },
};

static void
stores_keys_and_values_of_any_length(void **state)
{
	size_t i;

	(void)state;
	begin(MIB);
	for (i = 0; i < LENGTH(length_rows); i++) {
		const struct length_row *row = &length_rows[i];
		struct cache_entry entry = { .class = CACHE_FAILURE, .born = 1, .until = UINT32_MAX,
			.len = row->value };
		uint8_t *bytes = value_of((const char *[]){ "a", "b", "c" }[i % 3], row->key);
		uint8_t *value = value_of("value", row->value);
		uint8_t *copy = malloc(row->value + 1);
		struct cache_entry got;
		struct cache_key key;

		assert_non_null(copy);
		cache_key_init(user, &key, bytes, row->key);
		cache_fetch(user, &key);
		assert_false(cache_get(user, &key, copy, row->value, &got));
		assert_int_equal(cache_put(user, &key, &entry, value), CACHE_STORED);
		if (row->value > 0)
			assert_false(cache_get(user, &key, copy, row->value - 1, &got));
		copy[row->value] = 0xa5;
		assert_true(cache_get(user, &key, copy, row->value, &got));
		assert_int_equal(copy[row->value], 0xa5);
		assert_memory_equal(copy, value, row->value);
		assert_int_equal(got.class, entry.class);
		assert_int_equal(got.born, entry.born);
		assert_int_equal(got.until, entry.until);
		assert_int_equal(got.len, entry.len);
		free(bytes);
		free(value);
		free(copy);
	}
	end();
}

static const struct large_row {
	size_t size;
	size_t value_max;
} large_rows[] = {
	{ MIB, (8 << 10) - 320 },	{ 4 * MIB, (8 << 10) - 320 },	   { 8 * MIB - 1, (8 << 10) - 320 },
	{ 8 * MIB, (16 << 10) - 320 }, { 256 * MIB, (512 << 10) - 320 }, { 1024 * MIB, (512 << 10) - 320 },
};

static void
refuses_what_is_larger_than_half_of_a_segment(void **state)
{
	char text[CACHE_KEY_MAX + 1];
	size_t i;

	(void)state;
	memset(text, 'k', CACHE_KEY_MAX);
	text[CACHE_KEY_MAX] = '\0';
	for (i = 0; i < LENGTH(large_rows); i++) {
		const struct large_row *row = &large_rows[i];
		struct cache_entry entry = { .len = SIZE_MAX };
		struct cache_key key;

		begin(row->size);
		assert_int_equal(cache_value_max(user), row->value_max);
		put(text, row->value_max);
		assert_true(get(text, row->value_max));
		assert_int_equal(put_as(user, text, row->value_max + 1), CACHE_TOO_LARGE);
		assert_true(get(text, row->value_max));
		key = key_of(text);
		assert_int_equal(cache_put(user, &key, &entry, NULL), CACHE_TOO_LARGE);
		end();
	}
}

static void
replaces_an_entry(void **state)
{
	size_t len;

	(void)state;
	begin(MIB);
	for (len = 0; len < 200; len++) {
		put("a", len);
		assert_true(get("a", len));
		if (len > 0)
			assert_false(get("a", len - 1));
	}
	put("a", 3);
	assert_true(get("a", 3));
	assert_int_equal(cache_take_evicted(user).probation, 0);
	end();
}

static void
tells_keys_apart(void **state)
{
	static const char *const names[] = { "a", "b", "aa", "ab", "aaaaaaaa", "aaaaaaab", "aaaaaaaaa",
		"aaaaaaaaaaaaaaaab" };
	size_t i;
	size_t n;

	(void)state;
	begin(MIB);
	for (i = 0; i < LENGTH(names); i++) {
		for (n = i; n < LENGTH(names); n++)
			assert_false(get(names[n], 20));
		put(names[i], 20);
		for (n = 0; n <= i; n++)
			assert_true(get(names[n], 20));
	}
	end();
}

static void
is_empty_for_all_after_clear(void **state)
{
	struct cache_user *other;

	(void)state;
	begin(MIB);
	other = cache_user_new(cache, 1);
	assert_non_null(other);
	put("a", 10);
	put("b", 10);
	assert_true(get_as(other, "a", 10));
	cache_clear(cache);
	assert_false(get("a", 10));
	assert_false(get_as(other, "a", 10));
	put("a", 11);
	assert_true(get_as(other, "a", 11));
	assert_false(get("b", 10));
	flood(MANY, 0);
	cache_clear(cache);
	(void)cache_take_evicted(user);
	/* What was cleared is not evicted when it is overwritten. */
	flood(500, 0);
	assert_int_equal(cache_take_evicted(user).probation, 0);
	cache_user_free(other);
	end();
}

static void
drops_what_nobody_asks_for(void **state)
{
	unsigned there;

	(void)state;
	begin(MIB);
	put("a", LARGE);
	flood(MANY, 0);
	assert_false(get("a", LARGE));
	there = count_there("flood", 100000, LARGE);
	/* All of the memory is used. */
	assert_in_range(there, MIB / (LARGE + 100) * 8 / 10, MIB / LARGE);
	end();
}

static void
keeps_what_is_asked_for_again(void **state)
{
	(void)state;
	begin(MIB);
	put("a", LARGE);
	put("at once", LARGE);
	assert_true(get("at once", LARGE));
	flood(30, 0);
	assert_true(get("a", LARGE));
	flood(MANY, 0);
	assert_true(get("a", LARGE));
	/* Its segment was not yet sealed. */
	assert_false(get("at once", LARGE));
	end();
}

static void
keeps_what_is_stored_again(void **state)
{
	(void)state;
	begin(MIB);
	put("a", LARGE);
	put("a", LARGE);
	flood(MANY, 0);
	assert_true(get("a", LARGE));
	end();
}

static void
flood_that_asks_twice_displaces_only_itself(void **state)
{
	char text[KEY_TEXT_MAX];
	unsigned i;

	(void)state;
	begin(MIB);
	for (i = 0; i < 300; i++) {
		put(numbered(text, "hot", i), LARGE);
		put(text, LARGE);
	}
	flood(10 * MANY, 1);
	assert_in_range(count_there("hot", 300, LARGE), 295, 300);
	end();
}

/* In main, those that are asked for while they are among the oldest are kept. */
static void
main_keeps_what_is_asked_for(void **state)
{
	char text[KEY_TEXT_MAX];
	unsigned i;

	(void)state;
	begin(MIB);
	for (i = 0; i < 100; i++) {
		put(numbered(text, "hot", i), LARGE);
		put(text, LARGE);
		put(numbered(text, "cold", i), LARGE);
		put(text, LARGE);
	}
	for (i = 0; i < MANY; i++) {
		put(numbered(text, "twice", i), LARGE);
		put(text, LARGE);
		if (i % 50 == 0)
			assert_in_range(count_there("hot", 100, LARGE), 95, 100);
	}
	assert_int_equal(count_there("cold", 100, LARGE), 0);
	assert_true(cache_take_evicted(user).main > 0);
	end();
}

static const struct evicted_row {
	const char *name;
	size_t len;
	unsigned count;
} evicted_rows[] = {
	{ "whole segments are overwritten", LARGE, MANY },
	{ "buckets are full", 0, 20000 },
};

/* Each entry that was stored is there, or has been counted. */
static void
counts_what_it_evicts(void **state)
{
	const struct evicted_row *row;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(evicted_rows); i++) {
		struct cache_evicted evicted;
		struct cache_found found;
		char text[KEY_TEXT_MAX];
		unsigned there = 0;
		unsigned n;

		row = &evicted_rows[i];
		begin(MIB);
		for (n = 0; n < row->count; n++)
			put(numbered(text, "count", n), row->len);
		for (n = 0; n < row->count; n++) {
			struct cache_key key = key_of(numbered(text, "count", n));

			there += cache_find(cache, &key, 0, &found);
		}
		evicted = cache_take_evicted(user);
		assert_int_equal(evicted.main, 0);
		if (evicted.probation != row->count - there)
			fail_msg("%s: %ju evicted, %u are there", row->name,
			    (uintmax_t)evicted.probation, there);
		assert_int_equal(cache_take_evicted(user).probation, 0);
		end();
	}
}

static void
all_users_can_store(void **state)
{
	struct cache_user *users[74] = { NULL };
	char text[KEY_TEXT_MAX];
	unsigned round;
	size_t i;

	(void)state;
	begin(cache_size_min(LENGTH(users)));
	cache_user_free(user);
	user = NULL;
	for (i = 0; i < LENGTH(users); i++) {
		users[i] = cache_user_new(cache, i);
		assert_non_null(users[i]);
	}
	user = users[0];
	for (round = 0; round < 100; round++)
		for (i = 0; i < LENGTH(users); i++) {
			assert_int_equal(
			    put_as(users[i], numbered(text, "shared", round), LARGE), CACHE_STORED);
			assert_int_equal(
			    put_as(users[i], numbered(text, "user", (unsigned)i * 100 + round), LARGE),
			    CACHE_STORED);
			assert_true(get_as(users[LENGTH(users) - 1 - i], text, LARGE));
		}
	for (i = 1; i < LENGTH(users); i++)
		cache_user_free(users[i]);
	assert_int_equal(count_owned(), 1);
	end();
}

/*
 * In a cache that is as small as possible, most segments are being filled. What all users ask for
 * is kept all the same, even when main had become as large as it can be.
 */
static void
small_cache_keeps_what_all_users_ask_for(void **state)
{
	static const size_t rows[] = { 1, 2, 4, 16, 64 };
	struct cache_user *users[64];
	char text[KEY_TEXT_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		unsigned misses = 0;
		unsigned round;
		size_t n;

		begin(cache_size_min(rows[i]));
		users[0] = user;
		for (n = 1; n < rows[i]; n++)
			assert_non_null(users[n] = cache_user_new(cache, n));
		for (round = 0; round < 20000; round++) {
			struct cache_user *u = users[round % rows[i]];
			bool is_hit = get_as(u, numbered(text, "hot", round * 7 % 10), LARGE);

			if (!is_hit && round >= 5000)
				(void)put_as(u, text, LARGE);
			misses += !is_hit && round >= 10000;
			(void)put_as(u, numbered(text, "random", round), LARGE);
			if (round < 5000)
				(void)put_as(u, text, LARGE);
		}
		if (misses > 100)
			fail_msg("%zu users: %u of 10000", rows[i], misses);
		for (n = 1; n < rows[i]; n++)
			cache_user_free(users[n]);
		end();
	}
}

/* The smallest cache has five segments; each user holds two. */
static void
is_busy_when_others_hold_all_segments(void **state)
{
	struct cache_user *users[3];
	char text[KEY_TEXT_MAX];
	size_t i;

	(void)state;
	begin(cache_size_min(1));
	assert_int_equal(cache->segment_count, 5);
	for (i = 0; i < LENGTH(users); i++) {
		users[i] = cache_user_new(cache, 10 + i);
		assert_non_null(users[i]);
		assert_int_equal(put_as(users[i], numbered(text, "a", (unsigned)i), 10), CACHE_STORED);
		assert_int_equal(put_as(users[i], text, 11), i < 2 ? CACHE_STORED : CACHE_BUSY);
	}
	assert_int_equal(count_owned(), 5);
	assert_int_equal(put_as(user, "b", 10), CACHE_BUSY);
	assert_true(get("a1", 11));
	/* The process with that number was killed. */
	cache_remove_worker(cache, 11);
	assert_int_equal(count_owned(), 3);
	assert_true(get("a1", 11));
	put("b", 10);
	assert_true(get("b", 10));
	for (i = 0; i < LENGTH(users); i++)
		cache_user_free(users[i]);
	end();
}

static void
users_that_leave_hold_nothing(void **state)
{
	unsigned i;

	(void)state;
	begin(MIB);
	for (i = 0; i < 1000; i++) {
		struct cache_user *other = cache_user_new(cache, 1 + i % (CACHE_USERS - 1));

		assert_non_null(other);
		assert_int_equal(put_as(other, "a", 10), CACHE_STORED);
		assert_int_equal(put_as(other, "a", 11), CACHE_STORED);
		if (i % 2 == 0)
			cache_user_free(other);
		else {
			/* As when it dies. */
			cache_remove_worker(cache, 1 + i % (CACHE_USERS - 1));
			free(other);
		}
		assert_int_equal(count_owned(), 0);
		assert_true(get("a", 11));
	}
	end();
}

/* A user that stores little takes long to fill a segment, whose entries are not older for that. */
static void
entries_of_a_slow_user_are_kept_as_long(void **state)
{
	struct cache_user *slow;
	char text[KEY_TEXT_MAX];
	unsigned there = 0;
	unsigned i;

	(void)state;
	begin(MIB);
	slow = cache_user_new(cache, 1);
	assert_non_null(slow);
	assert_int_equal(put_as(slow, "first", LARGE), CACHE_STORED);
	flood(MANY, 0);
	for (i = 0; i < 10; i++)
		assert_int_equal(put_as(slow, numbered(text, "slow", i), LARGE), CACHE_STORED);
	cache_user_free(slow);
	flood(200, 0);
	there = count_there("slow", 10, LARGE);
	assert_int_equal(there, 10);
	end();
}

/* Which word of an entry a faulty process changes, and how. */
static const struct damage_row {
	const char *name;
	size_t word;
	uint64_t change;
} damage_rows[] = {
	{ "hash", 0, 1 },
	{ "generation", 1, 1 },
	{ "upper half of the generation", 1, 1 << 16 },
	{ "place", 1, (uint64_t)16 << 32 },
	{ "length of the value, beyond the end of the segment", 3, 32 },
	{ "length of the value, all bits", 3, UINT32_MAX },
	{ "length of the value, highest bit", 3, (uint64_t)1 << 31 },
	{ "length of the key", 3, (uint64_t)1 << 32 },
	{ "length of the key, all bits", 3, (uint64_t)0xffff << 32 },
	{ "class", 3, (uint64_t)4 << 48 },
	{ "class, all bits", 3, (uint64_t)0xffff << 48 },
	{ "key", 4, 1 },
	{ "last byte of the key", 4, (uint64_t)1 << 56 },
};

/* The words of an entry, which is in the index. */
static _Atomic uint64_t *
words_of(const char *text, struct cache_found *found)
{
	struct cache_key key = key_of(text);

	assert_true(cache_find(cache, &key, 0, found));
	return cache->data + (found->value - cache->data) - ENTRY_HEAD_LEN / 8 - (key.len + 7) / 8;
}

static void
damaged_entry_is_not_found(void **state)
{
	static const char name[] = "eight123";
	struct cache_entry entry;
	struct cache_found found;
	uint8_t value[8192];
	struct cache_key key;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(damage_rows); i++) {
		const struct damage_row *row = &damage_rows[i];
		_Atomic uint64_t *words;

		begin(MIB);
		/* Two entries fill a segment. */
		put("b", 8152);
		put(name, 8152);
		words = words_of(name, &found);
		key = key_of(name);
		assert_true(cache_get(user, &key, value, sizeof value, &entry));
		(void)atomic_fetch_xor(&words[row->word], row->change);
		if (cache_get(user, &key, value, SIZE_MAX, &entry))
			fail_msg("%s", row->name);
		put(name, 3);
		assert_true(get(name, 3));
		assert_true(get("b", 8152));
		end();
	}
}

/* As if the segment had been overwritten as often as there are short generations. */
static void
entry_of_another_generation_is_not_found(void **state)
{
	struct cache_found found;

	(void)state;
	begin(MIB);
	put("a", 10);
	(void)words_of("a", &found);
	(void)atomic_fetch_add(&found.segment->generation, 1 << 16);
	assert_false(get("a", 10));
	put("a", 11);
	assert_true(get("a", 11));
	end();
}

/* The slot says that the entry begins behind the end of its segment. */
static void
entry_outside_of_its_segment_is_not_found(void **state)
{
	struct cache_found found;
	_Atomic uint64_t *words;
	size_t at;

	(void)state;
	begin(MIB);
	put("b", 8152);
	put("c", 8152);
	put("d", 10);
	put("a", 10);
	words = words_of("a", &found);
	assert_ptr_equal(found.segment, &cache->segments[1]);
	at = (size_t)(words - cache->data) * 8;
	assert_true(at > cache->segment_len);
	/* It would be found behind the end of the segment before its own. */
	atomic_store(&cache->segments[0].generation, found.generation);
	atomic_store(&words[1], (uint64_t)at << 32 | found.generation);
	atomic_store(found.place, (found.slot & ~(uint64_t)0xfffffff) | at / ENTRY_UNIT);
	assert_false(get("a", 10));
	/* Nor where there is no segment. */
	atomic_store(found.place, found.slot | 0xfff << 16);
	assert_false(get("a", 10));
	atomic_store(found.place, UINT64_MAX);
	assert_false(get("a", 10));
	end();
}

/* Such an owner is not a living process, so nobody would ever release its segments. */
static void
segments_with_an_impossible_owner_are_free(void **state)
{
	size_t i;

	(void)state;
	begin(MIB);
	put("a", 10);
	for (i = 0; i < cache->segment_count; i++)
		atomic_store(&cache->segments[i].owner, CACHE_USERS + 1 + (uint32_t)i);
	put("b", 10);
	assert_true(get("b", 10));
	end();
}

/* After the last generation of 16 bits comes the second, since 0 is none. */
static void
generations_wrap(void **state)
{
	static const uint32_t rows[] = { 0, 1, 0xfffe, 0xffff, 0x1ffff, 0xfffffffe, 0xffffffff };
	size_t row;
	size_t i;

	(void)state;
	for (row = 0; row < LENGTH(rows); row++) {
		begin(MIB);
		for (i = 0; i < cache->segment_count; i++)
			atomic_store(&cache->segments[i].generation, rows[row]);
		put("a", 10);
		assert_true(get("a", 10));
		flood(MANY, 1);
		assert_false(get("a", 10));
		end();
	}
}

static const struct claim_row {
	const char *name;
	uint32_t seconds;
	uint32_t later;
	bool is_claimed;
} claim_rows[] = {
	{ "no time", 0, 0, false },
	{ "at once", 5, 0, true },
	{ "last second", 5, 4, true },
	{ "over", 5, 5, false },
	{ "long ago", 5, 1000000, false },
	{ "the longest", 3600, 3599, true },
	{ "longer", UINT32_MAX, 3599, true },
	{ "longer, over", UINT32_MAX, 3600, false },
};

static void
claims_end_by_themselves(void **state)
{
	static const uint64_t hash = 0x123456789abcdef0;
	struct cache_user *other;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(claim_rows); i++) {
		const struct claim_row *row = &claim_rows[i];
		uint32_t later = 1000 + row->later;

		begin(MIB);
		other = cache_user_new(cache, 1);
		assert_non_null(other);
		assert_false(cache_is_claimed(user, hash, 1000));
		assert_true(cache_claim(user, hash, 1000, row->seconds));
		if (cache_is_claimed(user, hash, later) != row->is_claimed)
			fail_msg("%s", row->name);
		assert_false(cache_is_claimed(other, hash ^ 1, later));
		assert_false(cache_is_claimed(other, hash ^ (uint64_t)1 << 63, later));
		assert_int_equal(cache_claim(other, hash, later, 5), !row->is_claimed);
		assert_true(cache_is_claimed(user, hash, later));
		cache_user_free(other);
		end();
	}
}

/* A faulty process wrote it: it would last for years. */
static void
impossible_claim_is_none(void **state)
{
	size_t i;

	(void)state;
	begin(MIB);
	for (i = 0; i < CLAIMS; i++)
		atomic_store(&cache->claims[i], UINT32_MAX);
	assert_false(cache_is_claimed(user, 7, 1000));
	assert_true(cache_claim(user, 7, 1000, 5));
	assert_false(cache_claim(user, 7, 1000, 5));
	end();
}

static void
other_processes_see_it(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	begin(MIB);
	put("before", 10);
	if ((pid = fork()) == 0) {
		struct cache_user *other = cache_user_new(cache, 1);

		if (other == NULL || !get_as(other, "before", 10) ||
		    put_as(other, "after", 10) != CACHE_STORED)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(get("after", 10));
	cache_remove_worker(cache, 1);
	assert_int_equal(count_owned(), 1);
	end();
}

static void
clock_is_in_seconds(void **state)
{
	uint32_t now = cache_now();

	(void)state;
	assert_true(now > 0);
	assert_in_range(cache_now(), now, now + 1);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_segments_for_all_workers),
		cmocka_unit_test(refuses_what_is_impossible),
		cmocka_unit_test(takes_memory_as_it_fills),
		cmocka_unit_test(stores_keys_and_values_of_any_length),
		cmocka_unit_test(refuses_what_is_larger_than_half_of_a_segment),
		cmocka_unit_test(replaces_an_entry),
		cmocka_unit_test(tells_keys_apart),
		cmocka_unit_test(is_empty_for_all_after_clear),
		cmocka_unit_test(drops_what_nobody_asks_for),
		cmocka_unit_test(keeps_what_is_asked_for_again),
		cmocka_unit_test(keeps_what_is_stored_again),
		cmocka_unit_test(flood_that_asks_twice_displaces_only_itself),
		cmocka_unit_test(main_keeps_what_is_asked_for),
		cmocka_unit_test(counts_what_it_evicts),
		cmocka_unit_test(all_users_can_store),
		cmocka_unit_test(small_cache_keeps_what_all_users_ask_for),
		cmocka_unit_test(is_busy_when_others_hold_all_segments),
		cmocka_unit_test(users_that_leave_hold_nothing),
		cmocka_unit_test(entries_of_a_slow_user_are_kept_as_long),
		cmocka_unit_test(damaged_entry_is_not_found),
		cmocka_unit_test(entry_of_another_generation_is_not_found),
		cmocka_unit_test(entry_outside_of_its_segment_is_not_found),
		cmocka_unit_test(segments_with_an_impossible_owner_are_free),
		cmocka_unit_test(generations_wrap),
		cmocka_unit_test(claims_end_by_themselves),
		cmocka_unit_test(impossible_claim_is_none),
		cmocka_unit_test(other_processes_see_it),
		cmocka_unit_test(clock_is_in_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
