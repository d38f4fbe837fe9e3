#include "base/wire.h"

#include <string.h>

enum {
	LABEL_RESERVED = 0x40, /* RFC 1035 4.1.4, RFC 6891 5 */
	LABEL_POINTER = 0xc0,
	NAME_MAX_LEN = 255 /* RFC 1035 3.1 */
};

/* The next N bytes, or NULL. */
static const uint8_t *
take(struct wire_reader *r, size_t n)
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

void
wire_reader_init(struct wire_reader *r, const uint8_t *data, size_t len)
{
	*r = (struct wire_reader){ .data = data, .len = len };
}

uint8_t
wire_read_u8(struct wire_reader *r)
{
	const uint8_t *p = take(r, 1);

	if (p == NULL)
		return 0;
	return p[0];
}

uint16_t
wire_read_u16(struct wire_reader *r)
{
	const uint8_t *p = take(r, 2);

	if (p == NULL)
		return 0;
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
wire_read_u32(struct wire_reader *r)
{
	const uint8_t *p = take(r, 4);

	if (p == NULL)
		return 0;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void
wire_skip(struct wire_reader *r, size_t n)
{
	(void)take(r, n);
}

const uint8_t *
wire_read_bytes(struct wire_reader *r, size_t n)
{
	return take(r, n);
}

static void
skip_name(struct wire_reader *r, bool plain)
{
	size_t len = 1; /* of the labels so far, and of the root label */
	uint8_t n;

	/* Each iteration consumes at least one byte, so this ends. */
	while ((n = wire_read_u8(r)) != 0) {
		if (n >= LABEL_POINTER && !plain) {
			wire_skip(r, 1);
			return;
		}
		len += 1 + (size_t)n;
		if (n >= LABEL_RESERVED || len > NAME_MAX_LEN) {
			r->failed = true;
			return;
		}
		wire_skip(r, n);
	}
}

void
wire_skip_name(struct wire_reader *r)
{
	skip_name(r, false);
}

void
wire_skip_plain_name(struct wire_reader *r)
{
	skip_name(r, true);
}

bool
wire_is_done(const struct wire_reader *r)
{
	return !r->failed && r->pos == r->len;
}

/* The next N bytes to be written, or NULL. */
static uint8_t *
reserve(struct wire_writer *w, size_t n)
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

void
wire_writer_init(struct wire_writer *w, uint8_t *data, size_t cap)
{
	w->data = data;
	w->cap = cap;
	w->pos = 0;
	w->failed = false;
}

static void
put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void
wire_write_u8(struct wire_writer *w, uint8_t v)
{
	uint8_t *p = reserve(w, 1);

	if (p != NULL)
		p[0] = v;
}

void
wire_write_u16(struct wire_writer *w, uint16_t v)
{
	uint8_t *p = reserve(w, 2);

	if (p != NULL)
		put_u16(p, v);
}

void
wire_write_u32(struct wire_writer *w, uint32_t v)
{
	uint8_t *p = reserve(w, 4);

	if (p == NULL)
		return;
	put_u16(p, (uint16_t)(v >> 16));
	put_u16(p + 2, (uint16_t)v);
}

void
wire_write_zeros(struct wire_writer *w, size_t n)
{
	uint8_t *p = reserve(w, n);

	if (p != NULL && n > 0)
		memset(p, 0, n);
}

void
wire_write_bytes(struct wire_writer *w, const void *bytes, size_t n)
{
	uint8_t *p = reserve(w, n);

	if (p != NULL && n > 0)
		memmove(p, bytes, n);
}

void
wire_overwrite_u16(struct wire_writer *w, size_t at, uint16_t v)
{
	if (w->failed || at > w->pos || w->pos - at < 2)
		w->failed = true;
	else
		put_u16(w->data + at, v);
}

size_t
wire_room(const struct wire_writer *w)
{
	return w->failed ? 0 : w->cap - w->pos;
}

size_t
wire_written(const struct wire_writer *w)
{
	return w->failed ? 0 : w->pos;
}
