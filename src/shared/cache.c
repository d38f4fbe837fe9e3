#include "shared/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/shm.h"
#include "cache_internal.h"

/* Seconds. What says that a claim lasts longer was not written by us. */
enum { CLAIM_MAX_S = 3600 };

static const size_t FIXED_LEN = sizeof(struct cache_head) + CLAIMS * sizeof(uint64_t);

/* How a cache of that size is divided. Without segments it is too small. */
static void
lay_out(struct cache *c, size_t size)
{
	size_t shared_out;

	c->size = size;
	c->segment_len = SEGMENT_LEN_MIN;
	while (c->segment_len < SEGMENT_LEN_MAX && c->segment_len * 2 <= size / SEGMENT_SHARE)
		c->segment_len *= 2;
	c->segment_count = 0;
	c->bucket_count = 0;
	if (size < FIXED_LEN + size / INDEX_SHARE)
		return;
	shared_out = c->segment_len + sizeof(struct cache_segment);
	c->segment_count = (size - FIXED_LEN - size / INDEX_SHARE) / shared_out;
	if (c->segment_count > SEGMENTS_MAX)
		c->segment_count = SEGMENTS_MAX;
	c->bucket_count = (size - FIXED_LEN - c->segment_count * shared_out) /
	    sizeof(struct cache_bucket);
}

size_t
cache_size_min(size_t workers)
{
	size_t segments = workers * SEGMENTS_PER_WORKER + SEGMENTS_MORE;
	/* From a size of SEGMENT_SHARE short segments on, there are always about that many. */
	size_t len = segments <= SEGMENT_SHARE * 7 / 8 ? SEGMENT_LEN_MIN : SEGMENT_LEN_MAX;
	size_t without_index = FIXED_LEN + segments * (len + sizeof(struct cache_segment));

	return without_index + (without_index - 1) / (INDEX_SHARE - 1);
}

struct cache *
cache_new(size_t size)
{
	struct cache *c;

	if (size < cache_size_min(1)) {
		errno = EINVAL;
		return NULL;
	}
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	lay_out(c, size);
	if (hash_key_init(&c->key) == -1 || (c->head = shm_new(size)) == NULL) {
		free(c);
		return NULL;
	}
	c->segments = (struct cache_segment *)(c->head + 1);
	c->buckets = (struct cache_bucket *)(c->segments + c->segment_count);
	c->claims = (_Atomic uint64_t *)(c->buckets + c->bucket_count);
	c->data = c->claims + CLAIMS;
	return c;
}

void
cache_free(struct cache *c)
{
	if (c == NULL)
		return;
	shm_free(c->head, c->size);
	free(c);
}

size_t
cache_size(const struct cache *c)
{
	return c->size;
}

void
cache_clear(struct cache *c)
{
	(void)atomic_fetch_add(&c->head->epoch, 1);
}

void
cache_remove_worker(struct cache *c, size_t number)
{
	size_t i;

	for (i = 0; i < c->segment_count; i++) {
		uint32_t owner = (uint32_t)number + 1;

		(void)atomic_compare_exchange_strong(&c->segments[i].owner, &owner, 0);
	}
}

struct cache_user *
cache_user_new(struct cache *c, size_t number)
{
	struct cache_user *u;

	if (number >= CACHE_USERS) {
		errno = EINVAL;
		return NULL;
	}
	u = calloc(1, sizeof *u);
	if (u == NULL)
		return NULL;
	u->cache = c;
	u->owner = (uint32_t)number + 1;
	return u;
}

void
cache_user_free(struct cache_user *u)
{
	if (u == NULL)
		return;
	cache_segment_seal(u, AREA_PROBATION);
	cache_segment_seal(u, AREA_MAIN);
	free(u);
}

size_t
cache_value_max(const struct cache_user *u)
{
	return u->cache->segment_len / 2 - ENTRY_HEAD_LEN - CACHE_KEY_MAX;
}

uint32_t
cache_now(void)
{
	struct timespec now;

	/* It cannot fail: Linux has had this clock since 2.6.39. */
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint32_t)now.tv_sec;
}

void
cache_key_init(const struct cache_user *u, struct cache_key *key, const uint8_t *bytes, size_t len)
{
	key->bytes = bytes;
	key->len = len;
	key->hash = hash_bytes(&u->cache->key, bytes, len);
#ifdef DOTPROXY_CACHE_HASH_BITS
	/* Few hashes, in a test, so that many keys have the same one. */
	key->hash >>= 64 - DOTPROXY_CACHE_HASH_BITS;
	key->hash *= 0x9e3779b97f4a7c15;
#endif
}

void
cache_fetch(const struct cache_user *u, const struct cache_key *key)
{
	__builtin_prefetch(cache_bucket_of(u->cache, key->hash));
}

/*
 * Whether an entry that was asked for is stored again, in main, so that it stays: it was in a
 * sealed segment of probation, or in the oldest quarter of main, which is overwritten next.
 */
static bool
is_to_be_moved(const struct cache *c, const struct cache_segment *s)
{
	uint32_t main_size = cache_load(&c->head->main_size);

	if (cache_load(&s->owner) != 0)
		return false;
	if (cache_segment_area(s) == AREA_PROBATION)
		return true;
	return main_size > 0 && cache_segment_age(c, s) >= main_size - main_size / 4;
}

bool
cache_get(struct cache_user *u, const struct cache_key *key, uint8_t *value, size_t cap,
    struct cache_entry *entry)
{
	uint32_t epoch = cache_load(&u->cache->head->epoch);
	struct cache_found found;

	if (!cache_find(u->cache, key, epoch, &found) || found.entry.len > cap ||
	    !cache_copy(&found, value))
		return false;
	*entry = found.entry;
	if (is_to_be_moved(u->cache, found.segment))
		(void)cache_store(u, AREA_MAIN, epoch, key, entry, value, &found);
	return true;
}

enum cache_put
cache_put(struct cache_user *u, const struct cache_key *key, const struct cache_entry *entry,
    const uint8_t *value)
{
	uint32_t epoch = cache_load(&u->cache->head->epoch);
	struct cache_found found;
	/* What is stored again has been asked for again. */
	enum cache_area area = cache_find(u->cache, key, epoch, &found) ? AREA_MAIN :
									  AREA_PROBATION;

	return cache_store(u, area, epoch, key, entry, value, NULL);
}

/* A claim: the upper half of the hash, and until when. */
static bool
is_claim(uint64_t claim, uint64_t hash, uint32_t now)
{
	uint32_t until = (uint32_t)claim;

	return claim >> 32 == hash >> 32 && until > now && until - now <= CLAIM_MAX_S;
}

static _Atomic uint64_t *
claim_of(const struct cache *c, uint64_t hash)
{
	return &c->claims[hash % CLAIMS];
}

bool
cache_claim(struct cache_user *u, uint64_t hash, uint32_t now, uint32_t seconds)
{
	_Atomic uint64_t *place = claim_of(u->cache, hash);
	uint64_t claim = cache_load_word(place);

	if (is_claim(claim, hash, now))
		return false;
	if (seconds > CLAIM_MAX_S)
		seconds = CLAIM_MAX_S;
	return atomic_compare_exchange_strong_explicit(place, &claim,
	    hash >> 32 << 32 | (now + seconds), memory_order_relaxed, memory_order_relaxed);
}

bool
cache_is_claimed(const struct cache_user *u, uint64_t hash, uint32_t now)
{
	return is_claim(cache_load_word(claim_of(u->cache, hash)), hash, now);
}

struct cache_evicted
cache_take_evicted(struct cache_user *u)
{
	struct cache_evicted evicted = { u->evicted[AREA_PROBATION], u->evicted[AREA_MAIN] };

	u->evicted[AREA_PROBATION] = 0;
	u->evicted[AREA_MAIN] = 0;
	return evicted;
}
