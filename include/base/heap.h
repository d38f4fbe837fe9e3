#ifndef DOTPROXY_HEAP_H
#define DOTPROXY_HEAP_H

/* Gives pages that hold nothing any more back to the system, wherever in the heap they are. */
void heap_relax(void);

#endif
