#include "base/pages.h"

#include <sys/mman.h>

#include <stdint.h>

/* Assumes 4 KiB pages; on larger pages madvise() fails and memory is kept. */

size_t
pages_beyond_first(size_t len)
{
	return len > PAGES_LEN ? (len + PAGES_LEN - 1) / PAGES_LEN * PAGES_LEN : 0;
}

void *
pages_new(size_t count, size_t size)
{
	void *p = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
pages_free(void *p, size_t count, size_t size)
{
	if (p != NULL)
		(void)munmap(p, count * size);
}

void
pages_clear(void *p, size_t count, size_t size)
{
	uintptr_t begin = ((uintptr_t)p + PAGES_LEN - 1) / PAGES_LEN * PAGES_LEN;
	uintptr_t end = ((uintptr_t)p + count * size) / PAGES_LEN * PAGES_LEN;

	if (begin < end)
		(void)madvise((uint8_t *)p + (begin - (uintptr_t)p), end - begin, MADV_DONTNEED);
}
