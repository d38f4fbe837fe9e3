#include "transport/dot.h"

#include <limits.h>

#include "dot_internal.h"

/* How long resumption may keep accepting a stolen key, or a CA removed from the trust store. */
enum { FULL_HANDSHAKE_MAX_S = 24 * 3600 };

/* Certificates and CRLs that never expire. */
static const time_t never = INT64_MAX;

static time_t
sooner(time_t a, time_t b)
{
	return a < b ? a : b;
}

/* An invalid time counts as passed, as in OpenSSL's verification. */
static time_t
seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

/* When the last CRL of that issuer expires. */
static time_t
crl_end(X509_STORE *store, const X509_NAME *issuer)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	time_t end = 0;
	int i;

	for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509_CRL *crl = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));
		const ASN1_TIME *next;

		if (crl == NULL || X509_NAME_cmp(X509_CRL_get_issuer(crl), issuer) != 0 ||
		    X509_cmp_current_time(X509_CRL_get0_lastUpdate(crl)) > 0)
			continue;
		if ((next = X509_CRL_get0_nextUpdate(crl)) == NULL)
			return never;
		if (seconds(next) > end)
			end = seconds(next);
	}
	return end;
}

static time_t
chain_end(const struct dot_trust *trust, STACK_OF(X509) * chain)
{
	X509_STORE *store = SSL_CTX_get_cert_store(trust->ctx);
	int count = sk_X509_num(chain);
	time_t end = never;
	int i;

	for (i = 0; i < count; i++) {
		X509 *cert = sk_X509_value(chain, i);

		end = sooner(end, seconds(X509_get0_notAfter(cert)));
		/* The last certificate is the trust anchor, which needs no CRL. */
		if (trust->crl_file != NULL && i < count - 1)
			end = sooner(end, crl_end(store, X509_get_issuer_name(cert)));
	}
	return end;
}

struct dot_validity
dot_validity(struct dot *d)
{
	const struct dot_server *s = d->server;

	if (d->validity.until != 0)
		return d->validity;
	if (SSL_session_reused(d->ssl)) {
		d->validity = d->offered;
		return d->validity;
	}
	d->validity.since = time(NULL);
	d->validity.until = d->validity.since + FULL_HANDSHAKE_MAX_S;
	if (!s->identity.pins_only)
		d->validity.until = sooner(d->validity.until,
		    chain_end(s->trust, SSL_get0_verified_chain(d->ssl)));
	return d->validity;
}

bool
dot_has_expired(const struct dot *d)
{
	return d->stage == DOT_READY && time(NULL) >= d->validity.until;
}
