#ifndef DOTPROXY_PROBE_H
#define DOTPROXY_PROBE_H

#include <stdio.h>

#include "config/config.h"

/*
 * Tries every upstream of CONFIG now, one after the other, each with a connection of its
 * own and a query for the name servers of the root, and writes to OUT what it took and
 * who answered, or the step that failed, why, and what can be done. Returns 0 when all
 * can be used, -1 otherwise.
 */
int probe(const struct config *config, FILE *out);

#endif
