#include "query/names.h"

#include <stdio.h>
#include <unistd.h>

#include "format/domain.h"
#include "unit.h"

#define UP "upstreams: [192.0.2.1]\n"
#define X10 "xxxxxxxxxx"
#define X63 X10 X10 X10 X10 X10 X10 "xxx"
#define ZEROS_15 "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
#define ZEROS_31 ZEROS_15 "0." ZEROS_15

enum { CLASS_CH = 3, CLASS_ANY = 255, TYPE_MX = 15 };

/* What becomes of a query. */
enum outcome { FORWARDED, NXDOMAIN, NODATA, DATA };

static struct names *
names_of(const char *text)
{
	struct config_report report;
	struct config *config = config_read(text, strlen(text), "c", &report);
	struct failure why;
	struct names *names;

	if (report.errors != NULL)
		fail_msg("%s", report.errors);
	config_report_free(&report);
	if ((names = names_new(config, &why)) == NULL)
		fail_msg("%s", why.text);
	config_free(config);
	return names;
}

/* A query in a block of its size; every second letter of the name is a capital. */
static uint8_t *
query_for(const char *text, uint16_t qtype, uint16_t qclass, struct dns_query *q)
{
	struct domain d;
	uint8_t *query;
	size_t i;

	assert_null(domain_parse(text, &d));
	for (i = 1; i < d.len; i += 2)
		if (d.name[i] >= 'a' && d.name[i] <= 'z')
			d.name[i] = (uint8_t)(d.name[i] - 32);
	*q = (struct dns_query){ .question_len = d.len + 4, .qtype = qtype, .qclass = qclass };
	query = malloc(DNS_HEADER_LEN + q->question_len);
	assert_non_null(query);
	memset(query, 0, DNS_HEADER_LEN + q->question_len);
	memcpy(query + DNS_HEADER_LEN, d.name, d.len);
	return query;
}

static enum outcome
ask(const struct names *names, const char *text, uint16_t qtype, uint16_t qclass,
    struct dns_local *local)
{
	struct dns_query q;
	uint8_t *query = query_for(text, qtype, qclass, &q);
	bool is_local = names_find(names, query, &q, local);

	free(query);
	if (!is_local)
		return FORWARDED;
	assert_int_equal(local->ttl, 60);
	assert_true(local->zone_at < q.question_len - 4);
	if (local->rcode == DNS_NXDOMAIN) {
		assert_null(local->records);
		return NXDOMAIN;
	}
	assert_int_equal(local->rcode, DNS_NOERROR);
	return dns_has_record(local->records, qtype) ? DATA : NODATA;
}

/* ---- special-use names ---- */

static const uint16_t types[] = { 1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 39, 43, 44, 46, 47, 48, 52, 64,
	65, 99, 255, 257, 65280 };

/* The names of a zone: itself, and those below it, have these outcomes for every type. */
static const struct zone_row {
	const char *name;
	enum outcome itself;
	enum outcome below;
} zone_rows[] = {
	{ "invalid", NXDOMAIN, NXDOMAIN },
	{ "test", NXDOMAIN, NXDOMAIN },
	{ "onion", NXDOMAIN, NXDOMAIN },
	{ "alt", NXDOMAIN, NXDOMAIN },
	{ "local", NXDOMAIN, NXDOMAIN },
	{ "internal", NXDOMAIN, NXDOMAIN },
	{ "home.arpa", NODATA, NXDOMAIN }, /* but for DS of itself */
	{ "service.arpa", NODATA, NXDOMAIN },
	{ "10.in-addr.arpa", NODATA, NXDOMAIN },
	{ "16.172.in-addr.arpa", NODATA, NXDOMAIN },
	{ "17.172.in-addr.arpa", NODATA, NXDOMAIN },
	{ "31.172.in-addr.arpa", NODATA, NXDOMAIN },
	{ "168.192.in-addr.arpa", NODATA, NXDOMAIN },
	{ "64.100.in-addr.arpa", NODATA, NXDOMAIN },
	{ "100.100.in-addr.arpa", NODATA, NXDOMAIN },
	{ "127.100.in-addr.arpa", NODATA, NXDOMAIN },
	{ "0.in-addr.arpa", NODATA, NXDOMAIN },
	{ "127.in-addr.arpa", NODATA, NXDOMAIN },
	{ "254.169.in-addr.arpa", NODATA, NXDOMAIN },
	{ "2.0.192.in-addr.arpa", NODATA, NXDOMAIN },
	{ "100.51.198.in-addr.arpa", NODATA, NXDOMAIN },
	{ "113.0.203.in-addr.arpa", NODATA, NXDOMAIN },
	{ "255.255.255.255.in-addr.arpa", NODATA, NXDOMAIN },
	{ "0." ZEROS_31 "ip6.arpa", NODATA, NXDOMAIN },
	{ "1." ZEROS_31 "ip6.arpa", NODATA, NXDOMAIN },
	{ "d.f.ip6.arpa", NODATA, NXDOMAIN },
	{ "8.e.f.ip6.arpa", NODATA, NXDOMAIN },
	{ "9.e.f.ip6.arpa", NODATA, NXDOMAIN },
	{ "a.e.f.ip6.arpa", NODATA, NXDOMAIN },
	{ "b.e.f.ip6.arpa", NODATA, NXDOMAIN },
	{ "8.b.d.0.1.0.0.2.ip6.arpa", NODATA, NXDOMAIN },
	{ "0.f.f.f.3.ip6.arpa", NODATA, NXDOMAIN },
};

static void
assert_outcome(const struct names *names, const char *name, uint16_t qtype, enum outcome expected,
    size_t zone_at)
{
	struct dns_local local;
	enum outcome outcome = ask(names, name, qtype, DNS_CLASS_IN, &local);

	if (outcome != expected)
		fail_msg("%s, type %u: outcome %d", name, qtype, (int)outcome);
	if (outcome != NXDOMAIN && outcome != NODATA)
		return;
	assert_int_equal(local.zone_at, zone_at);
	assert_int_equal(local.ede, DNS_EDE_OTHER);
	assert_true(strlen(local.text) > 10);
}

static void
answers_a_special_use_zone(void **state)
{
	const struct zone_row *row = *state;
	struct names *names = names_of(UP);
	struct names *without = names_of(UP "local_names: false\n");
	bool is_home = strcmp(row->name, "home.arpa") == 0;
	char name[512];
	struct dns_local local;
	size_t i;

	for (i = 0; i < LENGTH(types); i++) {
		assert_outcome(names, row->name, types[i],
		    is_home && types[i] == DNS_TYPE_DS ? FORWARDED : row->itself, 0);
		(void)snprintf(name, sizeof name, "9.%s", row->name);
		assert_outcome(names, name, types[i], row->below, 2);
		(void)snprintf(name, sizeof name, "a.bc.def.%s", row->name);
		assert_outcome(names, name, types[i], row->below, 9);
		(void)snprintf(name, sizeof name, "%s.%s", X63, row->name);
		assert_outcome(names, name, types[i], row->below, 64);
		(void)snprintf(name, sizeof name, "not%s", row->name);
		assert_outcome(names, name, types[i], FORWARDED, 0);
		(void)snprintf(name, sizeof name, "%s.example", row->name);
		assert_outcome(names, name, types[i], FORWARDED, 0);
		assert_outcome(without, row->name, types[i], FORWARDED, 0);
	}
	assert_int_equal(ask(names, row->name, 1, CLASS_CH, &local), FORWARDED);
	assert_int_equal(ask(names, row->name, 1, CLASS_ANY, &local), FORWARDED);
	names_free(without);
	names_free(names);
}

static const struct other_row {
	const char *name;
	const char *qname;
	uint16_t qtype;
	enum outcome outcome;
} other_rows[] = {
	{ "localhost, A", "localhost", DNS_TYPE_A, DATA },
	{ "localhost, AAAA", "localhost", DNS_TYPE_AAAA, DATA },
	{ "localhost, ANY", "localhost", DNS_TYPE_ANY, DATA },
	{ "localhost, MX", "localhost", TYPE_MX, NODATA },
	{ "localhost, SOA", "localhost", DNS_TYPE_SOA, NODATA },
	{ "below localhost, A", "a.b.localhost", DNS_TYPE_A, DATA },
	{ "below localhost, MX", "a.b.localhost", TYPE_MX, NODATA },
	{ "notlocalhost", "notlocalhost", DNS_TYPE_A, FORWARDED },
	{ "localhost.example", "localhost.example", DNS_TYPE_A, FORWARDED },
	{ "home.arpa, DS", "home.arpa", DNS_TYPE_DS, FORWARDED },
	{ "home.arpa, NS", "home.arpa", DNS_TYPE_NS, NODATA },
	{ "below home.arpa, DS", "a.home.arpa", DNS_TYPE_DS, NXDOMAIN },
	{ "ipv4only.arpa, A", "ipv4only.arpa", DNS_TYPE_A, FORWARDED },
	{ "ipv4only.arpa, AAAA", "ipv4only.arpa", DNS_TYPE_AAAA, FORWARDED },
	{ "the reverse of an address of ipv4only.arpa", "170.0.0.192.in-addr.arpa", DNS_TYPE_PTR,
	    FORWARDED },
	{ "arpa", "arpa", DNS_TYPE_A, FORWARDED },
	{ "in-addr.arpa", "in-addr.arpa", DNS_TYPE_SOA, FORWARDED },
	{ "ip6.arpa", "ip6.arpa", DNS_TYPE_SOA, FORWARDED },
	{ "the root", ".", DNS_TYPE_NS, FORWARDED },
	{ "example", "example", DNS_TYPE_A, FORWARDED },
	{ "example.com", "www.example.com", DNS_TYPE_A, FORWARDED },
	{ "above private addresses", "172.in-addr.arpa", DNS_TYPE_SOA, FORWARDED },
	{ "before private addresses", "1.0.15.172.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "the first private addresses", "1.0.16.172.in-addr.arpa", DNS_TYPE_PTR, NXDOMAIN },
	{ "the last private addresses", "1.0.31.172.in-addr.arpa", DNS_TYPE_PTR, NXDOMAIN },
	{ "after private addresses", "1.0.32.172.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "a leading zero", "1.0.016.172.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "two digits of a private address", "1.0.1.172.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "before shared addresses", "1.0.63.100.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "the first shared addresses", "1.0.64.100.in-addr.arpa", DNS_TYPE_PTR, NXDOMAIN },
	{ "the last shared addresses", "1.0.127.100.in-addr.arpa", DNS_TYPE_PTR, NXDOMAIN },
	{ "after shared addresses", "1.0.128.100.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "next to 192.168", "1.0.167.192.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "next to 192.0.2", "1.3.0.192.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "next to 255.255.255.255", "254.255.255.255.in-addr.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "next to fd00::/8", "c.f.ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "before fe80::/10", "7.e.f.ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "after fe80::/10", "c.e.f.ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "above fe80::/10", "e.f.ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "the address ::2", "2." ZEROS_31 "ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "a part of ::1", ZEROS_31 "ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "next to 2001:db8::", "9.b.d.0.1.0.0.2.ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "next to 3fff::/20", "1.f.f.f.3.ip6.arpa", DNS_TYPE_PTR, FORWARDED },
	{ "a single label", "printer", DNS_TYPE_A, FORWARDED },
};

static void
answers_or_forwards(void **state)
{
	const struct other_row *row = *state;
	struct names *names = names_of(UP);
	struct dns_local local;

	assert_int_equal(ask(names, row->qname, row->qtype, DNS_CLASS_IN, &local), row->outcome);
	names_free(names);
}

static void
localhost_has_the_loopback_addresses(void **state)
{
	struct names *names = names_of(UP);
	struct dns_local local;
	const struct dns_record *r;

	(void)state;
	assert_int_equal(ask(names, "x.localhost", DNS_TYPE_A, DNS_CLASS_IN, &local), DATA);
	assert_int_equal(local.ede, DNS_EDE_NONE);
	r = local.records;
	assert_int_equal(r->type, DNS_TYPE_A);
	assert_int_equal(r->len, 4);
	assert_memory_equal(r->data, "\177\0\0\1", 4);
	r = r->next;
	assert_int_equal(r->type, DNS_TYPE_AAAA);
	assert_int_equal(r->len, 16);
	assert_memory_equal(r->data, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_null(r->next);
	names_free(names);
}

/* A name of 127 labels, and the longest one. */
static void
long_names_are_looked_up(void **state)
{
	struct names *names = names_of(UP);
	struct dns_local local;
	char name[DNS_NAME_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < 253; i++)
		name[i] = i % 2 == 0 ? 'a' : '.';
	name[i] = '\0';
	assert_int_equal(ask(names, name, 1, DNS_CLASS_IN, &local), FORWARDED);
	(void)snprintf(name + 248, 5, "test");
	assert_int_equal(ask(names, name, 1, DNS_CLASS_IN, &local), NXDOMAIN);
	assert_int_equal(local.zone_at, 248);
	names_free(names);
}

static void
signed_queries_get_a_reason_with_data(void **state)
{
	struct names *names = names_of(UP);
	struct dns_local local;
	struct dns_query q;
	uint8_t *query = query_for("localhost", DNS_TYPE_A, DNS_CLASS_IN, &q);

	(void)state;
	q.is_signed = true;
	assert_true(names_find(names, query, &q, &local));
	assert_int_equal(local.ede, DNS_EDE_OTHER);
	assert_non_null(strstr(local.text, "not signed"));
	free(query);
	names_free(names);
}

static void
single_labels_are_answered(void **state)
{
	struct names *names = names_of(UP "single_labels: nxdomain\nhosts: {nas.lan: 10.0.0.1}\n");
	struct dns_local local;
	size_t i;
	uint16_t t;

	(void)state;
	for (i = 0; i < LENGTH(types); i++) {
		t = types[i];
		assert_outcome(names, "printer", t,
		    t == DNS_TYPE_NS || t == DNS_TYPE_DS || t == DNS_TYPE_SOA ||
			    t == DNS_TYPE_DNSKEY ?
			FORWARDED :
			NXDOMAIN,
		    0);
	}
	assert_outcome(names, "lan", DNS_TYPE_A, NODATA, 0); /* there is a name below */
	assert_int_equal(ask(names, "localhost", DNS_TYPE_A, DNS_CLASS_IN, &local), DATA);
	assert_outcome(names, "printer.lan", DNS_TYPE_A, FORWARDED, 0);
	assert_outcome(names, ".", DNS_TYPE_A, FORWARDED, 0);
	names_free(names);
}

/* ---- hosts ---- */

/* "A 192.168.1.9", "AAAA ...", "PTR ..." in the order of the records, or what else comes of it. */
static void
describe(const struct names *names, const char *qname, uint16_t qtype, char *text, size_t size)
{
	static const char *const outcomes[] = { "forwarded", "NXDOMAIN", "NODATA" };
	struct dns_local local;
	enum outcome outcome = ask(names, qname, qtype, DNS_CLASS_IN, &local);
	char name[DNS_NAME_TEXT_MAX];
	const struct dns_record *r;
	size_t len = 0;

	if (outcome != DATA) {
		(void)snprintf(text, size, "%s", outcomes[outcome]);
		return;
	}
	for (r = local.records; r != NULL; r = r->next) {
		if (qtype != DNS_TYPE_ANY && r->type != qtype)
			continue;
		if (r->type == DNS_TYPE_PTR)
			(void)dns_format_qname(r->data, r->len, name);
		else if (r->type == DNS_TYPE_A)
			(void)snprintf(name, sizeof name, "%u.%u.%u.%u", r->data[0], r->data[1],
			    r->data[2], r->data[3]);
		else
			(void)snprintf(name, sizeof name, "%02x..%02x", r->data[0], r->data[15]);
		len += (size_t)snprintf(text + len, size - len, "%s%s", len > 0 ? " " : "", name);
	}
}

#define HOSTS "hosts: {Printer.LAN: 192.168.1.9, db.: [10.0.0.5, \"fd00::5\", 10.0.0.6], " \
	"other: 192.168.1.9, a.b.internal: 10.0.0.7, block.example: 0.0.0.0}\n"

static const struct host_row {
	const char *name;
	const char *config;
	const char *qname;
	uint16_t qtype;
	const char *found;
} host_rows[] = {
	{ "hosts: A", HOSTS, "printer.lan", DNS_TYPE_A, "192.168.1.9" },
	{ "hosts: AAAA of a name that has none", HOSTS, "printer.lan", DNS_TYPE_AAAA, "NODATA" },
	{ "hosts: MX", HOSTS, "printer.lan", TYPE_MX, "NODATA" },
	{ "hosts: SOA", HOSTS, "printer.lan", DNS_TYPE_SOA, "NODATA" },
	{ "hosts: below the name", HOSTS, "a.printer.lan", DNS_TYPE_A, "forwarded" },
	{ "hosts: above the name", HOSTS, "lan", DNS_TYPE_A, "forwarded" },
	{ "hosts: next to the name", HOSTS, "xprinter.lan", DNS_TYPE_A, "forwarded" },
	{ "hosts: several addresses", HOSTS, "db", DNS_TYPE_A, "10.0.0.5 10.0.0.6" },
	{ "hosts: several addresses, AAAA", HOSTS, "db", DNS_TYPE_AAAA, "fd..05" },
	{ "hosts: ANY", HOSTS, "db", DNS_TYPE_ANY, "10.0.0.5 fd..05 10.0.0.6" },
	{ "hosts: PTR", HOSTS, "6.0.0.10.in-addr.arpa", DNS_TYPE_PTR, "db." },
	{ "hosts: PTR of IPv6", HOSTS,
	    "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DNS_TYPE_PTR,
	    "db." },
	{ "hosts: PTR of an address with two names", HOSTS, "9.1.168.192.in-addr.arpa", DNS_TYPE_PTR,
	    "printer.lan." },
	{ "hosts: another type of a reverse name", HOSTS, "9.1.168.192.in-addr.arpa", DNS_TYPE_A,
	    "NODATA" },
	{ "hosts: ANY of a reverse name", HOSTS, "9.1.168.192.in-addr.arpa", DNS_TYPE_ANY,
	    "printer.lan." },
	{ "hosts: above a reverse name", HOSTS, "1.168.192.in-addr.arpa", DNS_TYPE_PTR, "NODATA" },
	{ "hosts: next to a reverse name", HOSTS, "8.1.168.192.in-addr.arpa", DNS_TYPE_PTR,
	    "NXDOMAIN" },
	{ "hosts: in a special-use zone", HOSTS, "a.b.internal", DNS_TYPE_A, "10.0.0.7" },
	{ "hosts: an empty name in a special-use zone", HOSTS, "b.internal", DNS_TYPE_A, "NODATA" },
	{ "hosts: a special-use zone above a name", HOSTS, "internal", DNS_TYPE_A, "NODATA" },
	{ "hosts: another name of a special-use zone", HOSTS, "c.b.internal", DNS_TYPE_A,
	    "NXDOMAIN" },
	{ "hosts: 0.0.0.0", HOSTS, "block.example", DNS_TYPE_A, "0.0.0.0" },
	{ "hosts: 0.0.0.0 leads to no name", HOSTS, "0.0.0.0.in-addr.arpa", DNS_TYPE_PTR,
	    "NXDOMAIN" },
	{ "hosts: without special-use names", HOSTS "local_names: false\n", "printer.lan",
	    DNS_TYPE_A, "192.168.1.9" },
	{ "hosts: without special-use names, PTR", HOSTS "local_names: false\n",
	    "9.1.168.192.in-addr.arpa", DNS_TYPE_PTR, "printer.lan." },
	{ "hosts: without special-use names, above PTR", HOSTS "local_names: false\n",
	    "1.168.192.in-addr.arpa", DNS_TYPE_PTR, "forwarded" },
	{ "hosts: localhost", "hosts: {localhost: 127.0.0.2}\n", "localhost", DNS_TYPE_ANY,
	    "127.0.0.2" },
	{ "hosts: below localhost", "hosts: {localhost: 127.0.0.2}\n", "a.localhost", DNS_TYPE_ANY,
	    "127.0.0.2" },
	{ "hosts: a name of a reverse zone", "hosts: {10.in-addr.arpa: 10.0.0.1}\n",
	    "10.in-addr.arpa", DNS_TYPE_A, "10.0.0.1" },
};

static void
answers_a_name_of_hosts(void **state)
{
	const struct host_row *row = *state;
	char text[1024];
	struct names *names;

	(void)snprintf(text, sizeof text, UP "%s", row->config);
	names = names_of(text);
	describe(names, row->qname, row->qtype, text, sizeof text);
	assert_string_equal(text, row->found);
	names_free(names);
}

/* ---- the hosts file ---- */

/* Makes names of a file with LEN bytes, and of hosts {fixed.lan: 10.9.9.9}. */
static struct names *
names_of_file(const void *bytes, size_t len, struct failure *why)
{
	char path[] = "/tmp/dot-proxy-test-XXXXXX";
	int fd = mkstemp(path);
	struct config config = { .local_names = true, .hosts_file = path };
	struct address address;
	char fixed[] = "fixed.lan";
	struct config_host host = { fixed, &address, 1 };
	struct names *names;
	char *at;

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(address_parse("10.9.9.9", 0, &address), 0);
	config.hosts = &host;
	config.host_count = 1;
	names = names_new(&config, why);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	/* The path differs each time. */
	if (names == NULL && (at = strstr(why->text, path)) != NULL)
		memmove(at, at + strlen(path), strlen(at + strlen(path)) + 1);
	return names;
}

#define FILE_TEXT                                   \
	"# 10.1.1.1 commented.lan\n"                \
	"\n"                                        \
	"127.0.0.1\tlocalhost loopback\n"           \
	"::1  localhost ip6-localhost\n"            \
	"fe80::1%lo0 localhost scoped\n"            \
	"  10.1.1.2 NAS.lan nas # the one upstairs\r\n" \
	"10.1.1.3 nas.lan\n"                        \
	"10.1.1.2 later.lan\n"                      \
	"10.1.1.4 fixed.lan alias.lan\n"            \
	"0.0.0.0 ads.example tracker.example\n"     \
	"fd00::9 nas.lan nas.lan\n"                 \
	"10.1.1.5 last.lan"

static const struct file_row {
	const char *qname;
	uint16_t qtype;
	const char *found;
} file_rows[] = {
	{ "nas.lan", DNS_TYPE_A, "10.1.1.2 10.1.1.3" },
	{ "nas.lan", DNS_TYPE_AAAA, "fd..09" },
	{ "nas", DNS_TYPE_A, "10.1.1.2" },
	{ "2.1.1.10.in-addr.arpa", DNS_TYPE_PTR, "nas.lan." },
	{ "later.lan", DNS_TYPE_A, "10.1.1.2" },
	{ "fixed.lan", DNS_TYPE_A, "10.9.9.9" },
	{ "4.1.1.10.in-addr.arpa", DNS_TYPE_PTR, "NXDOMAIN" },
	{ "alias.lan", DNS_TYPE_A, "10.1.1.4" },
	{ "localhost", DNS_TYPE_ANY, "127.0.0.1 00..01" },
	{ "loopback", DNS_TYPE_A, "127.0.0.1" },
	{ "1.0.0.127.in-addr.arpa", DNS_TYPE_PTR, "localhost." },
	{ "scoped", DNS_TYPE_ANY, "forwarded" },
	{ "tracker.example", DNS_TYPE_A, "0.0.0.0" },
	{ "last.lan", DNS_TYPE_A, "10.1.1.5" },
	{ "commented.lan", DNS_TYPE_A, "forwarded" },
	{ "5.1.1.10.in-addr.arpa", DNS_TYPE_PTR, "last.lan." },
};

static void
hosts_file_is_read(void **state)
{
	struct failure why;
	struct names *names = names_of_file(FILE_TEXT, sizeof FILE_TEXT - 1, &why);
	char text[256];
	size_t i;

	(void)state;
	assert_non_null(names);
	for (i = 0; i < LENGTH(file_rows); i++) {
		describe(names, file_rows[i].qname, file_rows[i].qtype, text, sizeof text);
		if (strcmp(text, file_rows[i].found) != 0)
			fail_msg("%s: %s", file_rows[i].qname, text);
	}
	names_free(names);
}

#define NOT_AN_ADDRESS " is not an IP address (a line is: address, name, aliases)"

static const struct bad_row {
	const char *name;
	const uint8_t *text;
	size_t len;
	const char *why;
} bad_rows[] = {
	{ "hosts file: not an address", BYTES("127.0.0.1 a\n\n 300.1.1.1 b\n"),
	    ":3:2: `300.1.1.1'" NOT_AN_ADDRESS },
	{ "hosts file: the name first", BYTES("printer.lan 192.168.1.9\n"),
	    ":1:1: `printer.lan'" NOT_AN_ADDRESS },
	{ "hosts file: a port", BYTES("10.0.0.1:53 a\n"), ":1:1: `10.0.0.1:53'" NOT_AN_ADDRESS },
	{ "hosts file: brackets", BYTES("[::1] a\n"), ":1:1: `[::1]'" NOT_AN_ADDRESS },
	{ "hosts file: no name", BYTES("10.0.0.1 # a\n"), ":1:1: no name after the address" },
	{ "hosts file: a bad name", BYTES("10.0.0.1 a b..c\n"),
	    ":1:12: `b..c' has an empty label" },
	{ "hosts file: control characters", BYTES("10.0.0.1 a\33[2J\n"),
	    ":1:10: `a?[2J' has a character that no name has in the configuration" },
	{ "hosts file: a NUL byte", BYTES("10.0.0.1 a\n10.0.0.1\0 a\n"),
	    ":2:1: not text: a NUL byte" },
};

static void
hosts_file_is_refused(void **state)
{
	const struct bad_row *row = *state;
	struct failure why;

	assert_null(names_of_file(row->text, row->len, &why));
	assert_string_equal(why.text, row->why);
}

static void
hosts_file_may_be_empty(void **state)
{
	struct failure why;
	struct names *names = names_of_file("", 0, &why);

	(void)state;
	assert_non_null(names);
	names_free(names);
}

static void
hosts_file_may_be_missing_or_too_large(void **state)
{
	char missing[] = "/nonexistent/hosts", device[] = "/dev/null";
	struct config config = { .hosts_file = missing };
	struct failure why;
	size_t len = (8 << 20) + 1;
	uint8_t *bytes = malloc(len);

	(void)state;
	assert_null(names_new(&config, &why));
	assert_string_equal(why.text, "hosts file /nonexistent/hosts: No such file or directory");
	config.hosts_file = device;
	assert_null(names_new(&config, &why));
	assert_string_equal(why.text, "hosts file /dev/null: is a device, not a regular file");
	assert_non_null(bytes);
	memset(bytes, '\n', len);
	assert_null(names_of_file(bytes, len, &why));
	assert_string_equal(why.text, "hosts file : is larger than 8192 KiB");
	free(bytes);
}

/* Each has its addresses; a name has 256 of them at most. */
static void
many_addresses_of_a_name(void **state)
{
	char *text = NULL;
	struct names *names;
	struct failure why;
	FILE *out;
	size_t len;
	int more, i;

	(void)state;
	for (more = 0; more <= 1; more++) {
		assert_non_null(out = open_memstream(&text, &len));
		for (i = 0; i < 256 + more; i++)
			fprintf(out, "10.0.%d.%d many.lan h%d.lan\n", i / 256, i % 256, i);
		assert_int_equal(fclose(out), 0);
		names = names_of_file(text, len, &why);
		free(text);
		assert_int_equal(names != NULL, more == 0);
		names_free(names);
	}
	assert_string_equal(why.text, ":257:10: more than 256 addresses of one name");
}

static void
many_names_are_found(void **state)
{
	enum { COUNT = 20000 };
	char *text, name[32], expected[32], found[64];
	struct names *names;
	struct failure why;
	FILE *out;
	size_t len;
	int i;

	(void)state;
	assert_non_null(out = open_memstream(&text, &len));
	for (i = 0; i < COUNT; i++)
		fprintf(out, "10.1.%d.%d h%d.lan\n", i / 250, i % 250, i);
	assert_int_equal(fclose(out), 0);
	names = names_of_file(text, len, &why);
	free(text);
	assert_non_null(names);
	for (i = 0; i < COUNT; i += 7) {
		(void)snprintf(name, sizeof name, "h%d.lan", i);
		(void)snprintf(expected, sizeof expected, "10.1.%d.%d", i / 250, i % 250);
		describe(names, name, DNS_TYPE_A, found, sizeof found);
		assert_string_equal(found, expected);
	}
	describe(names, "h20000.lan", DNS_TYPE_A, found, sizeof found);
	assert_string_equal(found, "forwarded");
	names_free(names);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(localhost_has_the_loopback_addresses),
		cmocka_unit_test(long_names_are_looked_up),
		cmocka_unit_test(signed_queries_get_a_reason_with_data),
		cmocka_unit_test(single_labels_are_answered),
		cmocka_unit_test(hosts_file_is_read),
		cmocka_unit_test(hosts_file_may_be_empty),
		cmocka_unit_test(hosts_file_may_be_missing_or_too_large),
		cmocka_unit_test(many_addresses_of_a_name),
		cmocka_unit_test(many_names_are_found),
	};

	return RUN_ROWS(zone_rows, answers_a_special_use_zone) +
	    RUN_ROWS(other_rows, answers_or_forwards) +
	    RUN_ROWS(host_rows, answers_a_name_of_hosts) +
	    RUN_ROWS(bad_rows, hosts_file_is_refused) +
	    cmocka_run_group_tests_name("names", singles, NULL, NULL);
}
