#include "dot.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/x509v3.h>

#include "dot_internal.h"

/* A clock that shows less is wrong: this program did not exist yet. 2026-11-01. */
enum { RELEASED = 1793491200 };

void
dot_certificate_day(const ASN1_TIME *t, char text[static 16])
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
		(void)snprintf(list + used, cap - used, "%s%.*s", used > 0 ? ", " : "", (int)len,
		    text);
}

void
dot_certificate_names(X509 *cert, char *list, size_t cap)
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
blame_name(struct failure *why, const struct dot_server *s, X509 *cert)
{
	char expected[ADDRESS_TEXT_MAX];
	char names[192];

	dot_certificate_names(cert, names, sizeof names);
	if (s->identity.hostname != NULL) {
		(void)fail_with(why, "certificate names %s, not %s", names, s->identity.hostname);
		fail_remedy(why,
		    "if this is the server you mean, set its `hostname' to a name "
		    "that the certificate has");
	} else {
		(void)fail_with(why, "certificate names %s, not the address %s", names,
		    address_format_host(&s->identity.address, expected));
		fail_remedy(why, "give the upstream the `hostname' that its operator publishes");
	}
}

static void
blame_clock(struct failure *why, X509 *cert)
{
	char from[16];
	char today[16];
	time_t now = time(NULL);
	struct tm tm;

	dot_certificate_day(X509_get0_notBefore(cert), from);
	(void)strftime(today, sizeof today, "%Y-%m-%d", gmtime_r(&now, &tm));
	(void)fail_with(why, "certificate is not yet valid: it begins %s", from);
	if (now < RELEASED)
		fail_remedy(why, "the clock of this machine is wrong: it says %s; set it", today);
	else
		fail_remedy(why, "the clock of this machine says %s: check it", today);
}

static void
blame_issuer(struct failure *why, const struct dot_server *s, X509 *cert)
{
	char issuer[128];

	X509_NAME_oneline(X509_get_issuer_name(cert), issuer, sizeof issuer);
	(void)fail_with(why, "certificate has an unknown issuer: %s", issuer);
	fail_remedy(why,
	    "trusted are the certificates in %s; set `ca_file' if the server "
	    "has a CA of its own",
	    s->trust->file);
}

void
dot_certificate_blame(struct failure *why, const struct dot_server *s, int error, X509 *cert)
{
	char day[16];

	switch (error) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		blame_name(why, s, cert);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		dot_certificate_day(X509_get0_notAfter(cert), day);
		(void)fail_with(why, "certificate expired %s", day);
		fail_remedy(why, "its operator must renew it; if not, check this machine's clock");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		blame_clock(why, cert);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		blame_issuer(why, s, cert);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		(void)fail_with(why, "certificate is self-signed");
		fail_remedy(why,
		    "trusted are the certificates in %s; if you trust this one, put it "
		    "into a file and set `ca_file'",
		    s->trust->file);
		break;
	default:
		(void)fail_with(why, "certificate: %s", X509_verify_cert_error_string(error));
		break;
	}
}

void
dot_certificate_pin(X509 *cert, char pin[static DOT_PIN_MAX])
{
	unsigned char *spki = NULL;
	unsigned char digest[32];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

	pin[0] = '\0';
	if (len > 0 && EVP_Digest(spki, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1)
		(void)EVP_EncodeBlock((unsigned char *)pin, digest, sizeof digest);
	OPENSSL_free(spki);
}

bool
dot_certificate_is_pinned(X509 *cert, const struct dot_identity *identity, struct failure *why)
{
	char pin[DOT_PIN_MAX] = "";
	size_t i;

	if (identity->pin_count == 0)
		return true;
	if (cert != NULL)
		dot_certificate_pin(cert, pin);
	for (i = 0; i < identity->pin_count; i++)
		if (strcmp(identity->pins[i], pin) == 0)
			return true;
	(void)fail_with(why, "certificate has a key that is not pinned: %s", pin);
	fail_remedy(why, "if its operator says that this is the new key, add it to `pins'");
	return false;
}
