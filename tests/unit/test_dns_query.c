#include "format/dns.h"

#include "message.h"
#include "unit.h"

#define X10 "xxxxxxxxxx"
#define LABEL_61 "\75" X10 X10 X10 X10 X10 X10 "x"
#define LABEL_63 "\77" X10 X10 X10 X10 X10 X10 "xxx"
#define LONGEST_NAME LABEL_63 LABEL_63 LABEL_63 LABEL_61 "\0"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define ONE_AND_OPT COUNTS("\1", "\0", "\0", "\1")
#define OPT_DO OPT_AT("\0", "\x10\x00", "\0", "\0", "\x80\x00", "\0")
#define OPT_OPTIONS(len, options) OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\0", len) options
#define COOKIE       \
	"\0\12\0\10" \
	"12345678"
#define PADDING_0 "\0\14\0\0"

/* The result of parsing, for most rows. */
#define ASKED .flags = 0x0100, .question_len = QUESTION_LEN, .qtype = 1, .qclass = 1
#define WITH_EDNS .has_edns = true, .udp_size = 1232
#define WITH_DO .has_edns = true, .dnssec_ok = true, .udp_size = 4096

static const struct query_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	enum dns_verdict verdict;
	enum dns_rcode rcode; /* on DNS_ANSWER */
	struct dns_query q;   /* the ID aside, which is that of all */
} rows[] = {
	{ "plain", BYTES(ID QUERY ONE QUESTION), DNS_RELAY, 0, { ASKED } },
	{ "EDNS with DO", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_DO), DNS_RELAY, 0,
	    { ASKED, WITH_DO } },
	{ "EDNS without DO", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_EMPTY), DNS_RELAY, 0,
	    { ASKED, WITH_EDNS } },
	{ "EDNS size and all flags but DO",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_AT("\0", "\0\0", "\0", "\0", "\x7f\xff", "\0")),
	    DNS_RELAY, 0, { ASKED, .has_edns = true } },
	{ "EDNS options", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_OPTIONS("\20", COOKIE PADDING_0)),
	    DNS_RELAY, 0, { ASKED, WITH_EDNS } },
	{ "root, any type and class", BYTES(ID QUERY ONE "\0\xff\x00\x00\xff"), DNS_RELAY, 0,
	    { .flags = 0x0100, .question_len = 5, .qtype = 65280, .qclass = 255 } },
	{ "type 0, class 0", BYTES(ID QUERY ONE "\0\0\0\0\0"), DNS_RELAY, 0,
	    { .flags = 0x0100, .question_len = 5 } },
	{ "AXFR", BYTES(ID QUERY ONE NAME "\0\374" IN), DNS_RELAY, 0,
	    { .flags = 0x0100, .question_len = 17, .qtype = 252, .qclass = 1 } },
	{ "longest name", BYTES(ID QUERY ONE LONGEST_NAME TYPE_A IN), DNS_RELAY, 0,
	    { .flags = 0x0100, .question_len = DNS_QUESTION_MAX, .qtype = 1, .qclass = 1 } },
	{ "all flags but QR and opcode, an RCODE too", BYTES(ID "\x07\xff" ONE QUESTION), DNS_RELAY,
	    0, { .flags = 0x07ff, .question_len = 17, .qtype = 1, .qclass = 1 } },
	{ "records in every section (IXFR, TSIG)",
	    BYTES(ID QUERY COUNTS("\1", "\1", "\1", "\2") QUESTION RR_A RR_A OPT_DO RR_A),
	    DNS_RELAY, 0, { ASKED, WITH_DO } },
	{ "TSIG", BYTES(ID QUERY ONE_AND_OPT QUESTION TSIG), DNS_RELAY, 0,
	    { ASKED, .is_signed = true } },
	{ "SIG(0)", BYTES(ID QUERY ONE_AND_OPT QUESTION SIG_0), DNS_RELAY, 0,
	    { ASKED, .is_signed = true } },

	{ "nothing", BYTES(""), DNS_DROP, 0, { 0 } },
	{ "eleven bytes", BYTES(ID QUERY "\0\0\0\0\0\0\0"), DNS_DROP, 0, { 0 } },
	{ "response", BYTES(ID RESPONSE ONE QUESTION), DNS_DROP, 0, { 0 } },
	{ "response of opcode 15", BYTES(ID "\xf8\0" ONE QUESTION), DNS_DROP, 0, { 0 } },

	{ "opcode 1", BYTES(ID "\x08\0" ONE QUESTION), DNS_ANSWER, DNS_NOTIMP,
	    { .flags = 0x0800, .question_len = 17, .qtype = 1, .qclass = 1 } },
	{ "opcode 15, header alone", BYTES(ID "\x78\0" COUNTS("\0", "\0", "\0", "\0")), DNS_ANSWER,
	    DNS_NOTIMP, { .flags = 0x7800 } },
	{ "DSO and its TLV", BYTES(ID "\x30\0" COUNTS("\0", "\0", "\0", "\0") "\0\1\0\1x"),
	    DNS_ANSWER, DNS_NOTIMP, { .flags = 0x3000 } },
	{ "opcode 2, wrong counts", BYTES(ID "\x10\0" COUNTS("\2", "\7", "\0", "\0") "\377"),
	    DNS_ANSWER, DNS_NOTIMP, { .flags = 0x1000 } },
	{ "NOTIFY with EDNS", BYTES(ID "\x20\0" ONE_AND_OPT QUESTION OPT_DO), DNS_ANSWER,
	    DNS_NOTIMP, { .flags = 0x2000, .question_len = 17, .qtype = 1, .qclass = 1, WITH_DO } },

	{ "no question", BYTES(ID QUERY COUNTS("\0", "\0", "\0", "\0")), DNS_ANSWER, DNS_NOERROR,
	    { .flags = 0x0100 } },
	{ "no question but a cookie",
	    BYTES(ID QUERY COUNTS("\0", "\0", "\0", "\1") OPT_OPTIONS("\14", COOKIE)), DNS_ANSWER,
	    DNS_NOERROR, { .flags = 0x0100, WITH_EDNS } },
	{ "no question but bytes", BYTES(ID QUERY COUNTS("\0", "\0", "\0", "\0") QUESTION),
	    DNS_ANSWER, DNS_NOERROR, { .flags = 0x0100 } },

	{ "two questions, EDNS",
	    BYTES(ID QUERY COUNTS("\2", "\0", "\0", "\1") QUESTION "\300\14" TYPE_A IN OPT_DO),
	    DNS_ANSWER, DNS_FORMERR, { .flags = 0x0100, WITH_DO } },
	{ "256 questions counted", BYTES(ID QUERY "\1\0\0\0\0\0\0\0" QUESTION), DNS_ANSWER,
	    DNS_FORMERR, { .flags = 0x0100 } },
	{ "compressed QNAME", BYTES(ID QUERY ONE "\1a\300\14" TYPE_A IN), DNS_ANSWER, DNS_FORMERR,
	    { .flags = 0x0100 } },
	{ "reserved label type", BYTES(ID QUERY ONE "\101a\0" TYPE_A IN), DNS_ANSWER, DNS_FORMERR,
	    { .flags = 0x0100 } },
	{ "name of 256 bytes",
	    BYTES(ID QUERY ONE LABEL_63 LABEL_63 LABEL_63 "\76" X10 X10 X10 X10 X10 X10
							  "xx\0" TYPE_A IN),
	    DNS_ANSWER, DNS_FORMERR, { .flags = 0x0100 } },
	{ "C-36 byte after TSIG", BYTES(ID QUERY ONE_AND_OPT QUESTION TSIG "x"), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, .is_signed = true } },
	{ "C-36 byte after SIG(0)", BYTES(ID QUERY ONE_AND_OPT QUESTION SIG_0 "x"), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, .is_signed = true } },
	{ "additional count too high",
	    BYTES(ID QUERY COUNTS("\1", "\0", "\0", "\2") QUESTION OPT_DO), DNS_ANSWER, DNS_FORMERR,
	    { ASKED, WITH_DO } },
	{ "all counts 65535", BYTES(ID QUERY "\0\1\377\377\377\377\377\377" QUESTION RR_A),
	    DNS_ANSWER, DNS_FORMERR, { ASKED } },
	{ "rdata past the end",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION "\0" TYPE_A IN "\0\0\0\0\377\377abcd"), DNS_ANSWER,
	    DNS_FORMERR, { ASKED } },
	{ "SIG without its data",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION "\0" "\0\30" "\0\377" "\0\0\0\0" "\0\4"),
	    DNS_ANSWER, DNS_FORMERR, { ASKED } },
	{ "broken owner after the OPT",
	    BYTES(ID QUERY COUNTS("\1", "\0", "\0", "\2") QUESTION OPT_DO "\200"), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, WITH_DO } },

	{ "two OPT: the first counts",
	    BYTES(ID QUERY COUNTS("\1", "\0", "\0", "\2") QUESTION OPT_DO OPT_EMPTY), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, WITH_DO } },
	{ "OPT among the answers",
	    BYTES(ID QUERY COUNTS("\1", "\1", "\0", "\0") QUESTION OPT_EMPTY), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, WITH_EDNS } },
	{ "OPT in the authority section",
	    BYTES(ID QUERY COUNTS("\1", "\0", "\1", "\0") QUESTION OPT_EMPTY), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, WITH_EDNS } },
	{ "OPT at a name",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_AT("\1a\0", "\x04\xd0", "\0", "\0", "\0\0",
		"\0")),
	    DNS_ANSWER, DNS_FORMERR, { ASKED, WITH_EDNS } },
	{ "OPT at a pointer to a root",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_AT("\300\30", "\x04\xd0", "\0", "\0", "\0\0",
		"\0")),
	    DNS_ANSWER, DNS_FORMERR, { ASKED, WITH_EDNS } },
	{ "option longer than its OPT",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_OPTIONS("\5", "\0\12\0\2x")), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, WITH_EDNS } },
	{ "half an option header",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_OPTIONS("\7", PADDING_0 "\0\12\0")), DNS_ANSWER,
	    DNS_FORMERR, { ASKED, WITH_EDNS } },

	{ "EDNS version 1",
	    BYTES(
		ID QUERY ONE_AND_OPT QUESTION OPT_AT("\0", "\x04\xd0", "\0", "\1", "\x80\0", "\0")),
	    DNS_ANSWER, DNS_BADVERS,
	    { ASKED, .has_edns = true, .dnssec_ok = true, .udp_size = 1232 } },
	{ "EDNS version 255 with unknown content",
	    BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_AT("\0", "\x04\xd0", "\0", "\377", "\0\0",
		"\3") "abc"),
	    DNS_ANSWER, DNS_BADVERS, { ASKED, WITH_EDNS } },
	{ "EDNS version 1 and a broken message",
	    BYTES(ID QUERY COUNTS("\1", "\0", "\0", "\2") QUESTION
		    OPT_AT("\0", "\x04\xd0", "\0", "\1", "\0\0", "\0") "x"),
	    DNS_ANSWER, DNS_FORMERR, { ASKED, WITH_EDNS } },
};

static void
reads_a_query(void **state)
{
	const struct query_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	struct dns_query q;
	enum dns_rcode rcode = DNS_REFUSED;

	memset(&q, 0xff, sizeof q);
	assert_int_equal(dns_read_query(msg, row->len, &q, &rcode), row->verdict);
	free(msg);
	if (row->verdict == DNS_ANSWER)
		assert_int_equal(rcode, row->rcode);
	if (row->verdict == DNS_DROP)
		return;
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.flags, row->q.flags);
	assert_int_equal(q.question_len, row->q.question_len);
	assert_int_equal(q.has_edns, row->q.has_edns);
	assert_int_equal(q.dnssec_ok, row->q.dnssec_ok);
	assert_int_equal(q.udp_size, row->q.udp_size);
	assert_int_equal(q.is_signed, row->q.is_signed);
	if (row->verdict == DNS_RELAY)
		assert_int_equal(q.len, row->len);
	if (row->q.question_len > 0) {
		assert_int_equal(q.qtype, row->q.qtype);
		assert_int_equal(q.qclass, row->q.qclass);
	}
}

static const struct tail_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	size_t tail_len;
	bool has_edns;
} tail_rows[] = {
	{ "C-36 byte after the question", BYTES(ID QUERY ONE QUESTION "x"), 1, false },
	{ "C-36 byte after the OPT", BYTES(ID QUERY ONE_AND_OPT QUESTION OPT_DO "x"), 1, true },
	{ "C-36 OPT that is not counted", BYTES(ID QUERY ONE QUESTION OPT_DO), 11, false },
	{ "C-36 TSIG that is not counted", BYTES(ID QUERY ONE QUESTION TSIG), sizeof TSIG - 1,
	    false },
};

static void
ends_a_query_at_its_last_record(void **state)
{
	const struct tail_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	struct dns_query q;
	enum dns_rcode rcode;

	assert_int_equal(dns_read_query(msg, row->len, &q, &rcode), DNS_RELAY);
	assert_int_equal(q.len, row->len - row->tail_len);
	assert_int_equal(q.has_edns, row->has_edns);
	assert_false(q.is_signed);
	free(msg);
}

/* All of a good query is needed: cut anywhere, it is dropped or answered FORMERR. */
static void
refuses_a_truncated_query(void **state)
{
	const struct query_row *row = *state;
	struct dns_query q;
	enum dns_verdict verdict;
	enum dns_rcode rcode;
	uint8_t *msg;
	size_t len;

	for (len = 0; len < row->len; len++) {
		msg = tight_copy(row->data, len);
		rcode = DNS_REFUSED;
		verdict = dns_read_query(msg, len, &q, &rcode);
		free(msg);
		if (len < DNS_HEADER_LEN) {
			assert_int_equal(verdict, DNS_DROP);
			continue;
		}
		assert_int_equal(verdict, DNS_ANSWER);
		assert_int_equal(rcode, DNS_FORMERR);
		assert_int_equal(q.question_len,
		    len < DNS_HEADER_LEN + row->q.question_len ? 0 : row->q.question_len);
	}
}

int
main(void)
{
	struct CMUnitTest tests[2 * LENGTH(rows) + LENGTH(tail_rows)] = { 0 };
	size_t n = 0, i;

	for (i = 0; i < LENGTH(rows); i++) {
		tests[n++] = (struct CMUnitTest){ .name = rows[i].name,
			.test_func = reads_a_query,
			.initial_state = (void *)&rows[i] };
		if (rows[i].verdict != DNS_RELAY)
			continue;
		tests[n++] = (struct CMUnitTest){ .name = rows[i].name,
			.test_func = refuses_a_truncated_query,
			.initial_state = (void *)&rows[i] };
	}
	for (i = 0; i < LENGTH(tail_rows); i++)
		tests[n++] = (struct CMUnitTest){ .name = tail_rows[i].name,
			.test_func = ends_a_query_at_its_last_record,
			.initial_state = (void *)&tail_rows[i] };
	return cmocka_run_group_tests_name("dns_read_query", tests, NULL, NULL);
}
