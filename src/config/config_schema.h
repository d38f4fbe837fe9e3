#ifndef DOTPROXY_CONFIG_SCHEMA_H
#define DOTPROXY_CONFIG_SCHEMA_H

#include <stdbool.h>

#include "base/address.h"
#include "config/config.h"
#include "config/field.h"
#include "config/tree.h"

enum { CONFIG_DNS_PORT = 53, CONFIG_FIELDS_MAX = 64 };

/* An upstream while it is read. */
struct config_upstream_draft {
	struct config_upstream upstream; /* port 0: the address has none */
	const char *written;             /* the address as text, the tree's; NULL: none yet */
	int written_at;                  /* its node */
	int port;
};

/*
 * All keys, in the order of documents and of what `check' prints; the last one has no name. The
 * entry of a list follows its list. Offsets are those in struct config, in struct config_listener
 * and in struct config_upstream_draft. Reading, defaults, printing, the JSON Schema and the
 * documents that are generated from it have no other source.
 */
extern const struct field config_schema[];

/* Whether the field is a key of the map PARENT; NULL: of the whole file. */
bool config_is_child(const struct field *, const struct field *parent);

/* The field of that name; there is one. */
const struct field *config_find_field(const char *name);

/*
 * Fills in a zeroed configuration from the root of a tree, with the defaults where the tree says
 * nothing. Errors and warnings are added to the tree.
 */
void config_fill(struct tree *, int root, struct config *);

/* Releases what the name of `hosts' holds. */
void config_clear_host(struct config_host *);

/* Releases what the upstream holds. */
void config_clear_upstream(struct config_upstream *);

/*
 * Whether queries sent to the upstream would come back to the listener. Of the addresses of this
 * machine that a wildcard covers, only loopback is known.
 */
bool config_is_loop(const struct address *listener, const struct address *upstream);

#endif
