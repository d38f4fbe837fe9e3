#ifndef DOTPROXY_JOINS_H
#define DOTPROXY_JOINS_H

#include <stddef.h>
#include <stdint.h>

#include "query/query.h"

/*
 * Equal questions in flight: the first query is asked, and others wait for its response. Two are
 * equal if name (whatever its case), type, class, DO and CD are, and their group.
 */
struct joins;

/* For about COUNT queries in flight. NULL with errno when there is no memory. */
struct joins *joins_new(size_t count);
void joins_free(struct joins *);

/* What is equal in equal questions, as bytes. Returns the length, at most JOINS_QUESTION_MAX. */
enum { JOINS_QUESTION_MAX = 1 + DNS_QUESTION_MAX };
size_t joins_question(const struct query *, uint8_t out[static JOINS_QUESTION_MAX]);

/*
 * Others may wait for the response to a query, which must have exactly one question. HASH is that
 * of its question under a secret key; joins_find() and joins_add() must get the same.
 */
void joins_add(struct joins *, struct query *, uint64_t hash);

/*
 * A query that was added, asks the same, and will be done before the deadline of this one. NULL:
 * there is none.
 */
struct query *joins_find(const struct joins *, const struct query *, uint64_t hash);

/* A query waits for the response to FIRST, which was added. joins_leave(): no longer. */
void joins_wait(struct query *first, struct query *);
void joins_leave(struct query *);

/* Takes out a query that was added. No more join it; those that have are still to be taken. */
void joins_remove(struct query *);

/* Takes a query that waits for FIRST. NULL: there is none. */
struct query *joins_take(struct query *first);

/*
 * FIRST, which was added, is given up: of those that wait for it, the one that is due first takes its
 * place, and is to be asked. NULL: none waits for it.
 */
struct query *joins_replace(struct joins *, struct query *first);

#endif
