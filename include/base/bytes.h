#ifndef DOTPROXY_BYTES_H
#define DOTPROXY_BYTES_H

#include <stdint.h>

/* Sizes of memory as text: whole numbers with a unit, "512KiB", "4MiB", "1GiB". */

enum {
	BYTES_INVALID = -1, /* not a size */
	BYTES_NO_UNIT = -2  /* a number without a unit */
};

/* The largest size of such a text. */
enum { BYTES_TEXT_MAX = 24 };

/* Returns bytes, INT64_MAX at most; or one of the above. "0" needs no unit. */
int64_t bytes_parse(const char *text);

/* Writes N bytes, a multiple of 1 KiB, in the largest unit that it is a multiple of. Returns TEXT. */
char *bytes_format(uint64_t n, char text[static BYTES_TEXT_MAX]);

#endif
