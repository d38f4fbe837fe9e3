#include "base/shm.h"

#include <sys/mman.h>

void *
shm_new(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* If madvise() fails, core dumps may contain session tickets, and that is all. */
	(void)madvise(p, len, MADV_DONTDUMP);
	return p;
}

void
shm_free(void *p, size_t len)
{
	if (p != NULL)
		(void)munmap(p, len);
}
