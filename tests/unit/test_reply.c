#include "query/reply.h"

#include "unit.h"

#define ID_OF_QUERY 0x1234
#define HEADER(flags, ar) "\0\0" flags "\0\1\0\0\0\0\0" ar
#define CLIENT_HEADER(flags, ar) "\x12\x34" flags "\0\1\0\0\0\0\0" ar
#define LOWER "\1a\4test\0\0\1\0\1"
#define MIXED "\1A\4tEsT\0\0\1\0\1"
#define OPT(rcode, len) "\0\0\x29\4\xd0" rcode "\0\x80\0\0" len
#define EDE "\0\xf\0\2\0\26"
#define OPT_NEW "\0\0\x29\4\xd0\0\0\0\0\0\0"

static const struct edns_settings as_it_comes;

enum { OPT_ALONE = 11, OPT_AND_EDE = OPT_ALONE + 6, QUESTION_LEN = 12 };

static const struct reply_row {
	const char *name;
	const uint8_t *kept;
	size_t kept_len;
	size_t opt_len;
	bool has_edns;
	bool is_signed;
	const uint8_t *wanted;
	size_t wanted_len;
} reply_rows[] = {
	{ "ID and case are the client's", BYTES(HEADER("\x81\x80", "\0") LOWER), 0, false, false,
	    BYTES(CLIENT_HEADER("\x81\x80", "\0") MIXED) },
	{ "OPT only for clients that sent one", BYTES(HEADER("\x81\x80", "\0") LOWER), 0, true,
	    false, BYTES(CLIENT_HEADER("\x81\x80", "\1") MIXED OPT_NEW) },
	{ "the upstream's OPT is forwarded with its EDE",
	    BYTES(HEADER("\x81\x82", "\1") LOWER OPT("\0", "\6") EDE), OPT_AND_EDE, true, false,
	    BYTES(CLIENT_HEADER("\x81\x82", "\1") MIXED OPT("\0", "\6") EDE) },
	{ "no OPT to a client without EDNS",
	    BYTES(HEADER("\x81\x82", "\1") LOWER OPT("\0", "\6") EDE), OPT_AND_EDE, false, false,
	    BYTES(CLIENT_HEADER("\x81\x82", "\0") MIXED) },
	{ "an extended RCODE is forwarded with its OPT",
	    BYTES(HEADER("\x81\x80", "\1") LOWER OPT("\1", "\0")), OPT_ALONE, true, false,
	    BYTES(CLIENT_HEADER("\x81\x80", "\1") MIXED OPT("\1", "\0")) },
	{ "an extended RCODE is SERVFAIL without OPT",
	    BYTES(HEADER("\x81\x80", "\1") LOWER OPT("\1", "\0")), OPT_ALONE,
	    false, false, BYTES(CLIENT_HEADER("\x81\x82", "\0") MIXED) },
	{ "only the ID of a signed response changes",
	    BYTES(HEADER("\x81\x80", "\1") LOWER OPT("\0", "\0")), 0,
	    true, true, BYTES(CLIENT_HEADER("\x81\x80", "\1") LOWER OPT("\0", "\0")) },
};

static void
converts_to_the_client_form(void **state)
{
	const struct reply_row *row = *state;
	static uint8_t response[DNS_MESSAGE_MAX];
	uint8_t *message = tight_copy(BYTES(CLIENT_HEADER("\1\0", "\0") MIXED));
	struct query q = { .message = message,
		.response = response,
		.response_len = row->kept_len,
		.is_canonical = true,
		.opt_len = row->opt_len,
		.dns = { .id = ID_OF_QUERY,
		    .question_len = QUESTION_LEN,
		    .has_edns = row->has_edns,
		    .is_signed = row->is_signed } };

	memcpy(response, row->kept, row->kept_len);
	reply_finish(&q, &as_it_comes);
	assert_int_equal(q.response_len, row->wanted_len);
	assert_memory_equal(q.response, row->wanted, row->wanted_len);
	assert_false(q.is_canonical);
	/* One of our own, or one that is the client's already, stays as it is. */
	response[0] = 0x77;
	reply_finish(&q, &as_it_comes);
	assert_int_equal(response[0], 0x77);
	assert_int_equal(q.response_len, row->wanted_len);
	free(message);
}

/* The flags of a kept response, of the query, and of what the client gets. */
static const struct flags_row {
	const char *name;
	uint16_t kept;
	uint16_t query;
	bool dnssec_ok;
	uint16_t wanted;
	bool is_signed;
} flags_rows[] = {
	{ "K-20 AD to a client that set AD", 0x81a0, 0x0120, false, 0x81a0, false },
	{ "K-20 AD to a client that set DO", 0x81a0, 0x0100, true, 0x81a0, false },
	{ "K-20 no AD to any other", 0x81a0, 0x0100, false, 0x8180, false },
	{ "K-20 no AD where there was none", 0x8180, 0x0120, true, 0x8180, false },
	{ "K-23 RD is the client's", 0x8180, 0x0000, false, 0x8080, false },
	{ "K-23 RD is the client's, set", 0x8080, 0x0100, false, 0x8180, false },
	{ "K-23 CD is the client's", 0x8190, 0x0100, false, 0x8180, false },
	{ "K-23 CD is the client's, set", 0x8180, 0x0110, false, 0x8190, false },
	{ "RA, AA, Z and RCODE are the upstream's", 0x84c3, 0x0000, false, 0x84c3, false },
	{ "those of the query's that are no answer", 0x8180, 0x0140, false, 0x8180, false },
	{ "K-38 a signed response has its own", 0x8030, 0x0100, false, 0x8030, true },
};

static uint16_t
finished_flags(const struct flags_row *row, const struct edns_settings *settings)
{
	static uint8_t response[DNS_MESSAGE_MAX];
	uint8_t *message = tight_copy(BYTES(CLIENT_HEADER("\1\0", "\0") MIXED));
	struct query q = { .message = message,
		.response = response,
		.response_len = DNS_HEADER_LEN + QUESTION_LEN,
		.is_canonical = true,
		.dns = { .id = ID_OF_QUERY,
		    .flags = row->query,
		    .question_len = QUESTION_LEN,
		    .dnssec_ok = row->dnssec_ok,
		    .is_signed = row->is_signed } };

	memcpy(response, message, DNS_HEADER_LEN + QUESTION_LEN);
	dns_set_flags(response, row->kept);
	reply_finish(&q, settings);
	free(message);
	return dns_flags(response);
}

static void
gives_each_client_its_flags(void **state)
{
	static const struct edns_settings asks_ad = { .ask_ad = true };
	const struct flags_row *row = *state;

	assert_int_equal(finished_flags(row, &asks_ad), row->wanted);
	assert_int_equal(finished_flags(row, &as_it_comes), row->kept);
}

static const struct limit_row {
	const char *name;
	bool has_edns;
	uint16_t client_size;
	int udp_size;
	size_t len;
	bool truncated;
} limit_rows[] = {
	{ "512 bytes without EDNS", false, 4096, 1232, 512, false },
	{ "more than 512 bytes is truncated", false, 4096, 1232, 513, true },
	{ "the client's size", true, 1000, 1232, 1000, false },
	{ "more than the client's size is truncated", true, 1000, 1232, 1001, true },
	{ "no less than 512 bytes", true, 0, 1232, 512, false },
	{ "the configured size", true, 4096, 1232, 1232, false },
	{ "more than the configured size is truncated", true, 4096, 1232, 1233, true },
};

static void
truncates(void **state)
{
	const struct limit_row *row = *state;
	static const uint8_t start[] = CLIENT_HEADER("\x81\x80", "\1") MIXED "\0\377\0\0\1\0\0\0\0";
	enum { START_LEN = sizeof start - 1, FLAG_TC = 2 };
	uint8_t *response = calloc(1, row->len);
	struct query q = { .response = response,
		.response_len = row->len,
		.dns = { .has_edns = row->has_edns, .udp_size = row->client_size } };
	size_t data = row->len - START_LEN - 2;

	assert_non_null(response);
	memcpy(response, start, START_LEN);
	response[START_LEN] = (uint8_t)(data >> 8);
	response[START_LEN + 1] = (uint8_t)data;
	reply_truncate(&q, row->udp_size);
	assert_int_equal((response[2] & FLAG_TC) != 0, row->truncated);
	assert_int_equal(q.response_len < row->len, row->truncated);
	free(response);
}

int
main(void)
{
	return RUN_ROWS(reply_rows, converts_to_the_client_form) +
	    RUN_ROWS(flags_rows, gives_each_client_its_flags) +
	    RUN_ROWS(limit_rows, truncates);
}
