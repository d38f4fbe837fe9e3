#include "config/config.h"

#include <string.h>
#include <strings.h>

#include "config/notation.h"
#include "config_loader.h"

void
config_out_of_memory(struct config_loader *l)
{
	diagnostic_add(&l->r.tree->errors, 0, 0, "out of memory");
}

static void
read_pin(struct config_loader *l, int node, const struct field *entry, struct config_upstream *u)
{
	size_t before = l->r.tree->errors.count;

	if (tree_is_map(l->r.tree, node))
		tree_error(l->r.tree, node,
		    "expected a pin, found keys and values (write only the value of `value')");
	else
		config_read_single(&l->r, node, entry, &u->pins[u->pin_count]);
	if (l->r.tree->errors.count == before)
		u->pin_count++;
}

static void
read_pins(struct config_loader *l, struct config_upstream *u)
{
	const struct field *list = config_find_field("upstreams[].pins");
	size_t n = config_count_entries(&l->r, list);
	size_t i;

	for (i = 0; i < n; i++)
		read_pin(l, config_entry_node(&l->r, list, i), list + 1, u);
}

static void
check_long_form(struct config_loader *l, int node, size_t errors, struct config_upstream_draft *d)
{
	int port = config_key_node(&l->r, "upstreams[].port");
	char why[NOTATION_MAX];

	if (config_key_node(&l->r, "upstreams[].address") == 0)
		tree_error(l->r.tree, node, "missing key `address' (the server's IP address)");
	else if (d->upstream.pins_only && d->upstream.pin_count == 0)
		tree_error(l->r.tree, config_key_node(&l->r, "upstreams[].verify"),
		    "`verify: pins' without `pins' would verify nothing (write the pins, as "
		    "`dot-proxy probe' prints them)");
	else if (port != 0 && address_port(&d->upstream.address) != 0)
		tree_error(l->r.tree, port,
		    "repeated port (the address has one already; leave one out)");
	else if (port == 0 && l->r.tree->errors.count == errors &&
	    notation_check_port(d->written, why) == -1)
		tree_error(l->r.tree, d->written_at, "`%.*s' %s", tree_shown(d->written),
		    d->written, why);
}

/* "address[:port]", perhaps with "#hostname". */
static void
read_short_form(struct config_loader *l, int node, struct config_upstream_draft *d)
{
	const char *text = tree_text(l->r.tree, node, "an upstream");
	const char *hostname;
	char why[NOTATION_MAX];

	if (text == NULL)
		return;
	if (notation_read(NOTATION_UPSTREAM, text, 0, &d->upstream.address, &hostname, why) == -1)
		tree_error(l->r.tree, node, "`%.*s' %s", tree_shown(text), text, why);
	else if (hostname != NULL &&
	    field_read(config_find_field("upstreams[].hostname"), hostname, d, why) == -1)
		tree_error(l->r.tree, node, "%s", why);
}

static bool
same_hostname(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcasecmp(a, b) == 0;
}

static bool
same_upstream(const struct config_upstream *a, const struct config_upstream *b)
{
	size_t i;

	if (!address_equal(&a->address, &b->address) || !same_hostname(a->hostname, b->hostname) ||
	    !config_same_trust(a, b) || a->pin_count != b->pin_count ||
	    a->pins_only != b->pins_only)
		return false;
	for (i = 0; i < a->pin_count; i++)
		if (strcmp(a->pins[i], b->pins[i]) != 0)
			return false;
	return true;
}

/*
 * Takes the upstream over into a group. Returns 0; or -1, when the caller keeps it: refused, or a
 * duplicate.
 */
static int
add_upstream(struct config_loader *l, int node, const struct config_upstream *u,
    struct config_group *group)
{
	struct config *c = l->config;
	size_t i;

	if (address_port(&u->address) == CONFIG_DNS_PORT && !u->cleartext) {
		tree_error(l->r.tree, node,
		    "port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is");
		return -1;
	}
	if (address_is_wildcard(&u->address)) {
		tree_error(l->r.tree, node,
		    "upstream address must not be a wildcard (write the server's address)");
		return -1;
	}
	for (i = group->first; i < c->upstream_count; i++)
		if (same_upstream(&c->upstreams[i], u)) {
			tree_warning(l->r.tree, node, "the same upstream as on line %zu; left out",
			    tree_line(l->r.tree, l->upstream_nodes[i]));
			return -1;
		}
	if (i == CONFIG_UPSTREAMS_MAX) {
		tree_error(l->r.tree, node, "more than %d upstreams, with those of all routes",
		    CONFIG_UPSTREAMS_MAX);
		return -1;
	}
	c->upstreams[i] = *u;
	l->upstream_nodes[i] = node;
	c->upstream_count++;
	group->count++;
	return 0;
}

/* Nothing is verified where nothing is encrypted, so no key may look as if it were. */
static void
check_cleartext(struct config_loader *l, const struct config_upstream_draft *d,
    const char *not_cleartext)
{
	static const char *const others[] = { "upstreams[].hostname", "upstreams[].ca_file",
		"upstreams[].crl_file", "upstreams[].pins", "upstreams[].verify" };
	char text[ADDRESS_TEXT_MAX];
	size_t i;

	if (not_cleartext != NULL)
		tree_error(l->r.tree, config_key_node(&l->r, "upstreams[].cleartext"), "%s",
		    not_cleartext);
	else if (!address_is_private(&d->upstream.address))
		tree_error(l->r.tree, d->written_at,
		    "a cleartext upstream needs a private address; %s is public",
		    address_format_host(&d->upstream.address, text));
	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		if (config_key_node(&l->r, others[i]) != 0)
			tree_error(l->r.tree, config_key_node(&l->r, others[i]),
			    "a cleartext upstream is not verified: remove `%s'",
			    field_key(config_find_field(others[i])));
}

static void
read_upstream(struct config_loader *l, int node, struct config_group *group,
    const char *not_cleartext)
{
	const struct field *entry = config_find_field("upstreams[]");
	struct config_upstream_draft d = { .written = NULL };
	size_t before = l->r.tree->errors.count;

	config_set_defaults(entry, &d);
	if (tree_is_map(l->r.tree, node)) {
		config_read_map(&l->r, node, entry, &d);
		read_pins(l, &d.upstream);
		check_long_form(l, node, before, &d);
		if (d.upstream.cleartext && l->r.tree->errors.count == before)
			check_cleartext(l, &d, not_cleartext);
		if (d.upstream.cleartext && config_key_node(&l->r, "upstreams[].port") == 0)
			d.port = CONFIG_DNS_PORT;
	} else
		read_short_form(l, node, &d);
	if (l->r.tree->errors.count == before && address_port(&d.upstream.address) == 0)
		address_set_port(&d.upstream.address, (uint16_t)d.port);
	if (l->r.tree->errors.count > before || add_upstream(l, node, &d.upstream, group) == -1)
		config_clear_upstream(&d.upstream);
}

void
config_read_upstreams(struct config_loader *l, const struct field *list, struct config_group *group,
    const char *not_cleartext)
{
	size_t n = config_count_entries(&l->r, list);
	size_t i;

	group->first = l->config->upstream_count;
	for (i = 0; i < n; i++)
		read_upstream(l, config_entry_node(&l->r, list, i), group, not_cleartext);
}
