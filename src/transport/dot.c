#include "transport/dot.h"

#include <sys/epoll.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "dot_internal.h"
#include "transport/net.h"

enum {
	/*
	 * A larger ClientHello may need a second TCP segment, which some firewalls and servers
	 * drop. This fits into the minimum MTU of IPv6.
	 */
	SMALL_HELLO_MAX = 1220,

	/* How long the ClientHello stays small after a large one was lost. */
	SMALL_HELLO_MS = 3600000
};

/* A server that refuses ALPN does so with an alert; later connections omit ALPN. */
static void
note_alpn(struct dot *d, unsigned long code)
{
	if (ERR_GET_REASON(code) != SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL || d->server->no_alpn)
		return;
	d->server->no_alpn = true;
	d->retry = "without ALPN (refused by server)";
}

/*
 * Called when a handshake has timed out. If the server sent nothing and the ClientHello was large,
 * its size may be the reason, so the next one is small.
 */
static void
note_lost_hello(struct dot *d)
{
	if (d->small_hello || BIO_number_read(SSL_get_rbio(d->ssl)) > 0 ||
	    BIO_number_written(SSL_get_wbio(d->ssl)) <= SMALL_HELLO_MAX)
		return;
	d->server->small_hello_next = true;
	d->retry = "with a smaller ClientHello, since the large one got no response";
}

/* A small ClientHello has worked after a large one was lost. */
static void
note_small_hello(struct dot *d)
{
	struct dot_server *s = d->server;

	if (!d->small_hello || !s->small_hello_next)
		return;
	s->small_hello_next = false;
	s->small_hello_until = deadline_in(SMALL_HELLO_MS);
	d->retried = "with a smaller ClientHello, since a large one got no response";
}

/*
 * Sets the reason why an OpenSSL call returned RC, and clears the error queue, which nothing else
 * reads.
 */
static int
fail_ssl(struct failure *why, struct dot *d, int rc, const char *step)
{
	int saved = errno;
	int kind = SSL_get_error(d->ssl, rc);
	unsigned long code = ERR_get_error(); /* the oldest is the cause */
	const char *reason = ERR_reason_error_string(code);

	ERR_clear_error();
	d->broken = true;
	if (d->verdict.text[0] != '\0') {
		if (why != NULL)
			*why = d->verdict;
		return fail_in(why, "%s", step);
	}
	if (code != 0) {
		note_alpn(d, code);
		(void)fail_with(why, "%s: %s", step, reason != NULL ? reason : "TLS error");
		if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
			fail_remedy(why, "the port is not a TLS port: check `address'");
		return -1;
	}
	/* Without this, OpenSSL would not resume the session after an unclean end. */
	SSL_set_shutdown(d->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	if (kind == SSL_ERROR_SYSCALL && saved != 0)
		return fail_with(why, "%s: %s", step, strerror(saved));
	return fail_with(why, "%s: connection closed by the server", step);
}

int
dot_fail_setup(struct failure *why, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_get_error());

	ERR_clear_error();
	return fail_with(why, "%s: %s", what, reason != NULL ? reason : "out of memory");
}

struct dot_server *
dot_server_new(const struct dot_trust *trust, const struct dot_identity *identity, bool fast_open,
    struct failure *why)
{
	struct dot_server *s = calloc(1, sizeof *s);

	if (s == NULL) {
		(void)fail_errno(why, "upstream");
		return NULL;
	}
	s->trust = trust;
	s->identity = *identity;
	s->fast_open = fast_open;
	return s;
}

void
dot_server_free(struct dot_server *s)
{
	if (s == NULL)
		return;
	while (s->session_count > 0)
		SSL_SESSION_free(s->sessions[--s->session_count].session);
	free(s);
}

/* The last certificate of the chain is the trust anchor, which needs no CRL. */
static bool
lacks_only_anchor_crl(X509_STORE_CTX *store)
{
	return X509_STORE_CTX_get_error(store) == X509_V_ERR_UNABLE_TO_GET_CRL &&
	    X509_STORE_CTX_get_error_depth(store) ==
	    sk_X509_num(X509_STORE_CTX_get0_chain(store)) - 1;
}

/*
 * Called by OpenSSL for each certificate of the chain. With `pins_only' its result is ignored: the
 * key is checked after the handshake, before anything is sent.
 */
static int
on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct dot *d = SSL_get_app_data(ssl);

	if (d->server->identity.pins_only || (!ok && lacks_only_anchor_crl(store))) {
		X509_STORE_CTX_set_error(store, X509_V_OK);
		return 1;
	}
	if (!ok && d->verdict.text[0] == '\0')
		dot_describe_verify_error(&d->verdict, d->server, store);
	return ok;
}

/* Sets the name that OpenSSL requires in the certificate. */
static int
set_identity(SSL *ssl, const struct dot_server *s)
{
	char text[ADDRESS_TEXT_MAX];
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(param, DOT_NAME_FLAGS);
	/* SNI must not be an address (RFC 6066 3). */
	if (s->identity.hostname == NULL) {
		char *zone = strchr(address_format_host(&s->identity.address, text), '%');

		if (zone != NULL)
			*zone = '\0';
		return X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1 ? 0 : -1;
	}
	return X509_VERIFY_PARAM_set1_host(param, s->identity.hostname, 0) == 1 &&
		SSL_set_tlsext_host_name(ssl, s->identity.hostname) == 1 ?
	    0 :
	    -1;
}

/* RFC 7301; `dot' is registered with IANA. */
static void
offer_protocol(SSL *ssl)
{
	static const unsigned char dot[] = { 3, 'd', 'o', 't' };

	(void)SSL_set_alpn_protos(ssl, dot, sizeof dot);
}

/* No post-quantum key share, which newer versions of OpenSSL send by default. */
static void
offer_small_groups(SSL *ssl)
{
	(void)SSL_set1_groups_list(ssl, "X25519:P-256:P-384:P-521");
	ERR_clear_error();
}

struct dot *
dot_open(struct dot_server *s, const uint8_t *session, size_t session_len, struct failure *why)
{
	struct dot *d = calloc(1, sizeof *d);

	if (d == NULL) {
		(void)fail_errno(why, "connect");
		return NULL;
	}
	d->server = s;
	d->stage = DOT_CONNECTING;
	d->small_hello = s->small_hello_next ||
	    !deadline_passed(s->small_hello_until, deadline_now());
	if ((d->fd = net_connect(&s->identity.address, s->fast_open, why)) == -1) {
		free(d);
		return NULL;
	}
	ERR_clear_error();
	if ((d->ssl = SSL_new(s->trust->ctx)) == NULL || SSL_set_fd(d->ssl, d->fd) != 1 ||
	    set_identity(d->ssl, s) == -1) {
		(void)dot_fail_setup(why, "handshake");
		d->broken = true;
		dot_close(d);
		return NULL;
	}
	(void)SSL_set_app_data(d->ssl, d);
	SSL_set_verify(d->ssl, SSL_VERIFY_PEER, on_verify);
	SSL_set_connect_state(d->ssl);
	if (!s->no_alpn)
		offer_protocol(d->ssl);
	if (d->small_hello)
		offer_small_groups(d->ssl);
	if (session_len > 0)
		dot_session_offer(d, session, session_len);
	return d;
}

void
dot_close(struct dot *d)
{
	if (d == NULL)
		return;
	/* The small ClientHello failed as well: the next one is normal again. */
	if (d->small_hello && d->stage != DOT_READY)
		d->server->small_hello_next = false;
	if (d->ssl != NULL) {
		if (d->stage == DOT_READY && !d->broken) {
			ERR_clear_error();
			(void)SSL_shutdown(d->ssl);
			ERR_clear_error();
		}
		SSL_free(d->ssl);
	}
	(void)close(d->fd);
	free(d);
}

enum dot_stage
dot_stage(const struct dot *d)
{
	return d->stage;
}

int
dot_fd(const struct dot *d)
{
	return d->fd;
}

uint32_t
dot_events(const struct dot *d)
{
	switch (d->stage) {
	case DOT_CONNECTING:
		return EPOLLOUT;
	case DOT_HANDSHAKING:
		return SSL_want_write(d->ssl) ? EPOLLOUT : EPOLLIN;
	default:
		return d->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
	}
}

static bool
would_block(const struct dot *d, int rc)
{
	int error = SSL_get_error(d->ssl, rc);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* The checks that OpenSSL does not make. */
static int
finish_handshake(struct dot *d, struct failure *why)
{
	const unsigned char *protocol;
	unsigned len;

	if (!dot_certificate_is_pinned(SSL_get0_peer_certificate(d->ssl), &d->server->identity,
		why)) {
		d->broken = true;
		return fail_in(why, "handshake");
	}
	/* A server may ignore ALPN, but must not select another protocol (RFC 9325 3.7). */
	SSL_get0_alpn_selected(d->ssl, &protocol, &len);
	if (len > 0 && (len != 3 || memcmp(protocol, "dot", 3) != 0)) {
		d->broken = true;
		return fail_with(why, "handshake: server selected unexpected ALPN protocol");
	}
	(void)dot_validity(d);
	dot_session_keep(d);
	note_small_hello(d);
	return 0;
}

bool
dot_should_retry_reduced(const struct dot *d)
{
	return d->retry != NULL;
}

const char *
dot_retry_text(const struct dot *d)
{
	return d->retry;
}

int
dot_step(struct dot *d, struct failure *why)
{
	int rc;

	if (d->stage == DOT_CONNECTING) {
		if ((rc = net_connected(d->fd, why)) != 1)
			return rc;
		d->stage = DOT_HANDSHAKING;
	}
	if (d->stage == DOT_HANDSHAKING) {
		ERR_clear_error();
		errno = 0;
		if ((rc = SSL_connect(d->ssl)) != 1)
			return would_block(d, rc) ? 0 : fail_ssl(why, d, rc, "handshake");
		if (finish_handshake(d, why) == -1)
			return -1;
		d->stage = DOT_READY;
	}
	return 0;
}

int
dot_fail_timeout(struct dot *d, int ms, struct failure *why)
{
	switch (d->stage) {
	case DOT_CONNECTING:
		(void)fail_with(why, "connect: timed out after %d ms (timeouts.connect)", ms);
		fail_remedy(why, "a firewall may drop TCP to port %u",
		    (unsigned)address_port(&d->server->identity.address));
		break;
	case DOT_HANDSHAKING:
		(void)fail_with(why, "handshake: timed out after %d ms (timeouts.handshake)", ms);
		if (BIO_number_read(SSL_get_rbio(d->ssl)) > 0)
			fail_remedy(why,
			    "the server responds, but not fast enough: raise `timeouts.handshake'");
		else
			fail_remedy(why,
			    "there was no response: check the port, or raise "
			    "`timeouts.handshake' if the server is far away");
		note_lost_hello(d);
		break;
	case DOT_READY:
		(void)fail_with(why, "query: no answer in %d ms", ms);
		break;
	}
	return -1;
}

ssize_t
dot_read(struct dot *d, uint8_t *buf, size_t cap, struct failure *why)
{
	size_t n;
	int rc;

	ERR_clear_error();
	errno = 0;
	if ((rc = SSL_read_ex(d->ssl, buf, cap, &n)) == 1)
		return (ssize_t)n;
	return would_block(d, rc) ? 0 : fail_ssl(why, d, rc, "read");
}

bool
dot_has_read_ahead(const struct dot *d)
{
	return SSL_has_pending(d->ssl) == 1;
}

ssize_t
dot_write(struct dot *d, const uint8_t *buf, size_t len, struct failure *why)
{
	size_t n;
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_write_ex(d->ssl, buf, len, &n);
	d->blocked = rc != 1;
	if (rc == 1)
		return (ssize_t)n;
	return would_block(d, rc) ? 0 : fail_ssl(why, d, rc, "write");
}

void
dot_describe(const struct dot *d, struct dot_facts *facts)
{
	X509 *cert = SSL_get0_peer_certificate(d->ssl);

	memset(facts, 0, sizeof *facts);
	facts->version = SSL_get_version(d->ssl);
	facts->cipher = SSL_get_cipher_name(d->ssl);
	facts->resumed = SSL_session_reused(d->ssl) == 1;
	facts->retried = d->retried;
	if (cert == NULL)
		return;
	dot_certificate_names(cert, facts->names, sizeof facts->names);
	dot_certificate_day(X509_get0_notAfter(cert), facts->not_after);
	dot_certificate_pin(cert, facts->pin);
}

const char *
dot_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}
