#include "base/hash.h"

#include <sys/random.h>

#include <endian.h>
#include <string.h>

enum { WORD_LEN = 8, WORD_ROUNDS = 2, FINAL_ROUNDS = 4 };

struct state {
	uint64_t v[4];
};

int
hash_key_init(struct hash_key *key)
{
	return getrandom(key, sizeof *key, 0) == sizeof *key ? 0 : -1;
}

static uint64_t
rotate(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static void
mix(struct state *s, unsigned rounds)
{
	for (; rounds > 0; rounds--) {
		s->v[0] += s->v[1];
		s->v[1] = rotate(s->v[1], 13) ^ s->v[0];
		s->v[0] = rotate(s->v[0], 32);
		s->v[2] += s->v[3];
		s->v[3] = rotate(s->v[3], 16) ^ s->v[2];
		s->v[0] += s->v[3];
		s->v[3] = rotate(s->v[3], 21) ^ s->v[0];
		s->v[2] += s->v[1];
		s->v[1] = rotate(s->v[1], 17) ^ s->v[2];
		s->v[2] = rotate(s->v[2], 32);
	}
}

static void
add_word(struct state *s, uint64_t word)
{
	s->v[3] ^= word;
	mix(s, WORD_ROUNDS);
	s->v[0] ^= word;
}

/* Up to 8 bytes as a little-endian number. */
static uint64_t
read_word(const uint8_t *bytes, size_t len)
{
	uint64_t word = 0;

	memcpy(&word, bytes, len);
	return le64toh(word);
}

uint64_t
hash_bytes(const struct hash_key *key, const void *bytes, size_t len)
{
	struct state s = { {
	    key->halves[0] ^ 0x736f6d6570736575,
	    key->halves[1] ^ 0x646f72616e646f6d,
	    key->halves[0] ^ 0x6c7967656e657261,
	    key->halves[1] ^ 0x7465646279746573,
	} };
	const uint8_t *p = bytes;
	size_t left = len;

	for (; left >= WORD_LEN; p += WORD_LEN, left -= WORD_LEN)
		add_word(&s, read_word(p, WORD_LEN));
	add_word(&s, (uint64_t)len << 56 | read_word(p, left));
	s.v[2] ^= 0xff;
	mix(&s, FINAL_ROUNDS);
	return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}
