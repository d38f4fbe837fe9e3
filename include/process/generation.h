#ifndef DOTPROXY_GENERATION_H
#define DOTPROXY_GENERATION_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "config/config.h"
#include "process/listeners.h"
#include "process/privilege.h"
#include "process/worker.h"
#include "query/names.h"
#include "query/route.h"
#include "shared/scoreboard.h"
#include "upstream/upstream.h"

/*
 * A generation: all that belongs to one reading of the configuration, and the workers that serve
 * by it. It is built whole, and its configuration is never changed. A reload starts another
 * one, whose `older' is this one; a generation is freed when its last worker has gone.
 *
 * A generation forks nothing: the supervisor does, and reports here what became of it.
 */

enum {
	/* So long after the query timeout, workers that have not stopped are killed. */
	GENERATION_STOP_GRACE_MS = WORKER_STOP_GRACE_MS + 100,

	/* So many workers in a row that died before any served: none ever will. */
	GENERATION_MAX_STARTUP_FAILURES = 5
};

/* A slot for one worker, which belongs to one process after the other. */
struct generation_slot {
	pid_t pid; /* 0: there is none */
	struct deadline started;
	int64_t heartbeat;        /* as it was seen last, whatever that says */
	struct deadline beat_at;  /* when that was new */
	struct deadline start_at; /* when there is none: then it is started */
	int pause_ms;             /* before it is started again, when it dies quickly */
	int fork_pause_ms;        /* before fork(2), which has failed, is tried again */
};

struct generation {
	struct generation *older;
	struct config *config;
	struct upstream_groups *upstreams;
	struct route_table *routes; /* NULL: there are none */
	struct names *names;
	struct scoreboard *shared; /* the supervisor's */
	struct cache *cache;       /* in there; NULL: there is none */
	int number;                /* of this generation, there; -1: none */
	struct listeners listeners;
	struct privilege privilege;
	struct generation_slot slots[CONFIG_WORKERS_MAX];
	struct deadline pace_at;   /* no worker that died quickly is started before */
	unsigned startup_failures; /* workers that died before any served */
	bool served;               /* one of its workers has come to serve */
	bool retiring;             /* its workers drain and go */
	bool given_up;             /* its workers were killed, since none came to serve */
	struct deadline kill_at;   /* when retiring: then they are killed */
};

/*
 * Opens and loads everything but the workers. CONFIG becomes the generation's, also on failure.
 * Sockets that OLDER has (NULL: there is none), or else those that were PASSED by a service
 * manager, are taken over; while any were passed, nothing else is listened on. NULL with the
 * reason, and whether the configuration is at fault.
 */
struct generation *generation_new(struct config *config, struct scoreboard *shared,
    const struct listeners *passed, struct generation *older, bool *misconfigured,
    struct failure *why);

/* Closes and frees all but the sockets in KEEP (NULL: none). NULL is fine. */
void generation_free(struct generation *, const struct listeners *keep);

/* What the worker in that slot reports. */
struct stats_worker *generation_stats(const struct generation *, size_t index);

size_t generation_count_serving(const struct generation *);
bool generation_has_workers(const struct generation *);
void generation_signal(const struct generation *, int signal_number);

/* The workers accept no more clients, and go when those that they have pause. */
void generation_retire(struct generation *, struct deadline now);

/* The workers answer the queries in flight, and go. */
void generation_stop(struct generation *, struct deadline now);

/* The workers are killed; the generation stays until they have been reaped. */
void generation_give_up(struct generation *, struct deadline now);

/* Kills workers of a retiring generation that should have gone by now. */
void generation_kill_overdue(const struct generation *, struct deadline now);

/* Kills, and logs, workers that do not come back from a turn: their heartbeat stands still. */
void generation_kill_stuck(struct generation *, struct deadline now);

/*
 * The next slot whose worker is to be started now. Returns false when there is none. The caller
 * forks, and reports generation_worker_started() or, when that failed, _not_started().
 */
bool generation_next_due(struct generation *, struct deadline now, size_t *index);
void generation_worker_started(struct generation *, size_t index, pid_t pid, struct deadline now);
void generation_worker_not_started(struct generation *, size_t index, struct deadline now);

/* When a worker is to be started next; NEVER while there are all. */
struct deadline generation_next_start(const struct generation *);

/* Whose worker process PID is, from NEWEST on through the older ones; NULL: nobody's. */
struct generation *generation_find(struct generation *newest, pid_t pid, size_t *index);

/*
 * A worker has ended, with STATUS as waitpid(2) gives it: what it held is released, and its slot
 * is to be filled again, at once unless it died quickly twice. Returns whether it died, and did
 * not stop on a signal of ours.
 */
bool generation_worker_ended(struct generation *, size_t index, int status, struct deadline now);

/* Whether its workers keep dying before any has served. */
bool generation_startup_failed(const struct generation *);

#endif
