#include "transport/dot.h"

#include <string.h>

#include <openssl/err.h>

#include "dot_internal.h"

/* With a larger ticket, the ClientHello may not fit into one TCP segment. */
enum { SMALL_TICKET_MAX = 512 };

static void
keep(struct dot *d, SSL_SESSION *session)
{
	struct dot_server *s = d->server;

	if (s->session_count == DOT_SESSIONS_MAX) {
		SSL_SESSION_free(s->sessions[0].session);
		memmove(s->sessions, s->sessions + 1,
		    (DOT_SESSIONS_MAX - 1) * sizeof s->sessions[0]);
		s->session_count--;
	}
	s->sessions[s->session_count++] = (struct dot_session){ session, dot_validity(d) };
}

/* Called by OpenSSL for a new session, which TLS 1.3 sends after the handshake. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	struct dot *d = SSL_get_app_data(ssl);

	if (!SSL_SESSION_is_resumable(session))
		return 0;
	/* A lifetime of 0 means: do not keep it (RFC 8446 4.6.1). */
	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION &&
	    SSL_SESSION_get_ticket_lifetime_hint(session) == 0)
		return 0;
	keep(d, session);
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
		keep(d, session);
}

void
dot_session_offer(struct dot *d, const uint8_t *bytes, size_t len)
{
	struct dot_validity validity;
	SSL_SESSION *session;
	const unsigned char *ticket = NULL;
	size_t ticket_len = 0;
	time_t now = time(NULL);

	if (len < sizeof validity)
		return;
	memcpy(&validity, bytes, sizeof validity);
	/* The lower bound is for a clock that was set back. */
	if (now < validity.since || now >= validity.until)
		return;
	bytes += sizeof validity;
	if ((session = d2i_SSL_SESSION(NULL, &bytes, (long)(len - sizeof validity))) != NULL)
		SSL_SESSION_get0_ticket(session, &ticket, &ticket_len);
	if (session != NULL && (!d->small_hello || ticket_len <= SMALL_TICKET_MAX) &&
	    SSL_set_session(d->ssl, session) == 1)
		d->offered = validity;
	SSL_SESSION_free(session);
	ERR_clear_error();
}

/* How long a session may be used: its lifetime hint, limited by its validity. */
static int
lifetime_ms(const struct dot_session *s)
{
	unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(s->session);
	time_t left = s->validity.until - time(NULL);

	if (left > s->validity.until - s->validity.since)
		left = s->validity.until - s->validity.since;
	if (left < 0)
		left = 0;
	return (int)(hint > 0 && hint < (unsigned long)left ? hint : (unsigned long)left) * 1000;
}

/* Serializes a session for dot_session_offer(). Returns the length, 0 when it does not fit. */
static size_t
write_session(const struct dot_session *s, uint8_t *bytes, size_t cap)
{
	int len = i2d_SSL_SESSION(s->session, NULL);

	if (len <= 0 || sizeof s->validity + (size_t)len > cap)
		return 0;
	memcpy(bytes, &s->validity, sizeof s->validity);
	bytes += sizeof s->validity;
	return sizeof s->validity + (size_t)i2d_SSL_SESSION(s->session, &bytes);
}

size_t
dot_next_session(struct dot_server *s, uint8_t *bytes, size_t cap, int *ms)
{
	size_t len = 0;

	while (s->session_count > 0 && len == 0) {
		const struct dot_session *next = &s->sessions[--s->session_count];

		if ((*ms = lifetime_ms(next)) > 0)
			len = write_session(next, bytes, cap);
		SSL_SESSION_free(next->session);
	}
	return len;
}
