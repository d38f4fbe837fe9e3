#ifndef DOTPROXY_DEDUP_H
#define DOTPROXY_DEDUP_H

#include <stdbool.h>
#include <stddef.h>

#include "query/query.h"

/*
 * Detects a UDP client's retransmission of a query in flight, so that the query is forwarded and
 * answered once.
 */
struct dedup;

/* For about COUNT queries in flight. NULL with errno when there is no memory. */
struct dedup *dedup_new(size_t count);
void dedup_free(struct dedup *);

/*
 * Adds a query whose peer and address are set. Returns false, and does not add it, when a query
 * with the same ID, flags and question is in flight from the same address and port. A message
 * without exactly one valid question is never a duplicate.
 */
bool dedup_add(struct dedup *, struct query *);

/* Removes a query that was added, before its slot is freed. */
void dedup_remove(struct query *);

#endif
