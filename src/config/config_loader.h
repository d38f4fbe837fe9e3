#ifndef DOTPROXY_CONFIG_LOADER_H
#define DOTPROXY_CONFIG_LOADER_H

#include "config_reader.h"

/* What reads the lists of a configuration, part by part. */
struct config_loader {
	struct config_reader r;
	struct config *config;
	/* The node of each one in the file. */
	int listen_nodes[CONFIG_LISTEN_MAX];
	int upstream_nodes[CONFIG_UPSTREAMS_MAX];
};

void config_out_of_memory(struct config_loader *);

/*
 * Reads the upstreams of a group, which become the last ones of the configuration. NOT_CLEARTEXT: why
 * none of them may be asked in cleartext; NULL: they may.
 */
void config_read_upstreams(struct config_loader *, const struct field *list, struct config_group *,
    const char *not_cleartext);

/* Reads the routes, after all that is in no list. */
void config_read_routes(struct config_loader *);

#endif
