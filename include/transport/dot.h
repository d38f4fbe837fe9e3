#ifndef DOTPROXY_DOT_H
#define DOTPROXY_DOT_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/fail.h"

/*
 * A non-blocking DNS-over-TLS client (RFC 7858, with the strict profile of RFC 8310). It does not
 * wait, retry or log. Certificate chain and name are always verified, unless pins replace both
 * (`pins_only'); no setting turns verification off.
 */

/* A trust store: the CA certificates of one file. */
struct dot_trust;

/*
 * Loads a file of PEM certificates; NULL means the CA file of the system, from $SSL_CERT_FILE or
 * the paths that distributions use. With a CRL_FILE of PEM CRLs (NULL: none), no certificate of a
 * server's chain may be revoked, and each issuer must have a current CRL. Every certificate in the
 * CA file is a trust anchor, a root or not. NULL with the reason when a file is missing, holds
 * nothing usable, or has a damaged entry. Freed with dot_trust_free(), after all servers that use
 * it.
 */
struct dot_trust *dot_trust_new(const char *ca_file, const char *crl_file, struct failure *why);
void dot_trust_free(struct dot_trust *);

/* The path of the CA file; it belongs to the trust store. */
const char *dot_trust_file(const struct dot_trust *);

/* The size of a pin as text: base64 of a SHA-256 of a SubjectPublicKeyInfo (RFC 7858 4.2). */
enum { DOT_PIN_MAX = 48 };

/* How a server is verified. */
struct dot_identity {
	struct address address;
	const char *hostname;    /* the certificate must name it; NULL: the address */
	const char *const *pins; /* if there are any, the key must be one of them */
	size_t pin_count;
	bool pins_only; /* only the key is checked; there is at least one pin */
};

/*
 * One server, with the state that its connections share. The texts of the identity, and the trust
 * store, must outlive it. FAST_OPEN: see net_connect(). NULL with the reason when there is no
 * memory. Freed with dot_server_free(), after all its connections.
 */
struct dot_server;
struct dot_server *dot_server_new(const struct dot_trust *, const struct dot_identity *,
    bool fast_open, struct failure *why);
void dot_server_free(struct dot_server *);

/*
 * A digest of how a server is reached and verified: address, host name, pins, and the content of
 * the trust store. Servers with the same key may use each other's sessions. -1 with the reason.
 */
enum { DOT_KEY_LEN = 32 };
int dot_server_key(const struct dot_server *, uint8_t key[static DOT_KEY_LEN], struct failure *why);

/*
 * Takes the next session that the server has issued, newest first: its serialized bytes, and the
 * time for which it may be used. Returns the length, 0 when there is none. A session must only be
 * used with the identity and trust store that it was made with. It expires with the full handshake
 * that it goes back to; see dot_has_expired().
 */
size_t dot_next_session(struct dot_server *, uint8_t *bytes, size_t cap, int *ms);

/* One TLS connection to one server. */
struct dot;

/*
 * Starts to connect, and offers a session for resumption (LEN 0: none), which must not be offered
 * again. NULL with the reason when it failed at once.
 */
struct dot *dot_open(struct dot_server *, const uint8_t *session, size_t len, struct failure *why);

/* Sends close_notify if that does not block, closes and frees; accepts NULL. */
void dot_close(struct dot *);

/* The stage of a connection. */
enum dot_stage { DOT_CONNECTING, DOT_HANDSHAKING, DOT_READY };
enum dot_stage dot_stage(const struct dot *);

/* The descriptor and the events (EPOLLIN, EPOLLOUT) to wait for. */
int dot_fd(const struct dot *);
uint32_t dot_events(const struct dot *);

/* Continues connect and handshake. Returns 0, or -1 with the reason: then it must be closed. */
int dot_step(struct dot *, struct failure *why);

/*
 * Sets the reason for a connection that is not ready, or has no response, after MS milliseconds. It
 * must then be closed unless it is ready. Returns -1.
 */
int dot_fail_timeout(struct dot *, int ms, struct failure *why);

/*
 * Whether a connection failed because of its ClientHello: the server refused ALPN, or the
 * ClientHello was large and seems lost. The next one to this server is sent without ALPN or with
 * small groups, so the failure is no evidence against the server, and a retry may follow at once.
 */
bool dot_should_retry_reduced(const struct dot *);

/* How the retry differs ("without ALPN (refused by server)"); static, or NULL. */
const char *dot_retry_text(const struct dot *);

/*
 * Whether the verification of the handshake has expired: a certificate of the chain or the CRL of
 * one of its issuers has, or the last full handshake was 24 hours ago. Then no further query may be
 * sent on the connection. False before it is ready.
 */
bool dot_has_expired(const struct dot *);

/*
 * Reads up to CAP bytes. Returns their number, 0 when there are none now, or -1 with the reason
 * when either side has ended the connection; then it must be closed.
 */
ssize_t dot_read(struct dot *, uint8_t *buf, size_t cap, struct failure *why);

/* Whether dot_read() has bytes from an earlier read of the socket: epoll does not report them. */
bool dot_has_read_ahead(const struct dot *);

/*
 * Writes bytes by one call of the TLS library. Returns the number accepted, or 0 when it would
 * block: then the next call must begin with the same bytes. -1 as dot_read().
 */
ssize_t dot_write(struct dot *, const uint8_t *buf, size_t len, struct failure *why);

/* The negotiated parameters of a connection that is ready, as text. */
struct dot_facts {
	const char *version; /* "TLSv1.3"; static */
	const char *cipher;  /* static */
	bool resumed;
	const char *retried;   /* the dot_retry_text() of the one before, or NULL */
	char names[256];       /* of the certificate: "dns.google, 8.8.8.8, ..." */
	char not_after[16];    /* "2027-01-31" */
	char pin[DOT_PIN_MAX]; /* base64 of the SHA-256 of the SPKI (RFC 7858 4.2) */
};
void dot_describe(const struct dot *, struct dot_facts *);

/* "OpenSSL 3.0.19 ...", for --version. */
const char *dot_library_version(void);

#endif
