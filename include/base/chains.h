#ifndef DOTPROXY_CHAINS_H
#define DOTPROXY_CHAINS_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

/*
 * A hash table with chains, whose links are embedded in the entries: nothing is allocated for an
 * entry. The caller hashes under the key of the table, and compares entries of equal hash.
 */

struct chains_link {
	LIST_ENTRY(chains_link) next;
	uint64_t hash;
	void *entry; /* the struct that embeds the link */
};
LIST_HEAD(chains_head, chains_link);

struct chains {
	struct hash_key key;
	size_t mask; /* one less than the number of heads, which is a power of two */
	struct chains_head *heads;
};

/*
 * Sizes the table for about COUNT entries, so that most chains have at most one. -1 with errno.
 * chains_free() accepts a table whose chains_init() failed, or that is all zero.
 */
int chains_init(struct chains *, size_t count);
void chains_free(struct chains *);

void chains_add(struct chains *, struct chains_link *, uint64_t hash, void *entry);
void chains_remove(struct chains_link *);

/* Iterate over the entries with that hash; NULL at the end. */
struct chains_link *chains_first(const struct chains *, uint64_t hash);
struct chains_link *chains_next(const struct chains_link *);

#endif
