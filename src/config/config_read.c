#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "config_loader.h"

/* ---- listeners ---- */

static void
add_listener(struct config_loader *l, int node, const struct config_listener *added)
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
read_listener(struct config_loader *l, int node, const struct field *entry)
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
read_prefix(struct config_loader *l, int node)
{
	static const char *const any[] = { "0.0.0.0/0", "::/0", NULL };
	const char *text = tree_text(l->r.tree, node, "a range of addresses");
	struct prefix prefix;
	int allowed;

	if (text == NULL)
		return;
	if (strcmp(text, "private") == 0)
		allowed = allow_all_of(l->config, address_private_prefixes);
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

/* The first group has the upstreams at the top level. */
static void
make_first_group(struct config_loader *l)
{
	struct config *c = l->config;
	struct config_group *group = &c->groups[c->group_count++];

	group->own_name_len = 1; /* the root */
	group->order_fastest = c->order_fastest;
	group->fallback_after_ms = c->fallback_after_ms;
	group->stale_s = c->cache.stale_s;
	group->min_ttl_s = c->cache.min_ttl_s;
	config_read_upstreams(l, config_find_field("upstreams"), group,
	    "`cleartext' is only for upstreams of a route with named domains");
}

static void
read_lists(struct config_loader *l)
{
	const struct field *listen = config_find_field("listen");
	const struct field *allowed = config_find_field("allow");
	size_t n;
	size_t i;

	make_first_group(l);
	n = config_count_entries(&l->r, listen);
	for (i = 0; i < n; i++)
		read_listener(l, config_entry_node(&l->r, listen, i), listen + 1);
	n = config_count_entries(&l->r, allowed);
	for (i = 0; i < n; i++)
		read_prefix(l, config_entry_node(&l->r, allowed, i));
	config_read_routes(l);
	config_read_hosts(&l->r, l->config);
}

static void
check_loops(struct config_loader *l)
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
check_timeouts(struct config_loader *l)
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
check_cache(struct config_loader *l)
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
choose_cache(struct config_loader *l)
{
	struct config *c = l->config;

	if (config_key_node(&l->r, "cache") == 0 && c->inflight == 1 &&
	    c->timeouts.upstream_idle_ms == 0)
		c->cache.size = 0;
	c->privacy.ask_ad = c->cache.size > 0;
}

static void
copy_file(struct config_loader *l, char **to, const char *path, struct config_place *place,
    struct config_place from)
{
	if (path != NULL && (*to = strdup(path)) == NULL)
		config_out_of_memory(l);
	*place = from;
}

/* Gives `tls.ca_file' and `tls.crl_file' to the upstreams that have none of their own. */
static void
share_files(struct config_loader *l)
{
	struct config *c = l->config;
	struct config_upstream *u;

	for (u = c->upstreams; u < c->upstreams + c->upstream_count; u++) {
		if (u->cleartext)
			continue;
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
	struct config_loader l = { .r = { .tree = t }, .config = config };
	const struct field *f;

	config->upstreams = calloc(CONFIG_UPSTREAMS_MAX, sizeof *config->upstreams);
	if (config->upstreams == NULL) {
		config_out_of_memory(&l);
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
		(void)allow_all_of(config, address_private_prefixes);
}
