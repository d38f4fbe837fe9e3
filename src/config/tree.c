#include "config/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/suggest.h"
#include "config/notation.h"

enum { DEPTH_MAX = 16, MESSAGE_MAX = 512 };

static const yaml_node_t *
get(const struct tree *t, int node)
{
	return yaml_document_get_node(t->document, node);
}

size_t
tree_line(const struct tree *t, int node)
{
	return get(t, node)->start_mark.line + 1;
}

size_t
tree_column(const struct tree *t, int node)
{
	return get(t, node)->start_mark.column + 1;
}

static void
add(const struct tree *t, struct complaints *to, int node, const char *text)
{
	const yaml_mark_t *mark = &get(t, node)->start_mark;

	complaint_add(to, mark->line + 1, mark->column + 1, "%s", text);
}

void
tree_complain(struct tree *t, int node, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	add(t, &t->errors, node, text);
}

void
tree_warn(struct tree *t, int node, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	add(t, &t->warnings, node, text);
}

int
tree_shown(const char *text)
{
	size_t len = strnlen(text, 80);

	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	return (int)len;
}

/*
 * Whether there is a character that no value needs, and that would not survive being
 * printed in one line: a control (C0, DEL, C1), a line break (U+2028, U+2029), a
 * non-character (U+FFFE, U+FFFF). TEXT is valid UTF-8 and has a NUL behind it.
 */
static bool
has_control(const unsigned char *text, size_t len)
{
	const unsigned char *p;

	for (p = text; p < text + len; p++) {
		if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
			return true;
		if (*p == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
			return true;
		if (*p == 0xef && p[1] == 0xbf && p[2] >= 0xbe)
			return true;
	}
	return false;
}

static bool
is_nothing(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;

	return node->type == YAML_SCALAR_NODE &&
	    node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	    (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static const char *
kind_of(const yaml_node_t *node)
{
	if (node->type == YAML_SEQUENCE_NODE)
		return "a list";
	if (node->type == YAML_MAPPING_NODE)
		return "keys and values";
	return is_nothing(node) ? "nothing" : "a single value";
}

bool
tree_is_map(const struct tree *t, int node)
{
	return get(t, node)->type == YAML_MAPPING_NODE;
}

const char *
tree_text(struct tree *t, int node, const char *what)
{
	const yaml_node_t *n = get(t, node);

	if (n->type != YAML_SCALAR_NODE || is_nothing(n)) {
		tree_complain(t, node, "expected %s, found %s", what, kind_of(n));
		return NULL;
	}
	if (has_control(n->data.scalar.value, n->data.scalar.length)) {
		tree_complain(t, node, "control characters in %s", what);
		return NULL;
	}
	return (const char *)n->data.scalar.value;
}

static bool
is_named(const struct field *f, const char *name)
{
	return strcmp(f->key, name) == 0 || (f->also != NULL && strcmp(f->also, name) == 0);
}

/* The key that somebody who wrote NAME meant, or NULL. */
static const char *
nearest_key(const char *name, const struct field *fields, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (suggest_is_near(name, fields[i].key))
			return fields[i].key;
		if (fields[i].also != NULL && suggest_is_near(name, fields[i].also))
			return fields[i].also;
	}
	return NULL;
}

/* The names of all keys that a map can have, cut where there are too many. */
static void
list_keys(const struct field *fields, size_t n, char *text, size_t size)
{
	size_t len = 0;
	size_t i;

	text[0] = '\0';
	for (i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i > 0 ? ", " : "",
		    fields[i].key);
}

static void
complain_unknown(struct tree *t, int node, const char *name, const struct field *fields, size_t n)
{
	char all[256];
	const char *near;
	const char *here;

	if (t->errors.count > COMPLAINT_MAX)
		tree_complain(t, node, "unknown key");
	else if ((here = notation_key(name)) != NULL)
		tree_complain(t, node, "unknown key `%.*s' (%s)", tree_shown(name), name, here);
	else if (strchr(name, ':') != NULL)
		tree_complain(t, node, "unknown key `%.*s' (a key ends in a colon and a space)",
		    tree_shown(name), name);
	else if ((near = nearest_key(name, fields, n)) != NULL)
		tree_complain(t, node, "unknown key `%.*s' (did you mean `%s'?)", tree_shown(name),
		    name, near);
	else {
		list_keys(fields, n, all, sizeof all);
		tree_complain(t, node, "unknown key `%.*s' (one of: %s)", tree_shown(name), name,
		    all);
	}
}

/* Returns which field the key is, or N and has complained. */
static size_t
find_field(struct tree *t, int key, const struct field *fields, size_t n, const int *found)
{
	const char *name = tree_text(t, key, "a key");
	size_t i;

	if (name == NULL)
		return n;
	for (i = 0; i < n && !is_named(&fields[i], name); i++)
		continue;
	if (i == n) {
		complain_unknown(t, key, name, fields, n);
		return n;
	}
	if (found[i] != 0) {
		tree_complain(t, key, "repeated key `%s' (line %zu has `%s' already)", name,
		    tree_line(t, found[i]), (const char *)get(t, found[i])->data.scalar.value);
		return n;
	}
	return i;
}

/* Something else stands where a map should. */
static void
complain_no_map(struct tree *t, int node, const struct field *fields)
{
	const yaml_node_t *n = get(t, node);
	const char *text = (const char *)n->data.scalar.value;
	int shown;

	if (n->type != YAML_SCALAR_NODE) {
		tree_complain(t, node, "expected keys and values, found %s (as in `{%s: ...}')",
		    kind_of(n), fields[0].key);
		return;
	}
	shown = tree_shown(text);
	if (has_control((const unsigned char *)text, (size_t)shown))
		shown = 0;
	if (strchr(text, '{') != NULL)
		tree_complain(t, node,
		    "expected keys and values, found a block as of a Corefile (write YAML, as in "
		    "`%s: ...')",
		    fields[0].key);
	else if (strchr(text, '=') != NULL)
		tree_complain(t, node,
		    "expected keys and values, found `%.*s' (write `key: value', with a colon "
		    "and a space)",
		    shown, text);
	else
		tree_complain(t, node,
		    "expected keys and values, found a single value (as in `{%s: %.*s}')",
		    fields[0].key, shown, text);
}

void
tree_map(struct tree *t, int node, const struct field *fields, size_t n, void *base, int *found)
{
	const yaml_node_t *map = get(t, node);
	const yaml_node_pair_t *pair;
	size_t i;

	memset(found, 0, n * sizeof *found);
	if (is_nothing(map))
		return;
	if (map->type != YAML_MAPPING_NODE) {
		complain_no_map(t, node, fields);
		return;
	}
	for (pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
		i = find_field(t, pair->key, fields, n, found);
		if (i == n)
			continue;
		found[i] = pair->key;
		fields[i].load(t, pair->value, &fields[i], (char *)base + fields[i].offset);
	}
}

void
tree_list(struct tree *t, int node, size_t max, void (*one)(struct tree *, int, void *), void *arg)
{
	const yaml_node_t *list = get(t, node);
	const yaml_node_item_t *item;
	size_t n;

	if (is_nothing(list)) {
		tree_complain(t, node, "expected a list, found nothing (write one entry at least)");
		return;
	}
	if (list->type != YAML_SEQUENCE_NODE) {
		one(t, node, arg);
		return;
	}
	n = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
	if (n == 0)
		tree_complain(t, node, "the list is empty (write one entry at least)");
	if (n > max) {
		tree_complain(t, node, "%zu entries in a list that takes %zu", n, max);
		return;
	}
	for (item = list->data.sequence.items.start; item < list->data.sequence.items.top; item++)
		one(t, *item, arg);
}

/* Whether the line has an address in brackets, which YAML takes for a list: "[::1]:53". */
static bool
has_brackets(const char *line, size_t len)
{
	const char *end = line + len;
	const char *p = memchr(line, '[', len);
	int colons = 0;

	if (p == NULL)
		return false;
	for (p++; p < end && *p != '\0' && strchr("0123456789abcdefABCDEF:.", *p) != NULL; p++)
		colons += *p == ':';
	return p < end && *p == ']' && colons >= 2;
}

/* Whether a value begins with the colon there, as the first or the second character. */
static bool
begins_value(const char *line, size_t column)
{
	return column == 0 || strchr(" [{,:", line[column - 1]) != NULL;
}

/* Says what the scanner or the parser could not read. */
static void
complain_syntax(struct tree *t, const yaml_parser_t *p, const char *text, size_t len)
{
	const char *end = text + len;
	const char *at = text;
	const char *next;
	size_t line = p->problem_mark.line;
	size_t column = p->problem_mark.column;
	size_t i;

	for (i = 0; i < line && (next = memchr(at, '\n', (size_t)(end - at))) != NULL; i++)
		at = next + 1;
	next = memchr(at, '\n', (size_t)(end - at));
	len = (size_t)((next != NULL ? next : end) - at);

	if (memchr(at, '\t', len) != NULL && p->error == YAML_SCANNER_ERROR)
		complaint_add(&t->errors, line + 1, column + 1,
		    "not YAML: a tab, where only spaces can indent");
	else if (has_brackets(at, len))
		complaint_add(&t->errors, line + 1, column + 1,
		    "not YAML: an address in brackets needs quotes, as in \"[::1]:53\"");
	else if (p->context != NULL && strstr(p->context, "alias") != NULL)
		complaint_add(&t->errors, line + 1, column + 1,
		    "not YAML: `*' cannot begin a value without quotes");
	else if (column < len && at[column] == ':' && begins_value(at, column))
		complaint_add(&t->errors, line + 1, column + 1,
		    "not YAML: an address that begins with a colon needs quotes here, as in "
		    "\"::1\"");
	else if (column < len && at[column] == ':')
		complaint_add(&t->errors, line + 1, column + 1,
		    "not YAML: %s (put a value that ends in a colon in quotes)", p->problem);
	else if (strstr(p->problem, "<document start>") != NULL)
		complaint_add(&t->errors, line + 1, column + 1,
		    "not YAML: %s (write `key: value' lines, and no heading such as `[server]')",
		    p->problem);
	else if (column < len && strchr("@`%", at[column]) != NULL)
		complaint_add(&t->errors, line + 1, column + 1,
		    "not YAML: `%c' cannot begin a value without quotes", at[column]);
	else
		complaint_add(&t->errors, line + 1, column + 1, "not YAML: %s%s%s",
		    p->context != NULL ? p->context : "", p->context != NULL ? ": " : "",
		    p->problem);
}

/* Says which octets are none that a text may have. */
static void
complain_octets(struct tree *t, const yaml_parser_t *p, const char *text)
{
	size_t line = 1;
	size_t column = 1;
	size_t i;

	for (i = 0; i < p->problem_offset; i++) {
		if (text[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80)
			column++;
	}
	if (p->problem_value == 0)
		complaint_add(&t->errors, line, column, "not a text: a NUL octet");
	else if (p->problem_offset == 0 && (p->problem_value == 0xff || p->problem_value == 0xfe))
		complaint_add(&t->errors, line, column,
		    "not a text in UTF-8: UTF-16 (save it as UTF-8)");
	else
		complaint_add(&t->errors, line, column, "not a text in UTF-8: %s", p->problem);
}

static void
complain_parser(struct tree *t, const yaml_parser_t *p, const char *text, size_t len)
{
	if (p->error == YAML_MEMORY_ERROR)
		complaint_add(&t->errors, 0, 0, "out of memory");
	else if (p->error == YAML_READER_ERROR)
		complain_octets(t, p, text);
	else
		complain_syntax(t, p, text, len);
}

static int
open_parser(struct tree *t, yaml_parser_t *p, const char *text, size_t len)
{
	if (yaml_parser_initialize(p) == 0) {
		complaint_add(&t->errors, 0, 0, "out of memory");
		return -1;
	}
	yaml_parser_set_encoding(p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(p, (const unsigned char *)text, len);
	return 0;
}

static int
depth_change(yaml_event_type_t type)
{
	if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
		return 1;
	return type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT ? -1 : 0;
}

/*
 * Reads it through once without making anything of it: libyaml takes minutes over some
 * 100,000 open brackets. Returns 0, or -1 and has complained.
 */
static int
check_depth(struct tree *t, const char *text, size_t len)
{
	yaml_parser_t parser;
	yaml_event_t event;
	yaml_event_type_t type = YAML_NO_EVENT;
	int depth = 0;

	if (open_parser(t, &parser, text, len) == -1)
		return -1;
	while (type != YAML_STREAM_END_EVENT && depth <= DEPTH_MAX) {
		if (yaml_parser_parse(&parser, &event) == 0) {
			complain_parser(t, &parser, text, len);
			break;
		}
		type = event.type;
		depth += depth_change(type);
		if (depth > DEPTH_MAX)
			complaint_add(&t->errors, event.start_mark.line + 1,
			    event.start_mark.column + 1, "nested deeper than %d levels", DEPTH_MAX);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return type == YAML_STREAM_END_EVENT ? 0 : -1;
}

/* Reads the document and sees that no other one follows. Returns 0, or -1 and has complained. */
static int
load_only_document(struct tree *t, yaml_parser_t *p)
{
	yaml_document_t second;
	const yaml_node_t *root;

	if (yaml_parser_load(p, t->document) == 0) {
		memset(t->document, 0, sizeof *t->document);
		return -1;
	}
	if (yaml_document_get_root_node(t->document) == NULL) {
		complaint_add(&t->errors, 1, 1, "file is empty (write at least `upstreams')");
		return 0;
	}
	if (yaml_parser_load(p, &second) == 0)
		return -1;
	root = yaml_document_get_root_node(&second);
	if (root != NULL)
		complaint_add(&t->errors, root->start_mark.line + 1, root->start_mark.column + 1,
		    "a second document begins here; there can be only one");
	yaml_document_delete(&second);
	return 0;
}

int
tree_read(struct tree *t, const char *text, size_t len)
{
	yaml_parser_t parser;

	if (check_depth(t, text, len) == -1)
		return 0;
	if ((t->document = calloc(1, sizeof *t->document)) == NULL) {
		complaint_add(&t->errors, 0, 0, "out of memory");
		return 0;
	}
	if (open_parser(t, &parser, text, len) == -1)
		return 0;
	if (load_only_document(t, &parser) == -1)
		complain_parser(t, &parser, text, len);
	yaml_parser_delete(&parser);
	return yaml_document_get_root_node(t->document) != NULL ? 1 : 0;
}

void
tree_clear(struct tree *t)
{
	if (t->document != NULL)
		yaml_document_delete(t->document);
	free(t->document);
	complaint_clear(&t->errors);
	complaint_clear(&t->warnings);
	t->document = NULL;
}
