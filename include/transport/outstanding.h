#ifndef DOTPROXY_OUTSTANDING_H
#define DOTPROXY_OUTSTANDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

struct attempt;

/*
 * The IDs that are in use on the connections of a worker, and the attempt that each
 * belongs to. An ID stays taken until its answer has come or its connection has gone,
 * also when nobody waits for the answer any more: then its attempt is NULL.
 */
struct outstanding;

/* Room for ASKS of them at most. NULL with errno when there is no memory. */
struct outstanding *outstanding_new(size_t attempts);
void outstanding_free(struct outstanding *);

/*
 * Gives an attempt a fresh ID on a connection, unpredictable over the full range (RFC 5452
 * 9.2). Returns it, or -1 when there is no room or the system has no random numbers.
 */
int outstanding_add(struct outstanding *, size_t connection, struct attempt *);

/*
 * Frees an ID whose response has come. True with the attempt it belongs to (NULL if that was given
 * up) and when that was sent; false if the ID is not in use.
 */
bool outstanding_take(struct outstanding *, size_t connection, uint16_t id,
    struct attempt **attempt, struct deadline *since);

/* No query waits for the response any more. The ID stays in use, with the time of its `since'. */
void outstanding_give_up(struct outstanding *, size_t connection, uint16_t id);

/* Frees all IDs of a connection. */
void outstanding_clear(struct outstanding *, size_t connection);

#endif
