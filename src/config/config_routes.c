#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/notation.h"
#include "config_loader.h"
#include "format/dns.h"
#include "format/domain.h"

/* Room for why there is no cleartext. */
enum { WHY_MAX = DNS_NAME_TEXT_MAX + 128 };

/* ---- domains ---- */

/*
 * Makes room for one more element of SIZE bytes: for twice as many, zeroed, where COUNT is a power of
 * two. NULL after adding an error; the list stays then.
 */
static void *
grow(struct config_loader *l, void *list, size_t count, size_t size)
{
	void *grown;

	if ((count & (count - 1)) != 0)
		return list;
	if ((grown = calloc(count > 0 ? 2 * count : 1, size)) == NULL) {
		config_out_of_memory(l);
		return NULL;
	}
	if (count > 0)
		memcpy(grown, list, count * size);
	free(list);
	return grown;
}

/* Adds a domain of the last route. Returns 0, or -1 after adding an error. */
static int
add_domain(struct config_loader *l, int node, const struct domain *domain)
{
	struct config *c = l->config;
	struct config_domain *all = grow(l, c->domains, c->domain_count, sizeof *all);
	struct config_domain *d;

	if (all == NULL)
		return -1;
	c->domains = all;
	d = &all[c->domain_count];
	if (c->domain_count == CONFIG_DOMAINS_MAX) {
		tree_error(l->r.tree, node,
		    "more than %d domains in all routes, with the reverse zones of prefixes",
		    CONFIG_DOMAINS_MAX);
		return -1;
	}
	*d = (struct config_domain){ .name = malloc(domain->len),
		.len = domain->len,
		.is_below = domain->is_below,
		.route = c->route_count - 1,
		.place = { tree_line(l->r.tree, node), tree_column(l->r.tree, node) } };
	if (d->name == NULL) {
		config_out_of_memory(l);
		return -1;
	}
	memcpy(d->name, domain->name, domain->len);
	c->domain_count++;
	return 0;
}

/* Whether TEXT begins with an address and has a length behind it, with bits set after that. */
static bool
is_uneven_prefix(const char *text)
{
	char host[ADDRESS_TEXT_MAX];
	size_t len = strcspn(text, "/");
	struct address address;

	if (text[len] == '\0' || len >= sizeof host)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	return address_parse(host, 0, &address) == 0 && address_port(&address) == 0;
}

/* Adds what TEXT stands for. Returns 0, or -1 after adding an error. */
static int
add_domains(struct config_loader *l, int node, const char *text)
{
	struct domain domain;
	struct prefix prefix;
	const char *problem;
	size_t i;

	if (prefix_parse(text, &prefix) == 0) {
		for (i = 0; i < domain_prefix_count(&prefix); i++) {
			domain_of_prefix(&prefix, i, &domain);
			if (add_domain(l, node, &domain) == -1)
				return -1;
		}
		return 0;
	}
	if (is_uneven_prefix(text)) {
		tree_error(l->r.tree, node,
		    "`%.*s' is not a prefix (as in 10.96.0.0/12, with no bits set after the "
		    "prefix length)",
		    tree_shown(text), text);
		return -1;
	}
	if ((problem = domain_parse(text, &domain)) != NULL) {
		tree_error(l->r.tree, node, "domain `%.*s' %s", tree_shown(text), text, problem);
		return -1;
	}
	if (domain.len == 1) {
		tree_error(l->r.tree, node,
		    "`%s' is the domain of the top-level upstreams (write its servers there)",
		    text);
		return -1;
	}
	return add_domain(l, node, &domain);
}

static void
read_domain(struct config_loader *l, int node, struct config_route *route)
{
	const char *text = tree_text(l->r.tree, node, "a domain");
	char **domains;

	if (text == NULL || add_domains(l, node, text) == -1 ||
	    (domains = grow(l, route->domains, route->domain_count, sizeof(char *))) == NULL)
		return;
	route->domains = domains;
	if ((domains[route->domain_count] = strdup(text)) == NULL)
		config_out_of_memory(l);
	else
		route->domain_count++;
}

/* ---- equal domains ---- */

static int
compare(const void *a, const void *b)
{
	const struct config_domain *x = *(const struct config_domain *const *)a;
	const struct config_domain *y = *(const struct config_domain *const *)b;
	int order;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	if ((order = memcmp(x->name, y->name, x->len)) != 0)
		return order;
	if (x->is_below != y->is_below)
		return x->is_below ? 1 : -1;
	/* In the order of the file. */
	return x < y ? -1 : x > y;
}

static void
report_equal(struct config_loader *l, const struct config_domain *first,
    const struct config_domain *second)
{
	char text[DNS_NAME_TEXT_MAX];
	size_t len;

	len = strlen(dns_format_qname(second->name, second->len, text));
	text[len - 1] = '\0';
	diagnostic_add(&l->r.tree->errors, second->place.line, second->place.column,
	    "domain `%s%s' is in %s (also line %zu)", second->is_below ? "*." : "", text,
	    first->route == second->route ? "its route twice" : "two routes", first->place.line);
}

/* A domain may be in one route only: its names would have two. */
static void
check_equal(struct config_loader *l)
{
	struct config *c = l->config;
	const struct config_domain **sorted;
	size_t first = 0;
	size_t i;

	if (c->domain_count == 0)
		return;
	if ((sorted = calloc(c->domain_count, sizeof(const struct config_domain *))) == NULL) {
		config_out_of_memory(l);
		return;
	}
	for (i = 0; i < c->domain_count; i++)
		sorted[i] = &c->domains[i];
	qsort(sorted, c->domain_count, sizeof(const struct config_domain *), compare);
	for (i = 1; i < c->domain_count; i++) {
		const struct config_domain *a = sorted[first];
		const struct config_domain *b = sorted[i];

		if (a->len == b->len && a->is_below == b->is_below &&
		    memcmp(a->name, b->name, a->len) == 0)
			report_equal(l, a, b);
		else
			first = i;
	}
	free(sorted);
}

/* ---- routes ---- */

static int
value_node(const struct config_loader *l, const char *name)
{
	return l->r.values[config_find_field(name) - config_schema];
}

/* Whether the upstreams of the route are those at the top level. */
static bool
is_default(const struct config_loader *l)
{
	int node = value_node(l, "routes[].upstreams");
	const char *text = node != 0 ? tree_scalar(l->r.tree, node) : NULL;

	return text != NULL && strcmp(text, "default") == 0;
}

/* Only a route with upstreams of its own can say how they are asked. */
static void
check_settings(struct config_loader *l)
{
	static const char *const names[] = { "routes[].order", "routes[].fallback",
		"routes[].cache" };
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (config_key_node(&l->r, names[i]) != 0)
			tree_error(l->r.tree, config_key_node(&l->r, names[i]),
			    "`%s' is only for a route with upstreams of its own",
			    field_key(config_find_field(names[i])));
}

/* Why nothing may be sent to the upstreams of the last route in cleartext; NULL: it may. */
static const char *
why_not_cleartext(const struct config_loader *l, size_t first_domain, char why[static WHY_MAX])
{
	const struct config *c = l->config;
	const struct config_domain *d = config_find_public(c->domains + first_domain,
	    c->domain_count - first_domain);
	char text[DNS_NAME_TEXT_MAX];

	if (d == NULL)
		return NULL;
	text[strlen(dns_format_qname(d->name, d->len, text)) - 1] = '\0';
	(void)snprintf(why, WHY_MAX,
	    "`cleartext' is only for upstreams of a route with named domains; `%s' is public",
	    text);
	return why;
}

/* Names a group, and what our own queries to its upstreams are about, after its first domain. */
static void
name_group(struct config_loader *l, struct config_group *group, const struct config_route *route,
    const struct config_domain *d)
{
	size_t len = d->is_below && d->len + 2 <= DNS_NAME_MAX ? 2 : 0;

	/* The domain of "*.example" does not have its own name. */
	memcpy(group->own_name, "\1_", len);
	memcpy(group->own_name + len, d->name, d->len);
	group->own_name_len = len + d->len;
	if ((group->name = strdup(route->domains[0])) == NULL)
		config_out_of_memory(l);
}

static void
read_group(struct config_loader *l, int node, struct config_route *route,
    const struct config_route_draft *d, size_t first_domain)
{
	struct config *c = l->config;
	struct config_group *group = &c->groups[c->group_count];
	char why[WHY_MAX];

	if (c->group_count == CONFIG_GROUPS_MAX) {
		tree_error(l->r.tree, node, "more than %d routes with upstreams of their own",
		    CONFIG_GROUPS_MAX - 1);
		return;
	}
	route->group = c->group_count++;
	*group = (struct config_group){ .order_fastest = d->order_fastest,
		.fallback_after_ms = d->fallback_after_ms,
		.stale_s = d->stale_s,
		.min_ttl_s = d->min_ttl_s };
	if (route->domains != NULL && route->domains[0] != NULL)
		name_group(l, group, route, &c->domains[first_domain]);
	config_read_upstreams(l, config_find_field("routes[].upstreams"), group,
	    why_not_cleartext(l, first_domain, why));
	if (d->min_ttl_s > c->cache.max_ttl_s)
		tree_error(l->r.tree, node,
		    "`min_ttl' is longer than `cache.max_ttl' (change one of "
		    "the two)");
}

static void
read_map_of(struct config_loader *l, const char *name, struct config_route_draft *d)
{
	if (value_node(l, name) != 0)
		config_read_map(&l->r, value_node(l, name), config_find_field(name), d);
}

static void
read_domains(struct config_loader *l, int node, struct config_route *route)
{
	const struct field *list = config_find_field("routes[].domains");
	size_t n = config_count_entries(&l->r, list);
	size_t i;

	if (config_key_node(&l->r, list->name) == 0)
		tree_error(l->r.tree, node,
		    "missing key `domains' (as in `domains: [corp.example]')");
	for (i = 0; i < n; i++)
		read_domain(l, config_entry_node(&l->r, list, i), route);
}

static void
read_route(struct config_loader *l, int node, struct config_route *route)
{
	struct config *c = l->config;
	const struct config_group *top = &c->groups[0];
	struct config_route_draft d = { .answer = CONFIG_ANSWER_NONE,
		.order_fastest = top->order_fastest,
		.fallback_after_ms = top->fallback_after_ms,
		.stale_s = top->stale_s,
		.min_ttl_s = top->min_ttl_s };
	size_t before = l->r.tree->errors.count;
	size_t first_domain = c->domain_count;
	bool has_upstreams, has_answer;

	config_read_map(&l->r, node, config_find_field("routes[]"), &d);
	if (!tree_is_map(l->r.tree, node) && l->r.tree->errors.count > before)
		return;
	read_map_of(l, "routes[].fallback", &d);
	read_map_of(l, "routes[].cache", &d);
	read_domains(l, node, route);
	has_upstreams = config_key_node(&l->r, "routes[].upstreams") != 0;
	has_answer = config_key_node(&l->r, "routes[].answer") != 0;
	route->answer = d.answer;
	if (has_upstreams == has_answer)
		tree_error(l->r.tree, node, "a route needs either `upstreams' or `answer'");
	else if (has_answer || is_default(l))
		check_settings(l);
	else
		read_group(l, node, route, &d, first_domain);
}

void
config_read_routes(struct config_loader *l)
{
	const struct field *list = config_find_field("routes");
	struct config *c = l->config;
	int node = value_node(l, "routes");
	size_t n = config_count_entries(&l->r, list);
	size_t i;

	if (n == 0)
		return;
	if ((c->routes = calloc(n, sizeof *c->routes)) == NULL) {
		config_out_of_memory(l);
		return;
	}
	for (i = 0; i < n; i++)
		read_route(l, tree_is_list(l->r.tree, node) ? tree_item(l->r.tree, node, i) : node,
		    &c->routes[c->route_count++]);
	check_equal(l);
}
