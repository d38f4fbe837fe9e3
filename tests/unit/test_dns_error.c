#include "format/dns.h"

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define ONE_AND_OPT COUNTS("\1", "\0", "\0", "\1")
#define OPT_DO OPT_AT("\0", "\x10\x00", "\0", "\0", "\x80\x00", "\0")
#define OUR_OPT(rcode, flags, len) OPT_AT("\0", "\x04\xd0", rcode, "\0", flags, len)

static const struct error_row {
	const char *name;
	const uint8_t *query;
	size_t query_len;
	enum dns_rcode rcode;
	enum dns_ede ede;
	const char *text;
	const uint8_t *error;
	size_t error_len;
} rows[] = {
	{ "SERVFAIL", BYTES(ID QUERY ONE QUESTION), DNS_SERVFAIL, DNS_EDE_NONE, NULL,
	    BYTES(ID "\x81\x82" ONE QUESTION) },
	{ "no EDE without EDNS", BYTES(ID QUERY ONE QUESTION), DNS_SERVFAIL, DNS_EDE_NETWORK_ERROR,
	    "why", BYTES(ID "\x81\x82" ONE QUESTION) },
	{ "RD clear", BYTES(ID "\0\0" ONE QUESTION), DNS_REFUSED, DNS_EDE_NONE, NULL,
	    BYTES(ID "\x80\x85" ONE QUESTION) },
	{ "only RD and CD are copied", BYTES(ID "\x07\xff" ONE QUESTION), DNS_SERVFAIL,
	    DNS_EDE_NONE, NULL, BYTES(ID "\x81\x92" ONE QUESTION) },
	{ "the opcode stays", BYTES(ID "\x20\0" ONE QUESTION), DNS_NOTIMP, DNS_EDE_NONE, NULL,
	    BYTES(ID "\xa0\x84" ONE QUESTION) },
	{ "no records of the query",
	    BYTES(ID QUERY COUNTS("\1", "\1", "\1", "\1") QUESTION RR_A RR_A RR_A), DNS_SERVFAIL,
	    DNS_EDE_NONE, NULL, BYTES(ID "\x81\x82" ONE QUESTION) },
	{ "no question that could not be read", BYTES(ID QUERY ONE "\300\14" TYPE_A IN),
	    DNS_FORMERR, DNS_EDE_NONE, NULL, BYTES(ID "\x81\x81" COUNTS("\0", "\0", "\0", "\0")) },
	{ "EDNS, DO copied", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_DO), DNS_SERVFAIL,
	    DNS_EDE_NONE, "not used",
	    BYTES(ID "\x81\x82" ONE_AND_OPT QUESTION OUR_OPT("\0", "\x80\0", "\0")) },
	{ "EDNS, DO clear", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_EMPTY), DNS_SERVFAIL,
	    DNS_EDE_NONE, NULL,
	    BYTES(ID "\x81\x82" ONE_AND_OPT QUESTION OUR_OPT("\0", "\0\0", "\0")) },
	{ "two questions, EDNS",
	    BYTES(ID QUERY COUNTS("\2", "\0", "\0", "\1") QUESTION QUESTION OPT_EMPTY), DNS_FORMERR,
	    DNS_EDE_NONE, NULL,
	    BYTES(ID "\x81\x81" COUNTS("\0", "\0", "\0", "\1") OUR_OPT("\0", "\0\0", "\0")) },
	{ "BADVERS",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_AT("\0", "\x04\xd0", "\0", "\3", "\0\0", "\0")),
	    DNS_BADVERS, DNS_EDE_NONE, NULL,
	    BYTES(ID "\x81\x80" ONE_AND_OPT QUESTION OUR_OPT("\1", "\0\0", "\0")) },
	{ "EDE without a text", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_EMPTY), DNS_REFUSED,
	    DNS_EDE_PROHIBITED, NULL,
	    BYTES(
		ID "\x81\x85" ONE_AND_OPT QUESTION OUR_OPT("\0", "\0\0", "\6") "\0\17\0\2\0\22") },
	{ "EDE 0 with a text", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_EMPTY), DNS_SERVFAIL,
	    DNS_EDE_OTHER, "why\303\251",
	    BYTES(ID "\x81\x82" ONE_AND_OPT QUESTION OUR_OPT("\0", "\0\0",
		"\13") "\0\17\0\7\0\0why\303\251") },
};

static void
writes_an_error(void **state)
{
	const struct error_row *row = *state;
	uint8_t *query = tight_copy(row->query, row->query_len);
	uint8_t *out = malloc(DNS_ERROR_MAX);
	struct dns_query q;
	enum dns_rcode rcode;
	size_t len;

	assert_non_null(out);
	(void)dns_read_query(query, row->query_len, &q, &rcode);
	len = dns_write_error(out, DNS_ERROR_MAX, query, &q, row->rcode, row->ede, row->text);
	assert_int_equal(len, row->error_len);
	assert_memory_equal(out, row->error, len);
	free(out);
	free(query);
}

static const uint8_t with_opt[] = ID QUERY ONE_AND_OPT QUESTION OPT_EMPTY;
enum { BARE_LEN = sizeof with_opt - 1, EDE_FIELDS = 6 };

/* Writes an error to a buffer of exactly CAP bytes. */
static size_t
write_into(size_t cap, const char *text, uint8_t out[static DNS_ERROR_MAX + 1])
{
	struct dns_query q;
	enum dns_rcode rcode;
	uint8_t *room = malloc(cap);
	size_t len;

	assert_non_null(room);
	assert_int_equal(dns_read_query(with_opt, BARE_LEN, &q, &rcode), DNS_RELAY);
	len = dns_write_error(room, cap, with_opt, &q, DNS_SERVFAIL, DNS_EDE_NETWORK_ERROR, text);
	assert_true(len <= cap && len <= DNS_ERROR_MAX);
	memcpy(out, room, len);
	free(room);
	return len;
}

static void
fits_any_buffer_size(void **state)
{
	const char *text = "connection refused";
	uint8_t out[DNS_ERROR_MAX + 1];
	size_t cap, len, full = BARE_LEN + EDE_FIELDS + strlen(text);

	(void)state;
	for (cap = 1; cap < full + 3; cap++) {
		len = write_into(cap, text, out);
		if (cap < BARE_LEN) {
			assert_int_equal(len, 0);
		} else if (cap < BARE_LEN + EDE_FIELDS) {
			assert_int_equal(len, BARE_LEN);
			assert_int_equal(out[BARE_LEN - 1], 0);
		} else {
			assert_int_equal(len, cap < full ? cap : full);
			assert_int_equal(out[BARE_LEN - 1], len - BARE_LEN);
			assert_int_equal(out[BARE_LEN + 3], len - BARE_LEN - 4);
			assert_memory_equal(out + BARE_LEN + EDE_FIELDS, text,
			    len - BARE_LEN - EDE_FIELDS);
		}
	}
}

/* Characters of two, three and four bytes: the text never ends within one. */
static void
text_is_truncated_between_characters(void **state)
{
	static const char text[] = "a\303\251\342\202\254\360\237\230\200z";
	static const size_t ends[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11 };
	uint8_t out[DNS_ERROR_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(ends); i++)
		assert_int_equal(write_into(BARE_LEN + EDE_FIELDS + i, text, out),
		    BARE_LEN + EDE_FIELDS + ends[i]);
}

/* Whatever the buffer size, the error fits a client that accepts 512 bytes. */
static void
never_exceeds_512_bytes(void **state)
{
	char text[2000];
	uint8_t out[DNS_ERROR_MAX + 1];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(write_into(65535, text, out), 512);
	assert_int_equal(out[511], 'x');
	assert_int_equal(out[BARE_LEN - 2] << 8 | out[BARE_LEN - 1], 512 - BARE_LEN);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(fits_any_buffer_size),
		cmocka_unit_test(text_is_truncated_between_characters),
		cmocka_unit_test(never_exceeds_512_bytes),
	};

	return RUN_ROWS(rows, writes_an_error) +
	    cmocka_run_group_tests_name("dns_write_error", singles, NULL, NULL);
}
