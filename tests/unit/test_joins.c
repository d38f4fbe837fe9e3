#include "query/joins.h"

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define ONE_AND_OPT COUNTS("\1", "\0", "\0", "\1")
#define A_QUERY ID QUERY ONE QUESTION
#define OPT_DO OPT_AT("\0", "\x04\xd0", "\0", "\0", "\200\0", "\0")

enum { COUNT = 10, HASH = 7 };

struct bench {
	struct query_table *table;
	struct joins *joins;
};

static struct bench
begin(void)
{
	struct bench b = { query_table_new(COUNT), joins_new(COUNT) };

	assert_non_null(b.table);
	assert_non_null(b.joins);
	return b;
}

static void
end(struct bench *b)
{
	joins_free(b->joins);
	query_table_free(b->table);
}

/* A query that is due at a time in milliseconds. */
static struct query *
query_due(struct bench *b, int ms, const uint8_t *message, size_t len)
{
	struct query *q = query_new(b->table, message, len);
	enum dns_rcode rcode;

	assert_non_null(q);
	assert_int_equal(dns_read_query(q->message, q->len, &q->dns, &rcode), DNS_RELAY);
	q->by = deadline_after((struct deadline){ 0 }, ms);
	return q;
}

/* Whether the second may wait for the response to the first, which is A_QUERY. */
static const struct join_row {
	const char *name;
	const uint8_t *message;
	size_t len;
	int due_ms; /* the first is due at 1000 */
	uint64_t hash;
	bool joins;
} join_rows[] = {
	{ "the same bytes", BYTES(A_QUERY), 1000, HASH, true },
	{ "due later", BYTES(A_QUERY), 1001, HASH, true },
	{ "due before", BYTES(A_QUERY), 999, HASH, false },
	{ "another hash", BYTES(A_QUERY), 1000, HASH + 1, false },
	{ "another ID", BYTES("\0\1" QUERY ONE QUESTION), 1000, HASH, true },
	{ "another case", BYTES(ID QUERY ONE "\7eXAMPLE\3COM\0" TYPE_A IN), 1000, HASH, true },
	{ "with an OPT record", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_EMPTY), 1000, HASH, true },
	{ "with AD", BYTES(ID "\1\40" ONE QUESTION), 1000, HASH, true },
	{ "with CD", BYTES(ID "\1\20" ONE QUESTION), 1000, HASH, false },
	{ "with DO", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_DO), 1000, HASH, false },
	{ "another name", BYTES(ID QUERY ONE "\7examplf\3com\0" TYPE_A IN), 1000, HASH, false },
	{ "a longer name", BYTES(ID QUERY ONE "\1a\7example\3com\0" TYPE_A IN), 1000, HASH, false },
	{ "another type", BYTES(ID QUERY ONE NAME "\0\34" IN), 1000, HASH, false },
	{ "another class", BYTES(ID QUERY ONE NAME TYPE_A "\0\3"), 1000, HASH, false },
	{ "a type that differs by the bit of a letter's case", BYTES(ID QUERY ONE NAME "\0\41" IN),
	    1000, HASH, false },
};

static void
test_equal_question_found(void **state)
{
	const struct join_row *row = *state;
	struct bench b = begin();
	struct query *first = query_due(&b, 1000, BYTES(A_QUERY));
	struct query *second = query_due(&b, row->due_ms, row->message, row->len);

	joins_add(b.joins, first, HASH);
	assert_ptr_equal(joins_find(b.joins, second, row->hash), row->joins ? first : NULL);
	joins_remove(first);
	assert_null(joins_find(b.joins, second, row->hash));
	end(&b);
}

static void
test_type_is_not_lowered(void **state)
{
	struct bench b = begin();
	struct query *https = query_due(&b, 1, BYTES(ID QUERY ONE NAME "\0\101" IN));
	struct query *other = query_due(&b, 1, BYTES(ID QUERY ONE NAME "\0\141" IN));

	(void)state;
	joins_add(b.joins, https, HASH);
	assert_null(joins_find(b.joins, other, HASH));
	joins_remove(https);
	end(&b);
}

static void
test_waiters_taken_in_order(void **state)
{
	struct bench b = begin();
	struct query *q[4];
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		q[i] = query_due(&b, 1, BYTES(A_QUERY));
	joins_add(b.joins, q[0], HASH);
	for (i = 1; i < 4; i++)
		joins_wait(q[0], q[i]);
	joins_leave(q[2]);
	joins_remove(q[0]);
	assert_ptr_equal(joins_take(q[0]), q[1]);
	assert_null(q[1]->waits_for);
	assert_ptr_equal(joins_take(q[0]), q[3]);
	assert_null(joins_take(q[0]));
	end(&b);
}

static void
test_waiter_due_first_takes_the_place(void **state)
{
	struct bench b = begin();
	struct query *q[4];
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		q[i] = query_due(&b, i == 1 ? 1 : 2, BYTES(A_QUERY));
	q[0]->by = q[1]->by;
	joins_add(b.joins, q[0], HASH);
	joins_wait(q[0], q[2]);
	joins_wait(q[0], q[1]);
	joins_wait(q[0], q[3]);
	assert_ptr_equal(joins_replace(b.joins, q[0]), q[1]);
	assert_false(q[0]->is_joinable);
	query_free(b.table, q[0]);
	assert_ptr_equal(joins_find(b.joins, q[2], HASH), q[1]);
	assert_ptr_equal(q[2]->waits_for, q[1]);
	assert_ptr_equal(q[3]->waits_for, q[1]);
	joins_leave(q[2]);
	joins_leave(q[3]);
	assert_null(joins_replace(b.joins, q[1]));
	assert_null(joins_find(b.joins, q[2], HASH));
	end(&b);
}

static void
test_question_of_another_group_not_found(void **state)
{
	struct bench b = begin();
	struct query *first = query_due(&b, 1000, BYTES(A_QUERY));
	struct query *q = query_due(&b, 1000, BYTES(A_QUERY));

	(void)state;
	joins_add(b.joins, first, HASH);
	assert_ptr_equal(joins_find(b.joins, q, HASH), first);
	q->group = 1;
	assert_null(joins_find(b.joins, q, HASH));
	joins_remove(first);
	end(&b);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(test_question_of_another_group_not_found),
		cmocka_unit_test(test_type_is_not_lowered),
		cmocka_unit_test(test_waiters_taken_in_order),
		cmocka_unit_test(test_waiter_due_first_takes_the_place),
	};

	return RUN_ROWS(join_rows, test_equal_question_found) +
	    cmocka_run_group_tests_name("joins", singles, NULL, NULL);
}
