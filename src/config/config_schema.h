#ifndef DOTPROXY_CONFIG_SCHEMA_H
#define DOTPROXY_CONFIG_SCHEMA_H

#include <stdbool.h>

#include "base/address.h"
#include "config/config.h"
#include "config/tree.h"

enum { CONFIG_DNS_PORT = 53 };

/*
 * Fills in a zeroed configuration from the root of a tree, with the defaults where it
 * says nothing. Whatever is wrong becomes a complaint of the tree.
 */
void config_fill(struct tree *, int root, struct config *);

/*
 * Whether what is asked of the upstream would come back to the listener. Of the addresses
 * of this machine that a wildcard takes in only loopback is known.
 */
bool config_is_loop(const struct address *listener, const struct address *upstream);

#endif
