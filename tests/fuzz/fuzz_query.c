/*
 * Any bytes as a query: the parsed fields are consistent, and every error written for it is a
 * valid response to it.
 */
#include "format/dns.h"
#include "fuzz.h"
#include "query/names.h"

static void
check_name(const uint8_t *msg, const struct dns_query *q)
{
	char text[DNS_NAME_TEXT_MAX];
	const char *p;

	must(dns_format_qname(msg + DNS_HEADER_LEN, q->question_len, text) == text);
	must(strlen(text) > 0 && strlen(text) < sizeof text);
	for (p = text; *p != '\0'; p++)
		must(*p > ' ' && *p <= '~');
}

/* OUT would be understood as a query, too, were it not a response. */
static void
check_error(uint8_t *out, size_t len, const uint8_t *msg, const struct dns_query *q,
    enum dns_rcode rcode)
{
	struct dns_query back;
	enum dns_rcode verdict;

	must(len >= DNS_HEADER_LEN && dns_id(out) == q->id && (out[2] & 0x80) != 0);
	must(dns_read_query(out, len, &back, &verdict) == DNS_DROP);
	if (q->has_edns || rcode <= 15)
		must(dns_response_rcode(out, len) == rcode);
	must(!dns_response_is_bogus(out, len));
	if (q->question_len > 0)
		must(dns_match_response(out, len, msg, q->question_len) == DNS_MATCH);

	out[2] &= 0x7f;
	if (dns_read_query(out, len, &back, &verdict) == DNS_RELAY)
		must(q->question_len > 0);
	else if ((q->flags & 0x7800) != 0)
		must(verdict == DNS_NOTIMP);
	else
		must(verdict == DNS_NOERROR && q->question_len == 0);
	must(back.question_len == q->question_len);
	must(back.has_edns == q->has_edns && back.dnssec_ok == q->dnssec_ok);
}

/* Every RCODE with every Extended DNS Error, the texts in turn. */
enum { RCODES = 6, EDES = 5, TEXTS = 4 };

static void
write_errors(const uint8_t *msg, const struct dns_query *q, size_t cap)
{
	static const enum dns_rcode rcodes[RCODES] = { DNS_NOERROR, DNS_FORMERR, DNS_SERVFAIL,
		DNS_NOTIMP, DNS_REFUSED, DNS_BADVERS };
	static const enum dns_ede edes[EDES] = { DNS_EDE_NONE, DNS_EDE_OTHER, DNS_EDE_PROHIBITED,
		DNS_EDE_NO_REACHABLE_AUTHORITY, DNS_EDE_NETWORK_ERROR };
	static const char *const texts[TEXTS] = { NULL, "", "handshake: timed out",
		"\303\251\342\202\254\360\237\230\200 \303\251\342\202\254\360\237\230\200" };
	size_t i, len;
	uint8_t *out;

	for (i = 0; i < (size_t)RCODES * EDES; i++) {
		out = malloc(cap);
		must(out != NULL);
		len = dns_write_error(out, cap, msg, q, rcodes[i % RCODES], edes[i / RCODES],
		    texts[i % TEXTS]);
		must(len <= cap && (len > 0 || cap < DNS_ERROR_MAX));
		if (len > 0)
			check_error(out, len, msg, q, rcodes[i % RCODES]);
		free(out);
	}
}

/* A text, with any buffer size: everything or nothing. */
static void
write_text(const uint8_t *msg, const struct dns_query *q, size_t cap)
{
	uint8_t *out = malloc(cap);
	size_t len;

	must(out != NULL);
	len = dns_write_text(out, cap, msg, q, "ready");
	must(len <= cap && (len > 0 || cap < DNS_ERROR_MAX || q->question_len == 0));
	if (len > 0) {
		must(dns_match_response(out, len, msg, q->question_len) == DNS_MATCH);
		must(dns_response_rcode(out, len) == DNS_NOERROR);
		must(dns_txt_equals(out, len, "ready"));
		must(memcmp(out + DNS_HEADER_LEN, msg + DNS_HEADER_LEN, q->question_len) == 0);
	}
	free(out);
}

/* Names that are answered here: special-use names, names of one label, and a host. */
static const struct names *
names(void)
{
	static struct names *made;
	struct address addresses[2];
	char name[] = "db.internal";
	struct config_host host = { name, addresses, 2 };
	struct config config = { .local_names = true,
		.single_labels_here = true,
		.hosts = &host,
		.host_count = 1 };

	if (made != NULL)
		return made;
	must(address_parse("10.0.0.5", 0, &addresses[0]) == 0);
	must(address_parse("fd00::5", 0, &addresses[1]) == 0);
	made = names_new(&config, NULL);
	must(made != NULL);
	return made;
}

/* The response for such a name answers the query, and can be read whole. */
static void
write_local(const uint8_t *msg, const struct dns_query *q)
{
	struct dns_local local;
	struct dns_opt opt;
	uint8_t *out;
	size_t len;

	if (!names_find(names(), msg, q, &local))
		return;
	must(q->qclass == DNS_CLASS_IN && local.zone_at < q->question_len - 4);
	out = malloc(2 * (size_t)DNS_ERROR_MAX);
	must(out != NULL);
	len = dns_write_local(out, 2 * (size_t)DNS_ERROR_MAX, msg, q, &local);
	must(len > 0 && dns_match_response(out, len, msg, q->question_len) == DNS_MATCH);
	must(dns_response_rcode(out, len) == local.rcode);
	must(dns_read_response(out, len, &opt) == len);
	must((opt.len > 0) == q->has_edns);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_query q;
	enum dns_verdict verdict;
	enum dns_rcode rcode = DNS_REFUSED;
	char type[10];
	size_t at;

	verdict = dns_read_query(data, size, &q, &rcode);
	if (size < DNS_HEADER_LEN || (data[2] & 0x80) != 0) {
		must(verdict == DNS_DROP);
		return 0;
	}
	must(verdict != DNS_DROP);
	must(q.question_len == 0 || (q.question_len >= 5 && q.question_len <= DNS_QUESTION_MAX));
	must(q.question_len <= size - DNS_HEADER_LEN);
	if (verdict == DNS_RELAY)
		must(q.question_len > 0 && q.len <= size &&
		    q.len >= DNS_HEADER_LEN + q.question_len && (!q.is_signed || q.len == size));
	else
		must(rcode == DNS_NOERROR || rcode == DNS_FORMERR || rcode == DNS_NOTIMP ||
		    rcode == DNS_BADVERS);
	if (verdict == DNS_ANSWER && rcode == DNS_BADVERS)
		must(q.has_edns);
	check_name(data, &q);
	must(strlen(dns_format_type(q.qtype, type)) < sizeof type);
	if (verdict == DNS_RELAY && dns_is_resolver_arpa(data, &q, &at))
		must(q.question_len - 4 - at == sizeof "\10resolver\4arpa" && q.qclass == 1);
	if (verdict == DNS_RELAY)
		write_local(data, &q);
	if (dns_question_is(data, q.question_len, DNS_OWN_HEALTH) ||
	    dns_question_is(data, q.question_len, DNS_OWN_READY))
		must(q.qtype == DNS_TYPE_TXT && q.qclass == 3);

	/* Room from the least that a caller may have to more than is ever used. */
	write_errors(data, &q, DNS_ERROR_MAX + 1);
	write_errors(data, &q, (size_t)data[size - 1] + 1);
	write_text(data, &q, DNS_ERROR_MAX);
	write_text(data, &q, (size_t)data[size - 1] + 1);
	return 0;
}
