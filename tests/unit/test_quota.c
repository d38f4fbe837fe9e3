#include "query/quota.h"

#include <stdio.h>

#include "unit.h"

enum { COUNT = 1008 };

static struct address
address_of(const char *text)
{
	struct address a;

	assert_int_equal(address_parse(text, 53, &a), 0);
	return a;
}

static struct client_addr *
use(struct quota *q, const char *text)
{
	struct address a = address_of(text);

	return quota_use(q, &a);
}

static const struct same_row {
	const char *name;
	const char *first;
	const char *second;
	bool same;
} same_rows[] = {
	{ "the same", "192.0.2.1:1024", "192.0.2.1:1024", true },
	{ "another port", "192.0.2.1:1024", "192.0.2.1:1025", true },
	{ "a mapped address", "192.0.2.1", "[::ffff:192.0.2.1]:1024", true },
	{ "another address", "192.0.2.1", "192.0.2.2", false },
	{ "IPv6, another port", "[2001:db8::1]:1", "[2001:db8::1]:2", true },
	{ "IPv6, another address", "2001:db8::1", "2001:db8::2", false },
	{ "IPv6, another network", "2001:db8:1::1", "2001:db8:2::1", false },
};

static void
test_address_found_whatever_its_port(void **state)
{
	const struct same_row *row = *state;
	struct quota *q = quota_new(2, 1);
	struct address first = address_of(row->first);
	struct address second = address_of(row->second);
	struct client_addr *a, *b;

	assert_non_null(q);
	assert_null(quota_find(q, &first));
	a = quota_use(q, &first);
	assert_ptr_equal(quota_find(q, &first), a);
	b = quota_use(q, &second);
	assert_int_equal(a == b, row->same);
	assert_int_equal(a->uses, row->same ? 2 : 1);
	quota_leave(q, a);
	assert_ptr_equal(quota_find(q, &first), row->same ? a : NULL);
	assert_ptr_equal(quota_find(q, &second), b);
	quota_leave(q, b);
	assert_null(quota_find(q, &second));
	quota_free(q);
}

/* As many as it is for, time and again: each begins with nothing, and has an index of its own. */
static void
test_addresses_come_and_go(void **state)
{
	static struct client_addr *addrs[COUNT];
	static size_t seen[COUNT];
	struct quota *q = quota_new(COUNT, 1);
	char text[32];
	size_t round, i;

	(void)state;
	assert_non_null(q);
	assert_int_equal(quota_capacity(q), COUNT);
	for (round = 1; round <= 3; round++) {
		for (i = 0; i < COUNT; i++) {
			(void)snprintf(text, sizeof text, "10.%zu.%zu.%zu", round, i / 256,
			    i % 256);
			addrs[i] = use(q, text);
			assert_int_equal(addrs[i]->uses, 1);
			assert_int_equal(addrs[i]->queries_in_flight, 0);
			assert_int_equal(addrs[i]->waiting, 0);
			assert_in_range(addrs[i]->index, 0, COUNT - 1);
			assert_int_equal(seen[addrs[i]->index]++, round - 1);
			addrs[i]->queries_in_flight = 7;
			addrs[i]->waiting = 7;
		}
		for (i = 0; i < COUNT; i++)
			quota_leave(q, addrs[i]);
	}
	quota_free(q);
	quota_free(NULL);
}

static const struct share_row {
	size_t in_flight;
	size_t free_slots;
	bool allowed;
} share_rows[] = {
	{ 0, 0, true }, /* a slot may be free by now: depends on the table */
	{ 1, 0, false },
	{ 128, 1, true },
	{ 129, 1, false },
	{ 1016, 8, true },
	{ 1017, 7, false },
	{ 1023, 1, false },
	{ 4000, 1024, true },
};

static void
test_share_shrinks_with_the_free_slots(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(share_rows); i++) {
		struct client_addr addr = { .queries_in_flight = share_rows[i].in_flight };

		assert_int_equal(quota_allows(&addr, share_rows[i].free_slots),
		    share_rows[i].allowed);
	}
}

/* How many queries the address gets more, while COUNT are possible, half of them by UDP. */
static size_t
fill(struct quota *q, struct client_addr *addr, size_t *used)
{
	size_t n = 0;

	for (; *used < COUNT && quota_allows(addr, COUNT - *used); n++, ++*used) {
		if (n % 2 == 0)
			quota_add_udp(q, addr);
		else
			addr->queries_in_flight++;
	}
	return n;
}

static void
test_one_share_over_both_transports(void **state)
{
	struct quota *q = quota_new(3, COUNT);
	struct client_addr *first, *second;
	size_t used = 0;
	size_t n;

	(void)state;
	assert_non_null(q);
	first = use(q, "192.0.2.1");
	second = use(q, "192.0.2.2");
	n = fill(q, first, &used);
	assert_in_range(n, 1000, COUNT - 4);
	assert_int_equal(first->queries_in_flight, n);
	assert_int_equal(first->udp_queries, (n + 1) / 2);
	/* The next one finds free slots all the same. */
	assert_int_not_equal(fill(q, second, &used), 0);
	assert_false(quota_allows(first, COUNT - used));
	quota_free(q);
}

/* Two that always want more, and whose queries are answered in turn, come to share. */
static void
test_two_busy_addresses_share_equally(void **state)
{
	struct quota *q = quota_new(2, COUNT);
	struct client_addr *addrs[2];
	size_t used = 0;
	size_t round, i;

	(void)state;
	assert_non_null(q);
	addrs[0] = use(q, "192.0.2.1");
	addrs[1] = use(q, "192.0.2.2");
	(void)fill(q, addrs[0], &used);
	for (round = 0; round < (size_t)8 * COUNT; round++) {
		/* A query of the busier address is answered: all take the same time. */
		i = addrs[0]->udp_queries >= addrs[1]->udp_queries ? 0 : 1;
		quota_remove_udp(q, addrs[i]);
		used--;
		for (i = 0; i < 2; i++)
			while (quota_allows(addrs[i], COUNT - used)) {
				quota_add_udp(q, addrs[i]);
				used++;
			}
	}
	for (i = 0; i < 2; i++)
		assert_in_range(addrs[i]->udp_queries, COUNT / 4 - 16, COUNT / 2 + 16);
	quota_free(q);
}

static void
test_heaviest_address_has_most_queries_over_udp(void **state)
{
	struct quota *q = quota_new(3, COUNT);
	struct client_addr *a, *b, *c;

	(void)state;
	assert_non_null(q);
	assert_null(quota_heaviest_udp(q));
	a = use(q, "192.0.2.1");
	b = use(q, "192.0.2.2");
	c = use(q, "192.0.2.3");
	c->queries_in_flight = 5; /* by TCP */
	assert_null(quota_heaviest_udp(q));
	quota_add_udp(q, a);
	assert_ptr_equal(quota_heaviest_udp(q), a);
	/* Among equals, the address that has had that many for longer. */
	quota_add_udp(q, b);
	assert_ptr_equal(quota_heaviest_udp(q), a);
	quota_add_udp(q, b);
	assert_ptr_equal(quota_heaviest_udp(q), b);
	quota_remove_udp(q, b);
	assert_ptr_equal(quota_heaviest_udp(q), a);
	quota_remove_udp(q, a);
	assert_ptr_equal(quota_heaviest_udp(q), b);
	quota_remove_udp(q, b);
	assert_null(quota_heaviest_udp(q));
	quota_free(q);
}

static void
test_release_reported_once_while_clients_wait(void **state)
{
	struct quota *q = quota_new(2, COUNT);
	struct client_addr *a, *b;
	size_t i;

	(void)state;
	assert_non_null(q);
	a = use(q, "192.0.2.1");
	b = use(q, "192.0.2.2");
	for (i = 0; i < 4; i++) {
		quota_add_udp(q, a);
		quota_add_udp(q, b);
	}
	a->waiting = 1;
	assert_false(quota_has_released(q));
	quota_remove_udp(q, b);
	assert_false(quota_has_released(q));
	quota_remove_udp(q, a);
	quota_remove_udp(q, a);
	assert_true(quota_has_released(q));
	assert_ptr_equal(quota_next_released(q), a);
	assert_null(quota_next_released(q));
	quota_remove_udp(q, a);
	assert_true(quota_has_released(q));
	/* An address without queries is not reported. */
	quota_remove_udp(q, a);
	quota_leave(q, a);
	assert_false(quota_has_released(q));
	quota_free(q);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(test_addresses_come_and_go),
		cmocka_unit_test(test_share_shrinks_with_the_free_slots),
		cmocka_unit_test(test_one_share_over_both_transports),
		cmocka_unit_test(test_two_busy_addresses_share_equally),
		cmocka_unit_test(test_heaviest_address_has_most_queries_over_udp),
		cmocka_unit_test(test_release_reported_once_while_clients_wait),
	};

	return RUN_ROWS(same_rows, test_address_found_whatever_its_port) +
	    cmocka_run_group_tests_name("quota", singles, NULL, NULL);
}
