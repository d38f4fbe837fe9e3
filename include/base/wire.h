#ifndef DOTPROXY_WIRE_H
#define DOTPROXY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Cursors over the bytes of messages, numbers in network byte order. All bytes from the network
 * are read through a reader, and messages are written through a writer; nothing else turns an
 * offset in a message into an address. The functions for single numbers are inline, because each
 * query calls them about a hundred times.
 */

/*
 * A read past the end fails, returns 0, moves nothing, and makes every later read fail too: read
 * straight through and check `failed' once.
 */
struct wire_reader {
	const uint8_t *data;
	size_t len;
	size_t pos; /* pos <= len, always */
	bool failed;
};

/* The caller keeps DATA, which must live as long as the reader. */
static inline void
wire_reader_init(struct wire_reader *r, const uint8_t *data, size_t len)
{
	r->data = data;
	r->len = len;
	r->pos = 0;
	r->failed = false;
}

/* Returns the next N bytes and moves past them, or NULL. N may be 0. */
static inline const uint8_t *
wire_read_bytes(struct wire_reader *r, size_t n)
{
	const uint8_t *p;

	if (r->failed || n > r->len - r->pos) {
		r->failed = true;
		return NULL;
	}
	p = r->data + r->pos;
	r->pos += n;
	return p;
}

static inline uint8_t
wire_read_u8(struct wire_reader *r)
{
	const uint8_t *p = wire_read_bytes(r, 1);

	if (p == NULL)
		return 0;
	return p[0];
}

static inline uint16_t
wire_read_u16(struct wire_reader *r)
{
	const uint8_t *p = wire_read_bytes(r, 2);

	if (p == NULL)
		return 0;
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
wire_read_u32(struct wire_reader *r)
{
	const uint8_t *p = wire_read_bytes(r, 4);

	if (p == NULL)
		return 0;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Moves past N bytes. */
static inline void
wire_skip(struct wire_reader *r, size_t n)
{
	(void)wire_read_bytes(r, n);
}

/*
 * Moves past a domain name (RFC 1035 4.1.4) without following a compression
 * pointer. Fails on reserved label types and on names over 255 bytes.
 */
void wire_skip_name(struct wire_reader *);

/* As wire_skip_name(), but fails on a compression pointer: for the QNAME, which has none. */
void wire_skip_plain_name(struct wire_reader *);

/*
 * Whether the next LEN bytes of both are equal, ignoring the case of ASCII letters (RFC 4343 3).
 * Moves past bytes that are equal, and past the first ones that are not. False where they end.
 */
bool wire_same_letters(struct wire_reader *a, struct wire_reader *b, size_t len);

/* Whether everything was read and nothing failed. */
bool wire_is_done(const struct wire_reader *);

/*
 * A write past the end fails, writes nothing, and makes every later write fail too: write straight
 * through and take the length from wire_written().
 */
struct wire_writer {
	uint8_t *data;
	size_t cap;
	size_t pos; /* bytes written so far; pos <= cap, always */
	bool failed;
};

/* DATA has space for CAP bytes. The caller keeps it; it must live as long as the writer. */
static inline void
wire_writer_init(struct wire_writer *w, uint8_t *data, size_t cap)
{
	w->data = data;
	w->cap = cap;
	w->pos = 0;
	w->failed = false;
}

/* Returns the next N bytes, which the caller must write at once; or NULL. */
static inline uint8_t *
wire_reserve(struct wire_writer *w, size_t n)
{
	uint8_t *p;

	if (w->failed || n > w->cap - w->pos) {
		w->failed = true;
		return NULL;
	}
	p = w->data + w->pos;
	w->pos += n;
	return p;
}

static inline void
wire_write_u8(struct wire_writer *w, uint8_t v)
{
	uint8_t *p = wire_reserve(w, 1);

	if (p != NULL)
		p[0] = v;
}

static inline void
wire_write_u16(struct wire_writer *w, uint16_t v)
{
	uint8_t *p = wire_reserve(w, 2);

	if (p == NULL)
		return;
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void wire_write_u32(struct wire_writer *, uint32_t);
void wire_write_zeros(struct wire_writer *, size_t n);

/* BYTES may overlap with the destination, and may be NULL only if N is 0. */
void wire_write_bytes(struct wire_writer *, const void *bytes, size_t n);

/* Overwrites two bytes at AT, which must have been written before, or else it fails. */
void wire_overwrite_u16(struct wire_writer *, size_t at, uint16_t);

/* The number of bytes that may still be written; 0 once a write has failed. */
size_t wire_room(const struct wire_writer *);

/* The number of bytes written; 0 if a write has failed. */
size_t wire_written(const struct wire_writer *);

#endif
