#include "upstream/upstream.h"

#include <sys/socket.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/waitset.h"
#include "format/frame.h"
#include "message.h"
#include "transport/net.h"
#include "unit.h"

/*
 * A route with two upstreams in cleartext, both of them TCP servers in the process of the test, and
 * one upstream at the top level that cannot be reached. Servers and upstreams take their steps in
 * turns.
 */
enum { SERVERS = 2, CONNECTIONS_MAX = 16, LIMIT_MS = 20000, ROUTE = 1 };

/* What a server does with a query. */
enum behaviour {
	ANSWERS,
	HTTP,          /* it is a web server */
	GARBAGE,       /* a message of random bytes */
	OTHER_ID,      /* the response has another ID */
	OTHER_QUESTION, /* or another name */
	SHORT,         /* the message is shorter than a header */
	HALF,          /* half of the response, and then the end */
	CLOSES,
	RESETS,
	SILENT,
	REFUSES /* nobody listens */
};

struct server {
	struct address at;
	int listener;
	enum behaviour behaviour;
	int fds[CONNECTIONS_MAX];
	size_t accepted;
	size_t ended; /* connections that the proxy has ended */
	size_t queries;
	uint8_t last[512]; /* the last query, without its prefix */
	size_t last_len;
};

static struct fixture {
	struct server servers[SERVERS];
	struct scoreboard shared;
	struct config *config;
	struct upstream_groups *groups;
	struct query_table *table;
	int set;
} f;

/* ---- servers ---- */

static void
start_server(struct server *s, enum behaviour behaviour)
{
	socklen_t len = sizeof s->at.in;
	struct failure why;

	*s = (struct server){ .behaviour = behaviour };
	assert_int_equal(address_parse("127.0.0.1", 1, &s->at), 0);
	address_set_port(&s->at, 0);
	assert_int_not_equal(s->listener = net_listen(&s->at, &why), -1);
	assert_int_equal(getsockname(s->listener, &s->at.sa, &len), 0);
	if (behaviour == REFUSES)
		(void)close(s->listener);
}

static void
end_connection(struct server *s, size_t i, bool reset)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (reset)
		(void)setsockopt(s->fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	(void)close(s->fds[i]);
	s->fds[i] = -1;
}

static void
stop_server(struct server *s)
{
	size_t i;

	if (s->behaviour != REFUSES)
		(void)close(s->listener);
	for (i = 0; i < s->accepted; i++)
		if (s->fds[i] != -1)
			end_connection(s, i, false);
}

/* Writes the response to the last query, with a record that has the server's number. */
static size_t
make_response(const struct server *s, uint8_t *frame)
{
	static const uint8_t head[] = RESPONSE COUNTS("\1", "\1", "\0", "\0");
	uint8_t *message = frame + FRAME_PREFIX_LEN;
	size_t len = DNS_HEADER_LEN + dns_question_len(s->last, s->last_len);

	memcpy(message, s->last, len);
	memcpy(message + 2, head, sizeof head - 1);
	memcpy(message + len, BYTES(RR_A));
	len += sizeof(RR_A) - 1;
	message[len - 1] = (uint8_t)(s - f.servers);
	message[0] ^= s->behaviour == OTHER_ID;
	message[DNS_HEADER_LEN + 1] ^= s->behaviour == OTHER_QUESTION;
	if (s->behaviour == SHORT)
		len = DNS_HEADER_LEN - 1;
	if (s->behaviour == GARBAGE)
		memset(message, 0xa5, len);
	frame_write_prefix(frame, len);
	return FRAME_PREFIX_LEN + len;
}

/* Answers the last query, or does whatever else the server does. */
static void
respond(struct server *s, size_t i)
{
	uint8_t frame[600];
	size_t len = make_response(s, frame);

	switch (s->behaviour) {
	case HTTP:
		len = (size_t)snprintf((char *)frame, sizeof frame,
		    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
		break;
	case HALF:
		len /= 2;
		break;
	case CLOSES:
	case RESETS:
	case SILENT:
		len = 0;
		break;
	default:
		break;
	}
	assert_int_equal(write(s->fds[i], frame, len), len);
	if (s->behaviour == HTTP || s->behaviour == HALF || s->behaviour == CLOSES)
		end_connection(s, i, false);
	if (s->behaviour == RESETS)
		end_connection(s, i, true);
}

/* Reads what has come on a connection: whole queries, since they are short. */
static void
serve_connection(struct server *s, size_t i)
{
	uint8_t in[4096];
	ssize_t n = read(s->fds[i], in, sizeof in);
	size_t pos = 0;
	size_t len;

	if (n == 0) {
		end_connection(s, i, false);
		s->ended++;
	}
	while (n > 0 && s->fds[i] != -1 && pos < (size_t)n) {
		assert_true(frame_is_whole(in + pos, (size_t)n - pos, &len));
		assert_in_range(len, DNS_HEADER_LEN, sizeof s->last);
		memcpy(s->last, in + pos + FRAME_PREFIX_LEN, len);
		s->last_len = len;
		s->queries++;
		pos += FRAME_PREFIX_LEN + len;
		respond(s, i);
	}
}

static void
step_server(struct server *s)
{
	struct address from;
	size_t i;
	int fd;

	while (s->behaviour != REFUSES && (fd = net_accept(s->listener, &from)) != -1) {
		assert_true(s->accepted < CONNECTIONS_MAX);
		s->fds[s->accepted++] = fd;
	}
	for (i = 0; i < s->accepted; i++)
		if (s->fds[i] != -1)
			serve_connection(s, i);
}

/* ---- upstreams ---- */

/* Moves all upstreams but the first one to a route, in cleartext. */
static void
make_route(struct config *c)
{
	size_t i;

	c->group_count = 2;
	c->groups[ROUTE] = c->groups[0];
	c->groups[0].count = 1;
	c->groups[ROUTE].first = 1;
	c->groups[ROUTE].count = c->upstream_count - 1;
	for (i = 1; i < c->upstream_count; i++) {
		free(c->upstreams[i].hostname);
		c->upstreams[i].hostname = NULL;
		c->upstreams[i].cleartext = true;
	}
}

static struct config *
configure(const struct address *first, const struct address *second)
{
	struct config_report report;
	struct config *config;
	char one[ADDRESS_TEXT_MAX];
	char two[ADDRESS_TEXT_MAX];
	char text[512];

	(void)snprintf(text, sizeof text,
	    "privacy: {padding: true, client_subnet: true}\n"
	    "timeouts: {upstream_idle: 1s}\nfallback: {after: 1s}\nupstreams:\n"
	    "  - {address: 192.0.2.1, hostname: one.test}\n"
	    "  - {address: '%s', hostname: two.test}\n"
	    "  - {address: '%s', hostname: three.test}\n",
	    address_format(first, one), address_format(second, two));
	config = config_read(text, strlen(text), "c", &report);
	if (report.errors != NULL)
		print_error("%s", report.errors);
	assert_non_null(config);
	config_report_free(&report);
	make_route(config);
	return config;
}

static void
begin(enum behaviour first)
{
	struct failure why = { .text = "" };

	(void)signal(SIGPIPE, SIG_IGN);
	memset(&f, 0, sizeof f);
	start_server(&f.servers[0], first);
	start_server(&f.servers[1], ANSWERS);
	assert_int_equal(scoreboard_init(&f.shared), 0);
	f.config = configure(&f.servers[0].at, &f.servers[1].at);
	f.groups = upstream_groups_new(f.config, &f.shared, &why);
	assert_string_equal(why.text, "");
	assert_non_null(f.groups);
	assert_non_null(f.table = query_table_new(16));
	assert_int_not_equal(f.set = waitset_new(), -1);
	assert_int_equal(upstream_attach(f.groups, f.set, f.table, &why), 0);
}

static void
end(void)
{
	size_t i;

	upstream_groups_free(f.groups);
	query_table_free(f.table);
	config_free(f.config);
	scoreboard_free(&f.shared);
	(void)close(f.set);
	for (i = 0; i < SERVERS; i++)
		stop_server(&f.servers[i]);
}

static struct query *
ask(const uint8_t *message, size_t len)
{
	struct query *q = query_new(f.table, message, len);
	enum dns_rcode rcode;

	assert_non_null(q);
	assert_int_equal(dns_read_query(q->message, q->len, &q->dns, &rcode), DNS_RELAY);
	q->by = deadline_in(LIMIT_MS);
	q->group = ROUTE;
	upstream_ask(f.groups, q);
	return q;
}

/* One turn of the loop. */
static void
turn(void)
{
	struct epoll_event events[16];
	size_t count;
	size_t i;

	upstream_send(f.groups, deadline_now());
	for (i = 0; i < SERVERS; i++)
		step_server(&f.servers[i]);
	count = waitset_wait(f.set, events, LENGTH(events), deadline_in(2));
	for (i = 0; i < count; i++)
		upstream_ready(f.groups, waitset_index(&events[i]), deadline_now());
	upstream_expire(f.groups, deadline_now());
}

/* Runs until a query is done with. */
static struct query *
wait_for_done(void)
{
	struct deadline by = deadline_in(LIMIT_MS);
	struct query *q;

	while ((q = upstream_next_done(f.groups)) == NULL) {
		assert_false(deadline_passed(by, deadline_now()));
		turn();
	}
	return q;
}

/* That a response is to the question NAME, and from that server. */
static void
assert_answered_by(const struct query *q, const char *name, size_t server)
{
	static const uint8_t record[] = RR_A;

	assert_int_equal(q->outcome, QUERY_ANSWERED);
	assert_int_equal(q->response_len, DNS_HEADER_LEN + QUESTION_LEN + sizeof record - 1);
	assert_memory_equal(q->response + DNS_HEADER_LEN + 1, name, strlen(name));
	assert_int_equal(q->response[q->response_len - 1], server);
}

/* The next event of that kind. */
static void
expect_event(int what, struct upstream_event *event)
{
	while (upstream_next_event(f.groups, event))
		if ((int)event->what == what)
			return;
	assert_true(false);
}

/* ---- tests ---- */

static const uint8_t plain[] = ID QUERY COUNTS("\1", "\0", "\0", "\0") QUESTION;

/* DO, Client Subnet, COOKIE, NSID and Padding. */
static const uint8_t with_options[] = ID QUERY COUNTS("\1", "\0", "\0", "\1") QUESTION OPT_AT("\0",
    "\x04\xd0", "\0", "\0", "\x80\0",
    "\44") "\0\10\0\10\0\1\30\0\300\0\2\0"
	   "\0\12\0\10abcdefgh"
	   "\0\3\0\0"
	   "\0\14\0\4\0\0\0\0";

/* The whole query upstream, but for its ID: our own OPT record, with edns-tcp-keepalive. */
static const struct wire_row {
	const char *name;
	const uint8_t *query;
	size_t query_len;
	const uint8_t *wanted; /* behind the question */
	size_t wanted_len;
} wire_rows[] = {
	{ "no OPT", BYTES(ID QUERY COUNTS("\1", "\0", "\0", "\0") QUESTION),
	    BYTES(OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\0", "\4") "\0\13\0\0") },
	{ "options", with_options, sizeof with_options - 1,
	    BYTES(OPT_AT("\0", "\x04\xd0", "\0", "\0", "\x80\0", "\10") "\0\3\0\0\0\13\0\0") },
};

static void
sends_its_own_opt_record(void **state)
{
	const struct wire_row *row = *state;
	const struct server *s = &f.servers[0];

	begin(ANSWERS);
	assert_true(f.config->privacy.padding);
	assert_true(f.config->privacy.client_subnet);
	(void)ask(row->query, row->query_len);
	assert_answered_by(wait_for_done(), "example", 0);
	assert_int_equal(s->queries, 1);
	assert_int_equal(s->last_len, sizeof plain - 1 + row->wanted_len);
	/* AD is asked for, since the response may be cached for others. */
	assert_memory_equal(s->last + 2, "\x01\x20" COUNTS("\1", "\0", "\0", "\1") QUESTION,
	    sizeof plain - 3);
	assert_memory_equal(s->last + sizeof plain - 1, row->wanted, row->wanted_len);
	end();
}

/* A persistent connection: queries are pipelined, and it is closed when it has been idle. */
static void
keeps_a_connection_until_it_is_idle(void **state)
{
	struct deadline by = deadline_in(LIMIT_MS);
	struct server *s = &f.servers[0];
	struct upstream_state how;
	struct upstream_event event;
	uint8_t message[sizeof plain - 1];
	char address[ADDRESS_TEXT_MAX];
	size_t i;

	(void)state;
	begin(ANSWERS);
	memcpy(message, plain, sizeof message);
	for (i = 0; i < 4; i++) {
		message[DNS_HEADER_LEN + 1] = (uint8_t)('e' + i);
		(void)ask(message, sizeof message);
	}
	for (i = 0; i < 4; i++) {
		struct query *q = wait_for_done();

		assert_int_equal(q->response[DNS_HEADER_LEN + 1], q->message[DNS_HEADER_LEN + 1]);
		assert_answered_by(q, (const char *)q->message + DNS_HEADER_LEN + 1, 0);
		query_free(f.table, q);
	}
	(void)ask(plain, sizeof plain - 1);
	assert_answered_by(wait_for_done(), "example", 0);
	assert_int_equal(s->accepted, 1);
	assert_int_equal(s->queries, 5);
	assert_int_equal(f.servers[1].accepted, 0);

	expect_event(UPSTREAM_CONNECTED, &event);
	assert_string_equal(event.name, address_format(&s->at, address));
	assert_string_equal(event.facts.version, "none");
	assert_null(event.facts.cipher);
	assert_null(event.ca_file);
	assert_true(event.first);
	assert_false(upstream_next_event(f.groups, &event));
	upstream_state(f.groups, 1, deadline_now(), &how);
	assert_string_equal(how.name, address);
	assert_int_equal(how.failures, 0);
	assert_true(how.usual_us > 0);
	while (s->ended == 0) {
		assert_false(deadline_passed(by, deadline_now()));
		turn();
	}
	(void)ask(plain, sizeof plain - 1);
	assert_answered_by(wait_for_done(), "example", 0);
	assert_int_equal(s->accepted, 2);
	end();
}

/* G-17: what is wrong at the first upstream of a route; the second one answers. */
static const struct fault_row {
	const char *name;
	enum behaviour behaviour;
	const char *cause; /* of the first failure; NULL: none is reported for a late response */
} fault_rows[] = {
	{ "a web server", HTTP, "read: connection closed by the server" },
	{ "garbage", GARBAGE, "read: unexpected response ID" },
	{ "another ID", OTHER_ID, "read: unexpected response ID" },
	{ "another question", OTHER_QUESTION, "read: response to another question" },
	{ "a short message", SHORT, "read: short message (11 bytes)" },
	{ "half a message", HALF, "read: connection closed by the server" },
	{ "the end", CLOSES, "read: connection closed by the server" },
	{ "a reset", RESETS, "read: Connection reset by peer" },
	{ "silence", SILENT, NULL },
	{ "nobody listens", REFUSES, "connect: Connection refused" },
};

static void
next_upstream_answers(void **state)
{
	const struct fault_row *row = *state;
	char address[ADDRESS_TEXT_MAX];
	char wanted[256];
	struct failure why;
	struct query *q;

	begin(row->behaviour);
	(void)ask(plain, sizeof plain - 1);
	q = wait_for_done();
	assert_answered_by(q, "example", 1);
	if (row->cause != NULL) {
		(void)snprintf(wanted, sizeof wanted, "%s: %s",
		    address_format(&f.servers[0].at, address), row->cause);
		upstream_explain(f.groups, q, &why);
		assert_string_equal(why.text, wanted);
	}
	query_free(f.table, q);
	/* It is answered again, whatever is known of the first one by now. */
	(void)ask(plain, sizeof plain - 1);
	assert_answered_by(wait_for_done(), "example", 1);
	end();
}

/* An upstream that cannot be reached is down, and so it is for the next configuration. */
static void
health_outlives_a_reload(void **state)
{
	struct upstream_groups *newer;
	struct upstream_event event;
	struct upstream_state how;
	struct failure why;
	char address[ADDRESS_TEXT_MAX];

	(void)state;
	begin(REFUSES);
	(void)ask(plain, sizeof plain - 1);
	assert_answered_by(wait_for_done(), "example", 1);
	expect_event(UPSTREAM_DOWN, &event);
	assert_string_equal(event.name, address_format(&f.servers[0].at, address));
	assert_string_equal(event.cause.text, "connect: Connection refused");
	assert_non_null(newer = upstream_groups_new(f.config, &f.shared, &why));
	upstream_state(newer, 1, deadline_now(), &how);
	assert_int_equal(how.failures, 1);
	upstream_state(newer, 2, deadline_now(), &how);
	assert_int_equal(how.failures, 0);
	assert_false(upstream_all_down(newer, ROUTE, deadline_now()));
	upstream_groups_free(newer);
	end();
}

/* No answer at all: the reason names the upstream and the step. */
static void
says_which_upstream_did_not_answer(void **state)
{
	char address[ADDRESS_TEXT_MAX];
	char wanted[256];
	struct failure why;
	struct query *q;

	(void)state;
	begin(SILENT);
	f.servers[1].behaviour = SILENT;
	q = ask(plain, sizeof plain - 1);
	q->by = deadline_in(200);
	assert_ptr_equal(wait_for_done(), q);
	assert_int_equal(q->outcome, QUERY_UNANSWERED);
	upstream_explain(f.groups, q, &why);
	(void)snprintf(wanted, sizeof wanted, "%s: query: no answer in %d ms",
	    address_format(&f.servers[0].at, address), f.config->timeouts.query_ms);
	assert_string_equal(why.text, wanted);
	end();
}

/* How a configuration might be wrong after all. */
static const struct refused_row {
	const char *name;
	const char *address;
	bool at_top_level;
	const char *reason;
} refused_rows[] = {
	{ "a public address", "8.8.8.8:5353", false,
	    "8.8.8.8:5353: a cleartext upstream needs a private address; 8.8.8.8 is public" },
	{ "the top level", "127.0.0.1:5353", true,
	    "127.0.0.1:5353: cleartext is only for upstreams of a route" },
};

static void
refuses_cleartext(void **state)
{
	const struct refused_row *row = *state;
	struct scoreboard shared;
	struct address one;
	struct address two;
	struct config *config;
	struct failure why;

	assert_int_equal(scoreboard_init(&shared), 0);
	assert_int_equal(address_parse(row->address, 1, &one), 0);
	assert_int_equal(address_parse("127.0.0.2:5353", 1, &two), 0);
	config = configure(&one, &two);
	if (row->at_top_level) {
		config->groups[0].count = config->upstream_count;
		config->group_count = 1;
	}
	assert_null(upstream_groups_new(config, &shared, &why));
	assert_string_equal(why.text, row->reason);
	config_free(config);
	scoreboard_free(&shared);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(keeps_a_connection_until_it_is_idle),
		cmocka_unit_test(health_outlives_a_reload),
		cmocka_unit_test(says_which_upstream_did_not_answer),
	};

	return RUN_ROWS(wire_rows, sends_its_own_opt_record) +
	    RUN_ROWS(fault_rows, next_upstream_answers) +
	    RUN_ROWS(refused_rows, refuses_cleartext) +
	    cmocka_run_group_tests_name("upstream", singles, NULL, NULL);
}
