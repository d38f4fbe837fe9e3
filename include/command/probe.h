#ifndef DOTPROXY_PROBE_H
#define DOTPROXY_PROBE_H

#include <stdio.h>

#include "config/config.h"

/*
 * Connects to every upstream of CONFIG, one after the other, and asks each for the name servers of
 * the root. Writes to OUT times, TLS version and certificate, or the step that failed, why, and the
 * remedy. Returns 0 when all can be used, or -1.
 */
int probe(const struct config *config, FILE *out);

#endif
