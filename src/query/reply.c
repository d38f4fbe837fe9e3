#include "query/reply.h"

static uint16_t
client_flags(const struct query *q)
{
	uint16_t copied = DNS_FLAG_RD | DNS_FLAG_CD;
	uint16_t flags = dns_flags(q->response);

	if ((q->dns.flags & DNS_FLAG_AD) == 0 && !q->dns.dnssec_ok)
		flags &= (uint16_t)~DNS_FLAG_AD;
	return (uint16_t)((flags & ~copied) | (q->dns.flags & copied));
}

void
reply_finish(struct query *q, const struct edns_settings *settings)
{
	if (!q->is_canonical)
		return;
	q->response_len = edns_finish_response(q->response, q->response_len, q->opt_len, &q->dns);
	dns_set_id(q->response, q->dns.id);
	if (!q->dns.is_signed) {
		dns_copy_question(q->response, q->message, q->dns.question_len);
		if (settings->ask_ad)
			dns_set_flags(q->response, client_flags(q));
	}
	q->is_canonical = false;
}

void
reply_truncate(struct query *q, int udp_size)
{
	size_t limit = q->dns.has_edns ? q->dns.udp_size : DNS_UDP_MIN;

	if (limit > (size_t)udp_size)
		limit = (size_t)udp_size;
	if (limit < DNS_UDP_MIN)
		limit = DNS_UDP_MIN;
	q->response_len = dns_truncate(q->response, q->response_len, limit);
}
