#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hostname.h"
#include "base/suggest.h"
#include "config/notation.h"
#include "config_schema.h"

struct loader {
	struct tree *tree;
	struct config *config;
	/* The nodes of each field of the schema where it was read last; 0: not there. */
	int keys[CONFIG_FIELDS_MAX];
	int values[CONFIG_FIELDS_MAX];
	/* Where each one stands in the file. */
	int listen_nodes[CONFIG_LISTEN_MAX];
	int upstream_nodes[CONFIG_UPSTREAMS_MAX];
};

static int
key_node(const struct loader *l, const char *name)
{
	return l->keys[config_find_field(name) - config_schema];
}

static void
out_of_memory(struct loader *l)
{
	diagnostic_add(&l->tree->errors, 0, 0, "out of memory");
}

/* Those of an entry, or where that is NULL, those outside of lists. They are valid. */
static void
set_defaults(const struct field *entry, void *base)
{
	const struct field *f;
	char why[FIELD_WHY_MAX];

	for (f = config_schema; f->name != NULL; f++) {
		if (f->kind < FIELD_NUMBER || f->kind > FIELD_CHOICE)
			continue;
		if (entry != NULL ? config_is_child(f, entry) : strchr(f->name, '[') == NULL)
			(void)field_read(f, f->initial, base, why);
	}
}

/* ---- values ---- */

static void
read_listen_address(struct loader *l, int node, struct config_listener *listener)
{
	const char *text = tree_text(l->tree, node, "an IP address");
	char why[NOTATION_MAX];

	if (text == NULL)
		return;
	if (address_parse_late(text, CONFIG_DNS_PORT, &listener->address, listener->interface) ==
		0 &&
	    config_listener_is_late(listener))
		return;
	if (notation_read(NOTATION_LISTENER, text, CONFIG_DNS_PORT, &listener->address, NULL,
		why) == -1)
		tree_error(l->tree, node, "`%.*s' %s", tree_shown(text), text, why);
}

static void
read_upstream_address(struct loader *l, int node, struct config_upstream_draft *d)
{
	const char *text = tree_text(l->tree, node, "an IP address");
	char why[NOTATION_MAX];

	if (text == NULL)
		return;
	d->written = text;
	d->written_at = node;
	if (notation_read(NOTATION_UPSTREAM_ADDRESS, text, 0, &d->upstream.address, NULL, why) ==
	    -1)
		tree_error(l->tree, node, "`%.*s' %s", tree_shown(text), text, why);
}

/* A value of one of the kinds that field_read() knows. */
static void
read_single(struct loader *l, int node, const struct field *f, void *base)
{
	char noun[FIELD_RANGE_MAX];
	char why[FIELD_WHY_MAX];
	const char *text = tree_text(l->tree, node, field_noun(f, noun));

	if (text != NULL && field_read(f, text, base, why) == -1)
		tree_error(l->tree, node, "%s", why);
}

/* Maps and lists are left to the caller, which finds them in `values'. */
static void
read_value(struct loader *l, int node, const struct field *f, void *base)
{
	struct config_place *place = field_member(base, f->place);

	if (f->place != 0)
		*place = (struct config_place){ tree_line(l->tree, node),
			tree_column(l->tree, node) };
	switch (f->kind) {
	case FIELD_MAP:
	case FIELD_LIST:
		return;
	case FIELD_LISTEN_ADDRESS:
		read_listen_address(l, node, base);
		return;
	case FIELD_UPSTREAM_ADDRESS:
		read_upstream_address(l, node, base);
		return;
	default:
		read_single(l, node, f, base);
	}
}

/* ---- maps ---- */

/* The key that was probably meant by NAME, or NULL. */
static const char *
nearest_key(const char *name, const struct field *parent)
{
	const struct field *f;

	for (f = config_schema; f->name != NULL; f++) {
		if (!config_is_child(f, parent))
			continue;
		if (suggest_is_near(name, field_key(f)))
			return field_key(f);
		if (f->alias != NULL && suggest_is_near(name, f->alias))
			return f->alias;
	}
	return NULL;
}

/* The keys that a map can have. */
static void
list_keys(const struct field *parent, char *text, size_t size)
{
	const struct field *f;
	size_t len = 0;

	for (f = config_schema; f->name != NULL && len < size; f++)
		if (config_is_child(f, parent))
			len += (size_t)snprintf(text + len, size - len, "%s%s", len > 0 ? ", " : "",
			    field_key(f));
}

static void
unknown_key(struct loader *l, int node, const char *name, const struct field *parent)
{
	char all[256];
	const char *near;
	const char *here;

	if (l->tree->errors.count > DIAGNOSTIC_MAX)
		tree_error(l->tree, node, "unknown key");
	else if ((here = notation_key(name)) != NULL)
		tree_error(l->tree, node, "unknown key `%.*s' (%s)", tree_shown(name), name, here);
	else if (strchr(name, ':') != NULL)
		tree_error(l->tree, node, "unknown key `%.*s' (a key ends in a colon and a space)",
		    tree_shown(name), name);
	else if ((near = nearest_key(name, parent)) != NULL)
		tree_error(l->tree, node, "unknown key `%.*s' (did you mean `%s'?)",
		    tree_shown(name), name, near);
	else {
		list_keys(parent, all, sizeof all);
		tree_error(l->tree, node, "unknown key `%.*s' (one of: %s)", tree_shown(name), name,
		    all);
	}
}

/* Returns the field of the key, or NULL after adding an error. */
static const struct field *
find_key(struct loader *l, int key, const struct field *parent)
{
	const char *name = tree_text(l->tree, key, "a key");
	const struct field *f;
	int before;

	if (name == NULL)
		return NULL;
	for (f = config_schema; f->name != NULL; f++)
		if (config_is_child(f, parent) &&
		    (strcmp(field_key(f), name) == 0 ||
			(f->alias != NULL && strcmp(f->alias, name) == 0)))
			break;
	if (f->name == NULL) {
		unknown_key(l, key, name, parent);
		return NULL;
	}
	before = l->keys[f - config_schema];
	if (before != 0) {
		tree_error(l->tree, key, "repeated key `%s' (line %zu has `%s' already)", name,
		    tree_line(l->tree, before), tree_scalar(l->tree, before));
		return NULL;
	}
	l->keys[f - config_schema] = key;
	return f;
}

/* Forgets the keys of another map of the same kind. Returns the first field. */
static const struct field *
begin_map(struct loader *l, const struct field *parent)
{
	const struct field *first = NULL;
	const struct field *f;

	for (f = config_schema; f->name != NULL; f++)
		if (config_is_child(f, parent)) {
			l->keys[f - config_schema] = 0;
			l->values[f - config_schema] = 0;
			if (first == NULL)
				first = f;
		}
	return first;
}

/* Something else stands where a map should; FIRST is the key of an example. */
static void
not_a_map(struct loader *l, int node, const char *first)
{
	const char *text = tree_scalar(l->tree, node);

	if (text == NULL)
		tree_error(l->tree, node, "expected keys and values, found %s (as in `{%s: ...}')",
		    tree_kind(l->tree, node), first);
	else if (strchr(text, '{') != NULL)
		tree_error(l->tree, node,
		    "expected keys and values, found a block as of a Corefile (write YAML, as in "
		    "`%s: ...')",
		    first);
	else if (strchr(text, '=') != NULL)
		tree_error(l->tree, node,
		    "expected keys and values, found `%.*s' (write `key: value', with a colon "
		    "and a space)",
		    tree_shown(text), text);
	else
		tree_error(l->tree, node,
		    "expected keys and values, found a single value (as in `{%s: %.*s}')", first,
		    tree_shown(text), text);
}

/*
 * Reads the single values of a map into the struct at BASE. What is read, and how deep, is up to
 * the schema, so alias cycles do no harm.
 */
static void
read_map(struct loader *l, int node, const struct field *parent, void *base)
{
	const struct field *first = begin_map(l, parent);
	const struct field *f;
	int value;
	size_t i;

	if (tree_is_empty(l->tree, node))
		return;
	if (!tree_is_map(l->tree, node)) {
		not_a_map(l, node, field_key(first));
		return;
	}
	for (i = 0; i < tree_length(l->tree, node); i++) {
		if ((f = find_key(l, tree_key(l->tree, node, i), parent)) == NULL)
			continue;
		value = tree_value(l->tree, node, i);
		l->values[f - config_schema] = value;
		read_value(l, value, f, base);
	}
}

/* ---- lists ---- */

/* The number of entries in the list of that field; 0 when there is no list, or an error. */
static size_t
count_entries(struct loader *l, const struct field *list)
{
	int node = l->values[list - config_schema];
	size_t n;

	if (node == 0)
		return 0;
	if (!tree_is_list(l->tree, node) && !tree_is_empty(l->tree, node))
		return 1; /* stands for a list of one */
	n = tree_length(l->tree, node);
	if (n > 0 && n <= (size_t)list->max)
		return n;
	if (n > 0)
		tree_error(l->tree, node, "%zu entries in a list that takes %d", n, list->max);
	else if (tree_is_list(l->tree, node))
		tree_error(l->tree, node, "the list is empty (write one entry at least)");
	else
		tree_error(l->tree, node,
		    "expected a list, found nothing (write one entry at least)");
	return 0;
}

/* Entry I, below count_entries(). */
static int
entry_node(const struct loader *l, const struct field *list, size_t i)
{
	int node = l->values[list - config_schema];

	return tree_is_list(l->tree, node) ? tree_item(l->tree, node, i) : node;
}

/* ---- upstreams ---- */

static void
read_pin(struct loader *l, int node, const struct field *entry, struct config_upstream *u)
{
	size_t before = l->tree->errors.count;

	if (tree_is_map(l->tree, node))
		tree_error(l->tree, node,
		    "expected a pin, found keys and values (write only the value of `value')");
	else
		read_single(l, node, entry, &u->pins[u->pin_count]);
	if (l->tree->errors.count == before)
		u->pin_count++;
}

static void
read_pins(struct loader *l, struct config_upstream *u)
{
	const struct field *list = config_find_field("upstreams[].pins");
	size_t n = count_entries(l, list);
	size_t i;

	for (i = 0; i < n; i++)
		read_pin(l, entry_node(l, list, i), list + 1, u);
}

static void
check_long_form(struct loader *l, int node, size_t errors, struct config_upstream_draft *d)
{
	int port = key_node(l, "upstreams[].port");
	char why[NOTATION_MAX];

	if (d->written == NULL && key_node(l, "upstreams[].address") == 0)
		tree_error(l->tree, node, "missing key `address' (the server's IP address)");
	else if (d->upstream.pins_only && d->upstream.pin_count == 0)
		tree_error(l->tree, key_node(l, "upstreams[].verify"),
		    "`verify: pins' without `pins' would verify nothing (write the pins, as "
		    "`dot-proxy probe' prints them)");
	else if (port != 0 && address_port(&d->upstream.address) != 0)
		tree_error(l->tree, port,
		    "repeated port (the address has one already; leave one out)");
	else if (port == 0 && l->tree->errors.count == errors &&
	    notation_check_port(d->written, why) == -1)
		tree_error(l->tree, d->written_at, "`%.*s' %s", tree_shown(d->written), d->written,
		    why);
}

/* "address[:port]", perhaps with "#hostname". */
static void
read_short_form(struct loader *l, int node, struct config_upstream_draft *d)
{
	const char *text = tree_text(l->tree, node, "an upstream");
	const char *hostname;
	char why[NOTATION_MAX];

	if (text == NULL)
		return;
	if (notation_read(NOTATION_UPSTREAM, text, 0, &d->upstream.address, &hostname, why) == -1)
		tree_error(l->tree, node, "`%.*s' %s", tree_shown(text), text, why);
	else if (hostname != NULL &&
	    field_read(config_find_field("upstreams[].hostname"), hostname, d, why) == -1)
		tree_error(l->tree, node, "%s", why);
}

static bool
same_text(const char *a, const char *b, int (*compare)(const char *, const char *))
{
	return a == b || (a != NULL && b != NULL && compare(a, b) == 0);
}

static bool
same_upstream(const struct config_upstream *a, const struct config_upstream *b)
{
	size_t i;

	if (!address_equal(&a->address, &b->address) ||
	    !same_text(a->hostname, b->hostname, strcasecmp) ||
	    !same_text(a->ca_file, b->ca_file, strcmp) ||
	    !same_text(a->crl_file, b->crl_file, strcmp) || a->pin_count != b->pin_count ||
	    a->pins_only != b->pins_only)
		return false;
	for (i = 0; i < a->pin_count; i++)
		if (strcmp(a->pins[i], b->pins[i]) != 0)
			return false;
	return true;
}

/* Takes the upstream over. Returns 0; or -1, and it stays the caller's, when it is refused. */
static int
add_upstream(struct loader *l, int node, const struct config_upstream *u)
{
	struct config *c = l->config;
	size_t i;

	if (address_port(&u->address) == CONFIG_DNS_PORT) {
		tree_error(l->tree, node, "port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is");
		return -1;
	}
	if (address_is_wildcard(&u->address)) {
		tree_error(l->tree, node,
		    "upstream address must not be a wildcard (write the server's address)");
		return -1;
	}
	for (i = 0; i < c->upstream_count; i++)
		if (same_upstream(&c->upstreams[i], u)) {
			tree_warning(l->tree, node, "the same upstream as on line %zu; left out",
			    tree_line(l->tree, l->upstream_nodes[i]));
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
	size_t before = l->tree->errors.count;

	set_defaults(entry, &d);
	if (tree_is_map(l->tree, node)) {
		read_map(l, node, entry, &d);
		read_pins(l, &d.upstream);
		check_long_form(l, node, before, &d);
	} else
		read_short_form(l, node, &d);
	if (l->tree->errors.count == before && address_port(&d.upstream.address) == 0)
		address_set_port(&d.upstream.address, (uint16_t)d.port);
	if (l->tree->errors.count > before || add_upstream(l, node, &d.upstream) == -1)
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
		tree_warning(l->tree, node, "the same address as on line %zu; left out",
		    tree_line(l->tree, l->listen_nodes[i]));
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
	size_t before = l->tree->errors.count;

	set_defaults(entry, &listener);
	if (!tree_is_map(l->tree, node)) {
		read_value(l, node, config_find_field("listen[].address"), &listener);
	} else {
		read_map(l, node, entry, &listener);
		if (key_node(l, "listen[].address") == 0)
			tree_error(l->tree, node, "missing key `address' (as in 127.0.0.1:53)");
		else if (!listener.udp && !listener.tcp)
			tree_error(l->tree, node, "at least one of `udp', `tcp' must be true");
	}
	if (l->tree->errors.count == before)
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
	const char *text = tree_text(l->tree, node, "a range of addresses");
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
		tree_error(l->tree, node,
		    "expected private, any, or a range such as 192.0.2.0/24 "
		    "(no bits set after the prefix length), found `%.*s'",
		    tree_shown(text), text);
		return;
	}
	if (allowed == -1)
		tree_error(l->tree, node, "more than %d ranges (`private' is 9, `any' is 2)",
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

	n = count_entries(l, upstreams);
	for (i = 0; i < n; i++)
		read_upstream(l, entry_node(l, upstreams, i), upstreams + 1);
	n = count_entries(l, listen);
	for (i = 0; i < n; i++)
		read_listener(l, entry_node(l, listen, i), listen + 1);
	n = count_entries(l, allowed);
	for (i = 0; i < n; i++)
		read_prefix(l, entry_node(l, allowed, i));
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
				tree_error(l->tree, l->upstream_nodes[i],
				    "a loop: dot-proxy itself listens on %s (change one of the two)",
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
		if (key_node(l, parts[i]) != 0)
			tree_error(l->tree, key_node(l, parts[i]),
			    "`%s' is longer than `query', which it is a part of (change one of "
			    "the two)",
			    field_key(f));
		*ms = query_ms;
	}
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
	struct loader l = { .tree = t, .config = config };
	const struct field *f;

	config->upstreams = calloc(CONFIG_UPSTREAMS_MAX, sizeof *config->upstreams);
	if (config->upstreams == NULL) {
		out_of_memory(&l);
		return;
	}
	set_defaults(NULL, config);
	read_map(&l, root, NULL, config);
	for (f = config_schema; f->name != NULL; f++)
		if (f->kind == FIELD_MAP && l.values[f - config_schema] != 0)
			read_map(&l, l.values[f - config_schema], f, config);
	read_lists(&l);
	if (key_node(&l, "upstreams") == 0)
		tree_error(t, root, "missing key `upstreams': the servers to ask");
	check_loops(&l);
	check_timeouts(&l);
	share_files(&l);
	if (config->listen_count == 0)
		(void)config_set_listen(config, config_find_field("listen")->initial);
	if (config->allow_count == 0)
		(void)allow_all_of(config, private_prefixes);
}
