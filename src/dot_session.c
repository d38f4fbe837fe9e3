#include "dot.h"

#include <string.h>

#include <openssl/err.h>

#include "dot_internal.h"

/* No ticket is older than that when it is used (RFC 8446 4.6.1). */
enum { SESSION_AGE_MAX_S = 7 * 24 * 3600 };

static void
keep(struct dot_server *s, SSL_SESSION *session)
{
	if (s->session_count == DOT_SESSIONS_MAX) {
		SSL_SESSION_free(s->sessions[0]);
		memmove(s->sessions, s->sessions + 1,
		    (DOT_SESSIONS_MAX - 1) * sizeof s->sessions[0]);
		s->session_count--;
	}
	s->sessions[s->session_count++] = session;
}

/* Takes over a session that the server has given; TLS 1.3 does so after the handshake. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	const struct dot *d = SSL_get_app_data(ssl);

	if (!SSL_SESSION_is_resumable(session))
		return 0;
	/* A lifetime of 0 means: do not keep it (RFC 8446 4.6.1). */
	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION &&
	    SSL_SESSION_get_ticket_lifetime_hint(session) == 0)
		return 0;
	keep(d->server, session);
	return 1;
}

void
dot_session_arrange(SSL_CTX *ctx)
{
	(void)SSL_CTX_set_session_cache_mode(ctx,
	    SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
}

void
dot_session_keep(struct dot *d)
{
	SSL_SESSION *session;

	if (SSL_version(d->ssl) >= TLS1_3_VERSION || !SSL_session_reused(d->ssl))
		return;
	if ((session = SSL_get1_session(d->ssl)) != NULL)
		keep(d->server, session);
}

void
dot_session_offer(SSL *ssl, const uint8_t *octets, size_t len)
{
	SSL_SESSION *session = d2i_SSL_SESSION(NULL, &octets, (long)len);

	if (session != NULL)
		(void)SSL_set_session(ssl, session);
	SSL_SESSION_free(session);
	ERR_clear_error();
}

/* How long a session may be used: as long as the server says, and not too long. */
static int
lifetime_ms(const SSL_SESSION *session)
{
	unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(session);

	return (int)(hint > 0 && hint < SESSION_AGE_MAX_S ? hint : SESSION_AGE_MAX_S) * 1000;
}

size_t
dot_next_session(struct dot_server *s, uint8_t *octets, size_t cap, int *ms)
{
	SSL_SESSION *session;
	int len = 0;

	while (s->session_count > 0 && len <= 0) {
		session = s->sessions[--s->session_count];
		len = i2d_SSL_SESSION(session, NULL);
		if (len > 0 && (size_t)len <= cap)
			len = i2d_SSL_SESSION(session, &octets);
		else
			len = 0;
		*ms = lifetime_ms(session);
		SSL_SESSION_free(session);
	}
	return len > 0 ? (size_t)len : 0;
}
