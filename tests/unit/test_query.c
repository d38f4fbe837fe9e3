#include "query/query.h"

#include "base/pages.h"
#include "format/frame.h"
#include "unit.h"

enum { SLOTS = 32 };

static uint8_t bytes[DNS_MESSAGE_MAX];

static void
gives_each_slot_once(void **state)
{
	struct query_table *t = query_table_new(SLOTS);
	struct query *taken[SLOTS];
	size_t i;
	size_t k;

	(void)state;
	assert_non_null(t);
	for (i = 0; i < SLOTS; i++) {
		assert_int_equal(query_table_free_slots(t), SLOTS - i);
		taken[i] = query_new(t, bytes, 12);
		assert_non_null(taken[i]);
		for (k = 0; k < i; k++)
			assert_ptr_not_equal(taken[i], taken[k]);
	}
	assert_int_equal(query_table_free_slots(t), 0);
	assert_null(query_new(t, bytes, 12));
	query_free(t, taken[7]);
	assert_int_equal(query_table_free_slots(t), 1);
	assert_ptr_equal(query_new(t, bytes, 12), taken[7]);
	query_table_free(t);
	query_table_free(NULL);
}

static void
used_slot_starts_empty(void **state)
{
	struct query_table *t = query_table_new(1);
	struct query *q;

	(void)state;
	assert_non_null(t);
	q = query_new(t, bytes, 12);
	memset(q->tried, 0xff, sizeof q->tried);
	q->response_len = 99;
	q->resends = 2;
	q->first_failed_upstream = 3;
	q->outcome = QUERY_ANSWERED;
	q->hedge_at = (struct deadline){ 5 };
	query_free(t, q);
	q = query_new(t, bytes, 12);
	assert_int_equal(q->tried[0] | q->tried[1] | q->tried[2] | q->tried[3], 0);
	assert_int_equal(q->response_len, 0);
	assert_int_equal(q->resends, 0);
	assert_int_equal(q->first_failed_upstream, -1);
	assert_int_equal(q->outcome, QUERY_OPEN);
	assert_int_equal(deadline_left_ms(q->hedge_at, deadline_now()), -1);
	query_table_free(t);
}

static const struct length_row {
	const char *name;
	size_t len;
} length_rows[] = {
	{ "no byte", 0 },
	{ "one byte", 1 },
	{ "a header", 12 },
	{ "one short of a cache line", 63 },
	{ "a page", 4096 },
	{ "all but one", DNS_MESSAGE_MAX - 1 },
	{ "the longest", DNS_MESSAGE_MAX },
};

/* Three adjacent slots, each filled to its last byte. */
static void
message_and_response_fit_their_slots(void **state)
{
	const struct length_row *row = *state;
	struct query_table *t = query_table_new(3);
	struct query *q[3];
	uint8_t *message = tight_copy(bytes, row->len);
	int i;

	assert_non_null(t);
	for (i = 0; i < 3; i++) {
		memset(message, 'a' + i, row->len);
		q[i] = query_new(t, message, row->len);
		assert_int_equal(q[i]->len, row->len);
		/* The length precedes the response. */
		memset(q[i]->response - 2, 'A' + i, DNS_MESSAGE_MAX + 2);
	}
	for (i = 0; i < 3; i++) {
		memset(message, 'a' + i, row->len);
		memset(bytes, 'A' + i, sizeof bytes);
		assert_memory_equal(q[i]->message, message, row->len);
		assert_memory_equal(q[i]->response, bytes, DNS_MESSAGE_MAX);
		assert_int_equal(q[i]->response[-2], 'A' + i);
		assert_int_equal(q[i]->response[-1], 'A' + i);
	}
	free(message);
	query_table_free(t);
}

static const struct relax_row {
	const char *name;
	size_t most;	/* in flight at once */
	size_t left;	/* at the call of the release function */
	bool gives_back;
} relax_rows[] = {
	{ "after a burst", SLOTS, 0, true },
	{ "after a quiet time", 1, 0, false },
	{ "while one is still in flight", SLOTS, 1, false },
};

static void
releases_memory(void **state)
{
	const struct relax_row *row = *state;
	struct query_table *t = query_table_new(SLOTS);
	struct query *taken[SLOTS] = { NULL };
	const uint8_t *message;
	size_t i;

	assert_non_null(t);
	for (i = 0; i < row->most; i++)
		taken[i] = query_new(t, (const uint8_t *)"content", 7);
	if (taken[0] == NULL) {
		fail_msg("there is no place");
		return;
	}
	message = taken[0]->message;
	for (i = row->left; i < row->most; i++)
		query_free(t, taken[i]);
	query_table_trim(t);
	/* Memory that was given back reads as zero. */
	assert_int_equal(message[0], row->gives_back ? 0 : 'c');
	for (i = row->left; i < row->most; i++)
		assert_memory_equal(query_new(t, (const uint8_t *)"again", 5)->message, "again", 5);
	assert_int_equal(query_table_free_slots(t), SLOTS - row->most);
	query_table_free(t);
}

/* Memory over a page is counted, and given back with the message, then with the response. */
static void
counts_large_messages(void **state)
{
	static uint8_t message[DNS_MESSAGE_MAX];
	struct query_table *t = query_table_new(SLOTS);
	struct query *small, *q;
	size_t two_pages = (size_t)2 * PAGES_LEN;
	size_t five_pages = (size_t)5 * PAGES_LEN;

	(void)state;
	assert_non_null(t);
	small = query_new(t, message, PAGES_LEN);
	assert_int_equal(query_table_large(t), 0);
	memset(message, 'm', sizeof message);
	q = query_new(t, message, five_pages - 1);
	assert_int_equal(query_table_large(t), five_pages);
	memset(q->response, 'r', DNS_MESSAGE_MAX);
	q->response_len = two_pages;
	query_answered(t, q);
	assert_int_equal(query_table_large(t), two_pages);
	assert_int_equal(q->message[two_pages], 0);
	assert_int_equal(q->response[0], 'r');
	assert_int_equal(q->response[two_pages - 1], 'r');
	query_free(t, q);
	assert_int_equal(query_table_large(t), 0);
	assert_int_equal(q->response[PAGES_LEN], 0);
	query_free(t, small);
	assert_int_equal(query_table_large(t), 0);
	query_table_free(t);
}

/* A message and a response of less than a page each, but of more together. */
static void
counts_small_messages_above_one_page(void **state)
{
	static uint8_t message[PAGES_LEN];
	struct query_table *t = query_table_new(SLOTS);
	struct query *q;

	(void)state;
	assert_non_null(t);
	q = query_new(t, message, PAGES_LEN - 100);
	memset(q->response, 'r', PAGES_LEN - 100);
	q->response_len = PAGES_LEN - 100;
	query_answered(t, q);
	assert_int_equal(query_table_large(t), 2 * PAGES_LEN);
	query_free(t, q);
	assert_int_equal(query_table_large(t), 0);
	assert_int_equal(q->response[PAGES_LEN - 101], 0);
	query_table_free(t);
}

/* The client is gone when the response arrives. */
static void
response_is_released_if_the_client_is_gone(void **state)
{
	struct query_table *t = query_table_new(SLOTS);
	struct query *q;

	(void)state;
	assert_non_null(t);
	q = query_new(t, bytes, 12);
	memset(q->response, 'r', DNS_MESSAGE_MAX);
	q->response_len = DNS_MESSAGE_MAX;
	query_free(t, q);
	assert_int_equal(q->response[PAGES_LEN], 0);
	query_table_free(t);
}

static void
test_response_framed_in_place(void **state)
{
	static const size_t lens[] = { 12, DNS_UDP_MIN, DNS_MESSAGE_MAX };
	struct query_table *t = query_table_new(SLOTS);
	const uint8_t *frame;
	struct query *q;
	size_t i, len;

	(void)state;
	assert_non_null(t);
	for (i = 0; i < LENGTH(lens); i++) {
		q = query_new(t, bytes, lens[i]);
		assert_non_null(q);
		memset(q->response, 0x81, lens[i]);
		q->response_len = lens[i];
		frame = query_frame(q);
		assert_true(frame_is_whole(frame, FRAME_PREFIX_LEN + lens[i], &len));
		assert_int_equal(len, lens[i]);
		assert_ptr_equal(frame + FRAME_PREFIX_LEN, q->response);
		assert_memory_equal(q->message, bytes, lens[i]);
	}
	query_table_free(t);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(gives_each_slot_once),
		cmocka_unit_test(used_slot_starts_empty),
		cmocka_unit_test(counts_large_messages),
		cmocka_unit_test(counts_small_messages_above_one_page),
		cmocka_unit_test(response_is_released_if_the_client_is_gone),
		cmocka_unit_test(test_response_framed_in_place),
	};

	return RUN_ROWS(length_rows, message_and_response_fit_their_slots) +
	    RUN_ROWS(relax_rows, releases_memory) +
	    cmocka_run_group_tests_name("query", singles, NULL, NULL);
}
