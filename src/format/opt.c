#include "format/opt.h"

#include <string.h>

void
opt_read(struct wire_reader *r, struct opt *o)
{
	const uint8_t *options;
	size_t len;

	o->udp_size = wire_read_u16(r);
	o->rcode = wire_read_u8(r);
	o->version = wire_read_u8(r);
	o->flags = wire_read_u16(r);
	len = wire_read_u16(r);
	options = wire_read_bytes(r, len);
	wire_reader_init(&o->options, options, len);
	if (r->failed)
		*o = (struct opt){ 0 };
}

bool
opt_next(struct wire_reader *options, struct opt_option *o)
{
	if (wire_is_done(options))
		return false;
	o->code = wire_read_u16(options);
	o->len = wire_read_u16(options);
	o->data = wire_read_bytes(options, o->len);
	return !options->failed;
}

size_t
opt_begin(struct wire_writer *w, const struct opt *o)
{
	wire_write_u8(w, 0); /* the root */
	wire_write_u16(w, OPT_TYPE);
	wire_write_u16(w, o->udp_size);
	wire_write_u8(w, o->rcode);
	wire_write_u8(w, o->version);
	wire_write_u16(w, o->flags);
	wire_write_u16(w, 0);
	return w->pos;
}

void
opt_end(struct wire_writer *w, size_t begin)
{
	if (!w->failed)
		wire_overwrite_u16(w, begin - 2, (uint16_t)(w->pos - begin));
}

void
opt_write_option(struct wire_writer *w, uint16_t code, const void *data, size_t len)
{
	wire_write_u16(w, code);
	wire_write_u16(w, (uint16_t)len);
	wire_write_bytes(w, data, len);
}

/* The bytes of TEXT that fit into ROOM without cutting a character of UTF-8 in two. */
static size_t
text_that_fits(const char *text, size_t room)
{
	size_t n;

	if (text == NULL)
		return 0;
	n = strnlen(text, room);
	while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void
opt_write_ede(struct wire_writer *w, uint16_t info_code, const char *text)
{
	size_t room = wire_room(w);
	size_t text_len;

	if (room < OPT_HEADER_LEN + OPT_EDE_LEN)
		return;
	text_len = text_that_fits(text, room - OPT_HEADER_LEN - OPT_EDE_LEN);
	wire_write_u16(w, OPT_EDE);
	wire_write_u16(w, (uint16_t)(OPT_EDE_LEN + text_len));
	wire_write_u16(w, info_code);
	wire_write_bytes(w, text, text_len);
}
