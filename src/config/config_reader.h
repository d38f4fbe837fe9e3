#ifndef DOTPROXY_CONFIG_READER_H
#define DOTPROXY_CONFIG_READER_H

#include "config_schema.h"

/* Reads maps and lists of a tree as the schema describes them. */
struct config_reader {
	struct tree *tree;
	/* The nodes of each field of the schema where it was read last; 0: not there. */
	int keys[CONFIG_FIELDS_MAX];
	int values[CONFIG_FIELDS_MAX];
};

/* The node of a key; 0: not there. */
int config_key_node(const struct config_reader *, const char *name);

/* Sets the defaults of an entry of a list; of all that is in no list where ENTRY is NULL. */
void config_set_defaults(const struct field *entry, void *base);

/* Reads a value of one of the kinds that field_read() knows into the struct at BASE. */
void config_read_single(struct config_reader *, int node, const struct field *, void *base);

/* The same, also for addresses. Maps and lists are only noted in `values', for the caller. */
void config_read_value(struct config_reader *, int node, const struct field *, void *base);

/*
 * Reads the values of a map into the struct at BASE; PARENT is the map, NULL for the whole file.
 * What is read, and how deep, is up to the schema, so alias cycles do no harm.
 */
void config_read_map(struct config_reader *, int node, const struct field *parent, void *base);

/* Reads `hosts', where it was noted in `values'. */
void config_read_hosts(struct config_reader *, struct config *);

/*
 * The number of entries of a list; 0 when there is no list, or after adding an error. A value that
 * is not a list stands for a list of one.
 */
size_t config_count_entries(struct config_reader *, const struct field *list);

/* The node of entry I, below config_count_entries(). */
int config_entry_node(const struct config_reader *, const struct field *list, size_t i);

#endif
