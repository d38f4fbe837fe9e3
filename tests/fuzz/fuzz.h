#ifndef DOTPROXY_FUZZ_H
#define DOTPROXY_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The entry of a target, which libFuzzer or replay.c calls with each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void
must(bool holds)
{
	if (!holds)
		abort();
}

/* A copy in a block of exactly LEN bytes, so that a sanitizer sees a read past its end. */
static inline uint8_t *
tight_copy(const uint8_t *data, size_t len)
{
	uint8_t *copy = calloc(len > 0 ? len : 1, 1);

	must(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

#endif
