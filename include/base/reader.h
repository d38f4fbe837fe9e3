#ifndef DOTPROXY_READER_H
#define DOTPROXY_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A cursor over bytes that a stranger sent. A read past the end fails, yields 0,
 * moves nothing, and makes every later one fail too: read straight through and
 * ask `failed' once.
 */
struct reader {
	const uint8_t *data;
	size_t len;
	size_t pos; /* pos <= len, always */
	bool failed;
};

/* DATA stays the caller's and must live as long as the reader. */
void reader_init(struct reader *, const uint8_t *data, size_t len);

uint8_t reader_u8(struct reader *);
uint16_t reader_u16(struct reader *);
uint32_t reader_u32(struct reader *);

/* Steps over N bytes. */
void reader_skip(struct reader *, size_t n);

/* The next N bytes, stepped over, or NULL. N may be 0. */
const uint8_t *reader_bytes(struct reader *, size_t n);

/*
 * Steps over a domain name (RFC 1035 4.1.4) without following a compression
 * pointer. Fails on reserved label types and on names over 255 octets.
 */
void reader_skip_name(struct reader *);

/* The same, and fails on a compression pointer: for the QNAME, which can have none. */
void reader_skip_plain_name(struct reader *);

/* Whether everything was read and nothing failed. */
bool reader_done(const struct reader *);

#endif
