#include "transport/outstanding.h"

#include "query/query.h"
#include "unit.h"

enum { CONNECTIONS_MAX = 8, IDS = 65536, ASKS_MAX = 4096 };

/* The outstanding queries in the simplest possible representation. */
struct model {
	bool used[CONNECTIONS_MAX][IDS];
	struct attempt *attempts[CONNECTIONS_MAX][IDS];
	size_t count;
};

static struct model model;
static struct attempt attempts[ASKS_MAX];

/* Numbers that look random, and are the same in every run. */
static uint32_t
next_number(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33);
}

/* An ID of the connection that is in use, the next one from somewhere on; -1 when there is none. */
static int
id_in_use(size_t connection, uint32_t from)
{
	uint32_t i;

	for (i = 0; i < IDS; i++)
		if (model.used[connection][(from + i) % IDS])
			return (int)((from + i) % IDS);
	return -1;
}

static void
add(struct outstanding *o, size_t connection, struct attempt *attempt)
{
	int id = outstanding_add(o, connection, attempt);

	assert_in_range(id, 0, IDS - 1);
	assert_false(model.used[connection][id]);
	model.used[connection][id] = true;
	model.attempts[connection][id] = attempt;
	model.count++;
}

static void
take(struct outstanding *o, size_t connection, uint16_t id)
{
	struct attempt *attempt = &attempts[0];
	struct deadline since;

	if (!model.used[connection][id]) {
		assert_false(outstanding_take(o, connection, id, &attempt, &since));
		return;
	}
	assert_true(outstanding_take(o, connection, id, &attempt, &since));
	assert_ptr_equal(attempt, model.attempts[connection][id]);
	model.used[connection][id] = false;
	model.count--;
}

static void
clear(struct outstanding *o, size_t connection)
{
	size_t id;

	outstanding_clear(o, connection);
	for (id = 0; id < IDS; id++) {
		model.count -= model.used[connection][id];
		model.used[connection][id] = false;
	}
}

static const struct model_row {
	const char *name;
	size_t room;
	size_t connections;
	uint32_t steps;
} model_rows[] = {
	{ "a few, so that all are neighbours", 40, 2, 100000 },
	{ "some, on many connections", 200, CONNECTIONS_MAX, 100000 },
	{ "many, so that connections share IDs", ASKS_MAX, 3, 50000 },
};

static void
agrees_with_the_model(void **state)
{
	const struct model_row *row = *state;
	struct outstanding *o = outstanding_new(row->room);
	uint64_t seed = 3;
	uint32_t step;

	assert_non_null(o);
	memset(&model, 0, sizeof model);
	for (step = 0; step < row->steps; step++) {
		size_t connection = next_number(&seed) % row->connections;
		uint32_t what = next_number(&seed) % 1000;
		int id = id_in_use(connection, next_number(&seed));

		if (what < 480 && model.count < row->room) {
			add(o, connection, &attempts[next_number(&seed) % ASKS_MAX]);
		} else if (what < 900 && id != -1) {
			take(o, connection, (uint16_t)id);
		} else if (what < 950) {
			take(o, connection, (uint16_t)next_number(&seed));
		} else if (what < 998 && id != -1) {
			outstanding_give_up(o, connection, (uint16_t)id);
			model.attempts[connection][id] = NULL;
		} else if (what == 999) {
			clear(o, connection);
		}
	}
	for (step = 0; step < row->connections * IDS; step++)
		take(o, step / IDS, (uint16_t)step);
	assert_int_equal(model.count, 0);
	outstanding_free(o);
}

static void
full_table_refuses_more(void **state)
{
	struct outstanding *o = outstanding_new(1000);
	struct attempt *attempt = NULL;
	struct deadline since;
	size_t count = 0;
	int last = 0;
	int id;

	(void)state;
	assert_non_null(o);
	while ((id = outstanding_add(o, 0, &attempts[0])) != -1) {
		assert_true(++count <= 2000);
		last = id;
	}
	assert_true(count >= 1000);
	assert_true(outstanding_take(o, 0, (uint16_t)last, &attempt, &since));
	assert_int_not_equal(outstanding_add(o, 1, &attempts[1]), -1);
	assert_int_equal(outstanding_add(o, 1, &attempts[2]), -1);
	outstanding_free(o);
}

static void
abandoned_id_stays_reserved(void **state)
{
	struct outstanding *o = outstanding_new(8);
	struct attempt *attempt = &attempts[0];
	struct deadline since;
	int id;

	(void)state;
	assert_non_null(o);
	attempts[0].since = (struct deadline){ 12345 };
	id = outstanding_add(o, 5, &attempts[0]);
	outstanding_give_up(o, 5, (uint16_t)id);
	assert_false(outstanding_take(o, 4, (uint16_t)id, &attempt, &since));
	assert_true(outstanding_take(o, 5, (uint16_t)id, &attempt, &since));
	assert_null(attempt);
	assert_true(since.at_us == 12345);
	assert_false(outstanding_take(o, 5, (uint16_t)id, &attempt, &since));
	outstanding_free(o);
	outstanding_free(NULL);
}

/* How far the counts are from an even spread. */
static double
chi_square(const unsigned *counts, size_t n, double expected)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
	return sum;
}

/* RFC 5452 9.2. By chance each of these fails once in a thousand million runs. */
static void
spreads_ids_over_the_full_range(void **state)
{
	enum { DRAWN = 10000 };
	struct outstanding *o = outstanding_new(64);
	unsigned high[256] = { 0 };
	unsigned low[256] = { 0 };
	unsigned steps[256] = { 0 };
	struct deadline since;
	struct attempt *attempt;
	int before = 0;
	int i;

	(void)state;
	assert_non_null(o);
	for (i = 0; i < DRAWN; i++) {
		int id = outstanding_add(o, 0, &attempts[0]);

		assert_in_range(id, 0, IDS - 1);
		assert_true(outstanding_take(o, 0, (uint16_t)id, &attempt, &since));
		high[id >> 8]++;
		low[id & 255]++;
		steps[(uint16_t)(id - before) >> 8]++;
		before = id;
	}
	/* With 255 degrees of freedom: 255, more or less 22.6. */
	assert_true(chi_square(high, 256, DRAWN / 256.0) < 420);
	assert_true(chi_square(low, 256, DRAWN / 256.0) < 420);
	assert_true(chi_square(steps, 256, DRAWN / 256.0) < 420);
	outstanding_free(o);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(full_table_refuses_more),
		cmocka_unit_test(abandoned_id_stays_reserved),
		cmocka_unit_test(spreads_ids_over_the_full_range),
	};

	return RUN_ROWS(model_rows, agrees_with_the_model) +
	    cmocka_run_group_tests_name("outstanding", singles, NULL, NULL);
}
