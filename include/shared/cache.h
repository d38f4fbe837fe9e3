#ifndef DOTPROXY_CACHE_H
#define DOTPROXY_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Byte strings under keys, in one shared mapping that the supervisor makes before the first fork,
 * and that all workers read and write without locks. A process may die at any instruction: no
 * entry that is found is ever wrong, and the memory that the process was filling is free again
 * after cache_remove_worker(). Any entry may be evicted at any time.
 *
 * The cache does not know what the values are.
 */
struct cache;

/* The access of one worker to the cache, in its own memory. */
struct cache_user;

enum { CACHE_KEY_MAX = 288 };

/* What an entry is, for its user; the cache itself only hands it back. */
enum cache_class { CACHE_POSITIVE, CACHE_NEGATIVE, CACHE_FAILURE };

/*
 * The least size, in bytes, with which so many workers can store something. Any larger size will do
 * as well.
 */
size_t cache_size_min(size_t workers);

/*
 * A cache of exactly SIZE bytes, at least cache_size_min(1) and at most 4 GiB. Its memory is taken
 * as it fills, and is left out of core dumps. NULL with errno. Unmapped, in this process, by
 * cache_free(); NULL is fine there.
 */
struct cache *cache_new(size_t size);
void cache_free(struct cache *);
size_t cache_size(const struct cache *);

/* Forgets all entries, for all processes; claims stay. */
void cache_clear(struct cache *);

/*
 * The process that had that user number has ended, and has been waited for: what it was filling is
 * free, and what it stored stays.
 */
void cache_remove_worker(struct cache *, size_t number);

/*
 * No two living processes may have the same NUMBER, which is below CACHE_USERS. NULL with errno.
 * Freed by cache_user_free(), which also releases what the user was filling; NULL is fine there.
 */
enum { CACHE_USERS = 256 };
struct cache_user *cache_user_new(struct cache *, size_t number);
void cache_user_free(struct cache_user *);

/* The largest value that can be stored, in bytes, with a key of CACHE_KEY_MAX bytes. */
size_t cache_value_max(const struct cache_user *);

/* Seconds of CLOCK_BOOTTIME, which goes on while the machine sleeps. */
uint32_t cache_now(void);

/* A key of LEN bytes, 1 to CACHE_KEY_MAX, and its keyed hash. The caller keeps BYTES. */
struct cache_key {
	const uint8_t *bytes;
	size_t len;
	uint64_t hash;
};
void cache_key_init(const struct cache_user *, struct cache_key *, const uint8_t *bytes,
    size_t len);

/*
 * Prefetches the memory that cache_get() will read first. For a batch: prefetch for all of its
 * keys, then get them.
 */
void cache_fetch(const struct cache_user *, const struct cache_key *);

struct cache_entry {
	enum cache_class class;
	uint32_t born;  /* when the value was made, in seconds of cache_now() */
	uint32_t until; /* when it expires; the cache does not look at it */
	size_t len;     /* of the value, in bytes */
};

/*
 * Copies the value under a key, up to CAP bytes, and fills the entry. False when there is none, or
 * it is longer; then VALUE may have been written to. A value that is asked for again is kept
 * longer.
 */
bool cache_get(struct cache_user *, const struct cache_key *, uint8_t *value, size_t cap,
    struct cache_entry *);

/* Stores a value of ENTRY's `len' bytes, instead of the one that is there. */
enum cache_put {
	CACHE_STORED,
	CACHE_TOO_LARGE,
	CACHE_BUSY /* other workers are filling all of the memory, or stored this key at this moment */
};
enum cache_put cache_put(struct cache_user *, const struct cache_key *, const struct cache_entry *,
    const uint8_t *value);

/*
 * Claims a task, such as refreshing the entry of a key, for SECONDS (an hour at most) from NOW (of
 * cache_now()); HASH stands for the task. False if another worker, or this one, has claimed it.
 * A claim ends by itself, and may be lost earlier. cache_is_claimed() only asks.
 */
bool cache_claim(struct cache_user *, uint64_t hash, uint32_t now, uint32_t seconds);
bool cache_is_claimed(const struct cache_user *, uint64_t hash, uint32_t now);

/* How many entries this user has evicted to make room, since this was last called. */
struct cache_evicted {
	uint64_t probation; /* entries that nobody had asked for again */
	uint64_t main;
};
struct cache_evicted cache_take_evicted(struct cache_user *);

#endif
