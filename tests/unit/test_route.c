#include "query/route.h"

#include <stdio.h>

#include "format/domain.h"
#include "unit.h"

/* Domains of a configuration, each with the number of its route. */
static const struct entry {
	const char *text;
	size_t route;
} entries[] = {
	{ "corp.example", 1 },
	{ "dev.corp.example", 2 },
	{ "*.dev.corp.example", 3 },
	{ "*.below.example", 4 },
	{ "www.corp.example", 5 },
	{ "cluster.local", 6 },
	{ "x", 7 },
	{ "a.b.c.d.e.f.g.h", 8 },
};

static const struct row {
	const char *name;
	size_t route;
} rows[] = {
	{ "corp.example", 1 },
	{ "CORP.Example", 1 },
	{ "a.corp.example", 1 },
	{ "a.b.c.corp.example", 1 },
	{ "acorp.example", ROUTE_NONE },
	{ "example", ROUTE_NONE },
	{ "corp.example.com", ROUTE_NONE },
	{ "dev.corp.example", 2 },
	{ "DEV.corp.example", 2 },
	{ "a.dev.corp.example", 3 },
	{ "a.b.dev.corp.example", 3 },
	{ "xdev.corp.example", 1 },
	{ "below.example", ROUTE_NONE },
	{ "a.below.example", 4 },
	{ "A.b.BELOW.example", 4 },
	{ "www.corp.example", 5 },
	{ "a.www.corp.example", 5 },
	{ "kubernetes.default.svc.cluster.local", 6 },
	{ "example.com.default.svc.cluster.local", 6 },
	{ "local", ROUTE_NONE },
	{ "x", 7 },
	{ "y.x", 7 },
	{ "xx", ROUTE_NONE },
	{ ".", ROUTE_NONE },
	{ "b.c.d.e.f.g.h", ROUTE_NONE },
	{ "a.b.c.d.e.f.g.h", 8 },
	{ "z.a.b.c.d.e.f.g.h", 8 },
};

static struct domain domains[LENGTH(entries)];
static struct route_table *table;

static int
fill(void **state)
{
	size_t i;

	(void)state;
	table = route_table_new(LENGTH(entries));
	assert_non_null(table);
	for (i = 0; i < LENGTH(entries); i++) {
		assert_null(domain_parse(entries[i].text, &domains[i]));
		assert_true(route_add(table, domains[i].name, domains[i].len, domains[i].is_below,
		    entries[i].route));
	}
	return 0;
}

static int
release(void **state)
{
	(void)state;
	route_table_free(table);
	return 0;
}

/* The route of a name, which stands in a block of just its bytes; capitals stay. */
static size_t
route_of(const struct route_table *t, const char *text)
{
	struct domain d;
	uint8_t *name;
	size_t route;
	size_t at;
	size_t i;

	assert_null(domain_parse(text, &d));
	for (i = 0; text[i] != '\0' && d.len > 1; i++)
		if (text[i] != '.')
			d.name[i + 1] = (uint8_t)text[i];
	name = tight_copy(d.name, d.len);
	route = route_find(t, name, d.len, &at);
	free(name);
	return route;
}

static void
finds_the_longest_domain(void **state)
{
	const struct row *row = *state;

	assert_int_equal(route_of(table, row->name), row->route);
}

static void
refuses_a_domain_that_it_has(void **state)
{
	(void)state;
	assert_false(route_add(table, domains[0].name, domains[0].len, false, 9));
	assert_false(route_add(table, domains[2].name, domains[2].len, true, 9));
	assert_int_equal(route_of(table, "corp.example"), 1);
}

static void
empty_table_has_no_route(void **state)
{
	struct route_table *t = route_table_new(0);

	(void)state;
	assert_non_null(t);
	assert_int_equal(route_of(t, "corp.example"), ROUTE_NONE);
	assert_int_equal(route_of(t, "."), ROUTE_NONE);
	route_table_free(t);
}

/* Names of which a part is missing, or which are too long, have none. */
static void
broken_names_have_no_route(void **state)
{
	uint8_t longest[300];
	uint8_t *name;
	size_t len;
	size_t at;
	size_t i;

	(void)state;
	for (len = 0; len < domains[0].len; len++) {
		name = tight_copy(domains[0].name, len);
		assert_int_equal(route_find(table, name, len, &at), ROUTE_NONE);
		free(name);
	}
	for (i = 0; i < sizeof longest; i++)
		longest[i] = i % 2 == 0 ? 1 : 'a';
	assert_int_equal(route_find(table, longest, sizeof longest, &at), ROUTE_NONE);
}

static void
longest_possible_name_has_a_route(void **state)
{
	uint8_t name[DNS_NAME_MAX];
	uint8_t suffix[] = { 1, 'a', 1, 'a', 0 };
	struct route_table *t = route_table_new(1);
	size_t at;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof name - 1; i++)
		name[i] = i % 2 == 0 ? 1 : 'A';
	name[i] = 0;
	assert_true(route_add(t, suffix, sizeof suffix, false, 1));
	assert_int_equal(route_find(t, name, sizeof name, &at), 1);
	assert_int_equal(at, sizeof name - sizeof suffix);
	route_table_free(t);
}

static void
holds_many_domains(void **state)
{
	enum { COUNT = 10000 };
	struct domain *many = calloc(COUNT, sizeof *many);
	struct route_table *t = route_table_new(COUNT);
	char text[32];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT; i++) {
		(void)snprintf(text, sizeof text, "n%zu.example", i);
		assert_null(domain_parse(text, &many[i]));
		assert_true(route_add(t, many[i].name, many[i].len, false, i));
	}
	for (i = 0; i < COUNT; i++) {
		(void)snprintf(text, sizeof text, "www.N%zu.example", i);
		assert_int_equal(route_of(t, text), i);
	}
	assert_int_equal(route_of(t, "n10000.example"), ROUTE_NONE);
	route_table_free(t);
	free(many);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(refuses_a_domain_that_it_has),
		cmocka_unit_test(empty_table_has_no_route),
		cmocka_unit_test(broken_names_have_no_route),
		cmocka_unit_test(longest_possible_name_has_a_route),
		cmocka_unit_test(holds_many_domains),
	};
	struct fixtures f = { .group_set_up = fill, .group_tear_down = release };

	return RUN_ROWS_WITH(f, rows, finds_the_longest_domain) +
	    cmocka_run_group_tests_name("route", singles, fill, release);
}
