#include "format/dns.h"

#include <string.h>

#include "base/wire.h"
#include "dns_internal.h"
#include "format/opt.h"

enum {
	QUESTION_POINTER = 0xc000 | DNS_HEADER_LEN, /* RFC 1035 4.1.4 */
	CHARACTER_STRING_MAX = 255                  /* RFC 1035 3.3 */
};

void
dns_write_header(struct wire_writer *w, const struct dns_header *h)
{
	wire_write_u16(w, h->id);
	wire_write_u16(w, h->flags);
	wire_write_u16(w, h->qdcount);
	wire_write_u16(w, h->ancount);
	wire_write_u16(w, h->nscount);
	wire_write_u16(w, h->arcount);
}

void
dns_set_id(uint8_t *msg, uint16_t id)
{
	struct wire_writer w;

	wire_writer_init(&w, msg, DNS_HEADER_LEN);
	wire_write_u16(&w, id);
}

void
dns_set_flags(uint8_t *msg, uint16_t flags)
{
	struct wire_writer w;

	wire_writer_init(&w, msg, DNS_HEADER_LEN);
	w.pos = sizeof(uint16_t);
	wire_write_u16(&w, flags);
}

void
dns_copy_question(uint8_t *response, const uint8_t *query, size_t question_len)
{
	memcpy(response + DNS_HEADER_LEN, query + DNS_HEADER_LEN, question_len);
}

/* Writes the header and the question of a response of our own. */
static void
write_head(struct wire_writer *w, const uint8_t *query, const struct dns_query *q,
    enum dns_rcode rcode, uint16_t answers, uint16_t authorities)
{
	uint16_t kept = q->flags & (DNS_FLAGS_OPCODE | DNS_FLAG_RD | DNS_FLAG_CD);
	struct dns_header h = { .id = q->id,
		.flags = (uint16_t)(DNS_FLAG_QR | kept | DNS_FLAG_RA | (rcode & DNS_FLAGS_RCODE)),
		.qdcount = q->question_len > 0,
		.ancount = answers,
		.nscount = authorities,
		.arcount = q->has_edns };

	dns_write_header(w, &h);
	wire_write_bytes(w, query + DNS_HEADER_LEN, q->question_len);
}

/* Begins our OPT record; DO comes back as it was sent (RFC 3225 3). */
static size_t
begin_opt(struct wire_writer *w, const struct dns_query *q, enum dns_rcode rcode)
{
	struct opt opt = { .udp_size = DNS_UDP_SIZE,
		.rcode = (uint8_t)(rcode >> 4),
		.flags = q->dnssec_ok ? OPT_DO : 0 };

	return opt_begin(w, &opt);
}

/* Writes our OPT record, with an Extended DNS Error or none, if the query had one. */
static void
write_opt(struct wire_writer *w, const struct dns_query *q, enum dns_rcode rcode, enum dns_ede ede,
    const char *text)
{
	size_t begin;

	if (!q->has_edns)
		return;
	begin = begin_opt(w, q, rcode);
	if (ede != DNS_EDE_NONE)
		opt_write_ede(w, (uint16_t)ede, text);
	opt_end(w, begin);
}

size_t
dns_write_error(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    enum dns_rcode rcode, enum dns_ede ede, const char *text)
{
	struct wire_writer w;

	wire_writer_init(&w, out, cap < DNS_ERROR_MAX ? cap : DNS_ERROR_MAX);
	write_head(&w, query, q, rcode, 0, 0);
	write_opt(&w, q, rcode, ede, text);
	return wire_written(&w);
}

size_t
dns_write_text(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    const char *text)
{
	size_t text_len = strlen(text);
	struct wire_writer w;

	if (q->question_len == 0 || text_len > CHARACTER_STRING_MAX)
		return 0;
	wire_writer_init(&w, out, cap);
	write_head(&w, query, q, DNS_NOERROR, 1, 0);
	wire_write_u16(&w, QUESTION_POINTER);
	wire_write_u16(&w, DNS_TYPE_TXT);
	wire_write_u16(&w, q->qclass);
	wire_write_u32(&w, 0); /* the TTL */
	wire_write_u16(&w, (uint16_t)(1 + text_len));
	wire_write_u8(&w, (uint8_t)text_len);
	wire_write_bytes(&w, text, text_len);
	write_opt(&w, q, DNS_NOERROR, DNS_EDE_NONE, NULL);
	return wire_written(&w);
}

/* ---- records of our own ---- */

static bool
answers(const struct dns_record *record, uint16_t qtype)
{
	return qtype == DNS_TYPE_ANY || qtype == record->type;
}

bool
dns_has_record(const struct dns_record *record, uint16_t qtype)
{
	while (record != NULL && !answers(record, qtype))
		record = record->next;
	return record != NULL;
}

/* Writes a record up to its data, of which there are LEN bytes. OWNER is an offset in the QNAME. */
static void
write_record(struct wire_writer *w, size_t owner, uint16_t type, uint32_t ttl, size_t len)
{
	wire_write_u16(w, (uint16_t)(QUESTION_POINTER + owner));
	wire_write_u16(w, type);
	wire_write_u16(w, DNS_CLASS_IN);
	wire_write_u32(w, ttl);
	wire_write_u16(w, (uint16_t)len);
}

static void
write_soa(struct wire_writer *w, const struct dns_local *l)
{
	static const uint8_t responsible[] = "\6nobody\7invalid"; /* the NUL is the root label */

	write_record(w, l->zone_at, DNS_TYPE_SOA, l->ttl,
	    2 + sizeof responsible + 5 * sizeof(uint32_t));
	wire_write_u16(w, (uint16_t)(QUESTION_POINTER + l->zone_at)); /* the primary server */
	wire_write_bytes(w, responsible, sizeof responsible);
	wire_write_u32(w, 1);      /* serial */
	wire_write_u32(w, 3600);   /* refresh */
	wire_write_u32(w, 1200);   /* retry */
	wire_write_u32(w, 604800); /* expire */
	wire_write_u32(w, l->ttl); /* of the negative answer (RFC 2308 4) */
}

size_t
dns_write_local(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    const struct dns_local *l)
{
	const struct dns_record *r;
	struct wire_writer w;
	size_t count = 0;

	for (r = l->records; r != NULL; r = r->next)
		if (answers(r, q->qtype))
			count++;
	wire_writer_init(&w, out, cap);
	write_head(&w, query, q, l->rcode, (uint16_t)count, count == 0);
	for (r = l->records; r != NULL; r = r->next) {
		if (!answers(r, q->qtype))
			continue;
		write_record(&w, 0, r->type, l->ttl, r->len);
		wire_write_bytes(&w, r->data, r->len);
	}
	if (count == 0)
		write_soa(&w, l);
	write_opt(&w, q, l->rcode, l->ede, l->text);
	return wire_written(&w);
}

size_t
dns_truncate(uint8_t *response, size_t len, size_t limit)
{
	struct dns_header h, cut;
	struct opt opt;
	struct wire_writer w;
	size_t question_len, options_len, begin;
	bool has_opt;

	if (len <= limit)
		return len;
	has_opt = dns_read_opt(response, len, &h, &opt);
	question_len = dns_question_len(response, len);
	cut = (struct dns_header){ .id = h.id,
		.flags = h.flags | DNS_FLAG_TC,
		.qdcount = question_len > 0,
		.arcount = has_opt };
	wire_writer_init(&w, response, limit);
	dns_write_header(&w, &cut);
	wire_write_bytes(&w, response + DNS_HEADER_LEN, question_len);
	if (has_opt) {
		begin = opt_begin(&w, &opt);
		options_len = opt.options.len;
		if (options_len <= wire_room(&w))
			wire_write_bytes(&w, opt.options.data, options_len);
		opt_end(&w, begin);
	}
	return wire_written(&w);
}
