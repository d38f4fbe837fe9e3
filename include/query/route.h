#ifndef DOTPROXY_ROUTE_H
#define DOTPROXY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which route a name has: that of the longest domain which it is in, in whole labels, whatever the
 * case of letters. A pure table: routes are numbers that mean nothing here.
 */
struct route_table;

/* Room for COUNT domains. NULL with errno. */
struct route_table *route_table_new(size_t count);
void route_table_free(struct route_table *);

/*
 * Adds a domain: the LEN bytes of a name in wire form and in lower case, which must outlive the table,
 * with all names below it. IS_BELOW: only those; for them it is the longer one of two with that name.
 * Returns false when it was there already.
 */
bool route_add(struct route_table *, const uint8_t *name, size_t len, bool is_below, size_t route);

/*
 * The route of the name that begins the LEN bytes at QNAME, and where in them its domain begins.
 * ROUTE_NONE when no domain has it.
 */
#define ROUTE_NONE SIZE_MAX
size_t route_find(const struct route_table *, const uint8_t *qname, size_t len, size_t *domain_at);

#endif
