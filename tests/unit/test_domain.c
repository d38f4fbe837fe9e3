#include "format/domain.h"

#include "format/dns.h"
#include "unit.h"

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define L63 X60 "xxx"

static const struct row {
	const char *text;
	const char *name; /* as dns_format_qname() has it; NULL: it is refused */
	bool is_below;
	const char *problem; /* a part of it */
} rows[] = {
	{ "corp.example", "corp.example.", false, NULL },
	{ "corp.example.", "corp.example.", false, NULL },
	{ "Corp.EXAMPLE", "corp.example.", false, NULL },
	{ "lan", "lan.", false, NULL },
	{ "*.dev.corp.example", "dev.corp.example.", true, NULL },
	{ "_tcp.x-1.y", "_tcp.x-1.y.", false, NULL },
	{ "0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa.", false, NULL },
	{ ".", ".", false, NULL },
	{ "*..", ".", true, NULL },
	{ L63 ".x", L63 ".x.", false, NULL },
	{ L63 "." L63 "." L63 "." X60 "x", L63 "." L63 "." L63 "." X60 "x.", false, NULL },
	{ "", NULL, false, "is empty" },
	{ "..", NULL, false, "empty label" },
	{ ".x", NULL, false, "empty label" },
	{ "a..b", NULL, false, "empty label" },
	{ "a..", NULL, false, "empty label" },
	{ "*", NULL, false, "`*'" },
	{ "*.", NULL, false, "`*'" },
	{ "a.*.b", NULL, false, "`*'" },
	{ "*.*.b", NULL, false, "`*'" },
	{ "a*.b", NULL, false, "`*'" },
	{ "a b", NULL, false, "character" },
	{ "a\\.b", NULL, false, "character" },
	{ "b\303\274cher.example", NULL, false, "xn--" },
	{ X60 "xxxx.example", NULL, false, "63 bytes" },
	{ L63 "." L63 "." L63 "." X60 "xx", NULL, false, "255 bytes" },
};

static void
reads_domains(void **state)
{
	const struct row *row = *state;
	char *text = (char *)tight_copy((const uint8_t *)row->text, strlen(row->text) + 1);
	char out[DNS_NAME_TEXT_MAX];
	struct domain d;
	const char *problem = domain_parse(text, &d);

	free(text);
	if (row->name == NULL) {
		assert_non_null(problem);
		assert_non_null(strstr(problem, row->problem));
		return;
	}
	assert_null(problem);
	assert_string_equal(dns_format_qname(d.name, d.len, out), row->name);
	assert_int_equal(d.is_below, row->is_below);
}

static const struct prefix_row {
	const char *text;
	size_t count;
	const char *first;
	const char *last;
} prefixes[] = {
	{ "0.0.0.0/0", 1, "in-addr.arpa.", "in-addr.arpa." },
	{ "10.0.0.0/8", 1, "10.in-addr.arpa.", "10.in-addr.arpa." },
	{ "10.96.0.0/12", 16, "96.10.in-addr.arpa.", "111.10.in-addr.arpa." },
	{ "10.96.0.0/16", 1, "96.10.in-addr.arpa.", "96.10.in-addr.arpa." },
	{ "10.0.0.0/9", 128, "0.10.in-addr.arpa.", "127.10.in-addr.arpa." },
	{ "128.0.0.0/1", 128, "128.in-addr.arpa.", "255.in-addr.arpa." },
	{ "192.168.4.0/22", 4, "4.168.192.in-addr.arpa.", "7.168.192.in-addr.arpa." },
	{ "192.168.1.128/25", 128, "128.1.168.192.in-addr.arpa.", "255.1.168.192.in-addr.arpa." },
	{ "192.168.1.9", 1, "9.1.168.192.in-addr.arpa.", "9.1.168.192.in-addr.arpa." },
	{ "::/0", 1, "ip6.arpa.", "ip6.arpa." },
	{ "fc00::/7", 2, "c.f.ip6.arpa.", "d.f.ip6.arpa." },
	{ "fd00::/8", 1, "d.f.ip6.arpa.", "d.f.ip6.arpa." },
	{ "2001:db8::/33", 8, "0.8.b.d.0.1.0.0.2.ip6.arpa.", "7.8.b.d.0.1.0.0.2.ip6.arpa." },
	{ "2001:db8::/32", 1, "8.b.d.0.1.0.0.2.ip6.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa." },
};

static void
expands_prefixes(void **state)
{
	const struct prefix_row *row = *state;
	char out[DNS_NAME_TEXT_MAX];
	struct prefix p;
	struct domain d;

	assert_int_equal(prefix_parse(row->text, &p), 0);
	assert_int_equal(domain_prefix_count(&p), row->count);
	domain_of_prefix(&p, 0, &d);
	assert_string_equal(dns_format_qname(d.name, d.len, out), row->first);
	assert_false(d.is_below);
	domain_of_prefix(&p, row->count - 1, &d);
	assert_string_equal(dns_format_qname(d.name, d.len, out), row->last);
}

int
main(void)
{
	return RUN_ROWS(rows, reads_domains) + RUN_ROWS(prefixes, expands_prefixes);
}
