#ifndef DOTPROXY_DNS_INTERNAL_H
#define DOTPROXY_DNS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/wire.h"
#include "format/dns.h"
#include "format/opt.h"

/* What the files of this module share. */

struct dns_header {
	uint16_t id;
	uint16_t flags;
	uint16_t qdcount;
	uint16_t ancount;
	uint16_t nscount;
	uint16_t arcount;
};

void dns_read_header(struct wire_reader *, struct dns_header *);
void dns_write_header(struct wire_writer *, const struct dns_header *);

/*
 * Reads the header of a message, and its OPT record. False, with OPT all zero, when it has none
 * that can be read, or more than one, or one that is misplaced.
 */
bool dns_read_opt(const uint8_t *msg, size_t len, struct dns_header *, struct opt *opt);

/* Whether two questions of LEN bytes, of which the first is well formed, are the same. */
bool dns_same_question(const uint8_t *a, const uint8_t *b, size_t len);

#endif
