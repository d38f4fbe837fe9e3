#include "query/dedup.h"

#include "message.h"
#include "query/quota.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define A_QUERY ID QUERY ONE QUESTION

enum { COUNT = 1000 };

struct bench {
	struct query_table *table;
	struct quota *quota;
	struct dedup *dedup;
};

static struct bench
begin(size_t count)
{
	struct bench b = { query_table_new(count), quota_new(count, count), dedup_new(count) };

	assert_non_null(b.table);
	assert_non_null(b.quota);
	assert_non_null(b.dedup);
	return b;
}

static void
end(struct bench *b)
{
	dedup_free(b->dedup);
	quota_free(b->quota);
	query_table_free(b->table);
}

static struct query *
query_from(struct bench *b, const char *from, const uint8_t *message, size_t len)
{
	struct query *q = query_new(b->table, message, len);

	assert_non_null(q);
	assert_int_equal(address_parse(from, 1024, &q->peer.from), 0);
	q->addr = quota_use(b->quota, &q->peer.from);
	return q;
}

/* Whether the second is a duplicate of the first. */
static const struct duplicate_row {
	const char *name;
	const char *from;
	const uint8_t *message;
	size_t len;
	bool added;
} duplicate_rows[] = {
	{ "the same bytes", "192.0.2.1:1024", BYTES(A_QUERY), false },
	{ "with an OPT record", "192.0.2.1:1024",
	    BYTES(ID QUERY COUNTS("\1", "\0", "\0", "\1") QUESTION OPT_EMPTY), false },
	{ "from another port", "192.0.2.1:1025", BYTES(A_QUERY), true },
	{ "from another address", "192.0.2.2:1024", BYTES(A_QUERY), true },
	{ "from a mapped address", "[::ffff:192.0.2.1]:1024", BYTES(A_QUERY), true },
	{ "another ID", "192.0.2.1:1024", BYTES("\0\1" QUERY ONE QUESTION), true },
	{ "another opcode", "192.0.2.1:1024", BYTES(ID "\x11\0" ONE QUESTION), true },
	{ "another case", "192.0.2.1:1024", BYTES(ID QUERY ONE "\7Example\3com\0" TYPE_A IN),
	    true },
	{ "another type", "192.0.2.1:1024", BYTES(ID QUERY ONE NAME "\0\34" IN), true },
	{ "a question that cannot be read", "192.0.2.1:1024",
	    BYTES(ID QUERY ONE "\300\14" TYPE_A IN), true },
	{ "nothing at all", "192.0.2.1:1024", BYTES(""), true },
};


static void
test_duplicate_not_added(void **state)
{
	const struct duplicate_row *row = *state;
	struct bench b = begin(2);
	struct query *first = query_from(&b, "192.0.2.1:1024", BYTES(A_QUERY));
	struct query *second = query_from(&b, row->from, row->message, row->len);

	assert_true(dedup_add(b.dedup, first));
	assert_int_equal(dedup_add(b.dedup, second), row->added);
	if (row->added) {
		dedup_remove(second);
		assert_true(dedup_add(b.dedup, second));
		dedup_remove(second);
	}
	/* Once the first query is answered, the same one may be sent again. */
	dedup_remove(first);
	assert_true(dedup_add(b.dedup, second));
	assert_int_equal(dedup_add(b.dedup, first), row->added);
	end(&b);
}

/* More than there are chains for. */
static void
test_duplicate_found_among_many(void **state)
{
	static struct query *queries[COUNT];
	uint8_t message[] = A_QUERY;
	struct bench b = begin(COUNT + 1);
	struct query *again;
	size_t id;

	(void)state;
	for (id = 0; id < COUNT; id++) {
		dns_set_id(message, (uint16_t)id);
		queries[id] = query_from(&b, "192.0.2.1", message, sizeof message - 1);
		assert_true(dedup_add(b.dedup, queries[id]));
	}
	for (id = 0; id < COUNT; id++) {
		dns_set_id(message, (uint16_t)id);
		again = query_from(&b, "192.0.2.1", message, sizeof message - 1);
		assert_false(dedup_add(b.dedup, again));
		dedup_remove(queries[id]);
		assert_true(dedup_add(b.dedup, again));
		dedup_remove(again);
		query_free(b.table, again);
	}
	end(&b);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(test_duplicate_found_among_many),
	};

	return RUN_ROWS(duplicate_rows, test_duplicate_not_added) +
	    cmocka_run_group_tests_name("dedup", singles, NULL, NULL);
}
