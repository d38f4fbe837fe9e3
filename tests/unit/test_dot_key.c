#include "transport/dot.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/address.h"
#include "unit.h"

/* Files with the first certificates of the system's bundle, and their number. */
enum { FEW = 20, MORE = 21 };
static char few[] = "/tmp/dot-key-few-XXXXXX";
static char copy[] = "/tmp/dot-key-copy-XXXXXX";
static char more[] = "/tmp/dot-key-more-XXXXXX";

static void
write_certificates(char *path, int count)
{
	struct failure why;
	struct dot_trust *system = dot_trust_new(NULL, NULL, &why);
	FILE *from;
	FILE *to;
	char line[256];

	assert_non_null(system);
	from = fopen(dot_trust_file(system), "r");
	to = fdopen(mkstemp(path), "w");
	assert_non_null(from);
	assert_non_null(to);
	while (count > 0 && fgets(line, sizeof line, from) != NULL) {
		(void)fputs(line, to);
		count -= strncmp(line, "-----END", 8) == 0;
	}
	assert_int_equal(count, 0);
	(void)fclose(from);
	assert_int_equal(fclose(to), 0);
	dot_trust_free(system);
}

static int
write_files(void **state)
{
	(void)state;
	write_certificates(few, FEW);
	write_certificates(copy, FEW);
	write_certificates(more, MORE);
	return 0;
}

static int
remove_files(void **state)
{
	(void)state;
	(void)unlink(few);
	(void)unlink(copy);
	(void)unlink(more);
	return 0;
}

static const char *const one_pin[] = { "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" };
static const char *const two_pins[] = { "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" };

struct server {
	const char *ca_file;
	const char *address;
	const char *hostname;
	const char *const *pins;
	size_t pin_count;
	bool pins_only;
};

static const struct server usual = { few, "192.0.2.1:853", "dns.test", one_pin, 1, false };

static const struct row {
	const char *name;
	struct server server;
	bool same; /* as the usual one */
} rows[] = {
	{ "the same", { few, "192.0.2.1:853", "dns.test", one_pin, 1, false }, true },
	{ "the same certificates in another file",
	    { copy, "192.0.2.1:853", "dns.test", one_pin, 1, false }, true },
	{ "one more certificate", { more, "192.0.2.1:853", "dns.test", one_pin, 1, false }, false },
	{ "another address", { few, "192.0.2.2:853", "dns.test", one_pin, 1, false }, false },
	{ "another port", { few, "192.0.2.1:854", "dns.test", one_pin, 1, false }, false },
	{ "another host name", { few, "192.0.2.1:853", "dns2.test", one_pin, 1, false }, false },
	{ "no host name", { few, "192.0.2.1:853", NULL, one_pin, 1, false }, false },
	{ "no pin", { few, "192.0.2.1:853", "dns.test", NULL, 0, false }, false },
	{ "another pin", { few, "192.0.2.1:853", "dns.test", two_pins + 1, 1, false }, false },
	{ "one more pin", { few, "192.0.2.1:853", "dns.test", two_pins, 2, false }, false },
	{ "nothing but the pin", { few, "192.0.2.1:853", "dns.test", one_pin, 1, true }, false },
};

static void
make_key(const struct server *s, uint8_t key[static DOT_KEY_LEN])
{
	struct dot_identity identity = { .hostname = s->hostname,
		.pins = s->pins,
		.pin_count = s->pin_count,
		.pins_only = s->pins_only };
	struct failure why;
	struct dot_trust *trust = dot_trust_new(s->ca_file, NULL, &why);
	struct dot_server *server;

	assert_non_null(trust);
	assert_int_equal(address_parse(s->address, 0, &identity.address), 0);
	server = dot_server_new(trust, &identity, false, &why);
	assert_non_null(server);
	assert_int_equal(dot_server_key(server, key, &why), 0);
	dot_server_free(server);
	dot_trust_free(trust);
}

static void
is_the_same_for_the_same_server_only(void **state)
{
	const struct row *row = *state;
	uint8_t *key = calloc(1, DOT_KEY_LEN);
	uint8_t *other = calloc(1, DOT_KEY_LEN);

	assert_non_null(key);
	assert_non_null(other);
	make_key(&usual, key);
	make_key(&row->server, other);
	assert_int_equal(memcmp(key, other, DOT_KEY_LEN) == 0, row->same);
	free(key);
	free(other);
}

int
main(void)
{
	const struct fixtures with_files = { NULL, NULL, write_files, remove_files };

	return RUN_ROWS_WITH(with_files, rows, is_the_same_for_the_same_server_only);
}
