#include "format/edns.h"

#include "base/wire.h"
#include "format/opt.h"

enum {
	CLIENT_SUBNET_LEN = 4, /* our option, which opts out (RFC 7871 7.1.2) */
	FAMILY_IPV4 = 1,

	PADDING_BLOCK = 128, /* RFC 8467 4.1 */
	KEEPALIVE_UNIT_MS = 100,

	/* Of a kept response, which another client may get. */
	KEPT_ERRORS = 2,
	KEPT_TEXT_MAX = 128,

	ARCOUNT_AT = 10 /* in the header */
};

/* A message without its OPT record: what precedes it, and what follows it and stays. */
struct rest {
	const uint8_t *head;
	size_t head_len;
	const uint8_t *tail;
	size_t tail_len;
	size_t additional; /* records of that section */
};

/* Reads the OPT record of a message; all zero where there is none. */
static void
read_opt(const uint8_t *msg, const struct dns_opt *at, struct opt *o)
{
	struct wire_reader r;

	wire_reader_init(&r, msg, at->at + at->len);
	wire_skip(&r, at->at);
	wire_skip(&r, 1 + 2); /* owner (the root) and type */
	opt_read(&r, o);
}

static uint16_t
read_arcount(const uint8_t *msg)
{
	struct wire_reader r;

	wire_reader_init(&r, msg, DNS_HEADER_LEN);
	wire_skip(&r, ARCOUNT_AT);
	return wire_read_u16(&r);
}

static bool
crosses(uint16_t code, const struct edns_settings *settings)
{
	switch (code) {
	case OPT_COOKIE:
	case OPT_KEEPALIVE:
	case OPT_PADDING:
		return false;
	case OPT_CLIENT_SUBNET:
		return settings->client_subnet;
	default:
		return true;
	}
}

static size_t
crossing_len(struct wire_reader options, const struct edns_settings *settings)
{
	struct opt_option o;
	size_t len = 0;

	while (opt_next(&options, &o))
		if (crosses(o.code, settings))
			len += OPT_HEADER_LEN + o.len;
	return len;
}

static void
write_crossing(struct wire_writer *w, struct wire_reader options,
    const struct edns_settings *settings)
{
	struct opt_option o;

	while (opt_next(&options, &o))
		if (crosses(o.code, settings))
			opt_write_option(w, o.code, o.data, o.len);
}

/* Whether the bytes from FROM on may hold a compression pointer to one at TO or behind it. */
static bool
may_point(const uint8_t *msg, size_t len, size_t from, size_t to)
{
	struct wire_reader r;
	size_t byte, next, target;

	wire_reader_init(&r, msg, len);
	wire_skip(&r, from);
	byte = wire_read_u8(&r);
	for (; r.pos < r.len; byte = next) {
		next = wire_read_u8(&r);
		target = (byte & 0x3f) << 8 | next;
		/* Pointers go backwards (RFC 1035 4.1.4). */
		if (byte >= 0xc0 && target >= to && target < r.pos - 2)
			return true;
	}
	return false;
}

static void
cut_out(const uint8_t *msg, size_t len, const struct dns_opt *opt, struct rest *rest)
{
	size_t tail_at = opt->at + opt->len;
	struct wire_reader r;

	rest->additional = read_arcount(msg) - (size_t)(opt->len > 0);
	rest->head = msg;
	rest->head_len = opt->at;
	rest->tail_len = len - tail_at;
	if (rest->tail_len > 0 && may_point(msg, len, tail_at, opt->at)) {
		rest->additional -= opt->behind;
		rest->tail_len = 0;
	}
	wire_reader_init(&r, msg, len);
	wire_skip(&r, tail_at);
	rest->tail = wire_read_bytes(&r, rest->tail_len);
}

/* Writes the rest of a message, to which OPTS records are then added. */
static void
write_rest(struct wire_writer *w, const struct rest *rest, size_t opts)
{
	wire_write_bytes(w, rest->head, rest->head_len);
	wire_write_bytes(w, rest->tail, rest->tail_len);
	wire_overwrite_u16(w, ARCOUNT_AT, (uint16_t)(rest->additional + opts));
}

static size_t
copy_whole(uint8_t *out, size_t cap, const uint8_t *msg, size_t len)
{
	struct wire_writer w;

	wire_writer_init(&w, out, cap);
	wire_write_bytes(&w, msg, len);
	return wire_written(&w);
}

/* RFC 7871 7.1.2 */
static bool
adds_opt_out(const struct edns_settings *settings)
{
	return !settings->client_subnet && !settings->no_opt_out;
}

static void
write_opt_out(struct wire_writer *w)
{
	wire_write_u16(w, OPT_CLIENT_SUBNET);
	wire_write_u16(w, CLIENT_SUBNET_LEN);
	wire_write_u16(w, FAMILY_IPV4);
	wire_write_u16(w, 0); /* SOURCE and SCOPE PREFIX-LENGTH */
}

/* Pads the message to whole blocks, unless it would become too long. */
static void
write_padding(struct wire_writer *w)
{
	size_t len = w->pos + OPT_HEADER_LEN;
	size_t padding = (PADDING_BLOCK - len % PADDING_BLOCK) % PADDING_BLOCK;

	if (len + padding > DNS_MESSAGE_MAX)
		return;
	wire_write_u16(w, OPT_PADDING);
	wire_write_u16(w, (uint16_t)padding);
	wire_write_zeros(w, padding);
}

static size_t
write_query(uint8_t *out, size_t cap, const uint8_t *query, size_t len, const struct dns_query *q,
    const struct edns_settings *settings, enum edns_mode mode)
{
	struct wire_writer w;
	struct rest rest;
	struct opt opt;
	size_t additions = OPT_HEADER_LEN; /* edns-tcp-keepalive, which is empty */
	size_t size, begin;

	if (q->is_signed || (mode != EDNS_OURS && q->opt.len == 0))
		return copy_whole(out, cap, query, len);
	wire_writer_init(&w, out, cap);
	cut_out(query, len, &q->opt, &rest);
	if (mode == EDNS_NONE) {
		write_rest(&w, &rest, 0);
		return wire_written(&w);
	}
	read_opt(query, &q->opt, &opt);
	size = rest.head_len + rest.tail_len + OPT_LEN + crossing_len(opt.options, settings);
	if (adds_opt_out(settings))
		additions += OPT_HEADER_LEN + CLIENT_SUBNET_LEN;
	if (mode != EDNS_OURS || size + additions > DNS_MESSAGE_MAX)
		additions = 0;
	if (additions == 0 && q->opt.len == 0)
		return copy_whole(out, cap, query, len);

	write_rest(&w, &rest, 1);
	begin = opt_begin(&w, &(struct opt){ .udp_size = DNS_UDP_SIZE, .flags = opt.flags });
	write_crossing(&w, opt.options, settings);
	if (additions > 0) {
		if (adds_opt_out(settings))
			write_opt_out(&w);
		opt_write_option(&w, OPT_KEEPALIVE, NULL, 0);
		if (settings->padding)
			write_padding(&w);
	}
	opt_end(&w, begin);
	return wire_written(&w);
}

size_t
edns_write_query(uint8_t *out, size_t cap, const uint8_t *query, size_t len,
    const struct dns_query *q, const struct edns_settings *settings, enum edns_mode mode)
{
	size_t n = write_query(out, cap, query, len, q, settings, mode);

	if (n > 0 && settings->ask_ad && !q->is_signed)
		dns_set_flags(out, dns_flags(out) | DNS_FLAG_AD);
	return n;
}

void
edns_read_response(const uint8_t *msg, size_t len, struct edns_response *r)
{
	struct opt opt;
	struct opt_option o;
	struct wire_reader data;

	*r = (struct edns_response){ .keepalive_ms = -1 };
	r->len = dns_read_response(msg, len, &r->opt);
	r->is_readable = r->len > 0;
	if (!r->is_readable)
		return;
	read_opt(msg, &r->opt, &opt);
	while (opt_next(&opt.options, &o)) {
		if (o.code != OPT_KEEPALIVE || o.len != sizeof(uint16_t))
			continue;
		wire_reader_init(&data, o.data, o.len);
		r->keepalive_ms = wire_read_u16(&data) * KEEPALIVE_UNIT_MS;
	}
}

size_t
edns_write_canonical(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_response *r,
    const struct edns_settings *settings, bool is_signed, size_t *opt_len)
{
	struct wire_writer w;
	struct rest rest;
	struct opt opt;
	size_t begin;

	*opt_len = 0;
	if (is_signed)
		return copy_whole(out, DNS_MESSAGE_MAX, msg, len);
	if (!r->is_readable)
		return 0;
	cut_out(msg, r->len, &r->opt, &rest);
	wire_writer_init(&w, out, DNS_MESSAGE_MAX);
	if (r->opt.len == 0) {
		write_rest(&w, &rest, 0);
		return wire_written(&w);
	}
	read_opt(msg, &r->opt, &opt);
	write_rest(&w, &rest, 1);
	*opt_len = w.pos;
	begin = opt_begin(&w,
	    &(struct opt){ .udp_size = DNS_UDP_SIZE, .rcode = opt.rcode, .flags = opt.flags });
	write_crossing(&w, opt.options, settings);
	opt_end(&w, begin);
	*opt_len = w.pos - *opt_len;
	return wire_written(&w);
}

static void
write_arcount(uint8_t *msg, size_t count)
{
	struct wire_writer w;

	wire_writer_init(&w, msg, DNS_HEADER_LEN);
	w.pos = ARCOUNT_AT;
	wire_write_u16(&w, (uint16_t)count);
}

/* Takes the OPT record of OPT_LEN bytes off the end of a message. */
static size_t
cut_off_opt(uint8_t *msg, size_t len, size_t opt_len)
{
	struct dns_opt at = { .at = len - opt_len, .len = opt_len };
	struct opt opt;

	read_opt(msg, &at, &opt);
	write_arcount(msg, read_arcount(msg) - 1U);
	if (opt.rcode != 0)
		dns_set_flags(msg, (uint16_t)((dns_flags(msg) & ~DNS_FLAGS_RCODE) | DNS_SERVFAIL));
	return at.at;
}

/* Adds an OPT record without options, where there is room for one. */
static size_t
append_opt(uint8_t *msg, size_t len, const struct dns_query *q)
{
	struct opt opt = { .udp_size = DNS_UDP_SIZE, .flags = q->dnssec_ok ? OPT_DO : 0 };
	struct wire_writer w;

	if (len + OPT_LEN > DNS_MESSAGE_MAX)
		return len;
	wire_writer_init(&w, msg, DNS_MESSAGE_MAX);
	w.pos = len;
	opt_end(&w, opt_begin(&w, &opt));
	write_arcount(msg, read_arcount(msg) + 1U);
	return w.pos;
}

size_t
edns_finish_response(uint8_t *msg, size_t len, size_t opt_len, const struct dns_query *q)
{
	if (q->is_signed)
		return len;
	if (q->has_edns)
		return opt_len > 0 ? len : append_opt(msg, len, q);
	return opt_len > 0 ? cut_off_opt(msg, len, opt_len) : len;
}

/* The bytes of an Extended DNS Error that are kept: its text ends between characters of UTF-8. */
static size_t
kept_error_len(const struct opt_option *o)
{
	size_t len = OPT_EDE_LEN + KEPT_TEXT_MAX;
	struct wire_reader next;

	if (o->len <= len)
		return o->len;
	for (; len > OPT_EDE_LEN; len--) {
		wire_reader_init(&next, o->data, o->len);
		wire_skip(&next, len);
		if ((wire_read_u8(&next) & 0xc0) != 0x80)
			break;
	}
	return len;
}

size_t
edns_keep_errors(uint8_t *msg, size_t len, size_t *opt_len)
{
	struct dns_opt at = { .at = len - *opt_len, .len = *opt_len };
	struct opt opt, kept = { .udp_size = DNS_UDP_SIZE };
	struct opt_option o;
	struct wire_writer w;
	size_t begin;
	size_t n = 0;

	if (*opt_len == 0)
		return len;
	read_opt(msg, &at, &opt);
	kept.rcode = opt.rcode;
	kept.flags = opt.flags & OPT_DO;
	/* Each option is read before those that are kept are written over it. */
	wire_writer_init(&w, msg, len);
	w.pos = at.at;
	begin = opt_begin(&w, &kept);
	while (n < KEPT_ERRORS && opt_next(&opt.options, &o)) {
		if (o.code != OPT_EDE || o.len < OPT_EDE_LEN)
			continue;
		opt_write_option(&w, OPT_EDE, o.data, kept_error_len(&o));
		n++;
	}
	opt_end(&w, begin);
	*opt_len = w.pos - at.at;
	if (n > 0 || kept.rcode != 0)
		return w.pos;
	len = cut_off_opt(msg, w.pos, *opt_len);
	*opt_len = 0;
	return len;
}

size_t
edns_add_error(uint8_t *msg, size_t len, size_t *opt_len, const struct dns_query *q,
    enum dns_ede ede)
{
	size_t added = OPT_HEADER_LEN + OPT_EDE_LEN;
	struct wire_writer w;
	size_t begin;

	if (len + added + (*opt_len == 0 ? OPT_LEN : 0) > DNS_MESSAGE_MAX)
		return len;
	if (*opt_len == 0) {
		len = append_opt(msg, len, q);
		*opt_len = OPT_LEN;
	}
	begin = len - *opt_len + OPT_LEN;
	wire_writer_init(&w, msg, len + added);
	w.pos = len;
	opt_write_ede(&w, (uint16_t)ede, NULL);
	opt_end(&w, begin);
	*opt_len += added;
	return w.pos;
}

bool
edns_is_special(const uint8_t *query, const struct dns_query *q,
    const struct edns_settings *settings)
{
	struct opt opt;

	if (q->opt.len == 0)
		return false;
	read_opt(query, &q->opt, &opt);
	return (opt.flags & ~OPT_DO) != 0 || crossing_len(opt.options, settings) > 0;
}
