#include "command/healthcheck.h"

#include <sys/random.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/deadline.h"
#include "format/dns.h"
#include "transport/net.h"

enum {
	TOTAL_MS = 2000,

	/* A datagram that a rush has crowded out says nothing about health: it is sent again. */
	RESEND_MS = 500,

	LENGTH_PREFIX = 2
};

/* Where is asked, until when, and the last question and its answer, as TCP has them. */
struct asking {
	struct address address;
	struct deadline by;
	uint8_t query[LENGTH_PREFIX + DNS_OWN_QUERY_MAX];
	size_t query_len; /* without the prefix, as is the next */
	size_t answer_len;
	uint8_t answer[LENGTH_PREFIX + DNS_MESSAGE_MAX];
};

/* Sends the question to the address and takes in what may be an answer. -1 with the reason. */
typedef int exchange(struct asking *a, struct failure *why);

static int
fail_silent(struct failure *why)
{
	(void)fail_with(why, "no answer in %d ms", TOTAL_MS);
	fail_remedy(why, "its log may say why; `dot-proxy probe' tries the upstreams");
	return -1;
}

/* Nobody was reached; WHY has the reason already. */
static int
fail_unreached(struct failure *why)
{
	fail_remedy(why, "dot-proxy does not run, or listens elsewhere: -l says where to ask");
	return -1;
}

static int
fail_socket(struct failure *why, const char *step)
{
	if (errno == ETIMEDOUT)
		return fail_silent(why);
	(void)fail_errno(why, "%s", step);
	return fail_unreached(why);
}

static bool
belongs(const struct asking *a)
{
	const uint8_t *query = a->query + LENGTH_PREFIX;
	const uint8_t *answer = a->answer + LENGTH_PREFIX;

	return a->answer_len >= DNS_HEADER_LEN && dns_id(answer) == dns_id(query) &&
	    dns_match_response(answer, a->answer_len, query,
		dns_question_len(query, a->query_len)) != DNS_MISMATCH;
}

/* ---- UDP ---- */

/* Takes in datagrams until one is the answer: 1; 0 when none has come until then; -1 with errno. */
static int
receive_datagram(struct asking *a, int fd, struct deadline until)
{
	ssize_t n;

	while (!deadline_passed(until, deadline_now())) {
		if (net_wait(fd, POLLIN, until) == -1)
			return errno == ETIMEDOUT ? 0 : -1;
		n = read(fd, a->answer + LENGTH_PREFIX, DNS_MESSAGE_MAX);
		if (n == -1 && errno != EAGAIN)
			return -1;
		a->answer_len = n == -1 ? 0 : (size_t)n;
		if (belongs(a))
			return 1;
	}
	return 0;
}

static int
exchange_datagrams(struct asking *a, int fd, struct failure *why)
{
	struct deadline now = deadline_now();
	int n = 0;

	while (n == 0 && !deadline_passed(a->by, now)) {
		if (write(fd, a->query + LENGTH_PREFIX, a->query_len) == -1)
			return fail_socket(why, "send");
		n = receive_datagram(a, fd, deadline_sooner(a->by, deadline_after(now, RESEND_MS)));
		if (n == -1)
			return fail_socket(why, "receive");
		now = deadline_now();
	}
	return n == 1 ? 0 : fail_silent(why);
}

static int
exchange_udp(struct asking *a, struct failure *why)
{
	struct address from;
	int fd = net_connect_udp(&a->address, &from, why);
	int rc;

	if (fd == -1)
		return fail_unreached(why);
	rc = exchange_datagrams(a, fd, why);
	(void)close(fd);
	return rc;
}

/* ---- TCP ---- */

static int
receive_message(struct asking *a, int fd, struct failure *why)
{
	size_t have = 0;
	size_t want = LENGTH_PREFIX;
	ssize_t n;

	while (have < want) {
		if (net_wait(fd, POLLIN, a->by) == -1)
			return fail_socket(why, "receive");
		n = read(fd, a->answer + have, want - have);
		if (n == 0)
			return fail_with(why, "the connection was closed without an answer");
		if (n == -1 && errno != EAGAIN)
			return fail_socket(why, "receive");
		have += n == -1 ? 0 : (size_t)n;
		if (have == LENGTH_PREFIX)
			want = LENGTH_PREFIX + ((size_t)a->answer[0] << 8 | a->answer[1]);
	}
	a->answer_len = want - LENGTH_PREFIX;
	return belongs(a) ? 0 : fail_with(why, "what came back is no answer to the question");
}

static int
exchange_message(struct asking *a, int fd, struct failure *why)
{
	if (net_wait(fd, POLLOUT, a->by) == -1)
		return fail_socket(why, "connect");
	if (net_connected(fd, why) == -1)
		return fail_unreached(why);
	/* The first octets on a fresh connection always find room. */
	if (write(fd, a->query, LENGTH_PREFIX + a->query_len) == -1)
		return fail_socket(why, "send");
	return receive_message(a, fd, why);
}

static int
exchange_tcp(struct asking *a, struct failure *why)
{
	int fd = net_connect(&a->address, false, why);
	int rc;

	if (fd == -1)
		return fail_unreached(why);
	rc = exchange_message(a, fd, why);
	(void)close(fd);
	return rc;
}

/* ---- what is asked ---- */

/* Whether the answer is what it should be. */
static int
judge(const struct asking *a, const char *wanted, struct failure *why)
{
	const uint8_t *answer = a->answer + LENGTH_PREFIX;
	enum dns_rcode rcode = dns_response_rcode(answer, a->answer_len);
	char text[DNS_EDE_TEXT_MAX];
	char name[20];

	(void)dns_format_ede(answer, a->answer_len, text);
	if (rcode != DNS_NOERROR) {
		(void)fail_with(why, "%s%s%s", dns_format_rcode(rcode, name),
		    text[0] != '\0' ? ": " : "", text);
		if (rcode == DNS_SERVFAIL)
			fail_remedy(why, "`dot-proxy probe' tries the upstreams");
		else if (rcode == DNS_REFUSED)
			fail_remedy(why, "`allow' must have this machine's address");
		else
			fail_remedy(why, "is it dot-proxy that listens there?");
		return -1;
	}
	if (wanted == NULL || dns_txt_equals(answer, a->answer_len, wanted))
		return 0;
	(void)fail_with(why, "the answer is not that of dot-proxy");
	fail_remedy(why, "another program listens there; -l says where dot-proxy does");
	return -1;
}

/* Asks one question; its answer must have the text WANTED (NULL: any). -1 with the reason. */
static int
ask(struct asking *a, exchange *over, enum dns_own_question question, const char *wanted,
    struct failure *why)
{
	uint16_t id;

	if (getrandom(&id, sizeof id, 0) != sizeof id)
		return fail_errno(why, "random numbers");
	a->answer_len = 0;
	a->query_len = dns_write_query(a->query + LENGTH_PREFIX, id, question);
	a->query[0] = 0;
	a->query[1] = (uint8_t)a->query_len;
	return over(a, why) == -1 ? -1 : judge(a, wanted, why);
}

/* Nothing but a query makes it connect to an upstream: when it never has, it gets one. */
static int
ask_ready(struct asking *a, exchange *over, struct failure *why)
{
	struct failure first;

	if (ask(a, over, DNS_OWN_READY, "ready", why) == 0)
		return 0;
	if (a->answer_len == 0 ||
	    dns_response_rcode(a->answer + LENGTH_PREFIX, a->answer_len) != DNS_SERVFAIL)
		return -1;
	if (ask(a, over, DNS_OWN_ROOT, NULL, &first) == 0)
		return ask(a, over, DNS_OWN_READY, "ready", why);
	/* Whoever was connected to and then refused is no less connected to. */
	if (ask(a, over, DNS_OWN_READY, "ready", why) == 0)
		return 0;
	*why = first;
	return -1;
}

static int
ask_over(struct asking *a, exchange *over, enum healthcheck_question question, struct failure *why)
{
	switch (question) {
	case HEALTHCHECK_READY:
		return ask_ready(a, over, why);
	case HEALTHCHECK_UPSTREAM:
		return ask(a, over, DNS_OWN_ROOT, NULL, why);
	default:
		return ask(a, over, DNS_OWN_HEALTH, "ok", why);
	}
}

/* The first listener whose address this machine has; the first of all where it has none of them. */
static const struct config_listener *
first_that_is_there(const struct config *config)
{
	size_t i;

	for (i = 0; i < config->listen_count; i++)
		if (net_check_address(&config->listen[i].address, NULL) == 0)
			return &config->listen[i];
	return &config->listen[0];
}

/* Where a listener is reached from this machine. */
static struct address
target(const struct config_listener *l)
{
	struct address a = l->address;

	if (address_is_wildcard(&a))
		(void)address_parse(a.sa.sa_family == AF_INET6 ? "::1" : "127.0.0.1",
		    address_port(&l->address), &a);
	return a;
}

/* Whether `allow' has the address that we have towards that one; FROM is it, as text. */
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
	const struct config_listener *l = first_that_is_there(config);
	struct deadline start = deadline_now();
	struct asking a = { .address = target(l), .by = deadline_after(start, TOTAL_MS) };
	char name[ADDRESS_TEXT_MAX];
	char from[ADDRESS_TEXT_MAX] = "";
	bool is_silent = l->udp && !is_allowed(config, &a.address, from);

	(void)address_format(&a.address, name);
	if (is_silent && !l->tcp) {
		(void)fail_with(why, "%s over UDP: %s is not in `allow'", name, from);
		fail_remedy(why, "add it there, or let it listen over TCP, too");
		return -1;
	}
	if (l->udp && !is_silent && ask_over(&a, exchange_udp, question, why) == -1)
		return fail_in(why, "%s over UDP", name);
	if (l->tcp && ask_over(&a, exchange_tcp, question, why) == -1)
		return fail_in(why, "%s over TCP", name);
	fprintf(out, "%s: %s over %s", name, good[question],
	    !l->tcp                  ? "UDP" :
		l->udp && !is_silent ? "UDP and TCP" :
				       "TCP");
	if (is_silent)
		fprintf(out, " (and not over UDP: %s is not in `allow')", from);
	fprintf(out, ", %.1f ms\n", (double)deadline_us_between(start, deadline_now()) / 1000);
	return 0;
}
