#ifndef DOTPROXY_WIRE_H
#define DOTPROXY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Cursors over the bytes of messages, numbers in network byte order. All bytes from the network
 * are read through a reader, and messages are written through a writer; nothing else turns an
 * offset in a message into an address.
 */

/*
 * A read past the end fails, yields 0, moves nothing, and makes every later one fail too: read
 * straight through and check `failed' once.
 */
struct wire_reader {
	const uint8_t *data;
	size_t len;
	size_t pos; /* pos <= len, always */
	bool failed;
};

/* DATA stays the caller's and must live as long as the reader. */
void wire_reader_init(struct wire_reader *, const uint8_t *data, size_t len);

uint8_t wire_read_u8(struct wire_reader *);
uint16_t wire_read_u16(struct wire_reader *);
uint32_t wire_read_u32(struct wire_reader *);

/* The next N bytes, stepped over, or NULL. N may be 0. */
const uint8_t *wire_read_bytes(struct wire_reader *, size_t n);

/* Steps over N bytes. */
void wire_skip(struct wire_reader *, size_t n);

/*
 * Steps over a domain name (RFC 1035 4.1.4) without following a compression
 * pointer. Fails on reserved label types and on names over 255 bytes.
 */
void wire_skip_name(struct wire_reader *);

/* The same, and fails on a compression pointer: for the QNAME, which can have none. */
void wire_skip_plain_name(struct wire_reader *);

/* Whether everything was read and nothing failed. */
bool wire_is_done(const struct wire_reader *);

/*
 * A write past the end fails, writes nothing, and makes every later one fail too: write straight
 * through and take the length from wire_written().
 */
struct wire_writer {
	uint8_t *data;
	size_t cap;
	size_t pos; /* bytes written so far; pos <= cap, always */
	bool failed;
};

/* DATA has room for CAP bytes, stays the caller's and must live as long as the writer. */
void wire_writer_init(struct wire_writer *, uint8_t *data, size_t cap);

void wire_write_u8(struct wire_writer *, uint8_t);
void wire_write_u16(struct wire_writer *, uint16_t);
void wire_write_u32(struct wire_writer *, uint32_t);
void wire_write_zeros(struct wire_writer *, size_t n);

/* BYTES may overlap with what is written; NULL only if N is 0. */
void wire_write_bytes(struct wire_writer *, const void *bytes, size_t n);

/* Writes over two bytes at AT that were written before; fails if they were not. */
void wire_overwrite_u16(struct wire_writer *, size_t at, uint16_t);

/* How many bytes may still be written; 0 once a write has failed. */
size_t wire_room(const struct wire_writer *);

/* How many bytes were written; 0 if a write has failed. */
size_t wire_written(const struct wire_writer *);

#endif
