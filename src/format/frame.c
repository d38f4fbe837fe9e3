#include "format/frame.h"

#include "base/reader.h"

bool
frame_is_whole(const uint8_t *frame, size_t have, size_t *len)
{
	struct reader r;
	size_t message_len;

	reader_init(&r, frame, have);
	message_len = reader_u16(&r);
	reader_skip(&r, message_len);
	if (r.failed)
		return false;
	*len = message_len;
	return true;
}

void
frame_write_prefix(uint8_t frame[static FRAME_PREFIX_LEN], size_t len)
{
	frame[0] = (uint8_t)(len >> 8);
	frame[1] = (uint8_t)len;
}
