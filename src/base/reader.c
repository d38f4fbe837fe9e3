#include "base/reader.h"

enum {
	LABEL_RESERVED = 0x40, /* RFC 1035 4.1.4, RFC 6891 5 */
	LABEL_POINTER = 0xc0,
	NAME_OCTETS_MAX = 255 /* RFC 1035 3.1 */
};

/* The only place that turns an offset into an address. */
static const uint8_t *
take(struct reader *r, size_t n)
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
reader_init(struct reader *r, const uint8_t *data, size_t len)
{
	*r = (struct reader){ .data = data, .len = len };
}

uint8_t
reader_u8(struct reader *r)
{
	const uint8_t *p = take(r, 1);

	if (p == NULL)
		return 0;
	return p[0];
}

uint16_t
reader_u16(struct reader *r)
{
	const uint8_t *p = take(r, 2);

	if (p == NULL)
		return 0;
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
reader_u32(struct reader *r)
{
	const uint8_t *p = take(r, 4);

	if (p == NULL)
		return 0;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void
reader_skip(struct reader *r, size_t n)
{
	(void)take(r, n);
}

const uint8_t *
reader_bytes(struct reader *r, size_t n)
{
	return take(r, n);
}

static void
skip_name(struct reader *r, bool plain)
{
	size_t octets = 1; /* of the labels so far, and the root that is to come */
	uint8_t n;

	/* Every turn consumes at least one octet, so this ends. */
	while ((n = reader_u8(r)) != 0) {
		if (n >= LABEL_POINTER && !plain) {
			reader_skip(r, 1);
			return;
		}
		octets += 1 + (size_t)n;
		if (n >= LABEL_RESERVED || octets > NAME_OCTETS_MAX) {
			r->failed = true;
			return;
		}
		reader_skip(r, n);
	}
}

void
reader_skip_name(struct reader *r)
{
	skip_name(r, false);
}

void
reader_skip_plain_name(struct reader *r)
{
	skip_name(r, true);
}

bool
reader_done(const struct reader *r)
{
	return !r->failed && r->pos == r->len;
}
