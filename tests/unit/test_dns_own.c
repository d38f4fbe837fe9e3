#include "format/dns.h"

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define ONE_AND_OPT COUNTS("\1", "\0", "\0", "\1")
#define SAID COUNTS("\1", "\1", "\0", "\0")
#define CH "\0\3"
#define TXT "\0\20"
#define HEALTH "\6health\11dot-proxy\0" TXT CH
#define READY "\5ready\11dot-proxy\0" TXT CH
#define ODD_HEALTH "\6hEALTh\11DOT-proxY\0" TXT CH
#define RR_TXT(len, text) "\300\14" TXT CH "\0\0\0\0\0" len text
#define OPT_DO OPT_AT("\0", "\x10\x00", "\0", "\0", "\x80\x00", "\0")
#define OPT_OPTIONS(len, options) OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\0", len) options

/* A question, and whether it is one of the local ones. */
enum { OTHER = -1 };

static const struct asked_row {
	const char *name;
	const uint8_t *query;
	size_t len;
	int own;
} asked_rows[] = {
	{ "health", BYTES(ID QUERY ONE HEALTH), DNS_OWN_HEALTH },
	{ "ready", BYTES(ID QUERY ONE READY), DNS_OWN_READY },
	{ "the root", BYTES(ID QUERY ONE "\0\0\2" IN), DNS_OWN_ROOT },
	{ "another case", BYTES(ID QUERY ONE ODD_HEALTH), DNS_OWN_HEALTH },
	{ "with EDNS", BYTES(ID QUERY ONE_AND_OPT HEALTH OPT_EMPTY), DNS_OWN_HEALTH },
	{ "class IN", BYTES(ID QUERY ONE "\6health\11dot-proxy\0" TXT IN), OTHER },
	{ "type A", BYTES(ID QUERY ONE "\6health\11dot-proxy\0" TYPE_A CH), OTHER },
	{ "type 8208", BYTES(ID QUERY ONE "\6health\11dot-proxy\0\40\20" CH), OTHER },
	{ "another name", BYTES(ID QUERY ONE "\6health\11dot_proxy\0" TXT CH), OTHER },
	{ "other labels", BYTES(ID QUERY ONE "\11health\11do\6-proxy\0" TXT CH), OTHER },
	{ "a name below", BYTES(ID QUERY ONE "\1a" HEALTH), OTHER },
	{ "the name above", BYTES(ID QUERY ONE "\11dot-proxy\0" TXT CH), OTHER },
	{ "no question", BYTES(ID QUERY COUNTS("\0", "\0", "\0", "\0")), OTHER },
};

static void
recognises_local_questions(void **state)
{
	const struct asked_row *row = *state;
	uint8_t *query = tight_copy(row->query, row->len);
	struct dns_query q;
	enum dns_rcode rcode;
	int own;

	(void)dns_read_query(query, row->len, &q, &rcode);
	for (own = DNS_OWN_HEALTH; own <= DNS_OWN_ROOT; own++)
		assert_int_equal(dns_question_is(query, q.question_len, (enum dns_own_question)own),
		    own == row->own);
	free(query);
}

#define ZONE "\10resolver\4arpa\0"

static const struct zone_row {
	const char *name;
	const uint8_t *query;
	size_t len;
	bool is_in_zone;
} zone_rows[] = {
	{ "K-48 the name of discovery", BYTES(ID QUERY ONE "\4_dns" ZONE "\0\100" IN), true },
	{ "K-48 the zone", BYTES(ID QUERY ONE ZONE "\0\6" IN), true },
	{ "K-48 two labels below", BYTES(ID QUERY ONE "\1a\4_dns" ZONE TYPE_A IN), true },
	{ "K-48 another case", BYTES(ID QUERY ONE "\10rEsOlVeR\4ARPA\0" TYPE_A IN), true },
	{ "K-48 class CH", BYTES(ID QUERY ONE ZONE TYPE_A CH), false },
	{ "K-48 a longer label", BYTES(ID QUERY ONE "\11xresolver\4arpa\0" TYPE_A IN), false },
	{ "K-48 the name inside of a label", BYTES(ID QUERY ONE "\16\10resolver\4arpa\0" TYPE_A IN),
	    false },
	{ "K-48 the zone above", BYTES(ID QUERY ONE "\4arpa\0" TYPE_A IN), false },
	{ "K-48 the root", BYTES(ID QUERY ONE "\0" TYPE_A IN), false },
	{ "K-48 below another name", BYTES(ID QUERY ONE "\10resolver\4arpa\4test\0" TYPE_A IN),
	    false },
};

static void
recognises_resolver_arpa(void **state)
{
	const struct zone_row *row = *state;
	uint8_t *query = tight_copy(row->query, row->len);
	struct dns_query q;
	enum dns_rcode rcode;
	size_t at;

	assert_int_equal(dns_read_query(query, row->len, &q, &rcode), DNS_RELAY);
	assert_int_equal(dns_is_resolver_arpa(query, &q, &at), row->is_in_zone);
	if (row->is_in_zone)
		assert_int_equal(at + sizeof ZONE - 1, q.question_len - 4);
	free(query);
}

static void
writes_local_questions(void **state)
{
	struct dns_query q;
	enum dns_rcode rcode;
	uint8_t *query;
	size_t len;
	int own;

	(void)state;
	for (own = DNS_OWN_HEALTH; own <= DNS_OWN_NO_CACHE; own++) {
		query = malloc(DNS_OWN_QUERY_MAX);
		assert_non_null(query);
		len = dns_write_query(query, 0x1234, (enum dns_own_question)own);
		assert_in_range(len, DNS_HEADER_LEN, DNS_OWN_QUERY_MAX);
		assert_int_equal(dns_read_query(query, len, &q, &rcode), DNS_RELAY);
		assert_int_equal(q.id, 0x1234);
		assert_int_equal(q.flags, 0x0100);
		assert_true(q.has_edns && !q.dnssec_ok);
		assert_int_equal(q.udp_size, DNS_UDP_SIZE);
		assert_true(dns_question_is(query, q.question_len, (enum dns_own_question)own));
		free(query);
	}
}

static const struct text_row {
	const char *name;
	const uint8_t *query;
	size_t query_len;
	const char *text;
	const uint8_t *answer;
	size_t len;
} text_rows[] = {
	{ "a text", BYTES(ID QUERY ONE HEALTH), "ok",
	    BYTES(ID "\x81\x80" SAID HEALTH RR_TXT("\3", "\2ok")) },
	{ "the question byte by byte", BYTES(ID QUERY ONE ODD_HEALTH), "ok",
	    BYTES(ID "\x81\x80" SAID ODD_HEALTH RR_TXT("\3", "\2ok")) },
	{ "an empty text", BYTES(ID QUERY ONE HEALTH), "",
	    BYTES(ID "\x81\x80" SAID HEALTH RR_TXT("\1", "\0")) },
	{ "RD clear, CD set", BYTES(ID "\0\x10" ONE READY), "ready",
	    BYTES(ID "\x80\x90" SAID READY RR_TXT("\6", "\5ready")) },
	{ "EDNS, DO copied", BYTES(ID QUERY ONE_AND_OPT READY OPT_DO), "ready",
	    BYTES(ID "\x81\x80" COUNTS("\1", "\1", "\0", "\1") READY RR_TXT("\6", "\5ready")
		      OPT_AT("\0", "\x04\xd0", "\0", "\0", "\x80\0", "\0")) },
	{ "no question", BYTES(ID QUERY COUNTS("\0", "\0", "\0", "\0")), "ok", BYTES("") },
};

/* With a buffer of the exact size, and with each smaller one. */
static void
writes_a_text(void **state)
{
	const struct text_row *row = *state;
	uint8_t *query = tight_copy(row->query, row->query_len);
	uint8_t *room;
	struct dns_query q;
	enum dns_rcode rcode;
	size_t cap;

	(void)dns_read_query(query, row->query_len, &q, &rcode);
	for (cap = 1; cap <= row->len; cap++) {
		room = malloc(cap);
		assert_non_null(room);
		assert_int_equal(dns_write_text(room, cap, query, &q, row->text),
		    cap < row->len ? 0 : row->len);
		if (cap == row->len) {
			assert_memory_equal(room, row->answer, cap);
			assert_true(dns_txt_equals(room, cap, row->text));
		}
		free(room);
	}
	free(query);
}

static void
writes_one_character_string(void **state)
{
	static const uint8_t query[] = ID QUERY ONE HEALTH;
	char text[258];
	uint8_t out[DNS_ERROR_MAX];
	struct dns_query q;
	enum dns_rcode rcode;
	size_t len;

	(void)state;
	memset(text, 'x', sizeof text);
	text[256] = '\0';
	assert_int_equal(dns_read_query(query, sizeof query - 1, &q, &rcode), DNS_RELAY);
	assert_int_equal(dns_write_text(out, sizeof out, query, &q, text), 0);
	text[255] = '\0';
	len = dns_write_text(out, sizeof out, query, &q, text);
	assert_int_equal(len, sizeof query - 1 + 12 + 256);
	assert_true(dns_txt_equals(out, len, text));
}

static const struct reply_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	bool is_ok;
	const char *ede;
} reply_rows[] = {
	{ "ok", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\3", "\2ok")), true, "" },
	{ "another text", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\3", "\2no")), false, "" },
	{ "a longer text", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\4", "\3oks")), false, "" },
	{ "a shorter text", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\2", "\1o")), false, "" },
	{ "two strings", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\5", "\2ok\1x")), false, "" },
	{ "a string that is cut", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\2", "\2o")), false, "" },
	{ "no string", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\0", "")), false, "" },
	{ "a record that is cut", BYTES(ID RESPONSE SAID HEALTH RR_TXT("\3", "\2o")), false, "" },
	{ "another type", BYTES(ID RESPONSE SAID HEALTH "\300\14\0\1\0\3\0\0\0\0\0\3\2ok"), false,
	    "" },
	{ "no record", BYTES(ID RESPONSE ONE HEALTH), false, "" },
	{ "in another section",
	    BYTES(ID RESPONSE COUNTS("\1", "\0", "\1", "\0") HEALTH RR_TXT("\3", "\2ok")), false,
	    "" },
	{ "no question", BYTES(ID RESPONSE COUNTS("\0", "\1", "\0", "\0") RR_TXT("\3", "\2ok")),
	    false, "" },
	{ "nothing", BYTES(""), false, "" },
	{ "EDE", BYTES(ID RESPONSE ONE_AND_OPT HEALTH OPT_OPTIONS("\14", "\0\17\0\10\0\16not up")),
	    false, "not up" },
	{ "EDE after another option",
	    BYTES(ID RESPONSE ONE_AND_OPT HEALTH OPT_OPTIONS("\15", "\0\3\0\1n\0\17\0\4\0\16up")),
	    false, "up" },
	{ "EDE without a text",
	    BYTES(ID RESPONSE ONE_AND_OPT HEALTH OPT_OPTIONS("\6", "\0\17\0\2\0\16")), false, "" },
	{ "EDE that is cut", BYTES(ID RESPONSE ONE_AND_OPT HEALTH OPT_OPTIONS("\5", "\0\17\0\1\0")),
	    false, "" },
	{ "EDE with control characters",
	    BYTES(ID RESPONSE ONE_AND_OPT HEALTH OPT_OPTIONS("\14",
		"\0\17\0\10\0\16\33[2J\n\377")),
	    false, "?[2J??" },
	{ "an OPT that is cut", BYTES(ID RESPONSE ONE_AND_OPT HEALTH OPT_OPTIONS("\14", "\0\17")),
	    false, "" },
};

static void
reads_a_response_text(void **state)
{
	const struct reply_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	char text[DNS_EDE_TEXT_MAX];

	assert_int_equal(dns_txt_equals(msg, row->len, "ok"), row->is_ok);
	assert_ptr_equal(dns_format_ede(msg, row->len, text), text);
	assert_string_equal(text, row->ede);
	free(msg);
}

/* The text of a local error of any length. */
static void
long_error_text_is_truncated(void **state)
{
	static const uint8_t query[] = ID QUERY ONE_AND_OPT HEALTH OPT_EMPTY;
	char text[DNS_EDE_TEXT_MAX + 1];
	char *back = malloc(DNS_EDE_TEXT_MAX);
	uint8_t out[DNS_ERROR_MAX];
	struct dns_query q;
	enum dns_rcode rcode;
	size_t n, len;

	(void)state;
	assert_non_null(back);
	assert_int_equal(dns_read_query(query, sizeof query - 1, &q, &rcode), DNS_RELAY);
	for (n = DNS_EDE_TEXT_MAX - 2; n <= DNS_EDE_TEXT_MAX; n++) {
		memset(text, 'x', n);
		text[n] = '\0';
		len = dns_write_error(out, sizeof out, query, &q, DNS_SERVFAIL, DNS_EDE_NOT_READY,
		    text);
		assert_int_equal(strlen(dns_format_ede(out, len, back)),
		    n < DNS_EDE_TEXT_MAX ? n : DNS_EDE_TEXT_MAX - 1);
	}
	free(back);
}

static void
writes_a_query_for_any_name(void **state)
{
	uint8_t name[DNS_NAME_MAX];
	uint8_t *copy;
	uint8_t out[DNS_NS_QUERY_MAX];
	struct dns_query q;
	enum dns_rcode rcode;
	size_t len;

	(void)state;
	for (len = 1; len <= DNS_NAME_MAX; len += 2) {
		size_t i;

		for (i = 0; i < len; i++)
			name[i] = i == len - 1 ? 0 : i % 2 == 0 ? 1 : 'a';
		copy = tight_copy(name, len);
		assert_int_equal(dns_write_ns_query(out, 7, copy, len),
		    DNS_HEADER_LEN + len + 4 + 11);
		free(copy);
		assert_int_equal(dns_read_query(out, DNS_HEADER_LEN + len + 4 + 11, &q, &rcode),
		    DNS_RELAY);
		assert_int_equal(q.id, 7);
		assert_int_equal(q.qtype, DNS_TYPE_NS);
		assert_int_equal(q.question_len, len + 4);
		assert_memory_equal(out + DNS_HEADER_LEN, name, len);
	}
}

static void
names_rcodes(void **state)
{
	char text[20];

	(void)state;
	assert_string_equal(dns_format_rcode(DNS_NOERROR, text), "NOERROR");
	assert_string_equal(dns_format_rcode(DNS_SERVFAIL, text), "SERVFAIL");
	assert_string_equal(dns_format_rcode(DNS_REFUSED, text), "REFUSED");
	assert_string_equal(dns_format_rcode((enum dns_rcode)6, text), "RCODE 6");
	assert_string_equal(dns_format_rcode((enum dns_rcode)4095, text), "RCODE 4095");
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(writes_local_questions),
		cmocka_unit_test(writes_one_character_string),
		cmocka_unit_test(long_error_text_is_truncated),
		cmocka_unit_test(writes_a_query_for_any_name),
		cmocka_unit_test(names_rcodes),
	};

	return RUN_ROWS(asked_rows, recognises_local_questions) +
	    RUN_ROWS(zone_rows, recognises_resolver_arpa) +
	    RUN_ROWS(text_rows, writes_a_text) +
	    RUN_ROWS(reply_rows, reads_a_response_text) +
	    cmocka_run_group_tests_name("dns, local questions", singles, NULL, NULL);
}
