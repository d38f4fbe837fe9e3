#include "command/probe.h"

#include <sys/epoll.h>

#include <poll.h>
#include <string.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "format/dns.h"
#include "transport/dot.h"
#include "transport/net.h"
#include "upstream/upstream.h"

/* ". NS", with its length in front; any resolver has the answer. */
static const uint8_t root_query[] = { 0, 17, 0x5d, 0x07, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
	2, 0, 1 };
enum { LENGTH_PREFIX = 2, ROOT_QUESTION_LEN = 5 };

/* Waits until the connection can go on. -1 with the reason when BY has come. */
static int
wait_for(struct dot *d, int ms, struct deadline by, struct failure *why)
{
	short events = (dot_events(d) & EPOLLOUT) != 0 ? POLLOUT : POLLIN;

	return net_wait(dot_fd(d), events, by) == 0 ? 0 : dot_fail_timeout(d, ms, why);
}

/* Goes on until the stage is over; says how many milliseconds that took. */
static int
pass(struct dot *d, enum dot_stage stage, int ms, double *took_ms, struct failure *why)
{
	struct deadline start = deadline_now();
	struct deadline by = deadline_after(start, ms);

	while (dot_stage(d) == stage) {
		if (wait_for(d, ms, by, why) == -1 || dot_step(d, why) == -1)
			return -1;
	}
	*took_ms = (double)deadline_us_between(start, deadline_now()) / 1000;
	return 0;
}

static int
read_answer(struct dot *d, int ms, struct deadline by, enum dns_rcode *rcode, struct failure *why)
{
	static uint8_t buf[LENGTH_PREFIX + DNS_MESSAGE_MAX];
	size_t have = 0;
	size_t len = 0;
	ssize_t n;

	while (have < LENGTH_PREFIX || have - LENGTH_PREFIX < len) {
		if ((n = dot_read(d, buf + have, sizeof buf - have, why)) == -1)
			return -1;
		if (n == 0 && wait_for(d, ms, by, why) == -1)
			return -1;
		have += (size_t)n;
		if (have >= LENGTH_PREFIX)
			len = (size_t)buf[0] << 8 | buf[1];
	}
	if (len < DNS_HEADER_LEN ||
	    dns_id(buf + LENGTH_PREFIX) != dns_id(root_query + LENGTH_PREFIX) ||
	    dns_match_response(buf + LENGTH_PREFIX, len, root_query + LENGTH_PREFIX,
		ROOT_QUESTION_LEN) == DNS_MISMATCH)
		return fail_with(why, "query: what came back is no answer to it");
	*rcode = dns_response_rcode(buf + LENGTH_PREFIX, len);
	return 0;
}

static int
ask_root(struct dot *d, int ms, double *took_ms, enum dns_rcode *rcode, struct failure *why)
{
	struct deadline start = deadline_now();
	ssize_t n;

	/* The first octets on a fresh connection always find room. */
	if ((n = dot_write(d, root_query, sizeof root_query, why)) == -1)
		return -1;
	if ((size_t)n != sizeof root_query)
		return fail_with(why, "query: it could not be sent");
	if (read_answer(d, ms, deadline_after(start, ms), rcode, why) == -1)
		return -1;
	*took_ms = (double)deadline_us_between(start, deadline_now()) / 1000;
	return 0;
}

static int
probe_connection(struct dot *d, const struct config *config, FILE *out, struct failure *why)
{
	struct dot_facts facts;
	enum dns_rcode rcode = DNS_SERVFAIL;
	double took_ms;

	if (pass(d, DOT_CONNECTING, config->timeouts.connect_ms, &took_ms, why) == -1)
		return -1;
	fprintf(out, "  connect      %.1f ms\n", took_ms);
	if (dot_stage(d) == DOT_HANDSHAKING &&
	    pass(d, DOT_HANDSHAKING, config->timeouts.handshake_ms, &took_ms, why) == -1)
		return -1;
	dot_describe(d, &facts);
	fprintf(out, "  handshake    %.1f ms  %s %s\n", took_ms, facts.version, facts.cipher);
	fprintf(out, "  certificate  for %s\n               until %s\n", facts.names,
	    facts.not_after);
	fprintf(out, "  pin          %s\n", facts.pin);
	if (ask_root(d, config->timeouts.answer_ms, &took_ms, &rcode, why) == -1)
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
	if (rc == -1 && d != NULL && dot_may_try_again(d)) {
		fprintf(out, "  once more    %s\n", dot_retry_text(d));
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
