#include "command/probe.h"

#include "base/deadline.h"
#include "base/fail.h"
#include "command/oneshot.h"
#include "format/dns.h"
#include "transport/cleartext.h"
#include "transport/dot.h"
#include "transport/stream.h"
#include "upstream/upstream.h"

/* Completes a stage; *TOOK_MS becomes the time that it took. */
static int
run_stage(struct stream *s, enum stream_stage stage, int ms, double *took_ms, struct failure *why)
{
	struct deadline start = deadline_now();
	struct deadline by = deadline_after(start, ms);

	while (stream_stage(s) == stage) {
		if (oneshot_wait(s, by) == -1)
			return stream_fail_timeout(s, ms, why);
		if (stream_step(s, why) == -1)
			return -1;
	}
	*took_ms = (double)deadline_us_between(start, deadline_now()) / 1000;
	return 0;
}

/*
 * Queries the name servers of the root, which every resolver can answer; of a domain of its route, if it
 * has one.
 */
static int
query_own(struct stream *s, const struct config_group *group, int ms, double *took_ms,
    enum dns_rcode *rcode, struct failure *why)
{
	static struct oneshot o;
	struct deadline start = deadline_now();

	if (oneshot_begin_ns(&o, group->own_name, group->own_name_len, why) == -1)
		return -1;
	switch (oneshot_stream(&o, s, deadline_after(start, ms), why)) {
	case ONESHOT_ANSWERED:
		break;
	case ONESHOT_TIMED_OUT:
		return stream_fail_timeout(s, ms, why);
	default:
		return fail_in(why, "query");
	}
	*rcode = dns_response_rcode(oneshot_message(&o), o.answer_len);
	*took_ms = (double)deadline_us_between(start, deadline_now()) / 1000;
	return 0;
}

/* Completes the handshake, and prints what the server has shown in it. */
static int
probe_handshake(struct stream *s, const struct config *config, FILE *out, struct failure *why)
{
	struct dot_facts facts;
	double took_ms = 0;

	if (stream_stage(s) == STREAM_HANDSHAKING &&
	    run_stage(s, STREAM_HANDSHAKING, config->timeouts.handshake_ms, &took_ms, why) == -1)
		return -1;
	stream_describe(s, &facts);
	fprintf(out, "  handshake    %.1f ms  %s %s\n", took_ms, facts.version, facts.cipher);
	fprintf(out, "  certificate  for %s\n               until %s\n", facts.names,
	    facts.not_after);
	fprintf(out, "  pin          %s\n", facts.pin);
	return 0;
}

static int
probe_stream(struct stream *s, const struct config *config, const struct config_group *group,
    FILE *out, struct failure *why)
{
	enum dns_rcode rcode = DNS_SERVFAIL;
	double took_ms = 0;

	if (run_stage(s, STREAM_CONNECTING, config->timeouts.connect_ms, &took_ms, why) == -1)
		return -1;
	fprintf(out, "  connect      %.1f ms\n", took_ms);
	if (s->kind == STREAM_CLEARTEXT)
		fprintf(out, "  cleartext    not encrypted, not verified\n");
	else if (probe_handshake(s, config, out, why) == -1)
		return -1;
	if (query_own(s, group, config->timeouts.answer_ms, &took_ms, &rcode, why) == -1)
		return -1;
	fprintf(out, "  answer       %.1f ms\n", took_ms);
	if (rcode != DNS_NOERROR && (rcode != DNS_NXDOMAIN || group->name == NULL))
		return fail_with(why, "query: the server answered with RCODE %d", (int)rcode);
	return 0;
}

static int
probe_tls(const struct config *config, const struct config_group *group,
    const struct config_upstream *u, FILE *out, struct failure *why)
{
	struct dot_trust *trust = dot_trust_new(u->ca_file, u->crl_file, why);
	struct dot_identity identity = upstream_identity(u);
	struct dot_server *server = NULL;
	struct stream s = { .kind = STREAM_CLOSED };
	int rc = -1;

	if (trust != NULL &&
	    (server = dot_server_new(trust, &identity, config->tls.fast_open, why)) != NULL &&
	    stream_open_tls(&s, server, NULL, 0, why) == 0)
		rc = probe_stream(&s, config, group, out, why);
	if (rc == -1 && stream_should_retry_reduced(&s)) {
		fprintf(out, "  retry        %s\n", stream_retry_text(&s));
		stream_close(&s);
		if (stream_open_tls(&s, server, NULL, 0, why) == 0)
			rc = probe_stream(&s, config, group, out, why);
	}
	stream_close(&s);
	dot_server_free(server);
	dot_trust_free(trust);
	return rc;
}

static int
probe_cleartext(const struct config *config, const struct config_group *group,
    const struct config_upstream *u, FILE *out, struct failure *why)
{
	struct cleartext_server *server = cleartext_server_new(&u->address, why);
	struct stream s = { .kind = STREAM_CLOSED };
	int rc = -1;

	if (server != NULL && stream_open_cleartext(&s, server, why) == 0)
		rc = probe_stream(&s, config, group, out, why);
	stream_close(&s);
	cleartext_server_free(server);
	return rc;
}

static int
probe_upstream(const struct config *config, const struct config_group *group,
    const struct config_upstream *u, FILE *out, struct failure *why)
{
	return u->cleartext ? probe_cleartext(config, group, u, out, why) :
			      probe_tls(config, group, u, out, why);
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
		if (probe_upstream(config, config_group_of(config, i), &config->upstreams[i], out,
			&why) == 0) {
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
