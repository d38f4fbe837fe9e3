#ifndef DOTPROXY_PAGES_H
#define DOTPROXY_PAGES_H

#include <stddef.h>

enum { PAGES_LEN = 4096 };

/*
 * Memory for tables that are sized for the worst case and mostly empty: address space of
 * which only the pages in use cost anything.
 */

/* What LEN bytes cost beyond the first page, in whole pages. */
size_t pages_beyond_first(size_t len);

/*
 * From one entry to the next in a table of buffers of LEN bytes each: whole pages, so that an
 * entry's can be given back alone, and one cache line more, since entries at the same offset in
 * their pages would all compete for the same few lines of the cache.
 */
static inline size_t
pages_stride(size_t len)
{
	return (len / PAGES_LEN + 1) * PAGES_LEN + 64;
}

/* COUNT times SIZE bytes, all zero; NULL with errno. Freed by pages_free(). */
void *pages_new(size_t count, size_t size);

/* NULL is fine. COUNT and SIZE as they were. */
void pages_free(void *, size_t count, size_t size);

/*
 * Gives the memory back to the system, as far as it is whole pages; the bytes in them are
 * zero again. P may be anywhere inside of what pages_new() gave.
 */
void pages_clear(void *, size_t count, size_t size);

#endif
