#include "query/pending.h"

#include <stdio.h>

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define A_QUERY ID QUERY ONE QUESTION

enum { COUNT = 1008 };

struct bench {
	struct query_table *table;
	struct pending *pending;
};

static struct bench
begin(size_t count)
{
	struct bench b = { query_table_new(count + 16), pending_new(count) };

	assert_non_null(b.table);
	assert_non_null(b.pending);
	return b;
}

static void
end(struct bench *b)
{
	pending_free(b->pending);
	query_table_free(b->table);
}

static struct query *
query_from(struct bench *b, const char *from, const uint8_t *message, size_t len)
{
	struct query *q = query_new(b->table, message, len);

	assert_non_null(q);
	assert_int_equal(address_parse(from, 1024, &q->peer.from), 0);
	return q;
}

/* One more query of that client, with an ID of its own. The query, or NULL when it is refused. */
static struct query *
add(struct bench *b, const char *from, uint16_t id)
{
	uint8_t message[] = A_QUERY;
	struct query *q;

	dns_set_id(message, id);
	q = query_from(b, from, message, sizeof message - 1);
	if (pending_add(b->pending, q) == PENDING_TAKEN)
		return q;
	query_free(b->table, q);
	return NULL;
}

static void
drop(struct bench *b, struct query *q)
{
	pending_remove(b->pending, q);
	query_free(b->table, q);
}

/* Whether the second is taken for the first again. */
static const struct repeated_row {
	const char *name;
	const char *from;
	const uint8_t *message;
	size_t len;
	enum pending_verdict verdict;
} repeated_rows[] = {
	{ "the same octets", "192.0.2.1:1024", BYTES(A_QUERY), PENDING_REPEATED },
	{ "with an OPT record", "192.0.2.1:1024",
	    BYTES(ID QUERY COUNTS("\1", "\0", "\0", "\1") QUESTION OPT_EMPTY), PENDING_REPEATED },
	{ "from another port", "192.0.2.1:1025", BYTES(A_QUERY), PENDING_TAKEN },
	{ "from another address", "192.0.2.2:1024", BYTES(A_QUERY), PENDING_TAKEN },
	{ "from a mapped address", "[::ffff:192.0.2.1]:1024", BYTES(A_QUERY), PENDING_TAKEN },
	{ "another ID", "192.0.2.1:1024", BYTES("\0\1" QUERY ONE QUESTION), PENDING_TAKEN },
	{ "another opcode", "192.0.2.1:1024", BYTES(ID "\x11\0" ONE QUESTION), PENDING_TAKEN },
	{ "another case", "192.0.2.1:1024", BYTES(ID QUERY ONE "\7Example\3com\0" TYPE_A IN),
	    PENDING_TAKEN },
	{ "another type", "192.0.2.1:1024", BYTES(ID QUERY ONE NAME "\0\34" IN), PENDING_TAKEN },
	{ "a question that cannot be read", "192.0.2.1:1024", BYTES(ID QUERY ONE "\300\14" TYPE_A IN),
	    PENDING_TAKEN },
	{ "nothing at all", "192.0.2.1:1024", BYTES(""), PENDING_TAKEN },
};

static void
knows_the_same_query_again(void **state)
{
	const struct repeated_row *row = *state;
	struct bench b = begin(8);
	struct query *first = query_from(&b, "192.0.2.1:1024", BYTES(A_QUERY));
	struct query *second = query_from(&b, row->from, row->message, row->len);

	assert_int_equal(pending_add(b.pending, first), PENDING_TAKEN);
	assert_int_equal(pending_add(b.pending, second), row->verdict);
	if (row->verdict == PENDING_TAKEN) {
		pending_remove(b.pending, second);
		assert_int_equal(pending_add(b.pending, second), PENDING_TAKEN);
	}
	assert_int_equal(pending_count(b.pending), row->verdict == PENDING_TAKEN ? 2 : 1);
	/* Once the first is answered it may be asked anew. */
	pending_remove(b.pending, first);
	if (row->verdict == PENDING_REPEATED)
		assert_int_equal(pending_add(b.pending, second), PENDING_TAKEN);
	end(&b);
}

static void
evicts_the_oldest_of_the_heaviest_address(void **state)
{
	struct bench b = begin(COUNT);
	struct query *light, *first, *second, *third;

	(void)state;
	assert_null(pending_eviction_candidate(b.pending));
	light = add(&b, "192.0.2.1", 1);
	assert_ptr_equal(pending_eviction_candidate(b.pending), light);
	first = add(&b, "192.0.2.2", 2);
	/* Of equals, the one that has been there longer. */
	assert_ptr_equal(pending_eviction_candidate(b.pending), light);
	second = add(&b, "192.0.2.2", 3);
	assert_ptr_equal(pending_eviction_candidate(b.pending), first);
	first->is_answered = true;
	assert_ptr_equal(pending_eviction_candidate(b.pending), second);
	second->is_answered = true;
	assert_null(pending_eviction_candidate(b.pending));
	drop(&b, first);
	drop(&b, second);
	assert_ptr_equal(pending_eviction_candidate(b.pending), light);
	third = add(&b, "192.0.2.3", 4);
	drop(&b, light);
	assert_ptr_equal(pending_eviction_candidate(b.pending), third);
	drop(&b, third);
	assert_null(pending_eviction_candidate(b.pending));
	end(&b);
}

/* Whoever asks whether we are well, and how many queries of its own are in hand. */
static void
questions_of_our_own_pass(void **state)
{
	struct bench b = begin(COUNT);
	struct query *own[] = {
		query_from(&b, "192.0.2.1", BYTES(ID QUERY ONE "\6health\11dot-proxy\0\0\20\0\3")),
		query_from(&b, "192.0.2.1", BYTES(ID QUERY ONE "\5Ready\11dot-proxy\0\0\20\0\3")),
	};
	struct query *other = query_from(&b, "192.0.2.1",
	    BYTES(ID QUERY ONE "\6health\11dot-proxy\0\0\20\0\1"));
	uint16_t taken = 0;

	(void)state;
	while (taken < COUNT && add(&b, "192.0.2.1", taken) != NULL)
		taken++;
	assert_int_equal(pending_add(b.pending, other), PENDING_EXCESS);
	assert_int_equal(pending_add(b.pending, own[0]), PENDING_TAKEN);
	assert_int_equal(pending_add(b.pending, own[1]), PENDING_TAKEN);
	assert_int_equal(pending_count(b.pending), taken + 2);
	drop(&b, own[0]);
	drop(&b, own[1]);
	assert_null(add(&b, "192.0.2.1", taken));
	end(&b);
}

static void
one_alone_gets_a_thousand(void **state)
{
	struct bench b = begin(COUNT);
	uint16_t taken = 0;

	(void)state;
	while (taken < COUNT && add(&b, "192.0.2.1", taken) != NULL)
		taken++;
	assert_in_range(taken, 1000, COUNT - 4);
	assert_int_equal(pending_room(b.pending), (size_t)COUNT - taken);
	/* The next one finds room all the same. */
	assert_non_null(add(&b, "192.0.2.2", 0));
	assert_non_null(add(&b, "2001:db8::1", 0));
	assert_null(add(&b, "192.0.2.1", taken));
	end(&b);
}

/* Two that always want more, and whose queries are answered in turn, come to share. */
static void
two_get_the_same(void **state)
{
	static struct query *taken[2][COUNT];
	static const char *const from[] = { "192.0.2.1", "192.0.2.2" };
	struct bench b = begin(COUNT);
	size_t count[2] = { 0, 0 };
	uint16_t id = 0;
	size_t round;
	size_t who;

	(void)state;
	/* The first is there alone, for a while. */
	while ((taken[0][count[0]] = add(&b, from[0], id++)) != NULL)
		count[0]++;
	for (round = 0; round < (size_t)8 * COUNT; round++) {
		/* The oldest of the one that has more is answered: all take the same time. */
		who = count[0] >= count[1] ? 0 : 1;
		drop(&b, taken[who][0]);
		memmove(taken[who], taken[who] + 1, --count[who] * sizeof taken[who][0]);
		for (who = 0; who < 2; who++)
			while ((taken[who][count[who]] = add(&b, from[who], id++)) != NULL)
				count[who]++;
	}
	assert_in_range(count[0], COUNT / 2 - 16, COUNT / 2 + 16);
	assert_in_range(count[1], COUNT / 2 - 16, COUNT / 2 + 16);
	end(&b);
}

static void
few_places_are_all_for_one(void **state)
{
	struct bench b = begin(1);
	struct query *q;
	uint16_t id;

	(void)state;
	for (id = 0; id < 3; id++) {
		assert_int_equal(pending_room(b.pending), 1);
		q = add(&b, "192.0.2.1", id);
		assert_non_null(q);
		assert_int_equal(pending_room(b.pending), 0);
		drop(&b, q);
	}
	end(&b);
}

static void
many_addresses_come_and_go(void **state)
{
	struct query *taken[COUNT];
	struct bench b = begin(COUNT);
	char from[32];
	unsigned round;
	unsigned i;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (i = 0; i < COUNT; i++) {
			(void)snprintf(from, sizeof from, "10.%u.%u.%u", round, i / 256, i % 256);
			taken[i] = add(&b, from, 7);
			assert_non_null(taken[i]);
		}
		assert_int_equal(pending_room(b.pending), 0);
		for (i = 0; i < COUNT; i++)
			drop(&b, taken[i]);
		assert_int_equal(pending_count(b.pending), 0);
	}
	end(&b);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(one_alone_gets_a_thousand),
		cmocka_unit_test(two_get_the_same),
		cmocka_unit_test(questions_of_our_own_pass),
		cmocka_unit_test(few_places_are_all_for_one),
		cmocka_unit_test(many_addresses_come_and_go),
		cmocka_unit_test(evicts_the_oldest_of_the_heaviest_address),
	};
	struct CMUnitTest tests[LENGTH(repeated_rows) + LENGTH(singles)];
	size_t n = 0, i;

	for (i = 0; i < LENGTH(repeated_rows); i++)
		tests[n++] = (struct CMUnitTest){ .name = repeated_rows[i].name,
			.test_func = knows_the_same_query_again,
			.initial_state = (void *)&repeated_rows[i] };
	for (i = 0; i < LENGTH(singles); i++)
		tests[n++] = singles[i];
	return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
