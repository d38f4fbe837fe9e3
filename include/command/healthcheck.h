#ifndef DOTPROXY_HEALTHCHECK_H
#define DOTPROXY_HEALTHCHECK_H

#include <stdio.h>

#include "base/fail.h"
#include "config/config.h"

/* What a healthcheck checks. */
enum healthcheck_question {
	HEALTHCHECK_ALIVE,    /* a worker answers, whatever the state of the upstreams */
	HEALTHCHECK_READY,    /* an upstream has been connected, if need be now */
	HEALTHCHECK_UPSTREAM, /* an upstream answers */
};

/*
 * Queries the first listener of CONFIG whose address this machine has (for a wildcard, on
 * loopback), over each of its transports; over UDP only if `allow' has our address, since other
 * clients get no response. Opens no CA files, and takes 2 s at most. Returns 0 and writes a line to
 * OUT, or -1 with the reason.
 */
int healthcheck(const struct config *config, enum healthcheck_question, FILE *out,
    struct failure *why);

#endif
