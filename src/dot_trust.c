#include "dot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "dot_internal.h"
#include "file.h"

/* Of CA certificates, and of a revocation list; the system's bundle has 0.2 MiB. */
enum { FILE_MAX = 16 * 1024 * 1024 };

static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",                /* Debian, Ubuntu, Alpine, Arch */
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
	"/etc/pki/tls/certs/ca-bundle.crt",                  /* older Fedora, RHEL */
	"/etc/ssl/ca-bundle.pem",                            /* openSUSE */
	"/etc/ssl/cert.pem",                                 /* Alpine, the BSDs */
};

static const char *
find_bundle(struct failure *why)
{
	const char *from_environment = getenv("SSL_CERT_FILE");
	size_t i;

	if (from_environment != NULL && from_environment[0] != '\0')
		return from_environment;
	for (i = 0; i < sizeof bundles / sizeof bundles[0]; i++)
		if (access(bundles[i], R_OK) == 0)
			return bundles[i];
	(void)fail_with(why,
	    "no file of CA certificates found: looked at $SSL_CERT_FILE, %s and %zu more",
	    bundles[0], sizeof bundles / sizeof bundles[0] - 1);
	fail_remedy(why,
	    "install the package ca-certificates, or name a file as `tls: {ca_file: ...}'");
	return NULL;
}

/* OpenSSL's own words for a file that cannot be read are of no use. */
static int
check_readable(const char *what, const char *file, struct failure *why)
{
	FILE *f;
	int saved;

	if ((f = file_open(file, FILE_MAX, why)) == NULL)
		return fail_in(why, "%s file %s", what, file);
	(void)fgetc(f);
	saved = ferror(f) ? errno : 0;
	(void)fclose(f);
	if (saved == 0)
		return 0;
	errno = saved;
	return fail_errno(why, "%s file %s", what, file);
}

static int
load_certificates(SSL_CTX *ctx, const char *file, struct failure *why)
{
	if (check_readable("CA", file, why) == -1)
		return -1;
	ERR_clear_error();
	if (SSL_CTX_load_verify_file(ctx, file) != 1) {
		ERR_clear_error();
		(void)fail_with(why, "CA file %s: there is no certificate in it", file);
		fail_remedy(why,
		    "it must hold certificates in PEM form (-----BEGIN CERTIFICATE-----)");
		return -1;
	}
	return 0;
}

/* From then on a certificate without a current list of its issuer is refused, too. */
static int
load_revocations(SSL_CTX *ctx, const char *file, struct failure *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

	if (check_readable("CRL", file, why) == -1)
		return -1;
	ERR_clear_error();
	if (lookup == NULL || X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) <= 0) {
		ERR_clear_error();
		(void)fail_with(why, "CRL file %s: there is no revocation list in it", file);
		fail_remedy(why, "it must hold lists in PEM form (-----BEGIN X509 CRL-----)");
		return -1;
	}
	(void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

static bool
has_valid_root(SSL_CTX *ctx)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
	int i;

	for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

		if (cert != NULL && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0)
			return true;
	}
	return false;
}

/*
 * What a handshake looks up for the first time, the library builds then, and keeps. Looked up
 * before the processes part, it is memory that they share. What is missing, if anything, the
 * handshake will say.
 */
static void
fetch_algorithms(void)
{
	EVP_KDF_free(EVP_KDF_fetch(NULL, "TLS13-KDF", NULL));
	EVP_MAC_free(EVP_MAC_fetch(NULL, "HMAC", NULL));
	EVP_KEYEXCH_free(EVP_KEYEXCH_fetch(NULL, "X25519", NULL));
	EVP_SIGNATURE_free(EVP_SIGNATURE_fetch(NULL, "ECDSA", NULL));
	ERR_clear_error();
}

struct dot_trust *
dot_trust_new(const char *ca_file, const char *crl_file, struct failure *why)
{
	struct dot_trust *t;

	if (ca_file == NULL && (ca_file = find_bundle(why)) == NULL)
		return NULL;
	if ((t = calloc(1, sizeof *t)) == NULL || (t->file = strdup(ca_file)) == NULL ||
	    (t->ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
		(void)dot_fail_setup(why, "TLS");
		dot_trust_free(t);
		return NULL;
	}
	fetch_algorithms();
	(void)SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	/* An end without close_notify is an end: where a message ends, its length says (RFC 7858 3.4). */
	(void)SSL_CTX_set_options(t->ctx,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(t->ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		SSL_MODE_RELEASE_BUFFERS);
	/* The head of a record and its body in one call, see dot_has_read_ahead(). */
	SSL_CTX_set_read_ahead(t->ctx, 1);
	/* A connection puts its own callback in the place of the default one. */
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	dot_session_arrange(t->ctx);
	if (load_certificates(t->ctx, ca_file, why) == -1 ||
	    (crl_file != NULL && load_revocations(t->ctx, crl_file, why) == -1)) {
		dot_trust_free(t);
		return NULL;
	}
	if (!has_valid_root(t->ctx)) {
		(void)fail_with(why, "CA file %s: all certificates in it have expired", ca_file);
		fail_remedy(why, "check this machine's clock, or bring the file up to date");
		dot_trust_free(t);
		return NULL;
	}
	return t;
}

void
dot_trust_free(struct dot_trust *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->ctx);
	free(t->file);
	free(t);
}

const char *
dot_trust_file(const struct dot_trust *t)
{
	return t->file;
}
