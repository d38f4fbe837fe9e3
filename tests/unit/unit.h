#ifndef DOTPROXY_UNIT_H
#define DOTPROXY_UNIT_H

/* Headers that cmocka.h needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* A string literal as bytes and their number, without the NUL at the end. */
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* A copy in a block of exactly LEN bytes, so that a sanitizer sees a read past its end. */
static inline uint8_t *
tight_copy(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	return copy;
}

#endif
