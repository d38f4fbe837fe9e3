#ifndef DOTPROXY_DEDUP_H
#define DOTPROXY_DEDUP_H

#include <stdbool.h>
#include <stddef.h>

#include "query/query.h"

/*
 * Recognises a query in flight that its client sends again by UDP, so that it is asked and
 * answered once.
 */
struct dedup;

/* For about COUNT queries in flight. NULL with errno when there is no memory. */
struct dedup *dedup_new(size_t count);
void dedup_free(struct dedup *);

/*
 * Adds a query whose peer and address are set. False, and not added: the same ID, flags and
 * question are in flight from the same address and port. A message that has not just one question
 * that can be read is never a duplicate.
 */
bool dedup_add(struct dedup *, struct query *);

/* Removes a query that was added, before its slot is freed. */
void dedup_remove(struct query *);

#endif
