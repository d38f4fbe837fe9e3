#include "base/hash.h"

#include "base/address.h"
#include "unit.h"

enum {
	VECTORS = 64,
	KEYS = 1000,

	CHAINS = 8192,
	NEIGHBOURS = 65536,

	/* A random function leaves about 3 of 8,192 chains empty and has 24 in the longest. */
	CHAINS_USED_MIN = 8150,
	CHAIN_MAX = 40
};

/* Of the authors of SipHash: the hash of the N bytes 0, 1, 2... under the key 0, 1, ... 15. */
static const uint64_t vectors[VECTORS] = {
	0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
	0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
	0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794, 0x4bc1b3f0968dd39c, 0xbb6dc91da77961bd,
	0xbed65cf21aa2ee98, 0xd0f2cbb02e3b67c7, 0x93536795e3a33e88, 0xa80c038ccd5ccec8,
	0xb8ad50c6f649af94, 0xbce192de8a85b8ea, 0x17d835b85bbb15f3, 0x2f2e6163076bcfad,
	0xde4daaaca71dc9a5, 0xa6a2506687956571, 0xad87a3535c49ef28, 0x32d892fad841c342,
	0x7127512f72f27cce, 0xa7f32346f95978e3, 0x12e0b01abb051238, 0x15e034d40fa197ae,
	0x314dffbe0815a3b4, 0x027990f029623981, 0xcadcd4e59ef40c4d, 0x9abfd8766a33735c,
	0x0e3ea96b5304a7d0, 0xad0c42d6fc585992, 0x187306c89bc215a9, 0xd4a60abcf3792b95,
	0xf935451de4f21df2, 0xa9538f0419755787, 0xdb9acddff56ca510, 0xd06c98cd5c0975eb,
	0xe612a3cb9ecba951, 0xc766e62cfcadaf96, 0xee64435a9752fe72, 0xa192d576b245165a,
	0x0a8787bf8ecb74b2, 0x81b3e73d20b49b6f, 0x7fa8220ba3b2ecea, 0x245731c13ca42499,
	0xb78dbfaf3a8d83bd, 0xea1ad565322a1a0b, 0x60e61c23a3795013, 0x6606d7e446282b93,
	0x6ca4ecb15c5f91e1, 0x9f626da15c9625f3, 0xe51b38608ef25f57, 0x958a324ceb064572,
};

static void
gives_the_official_values(void **state)
{
	struct hash_key key = { { 0x0706050403020100, 0x0f0e0d0c0b0a0908 } };
	uint8_t bytes[VECTORS];
	size_t len;

	(void)state;
	for (len = 0; len < VECTORS; len++) {
		uint8_t *copy;

		bytes[len] = (uint8_t)len;
		copy = tight_copy(bytes, len);
		assert_true(hash_bytes(&key, copy, len) == vectors[len]);
		free(copy);
	}
}

/* Changes that a multiplicative hash does not see, with any seed. */
static const struct flip_row {
	const char *name;
	uint64_t flips[2]; /* of two words that follow each other */
} flip_rows[] = {
	{ "the highest bit", { UINT64_C(1) << 63, 0 } },
	{ "the highest bit, and bits 63 and 31 behind it",
	    { UINT64_C(1) << 63, UINT64_C(1) << 63 | UINT64_C(1) << 31 } },
	{ "the highest bits of both words", { UINT64_C(1) << 63, UINT64_C(1) << 63 } },
	{ "the lowest bits of both words", { 1, 1 } },
};

static void
detects_flipped_bits(void **state)
{
	const struct flip_row *row = *state;
	uint64_t words[2] = { 0x20010db800000000, 0x1234567890abcdef };
	uint64_t flipped[2] = { words[0] ^ row->flips[0], words[1] ^ row->flips[1] };
	struct hash_key key;
	size_t i;

	for (i = 0; i < KEYS; i++) {
		assert_int_equal(hash_key_init(&key), 0);
		assert_true(hash_bytes(&key, words, sizeof words) !=
		    hash_bytes(&key, flipped, sizeof flipped));
	}
}

/* Neighbours differ in two bytes only. */
static const struct neighbour_row {
	const char *name;
	size_t at; /* the first of the two */
} neighbour_rows[] = {
	{ "hosts of one network", 14 },
	{ "networks of one site", 6 },
	{ "first bytes of the interface identifier", 8 },
};

static void
spreads_neighbouring_addresses(void **state)
{
	const struct neighbour_row *row = *state;
	static uint16_t chains[CHAINS];
	struct hash_key key;
	struct address a;
	size_t used = 0;
	size_t longest = 0;
	size_t i;

	assert_int_equal(hash_key_init(&key), 0);
	assert_int_equal(address_parse("2001:db8::1", 53, &a), 0);
	memset(chains, 0, sizeof chains);
	for (i = 0; i < NEIGHBOURS; i++) {
		a.in6.sin6_addr.s6_addr[row->at] = (uint8_t)(i >> 8);
		a.in6.sin6_addr.s6_addr[row->at + 1] = (uint8_t)i;
		chains[address_hash_host(&a, &key) % CHAINS]++;
	}
	for (i = 0; i < CHAINS; i++) {
		used += chains[i] > 0;
		longest = chains[i] > longest ? chains[i] : longest;
	}
	assert_in_range(used, CHAINS_USED_MIN, CHAINS);
	assert_in_range(longest, 1, CHAIN_MAX);
}

static void
keys_differ(void **state)
{
	struct hash_key a, b;

	(void)state;
	assert_int_equal(hash_key_init(&a), 0);
	assert_int_equal(hash_key_init(&b), 0);
	assert_true(hash_bytes(&a, "a", 1) != hash_bytes(&b, "a", 1));
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(gives_the_official_values),
		cmocka_unit_test(keys_differ),
	};

	return RUN_ROWS(flip_rows, detects_flipped_bits) +
	    RUN_ROWS(neighbour_rows, spreads_neighbouring_addresses) +
	    cmocka_run_group_tests_name("hash", singles, NULL, NULL);
}
