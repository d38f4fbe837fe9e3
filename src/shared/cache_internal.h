#ifndef DOTPROXY_CACHE_INTERNAL_H
#define DOTPROXY_CACHE_INTERNAL_H

#include <stdalign.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "shared/cache.h"

/*
 * The mapping holds, in this order:
 *
 *     head      the epoch, and how many segments have been sealed
 *     segments  a row for each
 *     buckets   the index: a bucket is one cache line of eight slots
 *     claims
 *     data      the segments themselves, all of one length
 *
 * An entry is appended to a segment, and found through one slot. Segments are the unit of memory:
 * each is filled by one user, its owner, then sealed, and much later claimed by another user, who
 * overwrites it as a whole. A new generation of the segment makes all slots that point into it
 * outdated at once; nobody has to find them.
 *
 * Writing:
 *  1. Claim a segment: change `owner' from 0 to oneself (acquire).
 *  2. Give it the next generation, then a release fence.
 *  3. Store an entry behind those that are there, by relaxed stores of words.
 *  4. Publish it: change one slot of its bucket by compare-and-swap (release).
 *  Steps 3 and 4 repeat until the segment is full. Then `owner' becomes 0 (release).
 *
 * Reading:
 *  1. Load the slots of the bucket (acquire), and the generation of the segment.
 *  2. Copy the entry by relaxed loads.
 *  3. An acquire fence. If the generation of the segment is not that of the entry, it is a miss.
 *
 * Why no reader gets another's bytes: only the owner of a segment stores into it. What a reader
 * loads is either stored before the slot was published, or by a later owner. The later owner
 * changed the generation, and made a release fence, before it stored anything there; so a reader
 * that has loaded such a word, and made its acquire fence, sees the new generation in step 3.
 *
 * Why the death of a process does no harm: there are no locks, lists or counts on which others
 * depend. An entry that was not published is not found. A segment stays with its dead owner until
 * cache_remove_worker().
 *
 * What is in shared memory may have been written by a faulty process. The sizes and the hash key
 * are therefore not there, and an index or a length from there is checked before it is used.
 */

enum {
	BUCKET_SLOTS = 8,
	CLAIMS = 4096,

	/* A segment is 1/256 of the size of the cache, in these bounds, and a power of two. */
	SEGMENT_SHARE = 256,
	SEGMENT_LEN_MIN = 16 << 10,
	SEGMENT_LEN_MAX = 1 << 20,
	SEGMENTS_MAX = 4096, /* a slot has 12 bits for it */

	INDEX_SHARE = 16,        /* the index has at least 1/16 of the size */
	PROBATION_SHARE = 10,    /* probation has about 1/10 of the segments */
	ENTRY_HEAD_LEN = 4 * 8,  /* four words, see cache_entries.c */
	ENTRY_UNIT = 16,         /* entries begin at multiples of it */
	SEGMENTS_PER_WORKER = 3, /* one in probation, one in main, and one to be claimed */
	SEGMENTS_MORE = 2
};

/*
 * A new entry is in probation. One that is asked for again, after the segment was sealed, moves to
 * main; so names that are asked for once, or a few times in a moment, displace only each other.
 */
enum cache_area { AREA_PROBATION, AREA_MAIN, AREAS };

struct cache_head {
	/* Entries of another epoch are no longer there. Alone in its line: each cache_get() loads it. */
	alignas(128) _Atomic uint32_t epoch;
	/* How many segments of each area have been sealed. */
	alignas(128) _Atomic uint32_t sealed[AREAS];
	/* How many sealed segments main can have; 0 before all segments are in use. */
	_Atomic uint32_t main_size;
};

struct cache_segment {
	alignas(64) _Atomic uint32_t owner; /* 0, or one more than the number of a user */
	_Atomic uint32_t generation;        /* 0: never used; else the lower 16 bits are not 0 */
	_Atomic uint32_t epoch;
	_Atomic uint32_t area;
	_Atomic uint32_t sequence; /* the value of `sealed' when it was sealed, or else opened */
	_Atomic int32_t entries;   /* how many of a sealed one are in the index; a statistic */
};

struct cache_bucket {
	alignas(64) _Atomic uint64_t slots[BUCKET_SLOTS];
};

struct cache {
	struct hash_key key;
	size_t size;
	size_t segment_count;
	size_t segment_len; /* bytes */
	size_t bucket_count;

	/* Where these begin in the mapping, of which the head is the first. */
	struct cache_head *head;
	struct cache_segment *segments;
	struct cache_bucket *buckets;
	_Atomic uint64_t *claims;
	_Atomic uint64_t *data;
};

/* A segment that is being filled. */
struct cache_open {
	bool is_open;
	size_t segment;
	uint32_t generation;
	size_t used; /* bytes */
	int32_t entries;
};

struct cache_user {
	struct cache *cache;
	uint32_t owner;
	struct cache_open open[AREAS];
	uint64_t evicted[AREAS];
};

/* A test may define it, to interrupt the steps of the protocol. */
#ifndef CACHE_STEP
#define CACHE_STEP() ((void)0)
#endif

static inline uint32_t
cache_load(const _Atomic uint32_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

static inline uint64_t
cache_load_word(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* The generation of a segment in a slot. */
static inline uint32_t
cache_short_generation(uint32_t generation)
{
	return generation & 0xffff;
}

/*
 * cache_segments.c
 */

/*
 * Makes room for LEN bytes, at most half of a segment, in the user's open segment of that area and
 * epoch; claims another segment if it is full. -1 if there is none.
 */
int cache_segment_open(struct cache_user *, enum cache_area, uint32_t epoch, size_t len);

/* Seals the user's open segment of that area, if there is one. */
void cache_segment_seal(struct cache_user *, enum cache_area);

/* The area of a segment, and how many have been sealed in that area after it. */
enum cache_area cache_segment_area(const struct cache_segment *);
uint32_t cache_segment_age(const struct cache *, const struct cache_segment *);

/*
 * cache_entries.c
 */

/* The only bucket in which an entry of that hash can be. */
struct cache_bucket *cache_bucket_of(const struct cache *, uint64_t hash);

/* An entry that was found in the index. It may be overwritten at any time. */
struct cache_found {
	_Atomic uint64_t *place; /* of the slot */
	uint64_t slot;           /* its value */
	struct cache_segment *segment;
	uint32_t generation; /* of the segment, when the slot pointed into it */
	const _Atomic uint64_t *value;
	struct cache_entry entry;
};

/* Finds the youngest entry with that key and of that epoch. */
bool cache_find(const struct cache *, const struct cache_key *, uint32_t epoch,
    struct cache_found *);

/* Copies the value of an entry. False if it may have been overwritten. */
bool cache_copy(const struct cache_found *, uint8_t *value);

/*
 * Stores an entry in an area, instead of FOUND, or wherever it fits when that is NULL. The value is
 * in private memory.
 */
enum cache_put cache_store(struct cache_user *, enum cache_area, uint32_t epoch,
    const struct cache_key *, const struct cache_entry *, const uint8_t *value,
    const struct cache_found *found);

#endif
