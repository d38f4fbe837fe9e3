#ifndef DOTPROXY_SCOREBOARD_H
#define DOTPROXY_SCOREBOARD_H

#include <sys/types.h>

#include <stddef.h>
#include <stdint.h>

#include "shared/affinity.h"
#include "shared/cache.h"
#include "shared/health.h"
#include "shared/sessions.h"
#include "shared/stats.h"

/*
 * All memory that the supervisor and the workers share. The supervisor makes it once, before the
 * first fork, and keeps it over reloads. It also decides, in memory of its own, which generation
 * of workers has which rows. An upstream has the same row in each generation whose configuration
 * has it, so a reload keeps its health and its sessions.
 */
struct scoreboard {
	struct stats *stats;
	struct affinity *affinity;
	struct health_table *health;
	struct sessions *sessions;
	struct scoreboard_rows *rows;
};

/* 0, or -1 with errno; then nothing needs to be freed. */
int scoreboard_init(struct scoreboard *);
void scoreboard_free(struct scoreboard *);

/*
 * Finds a new generation a number below STATS_GENERATIONS that no other one has. Its workers have
 * the STATS_TEAM rows from scoreboard_first_worker() on. Returns -1 when there are too many.
 */
int scoreboard_add_generation(struct scoreboard *);
void scoreboard_remove_generation(struct scoreboard *, int generation);
size_t scoreboard_first_worker(int generation);

/*
 * The row, in `health' and `sessions', of an upstream of a generation. KEY stands for all that
 * it is reached and verified by. Its row is the one that it had before, if nobody else got it
 * meanwhile, or an empty one that nobody uses. Returns -1 when all rows are in use.
 */
enum { SCOREBOARD_KEY_LEN = 32 };
int scoreboard_add_upstream(struct scoreboard *, const uint8_t key[static SCOREBOARD_KEY_LEN]);
void scoreboard_remove_upstream(struct scoreboard *, int row);

/*
 * The cache of SIZE bytes for a generation: that which another one has, if it has that size. NULL
 * with errno. Given back by scoreboard_remove_cache(); NULL is fine there.
 */
struct cache *scoreboard_add_cache(struct scoreboard *, size_t size);
void scoreboard_remove_cache(struct scoreboard *, const struct cache *);

/* Empties all caches. */
void scoreboard_clear_caches(struct scoreboard *);

/* A worker, process PID, has ended: clears its row and releases what it held. */
void scoreboard_remove_worker(struct scoreboard *, size_t worker, pid_t pid);

#endif
