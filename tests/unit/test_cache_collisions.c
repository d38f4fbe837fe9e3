/* The cache, built with a hash of four bits, so that most lookups meet entries of other keys. */
#define DOTPROXY_CACHE_HASH_BITS 4
/* NOLINTBEGIN(bugprone-suspicious-include): not the objects of the program */
#include "../../src/shared/cache.c"
#include "../../src/shared/cache_entries.c"
#include "../../src/shared/cache_segments.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include "cache_model.h"
#include "unit.h"

static void
has_sixteen_hashes(void **state)
{
	struct cache *cache = cache_new(1 << 20);
	struct cache_user *user = cache_user_new(cache, 0);
	uint64_t hashes[17] = { 0 };
	size_t count = 0;
	uint8_t byte;
	size_t i;

	(void)state;
	for (byte = 0; byte < 255; byte++) {
		struct cache_key key;

		cache_key_init(user, &key, &byte, 1);
		for (i = 0; i < count && hashes[i] != key.hash; i++)
			continue;
		if (i == count) {
			assert_in_range(count, 0, 15);
			hashes[count++] = key.hash;
		}
	}
	assert_int_equal(count, 16);
	cache_user_free(user);
	cache_free(cache);
}

/* There are 16 buckets in use, which hold 128 entries. */
static void
compares_whole_keys(void **state)
{
	(void)state;
	assert_in_range(model_run(1 << 20, 100, 200000), 50, 100);
	assert_in_range(model_run(1 << 20, 1000, 200000), 5, 100);
	assert_in_range(model_run(cache_size_min(MODEL_USERS), 200, 200000), 5, 100);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_sixteen_hashes),
		cmocka_unit_test(compares_whole_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
