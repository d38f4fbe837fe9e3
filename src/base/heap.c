#include "base/heap.h"

#include <malloc.h>

#include "base/sanitized.h"

void
heap_trim(void)
{
	if (!SANITIZED)
		(void)malloc_trim(0);
}
