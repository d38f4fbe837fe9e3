#ifndef DOTPROXY_OUTSTANDING_H
#define DOTPROXY_OUTSTANDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

struct attempt;

/*
 * The message IDs in use on the connections of a worker, and the attempt of each. An ID stays in
 * use until its response is received or its connection is closed, also when its query was given up:
 * then its attempt is NULL.
 */
struct outstanding;

/* A table for at most ATTEMPTS attempts. NULL with errno when there is no memory. */
struct outstanding *outstanding_new(size_t attempts);
void outstanding_free(struct outstanding *);

/*
 * Gives an attempt a fresh ID on a connection, unpredictable over the full range (RFC 5452
 * 9.2). Returns it, or -1 when the table is full or getrandom(2) fails.
 */
int outstanding_add(struct outstanding *, size_t connection, struct attempt *);

/*
 * Frees the ID of a received response. True with its attempt (NULL if given up) and when that was
 * sent; false if the ID is not in use.
 */
bool outstanding_take(struct outstanding *, size_t connection, uint16_t id,
    struct attempt **attempt, struct deadline *since);

/* Notes that no query waits for the response. The ID stays in use, with its `since'. */
void outstanding_give_up(struct outstanding *, size_t connection, uint16_t id);

/* Frees all IDs of a connection. */
void outstanding_clear(struct outstanding *, size_t connection);

#endif
