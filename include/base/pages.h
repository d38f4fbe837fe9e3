#ifndef DOTPROXY_PAGES_H
#define DOTPROXY_PAGES_H

#include <stddef.h>

enum { PAGES_LEN = 4096 };

/*
 * Memory for tables that are sized for the worst and mostly empty: address space of
 * which only the pages that are in use cost anything, whatever malloc would do.
 */

/* What LEN bytes cost beyond the first page, in whole pages. */
size_t pages_beyond_first(size_t len);

/* COUNT times SIZE octets, all zero; NULL with errno. Freed by pages_free(). */
void *pages_new(size_t count, size_t size);

/* NULL is fine. COUNT and SIZE as they were. */
void pages_free(void *, size_t count, size_t size);

/*
 * Gives the memory back to the system, as far as it is whole pages; the octets in them are
 * zero again. P may be anywhere inside of what pages_new() gave.
 */
void pages_clear(void *, size_t count, size_t size);

#endif
