#ifndef DOTPROXY_PROBE_H
#define DOTPROXY_PROBE_H

#include <stdio.h>

#include "config/config.h"

/*
 * Connects to each upstream of CONFIG, one after the other, and queries the name servers of the
 * root. Writes times, TLS version and certificate to OUT, or the failed step, its reason and the
 * remedy. Returns 0 when all upstreams can be used, or -1.
 */
int probe(const struct config *config, FILE *out);

#endif
