#ifndef DOTPROXY_SUPERVISOR_H
#define DOTPROXY_SUPERVISOR_H

#include <stdbool.h>

#include "config/config.h"

/* How the program was called, which reloads need as well. */
struct supervisor_launch {
	const char *config_file;
	const char *listen; /* instead of the configuration's; NULL: as that says */
	bool verbose;       /* log at level debug, whatever the configuration says */
	const char *version;
};

/* How a run ended. */
enum supervisor_end {
	SUPERVISOR_STOPPED,      /* by a signal, and all queries were answered */
	SUPERVISOR_FAILED,       /* it could not start, or no worker could; the reason is logged */
	SUPERVISOR_MISCONFIGURED /* the same, and the configuration is to blame */
};

/*
 * Opens the sockets, loads the trust stores, starts the workers and watches over them until
 * SIGTERM or SIGINT: replaces those that die or are stuck, starts a new generation when the
 * configuration has changed or on SIGHUP, logs its state on SIGUSR1. CONFIG becomes the
 * supervisor's, which frees it.
 */
enum supervisor_end supervisor_run(const struct supervisor_launch *, struct config *config);

#endif
