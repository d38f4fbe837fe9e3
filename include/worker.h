#ifndef DOTPROXY_WORKER_H
#define DOTPROXY_WORKER_H

#include <stddef.h>

#include "config.h"
#include "fail.h"
#include "upstream.h"

/*
 * The loop: takes queries from the listening sockets LISTENERS (COUNT of them, the
 * caller's), asks the upstreams, hands over the answers, until SIGTERM or SIGINT has
 * come; then finishes what is in hand and returns 0. Must be called with both signals
 * blocked. -1 with the reason when it could not start.
 */
int	worker_run(const struct config *config, const int *listeners, size_t count,
	    struct upstream_list *upstreams, struct failure *why);

#endif
