#ifndef DOTPROXY_HEAP_H
#define DOTPROXY_HEAP_H

/*
 * Memory by malloc(3), as far as it costs more than it holds.
 *
 * What a process allocates after a fork goes into the free pieces of the heap that it has
 * inherited, and each page so touched becomes its own copy. Loading certificates leaves
 * hundreds of such pieces. So before workers are started all of them are taken, and a worker
 * allocates from fresh pages, of which it touches only what it needs.
 */

/* Takes all free pieces. Any number of times; what was taken before stays so. */
void heap_seal(void);

/* Gives them back, for whoever loads anew. */
void heap_unseal(void);

/* Gives pages that hold nothing any more back to the system, wherever in the heap they are. */
void heap_relax(void);

#endif
