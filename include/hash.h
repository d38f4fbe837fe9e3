#ifndef DOTPROXY_HASH_H
#define DOTPROXY_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * SipHash-2-4 for tables whose keys strangers pick: each table has a random key of its own,
 * so nobody can pick keys that share a chain.
 */

struct hash_key {
	uint64_t halves[2];
};

/* Makes a random key. -1 with errno when the system gives no random bytes. */
int hash_key_init(struct hash_key *);

/* The hash of LEN bytes under a key. */
uint64_t hash_bytes(const struct hash_key *, const void *bytes, size_t len);

#endif
