#include "base/address.h"

#include <stdio.h>

#include "unit.h"

/* A string in a block of just its size. */
static char *
tight_text(const char *text)
{
	return (char *)tight_copy((const uint8_t *)text, strlen(text) + 1);
}

static const struct parse_row {
	const char *text;
	const char *host;  /* as address_format_host() writes it; NULL: no address */
	const char *whole; /* as address_format() does, with 853 for a port not written */
} parse_rows[] = {
	{ "192.0.2.1", "192.0.2.1", "192.0.2.1:853" },
	{ "192.0.2.1:53", "192.0.2.1", "192.0.2.1:53" },
	{ "192.0.2.1:1", "192.0.2.1", "192.0.2.1:1" },
	{ "192.0.2.1:65535", "192.0.2.1", "192.0.2.1:65535" },
	{ "0.0.0.0", "0.0.0.0", "0.0.0.0:853" },
	{ "255.255.255.255:65535", "255.255.255.255", "255.255.255.255:65535" },
	{ "::", "::", "[::]:853" },
	{ "::1", "::1", "[::1]:853" },
	{ "[::1]", "::1", "[::1]:853" },
	{ "[::1]:53", "::1", "[::1]:53" },
	{ "2001:DB8:0:0::1", "2001:db8::1", "[2001:db8::1]:853" },
	{ "2001:db8::1:53", "2001:db8::1:53", "[2001:db8::1:53]:853" },
	{ "::ffff:192.0.2.1", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:853" },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:853" },
	{ "fe80::1%lo", "fe80::1%lo", "[fe80::1%lo]:853" },
	{ "fe80::1%1", "fe80::1%lo", "[fe80::1%lo]:853" },
	{ "[fe80::1%lo]", "fe80::1%lo", "[fe80::1%lo]:853" },
	{ "[fe80::1%lo]:53", "fe80::1%lo", "[fe80::1%lo]:53" },
	{ "", NULL, NULL },
	{ ":", NULL, NULL },
	{ ":53", NULL, NULL },
	{ "53", NULL, NULL },
	{ "192.0.2", NULL, NULL },
	{ "192.0.2.1.1", NULL, NULL },
	{ "192.0.2.256", NULL, NULL },
	{ "192.0.2.01", NULL, NULL },
	{ "0x7f.0.0.1", NULL, NULL },
	{ " 192.0.2.1", NULL, NULL },
	{ "192.0.2.1 ", NULL, NULL },
	{ "192.0.2.1:", NULL, NULL },
	{ "192.0.2.1:0", NULL, NULL },
	{ "192.0.2.1:053", NULL, NULL },
	{ "192.0.2.1:65536", NULL, NULL },
	{ "192.0.2.1:18446744073709551669", NULL, NULL },
	{ "192.0.2.1:+53", NULL, NULL },
	{ "192.0.2.1:-1", NULL, NULL },
	{ "192.0.2.1:5 3", NULL, NULL },
	{ "192.0.2.1:53x", NULL, NULL },
	{ "192.0.2.1%lo", NULL, NULL },
	{ "192.0.2.1/32", NULL, NULL },
	{ "192.0.2.1#name", NULL, NULL },
	{ "[192.0.2.1]", NULL, NULL },
	{ "[192.0.2.1]:53", NULL, NULL },
	{ "[", NULL, NULL },
	{ "[]", NULL, NULL },
	{ "[]:53", NULL, NULL },
	{ "[::1", NULL, NULL },
	{ "[::1]53", NULL, NULL },
	{ "[::1]:", NULL, NULL },
	{ "[::1]:0", NULL, NULL },
	{ "[::1]]:53", NULL, NULL },
	{ "[[::1]]:53", NULL, NULL },
	{ "::1]:53", NULL, NULL },
	{ ":::", NULL, NULL },
	{ "1:2:3:4:5:6:7", NULL, NULL },
	{ "1:2:3:4:5:6:7:8:9", NULL, NULL },
	{ "12345::", NULL, NULL },
	{ "fe80::1%", NULL, NULL },
	{ "fe80::1%0", NULL, NULL },
	{ "fe80::1%no-such-zone", NULL, NULL },
	{ "fe80::1%2147483647", NULL, NULL },
	{ "fe80::1%99999999999999999999", NULL, NULL },
	{ "%lo", NULL, NULL },
	{ "dns.example", NULL, NULL },
	{ "dns.example:853", NULL, NULL },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%a-zone-that-is-far-too-long", NULL, NULL },
};

static void
parses_an_address(void **state)
{
	const struct parse_row *row = *state;
	char *input = tight_text(row->text);
	struct address a;
	struct address again;
	char text[ADDRESS_TEXT_MAX];

	memset(&a, 0xff, sizeof a);
	assert_int_equal(address_parse(input, 853, &a), row->host != NULL ? 0 : -1);
	free(input);
	if (row->host == NULL)
		return;
	assert_string_equal(address_format_host(&a, text), row->host);
	assert_string_equal(address_format(&a, text), row->whole);
	assert_int_equal(address_parse(row->whole, 1, &again), 0);
	assert_true(address_equal(&a, &again));
	/* No byte keeps its old value, so the comparison covers all of them. */
	assert_memory_equal(&a, &again, sizeof a);
	assert_true((address_problem(&a) != NULL) ==
	    (strncmp(row->host, "::ffff:", 7) == 0 || strncmp(row->host, "ffff:", 5) == 0 ||
		strcmp(row->host, "255.255.255.255") == 0));
	assert_int_equal(address_len(&a),
	    strchr(row->host, ':') != NULL ? sizeof a.in6 : sizeof a.in);
}

static const struct late_row {
	const char *text;
	const char *interface; /* NULL: refused */
	bool has_zone;
} late_rows[] = {
	{ "192.0.2.1", "", false },
	{ "fe80::1", "", false },
	{ "[fe80::1%lo]:53", "lo", true },
	{ "fe80::1%1", "1", true },
	{ "fe80::1%no-such-zone", "no-such-zone", false },
	{ "[fe80::1%no-such-zone]:53", "no-such-zone", false },
	{ "fe80::1%2147483647", "2147483647", false },
	{ "fe80::1%fifteen-letters", "fifteen-letters", false },
	{ "fe80::1%sixteen-letters-", NULL, false },
	{ "fe80::1%vpn0:53", NULL, false },
	{ "fe80::1%a/b", NULL, false },
	{ "fe80::1%", NULL, false },
	{ "2001:db8::1%no-such-zone", NULL, false },
	{ "fe80::g%no-such-zone", NULL, false },
};

static void
parses_an_address_of_a_missing_interface(void **state)
{
	const struct late_row *row = *state;
	char *input = tight_text(row->text);
	char *interface = malloc(ADDRESS_INTERFACE_MAX);
	struct address a;

	assert_non_null(interface);
	assert_int_equal(address_parse_late(input, 53, &a, interface),
	    row->interface != NULL ? 0 : -1);
	if (row->interface != NULL) {
		assert_string_equal(interface, row->interface);
		assert_int_equal(a.sa.sa_family == AF_INET6 && a.in6.sin6_scope_id != 0,
		    row->has_zone);
		assert_int_equal(address_interface_index(interface) != 0, row->has_zone);
	}
	free(interface);
	free(input);
}

static const struct same_row {
	const char *a;
	const char *b;
	bool equal;
	bool same_host;
} same_rows[] = {
	{ "192.0.2.1", "192.0.2.1", true, true },
	{ "192.0.2.1", "192.0.2.1:54", false, true },
	{ "192.0.2.1", "192.0.2.2", false, false },
	{ "::1", "0:0::1", true, true },
	{ "::1", "::2", false, false },
	{ "::1", "[::1]:54", false, true },
	{ "::ffff:192.0.2.1", "192.0.2.1", false, true },
	{ "::ffff:192.0.2.1", "192.0.2.2", false, false },
	{ "::192.0.2.1", "192.0.2.1", false, false },
	{ "::", "0.0.0.0", false, false },
	{ "fe80::1%lo", "fe80::1%1", true, true },
	{ "fe80::1%lo", "fe80::1", false, false },
};

static void
compares_addresses(void **state)
{
	const struct same_row *row = *state;
	struct address a;
	struct address b;

	assert_int_equal(address_parse(row->a, 53, &a), 0);
	assert_int_equal(address_parse(row->b, 53, &b), 0);
	assert_int_equal(address_equal(&a, &b), row->equal);
	assert_int_equal(address_equal(&b, &a), row->equal);
	assert_int_equal(address_same_host(&a, &b), row->same_host);
	assert_int_equal(address_same_host(&b, &a), row->same_host);
}

static const struct wildcard_row {
	const char *text;
	bool wildcard;
} wildcard_rows[] = {
	{ "0.0.0.0", true },
	{ "::", true },
	{ "::ffff:0.0.0.0", true },
	{ "0.0.0.1", false },
	{ "127.0.0.0", false },
	{ "::1", false },
	{ "1::", false },
};

static void
recognises_wildcards(void **state)
{
	const struct wildcard_row *row = *state;
	struct address a;

	assert_int_equal(address_parse(row->text, 53, &a), 0);
	assert_int_equal(address_is_wildcard(&a), row->wildcard);
}

static void
sets_the_port(void **state)
{
	struct address a;

	(void)state;
	assert_int_equal(address_parse("192.0.2.1", 53, &a), 0);
	address_set_port(&a, 65534);
	assert_int_equal(address_port(&a), 65534);
	assert_int_equal(ntohs(a.in.sin_port), 65534);
	assert_int_equal(address_parse("::1", 0, &a), 0);
	assert_int_equal(address_port(&a), 0);
	address_set_port(&a, 258);
	assert_int_equal(ntohs(a.in6.sin6_port), 258);
}

static const struct prefix_row {
	const char *text;
	const char *inside; /* NULL: no prefix */
	const char *outside;
} prefix_rows[] = {
	{ "192.0.2.0/24", "192.0.2.255", "192.0.3.0" },
	{ "192.0.2.0/24", "192.0.2.0", "192.0.1.255" },
	{ "192.0.2.0/24", "::ffff:192.0.2.7", "::ffff:192.0.3.7" },
	{ "192.0.2.0/24", "192.0.2.1", "::192.0.2.1" },
	{ "172.16.0.0/12", "172.31.255.255", "172.32.0.0" },
	{ "172.16.0.0/12", "172.16.0.0", "172.15.255.255" },
	{ "100.64.0.0/10", "100.127.255.255", "100.128.0.0" },
	{ "192.0.2.1", "192.0.2.1", "192.0.2.0" },
	{ "192.0.2.1/32", "192.0.2.1", "192.0.2.3" },
	{ "192.0.2.128/25", "192.0.2.128", "192.0.2.127" },
	{ "192.0.2.2/31", "192.0.2.3", "192.0.2.4" },
	{ "128.0.0.0/1", "255.255.255.255", "127.255.255.255" },
	{ "0.0.0.0/0", "203.0.113.9", "2001:db8::" },
	{ "::/0", "2001:db8::", "203.0.113.9" },
	{ "::/0", "::1", "::ffff:203.0.113.9" },
	{ "::1", "::1", "::" },
	{ "::1/128", "::1", "::2" },
	{ "fc00::/7", "fdff:ffff::1", "fe00::" },
	{ "fe80::/10", "fe80::1%lo", "fec0::1" },
	{ "2001:db8::/32", "2001:db8:ffff::", "2001:db9::" },
	{ "2001:db8::/127", "2001:db8::1", "2001:db8::2" },
	{ "::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9" },
	{ "::ffff:0.0.0.0/96", "192.0.2.9", "::1" },
	{ "", NULL, NULL },
	{ "/", NULL, NULL },
	{ "/24", NULL, NULL },
	{ "192.0.2.0/", NULL, NULL },
	{ "192.0.2.0/33", NULL, NULL },
	{ "192.0.2.0/-1", NULL, NULL },
	{ "192.0.2.0/+24", NULL, NULL },
	{ "192.0.2.0/024", NULL, NULL },
	{ "192.0.2.0/24 ", NULL, NULL },
	{ "192.0.2.0/24/24", NULL, NULL },
	{ "192.0.2.0/255.255.255.0", NULL, NULL },
	{ "192.0.2.0/99999999999999999999", NULL, NULL },
	{ "192.0.2.1/24", NULL, NULL },
	{ "192.0.2.1/31", NULL, NULL },
	{ "192.0.2.128/24", NULL, NULL },
	{ "1.0.0.0/0", NULL, NULL },
	{ "192.0.2/24", NULL, NULL },
	{ "192.0.2.0:53/24", NULL, NULL },
	{ "::/129", NULL, NULL },
	{ "::1/127", NULL, NULL },
	{ "2001:db8::1/32", NULL, NULL },
	{ "[2001:db8::]/32", NULL, NULL },
	{ "fe80::%lo/10", NULL, NULL },
	{ "::ffff:0.0.0.0/80", NULL, NULL },
	{ "::ffff:192.0.2.1/120", NULL, NULL },
	{ "private", NULL, NULL },
	{ "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/128", NULL, NULL },
};

static void
matches_a_prefix(void **state)
{
	const struct prefix_row *row = *state;
	char *input = tight_text(row->text);
	struct prefix p;
	struct address a;

	assert_int_equal(prefix_parse(input, &p), row->inside != NULL ? 0 : -1);
	free(input);
	if (row->inside == NULL)
		return;
	assert_int_equal(address_parse(row->inside, 53, &a), 0);
	assert_true(prefix_contains(&p, &a));
	assert_int_equal(address_parse(row->outside, 53, &a), 0);
	assert_false(prefix_contains(&p, &a));
}

static const struct private_row {
	const char *text;
	bool is_private;
} private_rows[] = {
	{ "127.0.0.1", true },
	{ "127.255.255.255", true },
	{ "126.255.255.255", false },
	{ "128.0.0.0", false },
	{ "10.0.0.0", true },
	{ "10.255.255.255", true },
	{ "9.255.255.255", false },
	{ "11.0.0.0", false },
	{ "172.16.0.0", true },
	{ "172.31.255.255", true },
	{ "172.15.255.255", false },
	{ "172.32.0.0", false },
	{ "192.168.0.0", true },
	{ "192.168.255.255", true },
	{ "192.167.255.255", false },
	{ "192.169.0.0", false },
	{ "100.64.0.0", true },
	{ "100.127.255.255", true },
	{ "100.63.255.255", false },
	{ "100.128.0.0", false },
	{ "169.254.20.10", true },
	{ "169.253.255.255", false },
	{ "169.255.0.0", false },
	{ "0.0.0.0", false },
	{ "8.8.8.8", false },
	{ "192.0.2.1", false },
	{ "255.255.255.255", false },
	{ "::1", true },
	{ "::", false },
	{ "::2", false },
	{ "fc00::", true },
	{ "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true },
	{ "fbff:ffff::", false },
	{ "fe00::", false },
	{ "fe80::1%lo", true },
	{ "febf::1%lo", true },
	{ "fec0::1", false },
	{ "2001:db8::1", false },
	{ "2606:4700:4700::1111", false },
	{ "::ffff:10.0.0.1", true },
	{ "::ffff:8.8.8.8", false },
	{ "::10.0.0.1", false },
	{ "64:ff9b::10.0.0.1", false },
};

static void
knows_private_addresses(void **state)
{
	const struct private_row *row = *state;
	struct address a;

	assert_int_equal(address_parse(row->text, 53, &a), 0);
	assert_int_equal(address_is_private(&a), row->is_private);
}

/* Each of them can be read, and none is left out because it cannot. */
static void
private_prefixes_are_prefixes(void **state)
{
	const char *const *text;
	struct prefix p;

	(void)state;
	for (text = address_private_prefixes; *text != NULL; text++)
		assert_int_equal(prefix_parse(*text, &p), 0);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(sets_the_port),
		cmocka_unit_test(private_prefixes_are_prefixes),
	};

	return RUN_ROWS(parse_rows, parses_an_address) +
	    RUN_ROWS(late_rows, parses_an_address_of_a_missing_interface) +
	    RUN_ROWS(same_rows, compares_addresses) +
	    RUN_ROWS(wildcard_rows, recognises_wildcards) +
	    RUN_ROWS(prefix_rows, matches_a_prefix) +
	    RUN_ROWS(private_rows, knows_private_addresses) +
	    cmocka_run_group_tests_name("address", singles, NULL, NULL);
}
