#include "transport/connection.h"

#include <sys/epoll.h>

#include "format/frame.h"
#include "message.h"
#include "tls_server.h"

enum {
	ROOM = 40, /* for IDs, at least */
	QUERIES_MAX = 50,
	SLOTS = 2,
	QUERY_LEN = DNS_HEADER_LEN + QUESTION_LEN,
	FRAME_LEN = FRAME_PREFIX_LEN + QUERY_LEN
};

static const struct edns_settings settings;
static const struct deadline opened_at = { 500000 };
static const struct deadline sent_at = { 1000000 };
static const struct deadline later = { 2000000 };

/* The kind of the stream below; all tests run with each. */
static enum stream_kind kind;

/* A connection that is ready, in a slot that is not the first, and queries for it. */
static struct tls_server server;
static struct fixture {
	struct connection_table *table;
	struct connection *c;
	struct stream *stream;
	const struct connection_facts *facts;
	struct tls_peer peer;
	bool peer_has_ended;
	struct query queries[QUERIES_MAX];
	struct query canary;
} f;

/* A query of its own name, with a record that makes it LEN bytes long; 0: without that record. */
static void
make_query(struct query *q, unsigned number, size_t len)
{
	static const uint8_t plain[] = ID QUERY COUNTS("\1", "\0", "\0", "\0") QUESTION;
	enum { RECORD_LEN = 11 };
	enum dns_rcode rcode;

	memset(q, 0, sizeof *q);
	q->len = len > 0 ? len : QUERY_LEN;
	q->message = calloc(1, q->len);
	assert_non_null(q->message);
	memcpy(q->message, plain, QUERY_LEN);
	q->message[DNS_HEADER_LEN + 1] = (uint8_t)('A' + number);
	if (len > 0) {
		uint8_t *record = q->message + QUERY_LEN;
		size_t data_len = len - QUERY_LEN - RECORD_LEN;

		q->message[11] = 1;
		record[2] = 10; /* NULL */
		record[4] = 1;
		record[9] = (uint8_t)(data_len >> 8);
		record[10] = (uint8_t)data_len;
		memset(record + RECORD_LEN, (int)number, data_len);
	}
	assert_int_equal(dns_read_query(q->message, q->len, &q->dns, &rcode), DNS_RELAY);
}

static int
start_server(void **state)
{
	(void)state;
	tls_server_start(&server, "DNS:dns.test", 3600);
	return 0;
}

static int
stop_server(void **state)
{
	(void)state;
	tls_server_stop(&server);
	return 0;
}

static int
open_connection(void **state)
{
	struct stream stream = { .kind = STREAM_CLOSED };
	unsigned i;

	(void)state;
	memset(&f, 0, sizeof f);
	f.table = connection_table_new(SLOTS, ROOM);
	assert_non_null(f.table);
	f.c = connection_table_slot(f.table, SLOTS - 1);
	f.stream = connection_stream(f.c);
	f.facts = connection_facts(f.c);
	connect_to(&server, kind, &stream, &f.peer);
	connection_open(f.c, stream, &settings, opened_at);
	for (i = 0; i < QUERIES_MAX; i++)
		make_query(&f.queries[i], i, 0);
	make_query(&f.canary, QUERIES_MAX, 0);
	return 0;
}

static int
close_connection(void **state)
{
	size_t i;

	(void)state;
	if (stream_is_open(f.stream))
		connection_close(f.c);
	if (!f.peer_has_ended)
		tls_peer_close(&f.peer);
	for (i = 0; i < QUERIES_MAX; i++)
		free(f.queries[i].message);
	free(f.canary.message);
	connection_table_free(f.table);
	return 0;
}

static struct attempt *
attempt_of(size_t query)
{
	return &f.queries[query].attempts[0];
}

static void
add_queries(size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		connection_add(f.c, attempt_of(i), &f.queries[i], EDNS_NONE);
}

static void
send_all(void)
{
	struct failure why;

	assert_int_equal(connection_send(f.c, sent_at, &why), 0);
}

/* Reads what the connection has sent; returns how many bytes. Its end is free room. */
static size_t
read_sent(uint8_t *buf, size_t cap)
{
	size_t len = 0;
	size_t n;

	while (len < cap && (n = tls_peer_read(&f.peer, buf + len, cap - len)) > 0)
		len += n;
	return len;
}

/*
 * That what was sent is those queries, in that order, each with the ID that it got; 'c' is the
 * canary, which has got an OPT record.
 */
static void
assert_sent(const char *order)
{
	uint8_t buf[4096];
	size_t left = read_sent(buf, sizeof buf);
	const uint8_t *frame = buf;

	for (; *order != '\0'; order++) {
		const struct query *q = *order == 'c' ? &f.canary : &f.queries[*order - '0'];
		const struct attempt *a = *order == 'c' ?
		    connection_next_sent(f.c, NULL) :
		    &q->attempts[0];
		size_t equal_from = *order == 'c' ? DNS_HEADER_LEN : 2;
		size_t len = 0;

		assert_true(frame_is_whole(frame, left, &len));
		assert_true(*order == 'c' ? len > q->len : len == q->len);
		assert_int_equal(dns_id(frame + FRAME_PREFIX_LEN), a->id);
		assert_memory_equal(frame + FRAME_PREFIX_LEN + equal_from, q->message + equal_from,
		    q->len - equal_from);
		frame += FRAME_PREFIX_LEN + len;
		left -= FRAME_PREFIX_LEN + len;
	}
	assert_int_equal(left, 0);
}

/* Appends a frame. */
static size_t
put_frame(uint8_t *out, const uint8_t *message, size_t len)
{
	frame_write_prefix(out, len);
	memcpy(out + FRAME_PREFIX_LEN, message, len);
	return FRAME_PREFIX_LEN + len;
}

/* Appends the response to an attempt, of LEN bytes; its end is zeroes. */
static size_t
put_response(uint8_t *out, const struct attempt *a, size_t len)
{
	uint8_t *message = calloc(1, len);
	size_t n;

	assert_non_null(message);
	memcpy(message, a->query->message, a->query->len < len ? a->query->len : len);
	message[2] |= 0x80;
	dns_set_id(message, a->id);
	n = put_frame(out, message, len);
	free(message);
	return n;
}

/* Whether an attempt of the first COUNT queries has that ID. */
static bool
is_in_use(uint16_t id, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (attempt_of(i)->id == id)
			return true;
	return false;
}

/* Sends all of it from the server, in a record or segment for each CHUNK bytes. */
static void
serve(const uint8_t *data, size_t len, size_t chunk)
{
	while (len > 0) {
		size_t n = tls_peer_write(&f.peer, data, len < chunk ? len : chunk);

		assert_true(n > 0);
		data += n;
		len -= n;
	}
}

/* Waits for the next message: 1, or -1 with the reason. */
static int
receive(struct arrival *arrival, struct failure *why)
{
	struct deadline by = deadline_in(TLS_SERVER_LIMIT_MS);
	int rc;

	while ((rc = connection_receive(f.c, arrival, later, why)) == 0)
		assert_int_equal(net_wait(stream_fd(f.stream), POLLIN, by), 0);
	return rc;
}

/* That nothing more has come. */
static void
assert_nothing_comes(void)
{
	struct arrival arrival;
	struct failure why;

	assert_int_equal(connection_receive(f.c, &arrival, later, &why), 0);
	assert_int_equal(connection_receive(f.c, &arrival, later, &why), 0);
}

static void
assert_comes(const struct attempt *a)
{
	struct arrival arrival;
	struct failure why;

	assert_int_equal(receive(&arrival, &why), 1);
	assert_ptr_equal(arrival.attempt, a);
}

enum { QUERIES = 4 };

/*
 * What the server sends after four queries. '0' to '3': the response to that query; 'L': a response
 * of the largest size to query 0; 'b': REFUSED without a question to query 0; 'e', 's', 'h': a
 * message of 0 and 11 bytes, and one that is nothing but a header; 'u': with an ID that nobody
 * uses; 'm': another question with the ID of query 0; 'q': query 0 itself.
 */
static const struct script {
	const char *name;
	const char *served;
	size_t record;        /* bytes in each TLS record; 0: as many as it takes */
	const char *answered; /* those that are answered, in that order */
	const char *failure;  /* then; NULL: nothing more comes */
} scripts[] = {
	{ "one response", "0", 0, "0", NULL },
	{ "byte by byte", "01", 1, "01", NULL },
	{ "the prefix apart from the message", "0", 2, "0", NULL },
	{ "half of the next prefix in the same record", "0123", FRAME_LEN + 1, "0123", NULL },
	{ "several in one record", "0123", 0, "0123", NULL },
	{ "in another order", "3021", 0, "3021", NULL },
	{ "a response without its question", "b", 0, "0", NULL },
	{ "the largest", "L", 0, "0", NULL },
	{ "the largest in small records", "L", 1000, "0", NULL },
	{ "others around the largest", "1L2", 0, "102", NULL },
	{ "the largest after half a buffer", "123L", 16000, "1230", NULL },
	{ "an empty message", "e", 0, "", "read: short message (0 bytes)" },
	{ "an empty message behind a response", "1e", 0, "1",
	    "read: short message (0 bytes)" },
	{ "a short message", "s", 0, "", "read: short message (11 bytes)" },
	{ "a short message byte by byte", "s", 1, "",
	    "read: short message (11 bytes)" },
	{ "an unused ID", "u", 0, "", "read: unexpected response ID" },
	{ "an unused ID behind a response", "2u", 0, "2",
	    "read: unexpected response ID" },
	{ "the same response again", "00", 0, "0", "read: unexpected response ID" },
	{ "another question", "m", 0, "", "read: response to another question" },
	{ "another question behind a response", "1m", 0, "1",
	    "read: response to another question" },
	{ "nothing but a header", "h", 0, "", "read: response to another question" },
	{ "a query", "q", 0, "", "read: response to another question" },
};

static size_t
put_scripted(uint8_t *out, char what)
{
	struct attempt *first = attempt_of(0);
	uint8_t message[64] = { 0 };
	size_t len = first->query->len;
	uint16_t id = first->id;

	memcpy(message, first->query->message, len);
	while (what == 'u' && is_in_use(id, QUERIES))
		id++;
	dns_set_id(message, id);
	message[2] |= what == 'q' ? 0 : 0x80;
	switch (what) {
	case 'L':
		return put_response(out, first, DNS_MESSAGE_MAX);
	case 'b':
		message[3] = DNS_REFUSED;
		message[5] = 0;
		return put_frame(out, message, DNS_HEADER_LEN);
	case 'h':
		message[5] = 0;
		return put_frame(out, message, DNS_HEADER_LEN);
	case 'e':
		return put_frame(out, message, 0);
	case 's':
		return put_frame(out, message, DNS_HEADER_LEN - 1);
	case 'm':
		message[DNS_HEADER_LEN + 1] = '0';
		return put_frame(out, message, len);
	case 'u':
	case 'q':
		return put_frame(out, message, len);
	default:
		return put_response(out, attempt_of((size_t)(what - '0')), len);
	}
}

/* Serves a script a record at a time, and receives after each the answers, then the failure. */
static void
receives_what_is_served(void **state)
{
	const struct script *row = *state;
	const char *next = row->answered;
	uint8_t *served = malloc((size_t)2 * FRAME_MAX);
	struct failure why = { .text = "" };
	struct arrival arrival;
	const char *what;
	size_t len = 0;
	size_t done = 0;
	int rc = 0;

	assert_non_null(served);
	add_queries(QUERIES);
	send_all();
	for (what = row->served; *what != '\0'; what++)
		len += put_scripted(served + len, *what);
	while (rc != -1 && done < len) {
		size_t record = row->record > 0 ? row->record : len;

		done += tls_peer_write(&f.peer, served + done,
		    record < len - done ? record : len - done);
		assert_int_equal(net_wait(stream_fd(f.stream), POLLIN,
		    deadline_in(TLS_SERVER_LIMIT_MS)), 0);
		while ((rc = connection_receive(f.c, &arrival, later, &why)) == 1) {
			assert_true(*next != '\0');
			assert_ptr_equal(arrival.attempt, attempt_of((size_t)(*next - '0')));
			assert_int_equal(arrival.attempt->state, ATTEMPT_FREE);
			assert_null(arrival.attempt->at);
			assert_true(arrival.since.at_us == sent_at.at_us);
			assert_int_equal(arrival.match,
			    *row->served == 'b' ? DNS_MATCH_BARE : DNS_MATCH);
			assert_int_equal(dns_id(arrival.message), arrival.attempt->id);
			next++;
		}
	}
	while (rc != -1 && (*next != '\0' || row->failure != NULL)) {
		rc = receive(&arrival, &why);
		next += rc == 1;
	}
	assert_int_equal(*next, '\0');
	assert_string_equal(why.text, row->failure != NULL ? row->failure : "");
	assert_int_equal(f.facts->answers, strlen(row->answered));
	assert_int_equal(f.facts->has_answered, *row->answered != '\0');
	if (row->failure == NULL)
		assert_nothing_comes();
	free(served);
}

/* The response to another question is not taken as an answer: the query is sent again elsewhere. */
static void
query_waits_again_after_a_response_to_another_question(void **state)
{
	uint8_t frame[128];
	struct attempt *a = attempt_of(0);
	struct arrival arrival;
	struct failure why;

	(void)state;
	add_queries(2);
	send_all();
	serve(frame, put_scripted(frame, 'm'), sizeof frame);
	assert_int_equal(receive(&arrival, &why), -1);
	assert_ptr_equal(f.facts->mismatched, a);
	assert_true(connection_has_unsent(f.c));
	assert_ptr_equal(a->at, f.c);
	assert_false(a->sent);
	assert_int_equal(a->state, ATTEMPT_OPEN);
	assert_int_equal(f.facts->unanswered, 1);
	connection_release(a);
	assert_false(connection_has_unsent(f.c));
	connection_release(attempt_of(1));
	assert_true(connection_is_idle(f.c));
}

/* What is counted and noted while queries are added, sent and answered. */
static void
counts_what_it_sends_and_receives(void **state)
{
	uint8_t frame[128];

	(void)state;
	assert_true(connection_is_idle(f.c));
	add_queries(2);
	assert_false(connection_is_idle(f.c));
	assert_int_equal(f.facts->taken, 2);
	assert_int_equal(f.facts->unanswered, 0);
	assert_true(f.facts->owed_since.at_us == DEADLINE_NEVER.at_us);
	send_all();
	assert_sent("01");
	assert_int_equal(f.facts->unanswered, 2);
	assert_true(f.facts->owed_since.at_us == sent_at.at_us);
	serve(frame, put_response(frame, attempt_of(1), QUERY_LEN), sizeof frame);
	assert_comes(attempt_of(1));
	assert_true(f.facts->heard.at_us == later.at_us);
	assert_true(f.facts->owed_since.at_us == later.at_us);
	serve(frame, put_response(frame, attempt_of(0), QUERY_LEN), sizeof frame);
	assert_comes(attempt_of(0));
	assert_true(f.facts->owed_since.at_us == DEADLINE_NEVER.at_us);
	assert_int_equal(f.facts->unanswered, 0);
	assert_true(connection_is_idle(f.c));
	/* Nothing waits, so nothing is written. */
	send_all();
	assert_sent("");
}

/* The server answers the canary, which was sent before anything that waits for its response. */
static void
answer_canary(void)
{
	uint8_t frame[128];
	struct arrival arrival;
	struct failure why;
	size_t len = put_response(frame, connection_next_sent(f.c, NULL), QUERY_LEN);

	serve(frame, len, sizeof frame);
	assert_int_equal(receive(&arrival, &why), 1);
	assert_true(arrival.is_canary);
	assert_null(arrival.attempt);
}

/* When a canary and two queries wait. */
static const struct canary_row {
	const char *name;
	bool begins; /* with a canary */
	bool has_answered;
	const char *sent;
	const char *sent_then; /* once the canary is answered */
} canary_rows[] = {
	{ "alone on a gated connection", true, false, "c", "01" },
	{ "with the others once it has answered", true, true, "c01", "" },
	{ "with the others on one that is not gated", false, false, "c01", "" },
};

static void
sends_the_canary_first(void **state)
{
	const struct canary_row *row = *state;
	uint8_t frame[128];

	if (row->begins)
		connection_begin_with_canary(f.c, &f.canary);
	assert_int_equal(f.facts->is_gated, row->begins);
	if (row->has_answered) {
		send_all();
		assert_sent("c");
		answer_canary();
	}
	add_queries(2);
	connection_send_canary(f.c, &f.canary);
	connection_send_canary(f.c, &f.queries[2]); /* one is open already */
	send_all();
	assert_sent(row->sent);
	assert_int_equal(f.facts->unanswered, strlen(row->sent) - 1);
	assert_int_equal(f.facts->taken, 2);
	assert_false(connection_takes_canary(f.c));
	answer_canary();
	assert_true(connection_takes_canary(f.c));
	assert_int_equal(f.facts->canaries, 1 + row->has_answered);
	assert_int_equal(f.facts->answers, 0);
	assert_true(f.facts->has_answered);
	send_all();
	assert_sent(row->sent_then);
	serve(frame, put_response(frame, attempt_of(0), QUERY_LEN), sizeof frame);
	assert_comes(attempt_of(0));
	assert_int_equal(f.facts->canaries, 0);
	assert_int_equal(f.facts->answers, 1);
}

static void
releases_a_canary_that_waits_or_was_sent(void **state)
{
	(void)state;
	connection_send_canary(f.c, &f.canary);
	connection_release_canary(f.c);
	assert_int_equal(f.facts->taken, 0);
	send_all();
	assert_sent("");
	connection_send_canary(f.c, &f.canary);
	send_all();
	assert_sent("c");
	connection_release_canary(f.c);
	connection_release_canary(f.c); /* none is open */
	assert_int_equal(f.facts->given_up, 1);
	assert_true(connection_is_idle(f.c));
}

static void
released_while_waiting_is_never_sent(void **state)
{
	(void)state;
	add_queries(3);
	connection_release(attempt_of(1));
	assert_null(attempt_of(1)->at);
	assert_int_equal(attempt_of(1)->state, ATTEMPT_FREE);
	assert_int_equal(f.facts->taken, 2);
	send_all();
	assert_sent("02");
	assert_int_equal(f.facts->given_up, 0);
}

/* The ID of a query that was given up stays in use until its response has come, once. */
static void
released_after_sending_keeps_its_id(void **state)
{
	uint8_t frame[128];
	size_t len;
	struct arrival arrival;
	struct failure why;

	(void)state;
	add_queries(2);
	send_all();
	len = put_response(frame, attempt_of(0), QUERY_LEN);
	connection_release(attempt_of(0));
	assert_null(attempt_of(0)->at);
	assert_int_equal(attempt_of(0)->state, ATTEMPT_FREE);
	assert_int_equal(f.facts->given_up, 1);
	assert_int_equal(f.facts->taken, 2);
	assert_int_equal(f.facts->unanswered, 1);
	serve(frame, len, sizeof frame);
	assert_int_equal(receive(&arrival, &why), 1);
	assert_null(arrival.attempt);
	assert_true(arrival.since.at_us == sent_at.at_us);
	assert_int_equal(f.facts->given_up, 0);
	assert_true(f.facts->owed_since.at_us == later.at_us);
	serve(frame, len, sizeof frame);
	assert_int_equal(receive(&arrival, &why), -1);
	assert_string_equal(why.text, "read: unexpected response ID");
}

/* Puts another connection to the server into the slot. */
static void
open_again(void)
{
	struct stream stream = { .kind = STREAM_CLOSED };

	assert_false(stream_is_open(f.stream));
	tls_peer_close(&f.peer);
	connect_to(&server, kind, &stream, &f.peer);
	connection_open(f.c, stream, &settings, opened_at);
}

/* Closing frees all IDs, those that were given up as well; what is left on it is taken off. */
static void
closing_frees_all_ids(void **state)
{
	struct attempt *a;
	size_t sent;
	size_t i;

	(void)state;
	add_queries(QUERIES_MAX);
	connection_send_canary(f.c, &f.canary);
	send_all();
	sent = f.facts->unanswered;
	assert_in_range(sent, ROOM, QUERIES_MAX - 1);
	for (i = 0; i < sent / 2; i++)
		connection_release(attempt_of(i));
	connection_close(f.c);
	for (; i < QUERIES_MAX; i++) {
		a = connection_take(f.c);
		assert_ptr_equal(a, attempt_of(i));
		assert_null(a->at);
		assert_int_equal(a->sent, i < sent);
	}
	assert_null(connection_take(f.c));
	open_again();
	add_queries(QUERIES_MAX);
	send_all();
	assert_int_equal(f.facts->unanswered, sent + 1);
}

/* Of an open connection, only what was not sent is taken elsewhere, and a canary goes with it. */
static void
takes_what_was_not_sent(void **state)
{
	(void)state;
	add_queries(2);
	send_all();
	assert_null(connection_take(f.c));
	connection_add(f.c, attempt_of(2), &f.queries[2], EDNS_NONE);
	connection_send_canary(f.c, &f.canary);
	assert_ptr_equal(connection_take(f.c), attempt_of(2));
	assert_null(attempt_of(2)->at);
	assert_null(connection_take(f.c));
	assert_true(connection_takes_canary(f.c));
	assert_false(connection_has_unsent(f.c));
	assert_ptr_equal(connection_next_sent(f.c, NULL), attempt_of(0));
	assert_ptr_equal(connection_next_sent(f.c, attempt_of(0)), attempt_of(1));
	assert_null(connection_next_sent(f.c, attempt_of(1)));
}

/* When no ID is free, what waits is sent as soon as a response frees one. */
static void
waits_for_a_free_id(void **state)
{
	uint8_t buf[4096];
	size_t sent;

	(void)state;
	add_queries(QUERIES_MAX);
	send_all();
	sent = f.facts->unanswered;
	assert_in_range(sent, ROOM, QUERIES_MAX - 1);
	assert_false(attempt_of(sent)->sent);
	assert_int_equal(read_sent(buf, sizeof buf), sent * FRAME_LEN);
	send_all();
	assert_int_equal(f.facts->unanswered, sent);
	serve(buf, put_response(buf, attempt_of(5), QUERY_LEN), sizeof buf);
	assert_comes(attempt_of(5));
	send_all();
	assert_true(attempt_of(sent)->sent);
	assert_int_equal(f.facts->unanswered, sent);
}

/* Queries of one size, all sent at once while the server reads only now and then. */
static const struct batch_row {
	const char *name;
	size_t count;
	size_t len;      /* of each */
	int send_buffer; /* of the socket: whether it takes a TLS record at once, or some */
} batch_rows[] = {
	{ "three queries fill the buffer but for less than a prefix", 6, 21843, 4096 },
	{ "two queries to a batch", 9, 30000, 4096 },
	{ "a batch for each query", 5, DNS_MESSAGE_MAX, 4096 },
	{ "a batch for each query, and there is room for a prefix", 5, 65533, 4096 },
	{ "many queries to a batch", 40, 5000, 4096 },
	{ "two queries to a batch, taken in parts", 9, 30000, 20000 },
	{ "a batch for each query, taken in parts", 5, DNS_MESSAGE_MAX, 20000 },
	{ "many queries to a batch, taken in parts", 40, 5000, 20000 },
};

static void
sends_batch_after_batch(void **state)
{
	const struct batch_row *row = *state;
	struct deadline by = deadline_in(TLS_SERVER_LIMIT_MS);
	size_t frame_len = FRAME_PREFIX_LEN + row->len;
	size_t total = row->count * frame_len;
	uint8_t *got = malloc(total);
	struct failure why;
	size_t len = 0;
	unsigned i;

	assert_non_null(got);
	assert_int_equal(setsockopt(stream_fd(f.stream), SOL_SOCKET, SO_SNDBUF,
	    &row->send_buffer, sizeof row->send_buffer), 0);
	for (i = 0; i < row->count; i++) {
		free(f.queries[i].message);
		make_query(&f.queries[i], i, row->len);
	}
	add_queries(row->count);
	send_all();
	/* The server has read nothing yet. */
	assert_true(connection_has_unsent(f.c));
	assert_true(stream_events(f.stream) == (EPOLLIN | EPOLLOUT));
	while (len < total) {
		assert_false(deadline_passed(by, deadline_now()));
		len += read_sent(got + len, total - len);
		assert_int_equal(connection_send(f.c, sent_at, &why), 0);
		/* It has stopped because the socket takes no more, or nothing is left. */
		assert_int_equal(stream_events(f.stream),
		    connection_has_unsent(f.c) ? EPOLLIN | EPOLLOUT : EPOLLIN);
	}
	assert_false(connection_has_unsent(f.c));
	for (i = 0; i < row->count; i++) {
		const uint8_t *message = got + i * frame_len + FRAME_PREFIX_LEN;
		size_t message_len = 0;

		assert_true(frame_is_whole(message - FRAME_PREFIX_LEN, frame_len, &message_len));
		assert_int_equal(message_len, row->len);
		assert_int_equal(dns_id(message), attempt_of(i)->id);
		assert_memory_equal(message + 2, f.queries[i].message + 2, row->len - 2);
	}
	free(got);
}

/* How the server ends the connection, after it has served as many bytes of two responses. */
static const struct end_row {
	const char *name;
	enum tls_end how;
	size_t served;
	size_t answered;
	const char *failure;
} end_rows[] = {
	{ "close_notify", TLS_CLOSE_NOTIFY, 0, 0, "read: connection closed by the server" },
	{ "close_notify after a response", TLS_CLOSE_NOTIFY, FRAME_LEN, 1,
	    "read: connection closed by the server" },
	{ "close_notify in a prefix", TLS_CLOSE_NOTIFY, FRAME_LEN + 1, 1,
	    "read: connection closed by the server" },
	{ "FIN", TLS_FIN, 0, 0, "read: connection closed by the server" },
	{ "FIN in a message", TLS_FIN, FRAME_LEN + 9, 1, "read: connection closed by the server" },
	{ "FIN after both responses", TLS_FIN, (size_t)2 * FRAME_LEN, 2,
	    "read: connection closed by the server" },
	{ "reset", TLS_RESET, 0, 0, "read: Connection reset by peer" },
	{ "reset in a message", TLS_RESET, FRAME_LEN + 9, 1, "read: Connection reset by peer" },
};

static void
receives_what_came_before_the_end(void **state)
{
	const struct end_row *row = *state;
	uint8_t served[128];
	struct arrival arrival;
	struct failure why;
	uint8_t sent[128];
	size_t i;

	add_queries(2);
	send_all();
	(void)read_sent(sent, sizeof sent); /* what nobody has read would make it a reset */
	i = put_response(served, attempt_of(0), QUERY_LEN);
	(void)put_response(served + i, attempt_of(1), QUERY_LEN);
	serve(served, row->served, sizeof served);
	tls_peer_end(&f.peer, row->how);
	f.peer_has_ended = true;
	for (i = 0; i < row->answered; i++)
		assert_comes(attempt_of(i));
	assert_int_equal(receive(&arrival, &why), -1);
	assert_string_equal(why.text, row->failure);
	assert_int_equal(f.facts->unanswered, 2 - row->answered);
	for (; i < 2; i++)
		connection_release(attempt_of(i));
}

static void
sending_on_a_connection_that_was_reset_fails(void **state)
{
	struct failure why;

	(void)state;
	tls_peer_end(&f.peer, TLS_RESET);
	f.peer_has_ended = true;
	assert_int_equal(net_wait(stream_fd(f.stream), POLLIN,
	    deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	add_queries(1);
	assert_int_equal(connection_send(f.c, sent_at, &why), -1);
	assert_string_equal(why.text, "write: Connection reset by peer");
	assert_true(attempt_of(0)->sent);
	connection_release(attempt_of(0));
}

/* A slot that is used again begins anew. */
static void
slot_begins_anew(void **state)
{
	uint8_t frame[128];

	(void)state;
	add_queries(2);
	send_all();
	(void)put_response(frame, attempt_of(0), QUERY_LEN);
	(void)put_response(frame + FRAME_LEN, attempt_of(1), QUERY_LEN);
	serve(frame, FRAME_LEN + 5, sizeof frame);
	assert_comes(attempt_of(0));
	connection_release(attempt_of(1));
	connection_close(f.c);
	open_again();
	assert_true(connection_is_idle(f.c));
	assert_int_equal(f.facts->taken + f.facts->answers, 0);
	assert_int_equal(f.facts->given_up + f.facts->unanswered, 0);
	assert_false(f.facts->has_answered);
	add_queries(1);
	send_all();
	assert_sent("0");
	serve(frame, put_response(frame, attempt_of(0), QUERY_LEN), 10);
	assert_comes(attempt_of(0));
}

static void
table_of_impossible_size_is_refused(void **state)
{
	(void)state;
	assert_null(connection_table_new((size_t)1 << 40, ROOM));
	connection_table_free(NULL);
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, open_connection, close_connection)

static int
run_all(enum stream_kind over)
{
	const struct fixtures with_connection = { open_connection, close_connection, start_server,
		stop_server };
	const struct CMUnitTest others[] = {
		TEST(query_waits_again_after_a_response_to_another_question),
		TEST(counts_what_it_sends_and_receives),
		TEST(releases_a_canary_that_waits_or_was_sent),
		TEST(released_while_waiting_is_never_sent),
		TEST(released_after_sending_keeps_its_id),
		TEST(closing_frees_all_ids),
		TEST(takes_what_was_not_sent),
		TEST(waits_for_a_free_id),
		TEST(sending_on_a_connection_that_was_reset_fails),
		TEST(slot_begins_anew),
		cmocka_unit_test(table_of_impossible_size_is_refused),
	};

	kind = over;
	print_message("%s\n", kind == STREAM_CLEARTEXT ? "In cleartext:" : "Over TLS:");
	return RUN_ROWS_WITH(with_connection, scripts, receives_what_is_served) +
	    RUN_ROWS_WITH(with_connection, canary_rows, sends_the_canary_first) +
	    RUN_ROWS_WITH(with_connection, batch_rows, sends_batch_after_batch) +
	    RUN_ROWS_WITH(with_connection, end_rows, receives_what_came_before_the_end) +
	    cmocka_run_group_tests_name("connection", others, start_server, stop_server);
}

int
main(void)
{
	return run_all(STREAM_TLS) + run_all(STREAM_CLEARTEXT);
}
