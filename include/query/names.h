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

/*
 * Reads the hosts file that the configuration names, if any. NULL with the reason: no memory, or a
 * file that is missing or has an error, with its place. CONFIG is not needed afterwards.
 */
struct names *names_new(const struct config *, struct failure *why);
void names_free(struct names *);

/* Why a name is answered here. */
enum names_kind {
	NAMES_NONE,    /* it is not */
	NAMES_SPECIAL, /* a special-use name, or one of one label: a route may have it */
	NAMES_OWN      /* it is in `hosts' or the hosts file, or is never forwarded */
};

/*
 * Whether a query that is to be relayed is answered here. Then LOCAL is the answer; its records and
 * its text live as long as the names.
 */
enum names_kind names_find(const struct names *, const uint8_t *query, const struct dns_query *,
    struct dns_local *local);

#endif
