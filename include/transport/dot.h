#ifndef DOTPROXY_DOT_H
#define DOTPROXY_DOT_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/fail.h"

/*
 * DNS over TLS as a client (RFC 7858 in its strict form, RFC 8310), a step at a time:
 * nothing here waits, chooses, retries or logs. The certificate chain and the name
 * are always verified; there is no switch that turns it off.
 */

/* Those who are believed: the certificates of one file. */
struct dot_trust;

/*
 * Loads a file of PEM certificates; NULL means the system's, which is looked for at
 * $SSL_CERT_FILE and the places where distributions keep it. With a CRL_FILE (NULL: none)
 * of PEM revocation lists, no certificate of a server's chain may be on them, and there must be
 * a current one of each issuer. Any certificate of the first file is trusted as given, a root
 * or not. NULL with the reason when a file is missing or of no use, or any entry of it is damaged.
 * Freed with dot_trust_free(), after all servers that use it.
 */
struct dot_trust *dot_trust_new(const char *ca_file, const char *crl_file, struct failure *why);
void dot_trust_free(struct dot_trust *);

/* The file that was loaded; the trust's. */
const char *dot_trust_file(const struct dot_trust *);

/* Room for a pin as text: base64 of a SHA-256 of a SubjectPublicKeyInfo (RFC 7858 4.2). */
enum { DOT_PIN_MAX = 48 };

/* What a server is verified by. */
struct dot_identity {
	struct address address;
	const char *hostname;    /* its certificate must have it; NULL: it must name the address */
	const char *const *pins; /* its key must be one of those, if there are any */
	size_t pin_count;
	bool pins_only; /* its key is all that counts; there is at least one pin */
};

/*
 * One server, with what has been learned of it. Texts of IDENTITY and TRUST must outlive
 * it. FAST_OPEN: see net_connect(). NULL with the reason when there is no memory. Freed
 * with dot_server_free(), after all its connections.
 */
struct dot_server;
struct dot_server *dot_server_new(const struct dot_trust *, const struct dot_identity *,
    bool fast_open, struct failure *why);
void dot_server_free(struct dot_server *);

/*
 * A digest of what a server is reached and verified by: address, host name, pins, and the content
 * of the trust. Servers with the same key are the same, and may use each other's sessions. -1 with
 * the reason.
 */
enum { DOT_KEY_LEN = 32 };
int dot_server_key(const struct dot_server *, uint8_t key[static DOT_KEY_LEN], struct failure *why);

/*
 * The next session that the server has given, the newest first, as octets, with the time for
 * which it may be used. Returns its length, 0 when there is none. Sessions are as good as the
 * identity and the trust that they were made with, and must never be used for another. The time is
 * no longer than the handshake that they go back to is good for; see dot_has_expired().
 */
size_t dot_next_session(struct dot_server *, uint8_t *octets, size_t cap, int *ms);

/* One TLS connection to one server. */
struct dot;

/*
 * Starts to connect, with a session to resume (LEN 0: none), which is used up by that. NULL
 * with the reason when it failed at once.
 */
struct dot *dot_open(struct dot_server *, const uint8_t *session, size_t len, struct failure *why);

/* Says close_notify if it can be said at once, closes and frees; NULL is fine. */
void dot_close(struct dot *);

/* How far a connection is. */
enum dot_stage { DOT_CONNECTING, DOT_HANDSHAKING, DOT_READY };
enum dot_stage dot_stage(const struct dot *);

/* The descriptor to wait for, and the events (EPOLLIN, EPOLLOUT), of which it wants one. */
int dot_fd(const struct dot *);
uint32_t dot_events(const struct dot *);

/* Goes on with connecting and handshake as far as it goes now. 0, or -1 with the reason: then it can only be closed. */
int dot_step(struct dot *, struct failure *why);

/*
 * The words for a connection that is not ready, or brings no answer, after MS milliseconds. Then
 * it can only be closed, unless it is ready. Returns -1.
 */
int dot_fail_timeout(struct dot *, int ms, struct failure *why);

/*
 * Whether a connection that has failed or timed out did so because of something that the next one
 * will leave out: ALPN that was refused, or what made its ClientHello so large that it was lost.
 * Then it tells nothing against the server, and the next one may be opened at once.
 */
bool dot_may_try_again(const struct dot *);

/* What the next one leaves out, in words ("without ALPN (refused by server)"); static; or NULL. */
const char *dot_retry_text(const struct dot *);

/*
 * Whether what the handshake has proved holds no longer: a certificate of the chain or a CRL of
 * an issuer in it has expired, or the last full handshake was 24 hours ago. Then no further query
 * may be sent on the connection. False before it is ready.
 */
bool dot_has_expired(const struct dot *);

/*
 * Octets that have come, up to CAP: their number, 0 when there are none now, -1 with
 * the reason when the connection has ended, by whichever side; then it can only be closed.
 */
ssize_t dot_read(struct dot *, uint8_t *buf, size_t cap, struct failure *why);

/* Whether octets wait here for dot_read(), taken from the socket already, so that no wait tells of them. */
bool dot_has_read_ahead(const struct dot *);

/*
 * Hands over octets, in one TLS write: the number that was taken, 0 when none is now,
 * then the call must be made again with the same octets in front; -1 as above.
 */
ssize_t dot_write(struct dot *, const uint8_t *buf, size_t len, struct failure *why);

/* What was agreed on a connection that is ready, in words. */
struct dot_facts {
	const char *version; /* "TLSv1.3"; static */
	const char *cipher;  /* static */
	bool resumed;
	const char *retried;   /* see dot_retry_text(): one that failed just before; or NULL */
	char names[256];       /* whom the certificate is for: "dns.google, 8.8.8.8, ..." */
	char not_after[16];    /* "2027-01-31" */
	char pin[DOT_PIN_MAX]; /* base64 of the SHA-256 of the SPKI (RFC 7858 4.2) */
};
void dot_describe(const struct dot *, struct dot_facts *);

/* "OpenSSL 3.0.19 ...", for --version. */
const char *dot_library_version(void);

#endif
