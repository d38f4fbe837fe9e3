#include "base/wire.h"

#include <string.h>

enum {
	LABEL_RESERVED = 0x40, /* RFC 1035 4.1.4, RFC 6891 5 */
	LABEL_POINTER = 0xc0,
	NAME_MAX_LEN = 255 /* RFC 1035 3.1 */
};

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

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool
wire_same_letters(struct wire_reader *a, struct wire_reader *b, size_t len)
{
	for (; len > 0; len--)
		if (lower(wire_read_u8(a)) != lower(wire_read_u8(b)))
			return false;
	return !a->failed && !b->failed;
}

bool
wire_is_done(const struct wire_reader *r)
{
	return !r->failed && r->pos == r->len;
}

void
wire_write_u32(struct wire_writer *w, uint32_t v)
{
	uint8_t *p = wire_reserve(w, 4);

	if (p == NULL)
		return;
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void
wire_write_zeros(struct wire_writer *w, size_t n)
{
	uint8_t *p = wire_reserve(w, n);

	if (p != NULL && n > 0)
		memset(p, 0, n);
}

void
wire_write_bytes(struct wire_writer *w, const void *bytes, size_t n)
{
	uint8_t *p = wire_reserve(w, n);

	if (p != NULL && n > 0)
		memmove(p, bytes, n);
}

void
wire_overwrite_u16(struct wire_writer *w, size_t at, uint16_t v)
{
	struct wire_writer earlier;

	if (w->failed || at > w->pos) {
		w->failed = true;
		return;
	}
	wire_writer_init(&earlier, w->data, w->pos);
	earlier.pos = at;
	wire_write_u16(&earlier, v);
	w->failed = earlier.failed;
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
