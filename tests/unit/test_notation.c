#include "config/notation.h"

#include "unit.h"

#define TEN(x) x x x x x x x x x x
#define NUMBER "has a port that is not a number from 1 to 65535 (write one, as in "

/* Each text is in a block of its exact size, so that sanitizers see reads beyond its end. */
static const struct row {
	enum notation_use use;
	const char *text;
	const char *parsed; /* the parsed address; NULL: refused */
	const char *detail; /* the host name after it, or a part of the error */
} rows[] = {
	{ NOTATION_UPSTREAM, "192.0.2.1", "192.0.2.1:0", NULL },
	{ NOTATION_UPSTREAM, "192.0.2.1:853#dns.test", "192.0.2.1:853", "dns.test" },
	{ NOTATION_UPSTREAM, "[2001:db8::1]:853#dns.test", "[2001:db8::1]:853", "dns.test" },
	{ NOTATION_UPSTREAM, "192.0.2.1#", "192.0.2.1:0", "" },
	{ NOTATION_UPSTREAM, "192.0.2.1#b\303\274cher.test", "192.0.2.1:0", "b\303\274cher.test" },
	{ NOTATION_LISTENER, "[::1:53]", "[::0.1.0.83]:0", NULL },
	{ NOTATION_LISTENER, "2620:119:53::53", "[2620:119:53::53]:0", NULL },
	{ NOTATION_UPSTREAM_ADDRESS, "2001:db8::1:853", "[2001:db8::1:853]:0", NULL },

	{ NOTATION_UPSTREAM, "", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "#", NULL, "has no address" },
	{ NOTATION_UPSTREAM, "#853", NULL, "has no address" },
	{ NOTATION_UPSTREAM, ":", NULL, "has no address" },
	{ NOTATION_UPSTREAM, "::", "[::]:0", NULL },
	{ NOTATION_UPSTREAM, "@", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "/", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "[", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "[]", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "[]:", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "[1.1.1.1", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "[1.1.1.1]", NULL, "which are for IPv6 (write `1.1.1.1')" },
	{ NOTATION_UPSTREAM, "[1.1.1.1]:x", NULL, "which are for IPv6 (write `1.1.1.1')" },
	{ NOTATION_UPSTREAM, "tls:", NULL, "has a scheme (write the server's address and name" },
	{ NOTATION_UPSTREAM, "tls://", NULL, "has a scheme (write the server's address and name" },
	{ NOTATION_UPSTREAM, "tls://[", NULL, "has a scheme (write the server's address and name" },
	{ NOTATION_UPSTREAM, "tls://1.1.1.1#853#a.test", NULL, "(write `1.1.1.1:853#a.test'; " },
	{ NOTATION_UPSTREAM, "udp://1.1.1.1:53", NULL, "without TLS (write `1.1.1.1'; " },
	{ NOTATION_UPSTREAM, "1.1.1.1@", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "1.1.1.1@0", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "1.1.1.1@65536", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "1.1.1.1@853#.test", NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "1.1.1.1@853#a.test", NULL, "(write `1.1.1.1:853#a.test')" },
	{ NOTATION_UPSTREAM, "fe80::1%lo@853", NULL, "(write \"[fe80::1%lo]:853\")" },
	{ NOTATION_UPSTREAM, "1.1.1.1#853", NULL, "has its port after `#' (write `1.1.1.1:853')" },
	{ NOTATION_UPSTREAM, "1.1.1.1:853#853", "1.1.1.1:853", "853" },
	{ NOTATION_UPSTREAM, "1.1.1.1#a.test:", "1.1.1.1:0", "a.test:" },
	{ NOTATION_UPSTREAM, "1.1.1.1#a.test:99999", "1.1.1.1:0", "a.test:99999" },
	{ NOTATION_UPSTREAM, "1.1.1.1:", NULL, NUMBER "`1.1.1.1:853')" },
	{ NOTATION_UPSTREAM, "[::1]:", NULL, NUMBER "\"[::1]:853\")" },
	{ NOTATION_UPSTREAM, "[::1]:0#a.test", NULL, NUMBER "\"[::1]:853#a.test\")" },
	{ NOTATION_LISTENER, "1.1.1.1:053", NULL, NUMBER "`1.1.1.1:53')" },
	{ NOTATION_LISTENER, "1.1.1.1#a.test", NULL, "more than an address and a port (write" },
	{ NOTATION_LISTENER, "1.1.1.1/", NULL, "more than an address and a port (write" },
	{ NOTATION_LISTENER, "1.1.1.1/8", NULL, "is a range" },
	{ NOTATION_LISTENER, "1.1.1.1,2.2.2.2", NULL, "has more than one address" },
	{ NOTATION_LISTENER, "::1:53", NULL, "\"[::1]:53\" for port 53, or \"[::1:53]\"" },
	{ NOTATION_LISTENER, "fe80::1:53%lo", "[fe80::1:53%lo]:0", NULL },
	{ NOTATION_UPSTREAM, "2001:db8::1:853#a.test", NULL, "is ambiguous" },
	{ NOTATION_UPSTREAM, "::ffff:1.1.1.1", NULL, "is an IPv4 address" },
	{ NOTATION_UPSTREAM, "a.test#1.1.1.1", NULL, "is a host name" },
	{ NOTATION_UPSTREAM, TEN("1.1.1.1."), NULL, "is not an IP address" },
	{ NOTATION_UPSTREAM, "tls://" TEN(TEN("abc.")) "d", NULL, "has a scheme (write the server" },
};

static void
reads_or_reports_the_error(void **state)
{
	const struct row *row = *state;
	char *text = (char *)tight_copy((const uint8_t *)row->text, strlen(row->text) + 1);
	char why[NOTATION_MAX] = "";
	char formatted[ADDRESS_TEXT_MAX];
	const char *hostname = NULL;
	struct address a;
	int rc = notation_read(row->use, text, 0, &a, &hostname, why);

	if (rc == -1)
		print_message("%s: %s\n", row->text, why);
	assert_int_equal(rc, row->parsed != NULL ? 0 : -1);
	if (row->parsed != NULL) {
		assert_string_equal(address_format(&a, formatted), row->parsed);
		assert_int_equal(hostname == NULL, row->detail == NULL);
		if (hostname != NULL)
			assert_string_equal(hostname, row->detail);
	} else
		assert_non_null(strstr(why, row->detail));
	free(text);
}

static void
suggests_keys_for_keys_of_other_programs(void **state)
{
	(void)state;
	assert_string_equal(notation_key("tls_auth_name"), "write `hostname'");
	assert_string_equal(notation_key("cache-max-ttl"), "write `cache: {max_ttl: 1d}'");
	assert_non_null(notation_key("192.0.2.1"));
	assert_non_null(notation_key("2001:db8::1"));
	assert_null(notation_key("colour"));
	assert_null(notation_key(""));
}

int
main(void)
{
	struct CMUnitTest tests[LENGTH(rows) + 1];
	size_t i;

	for (i = 0; i < LENGTH(rows); i++)
		tests[i] = (struct CMUnitTest){ .name = rows[i].text,
			.test_func = reads_or_reports_the_error,
			.initial_state = (void *)(uintptr_t)&rows[i] };
	tests[i] = (struct CMUnitTest)cmocka_unit_test(suggests_keys_for_keys_of_other_programs);
	return cmocka_run_group_tests_name("notation", tests, NULL, NULL);
}
