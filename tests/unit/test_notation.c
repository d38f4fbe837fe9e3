#include "config/notation.h"

#include "unit.h"

#define TEN(x) x x x x x x x x x x
#define NUMBER "has a port that is not a number from 1 to 65535 (write one, as in "

/* Each text is in a block of its exact size, so that sanitizers see reads beyond its end. */
static const struct row {
	const char *text;
	enum notation_use use;
	const char *parsed; /* the parsed address; NULL: refused */
	const char *detail; /* the host name after it, or a part of the error */
} rows[] = {
	{ "192.0.2.1", NOTATION_UPSTREAM, "192.0.2.1:0", NULL },
	{ "192.0.2.1:853#dns.test", NOTATION_UPSTREAM, "192.0.2.1:853", "dns.test" },
	{ "[2001:db8::1]:853#dns.test", NOTATION_UPSTREAM, "[2001:db8::1]:853", "dns.test" },
	{ "192.0.2.1#", NOTATION_UPSTREAM, "192.0.2.1:0", "" },
	{ "192.0.2.1#b\303\274cher.test", NOTATION_UPSTREAM, "192.0.2.1:0", "b\303\274cher.test" },
	{ "[::1:53]", NOTATION_LISTENER, "[::0.1.0.83]:0", NULL },
	{ "2620:119:53::53", NOTATION_LISTENER, "[2620:119:53::53]:0", NULL },
	{ "2001:db8::1:853", NOTATION_UPSTREAM_ADDRESS, "[2001:db8::1:853]:0", NULL },

	{ "", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "#", NOTATION_UPSTREAM, NULL, "has no address" },
	{ "#853", NOTATION_UPSTREAM, NULL, "has no address" },
	{ ":", NOTATION_UPSTREAM, NULL, "has no address" },
	{ "::", NOTATION_UPSTREAM, "[::]:0", NULL },
	{ "@", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "/", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "[", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "[]", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "[]:", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "[1.1.1.1", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "[1.1.1.1]", NOTATION_UPSTREAM, NULL, "which are for IPv6 (write `1.1.1.1')" },
	{ "[1.1.1.1]:x", NOTATION_UPSTREAM, NULL, "which are for IPv6 (write `1.1.1.1')" },
	{ "tls:", NOTATION_UPSTREAM, NULL, "has a scheme (write the server's address and name" },
	{ "tls://", NOTATION_UPSTREAM, NULL, "has a scheme (write the server's address and name" },
	{ "tls://[", NOTATION_UPSTREAM, NULL, "has a scheme (write the server's address and name" },
	{ "tls://1.1.1.1#853#a.test", NOTATION_UPSTREAM, NULL, "(write `1.1.1.1:853#a.test'; " },
	{ "udp://1.1.1.1:53", NOTATION_UPSTREAM, NULL, "without TLS (write `1.1.1.1'; " },
	{ "1.1.1.1@", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "1.1.1.1@0", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "1.1.1.1@65536", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "1.1.1.1@853#.test", NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "1.1.1.1@853#a.test", NOTATION_UPSTREAM, NULL, "(write `1.1.1.1:853#a.test')" },
	{ "fe80::1%lo@853", NOTATION_UPSTREAM, NULL, "(write \"[fe80::1%lo]:853\")" },
	{ "1.1.1.1#853", NOTATION_UPSTREAM, NULL, "has its port after `#' (write `1.1.1.1:853')" },
	{ "1.1.1.1:853#853", NOTATION_UPSTREAM, "1.1.1.1:853", "853" },
	{ "1.1.1.1#a.test:", NOTATION_UPSTREAM, "1.1.1.1:0", "a.test:" },
	{ "1.1.1.1#a.test:99999", NOTATION_UPSTREAM, "1.1.1.1:0", "a.test:99999" },
	{ "1.1.1.1:", NOTATION_UPSTREAM, NULL, NUMBER "`1.1.1.1:853')" },
	{ "[::1]:", NOTATION_UPSTREAM, NULL, NUMBER "\"[::1]:853\")" },
	{ "[::1]:0#a.test", NOTATION_UPSTREAM, NULL, NUMBER "\"[::1]:853#a.test\")" },
	{ "1.1.1.1:053", NOTATION_LISTENER, NULL, NUMBER "`1.1.1.1:53')" },
	{ "1.1.1.1#a.test", NOTATION_LISTENER, NULL, "more than an address and a port (write" },
	{ "1.1.1.1/", NOTATION_LISTENER, NULL, "more than an address and a port (write" },
	{ "1.1.1.1/8", NOTATION_LISTENER, NULL, "is a range" },
	{ "1.1.1.1,2.2.2.2", NOTATION_LISTENER, NULL, "has more than one address" },
	{ "::1:53", NOTATION_LISTENER, NULL, "\"[::1]:53\" for port 53, or \"[::1:53]\"" },
	{ "fe80::1:53%lo", NOTATION_LISTENER, "[fe80::1:53%lo]:0", NULL },
	{ "2001:db8::1:853#a.test", NOTATION_UPSTREAM, NULL, "is ambiguous" },
	{ "::ffff:1.1.1.1", NOTATION_UPSTREAM, NULL, "is an IPv4 address" },
	{ "a.test#1.1.1.1", NOTATION_UPSTREAM, NULL, "is a host name" },
	{ TEN("1.1.1.1."), NOTATION_UPSTREAM, NULL, "is not an IP address" },
	{ "tls://" TEN(TEN("abc.")) "d", NOTATION_UPSTREAM, NULL,
	    "has a scheme (write the server" },
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
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(suggests_keys_for_keys_of_other_programs),
	};

	return RUN_ROWS(rows, reads_or_reports_the_error) +
	    cmocka_run_group_tests_name("notation", singles, NULL, NULL);
}
