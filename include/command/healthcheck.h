#ifndef DOTPROXY_HEALTHCHECK_H
#define DOTPROXY_HEALTHCHECK_H

#include <stdio.h>

#include "base/fail.h"
#include "config/config.h"

/* What a healthcheck asks the running dot-proxy. */
enum healthcheck_question {
	HEALTHCHECK_ALIVE,    /* does a worker answer, whatever the state of the upstreams */
	HEALTHCHECK_READY,    /* has it ever connected to an upstream; it does so now if not */
	HEALTHCHECK_UPSTREAM, /* does an upstream answer */
};

/*
 * Queries the first listener of CONFIG whose address this machine has (a wildcard: on loopback),
 * over each of its transports; over UDP only when `allow' has our address, since others get no
 * response. Opens no CA files, and takes 2 s at most. Returns 0, and writes a line to OUT; or -1
 * with the reason.
 */
int healthcheck(const struct config *config, enum healthcheck_question, FILE *out,
    struct failure *why);

#endif
