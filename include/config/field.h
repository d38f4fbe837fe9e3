#ifndef DOTPROXY_FIELD_H
#define DOTPROXY_FIELD_H

#include "config/tree.h"

/*
 * What a `struct field' can have as its LOAD: each one reads a single value into OUT, or
 * complains and leaves OUT as it was.
 */

/* An int from MIN to MAX. */
void field_number(struct tree *, int node, const struct field *, void *out);

/* An int of milliseconds, from MIN to MAX, or 0 where ZERO says so. */
void field_duration(struct tree *, int node, const struct field *, void *out);

/* A bool. */
void field_bool(struct tree *, int node, const struct field *, void *out);

/* A const char *, which lives as long as the tree. */
void field_path(struct tree *, int node, const struct field *, void *out);
void field_hostname(struct tree *, int node, const struct field *, void *out);

#endif
