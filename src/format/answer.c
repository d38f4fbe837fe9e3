#include "format/answer.h"

#include "base/wire.h"
#include "format/opt.h"

enum {
	LINKS_MAX = 16,       /* CNAME records in a response */
	POINTERS_MAX = 128,   /* of one name, which has 127 labels at most */
	POINTER = 0xc0,       /* RFC 1035 4.1.4 */
	LABEL_MAX = 63,       /* RFC 1035 2.3.4 */
	SOA_NUMBERS_LEN = 16, /* between the names and MINIMUM (RFC 1035 3.3.13) */

	/* Types that stand for no data of a name (RFC 6895 3.1). */
	META_TYPES_MIN = 128,
	META_TYPES_MAX = 254
};

/* ---- names ---- */

/* A name that is read label by label, and through its compression pointers. */
struct name {
	struct wire_reader r;
	size_t part;       /* where the labels that are read begin; a pointer must go before that */
	size_t len;        /* of the labels so far */
	unsigned pointers; /* so far */
};

static struct name
name_at(const uint8_t *msg, size_t len, size_t at)
{
	struct name n = { .part = at };

	wire_reader_init(&n.r, msg, len);
	wire_skip(&n.r, at);
	return n;
}

/* Moves to the bytes of the next label and returns their number; 0 at the root, and on failure. */
static size_t
next_label(struct name *n)
{
	size_t c, target;

	while ((c = wire_read_u8(&n->r)) >= POINTER) {
		target = (c & ~(size_t)POINTER) << 8 | wire_read_u8(&n->r);
		if (n->r.failed || target < DNS_HEADER_LEN || target >= n->part ||
		    ++n->pointers > POINTERS_MAX)
			break;
		wire_reader_init(&n->r, n->r.data, n->r.len);
		wire_skip(&n->r, target);
		n->part = target;
	}
	n->len += 1 + c;
	if (c <= LABEL_MAX && n->len <= DNS_NAME_MAX)
		return c;
	n->r.failed = true;
	return 0;
}

static bool
same_name(struct name a, struct name b)
{
	size_t n;

	do {
		n = next_label(&a);
		if (next_label(&b) != n || a.r.failed || b.r.failed)
			return false;
		/* Usually both lead to the same bytes, whose end is then the same, too. */
		if (a.r.pos == b.r.pos)
			return true;
		if (!wire_same_letters(&a.r, &b.r, n))
			return false;
	} while (n > 0);
	return true;
}

/* The number of labels without the root; false when the name cannot be read. */
static bool
count_labels(struct name n, size_t *count)
{
	size_t label;

	for (*count = 0; (label = next_label(&n)) > 0; ++*count)
		wire_skip(&n.r, label);
	return !n.r.failed;
}

static bool
is_at_or_above(struct name above, struct name below)
{
	size_t few, many;

	if (!count_labels(above, &few) || !count_labels(below, &many) || few > many)
		return false;
	for (; many > few; many--)
		wire_skip(&below.r, next_label(&below));
	return same_name(above, below);
}

/* ---- records ---- */

struct header {
	uint16_t flags;
	uint16_t qdcount;
	size_t ancount;
	size_t nscount;
	size_t arcount;
};

struct record {
	size_t at;
	uint16_t type;
	uint16_t class;
	size_t ttl_at;
	uint32_t ttl;
	size_t data_at;
	size_t end;
};

static void
read_header(struct wire_reader *r, struct header *h)
{
	wire_skip(r, sizeof(uint16_t));
	h->flags = wire_read_u16(r);
	h->qdcount = wire_read_u16(r);
	h->ancount = wire_read_u16(r);
	h->nscount = wire_read_u16(r);
	h->arcount = wire_read_u16(r);
}

/* One with the most significant bit set counts as very long (RFC 8767 4). */
static uint32_t
read_ttl(struct wire_reader *r)
{
	uint32_t ttl = wire_read_u32(r);

	return ttl <= INT32_MAX ? ttl : INT32_MAX;
}

static bool
read_record(struct wire_reader *r, struct record *rr)
{
	size_t data_len;

	rr->at = r->pos;
	wire_skip_name(r);
	rr->type = wire_read_u16(r);
	rr->class = wire_read_u16(r);
	rr->ttl_at = r->pos;
	rr->ttl = read_ttl(r);
	data_len = wire_read_u16(r);
	rr->data_at = r->pos;
	wire_skip(r, data_len);
	rr->end = r->pos;
	return !r->failed;
}

/* ---- judging ---- */

/* A CNAME record: where the names of its owner and of its target are. */
struct link {
	size_t from;
	size_t to;
};

/* A response while it is judged. */
struct response {
	const uint8_t *msg;
	size_t len; /* without the OPT record */
	const struct dns_query *q;
	struct header header; /* `arcount' without the OPT record */
	size_t records_at;
	uint32_t ttl; /* the least */
	struct link links[LINKS_MAX];
	size_t link_count;
	struct record soa; /* the first of the authority section */
	uint32_t soa_minimum;
	bool has_soa;
};

static struct name
name_in(const struct response *p, size_t at)
{
	return name_at(p->msg, p->len, at);
}

bool
answer_may_be_kept(const struct dns_query *q)
{
	return q->qtype != 0 && q->qtype != OPT_TYPE &&
	    (q->qtype < META_TYPES_MIN || q->qtype > META_TYPES_MAX);
}

/* Reads header and question. */
static enum answer_reason
read_head(struct response *p)
{
	struct wire_reader r;
	size_t question_len;

	wire_reader_init(&r, p->msg, p->len);
	read_header(&r, &p->header);
	if (r.failed || (p->header.flags & DNS_FLAG_QR) == 0 ||
	    (p->header.flags & DNS_FLAGS_OPCODE) != 0 || p->header.qdcount != 1)
		return ANSWER_MALFORMED;
	wire_skip_plain_name(&r);
	question_len = r.pos - DNS_HEADER_LEN + 2 * sizeof(uint16_t);
	if (wire_read_u16(&r) != p->q->qtype || wire_read_u16(&r) != p->q->qclass || r.failed ||
	    question_len != p->q->question_len)
		return ANSWER_MALFORMED;
	if (p->header.flags & DNS_FLAG_TC)
		return ANSWER_TRUNCATED;
	p->records_at = r.pos;
	return ANSWER_KEPT;
}

/* Whether a CNAME record is well formed; notes it, or that there are too many. */
static enum answer_reason
note_link(struct response *p, const struct record *rr)
{
	struct wire_reader r;

	wire_reader_init(&r, p->msg, rr->end);
	wire_skip(&r, rr->data_at);
	wire_skip_name(&r);
	if (!wire_is_done(&r))
		return ANSWER_MALFORMED;
	if (p->link_count == LINKS_MAX)
		return ANSWER_INCONSISTENT;
	p->links[p->link_count++] = (struct link){ .from = rr->at, .to = rr->data_at };
	return ANSWER_KEPT;
}

static enum answer_reason
note_soa(struct response *p, const struct record *rr)
{
	struct wire_reader r;

	wire_reader_init(&r, p->msg, rr->end);
	wire_skip(&r, rr->data_at);
	wire_skip_name(&r);
	wire_skip_name(&r);
	wire_skip(&r, SOA_NUMBERS_LEN);
	p->soa_minimum = read_ttl(&r);
	if (!wire_is_done(&r))
		return ANSWER_MALFORMED;
	p->soa = *rr;
	p->has_soa = true;
	return ANSWER_KEPT;
}

/* Whether it signs a message: TSIG, or SIG(0), which covers no type. */
static bool
is_signature(const struct response *p, const struct record *rr)
{
	struct wire_reader r;

	if (rr->type != DNS_TYPE_SIG)
		return rr->type == DNS_TYPE_TSIG;
	wire_reader_init(&r, p->msg, rr->end);
	wire_skip(&r, rr->data_at);
	return wire_read_u16(&r) == 0;
}

/* Notes what matters of record I. */
static enum answer_reason
note_record(struct response *p, const struct record *rr, size_t i)
{
	const struct header *h = &p->header;

	if (rr->ttl < p->ttl)
		p->ttl = rr->ttl;
	if (rr->type == OPT_TYPE)
		return ANSWER_MALFORMED;
	if (is_signature(p, rr))
		return ANSWER_SIGNED;
	if (rr->class != p->q->qclass)
		return ANSWER_KEPT;
	if (i < h->ancount && rr->type == DNS_TYPE_CNAME)
		return note_link(p, rr);
	if (i >= h->ancount && i < h->ancount + h->nscount && rr->type == DNS_TYPE_SOA &&
	    !p->has_soa)
		return note_soa(p, rr);
	return ANSWER_KEPT;
}

/* Reads all records, which end where the OPT record begins. */
static enum answer_reason
read_records(struct response *p, size_t opt_len)
{
	struct header *h = &p->header;
	enum answer_reason why;
	struct wire_reader r;
	struct record rr;
	size_t i;

	if (opt_len > 0 && h->arcount-- == 0)
		return ANSWER_MALFORMED;
	wire_reader_init(&r, p->msg, p->len);
	wire_skip(&r, p->records_at);
	p->ttl = INT32_MAX;
	for (i = 0; i < h->ancount + h->nscount + h->arcount; i++) {
		if (!read_record(&r, &rr))
			return ANSWER_MALFORMED;
		if ((why = note_record(p, &rr, i)) != ANSWER_KEPT)
			return why;
	}
	return wire_is_done(&r) ? ANSWER_KEPT : ANSWER_MALFORMED;
}

/*
 * Moves *AT, a name, to the target of its CNAME record. False when it has none; then, and
 * after each move, *WHY says whether something is wrong: it has two targets.
 */
static bool
follow_link(const struct response *p, size_t *at, enum answer_reason *why)
{
	const struct link *link, *end = p->links + p->link_count;
	const struct link *found = NULL;

	*why = ANSWER_KEPT;
	for (link = p->links; link < end; link++) {
		if (!same_name(name_in(p, link->from), name_in(p, *at)))
			continue;
		if (found == NULL)
			found = link;
		else if (!same_name(name_in(p, link->to), name_in(p, found->to)))
			*why = ANSWER_INCONSISTENT;
	}
	if (found != NULL)
		*at = found->to;
	return found != NULL;
}

/* Finds the name to which the CNAME records lead from QNAME. */
static enum answer_reason
find_end(const struct response *p, size_t *at)
{
	enum answer_reason why = ANSWER_KEPT;
	size_t moves = 0;

	*at = DNS_HEADER_LEN;
	/* A question for CNAME records, or for all, is about those of QNAME. */
	if (p->q->qtype == DNS_TYPE_CNAME || p->q->qtype == DNS_TYPE_ANY)
		return ANSWER_KEPT;
	while (why == ANSWER_KEPT && follow_link(p, at, &why))
		if (++moves > p->link_count)
			return ANSWER_INCONSISTENT; /* a loop */
	return why;
}

/* Whether the answer section has a record of QTYPE at the name. */
static bool
has_data(const struct response *p, size_t at)
{
	struct wire_reader r;
	struct record rr;
	size_t i;

	wire_reader_init(&r, p->msg, p->len);
	wire_skip(&r, p->records_at);
	for (i = 0; i < p->header.ancount; i++)
		if (read_record(&r, &rr) && rr.class == p->q->qclass &&
		    (rr.type == p->q->qtype || p->q->qtype == DNS_TYPE_ANY) &&
		    same_name(name_in(p, rr.at), name_in(p, at)))
			return true;
	return false;
}

static uint32_t
least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t
life_of(const struct response *p, enum answer_kind kind, const struct answer_limits *limits)
{
	uint32_t life = kind == ANSWER_NEGATIVE ? least(p->ttl, p->soa_minimum) : p->ttl;

	if (life < limits->min_ttl)
		life = limits->min_ttl;
	life = least(life, limits->max_ttl);
	return kind == ANSWER_NEGATIVE ? least(life, limits->negative_ttl) : life;
}

/* Judges a response whose records are well formed, with RCODE NOERROR or NXDOMAIN. */
static enum answer_reason
judge_data(const struct response *p, enum dns_rcode rcode, const struct answer_limits *limits,
    struct answer *a)
{
	enum answer_reason why;
	size_t end;

	if ((why = find_end(p, &end)) != ANSWER_KEPT)
		return why;
	if (has_data(p, end)) {
		if (rcode == DNS_NXDOMAIN)
			return ANSWER_INCONSISTENT;
		a->kind = ANSWER_POSITIVE;
	} else {
		if (!p->has_soa || !is_at_or_above(name_in(p, p->soa.at), name_in(p, end)))
			return rcode == DNS_NOERROR && end != DNS_HEADER_LEN ? ANSWER_INCONSISTENT :
									       ANSWER_NO_SOA;
		a->kind = ANSWER_NEGATIVE;
		a->soa_ttl_at = p->soa.ttl_at;
	}
	a->life = life_of(p, a->kind, limits);
	return a->life > 0 ? ANSWER_KEPT : ANSWER_ZERO_TTL;
}

/* With the upper bits of the OPT record; false when that cannot be read. */
static bool
read_rcode(const uint8_t *msg, size_t len, size_t opt_len, uint16_t flags, enum dns_rcode *rcode)
{
	struct wire_reader r;
	struct opt opt = { .rcode = 0 };

	wire_reader_init(&r, msg, len);
	wire_skip(&r, len - opt_len);
	if (opt_len > 0) {
		if (wire_read_u8(&r) != 0 || wire_read_u16(&r) != OPT_TYPE)
			return false;
		opt_read(&r, &opt);
	}
	*rcode = (enum dns_rcode)(opt.rcode << 4 | (flags & DNS_FLAGS_RCODE));
	return wire_is_done(&r);
}

static enum answer_reason
judge(struct response *p, size_t opt_len, const struct answer_limits *limits, struct answer *a)
{
	enum answer_reason why;
	enum dns_rcode rcode;

	if (p->q->is_signed)
		return ANSWER_SIGNED;
	if (!answer_may_be_kept(p->q))
		return ANSWER_TYPE;
	if ((why = read_head(p)) != ANSWER_KEPT || (why = read_records(p, opt_len)) != ANSWER_KEPT)
		return why;
	if (!read_rcode(p->msg, p->len + opt_len, opt_len, p->header.flags, &rcode))
		return ANSWER_MALFORMED;
	if (rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN)
		return judge_data(p, rcode, limits, a);
	a->kind = ANSWER_FAILURE;
	return ANSWER_KEPT;
}

void
answer_judge(const uint8_t *msg, size_t len, size_t opt_len, const struct dns_query *q,
    const struct answer_limits *limits, struct answer *a)
{
	struct response p = { .msg = msg, .len = len - opt_len, .q = q };
	enum answer_reason why = ANSWER_MALFORMED;

	*a = (struct answer){ .kind = ANSWER_NOT_KEPT };
	if (opt_len <= len)
		why = judge(&p, opt_len, limits, a);
	if (why != ANSWER_KEPT)
		*a = (struct answer){ .reason = why };
}

const char *
answer_reason_word(enum answer_reason reason)
{
	static const char *const words[] = {
		[ANSWER_KEPT] = "kept",
		[ANSWER_MALFORMED] = "malformed",
		[ANSWER_TRUNCATED] = "truncated",
		[ANSWER_SIGNED] = "signed",
		[ANSWER_TYPE] = "type",
		[ANSWER_INCONSISTENT] = "inconsistent",
		[ANSWER_NO_SOA] = "no_soa",
		[ANSWER_ZERO_TTL] = "zero_ttl",
	};

	return words[reason];
}

/* ---- time ---- */

static void
write_ttl(uint8_t *msg, size_t len, size_t at, uint32_t ttl)
{
	struct wire_writer w;

	wire_writer_init(&w, msg, len);
	w.pos = at;
	wire_write_u32(&w, ttl);
}

void
answer_lower_soa(uint8_t *msg, size_t len, const struct answer *a)
{
	struct wire_reader r;

	if (a->kind != ANSWER_NEGATIVE)
		return;
	wire_reader_init(&r, msg, len);
	wire_skip(&r, a->soa_ttl_at);
	if (read_ttl(&r) > a->life && !r.failed)
		write_ttl(msg, len, a->soa_ttl_at, a->life);
}

/* Lowers the TTLs; those that have run out become EXPIRED. */
static bool
age_records(uint8_t *msg, size_t len, uint32_t age, uint32_t expired, uint32_t cap, size_t *opt_len)
{
	struct wire_reader r;
	struct header h;
	struct record rr;
	uint32_t ttl;
	size_t i;

	*opt_len = 0;
	wire_reader_init(&r, msg, len);
	read_header(&r, &h);
	wire_skip_plain_name(&r);
	wire_skip(&r, 2 * sizeof(uint16_t));
	if (r.failed || h.qdcount != 1)
		return false;
	for (i = 0; i < h.ancount + h.nscount + h.arcount; i++) {
		if (*opt_len > 0 || !read_record(&r, &rr))
			return false;
		if (rr.type == OPT_TYPE) {
			*opt_len = rr.end - rr.at;
			continue;
		}
		ttl = rr.ttl > age ? least(rr.ttl - age, cap) : expired;
		write_ttl(msg, len, rr.ttl_at, ttl);
	}
	dns_set_flags(msg, h.flags & (uint16_t)~DNS_FLAG_AA);
	return wire_is_done(&r);
}

bool
answer_age(uint8_t *msg, size_t len, uint32_t age, uint32_t cap, size_t *opt_len)
{
	return age_records(msg, len, age, 1, cap > 0 ? cap : 1, opt_len);
}

bool
answer_age_stale(uint8_t *msg, size_t len, uint32_t age, size_t *opt_len)
{
	return age_records(msg, len, age, ANSWER_STALE_TTL, ANSWER_STALE_TTL, opt_len);
}
