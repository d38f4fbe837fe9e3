#include "format/dns.h"

#include <string.h>

#include "base/wire.h"
#include "dns_internal.h"
#include "format/opt.h"

/* Between the type of a record and the length of its data (RFC 1035 4.1.3). */
enum { CLASS_AND_TTL_LEN = 6 };

struct record {
	size_t at;
	bool at_root; /* the owner is the root, uncompressed */
	uint16_t type;
	struct wire_reader fields; /* at the class */
	const uint8_t *rdata;
	size_t rdlen;
};

/* What a walk over the records of a message has found. */
struct records {
	size_t opts;          /* how many are OPT records */
	bool misplaced;       /* one of these is in another section or not at the root */
	struct opt opt;       /* the first of these; all zero when there is none */
	struct dns_opt place; /* where it is */
	bool is_signed;
};

void
dns_read_header(struct wire_reader *r, struct dns_header *h)
{
	h->id = wire_read_u16(r);
	h->flags = wire_read_u16(r);
	h->qdcount = wire_read_u16(r);
	h->ancount = wire_read_u16(r);
	h->nscount = wire_read_u16(r);
	h->arcount = wire_read_u16(r);
}

static void
read_question(struct wire_reader *r, struct dns_query *q)
{
	size_t start = r->pos;

	wire_skip_plain_name(r);
	q->qtype = wire_read_u16(r);
	q->qclass = wire_read_u16(r);
	if (!r->failed)
		q->question_len = r->pos - start;
}

static void
skip_questions(struct wire_reader *r, size_t count)
{
	size_t i;

	for (i = 0; i < count && !r->failed; i++) {
		wire_skip_name(r);
		wire_skip(r, 4);
	}
}

static bool
read_record(struct wire_reader *r, struct record *rr)
{
	rr->at = r->pos;
	wire_skip_name(r);
	rr->at_root = r->pos - rr->at == 1;
	rr->type = wire_read_u16(r);
	rr->fields = *r;
	wire_skip(r, CLASS_AND_TTL_LEN);
	rr->rdlen = wire_read_u16(r);
	rr->rdata = wire_read_bytes(r, rr->rdlen);
	return !r->failed;
}

/* Whether a record signs the message that it ends: TSIG, or SIG(0), which covers no type. */
static bool
is_signature(const struct record *rr)
{
	struct wire_reader rdata;

	if (rr->type != DNS_TYPE_SIG)
		return rr->type == DNS_TYPE_TSIG;
	wire_reader_init(&rdata, rr->rdata, rr->rdlen);
	return wire_read_u16(&rdata) == 0 && !rdata.failed;
}

/* Walks over the records of all sections, as far as they can be read. */
static void
read_records(struct wire_reader *r, const struct dns_header *h, struct records *found)
{
	size_t additional = (size_t)h->ancount + h->nscount;
	size_t end = additional + h->arcount;
	size_t i;
	struct record rr = { 0 };

	*found = (struct records){ 0 };
	for (i = 0; i < end && read_record(r, &rr); i++) {
		if (rr.type != OPT_TYPE)
			continue;
		if (i < additional || !rr.at_root)
			found->misplaced = true;
		if (found->opts == 0) {
			opt_read(&rr.fields, &found->opt);
			found->place = (struct dns_opt){ .at = rr.at,
				.len = r->pos - rr.at,
				.behind = end - i - 1 };
		}
		found->opts++;
	}
	if (found->opts == 0)
		found->place.at = r->pos;
	found->is_signed = !r->failed && h->arcount > 0 && is_signature(&rr);
}

/* Whether its options cannot be read; the format of a later version is unknown (RFC 6891 6.1.3). */
static bool
opt_is_broken(const struct opt *opt)
{
	struct wire_reader options = opt->options;
	struct opt_option option;

	while (opt_next(&options, &option))
		continue;
	return options.failed && opt->version == 0;
}

enum dns_verdict
dns_read_query(const uint8_t *msg, size_t len, struct dns_query *q, enum dns_rcode *rcode)
{
	struct wire_reader r;
	struct dns_header h;
	struct records found;

	*q = (struct dns_query){ 0 };
	wire_reader_init(&r, msg, len);
	dns_read_header(&r, &h);
	if (r.failed || (h.flags & DNS_FLAG_QR) != 0)
		return DNS_DROP;
	q->id = h.id;
	q->flags = h.flags;
	if (h.qdcount == 1)
		read_question(&r, q);
	else
		skip_questions(&r, h.qdcount);
	read_records(&r, &h, &found);
	q->has_edns = found.opts > 0;
	q->dnssec_ok = (found.opt.flags & OPT_DO) != 0;
	q->udp_size = found.opt.udp_size;
	q->len = r.pos;
	q->opt = found.place;
	q->is_signed = found.is_signed;

	/* Nothing but the header need look like ours in other opcodes. */
	if ((h.flags & DNS_FLAGS_OPCODE) != 0)
		*rcode = DNS_NOTIMP;
	else if (r.failed || (q->is_signed && !wire_is_done(&r)) || h.qdcount > 1 ||
	    found.opts > 1 || found.misplaced || opt_is_broken(&found.opt))
		*rcode = DNS_FORMERR;
	else if (found.opt.version > 0)
		*rcode = DNS_BADVERS;
	else if (h.qdcount == 0)
		*rcode = DNS_NOERROR;
	else
		return DNS_RELAY;
	return DNS_ANSWER;
}

/*
 * A length byte is no letter, so the names can be compared byte by byte, and
 * where they are equal, the second is as well formed as the first.
 */
bool
dns_same_question(const uint8_t *a, const uint8_t *b, size_t len)
{
	struct wire_reader ra, rb;

	if (memcmp(a, b, len) == 0)
		return true;
	wire_reader_init(&ra, a, len);
	wire_reader_init(&rb, b, len);
	return wire_same_letters(&ra, &rb, len - 4) && wire_read_u32(&ra) == wire_read_u32(&rb);
}

static bool
is_bare_error(uint16_t flags)
{
	switch (flags & DNS_FLAGS_RCODE) {
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
	struct wire_reader r, asked;
	struct dns_header h, sent;
	const uint8_t *theirs, *ours;

	wire_reader_init(&r, msg, len);
	dns_read_header(&r, &h);
	wire_reader_init(&asked, query, DNS_HEADER_LEN + question_len);
	dns_read_header(&asked, &sent);
	if (r.failed || (h.flags & DNS_FLAG_QR) == 0 ||
	    ((h.flags ^ sent.flags) & DNS_FLAGS_OPCODE) != 0)
		return DNS_MISMATCH;
	if (h.qdcount == 0)
		return is_bare_error(h.flags) ? DNS_MATCH_BARE : DNS_MISMATCH;
	theirs = wire_read_bytes(&r, question_len);
	ours = wire_read_bytes(&asked, question_len);
	if (h.qdcount != 1 || theirs == NULL || !dns_same_question(ours, theirs, question_len))
		return DNS_MISMATCH;
	return DNS_MATCH;
}

size_t
dns_read_response(const uint8_t *msg, size_t len, struct dns_opt *opt)
{
	struct wire_reader r;
	struct dns_header h;
	struct records found;

	wire_reader_init(&r, msg, len);
	dns_read_header(&r, &h);
	skip_questions(&r, h.qdcount);
	read_records(&r, &h, &found);
	*opt = found.place;
	opt->is_misplaced = found.misplaced;
	if (r.failed || found.opts > 1 || found.misplaced || opt_is_broken(&found.opt))
		return 0;
	return r.pos;
}

size_t
dns_question_len(const uint8_t *msg, size_t len)
{
	struct dns_query q = { 0 };
	struct wire_reader r;
	struct dns_header h;

	wire_reader_init(&r, msg, len);
	dns_read_header(&r, &h);
	if (h.qdcount == 1)
		read_question(&r, &q);
	return q.question_len;
}

uint16_t
dns_id(const uint8_t *msg)
{
	struct wire_reader r;

	wire_reader_init(&r, msg, DNS_HEADER_LEN);
	return wire_read_u16(&r);
}

uint16_t
dns_flags(const uint8_t *msg)
{
	struct wire_reader r;

	wire_reader_init(&r, msg, DNS_HEADER_LEN);
	wire_skip(&r, sizeof(uint16_t));
	return wire_read_u16(&r);
}

bool
dns_read_opt(const uint8_t *msg, size_t len, struct dns_header *h, struct opt *opt)
{
	struct wire_reader r;
	struct records found;

	wire_reader_init(&r, msg, len);
	dns_read_header(&r, h);
	skip_questions(&r, h->qdcount);
	read_records(&r, h, &found);
	if (found.opts != 1 || found.misplaced) {
		*opt = (struct opt){ 0 };
		return false;
	}
	*opt = found.opt;
	return true;
}

enum dns_rcode
dns_response_rcode(const uint8_t *msg, size_t len)
{
	struct dns_header h;
	struct opt opt;

	(void)dns_read_opt(msg, len, &h, &opt);
	return (enum dns_rcode)(opt.rcode << 4 | (h.flags & DNS_FLAGS_RCODE));
}

/* Finds the next Extended DNS Error among options. False when there is none. */
static bool
next_ede(struct wire_reader *options, uint16_t *info_code, struct wire_reader *text)
{
	struct opt_option option;

	while (opt_next(options, &option)) {
		if (option.code != OPT_EDE)
			continue;
		wire_reader_init(text, option.data, option.len);
		*info_code = wire_read_u16(text);
		return true;
	}
	return false;
}

bool
dns_response_is_bogus(const uint8_t *msg, size_t len)
{
	struct dns_header h;
	struct opt opt;
	struct wire_reader text;
	uint16_t info_code;

	(void)dns_read_opt(msg, len, &h, &opt);
	while (next_ede(&opt.options, &info_code, &text))
		if (info_code == 1 || info_code == 2 || (info_code >= 5 && info_code <= 12))
			return true;
	return false;
}

bool
dns_txt_equals(const uint8_t *msg, size_t len, const char *text)
{
	struct wire_reader r, rdata;
	struct dns_header h;
	struct record rr;
	const uint8_t *txt;
	size_t txt_len;

	wire_reader_init(&r, msg, len);
	dns_read_header(&r, &h);
	skip_questions(&r, h.qdcount);
	if (h.qdcount != 1 || h.ancount == 0 || !read_record(&r, &rr) || rr.type != DNS_TYPE_TXT)
		return false;
	wire_reader_init(&rdata, rr.rdata, rr.rdlen);
	txt_len = wire_read_u8(&rdata);
	txt = wire_read_bytes(&rdata, txt_len);
	return wire_is_done(&rdata) && txt_len == strlen(text) && memcmp(txt, text, txt_len) == 0;
}

char *
dns_format_ede(const uint8_t *msg, size_t len, char text[static DNS_EDE_TEXT_MAX])
{
	struct dns_header h;
	struct opt opt;
	struct wire_reader r;
	uint16_t info_code;
	size_t n = 0;
	uint8_t c;

	(void)dns_read_opt(msg, len, &h, &opt);
	if (next_ede(&opt.options, &info_code, &r)) {
		while (!r.failed && !wire_is_done(&r) && n < DNS_EDE_TEXT_MAX - 1) {
			c = wire_read_u8(&r);
			text[n++] = (char)(c >= ' ' && c <= '~' ? c : '?');
		}
	}
	text[n] = '\0';
	return text;
}
