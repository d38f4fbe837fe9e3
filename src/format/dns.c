#include "format/dns.h"

#include <string.h>

#include "base/reader.h"

enum {
	/* Bits of the header's flags (RFC 1035 4.1.1, RFC 4035 3.2.2). */
	FLAG_QR = 0x8000,
	FLAGS_OPCODE = 0x7800,
	FLAG_TC = 0x0200,
	FLAG_RD = 0x0100,
	FLAG_RA = 0x0080,
	FLAG_CD = 0x0010,
	FLAGS_RCODE = 0x000f,

	/* EDNS (RFC 6891 6.1.3; RFC 8914 2). */
	EDNS_DO = 0x8000,
	OPTION_EDE = 15,
	OPTION_LEN = 4, /* code and length */
	EDE_LEN = 2,    /* without a text */

	/* A record behind a name (RFC 1035 4.1.3), and a pointer to the question's (4.1.4). */
	RECORD_LEN = 10,
	QUESTION_POINTER = 0xc000 | DNS_HEADER_LEN,
	CHARACTER_STRING_MAX = 255,

	CLASS_IN = 1
};

struct header {
	uint16_t id;
	uint16_t flags;
	uint16_t qdcount;
	uint16_t ancount;
	uint16_t nscount;
	uint16_t arcount;
};

struct record {
	size_t at;
	bool at_root; /* the owner is the root, uncompressed */
	uint16_t type;
	uint16_t class;
	uint32_t ttl;
	const uint8_t *rdata;
	size_t rdlen;
};

/* What a walk over the records of a message has found. */
struct edns {
	size_t count;         /* of OPT records */
	bool misplaced;       /* one is in another section or not at the root */
	struct record opt;    /* the first; all zero when there is none */
	struct dns_opt place; /* its */
	bool is_signed;
};

static void
read_header(struct reader *r, struct header *h)
{
	h->id = reader_u16(r);
	h->flags = reader_u16(r);
	h->qdcount = reader_u16(r);
	h->ancount = reader_u16(r);
	h->nscount = reader_u16(r);
	h->arcount = reader_u16(r);
}

static void
read_question(struct reader *r, struct dns_query *q)
{
	size_t start = r->pos;

	reader_skip_plain_name(r);
	q->qtype = reader_u16(r);
	q->qclass = reader_u16(r);
	if (!r->failed)
		q->question_len = r->pos - start;
}

static void
skip_questions(struct reader *r, size_t count)
{
	size_t i;

	for (i = 0; i < count && !r->failed; i++) {
		reader_skip_name(r);
		reader_skip(r, 4);
	}
}

static bool
read_record(struct reader *r, struct record *rr)
{
	rr->at = r->pos;
	reader_skip_name(r);
	rr->at_root = r->pos - rr->at == 1;
	rr->type = reader_u16(r);
	rr->class = reader_u16(r);
	rr->ttl = reader_u32(r);
	rr->rdlen = reader_u16(r);
	rr->rdata = reader_bytes(r, rr->rdlen);
	return !r->failed;
}

/* Whether a record signs the message that it ends: TSIG, or SIG(0), which covers no type. */
static bool
is_signature(const struct record *rr)
{
	struct reader rdata;

	if (rr->type != DNS_TYPE_SIG)
		return rr->type == DNS_TYPE_TSIG;
	reader_init(&rdata, rr->rdata, rr->rdlen);
	return reader_u16(&rdata) == 0 && !rdata.failed;
}

/* Walks over the records of all sections, as far as they can be read. */
static void
read_records(struct reader *r, const struct header *h, struct edns *e)
{
	size_t additional = (size_t)h->ancount + h->nscount;
	size_t end = additional + h->arcount;
	size_t i;
	struct record rr = { 0 };

	*e = (struct edns){ 0 };
	for (i = 0; i < end && read_record(r, &rr); i++) {
		if (rr.type != DNS_TYPE_OPT)
			continue;
		if (i < additional || !rr.at_root)
			e->misplaced = true;
		if (e->count == 0) {
			e->opt = rr;
			e->place = (struct dns_opt){ .at = rr.at,
				.len = r->pos - rr.at,
				.behind = end - i - 1 };
		}
		e->count++;
	}
	if (e->count == 0)
		e->place.at = r->pos;
	e->is_signed = !r->failed && h->arcount > 0 && is_signature(&rr);
}

/* Reads the next option of an OPT record; false at the end, and when it is broken. */
static bool
read_option(struct reader *options, uint16_t *code, struct reader *data)
{
	const uint8_t *p;
	size_t len;

	if (reader_done(options))
		return false;
	*code = reader_u16(options);
	len = reader_u16(options);
	p = reader_bytes(options, len);
	reader_init(data, p, len);
	return p != NULL;
}

static uint8_t
opt_version(const struct record *opt)
{
	return (uint8_t)(opt->ttl >> 16);
}

/* What a later version puts there is not known (RFC 6891 6.1.3). */
static bool
opt_is_broken(const struct record *opt)
{
	struct reader options, data;
	uint16_t code;

	reader_init(&options, opt->rdata, opt->rdlen);
	while (read_option(&options, &code, &data))
		continue;
	return options.failed && opt_version(opt) == 0;
}

enum dns_verdict
dns_read_query(const uint8_t *msg, size_t len, struct dns_query *q, enum dns_rcode *rcode)
{
	struct reader r;
	struct header h;
	struct edns e;

	*q = (struct dns_query){ 0 };
	reader_init(&r, msg, len);
	read_header(&r, &h);
	if (r.failed || (h.flags & FLAG_QR) != 0)
		return DNS_DROP;
	q->id = h.id;
	q->flags = h.flags;
	if (h.qdcount == 1)
		read_question(&r, q);
	else
		skip_questions(&r, h.qdcount);
	read_records(&r, &h, &e);
	q->has_edns = e.count > 0;
	q->dnssec_ok = (e.opt.ttl & EDNS_DO) != 0;
	q->udp_size = e.opt.class;
	q->len = r.pos;
	q->opt = e.place;
	q->is_signed = e.is_signed;

	/* Nothing but the header need look like ours in other opcodes. */
	if ((h.flags & FLAGS_OPCODE) != 0)
		*rcode = DNS_NOTIMP;
	else if (r.failed || (q->is_signed && !reader_done(&r)) || h.qdcount > 1 || e.count > 1 ||
	    e.misplaced || opt_is_broken(&e.opt))
		*rcode = DNS_FORMERR;
	else if (opt_version(&e.opt) > 0)
		*rcode = DNS_BADVERS;
	else if (h.qdcount == 0)
		*rcode = DNS_NOERROR;
	else
		return DNS_RELAY;
	return DNS_ANSWER;
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* Whether the next LEN bytes of both are equal, ignoring case. */
static bool
same_letters(struct reader *a, struct reader *b, size_t len)
{
	for (; len > 0; len--)
		if (lower(reader_u8(a)) != lower(reader_u8(b)))
			return false;
	return true;
}

/*
 * A length octet is no letter, so the names can be compared octet by octet, and
 * where they are equal, the second is as well formed as the first.
 */
static bool
same_question(const uint8_t *a, const uint8_t *b, size_t len)
{
	struct reader ra, rb;

	if (memcmp(a, b, len) == 0)
		return true;
	reader_init(&ra, a, len);
	reader_init(&rb, b, len);
	return same_letters(&ra, &rb, len - 4) && reader_u32(&ra) == reader_u32(&rb);
}

/* Name, type and class of our own questions. */
static const struct {
	uint8_t octets[DNS_OWN_QUERY_MAX - DNS_HEADER_LEN - DNS_OPT_LEN];
	size_t len;
} own_questions[] = {
	[DNS_OWN_HEALTH] = { "\6health\11dot-proxy\0\0\20\0\3", 22 },
	[DNS_OWN_READY] = { "\5ready\11dot-proxy\0\0\20\0\3", 21 },
	[DNS_OWN_ROOT] = { "\0\0\2\0\1", 5 },
};

bool
dns_asks(const uint8_t *query, size_t question_len, enum dns_own_question own)
{
	return question_len == own_questions[own].len &&
	    same_question(own_questions[own].octets, query + DNS_HEADER_LEN, question_len);
}

bool
dns_asks_own(const uint8_t *msg, size_t len)
{
	size_t question_len = dns_question_len(msg, len);

	return dns_asks(msg, question_len, DNS_OWN_HEALTH) ||
	    dns_asks(msg, question_len, DNS_OWN_READY);
}

bool
dns_is_resolver_arpa(const uint8_t *query, const struct dns_query *q)
{
	static const uint8_t zone[] = "\10resolver\4arpa"; /* the NUL is the root label */
	struct reader name, end;

	if (q->qclass != CLASS_IN)
		return false;
	reader_init(&name, query + DNS_HEADER_LEN, q->question_len - 4);
	reader_init(&end, zone, sizeof zone);
	while (name.len - name.pos > sizeof zone)
		reader_skip(&name, reader_u8(&name));
	return name.len - name.pos == sizeof zone && same_letters(&name, &end, sizeof zone);
}

static bool
is_bare_error(uint16_t flags)
{
	switch (flags & FLAGS_RCODE) {
	case DNS_FORMERR:
	case DNS_SERVFAIL:
	case DNS_NOTIMP:
	case DNS_REFUSED:
		return true;
	default:
		return false;
	}
}

enum dns_match
dns_match_response(const uint8_t *msg, size_t len, const uint8_t *query, size_t question_len)
{
	struct reader r, asked;
	struct header h, sent;
	const uint8_t *theirs, *ours;

	reader_init(&r, msg, len);
	read_header(&r, &h);
	reader_init(&asked, query, DNS_HEADER_LEN + question_len);
	read_header(&asked, &sent);
	if (r.failed || (h.flags & FLAG_QR) == 0 || ((h.flags ^ sent.flags) & FLAGS_OPCODE) != 0)
		return DNS_MISMATCH;
	if (h.qdcount == 0)
		return is_bare_error(h.flags) ? DNS_MATCH_BARE : DNS_MISMATCH;
	theirs = reader_bytes(&r, question_len);
	ours = reader_bytes(&asked, question_len);
	if (h.qdcount != 1 || theirs == NULL || !same_question(ours, theirs, question_len))
		return DNS_MISMATCH;
	return DNS_MATCH;
}

size_t
dns_read_response(const uint8_t *msg, size_t len, struct dns_opt *opt)
{
	struct reader r;
	struct header h;
	struct edns e;

	reader_init(&r, msg, len);
	read_header(&r, &h);
	skip_questions(&r, h.qdcount);
	read_records(&r, &h, &e);
	*opt = e.place;
	opt->is_misplaced = e.misplaced;
	if (r.failed || e.count > 1 || e.misplaced || opt_is_broken(&e.opt))
		return 0;
	return r.pos;
}

size_t
dns_question_len(const uint8_t *msg, size_t len)
{
	struct dns_query q = { 0 };
	struct reader r;
	struct header h;

	reader_init(&r, msg, len);
	read_header(&r, &h);
	if (h.qdcount == 1)
		read_question(&r, &q);
	return q.question_len;
}

uint16_t
dns_id(const uint8_t *msg)
{
	struct reader r;

	reader_init(&r, msg, DNS_HEADER_LEN);
	return reader_u16(&r);
}

static uint8_t *
put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

void
dns_set_id(uint8_t *msg, uint16_t id)
{
	(void)put_u16(msg, id);
}

/* Reads the header of a response, and its OPT record: all zero when there is no good one. */
static void
read_response(const uint8_t *msg, size_t len, struct header *h, struct record *opt)
{
	struct reader r;
	struct edns e;

	reader_init(&r, msg, len);
	read_header(&r, h);
	skip_questions(&r, h->qdcount);
	read_records(&r, h, &e);
	*opt = e.count == 1 && !e.misplaced ? e.opt : (struct record){ 0 };
}

enum dns_rcode
dns_response_rcode(const uint8_t *msg, size_t len)
{
	struct header h;
	struct record opt;

	read_response(msg, len, &h, &opt);
	return (enum dns_rcode)((opt.ttl >> 24) << 4 | (h.flags & FLAGS_RCODE));
}

bool
dns_response_is_bogus(const uint8_t *msg, size_t len)
{
	struct header h;
	struct record opt;
	struct reader options, data;
	uint16_t code, info;

	read_response(msg, len, &h, &opt);
	reader_init(&options, opt.rdata, opt.rdlen);
	while (read_option(&options, &code, &data)) {
		if (code != OPTION_EDE)
			continue;
		info = reader_u16(&data);
		if (info == 1 || info == 2 || (info >= 5 && info <= 12))
			return true;
	}
	return false;
}

bool
dns_response_says(const uint8_t *msg, size_t len, const char *text)
{
	struct reader r, rdata;
	struct header h;
	struct record rr;
	const uint8_t *said;
	size_t said_len;

	reader_init(&r, msg, len);
	read_header(&r, &h);
	skip_questions(&r, h.qdcount);
	if (h.qdcount != 1 || h.ancount == 0 || !read_record(&r, &rr) || rr.type != DNS_TYPE_TXT)
		return false;
	reader_init(&rdata, rr.rdata, rr.rdlen);
	said_len = reader_u8(&rdata);
	said = reader_bytes(&rdata, said_len);
	return reader_done(&rdata) && said_len == strlen(text) && memcmp(said, text, said_len) == 0;
}

char *
dns_format_ede(const uint8_t *msg, size_t len, char text[static DNS_EDE_TEXT_MAX])
{
	struct header h;
	struct record opt;
	struct reader options, data;
	uint16_t code;
	size_t n = 0;
	uint8_t c;

	read_response(msg, len, &h, &opt);
	reader_init(&options, opt.rdata, opt.rdlen);
	while (read_option(&options, &code, &data)) {
		if (code != OPTION_EDE)
			continue;
		reader_skip(&data, EDE_LEN);
		while (!data.failed && !reader_done(&data) && n < DNS_EDE_TEXT_MAX - 1) {
			c = reader_u8(&data);
			text[n++] = (char)(c >= ' ' && c <= '~' ? c : '?');
		}
		break;
	}
	text[n] = '\0';
	return text;
}

void
dns_copy_question(uint8_t *response, const uint8_t *query, size_t question_len)
{
	memcpy(response + DNS_HEADER_LEN, query + DNS_HEADER_LEN, question_len);
}

/* The octets of TEXT that fit into ROOM without cutting a character of UTF-8 in two. */
static size_t
text_that_fits(const char *text, size_t room)
{
	size_t n;

	if (text == NULL)
		return 0;
	n = strnlen(text, room);
	while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static uint8_t *
put_octets(uint8_t *p, const void *octets, size_t len)
{
	if (len > 0)
		memcpy(p, octets, len);
	return p + len;
}

static uint8_t *
put_ede(uint8_t *p, enum dns_ede ede, const char *text, size_t text_len)
{
	p = put_u16(p, OPTION_EDE);
	p = put_u16(p, (uint16_t)(EDE_LEN + text_len));
	p = put_u16(p, (uint16_t)ede);
	return put_octets(p, text, text_len);
}

/* Writes our OPT record into the ROOM octets, of which there are DNS_OPT_LEN at least. */
static uint8_t *
put_opt(uint8_t *p, size_t room, const struct dns_query *q, enum dns_rcode rcode, enum dns_ede ede,
    const char *text)
{
	uint8_t *rdlen;

	*p++ = 0; /* the root */
	p = put_u16(p, DNS_TYPE_OPT);
	p = put_u16(p, DNS_UDP_SIZE);
	*p++ = (uint8_t)(rcode >> 4);
	*p++ = 0;                                   /* the version */
	p = put_u16(p, q->dnssec_ok ? EDNS_DO : 0); /* RFC 3225 3 */
	rdlen = p;
	p = put_u16(p, 0);
	room -= DNS_OPT_LEN;
	if (ede != DNS_EDE_NONE && room >= OPTION_LEN + EDE_LEN) {
		room -= OPTION_LEN + EDE_LEN;
		p = put_ede(p, ede, text, text_that_fits(text, room));
		(void)put_u16(rdlen, (uint16_t)(p - rdlen - 2));
	}
	return p;
}

static uint8_t *
put_header(uint8_t *p, const struct header *h)
{
	p = put_u16(p, h->id);
	p = put_u16(p, h->flags);
	p = put_u16(p, h->qdcount);
	p = put_u16(p, h->ancount);
	p = put_u16(p, h->nscount);
	return put_u16(p, h->arcount);
}

/* Writes the header and the question of a response of our own. */
static uint8_t *
put_head(uint8_t *out, const uint8_t *query, const struct dns_query *q, enum dns_rcode rcode,
    uint16_t answers)
{
	uint16_t kept = q->flags & (FLAGS_OPCODE | FLAG_RD | FLAG_CD);
	struct header h = { .id = q->id,
		.flags = (uint16_t)(FLAG_QR | kept | FLAG_RA | (rcode & FLAGS_RCODE)),
		.qdcount = q->question_len > 0,
		.ancount = answers,
		.arcount = q->has_edns };

	(void)put_header(out, &h);
	dns_copy_question(out, query, q->question_len);
	return out + DNS_HEADER_LEN + q->question_len;
}

size_t
dns_write_error(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    enum dns_rcode rcode, enum dns_ede ede, const char *text)
{
	size_t room = cap < DNS_ERROR_MAX ? cap : DNS_ERROR_MAX;
	uint8_t *p;

	if (room < DNS_HEADER_LEN + q->question_len + (q->has_edns ? DNS_OPT_LEN : 0))
		return 0;
	p = put_head(out, query, q, rcode, 0);
	if (q->has_edns)
		p = put_opt(p, room - (size_t)(p - out), q, rcode, ede, text);
	return (size_t)(p - out);
}

size_t
dns_write_text(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    const char *text)
{
	size_t text_len = strlen(text);
	size_t need = DNS_HEADER_LEN + q->question_len + 2 + RECORD_LEN + 1 + text_len +
	    (q->has_edns ? DNS_OPT_LEN : 0);
	uint8_t *p;

	if (cap < need || q->question_len == 0 || text_len > CHARACTER_STRING_MAX)
		return 0;
	p = put_head(out, query, q, DNS_NOERROR, 1);
	p = put_u16(p, QUESTION_POINTER);
	p = put_u16(p, DNS_TYPE_TXT);
	p = put_u16(p, q->qclass);
	p = put_u16(p, 0); /* the TTL, both halves */
	p = put_u16(p, 0);
	p = put_u16(p, (uint16_t)(1 + text_len));
	*p++ = (uint8_t)text_len;
	p = put_octets(p, text, text_len);
	if (q->has_edns)
		p = put_opt(p, DNS_OPT_LEN, q, DNS_NOERROR, DNS_EDE_NONE, NULL);
	return (size_t)(p - out);
}

size_t
dns_write_query(uint8_t out[static DNS_OWN_QUERY_MAX], uint16_t id, enum dns_own_question own)
{
	static const struct dns_query plain = { 0 };
	struct header h = { .id = id, .flags = FLAG_RD, .qdcount = 1, .arcount = 1 };
	uint8_t *p = put_header(out, &h);

	p = put_octets(p, own_questions[own].octets, own_questions[own].len);
	p = put_opt(p, DNS_OPT_LEN, &plain, DNS_NOERROR, DNS_EDE_NONE, NULL);
	return (size_t)(p - out);
}

/* Puts the OPT record behind the octets up to P, as much of it as fits into ROOM. */
static uint8_t *
keep_opt(uint8_t *p, size_t room, const struct record *opt)
{
	size_t len = DNS_OPT_LEN + opt->rdlen;

	if (len > room)
		len = DNS_OPT_LEN;
	memmove(p, opt->rdata - DNS_OPT_LEN, len);
	(void)put_u16(p + DNS_OPT_LEN - 2, (uint16_t)(len - DNS_OPT_LEN));
	return p + len;
}

size_t
dns_truncate(uint8_t *response, size_t len, size_t limit)
{
	struct header h;
	struct record opt;
	size_t question_len;
	uint8_t *p;

	if (len <= limit)
		return len;
	read_response(response, len, &h, &opt);
	question_len = dns_question_len(response, len);
	p = response + DNS_HEADER_LEN + question_len;
	if (opt.type == DNS_TYPE_OPT)
		p = keep_opt(p, limit - (size_t)(p - response), &opt);
	(void)put_u16(response + 2, h.flags | FLAG_TC);
	(void)put_u16(response + 4, question_len > 0);
	(void)put_u16(response + 6, 0);
	(void)put_u16(response + 8, 0);
	(void)put_u16(response + 10, opt.type == DNS_TYPE_OPT);
	return (size_t)(p - response);
}
