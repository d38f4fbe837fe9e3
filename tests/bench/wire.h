#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * Shared by the load and the upstream. The address in an answer is a hash of the name,
 * so that the load can recognise the right answer. A name whose first label
 * begins with "d", digits and "-" is answered after that number of milliseconds.
 */

enum {
	HEADER_LEN = 12,
	LENGTH_PREFIX = 2,
	MESSAGE_MAX = 512, /* of those that are made here */
	TYPE_A = 1,
	CLASS_IN = 1
};

static inline void
put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8 & 255);
	p[1] = (uint8_t)(value & 255);
}

static inline unsigned
get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* FNV-1a over a name in wire format, ignoring case. */
static inline uint32_t
hash_name(const uint8_t *name, size_t len)
{
	uint32_t hash = 2166136261U;
	size_t i;

	for (i = 0; i < len; i++) {
		uint8_t c = name[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c + ('a' - 'A'));
		hash = (hash ^ c) * 16777619U;
	}
	return hash;
}

static inline int64_t
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t
now_us(void)
{
	return now_ns() / 1000;
}

#endif
