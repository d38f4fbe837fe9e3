#include "dot.h"

#include <sys/epoll.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "deadline.h"
#include "net.h"

/* A clock that shows less is wrong: this program did not exist yet. 2026-11-01. */
enum { RELEASED = 1793491200 };

/* A server gives a few tickets at a time; each is used once (RFC 8446 C.4), the newest first. */
enum { SESSIONS_MAX = 4 };

/* No ticket is older than that when it is used (RFC 8446 4.6.1). */
enum { SESSION_AGE_MAX_S = 7 * 24 * 3600 };

struct dot_trust {
	SSL_CTX	*ctx;
	char	*file;
};

struct dot_server {
	const struct dot_trust	*trust;
	struct address		 address;
	char			*hostname;
	struct kept_session {
		SSL_SESSION	*session;
		struct deadline	 until;
	}			 sessions[SESSIONS_MAX];
	size_t			 session_count;
};

struct dot {
	struct dot_server	*server;
	SSL			*ssl;
	int			 fd;
	enum dot_stage		 stage;
	bool			 blocked;	/* a write waits for room */
	bool			 broken;	/* nothing may be sent any more, not even close_notify */
	struct failure		 verdict;	/* why the certificate was refused; "" if it was not */
};

static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",		     /* Debian, Ubuntu, Alpine, Arch */
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
	"/etc/pki/tls/certs/ca-bundle.crt",		     /* older Fedora, RHEL */
	"/etc/ssl/ca-bundle.pem",			     /* openSUSE */
	"/etc/ssl/cert.pem",				     /* Alpine, the BSDs */
};

/* ---- words ---- */

static void
format_day(const ASN1_TIME *t, char text[static 16])
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(text, 16, "%Y-%m-%d", &tm) == 0)
		(void)snprintf(text, 16, "unknown");
}

/* Adds ", TEXT" (LEN octets) to a list in a buffer, or "..." when there is no more room. */
static void
add_name(char *list, size_t cap, const char *text, size_t len)
{
	size_t used = strlen(list);

	if (used >= 3 && strcmp(list + used - 3, "...") == 0)
		return;
	if (used + len + sizeof ", , ..." > cap)
		(void)snprintf(list + used, cap - used, "%s...", used > 0 ? ", " : "");
	else
		(void)snprintf(list + used, cap - used, "%s%.*s", used > 0 ? ", " : "", (int)len, text);
}

/* Whom a certificate is for: the DNS names and addresses of its subjectAltName. */
static void
format_names(X509 *cert, char *list, size_t cap)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int i;

	list[0] = '\0';
	for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		char text[INET6_ADDRSTRLEN];
		int family;

		if (name->type == GEN_DNS) {
			add_name(list, cap, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
			    (size_t)ASN1_STRING_length(name->d.dNSName));
		} else if (name->type == GEN_IPADD) {
			family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
			if (family == AF_INET6 && ASN1_STRING_length(name->d.iPAddress) != 16)
				continue;
			if (inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), text,
			    sizeof text) != NULL)
				add_name(list, cap, text, strlen(text));
		}
	}
	if (list[0] == '\0')
		(void)snprintf(list, cap, "nothing in subjectAltName");
	GENERAL_NAMES_free(names);
}

static void
blame_name(struct dot *d, X509 *cert)
{
	char expected[ADDRESS_TEXT_MAX];
	char names[192];

	format_names(cert, names, sizeof names);
	if (d->server->hostname != NULL) {
		(void)fail_with(&d->verdict, "certificate names %s, not %s", names,
		    d->server->hostname);
		fail_remedy(&d->verdict, "if this is the server you mean, set its `hostname' to a name "
		    "that the certificate has");
	} else {
		(void)fail_with(&d->verdict, "certificate names %s, not the address %s", names,
		    address_format_host(&d->server->address, expected));
		fail_remedy(&d->verdict, "give the upstream the `hostname' that its operator publishes");
	}
}

static void
blame_clock(struct dot *d, X509 *cert)
{
	char from[16];
	char today[16];
	time_t now = time(NULL);
	struct tm tm;

	format_day(X509_get0_notBefore(cert), from);
	(void)strftime(today, sizeof today, "%Y-%m-%d", gmtime_r(&now, &tm));
	(void)fail_with(&d->verdict, "certificate is not yet valid: it begins %s", from);
	if (now < RELEASED)
		fail_remedy(&d->verdict, "the clock of this machine is wrong: it says %s; set it", today);
	else
		fail_remedy(&d->verdict, "the clock of this machine says %s: check it", today);
}

static void
blame_issuer(struct dot *d, X509 *cert)
{
	char issuer[128];

	X509_NAME_oneline(X509_get_issuer_name(cert), issuer, sizeof issuer);
	(void)fail_with(&d->verdict, "certificate has an unknown issuer: %s", issuer);
	fail_remedy(&d->verdict, "trusted are the certificates in %s; set `ca_file' if the server "
	    "has a CA of its own", d->server->trust->file);
}

/* Puts the reason for which the certificate CERT is refused into words. */
static void
blame_certificate(struct dot *d, int error, X509 *cert)
{
	char day[16];

	switch (error) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		blame_name(d, cert);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		format_day(X509_get0_notAfter(cert), day);
		(void)fail_with(&d->verdict, "certificate expired %s", day);
		fail_remedy(&d->verdict, "its operator must renew it; if not, check this machine's clock");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		blame_clock(d, cert);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		blame_issuer(d, cert);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		(void)fail_with(&d->verdict, "certificate is self-signed");
		fail_remedy(&d->verdict, "trusted are the certificates in %s; if you trust this one, put it "
		    "into a file and set `ca_file'", d->server->trust->file);
		break;
	default:
		(void)fail_with(&d->verdict, "certificate: %s", X509_verify_cert_error_string(error));
		break;
	}
}

/*
 * Says in words why the OpenSSL call that returned RC failed, and leaves the error
 * queue empty. Nothing else in the program looks at that queue.
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
		(void)fail_with(why, "%s: %s", step, reason != NULL ? reason : "TLS error");
		if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
			fail_remedy(why, "what answers at this port does not speak TLS: check the port");
		return -1;
	}
	/* How a connection ends tells nothing against its sessions, which OpenSSL would not use again. */
	SSL_set_shutdown(d->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	if (kind == SSL_ERROR_SYSCALL && saved != 0)
		return fail_with(why, "%s: %s", step, strerror(saved));
	return fail_with(why, "%s: connection closed by the server", step);
}

/* For what can only fail for want of memory. */
static int
fail_setup(struct failure *why, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_get_error());

	ERR_clear_error();
	return fail_with(why, "%s: %s", what, reason != NULL ? reason : "out of memory");
}

/* ---- trust and sessions ---- */

/* OpenSSL asks after each certificate of the chain; its own answer stands. */
static int
on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct dot *d = SSL_get_app_data(ssl);

	if (!ok && d->verdict.text[0] == '\0')
		blame_certificate(d, X509_STORE_CTX_get_error(store),
		    X509_STORE_CTX_get_current_cert(store));
	return ok;
}

/* How long a session may be used: as long as the server says, and not too long. */
static int
lifetime_ms(const SSL_SESSION *session)
{
	unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(session);

	return (int)(hint > 0 && hint < SESSION_AGE_MAX_S ? hint : SESSION_AGE_MAX_S) * 1000;
}

/* Takes over a session that the server has given; TLS 1.3 does so after the handshake. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	struct dot_server *s = ((struct dot *)SSL_get_app_data(ssl))->server;

	if (!SSL_SESSION_is_resumable(session))
		return 0;
	/* A lifetime of 0 means: do not keep it (RFC 8446 4.6.1). */
	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION &&
	    SSL_SESSION_get_ticket_lifetime_hint(session) == 0)
		return 0;
	if (s->session_count == SESSIONS_MAX) {
		SSL_SESSION_free(s->sessions[0].session);
		memmove(s->sessions, s->sessions + 1, (SESSIONS_MAX - 1) * sizeof s->sessions[0]);
		s->session_count--;
	}
	s->sessions[s->session_count++] = (struct kept_session){ session, deadline_in(lifetime_ms(session)) };
	return 1;
}

/* The newest session. One of TLS 1.3 is no longer the server's; one of TLS 1.2 stays, to be used again. */
static SSL_SESSION *
take_session(struct dot_server *s)
{
	while (s->session_count > 0) {
		struct kept_session kept = s->sessions[--s->session_count];

		if (!SSL_SESSION_is_resumable(kept.session) || deadline_passed(kept.until, deadline_now())) {
			SSL_SESSION_free(kept.session);
			continue;
		}
		if (SSL_SESSION_get_protocol_version(kept.session) < TLS1_3_VERSION &&
		    SSL_SESSION_up_ref(kept.session) == 1)
			s->session_count++;
		return kept.session;
	}
	return NULL;
}

static const char *
find_bundle(struct failure *why)
{
	const char *from_environment = getenv("SSL_CERT_FILE");
	size_t i;

	if (from_environment != NULL && from_environment[0] != '\0')
		return from_environment;
	for (i = 0; i < sizeof bundles / sizeof bundles[0]; i++)
		if (access(bundles[i], R_OK) == 0)
			return bundles[i];
	(void)fail_with(why, "no file of CA certificates found: looked at $SSL_CERT_FILE, %s and %zu more",
	    bundles[0], sizeof bundles / sizeof bundles[0] - 1);
	fail_remedy(why, "install the package ca-certificates, or name a file as `tls: {ca_file: ...}'");
	return NULL;
}

static int
load_certificates(SSL_CTX *ctx, const char *file, struct failure *why)
{
	FILE *f;
	int saved;

	/* OpenSSL's own words for a file that cannot be opened are of no use. */
	if ((f = fopen(file, "re")) == NULL)
		return fail_errno(why, "CA file %s", file);
	(void)fgetc(f);
	saved = ferror(f) ? errno : 0;
	(void)fclose(f);
	if (saved != 0) {
		errno = saved;
		return fail_errno(why, "CA file %s", file);
	}
	ERR_clear_error();
	if (SSL_CTX_load_verify_file(ctx, file) != 1) {
		ERR_clear_error();
		(void)fail_with(why, "CA file %s: there is no certificate in it", file);
		fail_remedy(why, "it must hold certificates in PEM form (-----BEGIN CERTIFICATE-----)");
		return -1;
	}
	return 0;
}

static bool
has_valid_root(SSL_CTX *ctx)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
	int i;

	for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

		if (cert != NULL && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0)
			return true;
	}
	return false;
}

struct dot_trust *
dot_trust_new(const char *ca_file, struct failure *why)
{
	struct dot_trust *t;

	if (ca_file == NULL && (ca_file = find_bundle(why)) == NULL)
		return NULL;
	if ((t = calloc(1, sizeof *t)) == NULL || (t->file = strdup(ca_file)) == NULL ||
	    (t->ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
		(void)fail_setup(why, "TLS");
		dot_trust_free(t);
		return NULL;
	}
	(void)SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	/* An end without close_notify is an end: where a message ends, its length says (RFC 7858 3.4). */
	(void)SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	    SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, on_verify);
	(void)SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->ctx, on_session);
	if (load_certificates(t->ctx, ca_file, why) == -1) {
		dot_trust_free(t);
		return NULL;
	}
	if (!has_valid_root(t->ctx)) {
		(void)fail_with(why, "CA file %s: all certificates in it have expired", ca_file);
		fail_remedy(why, "check this machine's clock, or bring the file up to date");
		dot_trust_free(t);
		return NULL;
	}
	return t;
}

void
dot_trust_free(struct dot_trust *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->ctx);
	free(t->file);
	free(t);
}

const char *
dot_trust_file(const struct dot_trust *t)
{
	return t->file;
}

struct dot_server *
dot_server_new(const struct dot_trust *trust, const struct address *address, const char *hostname,
    struct failure *why)
{
	struct dot_server *s = calloc(1, sizeof *s);

	if (s == NULL || (hostname != NULL && (s->hostname = strdup(hostname)) == NULL)) {
		(void)fail_errno(why, "upstream");
		free(s);
		return NULL;
	}
	s->trust = trust;
	s->address = *address;
	return s;
}

void
dot_server_free(struct dot_server *s)
{
	if (s == NULL)
		return;
	while (s->session_count > 0)
		SSL_SESSION_free(s->sessions[--s->session_count].session);
	free(s->hostname);
	free(s);
}

/* ---- one connection ---- */

/* What the certificate must name, said in the only way that checks it. */
static int
set_identity(SSL *ssl, const struct dot_server *s)
{
	char text[ADDRESS_TEXT_MAX];
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(param,
	    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	/* An address is no server name (RFC 6066 3). */
	if (s->hostname == NULL) {
		char *zone = strchr(address_format_host(&s->address, text), '%');

		if (zone != NULL)
			*zone = '\0';
		return X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1 ? 0 : -1;
	}
	return X509_VERIFY_PARAM_set1_host(param, s->hostname, 0) == 1 &&
	    SSL_set_tlsext_host_name(ssl, s->hostname) == 1 ? 0 : -1;
}

struct dot *
dot_open(struct dot_server *s, struct failure *why)
{
	struct dot *d = calloc(1, sizeof *d);
	SSL_SESSION *session;

	if (d == NULL) {
		(void)fail_errno(why, "connect");
		return NULL;
	}
	d->server = s;
	d->stage = DOT_CONNECTING;
	if ((d->fd = net_connect(&s->address, why)) == -1) {
		free(d);
		return NULL;
	}
	ERR_clear_error();
	if ((d->ssl = SSL_new(s->trust->ctx)) == NULL || SSL_set_fd(d->ssl, d->fd) != 1 ||
	    set_identity(d->ssl, s) == -1) {
		(void)fail_setup(why, "handshake");
		d->broken = true;
		dot_close(d);
		return NULL;
	}
	(void)SSL_set_app_data(d->ssl, d);
	SSL_set_connect_state(d->ssl);
	if ((session = take_session(s)) != NULL) {
		(void)SSL_set_session(d->ssl, session);
		SSL_SESSION_free(session);
	}
	return d;
}

void
dot_close(struct dot *d)
{
	if (d == NULL)
		return;
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

/* Whether OpenSSL wants its call again once the socket is ready. */
static bool
again(const struct dot *d, int rc)
{
	int error = SSL_get_error(d->ssl, rc);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
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
			return again(d, rc) ? 0 : fail_ssl(why, d, rc, "handshake");
		d->stage = DOT_READY;
	}
	return 0;
}

int
dot_fail_timeout(const struct dot *d, int ms, struct failure *why)
{
	switch (d->stage) {
	case DOT_CONNECTING:
		(void)fail_with(why, "connect: timed out after %d ms", ms);
		fail_remedy(why, "a firewall on the way may drop TCP to port %u",
		    (unsigned)address_port(&d->server->address));
		break;
	case DOT_HANDSHAKING:
		(void)fail_with(why, "handshake: timed out after %d ms", ms);
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
	return again(d, rc) ? 0 : fail_ssl(why, d, rc, "read");
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
	return again(d, rc) ? 0 : fail_ssl(why, d, rc, "write");
}

bool
dot_is_alive(struct dot *d)
{
	uint8_t octet;
	size_t n;
	int rc;

	ERR_clear_error();
	rc = SSL_peek_ex(d->ssl, &octet, 1, &n);
	return rc != 1 && SSL_get_error(d->ssl, rc) == SSL_ERROR_WANT_READ;
}

/* The pin of a certificate's key: base64(SHA-256(SubjectPublicKeyInfo)). */
static void
format_pin(X509 *cert, char pin[static 48])
{
	unsigned char *spki = NULL;
	unsigned char digest[32];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

	pin[0] = '\0';
	if (len > 0 && EVP_Digest(spki, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1)
		(void)EVP_EncodeBlock((unsigned char *)pin, digest, sizeof digest);
	OPENSSL_free(spki);
}

void
dot_describe(const struct dot *d, struct dot_facts *facts)
{
	X509 *cert = SSL_get0_peer_certificate(d->ssl);

	memset(facts, 0, sizeof *facts);
	facts->version = SSL_get_version(d->ssl);
	facts->cipher = SSL_get_cipher_name(d->ssl);
	facts->resumed = SSL_session_reused(d->ssl) == 1;
	if (cert == NULL)
		return;
	format_names(cert, facts->names, sizeof facts->names);
	format_day(X509_get0_notAfter(cert), facts->not_after);
	format_pin(cert, facts->pin);
}

const char *
dot_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}
