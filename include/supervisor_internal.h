#ifndef DOTPROXY_SUPERVISOR_INTERNAL_H
#define DOTPROXY_SUPERVISOR_INTERNAL_H

#include <sys/types.h>

#include <stdint.h>

#include "board.h"
#include "deadline.h"
#include "listeners.h"
#include "privilege.h"
#include "supervisor.h"
#include "upstream.h"

/* What the files of the supervisor share. */

/* One worker's place. */
struct slot {
	pid_t pid; /* 0: there is none */
	struct deadline started;
	struct deadline start_at; /* when there is none: then it is started */
	int pause_ms;             /* before it is started again, when it dies quickly */
};

/* All that belongs to one reading of the configuration. It is built whole, and never changed. */
struct generation {
	struct generation *older;
	struct config *config;
	struct upstream_list *upstreams;
	struct board *board;
	struct listeners listeners;
	struct privilege privilege;
	uint16_t ports[CONFIG_UPSTREAMS_MAX];
	struct slot slots[CONFIG_WORKERS_MAX];
	bool served; /* one of its workers has come to serve */
	bool retiring;
	unsigned deaths;         /* in a row, before any served */
	struct deadline kill_at; /* when retiring: then it must be gone */
};

/* One line for a child's end, as waitpid() tells it. */
void supervisor_log_death(pid_t pid, int status);

/* One line for the first of COUNT mistakes of a configuration that is not taken; ERRORS are lines. */
void supervisor_log_refusal(const char *errors, size_t count);

/* A line for each worker of that generation and those before it, and for each upstream. */
void supervisor_log_state(const struct generation *newest, struct deadline now);

#endif
