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

/* The route of a query's name, which also says which upstreams it is for. NULL: it has none. */
static const struct config_route *
find_route(const struct responder *r, struct query *q)
{
	size_t index = ROUTE_NONE;

	if (r->setup.routes != NULL)
		index = route_find(r->setup.routes, q->message + DNS_HEADER_LEN,
		    q->dns.question_len);
	if (index == ROUTE_NONE)
		return NULL;
	q->group = r->setup.config->routes[index].group;
	return &r->setup.config->routes[index];
}

/* Answers a query if its route has an answer. Returns false if the route has upstreams. */
static bool
answer_route(const struct config_route *route, struct query *q)
{
	static const enum dns_rcode rcodes[] = { [CONFIG_ANSWER_NXDOMAIN] = DNS_NXDOMAIN,
		[CONFIG_ANSWER_NODATA] = DNS_NOERROR,
		[CONFIG_ANSWER_REFUSED] = DNS_REFUSED };

	if (route->answer == CONFIG_ANSWER_NONE)
		return false;
	responder_write_error(q, rcodes[route->answer], DNS_EDE_BLOCKED,
	    "a route of this resolver has this answer");
	return true;
}

static void
write_local(struct query *q, const struct dns_local *local)
{
	q->response_len = dns_write_local(q->response, DNS_MESSAGE_MAX, q->message, &q->dns, local);
}

/* Answers a query for resolver.arpa, which must not be forwarded. Returns false for any other. */
static bool
answer_resolver_arpa(struct query *q)
{
	struct dns_local local = { .rcode = DNS_NOERROR, .ttl = NAMES_TTL, .ede = DNS_EDE_OTHER };

	if (!dns_is_resolver_arpa(q->message, &q->dns, &local.zone_at))
		return false;
	local.text = "resolver.arpa is answered by the resolver itself (RFC 9462)";
	write_local(q, &local);
	return true;
}

/* Answers a query for a name of this host or network. Returns false for any other. */
static bool
answer_name(const struct responder *r, struct query *q)
{
	struct dns_local local;

	if (!names_find(r->setup.names, q->message, &q->dns, &local))
		return false;
	write_local(q, &local);
	return true;
}

/* Answers what can be answered here. Returns false when an upstream must be asked. */
static bool
answer(const struct responder *r, struct query *q)
{
	const struct config_route *route;
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
	if ((route = find_route(r, q)) != NULL)
		return answer_route(route, q);
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

struct deadline
responder_deadline(const struct responder *r)
{
	return responder_cache_deadline(r);
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
