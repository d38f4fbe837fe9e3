#ifndef DOTPROXY_TLS_SERVER_H
#define DOTPROXY_TLS_SERVER_H

#include <sys/socket.h>

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/address.h"
#include "base/deadline.h"
#include "transport/net.h"
#include "transport/stream.h"
#include "unit.h"

/*
 * A TLS server on a loopback socket, in the process of the test, and the client's view of it: a
 * trust store with the CA that has signed its certificate, and its identity; or, for those that
 * connect in cleartext, its address. All sockets are non-blocking; client and server take their
 * steps in turns.
 */
enum { TLS_SERVER_LIMIT_MS = 20000, TLS_SERVER_BUFFER = 4096 };

struct tls_server {
	SSL_CTX *ctx;
	int listener;
	char ca_file[32];
	struct dot_trust *trust;
	struct dot_server *server;
	struct cleartext_server *cleartext; /* the same address */
};

/* The server's side of one connection. */
struct tls_peer {
	SSL *ssl; /* NULL: in cleartext */
	int fd;
};

static inline void
tls_add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* A certificate for KEY, valid from a day ago until VALID_S seconds from now, not signed yet. */
static inline X509 *
tls_new_certificate(EVP_PKEY *key, const char *common_name, long serial, long valid_s)
{
	X509 *cert = X509_new();
	X509_NAME *name;

	assert_non_null(cert);
	name = X509_get_subject_name(cert);
	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -86400));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), valid_s));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)common_name, -1, -1, 0), 1);
	return cert;
}

/* Makes a CA, writes its certificate to the CA file, and gives the server one that it signs. */
static inline void
tls_make_certificates(struct tls_server *s, const char *names, long valid_s)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256");
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *ca = tls_new_certificate(ca_key, "unit test CA", 1, 86400);
	X509 *cert = tls_new_certificate(key, "unit test server", 2, valid_s);
	FILE *file;

	tls_add_extension(ca, NID_basic_constraints, "critical,CA:TRUE");
	assert_int_equal(X509_set_issuer_name(ca, X509_get_subject_name(ca)), 1);
	assert_true(X509_sign(ca, ca_key, EVP_sha256()) > 0);
	tls_add_extension(cert, NID_subject_alt_name, names);
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(ca)), 1);
	assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(s->ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, key), 1);
	(void)strcpy(s->ca_file, "/tmp/unit-ca-XXXXXX");
	file = fdopen(mkstemp(s->ca_file), "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, ca), 1);
	assert_int_equal(fclose(file), 0);
	X509_free(ca);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

/*
 * Starts a server whose certificate has the NAMES, as OpenSSL writes a subjectAltName, and is
 * valid for VALID_S seconds. Clients verify it as dns.test. Its receive buffers are small, so that
 * a client's writes soon block.
 */
static inline void
tls_server_start(struct tls_server *s, const char *names, long valid_s)
{
	struct dot_identity identity = { .hostname = "dns.test" };
	socklen_t len = sizeof identity.address.in;
	int size = TLS_SERVER_BUFFER;
	struct failure why;

	(void)signal(SIGPIPE, SIG_IGN);
	memset(s, 0, sizeof *s);
	s->ctx = SSL_CTX_new(TLS_server_method());
	assert_non_null(s->ctx);
	(void)SSL_CTX_set_mode(s->ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_session_id_context(s->ctx, (const unsigned char *)"unit", 4);
	tls_make_certificates(s, names, valid_s);
	assert_int_equal(address_parse("127.0.0.1", 1, &identity.address), 0);
	address_set_port(&identity.address, 0);
	s->listener = net_listen(&identity.address, &why);
	assert_int_not_equal(s->listener, -1);
	(void)setsockopt(s->listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	assert_int_equal(getsockname(s->listener, &identity.address.sa, &len), 0);
	s->trust = dot_trust_new(s->ca_file, NULL, &why);
	assert_non_null(s->trust);
	s->server = dot_server_new(s->trust, &identity, false, &why);
	assert_non_null(s->server);
	s->cleartext = cleartext_server_new(&identity.address, &why);
	assert_non_null(s->cleartext);
}

static inline void
tls_server_stop(struct tls_server *s)
{
	cleartext_server_free(s->cleartext);
	dot_server_free(s->server);
	dot_trust_free(s->trust);
	SSL_CTX_free(s->ctx);
	(void)close(s->listener);
	(void)unlink(s->ca_file);
}

/* Accepts the connection that a client has just opened, in cleartext. */
static inline void
tls_server_accept_cleartext(struct tls_server *s, struct tls_peer *peer)
{
	struct address from;

	assert_int_equal(net_wait(s->listener, POLLIN, deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	peer->ssl = NULL;
	peer->fd = net_accept(s->listener, &from);
	assert_int_not_equal(peer->fd, -1);
}

/* Accepts the connection that a client has just opened. */
static inline void
tls_server_accept(struct tls_server *s, struct tls_peer *peer)
{
	tls_server_accept_cleartext(s, peer);
	peer->ssl = SSL_new(s->ctx);
	assert_non_null(peer->ssl);
	assert_int_equal(SSL_set_fd(peer->ssl, peer->fd), 1);
	SSL_set_accept_state(peer->ssl);
}

static inline void
tls_peer_close(struct tls_peer *peer)
{
	SSL_free(peer->ssl);
	(void)close(peer->fd);
	ERR_clear_error();
}

/* The ways in which a server ends a connection. */
enum tls_end { TLS_CLOSE_NOTIFY, TLS_FIN, TLS_RESET };

static inline void
tls_peer_end(struct tls_peer *peer, enum tls_end how)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (how == TLS_CLOSE_NOTIFY && peer->ssl != NULL)
		(void)SSL_shutdown(peer->ssl);
	if (how == TLS_RESET)
		(void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	tls_peer_close(peer);
}

/* Bytes that the client has sent, up to CAP; 0 when there are none now. */
static inline size_t
tls_peer_read(struct tls_peer *peer, uint8_t *buf, size_t cap)
{
	size_t n = 0;
	ssize_t got;

	if (peer->ssl == NULL) {
		got = read(peer->fd, buf, cap);
		return got > 0 ? (size_t)got : 0;
	}
	if (SSL_read_ex(peer->ssl, buf, cap, &n) != 1) {
		ERR_clear_error();
		return 0;
	}
	return n;
}

/* Sends as one record, or what one takes; returns the number of bytes, 0 when none can be now. */
static inline size_t
tls_peer_write(struct tls_peer *peer, const uint8_t *buf, size_t len)
{
	size_t n = 0;
	ssize_t put;

	if (peer->ssl == NULL) {
		put = write(peer->fd, buf, len);
		return put > 0 ? (size_t)put : 0;
	}
	if (SSL_write_ex(peer->ssl, buf, len, &n) != 1) {
		ERR_clear_error();
		return 0;
	}
	return n;
}

/* Steps both sides until the client is ready: 0; or -1 with the reason for which it has failed. */
static inline int
tls_handshake(struct stream *stream, struct tls_peer *peer, struct failure *why)
{
	struct deadline by = deadline_in(TLS_SERVER_LIMIT_MS);
	int accepted = 0;

	while (stream_stage(stream) != STREAM_READY || accepted != 1) {
		struct pollfd fds[] = { { stream_fd(stream), POLLIN, 0 }, { peer->fd, POLLIN, 0 } };

		assert_false(deadline_passed(by, deadline_now()));
		if (stream_step(stream, why) == -1)
			return -1;
		if (accepted != 1)
			accepted = SSL_accept(peer->ssl);
		ERR_clear_error();
		(void)poll(fds, LENGTH(fds), 1);
	}
	return 0;
}

/* Opens a stream to the server, up to the end of the handshake. */
static inline void
tls_connect(struct tls_server *s, struct stream *stream, struct tls_peer *peer)
{
	int size = TLS_SERVER_BUFFER;
	struct failure why;

	assert_int_equal(stream_open_tls(stream, s->server, NULL, 0, &why), 0);
	(void)setsockopt(stream_fd(stream), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	tls_server_accept(s, peer);
	assert_int_equal(tls_handshake(stream, peer, &why), 0);
}

/* The same in cleartext. */
static inline void
cleartext_connect(struct tls_server *s, struct stream *stream, struct tls_peer *peer)
{
	int size = TLS_SERVER_BUFFER;
	struct failure why;

	assert_int_equal(stream_open_cleartext(stream, s->cleartext, &why), 0);
	(void)setsockopt(stream_fd(stream), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	tls_server_accept_cleartext(s, peer);
	assert_int_equal(net_wait(stream_fd(stream), POLLOUT, deadline_in(TLS_SERVER_LIMIT_MS)), 0);
	assert_int_equal(stream_step(stream, &why), 0);
	assert_int_equal(stream_stage(stream), STREAM_READY);
}

/* Opens a stream of one kind or the other. */
static inline void
connect_to(struct tls_server *s, enum stream_kind kind, struct stream *stream, struct tls_peer *peer)
{
	if (kind == STREAM_CLEARTEXT)
		cleartext_connect(s, stream, peer);
	else
		tls_connect(s, stream, peer);
}

#endif
