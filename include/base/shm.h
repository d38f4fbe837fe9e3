#ifndef DOTPROXY_SHM_H
#define DOTPROXY_SHM_H

#include <stddef.h>

/*
 * Memory that a process shares with those that it forks afterwards. It must hold no pointers.
 * It is not part of core dumps. Only the pages that are used cost anything.
 */

/* LEN bytes, all zero; NULL with errno. Unmapped, in this process, by shm_free(). */
void *shm_new(size_t len);

/* NULL is fine. LEN as it was. */
void shm_free(void *, size_t len);

#endif
