#include "format/dns.h"

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define ONE_AND_OPT COUNTS("\1", "\0", "\0", "\1")
#define ASKED(type) "\7printer\3lan\0" type IN
#define AAAA "\0\34"
#define MX "\0\17"
#define ANY "\0\377"
#define V4 "\300\250\1\11"
#define V6 "\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5"
#define RR(type, len, data) "\300\14" type IN "\0\0\0\74\0" len data
#define OPT_DO OPT_AT("\0", "\x04\xd0", "\0", "\0", "\x80\x00", "\0")
#define SOA_DATA "\6nobody\7invalid\0\0\0\0\1\0\0\16\20\0\0\4\260\0\11\72\200\0\0\0\74"
#define SOA_AT(at) "\300" at "\0\6" IN "\0\0\0\74\0\46\300" at SOA_DATA

static struct dns_record v6 = { .type = DNS_TYPE_AAAA, .len = 16, .data = (const uint8_t *)V6 };
static struct dns_record v4 = { &v6, DNS_TYPE_A, 4, (const uint8_t *)V4 };

static const struct row {
	const char *name;
	const uint8_t *query;
	size_t query_len;
	struct dns_local local;
	const uint8_t *response;
	size_t len;
} rows[] = {
	{ "the records of the type", BYTES(ID QUERY ONE ASKED(TYPE_A)),
	    { DNS_NOERROR, &v4, 0, 60, DNS_EDE_NONE, NULL },
	    BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\0") ASKED(TYPE_A) RR(TYPE_A, "\4", V4)) },
	{ "not the first record", BYTES(ID QUERY ONE ASKED(AAAA)),
	    { DNS_NOERROR, &v4, 0, 60, DNS_EDE_NONE, NULL },
	    BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\0") ASKED(AAAA) RR(AAAA, "\20", V6)) },
	{ "all records", BYTES(ID QUERY ONE ASKED(ANY)),
	    { DNS_NOERROR, &v4, 0, 60, DNS_EDE_NONE, NULL },
	    BYTES(ID RESPONSE COUNTS("\1", "\2", "\0", "\0") ASKED(ANY) RR(TYPE_A, "\4", V4)
		      RR(AAAA, "\20", V6)) },
	{ "records of other types", BYTES(ID QUERY ONE ASKED(MX)),
	    { DNS_NOERROR, &v4, 0, 60, DNS_EDE_OTHER, "unseen" },
	    BYTES(ID RESPONSE COUNTS("\1", "\0", "\1", "\0") ASKED(MX) SOA_AT("\14")) },
	{ "no such name", BYTES(ID QUERY ONE ASKED(TYPE_A)),
	    { DNS_NXDOMAIN, NULL, 8, 60, DNS_EDE_NONE, NULL },
	    BYTES(ID "\x81\x83" COUNTS("\1", "\0", "\1", "\0") ASKED(TYPE_A) SOA_AT("\24")) },
	{ "EDNS, DO copied", BYTES(ID QUERY ONE_AND_OPT ASKED(TYPE_A) OPT_DO),
	    { DNS_NOERROR, &v4, 0, 60, DNS_EDE_NONE, NULL },
	    BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\1") ASKED(TYPE_A) RR(TYPE_A, "\4", V4)
		      OPT_DO) },
	{ "a reason", BYTES(ID QUERY ONE_AND_OPT ASKED(MX) OPT_EMPTY),
	    { DNS_NXDOMAIN, NULL, 0, 60, DNS_EDE_OTHER, "why" },
	    BYTES(ID "\x81\x83" COUNTS("\1", "\0", "\1", "\1") ASKED(MX) SOA_AT("\14")
		      OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\0", "\11") "\0\17\0\5\0\0why") },
	{ "RD clear, AD and CD set", BYTES(ID "\0\x30" ONE ASKED(TYPE_A)),
	    { DNS_NOERROR, &v4, 0, 60, DNS_EDE_NONE, NULL },
	    BYTES(ID "\x80\x90" COUNTS("\1", "\1", "\0", "\0") ASKED(TYPE_A) RR(TYPE_A, "\4", V4)) },
};

/*
 * With a buffer of the exact size, and with each smaller one. Only the Extended DNS Error is left
 * out, or its text is cut, where there is no room.
 */
static void
writes_records(void **state)
{
	const struct row *row = *state;
	uint8_t *query = tight_copy(row->query, row->query_len);
	struct dns_query q;
	enum dns_rcode rcode;
	uint8_t *room;
	size_t cap, len;

	assert_int_equal(dns_read_query(query, row->query_len, &q, &rcode), DNS_RELAY);
	for (cap = 1; cap <= row->len; cap++) {
		room = malloc(cap);
		assert_non_null(room);
		len = dns_write_local(room, cap, query, &q, &row->local);
		if (cap == row->len) {
			assert_int_equal(len, cap);
			assert_memory_equal(room, row->response, cap);
		} else if (row->local.text == NULL || !q.has_edns)
			assert_int_equal(len, 0);
		else
			assert_in_range(len, 0, cap);
		free(room);
	}
	free(query);
}

static void
finds_records(void **state)
{
	(void)state;
	assert_true(dns_has_record(&v4, DNS_TYPE_A));
	assert_true(dns_has_record(&v4, DNS_TYPE_AAAA));
	assert_true(dns_has_record(&v4, DNS_TYPE_ANY));
	assert_false(dns_has_record(&v4, DNS_TYPE_TXT));
	assert_false(dns_has_record(&v6, DNS_TYPE_A));
	assert_false(dns_has_record(NULL, DNS_TYPE_A));
	assert_false(dns_has_record(NULL, DNS_TYPE_ANY));
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(finds_records),
	};

	return RUN_ROWS(rows, writes_records) +
	    cmocka_run_group_tests_name("dns, local records", singles, NULL, NULL);
}
