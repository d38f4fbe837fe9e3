#include "config/config.h"

#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "config/notation.h"
#include "config_reader.h"

int
config_key_node(const struct config_reader *r, const char *name)
{
	return r->keys[config_find_field(name) - config_schema];
}

void
config_set_defaults(const struct field *entry, void *base)
{
	const struct field *f;
	char why[FIELD_WHY_MAX];

	/* The texts of the schema are valid. */
	for (f = config_schema; f->name != NULL; f++) {
		if (f->kind < FIELD_NUMBER || f->kind > FIELD_CHOICE || f->derived)
			continue;
		if (entry != NULL ? config_is_child(f, entry) : strchr(f->name, '[') == NULL)
			(void)field_read(f, f->initial, base, why);
	}
}

/* ---- values ---- */

static void
read_listen_address(struct config_reader *r, int node, struct config_listener *listener)
{
	const char *text = tree_text(r->tree, node, "an IP address");
	char why[NOTATION_MAX];

	if (text == NULL)
		return;
	if (address_parse_late(text, CONFIG_DNS_PORT, &listener->address, listener->interface) ==
		0 &&
	    config_listener_is_late(listener))
		return;
	if (notation_read(NOTATION_LISTENER, text, CONFIG_DNS_PORT, &listener->address, NULL,
		why) == -1)
		tree_error(r->tree, node, "`%.*s' %s", tree_shown(text), text, why);
}

static void
read_upstream_address(struct config_reader *r, int node, struct config_upstream_draft *d)
{
	const char *text = tree_text(r->tree, node, "an IP address");
	char why[NOTATION_MAX];

	if (text == NULL)
		return;
	d->written = text;
	d->written_at = node;
	if (notation_read(NOTATION_UPSTREAM_ADDRESS, text, 0, &d->upstream.address, NULL, why) ==
	    -1)
		tree_error(r->tree, node, "`%.*s' %s", tree_shown(text), text, why);
}

void
config_read_single(struct config_reader *r, int node, const struct field *f, void *base)
{
	char noun[FIELD_RANGE_MAX];
	char why[FIELD_WHY_MAX];
	const char *text = tree_text(r->tree, node, field_noun(f, noun));

	if (text != NULL && field_read(f, text, base, why) == -1)
		tree_error(r->tree, node, "%s", why);
}

void
config_read_value(struct config_reader *r, int node, const struct field *f, void *base)
{
	struct config_place *place = field_member(base, f->place);

	if (f->place != 0)
		*place = (struct config_place){ tree_line(r->tree, node),
			tree_column(r->tree, node) };
	switch (f->kind) {
	case FIELD_MAP:
	case FIELD_LIST:
	case FIELD_HOSTS:
		return;
	case FIELD_LISTEN_ADDRESS:
		read_listen_address(r, node, base);
		return;
	case FIELD_UPSTREAM_ADDRESS:
		read_upstream_address(r, node, base);
		return;
	default:
		config_read_single(r, node, f, base);
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
unknown_key(struct config_reader *r, int node, const char *name, const struct field *parent)
{
	char all[256];
	const char *near;
	const char *here;

	if (r->tree->errors.count > DIAGNOSTIC_MAX)
		tree_error(r->tree, node, "unknown key");
	else if ((here = notation_key(name)) != NULL)
		tree_error(r->tree, node, "unknown key `%.*s' (%s)", tree_shown(name), name, here);
	else if (strchr(name, ':') != NULL)
		tree_error(r->tree, node, "unknown key `%.*s' (a key ends in a colon and a space)",
		    tree_shown(name), name);
	else if ((near = nearest_key(name, parent)) != NULL)
		tree_error(r->tree, node, "unknown key `%.*s' (did you mean `%s'?)",
		    tree_shown(name), name, near);
	else {
		list_keys(parent, all, sizeof all);
		tree_error(r->tree, node, "unknown key `%.*s' (one of: %s)", tree_shown(name), name,
		    all);
	}
}

/* Returns the field of the key, or NULL after adding an error. */
static const struct field *
find_key(struct config_reader *r, int key, const struct field *parent)
{
	const char *name = tree_text(r->tree, key, "a key");
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
		unknown_key(r, key, name, parent);
		return NULL;
	}
	before = r->keys[f - config_schema];
	if (before != 0) {
		tree_error(r->tree, key, "repeated key `%s' (line %zu has `%s' already)", name,
		    tree_line(r->tree, before), tree_scalar(r->tree, before));
		return NULL;
	}
	r->keys[f - config_schema] = key;
	return f;
}

/* Forgets the keys of another map of the same kind. Returns the first field. */
static const struct field *
begin_map(struct config_reader *r, const struct field *parent)
{
	const struct field *first = NULL;
	const struct field *f;

	for (f = config_schema; f->name != NULL; f++)
		if (config_is_child(f, parent)) {
			r->keys[f - config_schema] = 0;
			r->values[f - config_schema] = 0;
			if (first == NULL)
				first = f;
		}
	return first;
}

/* Something else stands where a map should; FIRST is the key of an example. */
static void
not_a_map(struct config_reader *r, int node, const char *first)
{
	const char *text = tree_scalar(r->tree, node);

	if (text == NULL)
		tree_error(r->tree, node, "expected keys and values, found %s (as in `{%s: ...}')",
		    tree_kind(r->tree, node), first);
	else if (strchr(text, '{') != NULL)
		tree_error(r->tree, node,
		    "expected keys and values, found a block as of a Corefile (write YAML, as in "
		    "`%s: ...')",
		    first);
	else if (strchr(text, '=') != NULL)
		tree_error(r->tree, node,
		    "expected keys and values, found `%.*s' (write `key: value', with a colon "
		    "and a space)",
		    tree_shown(text), text);
	else
		tree_error(r->tree, node,
		    "expected keys and values, found a single value (as in `{%s: %.*s}')", first,
		    tree_shown(text), text);
}

void
config_read_map(struct config_reader *r, int node, const struct field *parent, void *base)
{
	const struct field *first = begin_map(r, parent);
	const struct field *f;
	int value;
	size_t i;

	if (tree_is_empty(r->tree, node))
		return;
	if (!tree_is_map(r->tree, node)) {
		not_a_map(r, node, field_key(first));
		return;
	}
	for (i = 0; i < tree_length(r->tree, node); i++) {
		if ((f = find_key(r, tree_key(r->tree, node, i), parent)) == NULL)
			continue;
		value = tree_value(r->tree, node, i);
		r->values[f - config_schema] = value;
		config_read_value(r, value, f, base);
	}
}

/* ---- lists ---- */

size_t
config_count_entries(struct config_reader *r, const struct field *list)
{
	int node = r->values[list - config_schema];
	size_t n;

	if (node == 0)
		return 0;
	if (!tree_is_list(r->tree, node) && !tree_is_empty(r->tree, node))
		return 1;
	n = tree_length(r->tree, node);
	if (n > 0 && n <= (size_t)list->max)
		return n;
	if (n > 0)
		tree_error(r->tree, node, "%zu entries in a list that takes %d", n, list->max);
	else if (tree_is_list(r->tree, node))
		tree_error(r->tree, node, "the list is empty (write one entry at least)");
	else
		tree_error(r->tree, node,
		    "expected a list, found nothing (write one entry at least)");
	return 0;
}

int
config_entry_node(const struct config_reader *r, const struct field *list, size_t i)
{
	int node = r->values[list - config_schema];

	return tree_is_list(r->tree, node) ? tree_item(r->tree, node, i) : node;
}
