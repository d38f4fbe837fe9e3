#include "format/edns.h"

#include "format/opt.h"

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define ONE_AND(ar) COUNTS("\1", "\0", "\0", ar)
#define OPT(len, options) OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\0", len) options
#define OPT_FLAGS(flags, len, options) OPT_AT("\0", "\x04\xd0", "\0", "\0", flags, len) options

#define NSID "\0\3\0\2ns"
#define SUBNET "\0\10\0\7\0\1\30\0\300\0\2"
#define COOKIE "\0\12\0\10cookie.."
#define KEEPALIVE "\0\13\0\0"
#define TIMEOUT(units) "\0\13\0\2" units
#define PADDING "\0\14\0\3\0\0\0"
#define EDE "\0\17\0\5\0\6bad"
#define UNKNOWN "\375\351\0\1?"
#define OPT_OUT "\0\10\0\4\0\1\0\0"

/* Behind a header, a question and an empty OPT, so at 40: owner and data are free. */
#define RECORD(owner, len, data) owner TYPE_A IN "\0\0\0\74\0" len data
#define SIG(covered) "\0\0\30\0\377\0\0\0\0\0\4" covered "so"

static const struct edns_settings as_it_comes = { .padding = false, .client_subnet = true };
static const struct edns_settings opted_out = { .padding = false, .client_subnet = false };
static const struct edns_settings padded = { .padding = true, .client_subnet = false };
static const struct edns_settings no_subnet = { .no_opt_out = true };
static const struct edns_settings asks_ad = { .client_subnet = true, .ask_ad = true };

enum { BLOCK = 128 };

static const struct query_row {
	const char *name;
	const struct edns_settings *settings;
	enum edns_mode mode;
	const uint8_t *data;
	size_t len;
	const uint8_t *wanted;
	size_t wanted_len;
} query_rows[] = {
	{ "C-29 no OPT", &as_it_comes, EDNS_OURS, BYTES(ID QUERY ONE QUESTION),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\4", KEEPALIVE)) },
	{ "no OPT, opt-out", &opted_out, EDNS_OURS, BYTES(ID QUERY ONE QUESTION),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\14", OPT_OUT KEEPALIVE)) },
	{ "empty OPT", &as_it_comes, EDNS_OURS, BYTES(ID QUERY ONE_AND("\1") QUESTION OPT_EMPTY),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\4", KEEPALIVE)) },
	{ "C-29 flags, another size", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT_AT("\0", "\1\0", "\0", "\0", "\xc0\1", "\0")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT_FLAGS("\xc0\1", "\4", KEEPALIVE)) },
	{ "extended RCODE bits in a query", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT_AT("\0", "\4\xd0", "\7", "\0", "\0\0", "\0")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\4", KEEPALIVE)) },
	{ "forwarded options keep their order", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\24", UNKNOWN NSID UNKNOWN "\0\1\0\0")),
	    BYTES(ID QUERY ONE_AND("\1")
		    QUESTION OPT("\30", UNKNOWN NSID UNKNOWN "\0\1\0\0" KEEPALIVE)) },
	{ "hop-by-hop options", &opted_out, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\56",
		SUBNET COOKIE KEEPALIVE NSID PADDING TIMEOUT("\0\1") "")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\22", NSID OPT_OUT KEEPALIVE)) },
	{ "client subnet", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\33", COOKIE SUBNET "\0\14\0\0")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\17", SUBNET KEEPALIVE)) },

	{ "no Client Subnet, no OPT", &no_subnet, EDNS_OURS, BYTES(ID QUERY ONE QUESTION),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\4", KEEPALIVE)) },
	{ "no Client Subnet, hop-by-hop options", &no_subnet, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\56",
		SUBNET COOKIE KEEPALIVE NSID PADDING TIMEOUT("\0\1") "")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\12", NSID KEEPALIVE)) },

	{ "K-20 AD is asked for", &asks_ad, EDNS_OURS, BYTES(ID QUERY ONE QUESTION),
	    BYTES(ID "\x01\x20" ONE_AND("\1") QUESTION OPT("\4", KEEPALIVE)) },
	{ "K-20 other flags stay", &asks_ad, EDNS_CLIENT, BYTES(ID "\x01\x70" ONE QUESTION),
	    BYTES(ID "\x01\x70" ONE QUESTION) },
	{ "K-20 without EDNS, too", &asks_ad, EDNS_NONE, BYTES(ID "\x00\x10" ONE QUESTION),
	    BYTES(ID "\x00\x30" ONE QUESTION) },
	{ "K-20 but not in a signed query", &asks_ad, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION TSIG),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION TSIG) },

	{ "bare, no OPT", &padded, EDNS_CLIENT, BYTES(ID QUERY ONE QUESTION),
	    BYTES(ID QUERY ONE QUESTION) },
	{ "bare, with OPT", &padded, EDNS_CLIENT,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\44", SUBNET COOKIE PADDING NSID)),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\6", NSID)) },

	{ "no EDNS, no OPT", &padded, EDNS_NONE, BYTES(ID QUERY ONE QUESTION),
	    BYTES(ID QUERY ONE QUESTION) },
	{ "D-28 no EDNS, with OPT", &padded, EDNS_NONE,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\44", SUBNET COOKIE PADDING NSID)),
	    BYTES(ID QUERY ONE QUESTION) },
	{ "no EDNS, record after the OPT", &padded, EDNS_NONE,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION OPT("\6", NSID) RR_A),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION RR_A) },

	{ "TSIG", &padded, EDNS_OURS, BYTES(ID QUERY ONE_AND("\1") QUESTION TSIG),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION TSIG) },
	{ "OPT and TSIG", &padded, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION OPT("\14", COOKIE) TSIG),
	    BYTES(ID QUERY ONE_AND("\2") QUESTION OPT("\14", COOKIE) TSIG) },
	{ "SIG(0)", &padded, EDNS_OURS, BYTES(ID QUERY ONE_AND("\1") QUESTION SIG("\0\0")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION SIG("\0\0")) },
	{ "SIG that covers a type", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\1") QUESTION SIG("\0\1")),
	    BYTES(ID QUERY ONE_AND("\2") QUESTION SIG("\0\1") OPT("\4", KEEPALIVE)) },
	{ "TSIG that is not the last record", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION TSIG OPT_EMPTY),
	    BYTES(ID QUERY ONE_AND("\2") QUESTION TSIG OPT("\4", KEEPALIVE)) },

	{ "record before the OPT", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION RR_A OPT_EMPTY),
	    BYTES(ID QUERY ONE_AND("\2") QUESTION RR_A OPT("\4", KEEPALIVE)) },
	{ "record after the OPT", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION OPT("\6", NSID) RR_A),
	    BYTES(ID QUERY ONE_AND("\2") QUESTION RR_A OPT("\12", NSID KEEPALIVE)) },
	{ "records after the OPT that point at it", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\3") QUESTION OPT_EMPTY RR_A RECORD("\300\35", "\1", "x")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\4", KEEPALIVE)) },
	{ "record after the OPT that points right before it", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION OPT_EMPTY RECORD("\300\34", "\1", "x")),
	    BYTES(ID QUERY ONE_AND("\2") QUESTION RECORD("\300\34", "\1", "x") OPT("\4",
		KEEPALIVE)) },
	{ "record that points after the OPT from its data", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION OPT_EMPTY RECORD("\1a\0", "\2", "\300\50")),
	    BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\4", KEEPALIVE)) },
	{ "data that would point forward", &as_it_comes, EDNS_OURS,
	    BYTES(ID QUERY ONE_AND("\2") QUESTION OPT_EMPTY RECORD("\1a\0", "\3", "\300\65\377")),
	    BYTES(ID QUERY ONE_AND("\2")
		    QUESTION RECORD("\1a\0", "\3", "\300\65\377") OPT("\4", KEEPALIVE)) },
};

static void
writes_a_query(void **state)
{
	const struct query_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	struct dns_query q;
	enum dns_rcode rcode;
	uint8_t *out;
	size_t cap;

	assert_int_equal(dns_read_query(msg, row->len, &q, &rcode), DNS_RELAY);
	for (cap = 0; cap < row->wanted_len; cap++) {
		out = malloc(cap > 0 ? cap : 1);
		assert_non_null(out);
		assert_int_equal(edns_write_query(out, cap, msg, row->len, &q, row->settings,
				     row->mode), 0);
		free(out);
	}
	out = malloc(cap);
	assert_non_null(out);
	assert_int_equal(edns_write_query(out, cap, msg, row->len, &q, row->settings, row->mode),
	    cap);
	assert_memory_equal(out, row->wanted, cap);
	free(out);
	free(msg);
}

/* A query of LEN bytes whose OPT has one option that is forwarded. */
static uint8_t *
long_query(size_t len, struct dns_query *q)
{
	static const uint8_t start[] = ID QUERY ONE_AND("\1") QUESTION OPT_EMPTY;
	size_t base = sizeof start - 1;
	uint8_t *msg = calloc(1, len);
	enum dns_rcode rcode;

	assert_non_null(msg);
	memcpy(msg, start, base);
	msg[base - 2] = (uint8_t)((len - base) >> 8);
	msg[base - 1] = (uint8_t)(len - base);
	msg[base] = 0xfd;
	msg[base + 2] = (uint8_t)((len - base - 4) >> 8);
	msg[base + 3] = (uint8_t)(len - base - 4);
	assert_int_equal(dns_read_query(msg, len, q, &rcode), DNS_RELAY);
	return msg;
}

/* RFC 8467 4.1: whole blocks, by zeros in an option that is the last one. */
static void
pads_to_whole_blocks(void **state)
{
	static uint8_t out[DNS_MESSAGE_MAX];
	struct dns_query q;
	size_t len, unpadded, written, option, i;

	(void)state;
	for (len = 60; len < 60 + 2 * BLOCK; len++) {
		uint8_t *msg = long_query(len, &q);

		unpadded = edns_write_query(out, sizeof out, msg, len, &q, &opted_out, EDNS_OURS);
		assert_int_equal(unpadded, len + 12);
		written = edns_write_query(out, sizeof out, msg, len, &q, &padded, EDNS_OURS);
		assert_int_equal(written % BLOCK, 0);
		assert_in_range(written - unpadded, 4, BLOCK + 3);
		option = written - unpadded - 4;
		assert_memory_equal(out + unpadded, "\0\14", 2);
		assert_int_equal(out[unpadded + 2] << 8 | out[unpadded + 3], option);
		for (i = unpadded + 4; i < written; i++)
			assert_int_equal(out[i], 0);
		free(msg);
	}
}

/* What does not fit into a message is left out: first Padding, then all that we add. */
static void
buffer_never_exceeds_one_message(void **state)
{
	enum { BLOCKS_MAX = DNS_MESSAGE_MAX / BLOCK * BLOCK };
	static uint8_t out[DNS_MESSAGE_MAX];
	struct dns_query q;
	size_t len, wanted;

	(void)state;
	for (len = DNS_MESSAGE_MAX - 2 * BLOCK; len <= DNS_MESSAGE_MAX; len++) {
		uint8_t *msg = long_query(len, &q);

		wanted = len + 12 <= DNS_MESSAGE_MAX ? len + 12 : len;
		if (len + 12 + 4 <= BLOCKS_MAX)
			wanted = (len + 12 + 4 + BLOCK - 1) / BLOCK * BLOCK;
		assert_int_equal(edns_write_query(out, sizeof out, msg, len, &q, &padded,
		    EDNS_OURS), wanted);
		assert_memory_equal(out + 40, msg + 40, len - 40);
		free(msg);
	}
}

#define R "\x81\x80" /* as RESPONSE, with an RCODE of 0 */
#define ANSWERED(ar) COUNTS("\1", "\1", "\0", ar)
#define ANSWER QUESTION RR_A

static const struct response_row {
	const char *name;
	const struct edns_settings *settings;
	bool with_opt; /* the query */
	const uint8_t *data;
	size_t len;
	const uint8_t *wanted;
	size_t wanted_len;
	int keepalive_ms;
} response_rows[] = {
	{ "no OPT on either side", &padded, false, BYTES(ID R ANSWERED("\0") ANSWER),
	    BYTES(ID R ANSWERED("\0") ANSWER), -1 },
	{ "unsolicited OPT", &padded, false,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\11", EDE)), BYTES(ID R ANSWERED("\0") ANSWER),
	    -1 },
	{ "OPT that is missing", &padded, true, BYTES(ID R ANSWERED("\0") ANSWER),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), -1 },
	{ "D-27 flags and RCODE", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_AT("\0", "\2\0", "\1", "\0", "\x80\1", "\0")),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_AT("\0", "\4\xd0", "\1", "\0", "\x80\1", "\0")),
	    -1 },
	{ "another version", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_AT("\0", "\4\xd0", "\1", "\1", "\0\0", "\3")
		"\0\3\0"),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_AT("\0", "\4\xd0", "\1", "\0", "\0\0", "\0")),
	    -1 },
	{ "RCODE that needs an OPT", &padded, false,
	    BYTES(ID
		"\x81\x87" ANSWERED("\1") ANSWER OPT_AT("\0", "\4\xd0", "\1", "\0", "\0\0", "\0")),
	    BYTES(ID "\x81\x82" ANSWERED("\0") ANSWER), -1 },
	{ "D-27 hop-by-hop options", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\70",
		EDE SUBNET COOKIE NSID TIMEOUT("\1\0") UNKNOWN PADDING)),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\24", EDE NSID UNKNOWN)), 25600 },
	{ "client subnet", &as_it_comes, true, BYTES(ID R ANSWERED("\1") ANSWER OPT("\13", SUBNET)),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\13", SUBNET)), -1 },
	{ "D-24 timeout 0", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\6", TIMEOUT("\0\0"))),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), 0 },
	{ "D-24 longest timeout", &padded, false,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\6", TIMEOUT("\377\377"))),
	    BYTES(ID R ANSWERED("\0") ANSWER), 6553500 },
	{ "D-24 without a timeout", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\4", KEEPALIVE)),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), -1 },
	{ "D-24 of three bytes", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\7", "\0\13\0\3\0\0\0")),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), -1 },
	{ "D-24 of one byte", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\5", "\0\13\0\1\0")),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), -1 },

	{ "record after the OPT", &padded, false,
	    BYTES(ID R ANSWERED("\2") ANSWER OPT("\7", PADDING) RR_A),
	    BYTES(ID R ANSWERED("\1") ANSWER RR_A), -1 },
	{ "record after the OPT, which stays", &padded, true,
	    BYTES(ID R ANSWERED("\2") ANSWER OPT("\20", PADDING EDE) RR_A),
	    BYTES(ID R ANSWERED("\2") ANSWER RR_A OPT("\11", EDE)), -1 },
	{ "records after the OPT that point there", &padded, false,
	    BYTES(ID R ANSWERED("\3") ANSWER OPT_EMPTY RECORD("\1a\0", "\1", "x")
		    RECORD("\300\70", "\1", "x")),
	    BYTES(ID R ANSWERED("\0") ANSWER), -1 },

	{ "D-12 record that is cut", &padded, true, BYTES(ID R ANSWERED("\0") QUESTION "\0\0\1"),
	    BYTES(""), -1 },
	{ "D-29 bytes after the last record", &padded, false,
	    BYTES(ID R ANSWERED("\0") ANSWER "more"), BYTES(ID R ANSWERED("\0") ANSWER), -1 },
	{ "D-29 bytes after the OPT", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY "more"),
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), -1 },
	{ "D-29 OPT that is not counted", &padded, false,
	    BYTES(ID R ANSWERED("\0") ANSWER OPT("\6", TIMEOUT("\0\1"))),
	    BYTES(ID R ANSWERED("\0") ANSWER), -1 },
	{ "D-12 two OPT", &padded, true, BYTES(ID R ANSWERED("\2") ANSWER OPT_EMPTY OPT_EMPTY),
	    BYTES(""), -1 },
	{ "D-12 OPT among the answers", &padded, true,
	    BYTES(ID R ANSWERED("\0") QUESTION OPT("\6", TIMEOUT("\0\0"))), BYTES(""), -1 },
	{ "D-12 option that is cut", &padded, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\12", TIMEOUT("\0\0") "\0\3\0\1")), BYTES(""),
	    -1 },
};

/* The response for the client of Q: stored first, then converted to the client's form. */
static size_t
write_response(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_response *r,
    const struct dns_query *q, const struct edns_settings *settings)
{
	size_t opt_len;
	size_t n = edns_write_canonical(out, msg, len, r, settings, q->is_signed, &opt_len);

	assert_true(opt_len == 0 || (opt_len >= OPT_LEN && opt_len < n));
	return n == 0 ? 0 : edns_finish_response(out, n, opt_len, q);
}

static void
writes_a_response(void **state)
{
	const struct response_row *row = *state;
	static uint8_t out[DNS_MESSAGE_MAX];
	uint8_t *msg = tight_copy(row->data, row->len);
	struct dns_query q = { .has_edns = row->with_opt };
	struct edns_response r;

	edns_read_response(msg, row->len, &r);
	assert_int_equal(r.is_readable, row->wanted_len > 0);
	assert_int_equal(r.keepalive_ms, row->keepalive_ms);
	assert_int_equal(write_response(out, msg, row->len, &r, &q, row->settings),
	    row->wanted_len);
	assert_memory_equal(out, row->wanted, row->wanted_len);
	free(msg);
}

/* RFC 3225 3: DO comes back as it was sent. */
static void
adds_an_opt_with_the_clients_do(void **state)
{
	static const uint8_t kept[] = ID R ANSWERED("\0") ANSWER;
	static const uint8_t wanted[] = ID R ANSWERED("\1") ANSWER OPT_FLAGS("\x80\0", "\0", "");
	struct dns_query q = { .has_edns = true, .dnssec_ok = true };
	static uint8_t msg[DNS_MESSAGE_MAX];

	(void)state;
	memcpy(msg, kept, sizeof kept - 1);
	assert_int_equal(edns_finish_response(msg, sizeof kept - 1, 0, &q), sizeof wanted - 1);
	assert_memory_equal(msg, wanted, sizeof wanted - 1);
}

#define X10 "xxxxxxxxxx"
#define X120 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define C10 "\200\200\200\200\200\200\200\200\200\200"
#define C130 C10 C10 C10 C10 C10 C10 C10 C10 C10 C10 C10 C10 C10
#define EDE_LEN(len) "\0\17\0" len "\0\6"

static const struct keep_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	size_t opt_len;
	const uint8_t *wanted;
	size_t wanted_len;
	size_t wanted_opt_len;
} keep_rows[] = {
	{ "K-24 no OPT", BYTES(ID R ANSWERED("\0") ANSWER), 0, BYTES(ID R ANSWERED("\0") ANSWER),
	    0 },
	{ "K-24 empty OPT", BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), OPT_LEN,
	    BYTES(ID R ANSWERED("\0") ANSWER), 0 },
	{ "K-24 flags alone", BYTES(ID R ANSWERED("\1") ANSWER OPT_FLAGS("\x80\1", "\0", "")),
	    OPT_LEN, BYTES(ID R ANSWERED("\0") ANSWER), 0 },
	{ "K-24 a record before it", BYTES(ID R ANSWERED("\2") ANSWER RR_A OPT_EMPTY), OPT_LEN,
	    BYTES(ID R ANSWERED("\1") ANSWER RR_A), 0 },
	{ "K-26 other options", BYTES(ID R ANSWERED("\1") ANSWER OPT("\13", NSID UNKNOWN)),
	    OPT_LEN + 11, BYTES(ID R ANSWERED("\0") ANSWER), 0 },
	{ "K-25 EDE", BYTES(ID R ANSWERED("\1") ANSWER OPT_FLAGS("\xc0\1", "\11", EDE)),
	    OPT_LEN + 9,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_FLAGS("\x80\0", "\11", EDE)), OPT_LEN + 9 },
	{ "K-26 EDE between others",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\35", NSID EDE UNKNOWN EDE)), OPT_LEN + 29,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\22", EDE EDE)), OPT_LEN + 18 },
	{ "K-25 the first two",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\36", EDE "\0\17\0\2\0\26" EDE "\0\17\0\2\0\27")),
	    OPT_LEN + 30, BYTES(ID R ANSWERED("\1") ANSWER OPT("\17", EDE "\0\17\0\2\0\26")),
	    OPT_LEN + 15 },
	{ "D-12 EDE of one byte",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\16", "\0\17\0\1\0" EDE)), OPT_LEN + 14,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\11", EDE)), OPT_LEN + 9 },
	{ "K-25 text of 128 bytes",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\206", EDE_LEN("\202") X120 "12345678")),
	    OPT_LEN + 134,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\206", EDE_LEN("\202") X120 "12345678")),
	    OPT_LEN + 134 },
	{ "K-25 text of 129 bytes",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\207", EDE_LEN("\203") X120 "123456789")),
	    OPT_LEN + 135,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\206", EDE_LEN("\202") X120 "12345678")),
	    OPT_LEN + 134 },
	{ "K-25 character at the limit",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\207",
		EDE_LEN("\203") X120 "123456\342\202\254")), OPT_LEN + 135,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\204", EDE_LEN("\200") X120 "123456")),
	    OPT_LEN + 132 },
	{ "K-25 text without a beginning of a character",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\210", EDE_LEN("\204") C130)), OPT_LEN + 136,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\6", EDE_LEN("\2"))), OPT_LEN + 6 },
	{ "RCODE that needs an OPT",
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_AT("\0", "\x04\xd0", "\1", "\0", "\0\1",
		"\6") NSID), OPT_LEN + 6,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_AT("\0", "\x04\xd0", "\1", "\0", "\0\0", "\0")),
	    OPT_LEN },
};

static void
keeps_only_errors(void **state)
{
	const struct keep_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	size_t opt_len = row->opt_len;

	assert_int_equal(edns_keep_errors(msg, row->len, &opt_len), row->wanted_len);
	assert_memory_equal(msg, row->wanted, row->wanted_len);
	assert_int_equal(opt_len, row->wanted_opt_len);
	free(msg);
}

#define STALE "\0\17\0\2\0\3"

static const struct add_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	size_t opt_len;
	bool dnssec_ok;
	const uint8_t *wanted;
	size_t wanted_len;
} add_rows[] = {
	{ "K-41 no OPT", BYTES(ID R ANSWERED("\0") ANSWER), 0, false,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\6", STALE)) },
	{ "K-41 no OPT, with DO", BYTES(ID R ANSWERED("\0") ANSWER), 0, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT_FLAGS("\x80\0", "\6", STALE)) },
	{ "K-41 empty OPT", BYTES(ID R ANSWERED("\1") ANSWER OPT_EMPTY), OPT_LEN, true,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\6", STALE)) },
	{ "K-41 another EDE", BYTES(ID R ANSWERED("\1") ANSWER OPT("\11", EDE)), OPT_LEN + 9, false,
	    BYTES(ID R ANSWERED("\1") ANSWER OPT("\17", EDE STALE)) },
};

static void
adds_an_error(void **state)
{
	const struct add_row *row = *state;
	static uint8_t msg[DNS_MESSAGE_MAX];
	struct dns_query q = { .has_edns = true, .dnssec_ok = row->dnssec_ok };
	size_t opt_len = row->opt_len;
	size_t added = row->wanted_len - row->len;

	memcpy(msg, row->data, row->len);
	assert_int_equal(edns_add_error(msg, row->len, &opt_len, &q, DNS_EDE_STALE_ANSWER),
	    row->wanted_len);
	assert_memory_equal(msg, row->wanted, row->wanted_len);
	assert_int_equal(opt_len, row->opt_len + added);

	/* Where it does not fit, nothing is added. */
	opt_len = row->opt_len;
	assert_int_equal(edns_add_error(msg, DNS_MESSAGE_MAX + 1 - added, &opt_len, &q,
	    DNS_EDE_STALE_ANSWER), DNS_MESSAGE_MAX + 1 - added);
	assert_int_equal(opt_len, row->opt_len);
}

/* The last byte is used as well. */
static void
adds_an_error_up_to_the_longest_message(void **state)
{
	static uint8_t msg[DNS_MESSAGE_MAX];
	struct dns_query q = { .has_edns = true };
	size_t opt_len = 0;

	(void)state;
	assert_int_equal(edns_add_error(msg, DNS_MESSAGE_MAX - OPT_LEN - 6, &opt_len, &q,
	    DNS_EDE_STALE_ANSWER), DNS_MESSAGE_MAX);
	assert_int_equal(opt_len, OPT_LEN + 6);
	assert_memory_equal(msg + DNS_MESSAGE_MAX - 6, STALE, 6);
}

static void
finds_what_is_special(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
		bool client_subnet; /* of the settings */
		bool special;
	} rows[] = {
		{ BYTES(ID QUERY ONE QUESTION), true, false },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION OPT_EMPTY), true, false },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION
		      OPT_AT("\0", "\x04\xd0", "\0", "\0", "\200\0", "\0")), true, false },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION
		      OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\1", "\0")), true, true },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\14", COOKIE)), true, false },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\4", "\0\3\0\0")), true, true },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\13", SUBNET)), true, true },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\13", SUBNET)), false, false },
		{ BYTES(ID QUERY ONE_AND("\1") QUESTION OPT("\27", COOKIE SUBNET)), true, true },
	};
	struct dns_query q;
	enum dns_rcode rcode;
	uint8_t *msg;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		struct edns_settings settings = { .client_subnet = rows[i].client_subnet };

		msg = tight_copy(rows[i].data, rows[i].len);
		assert_int_equal(dns_read_query(msg, rows[i].len, &q, &rcode), DNS_RELAY);
		assert_int_equal(edns_is_special(msg, &q, &settings), rows[i].special);
		free(msg);
	}
}

/* Nothing but the ID of a signed message may change, be it readable or not. */
static void
keeps_a_signed_response_unmodified(void **state)
{
	static const uint8_t messages[][80] = {
		ID R COUNTS("\1", "\0", "\0", "\2") QUESTION OPT("\6", TIMEOUT("\0\1")) TSIG,
		ID R COUNTS("\1", "\0", "\0", "\2") QUESTION "\377",
	};
	static uint8_t out[DNS_MESSAGE_MAX];
	struct dns_query q = { .is_signed = true };
	struct edns_response r;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(messages); i++) {
		edns_read_response(messages[i], sizeof messages[i], &r);
		assert_int_equal(write_response(out, messages[i], sizeof messages[i], &r, &q,
				     &padded), sizeof messages[i]);
		assert_memory_equal(out, messages[i], sizeof messages[i]);
	}
}

/* No OPT fits into a response of maximum length, nor if one byte too few is left. */
static void
adds_no_opt_to_a_full_response(void **state)
{
	static const uint8_t start[] = ID R ANSWERED("\0") QUESTION "\0\377\0\0\1\0\0\0\0\0\0";
	static uint8_t msg[DNS_MESSAGE_MAX];
	static uint8_t out[DNS_MESSAGE_MAX];
	struct dns_query q = { .has_edns = true };
	struct edns_response r;
	size_t base = sizeof start - 1;
	size_t len;

	(void)state;
	for (len = DNS_MESSAGE_MAX - 2 * OPT_LEN; len <= DNS_MESSAGE_MAX; len++) {
		memcpy(msg, start, base);
		msg[base - 2] = (uint8_t)((len - base) >> 8);
		msg[base - 1] = (uint8_t)(len - base);
		edns_read_response(msg, len, &r);
		assert_true(r.is_readable);
		assert_int_equal(write_response(out, msg, len, &r, &q, &padded),
		    len + OPT_LEN <= DNS_MESSAGE_MAX ? len + OPT_LEN : len);
	}
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(pads_to_whole_blocks),
		cmocka_unit_test(buffer_never_exceeds_one_message),
		cmocka_unit_test(keeps_a_signed_response_unmodified),
		cmocka_unit_test(adds_no_opt_to_a_full_response),
		cmocka_unit_test(adds_an_opt_with_the_clients_do),
		cmocka_unit_test(adds_an_error_up_to_the_longest_message),
		cmocka_unit_test(finds_what_is_special),
	};

	return RUN_ROWS(query_rows, writes_a_query) +
	    RUN_ROWS(response_rows, writes_a_response) +
	    RUN_ROWS(keep_rows, keeps_only_errors) +
	    RUN_ROWS(add_rows, adds_an_error) +
	    cmocka_run_group_tests_name("edns", singles, NULL, NULL);
}
