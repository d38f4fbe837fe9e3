#ifndef DOTPROXY_HEAP_H
#define DOTPROXY_HEAP_H

/* Returns unused pages to the system, wherever in the heap they are. */
void heap_trim(void);

#endif
