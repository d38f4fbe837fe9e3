#include "format/dns.h"

#include "message.h"
#include "unit.h"

#define Z10 "\0\0\0\0\0\0\0\0\0\0"
#define ZEROS_63 Z10 Z10 Z10 Z10 Z10 Z10 "\0\0\0"
#define ZEROS_61 Z10 Z10 Z10 Z10 Z10 Z10 "\0"

static const struct name_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	const char *text;
} name_rows[] = {
	{ "root", BYTES("\0" TYPE_A IN), "." },
	{ "two labels", BYTES(QUESTION), "example.com." },
	{ "letters keep their case", BYTES("\3CoM\0" TYPE_A IN), "CoM." },
	{ "a dot in a label", BYTES("\3a.b\0" TYPE_A IN), "a\\.b." },
	{ "characters that a zone file quotes", BYTES("\10\\\"();@$*\0" TYPE_A IN),
	    "\\\\\\\"\\(\\)\\;\\@\\$*." },
	{ "NUL, newline, ESC, space", BYTES("\4\0\n\033 \0" TYPE_A IN), "\\000\\010\\027\\032." },
	{ "edges of printable ASCII", BYTES("\6\40!~\177\200\377\0" TYPE_A IN),
	    "\\032!~\\127\\128\\255." },
	{ "nothing", BYTES(""), "." },
	{ "cut within a label", BYTES("\1a\7exam"), "a." },
	{ "cut after a label", BYTES("\1a"), "a." },
};

static void
formats_a_name(void **state)
{
	const struct name_row *row = *state;
	uint8_t *question = tight_copy(row->data, row->len);
	char *text = malloc(DNS_NAME_TEXT_MAX);

	assert_non_null(text);
	assert_ptr_equal(dns_format_qname(question, row->len, text), text);
	assert_string_equal(text, row->text);
	free(text);
	free(question);
}

/* The names with the longest texts; the first is a good one. */
static const struct {
	const uint8_t *data;
	size_t len;
	size_t text_len;
} longest[] = {
	{ BYTES("\77" ZEROS_63 "\77" ZEROS_63 "\77" ZEROS_63 "\75" ZEROS_61 "\0" TYPE_A IN),
	    4 * (3 * 63 + 61) + 4 },
	{ BYTES("\376" ZEROS_63 ZEROS_63 ZEROS_63 ZEROS_63 "\0\0\0\0\0\0"), 4 * 254 + 1 },
	{ BYTES("\377" ZEROS_63 ZEROS_63 ZEROS_63 ZEROS_63 "\0\0\0\0\0\0"), 1 },
};

static void
the_longest_name_fits(void **state)
{
	size_t i;
	uint8_t *question;
	char *text;

	(void)state;
	for (i = 0; i < LENGTH(longest); i++) {
		question = tight_copy(longest[i].data, longest[i].len);
		text = malloc(DNS_NAME_TEXT_MAX);
		assert_non_null(text);
		dns_format_qname(question, longest[i].len, text);
		assert_int_equal(strlen(text), longest[i].text_len);
		free(text);
		free(question);
	}
}

#define X10 "xxxxxxxxxx"
#define X63 X10 X10 X10 X10 X10 X10 "xxx"
#define X61 X10 X10 X10 X10 X10 X10 "x"

static const struct parsed_row {
	const char *name;
	const char *text;
	const uint8_t *data; /* or what is wrong with it */
	size_t len;
} parsed_rows[] = {
	{ "parse: two labels", "example.com", BYTES("\7example\3com\0") },
	{ "parse: a dot at the end", "example.com.", BYTES("\7example\3com\0") },
	{ "parse: capital letters", "eXamplE.COM", BYTES("\7example\3com\0") },
	{ "parse: one letter", "a", BYTES("\1a\0") },
	{ "parse: other characters", "_a-1.0/26", BYTES("\4_a-1\0040/26\0") },
	{ "parse: the longest label", X63, BYTES("\77" X63 "\0") },
	{ "parse: the longest name", X63 "." X63 "." X63 "." X61 ".",
	    BYTES("\77" X63 "\77" X63 "\77" X63 "\75" X61 "\0") },
	{ "parse: nothing", "", BYTES("is empty") },
	{ "parse: the root", ".", BYTES("has an empty label: a dot too many") },
	{ "parse: a dot in front", ".a", BYTES("has an empty label: a dot too many") },
	{ "parse: two dots", "a..b", BYTES("has an empty label: a dot too many") },
	{ "parse: two dots at the end", "a..", BYTES("has an empty label: a dot too many") },
	{ "parse: a label too long", "a." X63 "x",
	    BYTES("has a label of more than 63 characters") },
	{ "parse: a name too long", X63 "." X63 "." X63 "." X61 "x",
	    BYTES("has more than 253 characters") },
	{ "parse: a space", "a b",
	    BYTES("has characters other than letters, digits, `-', `_' and `/'") },
	{ "parse: a star", "*.a",
	    BYTES("has characters other than letters, digits, `-', `_' and `/'") },
	{ "parse: not ASCII", "\303\274",
	    BYTES("has characters other than letters, digits, `-', `_' and `/'") },
};

static void
parses_a_name(void **state)
{
	const struct parsed_row *row = *state;
	uint8_t *text = tight_copy((const uint8_t *)row->text, strlen(row->text) + 1);
	uint8_t *out = malloc(DNS_NAME_MAX);
	const char *problem;
	size_t len;

	assert_non_null(out);
	len = dns_parse_name((const char *)text, out, &problem);
	if (row->data[0] < 64) {
		assert_int_equal(len, row->len);
		assert_memory_equal(out, row->data, len);
	} else {
		assert_int_equal(len, 0);
		assert_string_equal(problem, (const char *)row->data);
	}
	free(out);
	free(text);
}

static const struct type_row {
	const char *text;
	uint16_t type;
} type_rows[] = {
	{ "A", 1 },
	{ "NS", 2 },
	{ "CNAME", 5 },
	{ "SOA", 6 },
	{ "PTR", 12 },
	{ "MX", 15 },
	{ "TXT", 16 },
	{ "AAAA", 28 },
	{ "SRV", 33 },
	{ "DS", 43 },
	{ "DNSKEY", 48 },
	{ "CDNSKEY", 60 },
	{ "SVCB", 64 },
	{ "HTTPS", 65 },
	{ "AXFR", 252 },
	{ "ANY", 255 },
	{ "CAA", 257 },
	{ "URI", 256 },
	{ "TYPE0", 0 },
	{ "TYPE258", 258 },
	{ "TYPE65535", 65535 },
};

static void
formats_a_type(void **state)
{
	const struct type_row *row = *state;
	char *text = malloc(10);

	assert_non_null(text);
	assert_ptr_equal(dns_format_type(row->type, text), text);
	assert_string_equal(text, row->text);
	free(text);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(the_longest_name_fits),
	};

	return RUN_ROWS(name_rows, formats_a_name) +
	    RUN_ROWS(parsed_rows, parses_a_name) +
	    RUN_ROWS(type_rows, formats_a_type) +
	    cmocka_run_group_tests_name("dns text", singles, NULL, NULL);
}
