/*
 * A byte of settings, a query preceded by two bytes of length, and a response after it: the
 * output for either side is well formed, has no option of the other hop, and equals the input
 * except for the OPT record.
 */
#include "format/edns.h"

#include "base/wire.h"
#include "format/opt.h"
#include "fuzz.h"

enum { SUBNET = 8, COOKIE = 10, KEEPALIVE = 11, PADDING = 12, EDE = 15, ANY = -1, BLOCK = 128 };

/* What is kept of a response. */
enum { KEPT_ERRORS = 2, KEPT_TEXT_MAX = 128 };

/* How often the OPT record that ends a message has an option; ANY: how many options it has. */
static size_t
count_option(const uint8_t *msg, size_t len, const struct dns_opt *opt, int code)
{
	struct wire_reader r;
	size_t n = 0;

	if (opt->len == 0)
		return 0;
	must(opt->at + opt->len == len && opt->behind == 0);
	wire_reader_init(&r, msg, len);
	wire_skip(&r, opt->at + OPT_LEN);
	while (!wire_is_done(&r)) {
		n += wire_read_u16(&r) == code || code == ANY;
		wire_skip(&r, wire_read_u16(&r));
		must(!r.failed);
	}
	return n;
}

/* All in front of the OPT is as it was, but for the count; what is behind it moved up, or went. */
static void
check_rest(const uint8_t *out, size_t rest_len, const uint8_t *msg, size_t len,
    const struct dns_opt *opt)
{
	size_t tail = len - opt->at - opt->len;

	must(memcmp(out, msg, 3) == 0 && memcmp(out + 4, msg + 4, 6) == 0);
	must(memcmp(out + DNS_HEADER_LEN, msg + DNS_HEADER_LEN, opt->at - DNS_HEADER_LEN) == 0);
	must(rest_len == opt->at || rest_len == opt->at + tail);
	if (rest_len > opt->at)
		must(memcmp(out + opt->at, msg + opt->at + opt->len, tail) == 0);
}

static void
check_query(const uint8_t *query, size_t len, const struct dns_query *q,
    const struct edns_settings *settings, enum edns_mode mode)
{
	static uint8_t room[DNS_MESSAGE_MAX];
	size_t n = edns_write_query(room, sizeof room, query, len, q, settings, mode);
	struct dns_opt at = { .at = q->opt.at, .len = q->opt.len };
	struct dns_query sent;
	enum dns_rcode rcode;
	uint8_t *out = tight_copy(room, n);

	must(n >= DNS_HEADER_LEN);
	if (settings->client_subnet && count_option(query, at.at + at.len, &at, SUBNET) > 0)
		must(edns_is_special(query, q, settings));
	must(edns_write_query(room, n - 1, query, len, q, settings, mode) == 0);
	must(edns_write_query(out, n, query, len, q, settings, mode) == n);
	must(dns_read_query(out, n, &sent, &rcode) == DNS_RELAY);
	if (settings->ask_ad && !q->is_signed)
		must(dns_flags(out) == (dns_flags(query) | DNS_FLAG_AD));
	else
		must(dns_flags(out) == dns_flags(query));
	if (q->is_signed || (mode != EDNS_OURS && !q->has_edns)) {
		must(n == len && memcmp(out, query, 2) == 0 &&
		    memcmp(out + 4, query + 4, len - 4) == 0);
	} else if (sent.has_edns) {
		check_rest(out, sent.opt.at, query, len, &q->opt);
		must(sent.dnssec_ok == q->dnssec_ok && sent.udp_size == DNS_UDP_SIZE);
		must(count_option(out, n, &sent.opt, COOKIE) == 0);
		must(count_option(out, n, &sent.opt, KEEPALIVE) <= 1);
		must(count_option(out, n, &sent.opt, PADDING) <= 1);
		must(settings->client_subnet || count_option(out, n, &sent.opt, SUBNET) <= 1);
		if (settings->padding && mode == EDNS_OURS && n < DNS_MESSAGE_MAX - 2 * BLOCK)
			must(n % BLOCK == 0);
	}
	free(out);
}

/* What is kept of a response has no option but up to two errors, and one more can be added. */
static void
check_kept(const uint8_t *canonical, size_t len, size_t opt_len, const struct dns_query *q)
{
	static uint8_t room[DNS_MESSAGE_MAX];
	enum dns_rcode rcode = dns_response_rcode(canonical, len);
	struct edns_response kept, added;
	size_t n, errors;

	memcpy(room, canonical, len);
	n = edns_keep_errors(room, len, &opt_len);
	edns_read_response(room, n, &kept);
	must(n <= len && kept.is_readable && kept.len == n && kept.opt.len == opt_len);
	must(dns_response_rcode(room, n) == rcode);
	errors = count_option(room, n, &kept.opt, EDE);
	must(count_option(room, n, &kept.opt, ANY) == errors);
	must(opt_len <= OPT_LEN + KEPT_ERRORS * (OPT_HEADER_LEN + OPT_EDE_LEN + KEPT_TEXT_MAX));
	must(memcmp(room + 12, canonical + 12, kept.opt.at - 12) == 0);
	n = edns_add_error(room, n, &opt_len, q, DNS_EDE_STALE_ANSWER);
	edns_read_response(room, n, &added);
	must(added.is_readable && added.len == n && added.opt.len == opt_len);
	if (n < DNS_MESSAGE_MAX - 2 * OPT_LEN)
		must(count_option(room, n, &added.opt, ANY) == errors + 1);
}

static void
check_response(const uint8_t *msg, size_t len, const struct dns_query *q,
    const struct edns_settings *settings)
{
	static uint8_t room[DNS_MESSAGE_MAX];
	struct edns_response r, back;
	uint8_t *out;
	size_t n;
	size_t opt_len;

	edns_read_response(msg, len, &r);
	must(r.keepalive_ms >= -1 && r.keepalive_ms <= 6553500);
	n = edns_write_canonical(room, msg, len, &r, settings, q->is_signed, &opt_len);
	must(opt_len <= n);
	if (n > 0 && !q->is_signed)
		check_kept(room, n, opt_len, q);
	if (n > 0)
		n = edns_finish_response(room, n, opt_len, q);
	if (q->is_signed) {
		must(n == len && memcmp(room, msg, len) == 0);
		return;
	}
	must((n > 0) == r.is_readable);
	if (n == 0)
		return;
	out = tight_copy(room, n);
	edns_read_response(out, n, &back);
	must(back.is_readable && back.keepalive_ms == -1);
	must(q->has_edns || back.opt.len == 0);
	check_rest(out, back.opt.len > 0 ? back.opt.at : n, msg, r.len, &r.opt);
	must(r.len <= len && back.len == n);
	must(count_option(out, n, &back.opt, COOKIE) == 0);
	must(count_option(out, n, &back.opt, PADDING) == 0);
	must(settings->client_subnet || count_option(out, n, &back.opt, SUBNET) == 0);
	if (q->has_edns && back.opt.len > 0)
		must(dns_response_rcode(out, n) == dns_response_rcode(msg, len));
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct edns_settings settings;
	struct dns_query q;
	enum dns_rcode rcode;
	size_t query_len, len;
	uint8_t *query, *msg;

	if (size < 3)
		return 0;
	settings.padding = (data[0] & 1) != 0;
	settings.client_subnet = (data[0] & 2) != 0;
	settings.ask_ad = (data[0] & 8) != 0;
	query_len = (size_t)data[1] << 8 | data[2];
	if (query_len > size - 3)
		query_len = size - 3;
	len = size - 3 - query_len;
	if (len > DNS_MESSAGE_MAX)
		len = DNS_MESSAGE_MAX;
	query = tight_copy(data + 3, query_len);
	msg = tight_copy(data + 3 + query_len, len);
	if (dns_read_query(query, query_len, &q, &rcode) == DNS_RELAY) {
		check_query(query, q.len, &q, &settings,
		    (data[0] & 4) != 0 ? EDNS_CLIENT : EDNS_OURS);
		check_query(query, q.len, &q, &settings, EDNS_NONE);
		check_response(msg, len, &q, &settings);
	}
	free(msg);
	free(query);
	return 0;
}
