#ifndef DOTPROXY_STATS_H
#define DOTPROXY_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

/*
 * What workers report in shared memory: a row for each worker, which it alone writes while it
 * lives, and a row for the sockets of each generation of workers. Each value is written in one
 * piece, so a worker may die at any instruction.
 *
 * Counters are never set back, neither when a worker dies nor by a reload: the next worker with
 * the same row goes on counting, so that the sum over all rows only grows.
 *
 * A faulty worker may write anything. Values are checked when they are read, and none of them
 * decides which process gets a signal.
 */

enum {
	STATS_GENERATIONS = 4, /* at the same time */
	STATS_TEAM = 64,       /* workers of a generation */
	STATS_SOCKETS = 16,    /* UDP sockets of a generation */
	STATS_WORKERS = STATS_GENERATIONS * STATS_TEAM,
	STATS_REASONS = 8 /* why a response is not kept in the cache */
};

enum stats_state {
	STATS_EMPTY, /* no worker has the row, or it does not serve yet */
	STATS_SERVING,
	STATS_STOPPING
};

enum stats_counter {
	STATS_QUERIES,
	STATS_ANSWERED, /* by an upstream */
	STATS_FAILED,   /* answered with a SERVFAIL of our own */
	STATS_HEDGED,   /* extra queries to another upstream, before the first one failed */
	STATS_CACHE_HITS,
	STATS_CACHE_MISSES,
	STATS_CACHE_JOINED,     /* misses that waited for an equal query in flight */
	STATS_CACHE_STALE,      /* answers that were out of date */
	STATS_CACHE_PREFETCHED, /* entries that were refreshed before they expired */
	STATS_CACHE_STORED,
	STATS_CACHE_TOO_LARGE, /* not stored, as is the next */
	STATS_CACHE_BUSY,
	STATS_CACHE_EVICTED_PROBATION, /* entries that nobody had asked for again */
	STATS_CACHE_EVICTED_MAIN,
	STATS_CACHE_NOT_KEPT, /* the first of STATS_REASONS */
	STATS_COUNTERS = STATS_CACHE_NOT_KEPT + STATS_REASONS
};

struct stats;
struct stats_worker;

/* NULL with errno. Freed by stats_free(); NULL is fine there. */
struct stats *stats_new(void);
void stats_free(struct stats *);

/* The row of a worker: INDEX is below STATS_WORKERS. */
struct stats_worker *stats_worker(struct stats *, size_t index);

void stats_set_state(struct stats_worker *, enum stats_state);
enum stats_state stats_state(const struct stats_worker *);

/* The worker is alive as long as its heartbeat, a number without a meaning, changes. */
void stats_beat(struct stats_worker *, struct deadline now);
int64_t stats_heartbeat(const struct stats_worker *);

void stats_count(struct stats_worker *, enum stats_counter, uint64_t n);
uint64_t stats_counter(const struct stats_worker *, enum stats_counter);

/* How many queries are in flight, and how many TCP clients are connected. */
void stats_set_load(struct stats_worker *, size_t queries, size_t clients);
uint32_t stats_queries_in_flight(const struct stats_worker *);
uint32_t stats_clients(const struct stats_worker *);

/* The worker has ended: its state and load are cleared, its counters stay. */
void stats_clear_worker(struct stats_worker *);

/*
 * The kernel counts what it drops on a UDP socket. All workers of a generation see the same count,
 * which may wrap; one of them reports each drop. TOTAL is the count, SOCKET a number below
 * STATS_SOCKETS. stats_new_drops() returns how many drops of it no worker has reported, which
 * the caller does then. stats_ignore_drops() ignores those before the first worker; a later worker
 * changes nothing by it.
 */
uint32_t stats_new_drops(struct stats *, size_t generation, size_t socket, uint32_t total);
void stats_ignore_drops(struct stats *, size_t generation, size_t socket, uint32_t total);

/* That a worker found a UDP socket shut down; and whether one has since this was last asked. */
void stats_report_shut_down(struct stats *, size_t generation);
bool stats_take_shut_down(struct stats *, size_t generation);

/* Clears what is known of the sockets, for a new generation. */
void stats_clear_sockets(struct stats *, size_t generation);

#endif
