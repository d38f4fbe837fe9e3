#ifndef DOTPROXY_DOT_INTERNAL_H
#define DOTPROXY_DOT_INTERNAL_H

#include <time.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/deadline.h"
#include "transport/dot.h"

/* What the sources of `dot' share. Nobody else includes this: it is all OpenSSL. */

/* A server gives a few tickets at a time. */
enum { DOT_SESSIONS_MAX = 4 };

/* How a certificate has to name a server. */
enum {
	DOT_NAME_FLAGS = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
};

struct dot_trust {
	SSL_CTX *ctx;
	char *file;
	char *crl_file;              /* NULL: revocation is not checked */
	uint8_t digest[DOT_KEY_LEN]; /* of all certificates and CRLs, in their order */
};

/*
 * For how long a full handshake vouches for a server, in seconds of the clock that the dates of
 * certificates are about: since <= time < until.
 */
struct dot_validity {
	time_t since;
	time_t until;
};

/* A session that a server has given, and what the handshake that it goes back to vouches for. */
struct dot_session {
	SSL_SESSION *session;
	struct dot_validity validity;
};

struct dot_server {
	const struct dot_trust *trust;
	struct dot_identity identity;
	bool fast_open;
	bool no_alpn;                      /* it refused to speak of protocols */
	bool small_hello_next;             /* a large ClientHello was lost: the next one is small */
	struct deadline small_hello_until; /* that has helped, and is remembered until then */
	struct dot_session sessions[DOT_SESSIONS_MAX]; /* given, and not fetched yet */
	size_t session_count;
};

struct dot {
	struct dot_server *server;
	SSL *ssl;
	int fd;
	enum dot_stage stage;
	bool blocked;        /* a write waits until the socket is writable */
	bool broken;         /* nothing may be sent any more, not even close_notify */
	bool small_hello;    /* its ClientHello fits into one segment */
	const char *retried; /* how it differs from one that failed just before; or NULL */
	const char *retry;   /* how the next one differs from this one, which failed; or NULL */
	struct dot_validity validity; /* all 0 before it is known */
	struct dot_validity offered;  /* of the session that is to be resumed */
	struct failure verdict;       /* why the certificate was refused; "" if it was not */
};

/* For what can only fail for want of memory: -1 with the reason. */
int dot_fail_setup(struct failure *why, const char *what);

/* Whom a certificate is for: the DNS names and addresses of its subjectAltName, as a list. */
void dot_certificate_names(X509 *, char *list, size_t cap);

/* A day, "2027-01-31". */
void dot_certificate_day(const ASN1_TIME *, char text[static 16]);

/* The pin of a certificate's key: base64(SHA-256(SubjectPublicKeyInfo)) (RFC 7858 4.2). */
void dot_certificate_pin(X509 *, char pin[static DOT_PIN_MAX]);

/* Puts into words why a certificate is refused, as its verification stands. */
void dot_certificate_blame(struct failure *, const struct dot_server *, X509_STORE_CTX *);

/* Whether the key of a certificate is pinned; if not, why. */
bool dot_certificate_is_pinned(X509 *, const struct dot_identity *, struct failure *);

/*
 * For how long the handshake of a connection vouches for the server: until a certificate of the
 * chain expires or a CRL of an issuer in it does, and for 24 hours at most. A handshake that
 * resumes a session adds nothing to that.
 */
struct dot_validity dot_validity(struct dot *);

/* Has sessions that servers give kept in their `sessions'. */
void dot_session_arrange(SSL_CTX *);

/* Notes that the session of a connection may be used again (TLS 1.2 only). */
void dot_session_keep(struct dot *);

/* Offers a session, as dot_next_session() gave it, to the server, if it is still good for that. */
void dot_session_offer(struct dot *, const uint8_t *octets, size_t len);

#endif
