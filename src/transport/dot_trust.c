#include "transport/dot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>

#include "base/file.h"
#include "dot_internal.h"

/* For CA files and CRL files; the CA bundle of a distribution has 0.2 MiB. */
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
	(void)fail_with(why, "no CA file found: tried $SSL_CERT_FILE, %s and %zu more", bundles[0],
	    sizeof bundles / sizeof bundles[0] - 1);
	fail_remedy(why, "install the package ca-certificates, or set `tls: {ca_file: ...}'");
	return NULL;
}

/* Opened here because OpenSSL's messages for unreadable files lack the cause. */
static BIO *
open_file(const char *what, const char *file, struct failure *why)
{
	FILE *f;
	BIO *bio;
	int c;

	if ((f = file_open(file, FILE_MAX, why)) == NULL) {
		(void)fail_in(why, "%s file %s", what, file);
		return NULL;
	}
	errno = 0;
	if ((c = fgetc(f)) == EOF && ferror(f)) {
		(void)fail_errno(why, "%s file %s", what, file);
		(void)fclose(f);
		return NULL;
	}
	(void)ungetc(c, f);
	if ((bio = BIO_new_fp(f, BIO_CLOSE)) == NULL) {
		(void)dot_fail_setup(why, what);
		(void)fclose(f);
	}
	return bio;
}

/*
 * Checks that reading PEM entries, COUNT of them so far, has ended at the end of the file. If not,
 * the next entry is damaged, and OpenSSL's error queue has the cause.
 */
static int
check_end(const char *what, const char *file, const char *entry, size_t count, struct failure *why)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());
	unsigned long last = ERR_peek_last_error();
	bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM &&
	    ERR_GET_REASON(last) == PEM_R_NO_START_LINE;

	ERR_clear_error();
	if (at_end)
		return 0;
	(void)fail_with(why, "%s file %s: %s %zu is damaged: %s", what, file, entry, count + 1,
	    reason != NULL ? reason : "unreadable");
	fail_remedy(why, "replace or remove entry %zu, counted by its -----BEGIN lines", count + 1);
	return -1;
}

/* Adds one entry of LEN bytes, allocated by OpenSSL, to a digest, and frees it. */
static bool
add_to_digest(EVP_MD_CTX *digest, unsigned char *der, int len)
{
	bool done = len > 0 && EVP_DigestUpdate(digest, der, (size_t)len) == 1;

	OPENSSL_free(der);
	return done;
}

static int
load_certificates(SSL_CTX *ctx, const char *file, EVP_MD_CTX *digest, struct failure *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	char no_password[] = "";
	BIO *bio = open_file("CA", file, why);
	size_t count = 0;
	bool digested = true;
	X509 *cert;

	if (bio == NULL)
		return -1;
	ERR_clear_error();
	while ((cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, no_password)) != NULL) {
		unsigned char *der = NULL;
		int len = i2d_X509_AUX(cert, &der);

		digested = add_to_digest(digest, der, len) && digested;
		if (X509_STORE_add_cert(store, cert) == 1)
			count++;
		X509_free(cert);
	}
	(void)BIO_free(bio);
	if (check_end("CA", file, "certificate", count, why) == -1)
		return -1;
	if (!digested)
		return dot_fail_setup(why, "CA file");
	if (count > 0)
		return 0;
	(void)fail_with(why, "CA file %s: no certificates found", file);
	fail_remedy(why, "it must contain PEM certificates (-----BEGIN CERTIFICATE-----)");
	return -1;
}

/* Afterwards each issuer in a chain must have a current CRL. */
static int
load_revocations(SSL_CTX *ctx, const char *file, EVP_MD_CTX *digest, struct failure *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	char no_password[] = "";
	BIO *bio = open_file("CRL", file, why);
	bool digested = true;
	size_t count = 0;
	X509_CRL *crl;

	if (bio == NULL)
		return -1;
	ERR_clear_error();
	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, no_password)) != NULL) {
		unsigned char *der = NULL;
		int len = i2d_X509_CRL(crl, &der);

		digested = add_to_digest(digest, der, len) && digested;
		if (X509_STORE_add_crl(store, crl) == 1)
			count++;
		X509_CRL_free(crl);
	}
	(void)BIO_free(bio);
	if (check_end("CRL", file, "CRL", count, why) == -1)
		return -1;
	if (!digested)
		return dot_fail_setup(why, "CRL file");
	if (count == 0) {
		(void)fail_with(why, "CRL file %s: no CRLs found", file);
		fail_remedy(why, "it must contain PEM CRLs (-----BEGIN X509 CRL-----)");
		return -1;
	}
	(void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
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
 * OpenSSL builds an algorithm at its first use and keeps it. Fetching those of a handshake before
 * fork(2) lets the workers share that memory. A failure here will show in the handshake.
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

/* Loads both files, and makes the digest of their content. */
static int
load_files(struct dot_trust *t, struct failure *why)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	int rc = -1;

	if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
		(void)dot_fail_setup(why, "TLS");
	else if (load_certificates(t->ctx, t->file, digest, why) == 0 &&
	    (t->crl_file == NULL || load_revocations(t->ctx, t->crl_file, digest, why) == 0))
		rc = 0;
	if (rc == 0 && EVP_DigestFinal_ex(digest, t->digest, NULL) != 1)
		rc = dot_fail_setup(why, "TLS");
	EVP_MD_CTX_free(digest);
	return rc;
}

struct dot_trust *
dot_trust_new(const char *ca_file, const char *crl_file, struct failure *why)
{
	struct dot_trust *t;

	if (ca_file == NULL && (ca_file = find_bundle(why)) == NULL)
		return NULL;
	if ((t = calloc(1, sizeof *t)) == NULL || (t->file = strdup(ca_file)) == NULL ||
	    (crl_file != NULL && (t->crl_file = strdup(crl_file)) == NULL) ||
	    (t->ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
		(void)dot_fail_setup(why, "TLS");
		dot_trust_free(t);
		return NULL;
	}
	fetch_algorithms();
	(void)SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	/* EOF without close_notify is harmless: messages have a length prefix (RFC 7858 3.3). */
	(void)SSL_CTX_set_options(t->ctx,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(t->ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		SSL_MODE_RELEASE_BUFFERS);
	/* One read(2) for header and body of a record, see dot_has_read_ahead(). */
	SSL_CTX_set_read_ahead(t->ctx, 1);
	/* Each connection sets its own callback. */
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	dot_session_arrange(t->ctx);
	/* Every certificate in the file is a trust anchor, a root or not. */
	(void)X509_STORE_set_flags(SSL_CTX_get_cert_store(t->ctx), X509_V_FLAG_PARTIAL_CHAIN);
	if (load_files(t, why) == -1) {
		dot_trust_free(t);
		return NULL;
	}
	if (!has_valid_root(t->ctx)) {
		(void)fail_with(why, "CA file %s: all certificates have expired", ca_file);
		fail_remedy(why, "check the system clock, or update the file");
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
	free(t->crl_file);
	free(t);
}

const char *
dot_trust_file(const struct dot_trust *t)
{
	return t->file;
}

/* Includes the terminating NUL, so that different pairs of texts have different digests. */
static bool
digest_text(EVP_MD_CTX *ctx, const char *text)
{
	return EVP_DigestUpdate(ctx, text, strlen(text) + 1) == 1;
}

static bool
digest_identity(EVP_MD_CTX *ctx, const struct dot_identity *identity)
{
	char address[ADDRESS_TEXT_MAX];
	bool done;
	size_t i;

	done = digest_text(ctx, address_format(&identity->address, address)) &&
	    digest_text(ctx, identity->hostname != NULL ? identity->hostname : "") &&
	    digest_text(ctx, identity->pins_only ? "pins only" : "pins");
	for (i = 0; i < identity->pin_count; i++)
		done = done && digest_text(ctx, identity->pins[i]);
	return done;
}

int
dot_server_key(const struct dot_server *s, uint8_t key[static DOT_KEY_LEN], struct failure *why)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool done = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, s->trust->digest, sizeof s->trust->digest) == 1 &&
	    digest_identity(ctx, &s->identity) && EVP_DigestFinal_ex(ctx, key, NULL) == 1;

	EVP_MD_CTX_free(ctx);
	return done ? 0 : dot_fail_setup(why, "TLS");
}
