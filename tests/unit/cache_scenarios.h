#ifndef DOTPROXY_CACHE_SCENARIOS_H
#define DOTPROXY_CACHE_SCENARIOS_H

/*
 * A user of the cache, the subject, makes one call, and is interrupted in it. Others look at what
 * they find then, or store something meanwhile.
 */

#include "shared/cache.h"

#include <stdio.h>

#include "../../src/shared/cache_internal.h"
#include "unit.h"

enum {
	OTHER, /* numbers of users */
	SUBJECT,
	KEYS = 40,
	LEN = 500,    /* bytes of their values */
	NEW_LEN = 50, /* of the value that the subject stores or gets */
	FLOOD = 2000  /* entries that overwrite all that has no owner, about ten times */
};

/* An entry, all of which follows from its name, its number and its length. */
struct item {
	char text[32];
	struct cache_key key;
	struct cache_entry entry;
	uint8_t value[LEN];
};

struct scenario {
	const char *name;
	void (*prepare)(void);
	size_t number; /* of the key of the call */
	void (*call)(void);
	bool is_kept;	 /* the entry of the key is there at any time, old or new */
	size_t lost_max; /* how many of the other entries may be overwritten by the call */
};

static struct cache *cache;
static struct cache_user *other;
static struct cache_user *subject;
static struct item item_of_call;

static inline void
make_item(struct item *item, const char *name, size_t number, size_t len)
{
	size_t i;

	(void)snprintf(item->text, sizeof item->text, "%s%zu", name, number);
	cache_key_init(other, &item->key, (const uint8_t *)item->text, strlen(item->text));
	item->entry = (struct cache_entry){ .class = CACHE_NEGATIVE, .born = (uint32_t)number,
		.until = (uint32_t)len, .len = len };
	for (i = 0; i < len; i++)
		item->value[i] = (uint8_t)((size_t)item->text[i % item->key.len] + len + i);
}

static inline enum cache_put
put(struct cache_user *u, const char *name, size_t number, size_t len)
{
	struct item item;

	make_item(&item, name, number, len);
	return cache_put(u, &item.key, &item.entry, item.value);
}

/* The length of the value that is there, which must be right; or 0. */
static inline size_t
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

static inline size_t
count_owned(const struct cache *c, size_t number)
{
	size_t owned = 0;
	size_t i;

	for (i = 0; i < c->segment_count; i++)
		owned += cache_load(&c->segments[i].owner) == number + 1;
	return owned;
}

/*
 * Calls.
 */

static inline void
put_item(void)
{
	(void)cache_put(subject, &item_of_call.key, &item_of_call.entry, item_of_call.value);
}

static inline void
get_item(void)
{
	(void)cache_get(subject, &item_of_call.key, item_of_call.value, LEN, &item_of_call.entry);
}

static inline void
clear_and_put(void)
{
	cache_clear(cache);
	put_item();
}

static inline void
release_all(void)
{
	cache_segment_seal(subject, AREA_PROBATION);
	cache_segment_seal(subject, AREA_MAIN);
}

/*
 * What is in the cache before.
 */

static inline void
fill_some(void)
{
	size_t i;

	for (i = 0; i < KEYS; i++)
		assert_int_equal(put(other, "key", i, i == 0 ? NEW_LEN + 1 : LEN), CACHE_STORED);
}

/* The subject has open segments. */
static inline void
fill_and_open(void)
{
	fill_some();
	assert_int_equal(put(subject, "open", 0, 10), CACHE_STORED);
	assert_int_equal(put(subject, "open", 0, 11), CACHE_STORED);
}

/* All segments are in use. */
static inline void
fill_all(void)
{
	size_t i;

	for (i = 0; i < FLOOD; i++)
		assert_int_equal(put(other, "flood", i, LEN), CACHE_STORED);
	fill_some();
}

/* And the subject has no room in its own. */
static inline void
fill_own(void)
{
	fill_all();
	assert_int_equal(put(subject, "open", 0, 10), CACHE_STORED);
	subject->open[AREA_PROBATION].used = cache->segment_len - ENTRY_HEAD_LEN;
}

static const struct scenario scenarios[] = {
	{ "the first entry", fill_some, KEYS, put_item, false, 0 },
	{ "a new entry", fill_and_open, KEYS, put_item, false, 0 },
	{ "a new entry, in a segment that is overwritten", fill_all, KEYS, put_item, false, KEYS },
	{ "a new entry, when the last segment is full", fill_own, KEYS, put_item, false, KEYS },
	{ "replacement", fill_and_open, 0, put_item, true, 0 },
	{ "replacement, in a new segment", fill_some, 0, put_item, true, 0 },
	{ "move to main", fill_and_open, 0, get_item, true, 0 },
	{ "move to main, in a new segment", fill_some, 0, get_item, true, 0 },
	{ "move to main, in a segment that is overwritten", fill_all, 0, get_item, false, KEYS },
	{ "clear", fill_and_open, KEYS, clear_and_put, false, KEYS },
	{ "release", fill_and_open, KEYS, release_all, false, 0 },
};

static inline void
begin(const struct scenario *s)
{
	cache = cache_new(cache_size_min(2));
	assert_non_null(cache);
	other = cache_user_new(cache, OTHER);
	subject = cache_user_new(cache, SUBJECT);
	assert_non_null(other);
	assert_non_null(subject);
	s->prepare();
	make_item(&item_of_call, "key", s->number, NEW_LEN);
}

/* The process of the subject has ended. */
static inline void
end(void)
{
	cache_remove_worker(cache, SUBJECT);
	assert_int_equal(count_owned(cache, SUBJECT), 0);
	free(subject);
	cache_user_free(other);
	cache_free(cache);
}

/*
 * What happens during the call, and what is to be found after the call.
 */

static inline void
overwrite_all(void)
{
	size_t owned = count_owned(cache, SUBJECT);
	size_t number;

	for (number = 0; number < FLOOD; number++) {
		assert_int_equal(put(other, "flood", number, LEN), CACHE_STORED);
		/* As large as what the subject stores. */
		assert_int_equal(put(other, "small", number, NEW_LEN), CACHE_STORED);
	}
	assert_int_equal(count_owned(cache, SUBJECT), owned);
}

static inline void
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

static inline void
replace_first(void)
{
	assert_int_equal(put(other, "key", 0, LEN - 1), CACHE_STORED);
}

/* The subject may have stored another value after that, but the old one must not come back. */
static inline void
check_first(const struct scenario *s)
{
	size_t len = get(other, "key", 0);

	assert_true(len == LEN - 1 || (len == NEW_LEN && s->call == put_item) ||
	    (len == 0 && s->call == clear_and_put));
}

static inline void
clear_all(void)
{
	cache_clear(cache);
}

static inline void
check_cleared(const struct scenario *s)
{
	size_t number;

	for (number = 1; number < KEYS; number++)
		assert_int_equal(get(other, "key", number), 0);
	number = get(other, "key", 0);
	assert_true(number == 0 || (number == NEW_LEN && s->call == put_item));
}

static const struct event {
	void (*happen)(void);
	void (*check)(const struct scenario *);
} events[] = {
	{ overwrite_all, check_all },
	{ replace_first, check_first },
	{ clear_all, check_cleared },
};

#endif
