#ifndef DOTPROXY_PAGES_H
#define DOTPROXY_PAGES_H

#include <stddef.h>

enum { PAGES_LEN = 4096 };

/*
 * Memory for tables that are sized for the worst case and mostly empty: address space, of which
 * only the pages in use take memory.
 */

/* The bytes that LEN bytes take beyond the first page, in whole pages. */
size_t pages_beyond_first(size_t len);

/*
 * The distance between entries in a table of buffers of LEN bytes each: whole pages, so that those
 * of one entry can be returned alone, and one cache line more, since entries at the same offset in
 * their pages would compete for the same few cache lines.
 */
static inline size_t
pages_stride(size_t len)
{
	return (len / PAGES_LEN + 1) * PAGES_LEN + 64;
}

/* COUNT times SIZE bytes, all zero; NULL with errno. Freed by pages_free(). */
void *pages_new(size_t count, size_t size);

/* P may be NULL. COUNT and SIZE are those of pages_new(). */
void pages_free(void *, size_t count, size_t size);

/*
 * Returns the whole pages in the range to the system; the bytes in them become zero. P may point
 * anywhere into memory of pages_new().
 */
void pages_clear(void *, size_t count, size_t size);

#endif
