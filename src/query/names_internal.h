#ifndef DOTPROXY_NAMES_INTERNAL_H
#define DOTPROXY_NAMES_INTERNAL_H

#include <stddef.h>

#include "base/chains.h"
#include "query/names.h"

/*
 * What the sources of `names' share; nobody else includes this.
 *
 *	names.c		which names there are, and what the answer to a query is
 *	names_special.c	the special-use names
 *	names_hosts.c	the names of `hosts' and of the hosts file
 *	names_tree.c	the names as a tree
 */

/* Bytes of a hosts file: some 250,000 names. */
enum { NAMES_HOSTS_FILE_MAX = 8 << 20 };

/* A zone of special-use names, and what exists in it besides names of `hosts'. */
enum names_zone {
	NAMES_NO_ZONE,
	NAMES_LOCALHOST, /* every name, with the addresses of the zone itself */
	NAMES_NOTHING,   /* not even the zone itself */
	NAMES_HOME,      /* the zone itself, without data; its DS record is in the zone above */
	NAMES_SERVICE,   /* the zone itself, without data */
	NAMES_REVERSE    /* the same */
};

/* A name in wire form and lower case: one that is answered here, or that is above one. */
struct names_node {
	struct chains_link link;
	struct names_node *next; /* of all that were made */
	enum names_zone zone;    /* that begins here */
	struct dns_record *records;
	bool is_above;      /* there is a node below */
	bool is_configured; /* in `hosts': what the hosts file says of it does not count */
	uint8_t len;
	uint8_t name[];
};

/* All nodes but the root, which has none; where there is one, there are those above it. */
struct names {
	struct chains chains; /* under the hashes of names */
	struct names_node *nodes;
	bool has_single_labels; /* names of one label are answered here */
};

/* Prepares a zeroed tree for about COUNT nodes. -1 with errno; names_tree_clear() in any case. */
int names_tree_init(struct names *, size_t count);
void names_tree_clear(struct names *);

/* The node of a name of LEN bytes, or NULL. */
struct names_node *names_tree_find(const struct names *, const uint8_t *name, size_t len);

/* The same; makes it if there is none, and those above it. NULL with errno. */
struct names_node *names_tree_add(struct names *, const uint8_t *name, size_t len);

/* Adds a record with a copy of the data behind those that the name has. -1 with errno. */
int names_node_add(struct names_node *, uint16_t type, const uint8_t *data, size_t len);

/* Adds the special-use names. -1 with errno. */
int names_add_special(struct names *);

/*
 * Adds the names of `hosts' and of the hosts file, which is FILE, or NULL: there is none. -1 with the
 * reason.
 */
int names_add_hosts(struct names *, const struct config *, FILE *file, struct failure *why);

#endif
