#include "pages.h"

#include <sys/mman.h>

#include <stdint.h>

/* Of x86-64; where pages are larger, the kernel refuses what is not whole ones. */
enum { PAGE_LEN = 4096 };

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
	uintptr_t begin = ((uintptr_t)p + PAGE_LEN - 1) / PAGE_LEN * PAGE_LEN;
	uintptr_t end = ((uintptr_t)p + count * size) / PAGE_LEN * PAGE_LEN;

	if (begin < end)
		(void)madvise((uint8_t *)p + (begin - (uintptr_t)p), end - begin, MADV_DONTNEED);
}
