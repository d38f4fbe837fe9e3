#include "process/responder.h"

#include <stdlib.h>

#include "format/dns.h"

struct responder {
	struct responder_setup setup;
	struct query_list done; /* answered here */
};

struct responder *
responder_new(const struct responder_setup *setup, struct failure *why)
{
	struct responder *r = calloc(1, sizeof *r);

	if (r == NULL) {
		(void)fail_errno(why, "queries");
		return NULL;
	}
	r->setup = *setup;
	TAILQ_INIT(&r->done);
	return r;
}

void
responder_free(struct responder *r)
{
	free(r);
}

/* ---- answered here ---- */

void
responder_write_error(struct query *q, enum dns_rcode rcode, enum dns_ede ede, const char *text)
{
	q->source = QUERY_LOCAL;
	q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns, rcode,
	    ede, text);
}

static void
write_text(struct query *q, const char *text)
{
	q->response_len = dns_write_text(q->response, DNS_ERROR_MAX, q->message, &q->dns, text);
}

/* Answers health queries, which are about dot-proxy itself. Returns false for any other. */
static bool
answer_own(const struct responder *r, struct query *q)
{
	if (dns_question_is(q->message, q->dns.question_len, DNS_OWN_HEALTH))
		write_text(q, "ok");
	else if (!dns_question_is(q->message, q->dns.question_len, DNS_OWN_READY))
		return false;
	else if (health_is_ready(r->setup.health))
		write_text(q, "ready");
	else
		responder_write_error(q, DNS_SERVFAIL, DNS_EDE_NOT_READY,
		    "no upstream has been connected to yet");
	return true;
}

/* Answers what can be answered here. Returns false when an upstream must be asked. */
static bool
answer(const struct responder *r, struct query *q)
{
	enum dns_rcode rcode;

	switch (dns_read_query(q->message, q->len, &q->dns, &rcode)) {
	case DNS_DROP:
		return true;
	case DNS_ANSWER:
		responder_write_error(q, rcode, DNS_EDE_NONE, NULL);
		return true;
	case DNS_RELAY:
		q->len = q->dns.len;
		break;
	}
	if (answer_own(r, q))
		return true;
	if (!q->allowed) {
		responder_write_error(q, DNS_REFUSED, DNS_EDE_PROHIBITED,
		    "client address not allowed");
		return true;
	}
	if (dns_is_resolver_arpa(q->message, &q->dns)) {
		responder_write_error(q, DNS_NOERROR, DNS_EDE_OTHER,
		    "resolver.arpa is answered by the resolver itself (RFC 9462)");
		return true;
	}
	if (q->dns.qtype == DNS_TYPE_AXFR || q->dns.qtype == DNS_TYPE_IXFR) {
		responder_write_error(q, DNS_REFUSED, DNS_EDE_NOT_SUPPORTED,
		    "zone transfers are not relayed");
		return true;
	}
	return false;
}

/* ---- asked upstream ---- */

void
responder_ask(struct responder *r, struct query *const *queries, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct query *q = queries[i];

		q->source = QUERY_LOCAL;
		if (!answer(r, q)) {
			upstream_ask(r->setup.upstreams, q);
			continue;
		}
		q->is_done = true;
		TAILQ_INSERT_TAIL(&r->done, q, upstream_link);
	}
}

static void
explain(const struct responder *r, struct query *q)
{
	struct failure why;

	upstream_explain(r->setup.upstreams, q, &why);
	responder_write_error(q, DNS_SERVFAIL,
	    q->outcome == QUERY_UNREACHABLE ? DNS_EDE_NO_REACHABLE_AUTHORITY :
					      DNS_EDE_NETWORK_ERROR,
	    why.text);
}

struct query *
responder_next_done(struct responder *r)
{
	struct query *q = TAILQ_FIRST(&r->done);

	if (q != NULL) {
		TAILQ_REMOVE(&r->done, q, upstream_link);
		q->is_done = false;
		return q;
	}
	q = upstream_next_done(r->setup.upstreams);
	if (q == NULL)
		return NULL;
	if (q->outcome == QUERY_ANSWERED)
		q->source = QUERY_UPSTREAM;
	else
		explain(r, q);
	return q;
}

void
responder_cancel(struct responder *r, struct query *q)
{
	if (!q->is_done) {
		upstream_cancel(r->setup.upstreams, q);
		return;
	}
	TAILQ_REMOVE(&r->done, q, upstream_link);
	q->is_done = false;
}
