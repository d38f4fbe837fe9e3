#include "transport/dot.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "dot_internal.h"

/* 2026-11-01: an earlier time means that the system clock is wrong. */
enum { RELEASED = 1793491200 };

void
dot_certificate_day(const ASN1_TIME *t, char text[static 16])
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(text, 16, "%Y-%m-%d", &tm) == 0)
		(void)snprintf(text, 16, "unknown");
}

/*
 * Writes untrusted bytes as printable ASCII, others as \xHH, and "..." in place of what does not
 * fit. CAP is at least 4.
 */
static void
escape(char *text, size_t cap, const unsigned char *bytes, size_t len)
{
	size_t used = 0;
	size_t cut = 0; /* the longest text that leaves space for "..." */
	size_t i;

	for (i = 0; i < len; i++) {
		bool printable = bytes[i] >= 0x20 && bytes[i] < 0x7f;
		size_t more = printable ? 1 : sizeof "\\xHH" - 1;

		if (used + more >= cap) {
			(void)snprintf(text + cut, cap - cut, "...");
			return;
		}
		(void)snprintf(text + used, cap - used, printable ? "%c" : "\\x%02X", bytes[i]);
		used += more;
		if (used + sizeof "..." <= cap)
			cut = used;
	}
	text[used] = '\0';
}

/* Adds ", TEXT" (LEN bytes) to a list in a buffer. False when it is full and ends in "...". */
static bool
add_name(char *list, size_t cap, const unsigned char *text, size_t len)
{
	char name[144];
	size_t used = strlen(list);
	const char *comma = used > 0 ? ", " : "";

	escape(name, sizeof name, text, len);
	if (used + strlen(name) + sizeof ", , ..." > cap) {
		(void)snprintf(list + used, cap - used, "%s...", comma);
		return false;
	}
	(void)snprintf(list + used, cap - used, "%s%s", comma, name);
	return true;
}

static bool
add_address(char *list, size_t cap, const ASN1_OCTET_STRING *address)
{
	char text[INET6_ADDRSTRLEN];
	int len = ASN1_STRING_length(address);

	if ((len != 4 && len != 16) ||
	    inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text,
		sizeof text) == NULL)
		return true;
	return add_name(list, cap, (const unsigned char *)text, strlen(text));
}

void
dot_certificate_names(X509 *cert, char *list, size_t cap)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool has_room = true;
	int i;

	list[0] = '\0';
	for (i = 0; has_room && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS)
			has_room = add_name(list, cap, ASN1_STRING_get0_data(name->d.dNSName),
			    (size_t)ASN1_STRING_length(name->d.dNSName));
		else if (name->type == GEN_IPADD)
			has_room = add_address(list, cap, name->d.iPAddress);
	}
	if (list[0] == '\0')
		(void)snprintf(list, cap, "nothing in subjectAltName");
	GENERAL_NAMES_free(names);
}

/* Formats a subject or issuer as "/C=CH/O=Example/CN=Example Root". */
static void
distinguished_name(const X509_NAME *name, char *text, size_t cap)
{
	char *line = X509_NAME_oneline(name, NULL, 0);

	if (line == NULL)
		ERR_clear_error();
	escape(text, cap, (const unsigned char *)(line != NULL ? line : "unreadable"),
	    strlen(line != NULL ? line : "unreadable"));
	OPENSSL_free(line);
}

static bool
has_expected_name(const struct dot_server *s, X509 *cert)
{
	char text[ADDRESS_TEXT_MAX];

	if (s->identity.hostname != NULL)
		return X509_check_host(cert, s->identity.hostname, 0, DOT_NAME_FLAGS, NULL) == 1;
	/* An address in a certificate has no zone. */
	text[strcspn(address_format_host(&s->identity.address, text), "%")] = '\0';
	return X509_check_ip_asc(cert, text, 0) == 1;
}

/*
 * The remedy for an unknown issuer. Only a server in a private network whose certificate has the
 * right name may plausibly use a private CA. Anything else may be an interception: the remedy must
 * not be to trust it.
 */
static void
advise_on_issuer(struct failure *why, const struct dot_server *s, X509 *leaf)
{
	if (has_expected_name(s, leaf) && address_is_private(&s->identity.address))
		fail_remedy(why,
		    "only the certificates in %s are trusted; if the server uses a private CA, get "
		    "its certificate from the operator and set `ca_file'",
		    s->trust->file);
	else
		fail_remedy(why,
		    "the connection may be intercepted, for example by a firewall that inspects "
		    "TLS or a captive portal; only the certificates in %s are trusted",
		    s->trust->file);
}

static void
describe_name(struct failure *why, const struct dot_server *s, X509 *cert)
{
	char expected[ADDRESS_TEXT_MAX];
	char names[192];

	dot_certificate_names(cert, names, sizeof names);
	if (s->identity.hostname != NULL) {
		(void)fail_with(why, "certificate names %s, not %s", names, s->identity.hostname);
		fail_remedy(why,
		    "check `address' and `hostname' against what the operator publishes; if they "
		    "are right, the connection may be intercepted");
	} else {
		(void)fail_with(why, "certificate names %s, not the address %s", names,
		    address_format_host(&s->identity.address, expected));
		fail_remedy(why,
		    "set `hostname' to what the operator publishes; if the certificate does not "
		    "name it, the connection may be intercepted");
	}
}

static void
describe_not_yet_valid(struct failure *why, X509 *cert)
{
	char from[16];
	char today[16];
	time_t now = time(NULL);
	struct tm tm;

	dot_certificate_day(X509_get0_notBefore(cert), from);
	(void)strftime(today, sizeof today, "%Y-%m-%d", gmtime_r(&now, &tm));
	(void)fail_with(why, "certificate is not yet valid: not before %s", from);
	if (now < RELEASED)
		fail_remedy(why, "the system clock is wrong (%s): set it", today);
	else
		fail_remedy(why, "the system clock says %s: check it", today);
}

static void
describe_issuer(struct failure *why, const struct dot_server *s, X509 *cert, X509 *leaf)
{
	char issuer[160];
	char names[128];

	distinguished_name(X509_get_issuer_name(cert), issuer, sizeof issuer);
	dot_certificate_names(leaf, names, sizeof names);
	(void)fail_with(why, "certificate has an unknown issuer: %s; it names %s", issuer, names);
	advise_on_issuer(why, s, leaf);
}

static void
describe_self_signed(struct failure *why, const struct dot_server *s, X509 *leaf)
{
	char names[192];

	dot_certificate_names(leaf, names, sizeof names);
	(void)fail_with(why, "certificate is self-signed; it names %s", names);
	advise_on_issuer(why, s, leaf);
}

/* A certificate, named by WHOSE, is revoked, or its issuer has no current CRL. */
static void
describe_revocation(struct failure *why, const struct dot_server *s, X509_STORE_CTX *store,
    const char *whose)
{
	const X509_CRL *crl = X509_STORE_CTX_get0_current_crl(store);
	char issuer[160];
	char day[16] = "unknown";

	distinguished_name(X509_get_issuer_name(X509_STORE_CTX_get_current_cert(store)), issuer,
	    sizeof issuer);
	switch (X509_STORE_CTX_get_error(store)) {
	case X509_V_ERR_CERT_REVOKED:
		(void)fail_with(why, "%s was revoked by its issuer %s", whose, issuer);
		fail_remedy(why, "the operator must replace it");
		break;
	case X509_V_ERR_CRL_HAS_EXPIRED:
		if (crl != NULL)
			dot_certificate_day(X509_CRL_get0_nextUpdate(crl), day);
		(void)fail_with(why, "%s: the CRL of its issuer %s expired %s", whose, issuer, day);
		fail_remedy(why, "put the current CRL into %s and reload", s->trust->crl_file);
		break;
	default:
		(void)fail_with(why, "%s: no CRL of its issuer %s found", whose, issuer);
		fail_remedy(why, "add the CRL of that CA to %s and reload", s->trust->crl_file);
		break;
	}
}

void
dot_describe_verify_error(struct failure *why, const struct dot_server *s, X509_STORE_CTX *store)
{
	X509 *cert = X509_STORE_CTX_get_current_cert(store);
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	int error = X509_STORE_CTX_get_error(store);
	char whose[192] = "certificate";
	char subject[160];
	char day[16];

	if (X509_STORE_CTX_get_error_depth(store) > 0) {
		distinguished_name(X509_get_subject_name(cert), subject, sizeof subject);
		(void)snprintf(whose, sizeof whose, "certificate of the CA %s", subject);
	}
	switch (error) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		describe_name(why, s, cert);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		dot_certificate_day(X509_get0_notAfter(cert), day);
		(void)fail_with(why, "%s expired %s", whose, day);
		fail_remedy(why, "the operator must renew it, or the system clock is wrong");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		describe_not_yet_valid(why, cert);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		describe_issuer(why, s, cert, leaf);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		describe_self_signed(why, s, leaf);
		break;
	case X509_V_ERR_CERT_REVOKED:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		describe_revocation(why, s, store, whose);
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
	(void)fail_with(why, "certificate key is not pinned: %s", pin);
	fail_remedy(why, "if the operator confirms that this is the new key, add it to `pins'");
	return false;
}
