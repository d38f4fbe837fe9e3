#include "command/probe.h"

#include "base/deadline.h"
#include "base/fail.h"
#include "command/oneshot.h"
#include "format/dns.h"
#include "transport/dot.h"
#include "upstream/upstream.h"

/* Completes a stage; *TOOK_MS becomes the time that it took. */
static int
run_stage(struct dot *d, enum dot_stage stage, int ms, double *took_ms, struct failure *why)
{
	struct deadline start = deadline_now();
	struct deadline by = deadline_after(start, ms);

	while (dot_stage(d) == stage) {
		if (oneshot_wait(d, by) == -1)
			return dot_fail_timeout(d, ms, why);
		if (dot_step(d, why) == -1)
			return -1;
	}
	*took_ms = (double)deadline_us_between(start, deadline_now()) / 1000;
	return 0;
}

/* Queries the name servers of the root, which every resolver can answer. */
static int
query_root(struct dot *d, int ms, double *took_ms, enum dns_rcode *rcode, struct failure *why)
{
	static struct oneshot o;
	struct deadline start = deadline_now();

	if (oneshot_begin(&o, DNS_OWN_ROOT, why) == -1)
		return -1;
	switch (oneshot_tls(&o, d, deadline_after(start, ms), why)) {
	case ONESHOT_ANSWERED:
		break;
	case ONESHOT_TIMED_OUT:
		return dot_fail_timeout(d, ms, why);
	default:
		return fail_in(why, "query");
	}
	*rcode = dns_response_rcode(oneshot_message(&o), o.answer_len);
	*took_ms = (double)deadline_us_between(start, deadline_now()) / 1000;
	return 0;
}

static int
probe_connection(struct dot *d, const struct config *config, FILE *out, struct failure *why)
{
	struct dot_facts facts;
	enum dns_rcode rcode = DNS_SERVFAIL;
	double took_ms = 0;

	if (run_stage(d, DOT_CONNECTING, config->timeouts.connect_ms, &took_ms, why) == -1)
		return -1;
	fprintf(out, "  connect      %.1f ms\n", took_ms);
	if (dot_stage(d) == DOT_HANDSHAKING &&
	    run_stage(d, DOT_HANDSHAKING, config->timeouts.handshake_ms, &took_ms, why) == -1)
		return -1;
	dot_describe(d, &facts);
	fprintf(out, "  handshake    %.1f ms  %s %s\n", took_ms, facts.version, facts.cipher);
	fprintf(out, "  certificate  for %s\n               until %s\n", facts.names,
	    facts.not_after);
	fprintf(out, "  pin          %s\n", facts.pin);
	if (query_root(d, config->timeouts.answer_ms, &took_ms, &rcode, why) == -1)
		return -1;
	fprintf(out, "  answer       %.1f ms\n", took_ms);
	if (rcode != DNS_NOERROR)
		return fail_with(why, "query: the server answered with RCODE %d", (int)rcode);
	return 0;
}

static int
probe_upstream(const struct config *config, const struct config_upstream *u, FILE *out,
    struct failure *why)
{
	struct dot_trust *trust = dot_trust_new(u->ca_file, u->crl_file, why);
	struct dot_identity identity = upstream_identity(u);
	struct dot_server *server = NULL;
	struct dot *d = NULL;
	int rc = -1;

	if (trust != NULL &&
	    (server = dot_server_new(trust, &identity, config->tls.fast_open, why)) != NULL &&
	    (d = dot_open(server, NULL, 0, why)) != NULL)
		rc = probe_connection(d, config, out, why);
	if (rc == -1 && d != NULL && dot_should_retry_reduced(d)) {
		fprintf(out, "  retry        %s\n", dot_retry_text(d));
		dot_close(d);
		if ((d = dot_open(server, NULL, 0, why)) != NULL)
			rc = probe_connection(d, config, out, why);
	}
	dot_close(d);
	dot_server_free(server);
	dot_trust_free(trust);
	return rc;
}

int
probe(const struct config *config, FILE *out)
{
	char name[CONFIG_UPSTREAM_NAME_MAX];
	struct failure why;
	size_t i;
	int rc = 0;

	for (i = 0; i < config->upstream_count; i++) {
		fprintf(out, "%s\n", config_upstream_name(&config->upstreams[i], name));
		if (probe_upstream(config, &config->upstreams[i], out, &why) == 0) {
			fprintf(out, "  usable\n");
			continue;
		}
		rc = -1;
		fprintf(out, "  FAILED       %s\n", why.text);
		if (why.remedy[0] != '\0')
			fprintf(out, "  remedy       %s\n", why.remedy);
	}
	return rc;
}
