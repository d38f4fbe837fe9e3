#ifndef DOTPROXY_HASH_H
#define DOTPROXY_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * SipHash-2-4, for tables whose keys come from the network: each table has its own random key,
 * so an attacker cannot choose keys that collide.
 */

struct hash_key {
	uint64_t halves[2];
};

/* Makes a random key. -1 with errno when getrandom(2) fails. */
int hash_key_init(struct hash_key *);

/* The hash of LEN bytes under a key. */
uint64_t hash_bytes(const struct hash_key *, const void *bytes, size_t len);

#endif
