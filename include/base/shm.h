#ifndef DOTPROXY_SHM_H
#define DOTPROXY_SHM_H

#include <stddef.h>

/*
 * Memory that a process shares with its later children. It must not contain pointers, and is left
 * out of core dumps. Only the pages that are used take memory.
 */

/* LEN bytes, all zero; NULL with errno. Unmapped, in this process, by shm_free(). */
void *shm_new(size_t len);

/* The pointer may be NULL. LEN is that of shm_new(). */
void shm_free(void *, size_t len);

#endif
