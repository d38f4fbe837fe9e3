#ifndef DOTPROXY_CACHE_MODEL_H
#define DOTPROXY_CACHE_MODEL_H

/*
 * The cache, compared with a table of what was stored in it last. It may miss where the table has an entry.
 * It must never hit where the table has none, or return anything else.
 */

#include "shared/cache.h"

#include "unit.h"

enum { MODEL_KEYS = 1000, MODEL_USERS = 3, MODEL_VALUE_MAX = 9000 };

struct model_row {
	bool is_there;
	struct cache_entry entry;
	size_t salt;
};

struct model {
	struct cache *cache;
	struct cache_user *users[MODEL_USERS];
	struct model_row rows[MODEL_KEYS];
	uint64_t random;
	unsigned gets;
	unsigned hits;
};

/* xorshift64*: always the same numbers. Below END. */
static inline size_t
model_draw(struct model *m, size_t end)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return (m->random * 0x2545f4914f6cdd1d >> 33) % end;
}

/* Fills BYTES with the key of a row: many lengths, and many that differ in one byte. */
static inline void
model_key(const struct model *m, size_t row, uint8_t bytes[static CACHE_KEY_MAX],
    struct cache_key *key)
{
	size_t len = 2 + row * 7 % (CACHE_KEY_MAX - 1);

	memset(bytes, 'k', CACHE_KEY_MAX);
	bytes[0] = (uint8_t)row;
	bytes[len - 1] = (uint8_t)(row >> 8);
	cache_key_init(m->users[0], key, bytes, len);
}

static inline uint8_t
model_byte(size_t row, size_t salt, size_t i)
{
	return (uint8_t)(row + 3 * salt + i * i);
}

static inline void
model_put(struct model *m, size_t row)
{
	size_t len = model_draw(m, 100) == 0 ? model_draw(m, MODEL_VALUE_MAX) : model_draw(m, 400);
	struct cache_entry entry = {
		.class = (enum cache_class)model_draw(m, CACHE_FAILURE + 1),
		.born = (uint32_t)m->random,
		.until = (uint32_t)(m->random >> 32),
		.len = len,
	};
	uint8_t *value = malloc(len > 0 ? len : 1);
	size_t salt = model_draw(m, 256);
	uint8_t bytes[CACHE_KEY_MAX];
	struct cache_key key;
	size_t i;

	assert_non_null(value);
	for (i = 0; i < len; i++)
		value[i] = model_byte(row, salt, i);
	model_key(m, row, bytes, &key);
	if (cache_put(m->users[model_draw(m, MODEL_USERS)], &key, &entry, value) == CACHE_STORED)
		m->rows[row] = (struct model_row){ .is_there = true, .entry = entry, .salt = salt };
	free(value);
}

static inline void
model_get(struct model *m, size_t row)
{
	const struct model_row *expected = &m->rows[row];
	static uint8_t value[MODEL_VALUE_MAX];
	uint8_t bytes[CACHE_KEY_MAX];
	struct cache_entry entry;
	struct cache_key key;
	size_t i;

	model_key(m, row, bytes, &key);
	m->gets++;
	if (!cache_get(m->users[model_draw(m, MODEL_USERS)], &key, value, sizeof value, &entry))
		return;
	m->hits++;
	assert_true(expected->is_there);
	assert_int_equal(entry.class, expected->entry.class);
	assert_int_equal(entry.born, expected->entry.born);
	assert_int_equal(entry.until, expected->entry.until);
	assert_int_equal(entry.len, expected->entry.len);
	for (i = 0; i < entry.len; i++)
		if (value[i] != model_byte(row, expected->salt, i))
			fail_msg("row %zu, byte %zu", row, i);
}

static inline void
model_replace_user(struct model *m, size_t number)
{
	if (model_draw(m, 2) == 0) {
		cache_user_free(m->users[number]);
	} else {
		/* As when it was killed. */
		cache_remove_worker(m->cache, number);
		free(m->users[number]);
	}
	m->users[number] = cache_user_new(m->cache, number);
	assert_non_null(m->users[number]);
}

static inline void
model_clear(struct model *m)
{
	cache_clear(m->cache);
	memset(m->rows, 0, sizeof m->rows);
}

/* Makes random calls with keys of the first so many rows. Returns the percentage of hits. */
static inline unsigned
model_run(size_t size, size_t keys, unsigned calls)
{
	static struct model m;
	size_t i;

	memset(&m, 0, sizeof m);
	m.random = 1 + size + keys;
	m.cache = cache_new(size);
	assert_non_null(m.cache);
	for (i = 0; i < MODEL_USERS; i++) {
		m.users[i] = cache_user_new(m.cache, i);
		assert_non_null(m.users[i]);
	}
	for (; calls > 0; calls--) {
		/* Half of the calls are about a tenth of the keys. */
		size_t row = model_draw(&m, model_draw(&m, 2) == 0 ? keys : keys / 10);
		size_t kind = model_draw(&m, 10000);

		if (kind == 0)
			model_clear(&m);
		else if (kind < 20)
			model_replace_user(&m, model_draw(&m, MODEL_USERS));
		else if (kind < 4000)
			model_put(&m, row);
		else
			model_get(&m, row);
	}
	for (i = 0; i < MODEL_USERS; i++)
		cache_user_free(m.users[i]);
	cache_free(m.cache);
	return m.hits * 100 / m.gets;
}

#endif
