#include "format/frame.h"

#include "base/wire.h"

bool
frame_is_whole(const uint8_t *frame, size_t have, size_t *len)
{
	struct wire_reader r;
	size_t message_len;

	wire_reader_init(&r, frame, have);
	message_len = wire_read_u16(&r);
	wire_skip(&r, message_len);
	if (r.failed)
		return false;
	*len = message_len;
	return true;
}

void
frame_write_prefix(uint8_t frame[static FRAME_PREFIX_LEN], size_t len)
{
	struct wire_writer w;

	wire_writer_init(&w, frame, FRAME_PREFIX_LEN);
	wire_write_u16(&w, (uint16_t)len);
}
