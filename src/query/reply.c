#include "query/reply.h"

void
reply_finish(struct query *q)
{
	if (!q->is_canonical)
		return;
	q->response_len = edns_finish_response(q->response, q->response_len, q->opt_len, &q->dns);
	dns_set_id(q->response, q->dns.id);
	if (!q->dns.is_signed)
		dns_copy_question(q->response, q->message, q->dns.question_len);
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
