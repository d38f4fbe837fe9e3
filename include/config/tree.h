#ifndef DOTPROXY_TREE_H
#define DOTPROXY_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/complaint.h"

struct yaml_document_s;

/*
 * A YAML text as a tree of lists, maps and single values, and what is wrong with it.
 * A node is its number in the document; 0 is none.
 */
struct tree {
	struct yaml_document_s *document;
	struct complaints errors;
	struct complaints warnings;
};

/* A key that a map may have. */
struct field {
	const char *key;
	const char *also; /* another name for it, or NULL */
	void (*load)(struct tree *, int node, const struct field *, void *out);
	size_t offset; /* of OUT in what the map fills in */
	int min;
	int max;
	bool zero; /* 0 is fine, too */
};

/*
 * Reads the one document in TEXT into a zeroed tree and returns its root, or 0 and has
 * complained. TEXT is not needed any more then; tree_clear() releases the rest.
 */
int tree_read(struct tree *, const char *text, size_t len);

void tree_clear(struct tree *);

/* Adds an error, or a warning, at the place of the node. */
void tree_complain(struct tree *, int node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tree_warn(struct tree *, int node, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* How much of TEXT a message should show, as a precision; never half a character. */
int tree_shown(const char *text);

/* From 1. */
size_t tree_line(const struct tree *, int node);
size_t tree_column(const struct tree *, int node);

bool tree_is_map(const struct tree *, int node);

/*
 * The text of a single value, one line of printable UTF-8, which lives as long as the
 * tree; or NULL and a complaint that WHAT was expected.
 */
const char *tree_text(struct tree *, int node, const char *what);

/*
 * Fills in what lies at BASE from a map, which may also be left empty. FOUND, one for each
 * of the N fields, becomes the key that was there, or 0. The fields say how deep it goes, so
 * that aliases that form a cycle do no harm.
 */
void tree_map(struct tree *, int node, const struct field *fields, size_t n, void *base,
    int *found);

/* Calls ONE for each item of a list of 1 to MAX, or for what stands there instead of a list. */
void tree_list(struct tree *, int node, size_t max, void (*one)(struct tree *, int node, void *arg),
    void *arg);

#endif
