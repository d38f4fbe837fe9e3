#include "query/hosts.h"

#include <stdio.h>

#include "unit.h"

enum { COUNT = 1000 };

static struct address
host(const char *text)
{
	struct address a;

	assert_int_equal(address_parse(text, 53, &a), 0);
	return a;
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
knows_a_host_by_its_address(void **state)
{
	const struct same_row *row = *state;
	struct hosts *h = hosts_new(2);
	struct address first = host(row->first);
	struct address second = host(row->second);
	struct host *a;
	struct host *b;

	assert_non_null(h);
	assert_null(hosts_find(h, &first));
	a = hosts_use(h, &first);
	assert_ptr_equal(hosts_find(h, &first), a);
	b = hosts_use(h, &second);
	assert_int_equal(a == b, row->same);
	assert_int_equal(a->uses, row->same ? 2 : 1);
	hosts_leave(h, a);
	assert_ptr_equal(hosts_find(h, &first), row->same ? a : NULL);
	assert_ptr_equal(hosts_find(h, &second), b);
	hosts_leave(h, b);
	assert_null(hosts_find(h, &second));
	hosts_free(h);
}

/* As many as it is for, time and again: each begins with nothing. */
static void
many_come_and_go(void **state)
{
	static struct host *hosts[COUNT];
	struct hosts *h = hosts_new(COUNT);
	struct address a;
	char text[32];
	unsigned round;
	unsigned i;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (i = 0; i < COUNT; i++) {
			(void)snprintf(text, sizeof text, "10.%u.%u.%u", round, i / 256, i % 256);
			a = host(text);
			hosts[i] = hosts_use(h, &a);
			assert_int_equal(hosts[i]->uses, 1);
			assert_int_equal(hosts[i]->held, 0);
			assert_true(TAILQ_EMPTY(&hosts[i]->crowding));
			hosts[i]->held = 7;
		}
		for (i = 0; i < COUNT; i++)
			hosts_leave(h, hosts[i]);
	}
	hosts_free(h);
}

int
main(void)
{
	struct CMUnitTest tests[LENGTH(same_rows) + 1];
	size_t n = 0;

	for (; n < LENGTH(same_rows); n++)
		tests[n] = (struct CMUnitTest){ .name = same_rows[n].name,
			.test_func = knows_a_host_by_its_address,
			.initial_state = (void *)&same_rows[n] };
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(many_come_and_go);
	return cmocka_run_group_tests_name("hosts", tests, NULL, NULL);
}
