#ifndef DOTPROXY_DOT_INTERNAL_H
#define DOTPROXY_DOT_INTERNAL_H

#include <time.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/deadline.h"
#include "transport/dot.h"

/* Shared by the source files of `dot', the only ones that use OpenSSL. */

/* The most session tickets that are kept until they are fetched. */
enum { DOT_SESSIONS_MAX = 4 };

/* Only subjectAltName is checked, without partial wildcards. */
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
 * How long the verification of a full handshake is valid, in seconds of the wall clock, which the
 * dates of certificates refer to: since <= time < until.
 */
struct dot_validity {
	time_t since;
	time_t until;
};

/* A session, with the validity of the full handshake that it goes back to. */
struct dot_session {
	SSL_SESSION *session;
	struct dot_validity validity;
};

struct dot_server {
	const struct dot_trust *trust;
	struct dot_identity identity;
	bool fast_open;
	bool no_alpn;                      /* the server refused ALPN */
	bool small_hello_next;             /* a large ClientHello was lost: send a small one next */
	struct deadline small_hello_until; /* a small one worked: send small ones until then */
	struct dot_session sessions[DOT_SESSIONS_MAX]; /* not fetched yet */
	size_t session_count;
};

struct dot {
	struct dot_server *server;
	SSL *ssl;
	int fd;
	enum dot_stage stage;
	bool blocked;                 /* a write waits for the socket to become writable */
	bool broken;                  /* nothing may be sent, not even close_notify */
	bool small_hello;             /* its ClientHello fits into one segment */
	const char *retried;          /* how it differs from the failed one before it, or NULL */
	const char *retry;            /* how the next one differs from this failed one, or NULL */
	struct dot_validity validity; /* all 0 until it is known */
	struct dot_validity offered;  /* of the session offered for resumption */
	struct failure verdict;       /* why the certificate was refused; "" if it was not */
};

/* The reason for failed calls that set things up, from OpenSSL or "out of memory". Returns -1. */
int dot_fail_setup(struct failure *why, const char *what);

/* Lists the DNS names and addresses in the subjectAltName of a certificate. */
void dot_certificate_names(X509 *, char *list, size_t cap);

/* Formats the date as "2027-01-31". */
void dot_certificate_day(const ASN1_TIME *, char text[static 16]);

/* The pin of a certificate's key: base64(SHA-256(SubjectPublicKeyInfo)) (RFC 7858 4.2). */
void dot_certificate_pin(X509 *, char pin[static DOT_PIN_MAX]);

/* Sets the reason and remedy for the current verification error of a certificate. */
void dot_describe_verify_error(struct failure *, const struct dot_server *, X509_STORE_CTX *);

/* Whether the key of a certificate is pinned; if not, with the reason. */
bool dot_certificate_is_pinned(X509 *, const struct dot_identity *, struct failure *);

/*
 * The validity of a connection's handshake: until a certificate of the chain or the CRL of one of
 * its issuers expires, and for 24 hours at most. Resumption does not extend it.
 */
struct dot_validity dot_validity(struct dot *);

/* Makes OpenSSL pass new sessions to the `sessions' of their server. */
void dot_session_arrange(SSL_CTX *);

/* Keeps the session of a resumed connection for another resumption (TLS 1.2 only). */
void dot_session_keep(struct dot *);

/* Offers a session from dot_next_session() for resumption, if it is still valid. */
void dot_session_offer(struct dot *, const uint8_t *bytes, size_t len);

#endif
