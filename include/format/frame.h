#ifndef DOTPROXY_FRAME_H
#define DOTPROXY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/dns.h"

/*
 * The framing of DNS messages on a stream: each has its length in front of it, in two bytes
 * (RFC 1035 4.2.2, RFC 7766 8).
 */

enum {
	FRAME_PREFIX_LEN = 2,
	FRAME_MAX = FRAME_PREFIX_LEN + DNS_MESSAGE_MAX /* bytes of the longest frame */
};

/*
 * Whether the HAVE bytes at FRAME begin with a whole frame. Then *LEN is the length of its
 * message, which begins at FRAME + FRAME_PREFIX_LEN and may be empty; else *LEN is unchanged.
 */
bool frame_is_whole(const uint8_t *frame, size_t have, size_t *len);

/* Writes the prefix of a message of LEN bytes, DNS_MESSAGE_MAX at most. */
void frame_write_prefix(uint8_t frame[static FRAME_PREFIX_LEN], size_t len);

#endif
