#ifndef DOTPROXY_TREE_H
#define DOTPROXY_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/diagnostic.h"

struct yaml_document_s;

/*
 * A YAML text as a tree of lists, maps and single values, and what is wrong with it.
 * A node is its number in the document; 0 is none.
 */
struct tree {
	struct yaml_document_s *document;
	struct diagnostics errors;
	struct diagnostics warnings;
};

/*
 * Reads the one document in TEXT into a zeroed tree and returns its root, or 0 after adding an
 * error. TEXT is not needed afterwards. tree_clear() releases the tree.
 */
int tree_read(struct tree *, const char *text, size_t len);

void tree_clear(struct tree *);

/* Adds an error, or a warning, at the place of the node. */
void tree_error(struct tree *, int node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tree_warning(struct tree *, int node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* How many bytes of TEXT a message should show, as a precision; never half a character. */
int tree_shown(const char *text);

/* From 1. */
size_t tree_line(const struct tree *, int node);
size_t tree_column(const struct tree *, int node);

bool tree_is_map(const struct tree *, int node);
bool tree_is_list(const struct tree *, int node);
bool tree_is_empty(const struct tree *, int node); /* no value, `~' or `null' */

/* "a list", "keys and values", "nothing" or "a single value". */
const char *tree_kind(const struct tree *, int node);

/*
 * The text of a single value: one line of printable UTF-8 that lives as long as the tree. NULL
 * when it is anything else.
 */
const char *tree_scalar(const struct tree *, int node);

/* The same; where it is NULL, the error that WHAT was expected is added. */
const char *tree_text(struct tree *, int node, const char *what);

/* How many items a list has, or pairs a map; 0 for a single value. */
size_t tree_length(const struct tree *, int node);

/* Item I of a list; key and value of pair I of a map; I is below tree_length(). */
int tree_item(const struct tree *, int list, size_t i);
int tree_key(const struct tree *, int map, size_t i);
int tree_value(const struct tree *, int map, size_t i);

#endif
