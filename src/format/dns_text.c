#include "format/dns.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"

static char *
put_char(char *p, uint8_t c)
{
	if (c <= ' ' || c > '~') {
		*p++ = '\\';
		*p++ = (char)('0' + c / 100);
		*p++ = (char)('0' + c / 10 % 10);
		*p++ = (char)('0' + c % 10);
		return p;
	}
	if (strchr(".\\\"();@$", c) != NULL)
		*p++ = '\\';
	*p++ = (char)c;
	return p;
}

char *
dns_format_qname(const uint8_t *question, size_t question_len, char text[static DNS_NAME_TEXT_MAX])
{
	struct wire_reader r, label;
	const uint8_t *p;
	char *out = text;
	size_t n;

	/* A byte of the name becomes four characters at most, so TEXT is long enough. */
	wire_reader_init(&r, question, question_len < DNS_NAME_MAX ? question_len : DNS_NAME_MAX);
	while ((n = wire_read_u8(&r)) != 0 && (p = wire_read_bytes(&r, n)) != NULL) {
		wire_reader_init(&label, p, n);
		while (!wire_is_done(&label))
			out = put_char(out, wire_read_u8(&label));
		*out++ = '.';
	}
	if (out == text)
		*out++ = '.';
	*out = '\0';
	return text;
}

char *
dns_format_rcode(enum dns_rcode rcode, char text[static 20])
{
	static const char *const names[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",
		"REFUSED" };

	if ((size_t)rcode < sizeof names / sizeof names[0])
		(void)snprintf(text, 20, "%s", names[rcode]);
	else
		(void)snprintf(text, 20, "RCODE %u", (unsigned)rcode);
	return text;
}

char *
dns_format_type(uint16_t qtype, char text[static 10])
{
	static const struct {
		uint16_t type;
		char name[10];
	} types[] = { { 1, "A" }, { 2, "NS" }, { 5, "CNAME" }, { 6, "SOA" }, { 12, "PTR" },
		{ 13, "HINFO" }, { 15, "MX" }, { 16, "TXT" }, { 28, "AAAA" }, { 29, "LOC" },
		{ 33, "SRV" }, { 35, "NAPTR" }, { 39, "DNAME" }, { 43, "DS" }, { 44, "SSHFP" },
		{ 46, "RRSIG" }, { 47, "NSEC" }, { 48, "DNSKEY" }, { 50, "NSEC3" }, { 52, "TLSA" },
		{ 59, "CDS" }, { 60, "CDNSKEY" }, { 64, "SVCB" }, { 65, "HTTPS" }, { 99, "SPF" },
		{ 249, "TKEY" }, { 250, "TSIG" }, { 251, "IXFR" }, { 252, "AXFR" }, { 255, "ANY" },
		{ 256, "URI" }, { 257, "CAA" } };
	size_t i;

	for (i = 0; i < sizeof types / sizeof types[0]; i++)
		if (types[i].type == qtype)
			return memcpy(text, types[i].name, sizeof types[i].name);
	(void)snprintf(text, 10, "TYPE%u", (unsigned)qtype);
	return text;
}
