/* Segments: who owns which, and which one is to be overwritten next. */
#include "shared/cache.h"

#include <stdint.h>

#include "cache_internal.h"

enum { CLAIM_TRIES = 4 };

static const size_t NONE = SIZE_MAX;

enum cache_area
cache_segment_area(const struct cache_segment *s)
{
	return cache_load(&s->area) == AREA_MAIN ? AREA_MAIN : AREA_PROBATION;
}

uint32_t
cache_segment_age(const struct cache *c, const struct cache_segment *s)
{
	return cache_load(&c->head->sealed[cache_segment_area(s)]) - cache_load(&s->sequence);
}

static bool
is_in_use(const struct cache_segment *s, uint32_t epoch)
{
	return cache_load(&s->generation) != 0 && cache_load(&s->epoch) == epoch;
}

/* No user has such a number: a faulty process wrote it. */
static bool
is_owned(uint32_t owner)
{
	return owner != 0 && owner <= CACHE_USERS;
}

static void
set_main_size(const struct cache *c, size_t sealed, size_t share)
{
	atomic_store_explicit(&c->head->main_size, sealed > share ? (uint32_t)(sealed - share) : 0,
	    memory_order_relaxed);
}

/*
 * The segment to be claimed: one that is not in use; or else the oldest of probation, if that has
 * more than its share; or else the oldest of main. NONE if all are being filled. Those that are
 * being filled do not count: with many users they may be most of all.
 */
static size_t
choose_segment(const struct cache *c, uint32_t epoch)
{
	size_t oldest[AREAS] = { NONE, NONE };
	uint32_t oldest_age[AREAS] = { 0, 0 };
	size_t counts[AREAS] = { 0, 0 };
	size_t share = 1 + c->segment_count / PROBATION_SHARE;
	size_t i;

	for (i = 0; i < c->segment_count; i++) {
		const struct cache_segment *s = &c->segments[i];
		enum cache_area area = cache_segment_area(s);
		uint32_t age = cache_segment_age(c, s);

		if (is_owned(cache_load(&s->owner)))
			continue;
		if (!is_in_use(s, epoch))
			return i;
		counts[area]++;
		if (oldest[area] == NONE || age > oldest_age[area]) {
			oldest[area] = i;
			oldest_age[area] = age;
		}
	}
	set_main_size(c, counts[AREA_PROBATION] + counts[AREA_MAIN], share);
	if (oldest[AREA_MAIN] == NONE ||
	    (oldest[AREA_PROBATION] != NONE && counts[AREA_PROBATION] > share))
		return oldest[AREA_PROBATION];
	return oldest[AREA_MAIN];
}

static void
count_evicted(struct cache_user *u, const struct cache_segment *s, uint32_t epoch)
{
	int32_t entries = atomic_load_explicit(&s->entries, memory_order_relaxed);

	if (is_in_use(s, epoch) && entries > 0 &&
	    (size_t)entries <= u->cache->segment_len / ENTRY_HEAD_LEN)
		u->evicted[cache_segment_area(s)] += (uint64_t)entries;
}

/* Ends all entries of the segment, and begins to fill it. */
static void
start(struct cache_user *u, enum cache_area area, uint32_t epoch, struct cache_segment *s)
{
	uint32_t generation = cache_load(&s->generation) + 1;

	if (cache_short_generation(generation) == 0)
		generation++;
	atomic_store_explicit(&s->generation, generation, memory_order_relaxed);
	CACHE_STEP();
	/* All that is stored into the segment from here on is stored after the new generation. */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&s->epoch, epoch, memory_order_relaxed);
	atomic_store_explicit(&s->area, area, memory_order_relaxed);
	atomic_store_explicit(&s->sequence, cache_load(&u->cache->head->sealed[area]),
	    memory_order_relaxed);
	atomic_store_explicit(&s->entries, 0, memory_order_relaxed);
	u->open[area] = (struct cache_open){
		.is_open = true,
		.segment = (size_t)(s - u->cache->segments),
		.generation = generation,
	};
}

static int
claim(struct cache_user *u, enum cache_area area, uint32_t epoch)
{
	unsigned tries;

	for (tries = 0; tries < CLAIM_TRIES; tries++) {
		size_t chosen = choose_segment(u->cache, epoch);
		struct cache_segment *s;
		uint32_t owner;

		if (chosen == NONE)
			return -1;
		s = &u->cache->segments[chosen];
		owner = cache_load(&s->owner);
		CACHE_STEP();
		if (is_owned(owner) ||
		    !atomic_compare_exchange_strong_explicit(&s->owner, &owner, u->owner,
			memory_order_acquire, memory_order_relaxed))
			continue;
		CACHE_STEP();
		count_evicted(u, s, epoch);
		start(u, area, epoch, s);
		return 0;
	}
	return -1;
}

/* Whether LEN bytes can be stored into the user's open segment. */
static bool
has_room(const struct cache_user *u, enum cache_area area, uint32_t epoch, size_t len)
{
	const struct cache_open *open = &u->open[area];
	const struct cache_segment *s = &u->cache->segments[open->segment];

	/* It is another's only if a faulty process wrote that. */
	return open->is_open && len <= u->cache->segment_len - open->used &&
	    cache_load(&s->epoch) == epoch && cache_load(&s->owner) == u->owner &&
	    cache_load(&s->generation) == open->generation;
}

int
cache_segment_open(struct cache_user *u, enum cache_area area, uint32_t epoch, size_t len)
{
	if (has_room(u, area, epoch, len))
		return 0;
	cache_segment_seal(u, area);
	return claim(u, area, epoch);
}

void
cache_segment_seal(struct cache_user *u, enum cache_area area)
{
	struct cache_open *open = &u->open[area];
	struct cache_segment *s = &u->cache->segments[open->segment];
	uint32_t owner = u->owner;

	if (!open->is_open)
		return;
	open->is_open = false;
	(void)atomic_fetch_add_explicit(&s->entries, open->entries, memory_order_relaxed);
	/* A user may take long to fill a segment; it is as old as its last entry. */
	atomic_store_explicit(&s->sequence,
	    atomic_fetch_add_explicit(&u->cache->head->sealed[area], 1, memory_order_relaxed),
	    memory_order_relaxed);
	CACHE_STEP();
	(void)atomic_compare_exchange_strong_explicit(&s->owner, &owner, 0, memory_order_release,
	    memory_order_relaxed);
}
