#ifndef DOTPROXY_WORKER_H
#define DOTPROXY_WORKER_H

#include <stddef.h>

#include "base/fail.h"
#include "config/config.h"
#include "process/listeners.h"
#include "query/names.h"
#include "query/route.h"
#include "shared/scoreboard.h"
#include "upstream/upstream.h"

/* What a worker is given. All of it must outlive the run, and stays the caller's. */
struct worker_setup {
	const struct config *config;
	struct listeners *listeners; /* those for TCP are closed when it stops accepting */
	struct upstream_groups *upstreams;
	const struct route_table *routes; /* NULL: there are none */
	const struct names *names;
	struct scoreboard *shared;
	struct cache *cache; /* in shared memory; NULL: there is none */
	int generation;      /* its number there */
	size_t index;        /* in the generation */
	size_t descriptors;  /* the limit of open ones */
	int wakeup;          /* of the supervisor, woken when the worker serves */
};

enum {
	/* Queries in flight have their deadline; a worker that stops needs so long for the rest. */
	WORKER_STOP_GRACE_MS = 300,

	/* An idle worker sends a heartbeat this often. */
	WORKER_HEARTBEAT_MS = 1000,

	/*
	 * A worker that retires serves its clients until each has paused, for this long at most.
	 * The pause that it waits for shrinks, so only a client to which an answer is owed at every
	 * moment keeps it that long.
	 */
	WORKER_RETIRE_MS = 30000
};

/*
 * The loop: takes queries, asks the upstreams, sends the answers. On SIGTERM it answers the
 * queries in flight and returns 0. On SIGQUIT it accepts no more clients, and serves those it
 * has until they pause. Must be called with both signals blocked. -1 with the reason when it could
 * not start.
 */
int worker_run(const struct worker_setup *, struct failure *why);

#endif
