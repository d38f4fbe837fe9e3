#include "hash.h"

#include <sys/random.h>

#include <string.h>

int
hash_seed(uint64_t *seed)
{
	return getrandom(seed, sizeof *seed, 0) == sizeof *seed ? 0 : -1;
}

uint64_t
hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9fb21c651e98df25;
	return hash ^ hash >> 32;
}

uint64_t
hash_octets(uint64_t hash, const void *octets, size_t len)
{
	const uint8_t *p = octets;
	uint64_t word;

	for (; len > 0; p += sizeof word, len -= sizeof word) {
		word = 0;
		if (len <= sizeof word) {
			memcpy(&word, p, len);
			return hash_word(hash, word);
		}
		memcpy(&word, p, sizeof word);
		hash = hash_word(hash, word);
	}
	return hash;
}
