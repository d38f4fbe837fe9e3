#include "command/healthcheck.h"

#include <unistd.h>

#include "base/address.h"
#include "base/deadline.h"
#include "command/oneshot.h"
#include "format/dns.h"
#include "transport/net.h"

enum { TOTAL_MS = 2000 };

/* One check of an address, by one transport at a time. */
struct check {
	struct address address;
	bool udp;
	struct deadline by;
	struct oneshot o;
};

/* Sends the query and reads the response. Returns 0, or -1 with the reason. */
static int
exchange(struct check *c, struct failure *why)
{
	enum oneshot_end end = c->udp ? oneshot_udp(&c->o, &c->address, c->by, why) :
					oneshot_tcp(&c->o, &c->address, c->by, why);

	switch (end) {
	case ONESHOT_ANSWERED:
		return 0;
	case ONESHOT_TIMED_OUT:
		(void)fail_with(why, "no response in %d ms", TOTAL_MS);
		fail_remedy(why, "see its log; `dot-proxy probe' tests the upstreams");
		return -1;
	case ONESHOT_UNREACHED:
		fail_remedy(why, "is dot-proxy running? use -l to give its address");
		return -1;
	default:
		return -1;
	}
}

/* Checks for NOERROR and the text WANTED (NULL: any). */
static int
check_response(const struct oneshot *o, const char *wanted, struct failure *why)
{
	const uint8_t *message = oneshot_message(o);
	enum dns_rcode rcode = dns_response_rcode(message, o->answer_len);
	char text[DNS_EDE_TEXT_MAX];
	char name[20];

	(void)dns_format_ede(message, o->answer_len, text);
	if (rcode != DNS_NOERROR) {
		(void)fail_with(why, "%s%s%s", dns_format_rcode(rcode, name),
		    text[0] != '\0' ? ": " : "", text);
		if (rcode == DNS_SERVFAIL)
			fail_remedy(why, "`dot-proxy probe' tests the upstreams");
		else if (rcode == DNS_REFUSED)
			fail_remedy(why, "add this machine's address to `allow'");
		else
			fail_remedy(why, "is dot-proxy listening there?");
		return -1;
	}
	if (wanted == NULL || dns_txt_equals(message, o->answer_len, wanted))
		return 0;
	(void)fail_with(why, "the response is not from dot-proxy");
	fail_remedy(why, "another program listens there; use -l to give the address of dot-proxy");
	return -1;
}

/* Sends one query; the response must have the text WANTED (NULL: any). -1 with the reason. */
static int
query(struct check *c, enum dns_own_question question, const char *wanted, struct failure *why)
{
	if (oneshot_begin(&c->o, question, why) == -1 || exchange(c, why) == -1)
		return -1;
	return check_response(&c->o, wanted, why);
}

/* Only a query makes dot-proxy connect to an upstream, so send one if it never has. */
static int
query_ready(struct check *c, struct failure *why)
{
	struct failure first;

	if (query(c, DNS_OWN_READY, "ready", why) == 0)
		return 0;
	if (c->o.answer_len == 0 ||
	    dns_response_rcode(oneshot_message(&c->o), c->o.answer_len) != DNS_SERVFAIL)
		return -1;
	if (query(c, DNS_OWN_NO_CACHE, NULL, &first) == 0)
		return query(c, DNS_OWN_READY, "ready", why);
	/* A connected upstream counts, even if it refused the query. */
	if (query(c, DNS_OWN_READY, "ready", why) == 0)
		return 0;
	*why = first;
	return -1;
}

static int
query_over(struct check *c, bool udp, enum healthcheck_question question, struct failure *why)
{
	c->udp = udp;
	switch (question) {
	case HEALTHCHECK_READY:
		return query_ready(c, why);
	case HEALTHCHECK_UPSTREAM:
		return query(c, DNS_OWN_NO_CACHE, NULL, why);
	default:
		return query(c, DNS_OWN_HEALTH, "ok", why);
	}
}

/* The first listener whose address this machine has; if there is none, the first one. */
static const struct config_listener *
first_available(const struct config *config)
{
	size_t i;

	for (i = 0; i < config->listen_count; i++)
		if (net_check_address(&config->listen[i].address, NULL) == 0)
			return &config->listen[i];
	return &config->listen[0];
}

/* The address at which this machine reaches the listener. */
static struct address
target(const struct config_listener *l)
{
	struct address a = l->address;

	if (address_is_wildcard(&a))
		(void)address_parse(a.sa.sa_family == AF_INET6 ? "::1" : "127.0.0.1",
		    address_port(&l->address), &a);
	return a;
}

/* Whether `allow' has our source address towards TO; FROM becomes its text. */
static bool
is_allowed(const struct config *config, const struct address *to,
    char from[static ADDRESS_TEXT_MAX])
{
	struct address a;
	int fd = net_connect_udp(to, &a, NULL);

	if (fd == -1)
		return true;
	(void)close(fd);
	(void)address_format_host(&a, from);
	return config_allows(config, &a);
}

int
healthcheck(const struct config *config, enum healthcheck_question question, FILE *out,
    struct failure *why)
{
	static const char *const good[] = { "it answers", "it is ready", "an upstream answers" };
	const struct config_listener *l = first_available(config);
	struct deadline start = deadline_now();
	struct check c = { .address = target(l), .by = deadline_after(start, TOTAL_MS) };
	char name[ADDRESS_TEXT_MAX];
	char from[ADDRESS_TEXT_MAX] = "";
	bool is_dropped = l->udp && !is_allowed(config, &c.address, from);

	(void)address_format(&c.address, name);
	if (is_dropped && !l->tcp) {
		(void)fail_with(why, "%s over UDP: %s is not in `allow'", name, from);
		fail_remedy(why, "add it to `allow', or enable TCP for this address");
		return -1;
	}
	if (l->udp && !is_dropped && query_over(&c, true, question, why) == -1)
		return fail_in(why, "%s over UDP", name);
	if (l->tcp && query_over(&c, false, question, why) == -1)
		return fail_in(why, "%s over TCP", name);
	fprintf(out, "%s: %s over %s", name, good[question],
	    !l->tcp                   ? "UDP" :
		l->udp && !is_dropped ? "UDP and TCP" :
					"TCP");
	if (is_dropped)
		fprintf(out, " (UDP not checked: %s is not in `allow')", from);
	fprintf(out, ", %.1f ms\n", (double)deadline_us_between(start, deadline_now()) / 1000);
	return 0;
}
