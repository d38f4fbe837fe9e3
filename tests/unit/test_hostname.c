#include "base/hostname.h"

#include <stdbool.h>

#include "unit.h"

#define LABEL_63 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-012345678"
#define NAME_192 LABEL_63 "." LABEL_63 "." LABEL_63 "."

static const struct row {
	const char *text;
	bool good;
} rows[] = {
	{ "dns.example", true },
	{ "DNS.Example", true },
	{ "localhost", true },
	{ "a", true },
	{ "one.one.one.one", true },
	{ "dns_1.example", true },
	{ "1dot1dot1dot1.cloudflare-dns.com", true },
	{ "xn--bcher-kva.example", true },
	{ "1.2.3.4a", true },
	{ LABEL_63, true },
	{ NAME_192 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-0123456", true },
	{ NAME_192 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-01234567", false },
	{ LABEL_63 "9", false },
	{ "a." LABEL_63 "9.example", false },
	{ "", false },
	{ ".", false },
	{ ".test", false },
	{ "dns.example.", false },
	{ "dns..example", false },
	{ "-dns.example", false },
	{ "dns-.example", false },
	{ "dns.example-", false },
	{ "*.example", false },
	{ "dns example", false },
	{ "dns.example:853", false },
	{ "dns.example/", false },
	{ "https://dns.example", false },
	{ "dns\nexample", false },
	{ "b\303\274cher.example", false },
	{ "192.0.2.1", false },
	{ "192.0.2.256", false },
	{ "192.0.2.010", false },
	{ "192.0.2.1:853", false },
	{ "2001:db8::1", false },
	{ "[2001:db8::1]", false },
	{ "12", false },
};

static void
validates_a_host_name(void **state)
{
	const struct row *row = *state;
	char *text;

	text = (char *)tight_copy((const uint8_t *)row->text, strlen(row->text) + 1);
	assert_int_equal(hostname_problem(text) == NULL, row->good);
	free(text);
}

int
main(void)
{
	return RUN_ROWS(rows, validates_a_host_name);
}
