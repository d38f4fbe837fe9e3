/* Entries in segments, and the slots of the index that point to them. */
#include "shared/cache.h"

#include <string.h>

#include "cache_internal.h"

/* How often to look for a slot again because another process has just changed it. */
enum { PUBLISH_TRIES = 3 };

/*
 * An entry is a head of four words, the key and the value, each filled up with zeros to whole
 * words. It is loaded and stored by words, each of which is whole at any time.
 */
enum { WORD = 8, HEAD_HASH = 0, HEAD_PLACE = 1, HEAD_TIMES = 2, HEAD_LENGTHS = 3, HEAD_WORDS = 4 };
_Static_assert(HEAD_WORDS *WORD == ENTRY_HEAD_LEN, "the head of an entry");

static size_t
words(size_t len)
{
	return (len + WORD - 1) / WORD;
}

static size_t
entry_len(size_t key_len, size_t value_len)
{
	size_t len = (HEAD_WORDS + words(key_len) + words(value_len)) * WORD;

	return (len + ENTRY_UNIT - 1) / ENTRY_UNIT * ENTRY_UNIT;
}

/*
 * A slot, from its highest bit: 20 bits of the hash, 16 of the generation of the segment, 12 for
 * the number of the segment, 16 for the place of the entry in it, in units. 0 is empty, since no
 * generation is 0.
 */
static uint64_t
slot_make(uint64_t hash, uint32_t generation, size_t segment, size_t at)
{
	return hash << 44 | (uint64_t)cache_short_generation(generation) << 28 |
	    (uint64_t)segment << 16 | at / ENTRY_UNIT;
}

static bool
slot_has_tag(uint64_t slot, uint64_t hash)
{
	return slot >> 44 == (hash & 0xfffff);
}

static uint32_t
slot_generation(uint64_t slot)
{
	return slot >> 28 & 0xffff;
}

static size_t
slot_segment(uint64_t slot)
{
	return slot >> 16 & 0xfff;
}

static size_t
slot_at(uint64_t slot)
{
	return (slot & 0xffff) * ENTRY_UNIT;
}

/* The segment that a slot points into, and its generation; NULL if the slot is empty or outdated. */
static struct cache_segment *
segment_of(const struct cache *c, uint64_t slot, uint32_t epoch, uint32_t *generation)
{
	struct cache_segment *s;

	if (slot == 0 || slot_segment(slot) >= c->segment_count)
		return NULL;
	s = &c->segments[slot_segment(slot)];
	*generation = cache_load(&s->generation);
	if (cache_short_generation(*generation) != slot_generation(slot) ||
	    cache_load(&s->epoch) != epoch)
		return NULL;
	return s;
}

struct cache_bucket *
cache_bucket_of(const struct cache *c, uint64_t hash)
{
	return &c->buckets[(hash >> 32) * c->bucket_count >> 32];
}

static _Atomic uint64_t *
entry_at(const struct cache *c, size_t segment, size_t at)
{
	return c->data + (segment * c->segment_len + at) / WORD;
}

/* A key as words, the last one filled up with zeros. */
static uint64_t
word_at(const uint8_t *bytes, size_t len, size_t i)
{
	uint64_t word = 0;

	memcpy(&word, bytes + i * WORD, len - i * WORD < WORD ? len - i * WORD : WORD);
	return word;
}

static bool
is_key(const _Atomic uint64_t *at, const struct cache_key *key)
{
	size_t i;

	for (i = 0; i < words(key->len); i++)
		if (cache_load_word(&at[i]) != word_at(key->bytes, key->len, i))
			return false;
	return true;
}

/* Fills FOUND if the entry at FOUND's slot has that key, and lies inside its segment. */
static bool
read_head(const struct cache *c, const struct cache_key *key, struct cache_found *found)
{
	size_t at = slot_at(found->slot);
	const _Atomic uint64_t *head;
	uint64_t times;
	uint64_t lengths;
	size_t key_len;

	if (at > c->segment_len - ENTRY_HEAD_LEN)
		return false;
	head = entry_at(c, slot_segment(found->slot), at);
	if (cache_load_word(&head[HEAD_HASH]) != key->hash ||
	    cache_load_word(&head[HEAD_PLACE]) != ((uint64_t)at << 32 | found->generation))
		return false;
	times = cache_load_word(&head[HEAD_TIMES]);
	lengths = cache_load_word(&head[HEAD_LENGTHS]);
	key_len = lengths >> 32 & 0xffff;
	found->value = head + HEAD_WORDS + words(key->len);
	found->entry = (struct cache_entry){
		.class = (enum cache_class)(lengths >> 48),
		.born = (uint32_t)times,
		.until = (uint32_t)(times >> 32),
		.len = (uint32_t)lengths,
	};
	return key_len == key->len && found->entry.class <= CACHE_FAILURE &&
	    entry_len(key_len, found->entry.len) <= c->segment_len - at &&
	    is_key(head + HEAD_WORDS, key);
}

bool
cache_find(const struct cache *c, const struct cache_key *key, uint32_t epoch,
    struct cache_found *youngest)
{
	struct cache_bucket *bucket = cache_bucket_of(c, key->hash);
	bool any = false;
	size_t i;

	for (i = 0; i < BUCKET_SLOTS; i++) {
		struct cache_found found = { .place = &bucket->slots[i] };

		found.slot = atomic_load_explicit(found.place, memory_order_acquire);
		if (!slot_has_tag(found.slot, key->hash))
			continue;
		CACHE_STEP();
		found.segment = segment_of(c, found.slot, epoch, &found.generation);
		if (found.segment == NULL || !read_head(c, key, &found))
			continue;
		/* Two processes may have stored the same key in two slots at once. */
		if (any && found.entry.born <= youngest->entry.born)
			continue;
		*youngest = found;
		any = true;
	}
	return any;
}

bool
cache_copy(const struct cache_found *found, uint8_t *value)
{
	size_t len = found->entry.len;
	size_t i;

	CACHE_STEP();
	for (i = 0; i < len / WORD; i++) {
		uint64_t word = cache_load_word(&found->value[i]);

		memcpy(value + i * WORD, &word, WORD);
	}
	if (len % WORD > 0) {
		uint64_t word = cache_load_word(&found->value[i]);

		memcpy(value + i * WORD, &word, len % WORD);
	}
	CACHE_STEP();
	/* If any of the words was stored by a later owner, its generation is seen now. */
	atomic_thread_fence(memory_order_acquire);
	return cache_load(&found->segment->generation) == found->generation;
}

static void
store_bytes(_Atomic uint64_t *at, const uint8_t *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < words(len); i++)
		atomic_store_explicit(&at[i], word_at(bytes, len, i), memory_order_relaxed);
}

/* Stores an entry behind the others of an open segment. Returns the slot that points to it. */
static uint64_t
append(const struct cache *c, const struct cache_open *open, const struct cache_key *key,
    const struct cache_entry *entry, const uint8_t *value)
{
	_Atomic uint64_t *head = entry_at(c, open->segment, open->used);

	atomic_store_explicit(&head[HEAD_HASH], key->hash, memory_order_relaxed);
	atomic_store_explicit(&head[HEAD_PLACE], (uint64_t)open->used << 32 | open->generation,
	    memory_order_relaxed);
	CACHE_STEP();
	atomic_store_explicit(&head[HEAD_TIMES], (uint64_t)entry->until << 32 | entry->born,
	    memory_order_relaxed);
	atomic_store_explicit(&head[HEAD_LENGTHS],
	    (uint64_t)entry->class << 48 | (uint64_t)key->len << 32 | entry->len,
	    memory_order_relaxed);
	store_bytes(head + HEAD_WORDS, key->bytes, key->len);
	CACHE_STEP();
	store_bytes(head + HEAD_WORDS + words(key->len), value, entry->len);
	return slot_make(key->hash, open->generation, open->segment, open->used);
}

/* The slot of a bucket that is to be replaced, when the key is in none of them. */
static _Atomic uint64_t *
choose_slot(const struct cache *c, struct cache_bucket *bucket, uint32_t epoch, uint64_t *slot)
{
	_Atomic uint64_t *oldest = NULL;
	enum cache_area oldest_area = AREA_MAIN;
	uint32_t oldest_age = 0;
	size_t i;

	for (i = 0; i < BUCKET_SLOTS; i++) {
		uint64_t value = cache_load_word(&bucket->slots[i]);
		uint32_t generation;
		const struct cache_segment *s = segment_of(c, value, epoch, &generation);
		enum cache_area area;
		uint32_t age;

		if (s == NULL) {
			*slot = value;
			return &bucket->slots[i];
		}
		area = cache_segment_area(s);
		age = cache_segment_age(c, s);
		if (oldest != NULL &&
		    (area > oldest_area || (area == oldest_area && age <= oldest_age)))
			continue;
		oldest = &bucket->slots[i];
		oldest_area = area;
		oldest_age = age;
		*slot = value;
	}
	return oldest;
}

/* Counts an entry that is no longer in the index. */
static void
count_replaced(struct cache_user *u, uint64_t slot, uint32_t epoch, bool is_evicted)
{
	uint32_t generation;
	struct cache_segment *s = segment_of(u->cache, slot, epoch, &generation);

	if (s == NULL)
		return;
	(void)atomic_fetch_sub_explicit(&s->entries, 1, memory_order_relaxed);
	if (is_evicted)
		u->evicted[cache_segment_area(s)]++;
}

static bool
publish(struct cache_user *u, uint32_t epoch, _Atomic uint64_t *place, uint64_t old, uint64_t new,
    bool is_same_key)
{
	CACHE_STEP();
	/* A process that sees the slot sees the entry. */
	if (!atomic_compare_exchange_strong_explicit(place, &old, new, memory_order_release,
		memory_order_relaxed))
		return false;
	CACHE_STEP();
	count_replaced(u, old, epoch, !is_same_key);
	return true;
}

static bool
publish_anywhere(struct cache_user *u, uint32_t epoch, const struct cache_key *key, uint64_t new)
{
	struct cache_found found;
	unsigned tries;

	for (tries = 0; tries < PUBLISH_TRIES; tries++) {
		bool is_there = cache_find(u->cache, key, epoch, &found);

		if (!is_there)
			found.place = choose_slot(u->cache, cache_bucket_of(u->cache, key->hash),
			    epoch, &found.slot);
		if (publish(u, epoch, found.place, found.slot, new, is_there))
			return true;
	}
	return false;
}

enum cache_put
cache_store(struct cache_user *u, enum cache_area area, uint32_t epoch, const struct cache_key *key,
    const struct cache_entry *entry, const uint8_t *value, const struct cache_found *found)
{
	struct cache_open *open = &u->open[area];
	uint64_t slot;
	size_t len;

	if (entry->len > u->cache->segment_len / 2 ||
	    (len = entry_len(key->len, entry->len)) > u->cache->segment_len / 2)
		return CACHE_TOO_LARGE;
	if (cache_segment_open(u, area, epoch, len) == -1)
		return CACHE_BUSY;
	slot = append(u->cache, open, key, entry, value);
	if (found != NULL ? !publish(u, epoch, found->place, found->slot, slot, true) :
			    !publish_anywhere(u, epoch, key, slot))
		return CACHE_BUSY;
	open->used += len;
	open->entries++;
	return CACHE_STORED;
}
