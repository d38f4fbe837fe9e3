#include "pages.h"

#include <sys/mman.h>

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
	(void)madvise(p, count * size, MADV_DONTNEED);
}
