#ifndef DOTPROXY_NAMES_H
#define DOTPROXY_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "config/config.h"
#include "format/dns.h"

/*
 * The names that are answered here: those of `hosts' and of the hosts file, special-use names
 * (RFC 6761, RFC 6303), and names of one label. Built for a configuration, and not changed then.
 */
struct names;

/* The TTL of these answers, in seconds: clients soon see a change of the configuration. */
enum { NAMES_TTL = 60 };

/*
 * Reads the hosts file that the configuration names, if any. NULL with the reason: no memory, or a
 * file that is missing or has an error, with its place. CONFIG is not needed afterwards.
 */
struct names *names_new(const struct config *, struct failure *why);
void names_free(struct names *);

/*
 * Whether a query that is to be relayed is answered here. Then LOCAL is the answer; its records and
 * its text live as long as the names.
 */
bool names_find(const struct names *, const uint8_t *query, const struct dns_query *,
    struct dns_local *local);

#endif
