#include "format/dns.h"

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define NONE COUNTS("\0", "\0", "\0", "\0")
#define ANSWERED COUNTS("\1", "\1", "\0", "\0")
#define WITH_OPT COUNTS("\1", "\1", "\0", "\1")
#define FLAGS(low) "\x81" low
#define OPT_RCODE(rcode) OPT_AT("\0", "\x04\xd0", rcode, "\0", "\0\0", "\0")
#define OPT_OPTIONS(len, options) OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\0", len) options
#define EDE(info) "\0\17\0\2\0" info
#define NSID "\0\3\0\2ns"

static const uint8_t query[] = ID QUERY ONE QUESTION;

static const struct match_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	enum dns_match match;
} match_rows[] = {
	{ "answer", BYTES(ID RESPONSE ANSWERED QUESTION RR_A), DNS_MATCH },
	{ "no records", BYTES(ID RESPONSE ONE QUESTION), DNS_MATCH },
	{ "error with the question", BYTES(ID FLAGS("\x85") ONE QUESTION), DNS_MATCH },
	{ "truncated, RA clear", BYTES(ID "\x83\0" ONE QUESTION), DNS_MATCH },
	{ "another ID", BYTES("\0\0" RESPONSE ONE QUESTION), DNS_MATCH },
	{ "another case", BYTES(ID RESPONSE ONE "\7eXAMPLE\3Com\0" TYPE_A IN), DNS_MATCH },
	{ "records that cannot be read", BYTES(ID RESPONSE ANSWERED QUESTION "\377"), DNS_MATCH },

	{ "nothing", BYTES(""), DNS_MISMATCH },
	{ "half a header", BYTES(ID "\x81\x82\0\0\0\0\0\0\0"), DNS_MISMATCH },
	{ "QR clear", BYTES(ID QUERY ONE QUESTION), DNS_MISMATCH },
	{ "opcode 1", BYTES(ID "\x88\0" ONE QUESTION), DNS_MISMATCH },
	{ "opcode 8", BYTES(ID "\xc0\0" ONE QUESTION), DNS_MISMATCH },
	{ "two questions", BYTES(ID RESPONSE COUNTS("\2", "\0", "\0", "\0") QUESTION QUESTION),
	    DNS_MISMATCH },
	{ "257 questions", BYTES(ID RESPONSE "\1\1\0\0\0\0\0\0" QUESTION), DNS_MISMATCH },
	{ "another name", BYTES(ID RESPONSE ONE "\7exbmple\3com\0" TYPE_A IN), DNS_MISMATCH },
	{ "last letter differs", BYTES(ID RESPONSE ONE "\7example\3con\0" TYPE_A IN),
	    DNS_MISMATCH },
	{ "other labels", BYTES(ID RESPONSE ONE "\3exa\7plexcom\0" TYPE_A IN), DNS_MISMATCH },
	{ "a name below", BYTES(ID RESPONSE ONE "\1a" NAME TYPE_A IN), DNS_MISMATCH },
	{ "the name above", BYTES(ID RESPONSE ONE "\3com\0" TYPE_A IN), DNS_MISMATCH },
	{ "another type", BYTES(ID RESPONSE ONE NAME "\0\34" IN), DNS_MISMATCH },
	{ "type 257", BYTES(ID RESPONSE ONE NAME "\1\1" IN), DNS_MISMATCH },
	{ "another class", BYTES(ID RESPONSE ONE NAME TYPE_A "\0\3"), DNS_MISMATCH },
	{ "compressed name", BYTES(ID RESPONSE ONE "\7example\300\14" TYPE_A IN "\0\0"),
	    DNS_MISMATCH },

	{ "bare NOERROR", BYTES(ID FLAGS("\x80") NONE), DNS_MISMATCH },
	{ "bare FORMERR", BYTES(ID FLAGS("\x81") NONE), DNS_MATCH_BARE },
	{ "bare SERVFAIL", BYTES(ID FLAGS("\x82") NONE), DNS_MATCH_BARE },
	{ "bare NXDOMAIN", BYTES(ID FLAGS("\x83") NONE), DNS_MISMATCH },
	{ "bare NOTIMP", BYTES(ID FLAGS("\x84") NONE), DNS_MATCH_BARE },
	{ "bare REFUSED", BYTES(ID FLAGS("\x85") NONE), DNS_MATCH_BARE },
	{ "bare YXDOMAIN", BYTES(ID FLAGS("\x86") NONE), DNS_MISMATCH },
	{ "bare NOTAUTH", BYTES(ID FLAGS("\x89") NONE), DNS_MISMATCH },
	{ "bare SERVFAIL with an OPT",
	    BYTES(ID FLAGS("\x82") COUNTS("\0", "\0", "\0", "\1") OPT_EMPTY), DNS_MATCH_BARE },
	{ "bare SERVFAIL, QR clear", BYTES(ID "\1\2" NONE), DNS_MISMATCH },
	{ "bare SERVFAIL, opcode 4", BYTES(ID "\xa1\2" NONE), DNS_MISMATCH },
};

static void
matches_a_response(void **state)
{
	const struct match_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	uint8_t *sent = tight_copy(query, sizeof query - 1);

	assert_int_equal(dns_match_response(msg, row->len, sent, QUESTION_LEN), row->match);
	free(sent);
	free(msg);
}

static void
needs_the_whole_question(void **state)
{
	const struct match_row *row = *state;
	uint8_t *msg;
	size_t len;

	for (len = 0; len < row->len; len++) {
		msg = tight_copy(row->data, len);
		assert_int_equal(dns_match_response(msg, len, query, QUESTION_LEN),
		    len < DNS_HEADER_LEN + QUESTION_LEN ? DNS_MISMATCH : DNS_MATCH);
		free(msg);
	}
}

/* Only the 26 letters have two cases; no other pair that is 32 apart is equal. */
static void
folds_letters_only(void **state)
{
	static const uint8_t sent[] = ID QUERY ONE "\1x\0" TYPE_A IN;
	uint8_t ours[sizeof sent], theirs[sizeof sent];
	unsigned a, b;
	bool same;

	(void)state;
	memcpy(ours, sent, sizeof sent);
	memcpy(theirs, sent, sizeof sent);
	theirs[2] = 0x81;
	for (a = 0; a < 256; a++)
		for (b = 0; b < 256; b++) {
			ours[DNS_HEADER_LEN + 1] = (uint8_t)a;
			theirs[DNS_HEADER_LEN + 1] = (uint8_t)b;
			same = a == b || (a >= 'A' && a <= 'Z' && b == a + 32) ||
			    (b >= 'A' && b <= 'Z' && a == b + 32);
			assert_int_equal(dns_match_response(theirs, sizeof theirs - 1, ours, 7),
			    same ? DNS_MATCH : DNS_MISMATCH);
		}
}

static const struct rcode_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	unsigned rcode;
	bool bogus;
} rcode_rows[] = {
	{ "NOERROR", BYTES(ID RESPONSE ANSWERED QUESTION RR_A), 0, false },
	{ "header alone", BYTES(ID FLAGS("\x8f") NONE), 15, false },
	{ "SERVFAIL, empty OPT", BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_EMPTY), 2,
	    false },
	{ "BADVERS", BYTES(ID FLAGS("\x80") WITH_OPT QUESTION RR_A OPT_RCODE("\1")), DNS_BADVERS,
	    false },
	{ "BADCOOKIE", BYTES(ID FLAGS("\x87") WITH_OPT QUESTION RR_A OPT_RCODE("\1")), 23, false },
	{ "highest", BYTES(ID FLAGS("\x8f") WITH_OPT QUESTION RR_A OPT_RCODE("\377")), 4095,
	    false },
	{ "without a question",
	    BYTES(ID FLAGS("\x81") COUNTS("\0", "\0", "\0", "\1") OPT_RCODE("\1")), 17, false },
	{ "records around the OPT",
	    BYTES(ID FLAGS("\x81") COUNTS("\1", "\1", "\1", "\3")
		    QUESTION RR_A RR_A RR_A OPT_RCODE("\1") RR_A),
	    17, false },
	{ "OPT among the answers", BYTES(ID FLAGS("\x81") ANSWERED QUESTION OPT_RCODE("\1")), 1,
	    false },
	{ "OPT at a name", BYTES(ID FLAGS("\x81") WITH_OPT QUESTION RR_A "\1a" OPT_RCODE("\1")), 1,
	    false },
	{ "two OPT",
	    BYTES(ID FLAGS("\x81") COUNTS("\1", "\0", "\0", "\2") QUESTION OPT_RCODE("\1")
		    OPT_RCODE("\1")),
	    1, false },
	{ "records that end before the OPT",
	    BYTES(ID FLAGS("\x81") COUNTS("\1", "\2", "\0", "\1") QUESTION RR_A OPT_RCODE("\1")), 1,
	    false },

	{ "DNSSEC Bogus",
	    BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_OPTIONS("\6", EDE("\6"))), 2, true },
	{ "EDE with a text",
	    BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_OPTIONS("\11", "\0\17\0\5\0\7why")),
	    2, true },
	{ "EDE after other options",
	    BYTES(ID FLAGS("\x82")
		    WITH_OPT QUESTION RR_A OPT_OPTIONS("\22", NSID EDE("\26") EDE("\11"))),
	    2, true },
	{ "EDE without an INFO-CODE",
	    BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_OPTIONS("\4", "\0\17\0\0")), 2,
	    false },
	{ "EDE of one byte",
	    BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_OPTIONS("\5", "\0\17\0\1\6")), 2,
	    false },
	{ "EDE longer than its OPT",
	    BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_OPTIONS("\6", "\0\17\0\3\0\6")), 2,
	    false },
	{ "INFO-CODE 262",
	    BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_OPTIONS("\6", "\0\17\0\2\1\6")), 2,
	    false },
	{ "another option with the same bytes",
	    BYTES(ID FLAGS("\x82") WITH_OPT QUESTION RR_A OPT_OPTIONS("\6", "\0\20\0\2\0\6")), 2,
	    false },
	{ "EDE in an OPT among the answers",
	    BYTES(ID FLAGS("\x82") ANSWERED QUESTION OPT_OPTIONS("\6", EDE("\6"))), 2, false },
};

static void
reads_rcode_and_ede(void **state)
{
	const struct rcode_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);

	assert_int_equal(dns_response_rcode(msg, row->len), row->rcode);
	assert_int_equal(dns_response_is_bogus(msg, row->len), row->bogus);
	free(msg);
}

/* An OPT record that is not whole counts for nothing. */
static void
ignores_a_truncated_opt(void **state)
{
	static const uint8_t whole[] = ID FLAGS("\x82")
	    WITH_OPT QUESTION RR_A OPT_AT("\0", "\x04\xd0", "\1", "\0", "\0\0", "\6") EDE("\6");
	uint8_t *msg;
	size_t len;

	(void)state;
	assert_int_equal(dns_response_rcode(whole, sizeof whole - 1), 18);
	assert_true(dns_response_is_bogus(whole, sizeof whole - 1));
	for (len = DNS_HEADER_LEN; len < sizeof whole - 1; len++) {
		msg = tight_copy(whole, len);
		assert_int_equal(dns_response_rcode(msg, len), 2);
		assert_false(dns_response_is_bogus(msg, len));
		free(msg);
	}
}

/* RFC 8914 4: 1, 2 and 5 to 12 mean that validation failed. */
static void
recognises_dnssec_error_codes(void **state)
{
	static const bool bogus[30] = { [1] = true,
		[2] = true,
		[5] = true,
		[6] = true,
		[7] = true,
		[8] = true,
		[9] = true,
		[10] = true,
		[11] = true,
		[12] = true };
	uint8_t msg[] = ID FLAGS("\x82") COUNTS("\1", "\0", "\0", "\1")
	    QUESTION OPT_OPTIONS("\6", EDE("\0"));
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(bogus); i++) {
		msg[sizeof msg - 2] = (uint8_t)i;
		assert_int_equal(dns_response_is_bogus(msg, sizeof msg - 1), bogus[i]);
	}
}

static void
copies_the_question(void **state)
{
	static const uint8_t theirs[] = ID RESPONSE ANSWERED "\7exAMPle\3COM\0" TYPE_A IN RR_A;
	static const uint8_t wanted[] = ID RESPONSE ANSWERED QUESTION RR_A;
	uint8_t *msg = tight_copy(theirs, sizeof theirs - 1);

	(void)state;
	dns_copy_question(msg, query, QUESTION_LEN);
	assert_memory_equal(msg, wanted, sizeof wanted - 1);
	free(msg);
}

static void
changes_the_id_only(void **state)
{
	uint8_t *msg = tight_copy(query, DNS_HEADER_LEN);

	(void)state;
	assert_int_equal(dns_id(msg), 0x1234);
	dns_set_id(msg, 0xfedc);
	assert_int_equal(dns_id(msg), 0xfedc);
	assert_int_equal(msg[0], 0xfe);
	assert_memory_equal(msg + 2, query + 2, DNS_HEADER_LEN - 2);
	free(msg);
}

static void
changes_the_flags_only(void **state)
{
	uint8_t *msg = tight_copy(query, DNS_HEADER_LEN);

	(void)state;
	assert_int_equal(dns_flags(msg), DNS_FLAG_RD);
	dns_set_flags(msg, DNS_FLAG_QR | DNS_FLAG_AA | DNS_FLAG_AD);
	assert_int_equal(dns_flags(msg), 0x8420);
	assert_memory_equal(msg, query, 2);
	assert_memory_equal(msg + 4, query + 4, DNS_HEADER_LEN - 4);
	free(msg);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		{ "needs the whole question", needs_the_whole_question, NULL, NULL,
		    (void *)&match_rows[0] },
		cmocka_unit_test(folds_letters_only),
		cmocka_unit_test(ignores_a_truncated_opt),
		cmocka_unit_test(recognises_dnssec_error_codes),
		cmocka_unit_test(copies_the_question),
		cmocka_unit_test(changes_the_id_only),
		cmocka_unit_test(changes_the_flags_only),
	};

	return RUN_ROWS(match_rows, matches_a_response) +
	    RUN_ROWS(rcode_rows, reads_rcode_and_ede) +
	    cmocka_run_group_tests_name("dns responses", singles, NULL, NULL);
}
