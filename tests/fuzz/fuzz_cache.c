/*
 * The input is XORed to all of the shared memory of a cache with some entries, as a faulty process
 * could do. Lookups stay inside, and return the value of the right key, if any. Values may still be
 * stored.
 */
#include "shared/cache.h"

#include "../../src/shared/cache_internal.h"
#include "fuzz.h"

/* Small, so that few bytes are enough. */
enum { SEGMENTS = 5, SEGMENT_LEN = 1024, BUCKETS = 4, KEYS = 40, VALUE_MAX = 1024 };

static const size_t INDEX_LEN = sizeof(struct cache_head) +
    SEGMENTS * sizeof(struct cache_segment) + BUCKETS * sizeof(struct cache_bucket);
static const size_t DATA_LEN = (size_t)SEGMENTS * SEGMENT_LEN;
static const size_t CLAIMS_LEN = CLAIMS * sizeof(uint64_t);

static void *
new_block(size_t len)
{
	void *block = NULL;

	must(posix_memalign(&block, alignof(struct cache_head), len) == 0);
	memset(block, 0, len);
	return block;
}

/* In blocks of exactly their size, so that a sanitizer sees a read past the end of each part. */
static struct cache
new_cache(void)
{
	struct cache c = {
		.key = { { 1, 2 } },
		.size = INDEX_LEN + DATA_LEN + CLAIMS_LEN,
		.segment_count = SEGMENTS,
		.segment_len = SEGMENT_LEN,
		.bucket_count = BUCKETS,
		.head = new_block(INDEX_LEN),
		.data = new_block(DATA_LEN),
		.claims = new_block(CLAIMS_LEN),
	};

	c.segments = (struct cache_segment *)(c.head + 1);
	c.buckets = (struct cache_bucket *)(c.segments + SEGMENTS);
	return c;
}

/* Changes a block by as much of the input as is left, and moves on in that. */
static void
damage(void *block, size_t len, const uint8_t **data, size_t *size)
{
	uint8_t *bytes = block;
	size_t i;

	if (len > *size)
		len = *size;
	for (i = 0; i < len; i++)
		bytes[i] ^= (*data)[i];
	*data += len;
	*size -= len;
}

static struct cache_key
key_of(const struct cache_user *u, const size_t *number)
{
	struct cache_key key;

	cache_key_init(u, &key, (const uint8_t *)number, sizeof *number);
	return key;
}

static enum cache_put
put(struct cache_user *u, size_t number, size_t len)
{
	struct cache_entry entry = { .class = CACHE_NEGATIVE, .born = 5, .until = 7, .len = len };
	struct cache_key key = key_of(u, &number);
	uint8_t value[VALUE_MAX];

	memset(value, (int)(number + len), len);
	return cache_put(u, &key, &entry, value);
}

/* What is found under a key has that key, and lies inside one segment. */
static void
check_found(const struct cache *c, size_t number, const struct cache_key *key)
{
	struct cache_found found;
	uint64_t word = 0;

	if (!cache_find(c, key, cache_load(&c->head->epoch), &found))
		return;
	must(found.value > c->data && found.value <= c->data + DATA_LEN / sizeof(uint64_t));
	must((size_t)(found.value - c->data) * sizeof(uint64_t) % SEGMENT_LEN + found.entry.len <=
	    SEGMENT_LEN);
	memcpy(&word, &number, sizeof number);
	must(cache_load_word(found.value - 1) == word);
}

static void
get(struct cache_user *u, size_t number, size_t cap)
{
	struct cache_key key = key_of(u, &number);
	/* So that a sanitizer sees a store past its end. */
	uint8_t *value = malloc(cap > 0 ? cap : 1);
	struct cache_entry entry;

	must(value != NULL);
	check_found(u->cache, number, &key);
	if (cache_get(u, &key, value, cap, &entry))
		must(entry.len <= cap && entry.class <= CACHE_FAILURE);
	free(value);
}

static void
fill(struct cache_user *users[static 2])
{
	size_t number;

	for (number = 0; number < KEYS; number++)
		(void)put(users[number % 2], number, number * 5);
	/* Some are in main. */
	for (number = KEYS - 10; number < KEYS; number++)
		get(users[0], number, VALUE_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cache c = new_cache();
	struct cache_user *users[2] = { cache_user_new(&c, 0), cache_user_new(&c, 1) };
	size_t i;

	must(users[0] != NULL && users[1] != NULL);
	fill(users);
	damage(c.head, INDEX_LEN, &data, &size);
	damage(c.data, DATA_LEN, &data, &size);
	damage(c.claims, CLAIMS_LEN, &data, &size);
	for (i = 0; i < KEYS; i++) {
		get(users[i % 2], i, i % 3 == 0 ? i * 5 : VALUE_MAX);
		(void)cache_claim(users[0], users[0]->cache->claims[i], 1000, 5);
		(void)cache_is_claimed(users[0], i, 1000);
	}
	for (i = 0; i < KEYS; i++) {
		/* It may be that all memory seems to be owned. */
		if (put(users[i % 2], i, i * 3) == CACHE_STORED)
			get(users[i % 2], i, VALUE_MAX);
	}
	cache_remove_worker(&c, 1);
	cache_clear(&c);
	(void)cache_take_evicted(users[0]);
	cache_user_free(users[0]);
	cache_user_free(users[1]);
	free(c.head);
	free(c.data);
	free(c.claims);
	return 0;
}
