#include "process/responder.h"

#include <stdlib.h>

#include "format/dns.h"
#include "responder_internal.h"

/* So many questions are looked up together in the cache. */
enum { LOOK_UP_AT_ONCE = 16 };

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
	if (responder_cache_open(r, why) == -1) {
		responder_free(r);
		return NULL;
	}
	return r;
}

void
responder_free(struct responder *r)
{
	if (r == NULL)
		return;
	responder_cache_close(r);
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

/* Answers a query for a name of this host or network. */
static void
write_local(struct query *q, const struct dns_local *local)
{
	q->response_len = dns_write_local(q->response, DNS_MESSAGE_MAX, q->message, &q->dns, local);
}

/* The same without any record. ZONE_AT: where the name of the zone that says so begins in the QNAME. */
static void
write_negative(struct query *q, size_t zone_at, enum dns_rcode rcode, enum dns_ede ede,
    const char *text)
{
	struct dns_local local = { .rcode = rcode,
		.zone_at = zone_at,
		.ttl = NAMES_TTL,
		.ede = ede,
		.text = text };

	write_local(q, &local);
}

/*
 * Answers a query here if the route says how, of which the domain begins at DOMAIN_AT in the QNAME.
 * Returns false if an upstream of the route's group, which the query gets, is to be asked.
 */
static bool
answer_route(const struct config_route *route, size_t domain_at, struct query *q)
{
	q->group = route->group;
	switch (route->answer) {
	case CONFIG_ANSWER_NXDOMAIN:
		write_negative(q, domain_at, DNS_NXDOMAIN, DNS_EDE_BLOCKED,
		    "routes: answered here");
		return true;
	case CONFIG_ANSWER_NODATA:
		write_negative(q, domain_at, DNS_NOERROR, DNS_EDE_BLOCKED, "routes: answered here");
		return true;
	case CONFIG_ANSWER_REFUSED:
		responder_write_error(q, DNS_REFUSED, DNS_EDE_BLOCKED, "routes: answered here");
		return true;
	case CONFIG_ANSWER_NONE:
		break;
	}
	return false;
}

/* Answers a query here because of its name: a route goes before names that are answered here. */
static bool
answer_name(const struct responder *r, struct query *q)
{
	struct dns_local local;
	size_t route = ROUTE_NONE;
	size_t domain_at;

	if (r->setup.routes != NULL)
		route = route_find(r->setup.routes, q->message + DNS_HEADER_LEN,
		    q->dns.question_len, &domain_at);
	if (route != ROUTE_NONE)
		return answer_route(&r->setup.config->routes[route], domain_at, q);
	if (!names_find(r->setup.names, q->message, &q->dns, &local))
		return false;
	write_local(q, &local);
	return true;
}

/* Answers a query for resolver.arpa, which must not be forwarded. Returns false for any other. */
static bool
answer_resolver_arpa(struct query *q)
{
	size_t zone_at;

	if (!dns_is_resolver_arpa(q->message, &q->dns, &zone_at))
		return false;
	write_negative(q, zone_at, DNS_NOERROR, DNS_EDE_OTHER,
	    "resolver.arpa is answered by the resolver itself (RFC 9462)");
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
	if (answer_resolver_arpa(q))
		return true;
	if (q->dns.qtype == DNS_TYPE_AXFR || q->dns.qtype == DNS_TYPE_IXFR) {
		responder_write_error(q, DNS_REFUSED, DNS_EDE_NOT_SUPPORTED,
		    "zone transfers are not relayed");
		return true;
	}
	return answer_name(r, q);
}

/* ---- asking ---- */

/* Fetches what they need from memory for all of them before it is used for the first. */
static void
look_up(struct responder *r, struct query *const *queries, size_t count, struct deadline now)
{
	struct responder_key keys[LOOK_UP_AT_ONCE];
	size_t i;

	for (i = 0; i < count; i++) {
		responder_cache_key(r, queries[i], &keys[i]);
		cache_fetch(r->user, &keys[i].key);
	}
	for (i = 0; i < count; i++)
		responder_cache_ask(r, queries[i], &keys[i], now);
}

void
responder_ask(struct responder *r, struct query *const *queries, size_t count, struct deadline now)
{
	struct query *found[LOOK_UP_AT_ONCE];
	size_t found_count = 0;
	size_t i;

	responder_cache_begin(r, now);
	for (i = 0; i < count; i++) {
		struct query *q = queries[i];

		q->source = QUERY_LOCAL;
		if (answer(r, q))
			responder_put(&r->done, q);
		else if (!responder_cache_may_have(r, q))
			upstream_ask(r->setup.upstreams, q);
		else
			found[found_count++] = q;
		if (found_count == LOOK_UP_AT_ONCE) {
			look_up(r, found, found_count, now);
			found_count = 0;
		}
	}
	look_up(r, found, found_count, now);
	responder_cache_count_evicted(r);
}

/* ---- what comes out ---- */

/* An upstream was asked, and has answered or not. */
static void
settle(struct responder *r, struct query *q)
{
	enum dns_ede ede = DNS_EDE_NONE;
	struct failure why = { 0 };

	if (q->outcome == QUERY_ANSWERED) {
		q->source = QUERY_UPSTREAM;
	} else {
		upstream_explain(r->setup.upstreams, q, &why);
		ede = q->outcome == QUERY_UNREACHABLE ? DNS_EDE_NO_REACHABLE_AUTHORITY :
							DNS_EDE_NETWORK_ERROR;
		responder_write_error(q, DNS_SERVFAIL, ede, why.text);
	}
	if (q->is_joinable)
		responder_cache_settle(r, q, ede, why.text);
	else
		responder_put(&r->done, q);
}

struct query *
responder_next_done(struct responder *r)
{
	struct query *q;

	while ((q = upstream_next_done(r->setup.upstreams)) != NULL)
		settle(r, q);
	if ((q = TAILQ_FIRST(&r->done)) != NULL)
		responder_take(q);
	return q;
}

void
responder_cancel(struct responder *r, struct query *q)
{
	if (q->list != NULL)
		responder_take(q);
	else
		responder_cache_cancel(r, q);
}
