#ifndef DOTPROXY_CONFIG_SCHEMA_H
#define DOTPROXY_CONFIG_SCHEMA_H

#include <stdbool.h>

#include "base/address.h"
#include "config/config.h"
#include "config/field.h"
#include "config/tree.h"

enum { CONFIG_DNS_PORT = 53, CONFIG_FIELDS_MAX = 96 };

/* An upstream while it is read. */
struct config_upstream_draft {
	struct config_upstream upstream; /* port 0: the address has none */
	const char *written;             /* the address as text, the tree's; NULL: none yet */
	int written_at;                  /* its node */
	int port;
};

/* A route while it is read: what it has of its own, or else as at the top level. */
struct config_route_draft {
	enum config_answer answer;
	bool order_fastest;
	int fallback_after_ms;
	int stale_s;
	int min_ttl_s;
};

/*
 * All keys, in the order of documents and of what `check' prints; the last one has no name. The
 * entry of a list follows its list. Offsets are those in struct config, in struct config_listener,
 * in struct config_upstream_draft and in struct config_route_draft. Reading, defaults, printing, the JSON Schema and the
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

/*
 * The first of the domains that is on the Internet as a whole, a top-level domain or a reverse tree: no
 * name in it may be asked for in cleartext. NULL: none is.
 */
const struct config_domain *config_find_public(const struct config_domain *, size_t count);
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
