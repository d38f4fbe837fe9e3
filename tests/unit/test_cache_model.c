#include "shared/cache.h"

#include "cache_model.h"
#include "unit.h"

static const struct model_run_row {
	const char *name;
	size_t size; /* 0: the least possible */
	size_t keys;
	unsigned hits_min; /* in percent */
} model_rows[] = {
	{ "nothing is evicted", 8 << 20, MODEL_KEYS, 70 },
	{ "some entries are evicted", 0, MODEL_KEYS, 20 },
	{ "a few keys", 0, 20, 80 },
};

static void
returns_what_was_stored_last(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(model_rows); i++) {
		const struct model_run_row *row = &model_rows[i];
		unsigned hits = model_run(row->size != 0 ? row->size : cache_size_min(MODEL_USERS),
		    row->keys, 200000);

		if (hits < row->hits_min)
			fail_msg("%s: %u %% hits", row->name, hits);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(returns_what_was_stored_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
