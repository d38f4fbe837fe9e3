#ifndef DOTPROXY_HASH_H
#define DOTPROXY_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Hashes for tables whose keys strangers pick: each table begins with a seed of its own, so
 * nobody can pick keys that share a chain.
 */

/* A random number to begin with. -1 with errno when the system gives none. */
int hash_seed(uint64_t *seed);

/* The hash of what HASH is of, and a word or LEN octets behind it. */
uint64_t hash_word(uint64_t hash, uint64_t word);
uint64_t hash_octets(uint64_t hash, const void *octets, size_t len);

#endif
