#include "base/heap.h"

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/sanitized.h"

enum {
	LARGEST = 64 * 1024, /* than any piece that loading leaves */
	SMALLEST = 24,       /* what malloc makes of anything less */
	PIECES_MAX =
	    100000 /* where addresses do not tell pieces from fresh memory, it ends all the same */
};

/* A piece that was taken. */
struct piece {
	struct piece *next;
};

static struct piece *taken;

void
heap_seal(void)
{
	char *volatile top;
	struct piece *p;
	size_t size;
	int left = PIECES_MAX;

	if (SANITIZED)
		return;
	(void)malloc_trim(0);
	/* Larger than any piece, this comes from the end of the heap: pieces are in front of it. */
	if ((top = malloc(LARGEST)) == NULL)
		return;
	for (size = LARGEST / 2; size >= SMALLEST; size -= size / 4) {
		while ((p = malloc(size)) != NULL && (char *)p < top && left-- > 0) {
			p->next = taken;
			taken = p;
		}
		free(p);
	}
	free(top);
}

void
heap_unseal(void)
{
	struct piece *p;

	while ((p = taken) != NULL) {
		taken = p->next;
		free(p);
	}
}

void
heap_relax(void)
{
	if (!SANITIZED)
		(void)malloc_trim(0);
}
