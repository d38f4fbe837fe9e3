#ifndef DOTPROXY_HEALTHCHECK_H
#define DOTPROXY_HEALTHCHECK_H

#include <stdio.h>

#include "base/fail.h"
#include "config/config.h"

/* What can be asked of the dot-proxy that runs. */
enum healthcheck_question {
	HEALTHCHECK_ALIVE,    /* does a worker answer, whatever the upstreams do */
	HEALTHCHECK_READY,    /* has an upstream ever been connected to; one is, if need be */
	HEALTHCHECK_UPSTREAM, /* does an upstream answer */
};

/*
 * Asks the first listener of CONFIG whose address this machine has (on loopback, where it is a
 * wildcard) over each transport that it has; over UDP only where `allow' has our address, since
 * others are not answered. Needs no trust, and takes 2 s at most. Returns 0, and writes a line
 * to OUT; or -1 with the reason.
 */
int healthcheck(const struct config *config, enum healthcheck_question, FILE *out,
    struct failure *why);

#endif
