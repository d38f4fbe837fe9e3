#include "upstream/upstream.h"

#include "base/waitset.h"
#include "format/frame.h"
#include "message.h"
#include "tls_server.h"

enum {
	SERVERS = 2,
	PEERS_MAX = 128,
	QUERIES_MAX = 16,
	EVENTS_AT_ONCE = 16,
	ANY = -2,    /* of the servers */
	NONE = -1,
	TURN_MS = 2, /* the longest time between two looks at the servers */
	LIMIT_MS = 20000,
	QUERY_LEN = DNS_HEADER_LEN + QUESTION_LEN
};

/*
 * A DNS server in the process of the test. For each query that it receives it does what the next
 * letter of its script says, and the last letter is for all later ones:
 *
 *	a	answers
 *	l	answers, and ends the connection
 *	e	ends the connection
 *	s, f	answers with SERVFAIL, FORMERR
 *	-	does not answer
 *	m	does not answer, and is mute on that connection from now on
 *
 * Canaries are answered, but on a connection that is mute, and not at all where the script begins
 * with `m'. Answers of the second server have AA set.
 */
struct fake {
	struct tls_server tls;
	const char *script; /* NULL: it does not listen */
	bool repeats;       /* the whole script, not its last letter */
	uint16_t port;
	size_t asked;    /* queries received */
	size_t canaries; /* the same */
	size_t accepted; /* connections */
	size_t open;
	struct {
		struct tls_peer tls;
		bool is_open;
		bool is_ready;
		bool is_mute;
		uint8_t in[4096];
		size_t len;
	} peers[PEERS_MAX];
};

static struct fixture {
	struct fake servers[SERVERS];
	struct scoreboard shared;
	struct config *config;
	struct upstream_groups *groups;
	struct query_table *table;
	int set;
	size_t asked;
	size_t ended;
	enum query_outcome outcome; /* of the last query that has ended */
	enum dns_rcode rcode;       /* of its response */
	int by;                     /* the server whose response it was; or NONE */
	char why[512];              /* why there is none */
	size_t hedged;
	unsigned events[UPSTREAM_LESS_EDNS + 1];
} f;

/* ---- the servers ---- */

static void
start_fake(struct fake *s, const char *script)
{
	struct address at;
	socklen_t len = sizeof at;

	tls_server_start(&s->tls, "DNS:dns.test", 3600);
	assert_int_equal(getsockname(s->tls.listener, &at.sa, &len), 0);
	s->port = address_port(&at);
	s->script = script;
	if (script == NULL)
		(void)close(s->tls.listener);
}

/* The server did not listen, and does from now on. */
static void
listen_at_last(struct fake *s, const char *script)
{
	struct address at;
	struct failure why;

	assert_int_equal(address_parse("127.0.0.1", s->port, &at), 0);
	s->tls.listener = net_listen(&at, &why);
	assert_int_not_equal(s->tls.listener, -1);
	s->script = script;
}

static void
end_peer(struct fake *s, size_t i, enum tls_end how)
{
	tls_peer_end(&s->peers[i].tls, how);
	s->peers[i].is_open = false;
	s->open--;
}

static void
stop_fake(struct fake *s)
{
	size_t i;

	for (i = 0; i < s->accepted; i++)
		if (s->peers[i].is_open)
			end_peer(s, i, TLS_FIN);
	if (s->script == NULL)
		s->tls.listener = -1;
	tls_server_stop(&s->tls);
}

static void
respond(struct fake *s, size_t i, const uint8_t *query, size_t len, enum dns_rcode rcode)
{
	static const uint8_t counts[] = COUNTS("\1", "\0", "\0", "\0");
	uint8_t frame[FRAME_PREFIX_LEN + 512];
	uint8_t *message = frame + FRAME_PREFIX_LEN;
	size_t question_len = dns_question_len(query, len);

	assert_in_range(question_len, 1, 512 - DNS_HEADER_LEN);
	memcpy(message, query, DNS_HEADER_LEN + question_len);
	message[2] = (uint8_t)(0x81 | (s == &f.servers[1] ? 4 : 0));
	message[3] = (uint8_t)(0x80 | rcode);
	memcpy(message + 4, counts, sizeof counts - 1);
	frame_write_prefix(frame, DNS_HEADER_LEN + question_len);
	assert_true(tls_peer_write(&s->peers[i].tls, frame,
	    FRAME_PREFIX_LEN + DNS_HEADER_LEN + question_len) > 0);
}

/* The next letter of the script. */
static char
next_letter(struct fake *s)
{
	size_t last = strlen(s->script) - 1;
	size_t n = s->asked++;

	if (s->repeats)
		return s->script[n % (last + 1)];
	return s->script[n < last ? n : last];
}

/* A message has been received. */
static void
take_query(struct fake *s, size_t i, const uint8_t *message, size_t len)
{
	bool is_canary = message[DNS_HEADER_LEN] == 0; /* of the root */
	char letter = 'a';

	if (!is_canary)
		letter = next_letter(s);
	else if (s->script[0] == 'm')
		letter = 'm';
	s->canaries += is_canary;
	s->peers[i].is_mute = s->peers[i].is_mute || letter == 'm';
	if (s->peers[i].is_mute || letter == '-')
		return;
	if (letter != 'e')
		respond(s, i, message, len,
		    letter == 's'     ? DNS_SERVFAIL :
			letter == 'f' ? DNS_FORMERR :
					DNS_NOERROR);
	if (letter == 'e' || letter == 'l')
		end_peer(s, i, TLS_CLOSE_NOTIFY);
}

static void
step_peer(struct fake *s, size_t i)
{
	size_t used = 0;
	size_t len;

	if (!s->peers[i].is_ready) {
		s->peers[i].is_ready = SSL_accept(s->peers[i].tls.ssl) == 1;
		ERR_clear_error();
	}
	if (!s->peers[i].is_ready)
		return;
	s->peers[i].len += tls_peer_read(&s->peers[i].tls, s->peers[i].in + s->peers[i].len,
	    sizeof s->peers[i].in - s->peers[i].len);
	while (s->peers[i].is_open &&
	    frame_is_whole(s->peers[i].in + used, s->peers[i].len - used, &len)) {
		take_query(s, i, s->peers[i].in + used + FRAME_PREFIX_LEN, len);
		used += FRAME_PREFIX_LEN + len;
	}
	s->peers[i].len -= used;
	memmove(s->peers[i].in, s->peers[i].in + used, s->peers[i].len);
	if (s->peers[i].is_open && (SSL_get_shutdown(s->peers[i].tls.ssl) & SSL_RECEIVED_SHUTDOWN))
		end_peer(s, i, TLS_CLOSE_NOTIFY);
}

static void
step_fake(struct fake *s)
{
	struct address from;
	size_t i;
	int fd;

	while (s->script != NULL && (fd = net_accept(s->tls.listener, &from)) != -1) {
		assert_true(s->accepted < PEERS_MAX);
		i = s->accepted++;
		s->open++;
		s->peers[i].tls.fd = fd;
		s->peers[i].tls.ssl = SSL_new(s->tls.ctx);
		assert_int_equal(SSL_set_fd(s->peers[i].tls.ssl, fd), 1);
		s->peers[i].is_open = true;
	}
	for (i = 0; i < s->accepted; i++)
		if (s->peers[i].is_open)
			step_peer(s, i);
}

/* ---- the module ---- */

static void
begin(const char *first, const char *second, const char *settings)
{
	struct config_report report;
	struct failure why;
	char text[1024];

	memset(&f, 0, sizeof f);
	start_fake(&f.servers[0], first);
	start_fake(&f.servers[1], second);
	(void)snprintf(text, sizeof text,
	    "upstreams:\n"
	    "- {address: 127.0.0.1, port: %u, hostname: dns.test, ca_file: %s}\n"
	    "- {address: 127.0.0.1, port: %u, hostname: dns.test, ca_file: %s}\n"
	    "inflight: %d\n%s",
	    f.servers[0].port, f.servers[0].tls.ca_file, f.servers[1].port,
	    f.servers[1].tls.ca_file, QUERIES_MAX, settings);
	f.config = config_read(text, strlen(text), "c", &report);
	assert_null(report.errors);
	f.set = waitset_new();
	f.table = query_table_new(QUERIES_MAX);
	assert_non_null(f.table);
	assert_int_equal(scoreboard_init(&f.shared), 0);
	f.groups = upstream_groups_new(f.config, &f.shared, &why);
	assert_non_null(f.groups);
	assert_int_equal(upstream_attach(f.groups, f.set, f.table, &why), 0);
}

static int
end(void **state)
{
	size_t i;

	(void)state;
	upstream_groups_free(f.groups);
	scoreboard_free(&f.shared);
	query_table_free(f.table);
	config_free(f.config);
	(void)close(f.set);
	for (i = 0; i < SERVERS; i++)
		stop_fake(&f.servers[i]);
	return 0;
}

/* Hands a query over, for a name of its own. */
static struct query *
ask(void)
{
	uint8_t message[] = ID QUERY COUNTS("\1", "\0", "\0", "\0") QUESTION;
	enum dns_rcode rcode;
	struct query *q;

	message[DNS_HEADER_LEN + 1] = (uint8_t)('A' + f.asked++);
	q = query_new(f.table, message, QUERY_LEN);
	assert_non_null(q);
	assert_int_equal(dns_read_query(q->message, q->len, &q->dns, &rcode), DNS_RELAY);
	q->arrived = deadline_now();
	q->by = deadline_after(q->arrived, f.config->timeouts.query_ms);
	upstream_ask(f.groups, q);
	return q;
}

static void
take_ended(struct query *q)
{
	struct failure why = { .text = "" };

	f.ended++;
	f.outcome = q->outcome;
	f.by = NONE;
	if (q->outcome == QUERY_ANSWERED) {
		f.by = (q->response[2] & 4) != 0;
		f.rcode = (enum dns_rcode)dns_response_rcode(q->response, q->response_len);
		assert_memory_equal(q->response + DNS_HEADER_LEN, q->message + DNS_HEADER_LEN,
		    QUESTION_LEN);
	} else {
		upstream_explain(f.groups, q, &why);
	}
	(void)snprintf(f.why, sizeof f.why, "%s", why.text);
	query_free(f.table, q);
}

/* A turn of the worker, and one of the servers. */
static void
turn(void)
{
	struct deadline by = deadline_sooner(upstream_deadline(f.groups), deadline_in(TURN_MS));
	struct epoll_event events[EVENTS_AT_ONCE];
	size_t count = waitset_wait(f.set, events, EVENTS_AT_ONCE, by);
	struct deadline now = deadline_now();
	struct upstream_event event;
	struct query *q;
	size_t i;

	for (i = 0; i < count; i++)
		upstream_ready(f.groups, waitset_index(&events[i]), now);
	upstream_expire(f.groups, now);
	upstream_send(f.groups, now);
	while ((q = upstream_next_done(f.groups)) != NULL)
		take_ended(q);
	while (upstream_next_event(f.groups, &event))
		f.events[event.what]++;
	f.hedged += upstream_take_hedged(f.groups);
	for (i = 0; i < SERVERS; i++)
		step_fake(&f.servers[i]);
}

/* Until all queries have ended. */
static void
run(void)
{
	struct deadline by = deadline_in(LIMIT_MS);

	while (f.ended < f.asked) {
		assert_false(deadline_passed(by, deadline_now()));
		turn();
	}
}

#define AFTER(time) "fallback: {after: " time "}\n"

/* What becomes of queries, and what it takes. */
static const struct row {
	const char *name;
	const char *servers[SERVERS];
	const char *settings;
	size_t queries;
	bool at_once; /* or one after the other */
	enum query_outcome outcome;
	int by; /* the server whose response the last query gets; NONE, or ANY of them */
	enum dns_rcode rcode;
	size_t asked[SERVERS];
	size_t accepted[SERVERS];
	const char *why; /* there is none */
} rows[] = {
	{ "the first upstream answers", { "a", "a" }, "", 1, false, QUERY_ANSWERED, 0, 0,
	    { 1, 0 }, { 1, 0 }, "" },
	{ "a connection is used again", { "a", "a" }, "", 5, false, QUERY_ANSWERED, 0, 0,
	    { 5, 0 }, { 1, 0 }, "" },
	{ "queries share a connection", { "a", "a" }, "", 9, true, QUERY_ANSWERED, 0, 0,
	    { 9, 0 }, { 1, 0 }, "" },
	{ "a connection for each query", { "a", "a" }, "timeouts: {upstream_idle: 0}\n", 3, true,
	    QUERY_ANSWERED, 0, 0, { 3, 0 }, { 3, 0 }, "" },
	{ "refused: the next upstream", { NULL, "a" }, AFTER("never"), 1, false, QUERY_ANSWERED, 1,
	    0, { 0, 1 }, { 0, 1 }, "" },
	{ "all refuse", { NULL, NULL }, "", 1, false, QUERY_UNREACHABLE, NONE, 0, { 0, 0 },
	    { 0, 0 }, "connect: Connection refused" },
	{ "SERVFAIL: the next upstream", { "s", "a" }, AFTER("never"), 1, false, QUERY_ANSWERED, 1,
	    0, { 1, 1 }, { 1, 1 }, "" },
	{ "SERVFAIL from both: the first one counts", { "s", "s" }, AFTER("never"), 1, false,
	    QUERY_ANSWERED, 0, DNS_SERVFAIL, { 1, 1 }, { 1, 1 }, "" },
	{ "FORMERR: less EDNS is tried", { "fa", "a" }, AFTER("never"), 1, false, QUERY_ANSWERED, 0,
	    0, { 2, 0 }, { 1, 0 }, "" },
	{ "silent: hedged", { "-", "a" }, AFTER("50ms"), 1, false, QUERY_ANSWERED, 1, 0, { 1, 1 },
	    { 1, 1 }, "" },
	{ "all at once", { "-", "a" }, AFTER("0"), 1, false, QUERY_ANSWERED, 1, 0, { 1, 1 },
	    { 1, 1 }, "" },
	{ "ended, with this query alone on it: the next upstream", { "e", "a" }, AFTER("never"), 1,
	    false, QUERY_ANSWERED, 1, 0, { 1, 1 }, { 1, 1 }, "" },
	{ "ended, with several on it: retried at once", { "ea", "a" }, AFTER("never"), 3, true,
	    QUERY_ANSWERED, 0, 0, { 4, 0 }, { 2, 0 }, "" },
	{ "ended after each response: nothing is lost", { "l", "a" }, AFTER("never"), 6, false,
	    QUERY_ANSWERED, 0, 0, { 6, 0 }, { 6, 0 }, "" },
	{ "both end all connections", { "e", "e" }, AFTER("never"), 1, false, QUERY_UNANSWERED,
	    NONE, 0, { 2, 2 }, { 2, 2 }, "read: connection closed by the server" },
	{ "stalled: resent on a new connection", { "ama", "a" }, AFTER("never"), 2, false,
	    QUERY_ANSWERED, 0, 0, { 3, 0 }, { 2, 0 }, "" },
	{ "late by the usual time: hedged", { "-", "a" }, AFTER("auto"), 1, false, QUERY_ANSWERED,
	    1, 0, { 1, 1 }, { 1, 1 }, "" },
	{ "the fastest first, and the other one is measured", { "a", "a" }, "order: fastest\n", 1,
	    false, QUERY_ANSWERED, ANY, 0, { 1, 1 }, { 1, 1 }, "" },
	{ "both silent", { "-", "-" }, AFTER("50ms") "timeouts: {query: 300ms, answer: 300ms, "
	    "connect: 200ms, handshake: 200ms}\n", 1, false, QUERY_UNANSWERED, NONE, 0, { 1, 1 },
	    { 1, 1 }, "query: no answer in 300 ms" },
};

static void
ends_as_it_should(void **state)
{
	const struct row *row = *state;
	size_t n;

	begin(row->servers[0], row->servers[1], row->settings);
	for (n = 0; n < row->queries; n++) {
		(void)ask();
		if (!row->at_once)
			run();
	}
	run();
	assert_int_equal(f.outcome, row->outcome);
	if (row->by != ANY)
		assert_int_equal(f.by, row->by);
	assert_int_equal(f.rcode, row->rcode);
	for (n = 0; n < SERVERS; n++) {
		assert_int_equal(f.servers[n].asked, row->asked[n]);
		assert_int_equal(f.servers[n].accepted, row->accepted[n]);
	}
	if (strstr(f.why, row->why) == NULL)
		fail_msg("%s", f.why);
}

/* Until the condition holds. */
#define RUN_UNTIL(condition)                                                \
	do {                                                                \
		struct deadline by = deadline_in(LIMIT_MS);                 \
                                                                            \
		for (; !(condition); turn())                                \
			assert_false(deadline_passed(by, deadline_now())); \
	} while (0)

static void
run_for(int ms)
{
	struct deadline until = deadline_in(ms);

	RUN_UNTIL(deadline_passed(until, deadline_now()));
}

static unsigned
failures(size_t upstream)
{
	struct upstream_state state;

	upstream_state(f.groups, upstream, deadline_now(), &state);
	return state.failures;
}

/* It is down once, is probed when its backoff has ended, and is used again. */
static void
test_upstream_that_comes_back_is_used_again(void **state)
{
	(void)state;
	begin(NULL, "a", AFTER("never"));
	(void)ask();
	run();
	assert_int_equal(f.by, 1);
	assert_int_equal(failures(0), 1);
	assert_int_equal(failures(1), 0);
	(void)ask();
	run();
	assert_int_equal(f.by, 1);
	assert_int_equal(f.events[UPSTREAM_DOWN], 1);
	listen_at_last(&f.servers[0], "a");
	while (f.events[UPSTREAM_BACK] == 0) {
		assert_true(f.asked < QUERIES_MAX);
		run_for(100);
		(void)ask();
		run();
	}
	assert_int_equal(failures(0), 0);
	assert_int_equal(f.events[UPSTREAM_CONNECTED], 2);
	(void)ask();
	run();
	assert_int_equal(f.by, 0);
}

/* Silent on each new connection, with a canary as well: it is suspect, then down. */
static void
test_silent_upstream_is_down(void **state)
{
	(void)state;
	begin("m", "a", AFTER("50ms") "timeouts: {answer: 200ms}\n");
	while (failures(0) == 0) {
		assert_true(f.asked < QUERIES_MAX);
		(void)ask();
		run();
		assert_int_equal(f.by, 1);
		run_for(50);
	}
	assert_int_equal(f.events[UPSTREAM_DOWN], 1);
	assert_int_equal(f.hedged, f.asked);
}

/* The response to a query that was given up goes to nobody, and later ones are right. */
static void
test_cancelled_query_gets_no_response(void **state)
{
	struct query *q;

	(void)state;
	begin("-a", "a", AFTER("never"));
	q = ask();
	RUN_UNTIL(f.servers[0].asked == 1);
	upstream_cancel(f.groups, q);
	query_free(f.table, q);
	f.asked--;
	(void)ask();
	(void)ask();
	run();
	assert_int_equal(f.by, 0);
	assert_int_equal(f.servers[0].accepted, 1);
	q = ask();
	upstream_cancel(f.groups, q); /* before it was sent */
	query_free(f.table, q);
	f.asked--;
	turn();
	assert_int_equal(f.servers[0].asked, 3);
}

#define TEN "aaaaaaaaaa"

/* A server that ends each connection after so many responses. */
static const struct limit_row {
	const char *name;
	const char *script;
} limit_rows[] = {
	{ "after one response", "l" },
	{ "after three responses", "aal" },
	{ "after twenty responses", TEN "aaaaaaaaal" },
};

/* It is learnt, and forgotten when the server answers more. No query is lost. */
static void
test_limit_of_a_server_loses_no_query(void **state)
{
	const struct limit_row *row = *state;
	int round;

	begin(row->script, "a", AFTER("never"));
	f.servers[0].repeats = true;
	for (round = 0; round < 8; round++) {
		f.asked = 0;
		f.ended = 0;
		if (round == 4)
			f.servers[0].script = "a";
		while (f.asked < QUERIES_MAX)
			(void)ask();
		run();
		assert_int_equal(f.by, 0);
	}
	run_for(50);
	assert_int_equal(f.servers[0].asked, 8 * QUERIES_MAX);
	assert_int_equal(f.servers[0].open, 1);
	assert_int_equal(f.servers[1].asked, 0);
	assert_int_equal(failures(0), 0);
}

static void
test_idle_connection_is_closed(void **state)
{
	(void)state;
	begin("a", "a", "timeouts: {upstream_idle: 50ms}\n");
	(void)ask();
	run();
	assert_int_equal(f.servers[0].open, 1);
	RUN_UNTIL(f.servers[0].open == 0);
	(void)ask();
	run();
	assert_int_equal(f.servers[0].accepted, 2);
	assert_int_equal(f.by, 0);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test_teardown(test_upstream_that_comes_back_is_used_again, end),
		cmocka_unit_test_teardown(test_silent_upstream_is_down, end),
		cmocka_unit_test_teardown(test_cancelled_query_gets_no_response, end),
		cmocka_unit_test_teardown(test_idle_connection_is_closed, end),
	};
	const struct fixtures cleaned = { .tear_down = end };

	return RUN_ROWS_WITH(cleaned, rows, ends_as_it_should) +
	    RUN_ROWS_WITH(cleaned, limit_rows, test_limit_of_a_server_loses_no_query) +
	    cmocka_run_group_tests_name("upstream", singles, NULL, NULL);
}
