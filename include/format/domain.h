#ifndef DOTPROXY_DOMAIN_H
#define DOTPROXY_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "format/dns.h"

/* A domain: a name and all names below it, or only those ("*.example"). */
struct domain {
	uint8_t name[DNS_NAME_MAX]; /* labels with their lengths, in lower case, and the root's 0 */
	size_t len;
	bool is_below; /* the name itself does not belong to it */
};

/*
 * Reads "corp.example", with or without a dot at the end, "*.corp.example", or ".", the root. Returns
 * NULL, or what is wrong with TEXT as the end of a sentence that begins with "domain TEXT ".
 */
const char *domain_parse(const char *text, struct domain *);

/*
 * The reverse zones of a prefix (RFC 1035 3.5, RFC 3596 2.5). One that ends inside of a label is made
 * of the next finer zones, 128 at most. How many there are, and the one with that number.
 */
size_t domain_prefix_count(const struct prefix *);
void domain_of_prefix(const struct prefix *, size_t index, struct domain *);

#endif
