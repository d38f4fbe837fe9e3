#ifndef DOTPROXY_DOT_H
#define DOTPROXY_DOT_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "fail.h"

/*
 * DNS over TLS as a client (RFC 7858 in its strict form, RFC 8310), a step at a time:
 * nothing here waits, chooses, retries or logs. The certificate chain and the name
 * are always verified; there is no switch that turns it off.
 */

/* Those who are believed: the certificates of one file. */
struct dot_trust;

/*
 * Loads a file of PEM certificates; NULL means the system's, which is looked for at
 * $SSL_CERT_FILE and the places where distributions keep it. NULL with the reason
 * when there is none, or no certificate in it. Freed with dot_trust_free(), after
 * all servers that use it.
 */
struct dot_trust	*dot_trust_new(const char *ca_file, struct failure *why);
void	dot_trust_free(struct dot_trust *);

/* The file that was loaded; the trust's. */
const char	*dot_trust_file(const struct dot_trust *);

/*
 * One server as it is verified: where it is, the name its certificate must have (NULL:
 * it must name the address), and whom to believe. Sessions are kept here, and so are
 * never used for another identity. NULL with the reason when there is no memory. Freed
 * with dot_server_free(), after all its connections. HOSTNAME is copied, TRUST is not.
 */
struct dot_server;
struct dot_server	*dot_server_new(const struct dot_trust *, const struct address *,
			    const char *hostname, struct failure *why);
void	dot_server_free(struct dot_server *);

/* One TLS connection to one server. */
struct dot;

/* Starts to connect. NULL with the reason when it failed at once. */
struct dot	*dot_open(struct dot_server *, struct failure *why);

/* Says close_notify if it can be said at once, closes and frees; NULL is fine. */
void	dot_close(struct dot *);

/* How far a connection is. */
enum dot_stage { DOT_CONNECTING, DOT_HANDSHAKING, DOT_READY };
enum dot_stage	dot_stage(const struct dot *);

/* The descriptor to wait for, and the events (EPOLLIN, EPOLLOUT), of which it wants one. */
int	dot_fd(const struct dot *);
uint32_t	dot_events(const struct dot *);

/* Goes on with connecting and handshake as far as it goes now. 0, or -1 with the reason: then it can only be closed. */
int	dot_step(struct dot *, struct failure *why);

/* The words for a connection that is not ready, or brings no answer, after MS milliseconds. Returns -1. */
int	dot_fail_timeout(const struct dot *, int ms, struct failure *why);

/*
 * Octets that have come, up to CAP: their number, 0 when there are none now, -1 with
 * the reason when the connection has ended, by whichever side; then it can only be closed.
 */
ssize_t	dot_read(struct dot *, uint8_t *buf, size_t cap, struct failure *why);

/*
 * Hands over octets, in one TLS write: the number that was taken, 0 when none is now,
 * then the call must be made again with the same octets in front; -1 as above.
 */
ssize_t	dot_write(struct dot *, const uint8_t *buf, size_t len, struct failure *why);

/*
 * Whether an idle connection can take a query: nothing unexpected has come and
 * neither side has closed. Tickets that wait to be read are no reason not to.
 */
bool	dot_is_alive(struct dot *);

/* What was agreed on a connection that is ready, in words. */
struct dot_facts {
	const char	*version;		/* "TLSv1.3"; static */
	const char	*cipher;		/* static */
	bool		 resumed;
	char		 names[256];		/* whom the certificate is for: "dns.google, 8.8.8.8, ..." */
	char		 not_after[16];		/* "2027-01-31" */
	char		 pin[48];		/* base64 of the SHA-256 of the SPKI (RFC 7858 4.2) */
};
void	dot_describe(const struct dot *, struct dot_facts *);

/* "OpenSSL 3.0.19 ...", for --version. */
const char	*dot_library_version(void);

#endif
