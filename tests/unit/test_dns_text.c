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
	    RUN_ROWS(type_rows, formats_a_type) +
	    cmocka_run_group_tests_name("dns text", singles, NULL, NULL);
}
