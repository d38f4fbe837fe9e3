#include "format/edns.h"

#include <string.h>

#include "base/reader.h"

enum {
	/* Options, and the length of what we put into ours. */
	CLIENT_SUBNET = 8, /* RFC 7871 6 */
	CLIENT_SUBNET_LEN = 4,
	COOKIE = 10,    /* RFC 7873 4 */
	KEEPALIVE = 11, /* RFC 7828 3.1 */
	PADDING = 12,   /* RFC 7830 3 */
	OPTION_HEADER_LEN = 4,

	PADDING_BLOCK = 128, /* RFC 8467 4.1 */
	KEEPALIVE_UNIT_MS = 100,
	FAMILY_IPV4 = 1,

	ARCOUNT_AT = 10, /* in the header, as is the next */
	RCODE_AT = 3,
	RCODE_BITS = 0x0f
};

/* An OPT record as it came; where there is none, all zero. */
struct opt {
	uint8_t rcode; /* the upper bits */
	uint16_t flags;
	struct reader options;
};

/* One option; its header is the first part of its octets. */
struct option {
	uint16_t code;
	const uint8_t *octets;
	size_t len;
};

/* A message without its OPT record: what is in front of it, and what is behind and stays. */
struct rest {
	const uint8_t *head;
	size_t head_len;
	const uint8_t *tail;
	size_t tail_len;
	size_t additional; /* records of that section */
};

static void
read_opt(const uint8_t *msg, const struct dns_opt *at, struct opt *o)
{
	struct reader r;
	const uint8_t *options;
	size_t len;

	*o = (struct opt){ 0 };
	reader_init(&r, msg, at->at + at->len);
	reader_skip(&r, at->at);
	reader_skip(&r, 1 + 2 + 2); /* owner, type, size */
	o->rcode = reader_u8(&r);
	reader_skip(&r, 1); /* version */
	o->flags = reader_u16(&r);
	len = reader_u16(&r);
	options = reader_bytes(&r, len);
	reader_init(&o->options, options, options == NULL ? 0 : len);
}

static bool
next_option(struct reader *options, struct option *o)
{
	struct reader header = *options;

	o->code = reader_u16(&header);
	o->len = OPTION_HEADER_LEN + (size_t)reader_u16(&header);
	o->octets = reader_bytes(options, o->len);
	return o->octets != NULL;
}

static bool
crosses(uint16_t code, const struct edns_settings *settings)
{
	switch (code) {
	case COOKIE:
	case KEEPALIVE:
	case PADDING:
		return false;
	case CLIENT_SUBNET:
		return settings->client_subnet;
	default:
		return true;
	}
}

static size_t
crossing_len(struct reader options, const struct edns_settings *settings)
{
	struct option o;
	size_t len = 0;

	while (next_option(&options, &o))
		if (crosses(o.code, settings))
			len += o.len;
	return len;
}

static uint8_t *
put_u16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *
put_bytes(uint8_t *p, const uint8_t *bytes, size_t len)
{
	if (len > 0)
		memcpy(p, bytes, len);
	return p + len;
}

static uint8_t *
put_opt(uint8_t *p, const struct opt *o, uint8_t rcode, size_t rdlen)
{
	*p++ = 0; /* the root */
	p = put_u16(p, DNS_TYPE_OPT);
	p = put_u16(p, DNS_UDP_SIZE);
	*p++ = rcode;
	*p++ = 0; /* version */
	p = put_u16(p, o->flags);
	return put_u16(p, rdlen);
}

static uint8_t *
put_crossing(uint8_t *p, struct reader options, const struct edns_settings *settings)
{
	struct option o;

	while (next_option(&options, &o))
		if (crosses(o.code, settings))
			p = put_bytes(p, o.octets, o.len);
	return p;
}

/* Whether the octets from FROM on may hold a compression pointer to one at TO or behind it. */
static bool
may_point(const uint8_t *msg, size_t len, size_t from, size_t to)
{
	struct reader r;
	size_t octet, next, target;

	reader_init(&r, msg, len);
	reader_skip(&r, from);
	octet = reader_u8(&r);
	for (; r.pos < r.len; octet = next) {
		next = reader_u8(&r);
		target = (octet & 0x3f) << 8 | next;
		/* Pointers go backwards (RFC 1035 4.1.4). */
		if (octet >= 0xc0 && target >= to && target < r.pos - 2)
			return true;
	}
	return false;
}

static void
cut_out(const uint8_t *msg, size_t len, const struct dns_opt *opt, struct rest *rest)
{
	size_t tail_at = opt->at + opt->len;
	struct reader r;

	reader_init(&r, msg, len);
	reader_skip(&r, ARCOUNT_AT);
	rest->additional = reader_u16(&r) - (size_t)(opt->len > 0);
	rest->head = msg;
	rest->head_len = opt->at;
	rest->tail_len = len - tail_at;
	if (rest->tail_len > 0 && may_point(msg, len, tail_at, opt->at)) {
		rest->additional -= opt->behind;
		rest->tail_len = 0;
	}
	reader_init(&r, msg, len);
	reader_skip(&r, tail_at);
	rest->tail = reader_bytes(&r, rest->tail_len);
}

/* Puts the rest of a message, to which OPTS records are then added. */
static uint8_t *
put_rest(uint8_t *out, const struct rest *rest, size_t opts)
{
	uint8_t *p = put_bytes(out, rest->head, rest->head_len);

	(void)put_u16(out + ARCOUNT_AT, rest->additional + opts);
	return put_bytes(p, rest->tail, rest->tail_len);
}

static size_t
copy_whole(uint8_t *out, size_t cap, const uint8_t *msg, size_t len)
{
	if (len > cap)
		return 0;
	memcpy(out, msg, len);
	return len;
}

/* The option that makes whole blocks of LEN octets; 0 where there is no room for it. */
static size_t
padding_len(size_t len)
{
	size_t padded = len + OPTION_HEADER_LEN + PADDING_BLOCK - 1;

	padded -= padded % PADDING_BLOCK;
	return padded <= DNS_MESSAGE_MAX ? padded - len : 0;
}

static uint8_t *
put_option_header(uint8_t *p, uint16_t code, size_t len)
{
	p = put_u16(p, code);
	return put_u16(p, len);
}

static uint8_t *
put_opt_out(uint8_t *p)
{
	p = put_option_header(p, CLIENT_SUBNET, CLIENT_SUBNET_LEN);
	p = put_u16(p, FAMILY_IPV4);
	return put_u16(p, 0); /* SOURCE and SCOPE PREFIX-LENGTH */
}

static void
put_padding(uint8_t *p, size_t len)
{
	p = put_option_header(p, PADDING, len - OPTION_HEADER_LEN);
	memset(p, 0, len - OPTION_HEADER_LEN);
}

size_t
edns_write_query(uint8_t *out, size_t cap, const uint8_t *query, size_t len,
    const struct dns_query *q, const struct edns_settings *settings, enum edns_mode mode)
{
	struct rest rest;
	struct opt opt;
	size_t crossing, size, padding;
	size_t additions = OPTION_HEADER_LEN; /* edns-tcp-keepalive, which is empty */
	uint8_t *p;

	if (q->is_signed || (mode != EDNS_OURS && q->opt.len == 0))
		return copy_whole(out, cap, query, len);
	cut_out(query, len, &q->opt, &rest);
	if (mode == EDNS_NONE) {
		if (rest.head_len + rest.tail_len > cap)
			return 0;
		(void)put_rest(out, &rest, 0);
		return rest.head_len + rest.tail_len;
	}
	read_opt(query, &q->opt, &opt);
	crossing = crossing_len(opt.options, settings);
	size = rest.head_len + rest.tail_len + DNS_OPT_LEN + crossing;
	if (!settings->client_subnet)
		additions += OPTION_HEADER_LEN + CLIENT_SUBNET_LEN;
	if (mode != EDNS_OURS || size + additions > DNS_MESSAGE_MAX)
		additions = 0;
	if (additions == 0 && q->opt.len == 0)
		return copy_whole(out, cap, query, len);
	size += additions;
	padding = additions > 0 && settings->padding ? padding_len(size) : 0;
	if (size + padding > cap)
		return 0;

	p = put_rest(out, &rest, 1);
	p = put_opt(p, &opt, 0, crossing + additions + padding);
	p = put_crossing(p, opt.options, settings);
	if (additions > 0 && !settings->client_subnet)
		p = put_opt_out(p);
	if (additions > 0)
		p = put_option_header(p, KEEPALIVE, 0);
	if (padding > 0)
		put_padding(p, padding);
	return size + padding;
}

void
edns_read_response(const uint8_t *msg, size_t len, struct edns_response *r)
{
	struct opt opt;
	struct option o;
	struct reader data;

	*r = (struct edns_response){ .keepalive_ms = -1 };
	r->len = dns_read_response(msg, len, &r->opt);
	r->is_readable = r->len > 0;
	if (!r->is_readable)
		return;
	read_opt(msg, &r->opt, &opt);
	while (next_option(&opt.options, &o)) {
		if (o.code != KEEPALIVE || o.len != OPTION_HEADER_LEN + 2)
			continue;
		reader_init(&data, o.octets, o.len);
		reader_skip(&data, OPTION_HEADER_LEN);
		r->keepalive_ms = reader_u16(&data) * KEEPALIVE_UNIT_MS;
	}
}

size_t
edns_write_response(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_response *r,
    const struct dns_query *q, const struct edns_settings *settings)
{
	struct rest rest;
	struct opt opt;
	size_t crossing, size;
	uint8_t *p;

	if (q->is_signed)
		return copy_whole(out, DNS_MESSAGE_MAX, msg, len);
	if (!r->is_readable)
		return 0;
	cut_out(msg, r->len, &r->opt, &rest);
	read_opt(msg, &r->opt, &opt);
	size = rest.head_len + rest.tail_len;
	crossing = crossing_len(opt.options, settings);
	/* Only a response that has none itself can leave no room for ours. */
	if (q->has_edns && size + DNS_OPT_LEN + crossing <= DNS_MESSAGE_MAX) {
		p = put_rest(out, &rest, 1);
		p = put_opt(p, &opt, opt.rcode, crossing);
		(void)put_crossing(p, opt.options, settings);
		return size + DNS_OPT_LEN + crossing;
	}
	(void)put_rest(out, &rest, 0);
	if (opt.rcode != 0)
		out[RCODE_AT] = (uint8_t)((out[RCODE_AT] & ~RCODE_BITS) | DNS_SERVFAIL);
	return size;
}
