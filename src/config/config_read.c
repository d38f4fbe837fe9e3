#include "config/config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "config/notation.h"
#include "config_reader.h"

struct loader {
	struct config_reader r;
	struct config *config;
	/* The node of each one in the file. */
	int listen_nodes[CONFIG_LISTEN_MAX];
	int upstream_nodes[CONFIG_UPSTREAMS_MAX];
};

static void
out_of_memory(struct loader *l)
{
	diagnostic_add(&l->r.tree->errors, 0, 0, "out of memory");
}

/* ---- upstreams ---- */

static void
read_pin(struct loader *l, int node, const struct field *entry, struct config_upstream *u)
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
read_pins(struct loader *l, struct config_upstream *u)
{
	const struct field *list = config_find_field("upstreams[].pins");
	size_t n = config_count_entries(&l->r, list);
	size_t i;

	for (i = 0; i < n; i++)
		read_pin(l, config_entry_node(&l->r, list, i), list + 1, u);
}

static void
check_long_form(struct loader *l, int node, size_t errors, struct config_upstream_draft *d)
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
read_short_form(struct loader *l, int node, struct config_upstream_draft *d)
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

/* Takes the upstream over. Returns 0; or -1, when the caller keeps it: refused, or a duplicate. */
static int
add_upstream(struct loader *l, int node, const struct config_upstream *u)
{
	struct config *c = l->config;
	size_t i;

	if (address_port(&u->address) == CONFIG_DNS_PORT) {
		tree_error(l->r.tree, node,
		    "port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is");
		return -1;
	}
	if (address_is_wildcard(&u->address)) {
		tree_error(l->r.tree, node,
		    "upstream address must not be a wildcard (write the server's address)");
		return -1;
	}
	for (i = 0; i < c->upstream_count; i++)
		if (same_upstream(&c->upstreams[i], u)) {
			tree_warning(l->r.tree, node, "the same upstream as on line %zu; left out",
			    tree_line(l->r.tree, l->upstream_nodes[i]));
			return -1;
		}
	c->upstreams[i] = *u;
	l->upstream_nodes[i] = node;
	c->upstream_count++;
	return 0;
}

static void
read_upstream(struct loader *l, int node, const struct field *entry)
{
	struct config_upstream_draft d = { .written = NULL };
	size_t before = l->r.tree->errors.count;

	config_set_defaults(entry, &d);
	if (tree_is_map(l->r.tree, node)) {
		config_read_map(&l->r, node, entry, &d);
		read_pins(l, &d.upstream);
		check_long_form(l, node, before, &d);
	} else
		read_short_form(l, node, &d);
	if (l->r.tree->errors.count == before && address_port(&d.upstream.address) == 0)
		address_set_port(&d.upstream.address, (uint16_t)d.port);
	if (l->r.tree->errors.count > before || add_upstream(l, node, &d.upstream) == -1)
		config_clear_upstream(&d.upstream);
}

/* ---- listeners ---- */

static void
add_listener(struct loader *l, int node, const struct config_listener *added)
{
	struct config *c = l->config;
	size_t i;

	for (i = 0; i < c->listen_count; i++)
		if (address_equal(&c->listen[i].address, &added->address) &&
		    (!config_listener_is_late(added) ||
			strcmp(c->listen[i].interface, added->interface) == 0))
			break;
	if (i == c->listen_count) {
		c->listen[i] = *added;
		l->listen_nodes[i] = node;
		c->listen_count++;
	} else if (added->udp <= c->listen[i].udp && added->tcp <= c->listen[i].tcp) {
		tree_warning(l->r.tree, node, "the same address as on line %zu; left out",
		    tree_line(l->r.tree, l->listen_nodes[i]));
	} else {
		/* One for UDP and one for TCP are both. */
		c->listen[i].udp = true;
		c->listen[i].tcp = true;
	}
}

static void
read_listener(struct loader *l, int node, const struct field *entry)
{
	struct config_listener listener = { .udp = false };
	size_t before = l->r.tree->errors.count;

	config_set_defaults(entry, &listener);
	if (!tree_is_map(l->r.tree, node)) {
		config_read_value(&l->r, node, config_find_field("listen[].address"), &listener);
	} else {
		config_read_map(&l->r, node, entry, &listener);
		if (config_key_node(&l->r, "listen[].address") == 0)
			tree_error(l->r.tree, node, "missing key `address' (as in 127.0.0.1:53)");
		else if (!listener.udp && !listener.tcp)
			tree_error(l->r.tree, node, "at least one of `udp', `tcp' must be true");
	}
	if (l->r.tree->errors.count == before)
		add_listener(l, node, &listener);
}

/* ---- prefixes ---- */

/* Loopback, RFC 1918, shared (RFC 6598), link-local, unique local (RFC 4193). */
static const char *const private_prefixes[] = { "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12",
	"192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
	NULL };

/* A prefix that is there already is not added again. Returns 0, or -1 when there is no room. */
static int
allow(struct config *c, const struct prefix *p)
{
	size_t i;

	for (i = 0; i < c->allow_count; i++)
		if (c->allow[i].family == p->family && c->allow[i].bits == p->bits &&
		    memcmp(c->allow[i].bytes, p->bytes, sizeof p->bytes) == 0)
			return 0;
	if (i == CONFIG_ALLOW_MAX)
		return -1;
	c->allow[i] = *p;
	c->allow_count++;
	return 0;
}

static int
allow_all_of(struct config *c, const char *const *prefixes)
{
	struct prefix prefix;

	for (; *prefixes != NULL; prefixes++)
		if (prefix_parse(*prefixes, &prefix) == -1 || allow(c, &prefix) == -1)
			return -1;
	return 0;
}

static void
read_prefix(struct loader *l, int node)
{
	static const char *const any[] = { "0.0.0.0/0", "::/0", NULL };
	const char *text = tree_text(l->r.tree, node, "a range of addresses");
	struct prefix prefix;
	int allowed;

	if (text == NULL)
		return;
	if (strcmp(text, "private") == 0)
		allowed = allow_all_of(l->config, private_prefixes);
	else if (strcmp(text, "any") == 0)
		allowed = allow_all_of(l->config, any);
	else if (prefix_parse(text, &prefix) == 0)
		allowed = allow(l->config, &prefix);
	else {
		tree_error(l->r.tree, node,
		    "expected private, any, or a range such as 192.0.2.0/24 "
		    "(no bits set after the prefix length), found `%.*s'",
		    tree_shown(text), text);
		return;
	}
	if (allowed == -1)
		tree_error(l->r.tree, node, "more than %d ranges (`private' is 9, `any' is 2)",
		    CONFIG_ALLOW_MAX);
}

/* ---- the whole ---- */

static void
read_lists(struct loader *l)
{
	const struct field *upstreams = config_find_field("upstreams");
	const struct field *listen = config_find_field("listen");
	const struct field *allowed = config_find_field("allow");
	size_t n;
	size_t i;

	n = config_count_entries(&l->r, upstreams);
	for (i = 0; i < n; i++)
		read_upstream(l, config_entry_node(&l->r, upstreams, i), upstreams + 1);
	n = config_count_entries(&l->r, listen);
	for (i = 0; i < n; i++)
		read_listener(l, config_entry_node(&l->r, listen, i), listen + 1);
	n = config_count_entries(&l->r, allowed);
	for (i = 0; i < n; i++)
		read_prefix(l, config_entry_node(&l->r, allowed, i));
	config_read_hosts(&l->r, l->config);
}

static void
check_loops(struct loader *l)
{
	const struct config *c = l->config;
	char text[ADDRESS_TEXT_MAX];
	size_t i;
	size_t k;

	for (i = 0; i < c->upstream_count; i++)
		for (k = 0; k < c->listen_count; k++)
			if (c->listen[k].tcp &&
			    config_is_loop(&c->listen[k].address, &c->upstreams[i].address))
				tree_error(l->r.tree, l->upstream_nodes[i],
				    "a loop: dot-proxy itself listens on %s (change one of the "
				    "two)",
				    address_format(&c->listen[k].address, text));
}

/* A part of a query may not take longer than the query; a default is shortened instead. */
static void
check_timeouts(struct loader *l)
{
	static const char *const parts[] = { "timeouts.connect", "timeouts.handshake",
		"timeouts.answer" };
	int query_ms = l->config->timeouts.query_ms;
	const struct field *f;
	size_t i;
	int *ms;

	for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		f = config_find_field(parts[i]);
		ms = field_member(l->config, f->offset);
		if (*ms <= query_ms)
			continue;
		if (config_key_node(&l->r, parts[i]) != 0)
			tree_error(l->r.tree, config_key_node(&l->r, parts[i]),
			    "`%s' is longer than `query', which it is a part of (change one of "
			    "the two)",
			    field_key(f));
		*ms = query_ms;
	}
}

/* Refuses a cache that is too small for the workers, and times of it that contradict others. */
static void
check_cache(struct loader *l)
{
	struct config *c = l->config;
	size_t least = config_cache_size_min(c->workers);
	char size[BYTES_TEXT_MAX];
	char wanted[BYTES_TEXT_MAX];

	if (c->cache.size > 0 && c->cache.size < least)
		tree_error(l->r.tree, config_key_node(&l->r, "cache.size"),
		    "`size' %s is too small for %d worker%s (write %s or more, or 0 for no cache)",
		    bytes_format(c->cache.size, size), c->workers, c->workers == 1 ? "" : "s",
		    bytes_format(least, wanted));
	if (c->cache.min_ttl_s > c->cache.max_ttl_s)
		tree_error(l->r.tree, config_key_node(&l->r, "cache.min_ttl"),
		    "`min_ttl' is longer than `max_ttl' (change one of the two)");
	if (c->cache.stale_after_ms > c->timeouts.query_ms) {
		if (config_key_node(&l->r, "cache.stale_after") != 0)
			tree_error(l->r.tree, config_key_node(&l->r, "cache.stale_after"),
			    "`stale_after' is longer than `timeouts.query', in which a query is "
			    "answered (change one of the two)");
		c->cache.stale_after_ms = c->timeouts.query_ms / 2;
	}
}

/* The plain relay keeps nothing, unless the file says so. */
static void
choose_cache(struct loader *l)
{
	struct config *c = l->config;

	if (config_key_node(&l->r, "cache") == 0 && c->inflight == 1 &&
	    c->timeouts.upstream_idle_ms == 0)
		c->cache.size = 0;
	c->privacy.ask_ad = c->cache.size > 0;
}

static void
copy_file(struct loader *l, char **to, const char *path, struct config_place *place,
    struct config_place from)
{
	if (path != NULL && (*to = strdup(path)) == NULL)
		out_of_memory(l);
	*place = from;
}

/* Gives `tls.ca_file' and `tls.crl_file' to the upstreams that have none of their own. */
static void
share_files(struct loader *l)
{
	struct config *c = l->config;
	struct config_upstream *u;

	for (u = c->upstreams; u < c->upstreams + c->upstream_count; u++) {
		if (u->crl_file == NULL && u->ca_file == NULL)
			copy_file(l, &u->crl_file, c->tls.crl_file, &u->crl_place,
			    c->tls.crl_place);
		if (u->ca_file == NULL)
			copy_file(l, &u->ca_file, c->tls.ca_file, &u->ca_place, c->tls.ca_place);
	}
	free(c->tls.ca_file);
	free(c->tls.crl_file);
	c->tls.ca_file = NULL;
	c->tls.crl_file = NULL;
}

void
config_fill(struct tree *t, int root, struct config *config)
{
	struct loader l = { .r = { .tree = t }, .config = config };
	const struct field *f;

	config->upstreams = calloc(CONFIG_UPSTREAMS_MAX, sizeof *config->upstreams);
	if (config->upstreams == NULL) {
		out_of_memory(&l);
		return;
	}
	config_set_defaults(NULL, config);
	config_read_map(&l.r, root, NULL, config);
	for (f = config_schema; f->name != NULL; f++)
		if (f->kind == FIELD_MAP && l.r.values[f - config_schema] != 0)
			config_read_map(&l.r, l.r.values[f - config_schema], f, config);
	read_lists(&l);
	if (config_key_node(&l.r, "upstreams") == 0)
		tree_error(t, root, "missing key `upstreams': the servers to ask");
	check_loops(&l);
	check_timeouts(&l);
	check_cache(&l);
	choose_cache(&l);
	share_files(&l);
	if (config->listen_count == 0)
		(void)config_set_listen(config, config_find_field("listen")->initial);
	if (config->allow_count == 0)
		(void)allow_all_of(config, private_prefixes);
}
