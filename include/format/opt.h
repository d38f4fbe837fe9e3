#ifndef DOTPROXY_OPT_H
#define DOTPROXY_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/wire.h"

/*
 * Reads and writes OPT records (RFC 6891 6.1.2). It knows neither the rest of the message nor
 * what the options mean.
 */

enum {
	OPT_TYPE = 41,      /* the record's TYPE */
	OPT_LEN = 11,       /* the record without options, its owner (the root) included */
	OPT_HEADER_LEN = 4, /* code and length of an option */
	OPT_EDE_LEN = 2,    /* the data of an Extended DNS Error without a text */
	OPT_DO = 0x8000     /* in the flags (RFC 3225 3) */
};

/* Codes of options. */
enum {
	OPT_NSID = 3,          /* RFC 5001 2.3 */
	OPT_CLIENT_SUBNET = 8, /* RFC 7871 6 */
	OPT_COOKIE = 10,       /* RFC 7873 4 */
	OPT_KEEPALIVE = 11,    /* RFC 7828 3.1 */
	OPT_PADDING = 12,      /* RFC 7830 3 */
	OPT_EDE = 15           /* RFC 8914 2 */
};

struct opt {
	uint16_t udp_size; /* the sender's UDP payload size */
	uint8_t rcode;     /* the upper eight bits of twelve */
	uint8_t version;
	uint16_t flags;
	struct wire_reader options; /* in the bytes that were read; to be copied and read on */
};

/* One option of a record. */
struct opt_option {
	uint16_t code;
	const uint8_t *data; /* in the bytes that were read */
	size_t len;          /* of the data */
};

/*
 * Reads what follows owner and type of a record. The bytes must live as long as OPT is used.
 * Where they end early, the reader has failed and OPT is all zero.
 */
void opt_read(struct wire_reader *, struct opt *);

/* Reads the next option. False at the end, and when it is broken: then OPTIONS has failed. */
bool opt_next(struct wire_reader *options, struct opt_option *);

/*
 * Writes a record with the fields of OPT but no options; they are written behind it, and then
 * opt_end() writes their length. Returns what opt_end() needs.
 */
size_t opt_begin(struct wire_writer *, const struct opt *);
void opt_end(struct wire_writer *, size_t begin);

void opt_write_option(struct wire_writer *, uint16_t code, const void *data, size_t len);

/*
 * Writes an Extended DNS Error (RFC 8914 2). TEXT (UTF-8, may be NULL) is cut to what fits,
 * between characters; the option is left out when not even its INFO-CODE fits.
 */
void opt_write_ede(struct wire_writer *, uint16_t info_code, const char *text);

#endif
