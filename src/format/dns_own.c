#include "format/dns.h"

#include "base/wire.h"
#include "dns_internal.h"
#include "format/opt.h"

/* Name, type and class of our own questions. */
static const struct {
	uint8_t bytes[DNS_OWN_QUERY_MAX - DNS_HEADER_LEN - OPT_LEN];
	size_t len;
} own_questions[] = {
	[DNS_OWN_HEALTH] = { "\6health\11dot-proxy\0\0\20\0\3", 22 },
	[DNS_OWN_READY] = { "\5ready\11dot-proxy\0\0\20\0\3", 21 },
	[DNS_OWN_ROOT] = { "\0\0\2\0\1", 5 },
	[DNS_OWN_NO_CACHE] = { "\0\0\2\0\1", 5 },
};

bool
dns_question_is(const uint8_t *query, size_t question_len, enum dns_own_question own)
{
	return question_len == own_questions[own].len &&
	    dns_same_question(own_questions[own].bytes, query + DNS_HEADER_LEN, question_len);
}

bool
dns_question_is_own(const uint8_t *msg, size_t len)
{
	size_t question_len = dns_question_len(msg, len);

	return dns_question_is(msg, question_len, DNS_OWN_HEALTH) ||
	    dns_question_is(msg, question_len, DNS_OWN_READY);
}

bool
dns_is_resolver_arpa(const uint8_t *query, const struct dns_query *q, size_t *at)
{
	static const uint8_t zone[] = "\10resolver\4arpa"; /* the NUL is the root label */
	struct wire_reader name, end;

	if (q->qclass != DNS_CLASS_IN)
		return false;
	wire_reader_init(&name, query + DNS_HEADER_LEN, q->question_len - 4);
	wire_reader_init(&end, zone, sizeof zone);
	while (name.len - name.pos > sizeof zone)
		wire_skip(&name, wire_read_u8(&name));
	*at = name.pos;
	return name.len - name.pos == sizeof zone && wire_same_letters(&name, &end, sizeof zone);
}

/* Writes the header, the question and the OPT record; with a request for the server's name or not. */
static size_t
write_query(struct wire_writer *w, uint16_t id, const uint8_t *question, size_t len,
    bool wants_name)
{
	struct dns_header h = { .id = id, .flags = DNS_FLAG_RD, .qdcount = 1, .arcount = 1 };
	static const struct opt opt = { .udp_size = DNS_UDP_SIZE };
	size_t begin;

	dns_write_header(w, &h);
	wire_write_bytes(w, question, len);
	begin = opt_begin(w, &opt);
	if (wants_name)
		opt_write_option(w, OPT_NSID, NULL, 0);
	opt_end(w, begin);
	return wire_written(w);
}

size_t
dns_write_query(uint8_t out[static DNS_OWN_QUERY_MAX], uint16_t id, enum dns_own_question own)
{
	struct wire_writer w;

	wire_writer_init(&w, out, DNS_OWN_QUERY_MAX);
	return write_query(&w, id, own_questions[own].bytes, own_questions[own].len,
	    own == DNS_OWN_NO_CACHE);
}

size_t
dns_write_ns_query(uint8_t out[static DNS_NS_QUERY_MAX], uint16_t id, const uint8_t *name,
    size_t len)
{
	uint8_t question[DNS_QUESTION_MAX];
	struct wire_writer w;
	size_t question_len;

	wire_writer_init(&w, question, sizeof question);
	wire_write_bytes(&w, name, len);
	wire_write_u16(&w, DNS_TYPE_NS);
	wire_write_u16(&w, DNS_CLASS_IN);
	question_len = wire_written(&w);
	wire_writer_init(&w, out, DNS_NS_QUERY_MAX);
	return write_query(&w, id, question, question_len, false);
}
