#include "base/chains.h"

#include "unit.h"

enum { COUNT = 100 };

struct entry {
	int number;
	struct chains_link link;
};

/* How many entries with that hash are found. */
static size_t
count(const struct chains *c, uint64_t hash)
{
	const struct chains_link *link;
	size_t n = 0;

	for (link = chains_first(c, hash); link != NULL; link = chains_next(link)) {
		assert_int_equal(link->hash, hash);
		n++;
	}
	return n;
}

static void
test_only_entries_of_equal_hash_found(void **state)
{
	struct chains c = { 0 };
	struct entry a = { .number = 1 }, b = { .number = 2 }, other = { .number = 3 };

	(void)state;
	assert_int_equal(chains_init(&c, 1), 0);
	assert_null(chains_first(&c, 7));
	/* One chain holds all. */
	chains_add(&c, &a.link, 7, &a);
	chains_add(&c, &other.link, 8, &other);
	chains_add(&c, &b.link, 7, &b);
	assert_int_equal(count(&c, 7), 2);
	assert_int_equal(count(&c, 8), 1);
	assert_int_equal(count(&c, 9), 0);
	assert_ptr_equal(chains_first(&c, 8)->entry, &other);
	chains_remove(&a.link);
	assert_int_equal(count(&c, 7), 1);
	assert_ptr_equal(chains_first(&c, 7)->entry, &b);
	chains_remove(&b.link);
	assert_null(chains_first(&c, 7));
	assert_int_equal(count(&c, 8), 1);
	chains_free(&c);
}

static void
test_more_entries_than_chains(void **state)
{
	static struct entry entries[COUNT];
	struct chains c = { 0 };
	size_t i, round;

	(void)state;
	assert_int_equal(chains_init(&c, COUNT / 10), 0);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < COUNT; i++)
			chains_add(&c, &entries[i].link, UINT64_MAX - i, &entries[i]);
		for (i = 0; i < COUNT; i++)
			assert_ptr_equal(chains_first(&c, UINT64_MAX - i)->entry, &entries[i]);
		for (i = 0; i < COUNT; i++)
			chains_remove(&entries[i].link);
		assert_null(chains_first(&c, UINT64_MAX));
	}
	chains_free(&c);
}

static void
test_each_table_has_its_own_key(void **state)
{
	struct chains a = { 0 }, b = { 0 };

	(void)state;
	assert_int_equal(chains_init(&a, 1), 0);
	assert_int_equal(chains_init(&b, 1), 0);
	assert_memory_not_equal(&a.key, &b.key, sizeof a.key);
	chains_free(&a);
	chains_free(&b);
	/* Twice, and without a table. */
	chains_free(&b);
	chains_free(&(struct chains){ 0 });
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_entries_of_equal_hash_found),
		cmocka_unit_test(test_more_entries_than_chains),
		cmocka_unit_test(test_each_table_has_its_own_key),
	};

	return cmocka_run_group_tests_name("chains", tests, NULL, NULL);
}
