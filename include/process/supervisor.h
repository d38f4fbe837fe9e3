#ifndef DOTPROXY_SUPERVISOR_H
#define DOTPROXY_SUPERVISOR_H

#include <stdbool.h>

#include "config/config.h"

/* How the program was called: what a reload has to know, too. */
struct supervisor_launch {
	const char *config_file;
	const char *listen; /* instead of the configuration's; NULL: as that says */
	bool verbose;       /* log at level debug, whatever the configuration says */
	const char *version;
};

/* How a run ended. */
enum supervisor_end {
	SUPERVISOR_STOPPED,      /* it was told to, and all is answered */
	SUPERVISOR_FAILED,       /* it could not start, or no worker could; the reason is logged */
	SUPERVISOR_MISCONFIGURED /* the same, and the configuration is to blame */
};

/*
 * Binds, loads trust, starts the workers and watches over them until SIGTERM or SIGINT:
 * replaces those that die or are stuck, starts a new generation of them when the
 * configuration has changed or on SIGHUP, tells how things are on SIGUSR1. CONFIG becomes
 * the supervisor's, which frees it.
 */
enum supervisor_end supervisor_run(const struct supervisor_launch *, struct config *config);

#endif
