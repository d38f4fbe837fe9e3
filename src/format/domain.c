#include "format/domain.h"

#include <string.h>

#include "base/wire.h"

enum { LABEL_MAX = 63 /* RFC 1035 2.3.4 */ };

/* ---- names ---- */

static uint8_t
lower(char c)
{
	return (uint8_t)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* What is wrong with the label of LEN characters at TEXT, or NULL. */
static const char *
label_problem(const char *text, size_t len)
{
	size_t i;

	if (len == 0)
		return "has an empty label";
	for (i = 0; i < len; i++) {
		if (text[i] == '*')
			return "has a `*' that is not its first label (as in *.corp.example)";
		if ((unsigned char)text[i] > '~')
			return "is not ASCII (write it as its A-label, which begins with xn--)";
		if (text[i] <= ' ' || text[i] == '\\')
			return "has a character that no name has in the configuration";
	}
	return len > LABEL_MAX ? "has a label of more than 63 bytes" : NULL;
}

const char *
domain_parse(const char *text, struct domain *out)
{
	const char *problem;
	struct wire_writer w;
	size_t i, len;

	wire_writer_init(&w, out->name, sizeof out->name);
	out->is_below = strncmp(text, "*.", 2) == 0 && text[2] != '\0';
	text += out->is_below ? 2 : 0;
	if (strcmp(text, ".") == 0)
		text++;
	else if (*text == '\0')
		return "is empty";
	while (*text != '\0') {
		len = strcspn(text, ".");
		if ((problem = label_problem(text, len)) != NULL)
			return problem;
		wire_write_u8(&w, (uint8_t)len);
		for (i = 0; i < len; i++)
			wire_write_u8(&w, lower(text[i]));
		text += len + (text[len] == '.');
	}
	wire_write_u8(&w, 0);
	out->len = wire_written(&w);
	return out->len == 0 ? "has more than 255 bytes" : NULL;
}

/* ---- reverse zones ---- */

static unsigned
label_bits(const struct prefix *p)
{
	return p->family == AF_INET ? 8 : 4;
}

/* How many labels of its addresses a zone has. */
static unsigned
label_count(const struct prefix *p)
{
	return (p->bits + label_bits(p) - 1) / label_bits(p);
}

size_t
domain_prefix_count(const struct prefix *p)
{
	return (size_t)1 << (label_count(p) * label_bits(p) - p->bits);
}

/* Writes a part of an address as a label: a number, or a hexadecimal digit. */
static void
write_part(struct wire_writer *w, const struct prefix *p, unsigned part)
{
	char text[4];
	size_t len = 0;

	if (p->family != AF_INET) {
		text[len++] = "0123456789abcdef"[part];
	} else {
		if (part >= 100)
			text[len++] = (char)('0' + part / 100);
		if (part >= 10)
			text[len++] = (char)('0' + part / 10 % 10);
		text[len++] = (char)('0' + part % 10);
	}
	wire_write_u8(w, (uint8_t)len);
	wire_write_bytes(w, text, len);
}

void
domain_of_prefix(const struct prefix *p, size_t index, struct domain *out)
{
	static const uint8_t v4[] = "\007in-addr\004arpa";
	static const uint8_t v6[] = "\003ip6\004arpa";
	struct wire_writer w;
	unsigned i;

	wire_writer_init(&w, out->name, sizeof out->name);
	for (i = label_count(p); i > 0; i--) {
		unsigned part = p->bytes[p->family == AF_INET ? i - 1 : (i - 1) / 2];

		if (p->family != AF_INET)
			part = i % 2 == 1 ? part >> 4 : part & 0xf;
		/* The first label that is written is the last part of the prefix. */
		write_part(&w, p, i == label_count(p) ? part + (unsigned)index : part);
	}
	if (p->family == AF_INET)
		wire_write_bytes(&w, v4, sizeof v4);
	else
		wire_write_bytes(&w, v6, sizeof v6);
	out->len = wire_written(&w);
	out->is_below = false;
}
