#ifndef DOTPROXY_AFFINITY_H
#define DOTPROXY_AFFINITY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"

/*
 * Which worker accepts. Any of them may, but one that takes more at a time does it for less, so
 * a worker yields to those before it in its generation while they have processor time left. With
 * little load the first worker does everything, on warm connections; the next one joins when the
 * first is busy. Each worker publishes in shared memory when its turn of the loop began and how
 * busy it is.
 */

enum {
	AFFINITY_WORKERS = 256,

	/* A worker whose turn began no longer ago will come back for the listeners in a moment. */
	AFFINITY_TURN_MS = 2,

	/* Percent of a processor: a worker that uses as much has no time left for more. */
	AFFINITY_BUSY = 90,

	/* How busy it is, a worker measures over at least this long. */
	AFFINITY_MEASURE_MS = 10,

	/* For how long a worker that yields does not look at its listeners. */
	AFFINITY_YIELD_MS = 1
};

struct affinity;

/* NULL with errno. Freed by affinity_free(); NULL is fine there. */
struct affinity *affinity_new(void);
void affinity_free(struct affinity *);

/* Each is called by that worker (an index below AFFINITY_WORKERS). A turn at 0: it waits. */
void affinity_set_accepting(struct affinity *, size_t worker, bool accepting);
void affinity_set_turn(struct affinity *, size_t worker, struct deadline began);
void affinity_set_busy(struct affinity *, size_t worker, unsigned percent);

/*
 * Whether WORKER should leave what has come to one of the workers from FIRST, the first of its
 * generation, up to itself. One that waits has just been woken for something else, or the kernel
 * would have woken it for this; but when WORKER HAS_YIELDED just before and the other one did
 * not come, it does not yield to it again.
 */
bool affinity_should_yield(struct affinity *, size_t first, size_t worker, bool has_yielded,
    struct deadline now);

/* Nobody yields to a worker that has ended. */
void affinity_clear(struct affinity *, size_t worker);

#endif
