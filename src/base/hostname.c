#include "base/hostname.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/address.h"

enum { LABEL_MAX = 63 }; /* RFC 1035 2.3.4 */

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const char *
label_problem(const char *label, size_t len)
{
	if (len == 0)
		return "has two dots in a row";
	if (len > LABEL_MAX)
		return "has more than 63 characters between two dots";
	if (label[0] == '-' || label[len - 1] == '-')
		return "has a `-' at the end of a label";
	return NULL;
}

static bool
is_ascii(const char *text)
{
	while (*text != '\0')
		if ((unsigned char)*text++ >= 0x80)
			return false;
	return true;
}

const char *
hostname_problem(const char *text)
{
	size_t len = strlen(text);
	size_t label;
	struct address address;
	const char *problem;

	if (len == 0)
		return "is empty; without `hostname' the certificate must name the address";
	if (address_parse(text, 0, &address) == 0)
		return "is an address; without `hostname' the certificate must name the address";
	if (!is_ascii(text))
		return "is not ASCII; write international names in their `xn--' form";
	if (len > HOSTNAME_MAX)
		return "has more than 253 characters";
	if (text[strspn(text, LETTERS DIGITS "-_.")] != '\0')
		return "has characters that are not allowed in a host name; write letters, digits, "
		       "`-' and `_'";
	if (text[0] == '.')
		return "begins with a dot";
	if (text[len - 1] == '.')
		return "ends with a dot; leave it off";
	for (;; text += label + 1) {
		label = strcspn(text, ".");
		if ((problem = label_problem(text, label)) != NULL)
			return problem;
		if (text[label] == '\0')
			break;
	}
	/* OpenSSL accepts more forms of IPv4 addresses than address_parse(), all of digits. */
	return text[strspn(text, DIGITS)] == '\0' ? "ends in a number, which no host name does" :
						    NULL;
}
