#include "transport/stream.h"

#include <sys/epoll.h>

#include "base/fail.h"
#include "tls_server.h"

static struct tls_server server;
static struct stream stream;
static struct tls_peer peer;

static int
start_server(void **state)
{
	(void)state;
	tls_server_start(&server, "DNS:dns.test,IP:127.0.0.1", 3600);
	return 0;
}

static int
stop_server(void **state)
{
	(void)state;
	tls_server_stop(&server);
	return 0;
}

/* Waits for the next bytes: their number, or -1 with the reason. */
static ssize_t
read_some(uint8_t *buf, size_t cap, struct failure *why)
{
	struct deadline by = deadline_in(TLS_SERVER_LIMIT_MS);
	ssize_t n;

	while ((n = stream_read(&stream, buf, cap, why)) == 0)
		assert_int_equal(net_wait(stream_fd(&stream), POLLIN, by), 0);
	return n;
}

static void
closed_stream_does_nothing(void **state)
{
	struct stream closed = { .kind = STREAM_CLOSED };
	struct failure why = { .text = "" };
	struct dot_facts facts;
	uint8_t byte = 0;

	(void)state;
	assert_false(stream_is_open(&closed));
	assert_int_equal(stream_stage(&closed), STREAM_CONNECTING);
	assert_int_equal(stream_fd(&closed), -1);
	assert_int_equal(stream_events(&closed), 0);
	assert_int_equal(stream_step(&closed, &why), -1);
	assert_int_equal(stream_fail_timeout(&closed, 10, &why), -1);
	assert_int_equal(stream_read(&closed, &byte, 1, &why), -1);
	assert_int_equal(stream_write(&closed, &byte, 1, &why), -1);
	assert_string_equal(why.text, "closed");
	assert_false(stream_should_retry_reduced(&closed));
	assert_null(stream_retry_text(&closed));
	assert_false(stream_has_expired(&closed));
	assert_false(stream_has_read_ahead(&closed));
	stream_describe(&closed, &facts);
	stream_close(&closed);
	assert_false(stream_is_open(&closed));
}

/* A stream from the first step to its end, as its server sees it. */
static void
goes_through_its_stages(void **state)
{
	struct dot_facts facts;
	struct failure why;
	uint8_t byte;
	size_t n;

	(void)state;
	assert_int_equal(stream_open_tls(&stream, server.server, NULL, 0, &why), 0);
	assert_true(stream_is_open(&stream));
	assert_int_equal(stream_stage(&stream), STREAM_CONNECTING);
	assert_true(stream_events(&stream) == EPOLLOUT);
	assert_int_equal(net_wait(stream_fd(&stream), POLLOUT, deadline_in(TLS_SERVER_LIMIT_MS)),
	    0);
	assert_int_equal(stream_step(&stream, &why), 0);
	assert_int_equal(stream_stage(&stream), STREAM_HANDSHAKING);
	assert_true(stream_events(&stream) == EPOLLIN);
	tls_server_accept(&server, &peer);
	assert_int_equal(tls_handshake(&stream, &peer, &why), 0);
	assert_int_equal(stream_stage(&stream), STREAM_READY);
	assert_true(stream_events(&stream) == EPOLLIN);
	assert_int_equal(stream_step(&stream, &why), 0);
	assert_false(stream_has_expired(&stream));
	assert_false(stream_should_retry_reduced(&stream));
	stream_describe(&stream, &facts);
	assert_string_equal(facts.version, "TLSv1.3");
	assert_string_equal(facts.names, "dns.test, 127.0.0.1");
	assert_int_equal(strlen(facts.pin), 44);
	assert_int_equal(strlen(facts.not_after), 10);
	assert_false(facts.resumed);
	assert_null(facts.retried);
	stream_close(&stream);
	assert_false(stream_is_open(&stream));
	/* It has said so. */
	assert_int_equal(net_wait(peer.fd, POLLIN, deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	assert_int_equal(SSL_read_ex(peer.ssl, &byte, 1, &n), 0);
	assert_int_equal(SSL_get_error(peer.ssl, 0), SSL_ERROR_ZERO_RETURN);
	tls_peer_close(&peer);
}

/* The same in cleartext: there is no handshake, and nothing is sent that was not written. */
static void
goes_through_its_stages_in_cleartext(void **state)
{
	struct dot_facts facts;
	struct failure why;
	uint8_t octets[8];

	(void)state;
	assert_int_equal(stream_open_cleartext(&stream, server.cleartext, &why), 0);
	assert_true(stream_is_open(&stream));
	assert_int_equal(stream_stage(&stream), STREAM_CONNECTING);
	assert_true(stream_events(&stream) == EPOLLOUT);
	assert_int_equal(net_wait(stream_fd(&stream), POLLOUT, deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	assert_int_equal(stream_step(&stream, &why), 0);
	assert_int_equal(stream_stage(&stream), STREAM_READY);
	assert_true(stream_events(&stream) == EPOLLIN);
	assert_int_equal(stream_step(&stream, &why), 0);
	assert_int_equal(stream_stage(&stream), STREAM_READY);
	assert_false(stream_has_expired(&stream));
	assert_false(stream_has_read_ahead(&stream));
	assert_false(stream_should_retry_reduced(&stream));
	assert_null(stream_retry_text(&stream));
	memset(&facts, 0xff, sizeof facts);
	stream_describe(&stream, &facts);
	assert_string_equal(facts.version, "none");
	assert_null(facts.cipher);
	assert_null(facts.retried);
	assert_false(facts.resumed);
	assert_string_equal(facts.names, "");
	assert_string_equal(facts.not_after, "");
	tls_server_accept_cleartext(&server, &peer);
	assert_int_equal(tls_peer_read(&peer, octets, sizeof octets), 0);
	assert_int_equal(stream_write(&stream, (const uint8_t *)"query", 5, &why), 5);
	assert_int_equal(net_wait(peer.fd, POLLIN, deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	assert_int_equal(tls_peer_read(&peer, octets, sizeof octets), 5);
	assert_memory_equal(octets, "query", 5);
	assert_int_equal(stream_read(&stream, octets, sizeof octets, &why), 0);
	stream_close(&stream);
	assert_false(stream_is_open(&stream));
	assert_int_equal(net_wait(peer.fd, POLLIN, deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	assert_int_equal(read(peer.fd, octets, sizeof octets), 0);
	tls_peer_close(&peer);
}

/* What a stream is when time is up. */
enum progress { CONNECTING, HANDSHAKING, RESPONDING, READY };

static const struct timeout_row {
	const char *name;
	enum stream_kind kind;
	enum progress progress;
	const char *text;
	const char *remedy; /* how it begins */
} timeout_rows[] = {
	{ "connecting", STREAM_TLS, CONNECTING, "connect: timed out after 1234 ms (timeouts.connect)",
	    "a firewall may drop TCP to port " },
	{ "handshaking with a silent server", STREAM_TLS, HANDSHAKING,
	    "handshake: timed out after 1234 ms (timeouts.handshake)", "there was no response: " },
	{ "handshaking with a slow server", STREAM_TLS, RESPONDING,
	    "handshake: timed out after 1234 ms (timeouts.handshake)", "the server responds, " },
	{ "ready", STREAM_TLS, READY, "query: no answer in 1234 ms", "" },
	{ "connecting in cleartext", STREAM_CLEARTEXT, CONNECTING,
	    "connect: timed out after 1234 ms (timeouts.connect)",
	    "a firewall may drop TCP to port " },
	{ "ready in cleartext", STREAM_CLEARTEXT, READY, "query: no answer in 1234 ms", "" },
};

static void
says_at_which_stage_time_was_up(void **state)
{
	const struct timeout_row *row = *state;
	struct failure why = { .text = "" };

	if (row->kind == STREAM_CLEARTEXT)
		assert_int_equal(stream_open_cleartext(&stream, server.cleartext, &why), 0);
	else
		assert_int_equal(stream_open_tls(&stream, server.server, NULL, 0, &why), 0);
	tls_server_accept(&server, &peer);
	if (row->kind == STREAM_CLEARTEXT && row->progress == READY)
		assert_int_equal(stream_step(&stream, &why), 0);
	if (row->progress == HANDSHAKING || row->progress == RESPONDING)
		assert_int_equal(stream_step(&stream, &why), 0);
	if (row->progress == RESPONDING) {
		/* A TLS record begins, and that is all. */
		assert_int_equal(write(peer.fd, "\x16", 1), 1);
		assert_int_equal(net_wait(stream_fd(&stream), POLLIN,
		    deadline_in(TLS_SERVER_LIMIT_MS)), 0);
		assert_int_equal(stream_step(&stream, &why), 0);
	}
	if (row->kind == STREAM_TLS && row->progress == READY)
		assert_int_equal(tls_handshake(&stream, &peer, &why), 0);
	assert_int_equal(stream_fail_timeout(&stream, 1234, &why), -1);
	assert_string_equal(why.text, row->text);
	assert_memory_equal(why.remedy, row->remedy, strlen(row->remedy));
	assert_int_equal(why.remedy[0] == '\0', row->remedy[0] == '\0');
	assert_false(stream_should_retry_reduced(&stream));
	stream_close(&stream);
	tls_peer_close(&peer);
}

static const struct end_row {
	const char *name;
	enum stream_kind kind;
	enum tls_end how;
	const char *read;  /* the words of the first read after the end */
	const char *write; /* and of a write instead; NULL: it may still succeed */
} end_rows[] = {
	{ "close_notify", STREAM_TLS, TLS_CLOSE_NOTIFY, "read: connection closed by the server",
	    NULL },
	{ "FIN", STREAM_TLS, TLS_FIN, "read: connection closed by the server", NULL },
	{ "reset", STREAM_TLS, TLS_RESET, "read: Connection reset by peer",
	    "write: Connection reset by peer" },
	{ "FIN in cleartext", STREAM_CLEARTEXT, TLS_FIN, "read: connection closed by the server",
	    NULL },
	{ "reset in cleartext", STREAM_CLEARTEXT, TLS_RESET, "read: Connection reset by peer",
	    "write: Connection reset by peer" },
};

static void
says_how_the_server_has_ended_it(void **state)
{
	const struct end_row *row = *state;
	struct failure why;
	uint8_t byte = 0;

	connect_to(&server, row->kind, &stream, &peer);
	tls_peer_end(&peer, row->how);
	assert_int_equal(read_some(&byte, 1, &why), -1);
	assert_string_equal(why.text, row->read);
	assert_true(stream_is_open(&stream));
	stream_close(&stream);
	assert_false(stream_is_open(&stream));
	if (row->write == NULL)
		return;
	connect_to(&server, row->kind, &stream, &peer);
	tls_peer_end(&peer, row->how);
	assert_int_equal(net_wait(stream_fd(&stream), POLLIN, deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	assert_int_equal(stream_write(&stream, &byte, 1, &why), -1);
	assert_string_equal(why.text, row->write);
	stream_close(&stream);
}

/* Servers that must be refused, or that refuse. */
static const struct refused_row {
	const char *name;
	const char *names; /* in its certificate */
	long valid_s;
	const char *raw;   /* said instead of a handshake; NULL: nothing is */
	bool namesake_ca;  /* it is signed by another CA of the same name */
	const char *text; /* how it begins */
} refused_rows[] = {
	{ "another name", "DNS:other.test", 3600, NULL, false,
	    "handshake: certificate names other.test, not dns.test" },
	{ "the name of a parent", "DNS:test", 3600, NULL, false,
	    "handshake: certificate names test, not dns.test" },
	{ "an address only", "IP:127.0.0.1", 3600, NULL, false,
	    "handshake: certificate names 127.0.0.1, not dns.test" },
	{ "an expired certificate", "DNS:dns.test", -60, NULL, false,
	    "handshake: certificate expired " },
	{ "an issuer that has the name of the trusted one, but not its key", "DNS:dns.test", 3600,
	    NULL, true, "handshake: certificate: certificate signature failure" },
	{ "no TLS", "DNS:dns.test", 3600, "220 mail.test ESMTP\r\n", false,
	    "handshake: wrong version number" },
};

static void
refuses_the_server(void **state)
{
	const struct refused_row *row = *state;
	struct tls_server refused;
	struct tls_server other;
	struct failure why;

	tls_server_start(&refused, row->names, row->valid_s);
	tls_server_start(&other, "DNS:dns.test", 3600);
	assert_int_equal(stream_open_tls(&stream, refused.server, NULL, 0, &why), 0);
	tls_server_accept(&refused, &peer);
	if (row->namesake_ca) {
		SSL_free(peer.ssl);
		peer.ssl = SSL_new(other.ctx);
		assert_int_equal(SSL_set_fd(peer.ssl, peer.fd), 1);
		SSL_set_accept_state(peer.ssl);
	}
	if (row->raw != NULL)
		assert_true(write(peer.fd, row->raw, strlen(row->raw)) > 0);
	assert_int_equal(tls_handshake(&stream, &peer, &why), -1);
	assert_memory_equal(why.text, row->text, strlen(row->text));
	assert_int_not_equal(stream_stage(&stream), STREAM_READY);
	assert_false(stream_should_retry_reduced(&stream));
	stream_close(&stream);
	tls_peer_close(&peer);
	tls_server_stop(&other);
	tls_server_stop(&refused);
}

static const struct kind_row {
	const char *name;
	enum stream_kind kind;
} kind_rows[] = {
	{ "over TLS", STREAM_TLS },
	{ "in cleartext", STREAM_CLEARTEXT },
};

static void
says_that_nobody_listens(void **state)
{
	const struct kind_row *row = *state;
	struct tls_server gone;
	struct failure why = { .text = "" };
	int rc;

	tls_server_start(&gone, "DNS:dns.test", 3600);
	(void)close(gone.listener);
	rc = row->kind == STREAM_TLS ? stream_open_tls(&stream, gone.server, NULL, 0, &why) :
				       stream_open_cleartext(&stream, gone.cleartext, &why);
	if (rc == 0) {
		assert_int_equal(net_wait(stream_fd(&stream), POLLOUT,
		    deadline_in(TLS_SERVER_LIMIT_MS)), 0);
		assert_int_equal(stream_step(&stream, &why), -1);
		stream_close(&stream);
	}
	assert_string_equal(why.text, "connect: Connection refused");
	gone.listener = -1;
	tls_server_stop(&gone);
}

/* No socket can be had for an address of no family, or for a link-local one without interface. */
static void
that_cannot_be_opened_stays_closed(void **state)
{
	struct dot_identity nowhere = { .hostname = "dns.test" };
	struct cleartext_server *c;
	struct address lost;
	struct dot_server *s = dot_server_new(server.trust, &nowhere, false, NULL);
	struct stream closed = { .kind = STREAM_CLOSED };
	struct failure why;

	(void)state;
	assert_non_null(s);
	assert_int_equal(stream_open_tls(&closed, s, NULL, 0, &why), -1);
	assert_false(stream_is_open(&closed));
	dot_server_free(s);
	assert_int_equal(address_parse("fe80::1", 53, &lost), 0);
	assert_non_null(c = cleartext_server_new(&lost, &why));
	assert_int_equal(stream_open_cleartext(&closed, c, &why), -1);
	assert_false(stream_is_open(&closed));
	cleartext_server_free(c);
}

static int
refuse_protocols(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in,
    unsigned in_len, void *arg)
{
	(void)ssl;
	(void)out;
	(void)in;
	(void)in_len;
	(void)arg;
	*len = 0;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int
choose_first_protocol(SSL *ssl, const unsigned char **out, unsigned char *len,
    const unsigned char *in, unsigned in_len, void *arg)
{
	(void)ssl;
	(void)arg;
	assert_true(in_len > 1);
	*out = in + 1;
	*len = in[0];
	return SSL_TLSEXT_ERR_OK;
}

/* The next stream to a server that refuses ALPN does not offer it. */
static void
may_try_again_without_alpn(void **state)
{
	struct tls_server strict;
	struct failure why;

	(void)state;
	tls_server_start(&strict, "DNS:dns.test", 3600);
	SSL_CTX_set_alpn_select_cb(strict.ctx, refuse_protocols, NULL);
	assert_int_equal(stream_open_tls(&stream, strict.server, NULL, 0, &why), 0);
	tls_server_accept(&strict, &peer);
	assert_int_equal(tls_handshake(&stream, &peer, &why), -1);
	assert_true(stream_should_retry_reduced(&stream));
	assert_string_equal(stream_retry_text(&stream), "without ALPN (refused by server)");
	stream_close(&stream);
	tls_peer_close(&peer);
	tls_connect(&strict, &stream, &peer);
	assert_false(stream_should_retry_reduced(&stream));
	stream_close(&stream);
	tls_peer_close(&peer);
	tls_server_stop(&strict);
}

static void
agrees_on_dot_by_alpn(void **state)
{
	struct tls_server chooser;
	const unsigned char *protocol;
	unsigned len;

	(void)state;
	tls_server_start(&chooser, "DNS:dns.test", 3600);
	SSL_CTX_set_alpn_select_cb(chooser.ctx, choose_first_protocol, NULL);
	tls_connect(&chooser, &stream, &peer);
	SSL_get0_alpn_selected(peer.ssl, &protocol, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(protocol, "dot", 3);
	stream_close(&stream);
	tls_peer_close(&peer);
	tls_server_stop(&chooser);
}

static const struct version_row {
	const char *name;
	int version;
} version_rows[] = {
	{ "TLSv1.2", TLS1_2_VERSION },
	{ "TLSv1.3", TLS1_3_VERSION },
};

/* A session that the server has given is resumed by the next stream. */
static void
resumes_a_session(void **state)
{
	const struct version_row *row = *state;
	struct tls_server s;
	struct dot_facts facts;
	struct failure why;
	uint8_t session[4096];
	uint8_t byte;
	size_t len;
	int ms = 0;

	tls_server_start(&s, "DNS:dns.test", 3600);
	assert_int_equal(SSL_CTX_set_max_proto_version(s.ctx, row->version), 1);
	tls_connect(&s, &stream, &peer);
	stream_describe(&stream, &facts);
	assert_string_equal(facts.version, row->name);
	assert_false(facts.resumed);
	/* Tickets come before the first bytes. */
	assert_int_equal(tls_peer_write(&peer, (const uint8_t *)"x", 1), 1);
	assert_int_equal(read_some(&byte, 1, &why), 1);
	len = dot_next_session(s.server, session, sizeof session, &ms);
	assert_true(len > 0);
	assert_true(ms > 0);
	stream_close(&stream);
	tls_peer_close(&peer);
	assert_int_equal(stream_open_tls(&stream, s.server, session, len, &why), 0);
	tls_server_accept(&s, &peer);
	assert_int_equal(tls_handshake(&stream, &peer, &why), 0);
	stream_describe(&stream, &facts);
	assert_true(facts.resumed);
	assert_string_equal(facts.names, "dns.test");
	stream_close(&stream);
	tls_peer_close(&peer);
	tls_server_stop(&s);
}

/* What fits not into the buffer of a read is read ahead, and no wait tells of it. */
static void
tells_of_what_it_has_read_ahead(void **state)
{
	uint8_t *buf = malloc(5);
	struct failure why;

	(void)state;
	assert_non_null(buf);
	tls_connect(&server, &stream, &peer);
	assert_false(stream_has_read_ahead(&stream));
	assert_int_equal(stream_read(&stream, buf, 5, &why), 0);
	assert_int_equal(tls_peer_write(&peer, (const uint8_t *)"12345678", 8), 8);
	assert_int_equal(tls_peer_write(&peer, (const uint8_t *)"9", 1), 1);
	assert_int_equal(read_some(buf, 5, &why), 5);
	assert_memory_equal(buf, "12345", 5);
	assert_true(stream_has_read_ahead(&stream));
	assert_int_equal(stream_read(&stream, buf, 5, &why), 3);
	assert_memory_equal(buf, "678", 3);
	assert_int_equal(read_some(buf, 5, &why), 1);
	assert_int_equal(buf[0], '9');
	assert_false(stream_has_read_ahead(&stream));
	assert_int_equal(stream_read(&stream, buf, 5, &why), 0);
	free(buf);
	stream_close(&stream);
	tls_peer_close(&peer);
}

/* A server that reads nothing blocks it, and what it could not take is taken later, once. */
static void
waits_for_a_server_that_does_not_read(void **state)
{
	enum { LEN = 400000 };
	const struct kind_row *row = *state;
	struct deadline by = deadline_in(TLS_SERVER_LIMIT_MS);
	uint8_t *sent = malloc(LEN);
	uint8_t *got = malloc(LEN);
	size_t done = 0;
	size_t read = 0;
	struct failure why;
	ssize_t n;
	size_t i;

	assert_non_null(sent);
	assert_non_null(got);
	for (i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 + i / 256);
	connect_to(&server, row->kind, &stream, &peer);
	while ((n = stream_write(&stream, sent + done, LEN - done, &why)) > 0)
		done += (size_t)n;
	assert_int_equal(n, 0);
	assert_true(done < LEN);
	assert_true(stream_events(&stream) == (EPOLLIN | EPOLLOUT));
	while (read < LEN) {
		assert_false(deadline_passed(by, deadline_now()));
		read += tls_peer_read(&peer, got + read, LEN - read);
		n = done < LEN ? stream_write(&stream, sent + done, LEN - done, &why) : 0;
		assert_int_not_equal(n, -1);
		done += (size_t)n;
	}
	assert_memory_equal(got, sent, LEN);
	assert_true(stream_events(&stream) == EPOLLIN);
	stream_close(&stream);
	tls_peer_close(&peer);
	free(sent);
	free(got);
}

/* In cleartext: as many octets as there are, at most those that fit, in their order. */
static void
reads_what_a_server_sends_by_and_by(void **state)
{
	enum { LEN = 400000 };
	struct deadline by = deadline_in(TLS_SERVER_LIMIT_MS);
	uint8_t *sent = malloc(LEN);
	uint8_t *got = malloc(LEN);
	size_t done = 0;
	size_t read = 0;
	struct failure why;
	ssize_t n;
	size_t i;

	(void)state;
	assert_non_null(sent);
	assert_non_null(got);
	for (i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 11 + i / 256);
	cleartext_connect(&server, &stream, &peer);
	while (read < LEN) {
		assert_false(deadline_passed(by, deadline_now()));
		done += tls_peer_write(&peer, sent + done, LEN - done < 7000 ? LEN - done : 7000);
		n = stream_read(&stream, got + read, LEN - read < 1000 ? LEN - read : 1000, &why);
		assert_in_range(n, 0, 1000);
		read += (size_t)n;
	}
	assert_memory_equal(got, sent, LEN);
	assert_int_equal(stream_read(&stream, got, LEN, &why), 0);
	stream_close(&stream);
	tls_peer_close(&peer);
	free(sent);
	free(got);
}

int
main(void)
{
	const struct fixtures with_server = { NULL, NULL, start_server, stop_server };
	const struct CMUnitTest others[] = {
		cmocka_unit_test(closed_stream_does_nothing),
		cmocka_unit_test(goes_through_its_stages),
		cmocka_unit_test(goes_through_its_stages_in_cleartext),
		cmocka_unit_test(that_cannot_be_opened_stays_closed),
		cmocka_unit_test(may_try_again_without_alpn),
		cmocka_unit_test(agrees_on_dot_by_alpn),
		cmocka_unit_test(tells_of_what_it_has_read_ahead),
		cmocka_unit_test(reads_what_a_server_sends_by_and_by),
	};

	return cmocka_run_group_tests_name("stream", others, start_server, stop_server) +
	    RUN_ROWS_WITH(with_server, timeout_rows, says_at_which_stage_time_was_up) +
	    RUN_ROWS_WITH(with_server, kind_rows, says_that_nobody_listens) +
	    RUN_ROWS_WITH(with_server, kind_rows, waits_for_a_server_that_does_not_read) +
	    RUN_ROWS_WITH(with_server, end_rows, says_how_the_server_has_ended_it) +
	    RUN_ROWS_WITH(with_server, refused_rows, refuses_the_server) +
	    RUN_ROWS_WITH(with_server, version_rows, resumes_a_session);
}
