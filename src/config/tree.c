#include "config/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

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
add(const struct tree *t, struct diagnostics *to, int node, const char *text)
{
	const yaml_mark_t *mark = &get(t, node)->start_mark;

	diagnostic_add(to, mark->line + 1, mark->column + 1, "%s", text);
}

void
tree_error(struct tree *t, int node, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	add(t, &t->errors, node, text);
}

void
tree_warning(struct tree *t, int node, const char *fmt, ...)
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
 * Whether TEXT has a character that cannot be printed in one line: a control (C0, DEL, C1), a
 * line break (U+2028, U+2029), a non-character (U+FFFE, U+FFFF). TEXT is valid UTF-8 and ends in
 * a NUL.
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

bool
tree_is_map(const struct tree *t, int node)
{
	return get(t, node)->type == YAML_MAPPING_NODE;
}

bool
tree_is_list(const struct tree *t, int node)
{
	return get(t, node)->type == YAML_SEQUENCE_NODE;
}

bool
tree_is_empty(const struct tree *t, int node)
{
	const yaml_node_t *n = get(t, node);
	const char *text = (const char *)n->data.scalar.value;

	return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	    (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

const char *
tree_kind(const struct tree *t, int node)
{
	if (tree_is_list(t, node))
		return "a list";
	if (tree_is_map(t, node))
		return "keys and values";
	return tree_is_empty(t, node) ? "nothing" : "a single value";
}

const char *
tree_scalar(const struct tree *t, int node)
{
	const yaml_node_t *n = get(t, node);

	if (n->type != YAML_SCALAR_NODE || tree_is_empty(t, node) ||
	    has_control(n->data.scalar.value, n->data.scalar.length))
		return NULL;
	return (const char *)n->data.scalar.value;
}

const char *
tree_text(struct tree *t, int node, const char *what)
{
	const char *text = tree_scalar(t, node);
	bool is_scalar = get(t, node)->type == YAML_SCALAR_NODE && !tree_is_empty(t, node);

	if (text == NULL)
		tree_error(t, node, "expected %s, found %s", what,
		    is_scalar ? "control characters" : tree_kind(t, node));
	return text;
}

size_t
tree_length(const struct tree *t, int node)
{
	const yaml_node_t *n = get(t, node);

	if (n->type == YAML_MAPPING_NODE)
		return (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
	if (n->type == YAML_SEQUENCE_NODE)
		return (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
	return 0;
}

int
tree_item(const struct tree *t, int list, size_t i)
{
	return get(t, list)->data.sequence.items.start[i];
}

int
tree_key(const struct tree *t, int map, size_t i)
{
	return get(t, map)->data.mapping.pairs.start[i].key;
}

int
tree_value(const struct tree *t, int map, size_t i)
{
	return get(t, map)->data.mapping.pairs.start[i].value;
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

/* Reports what the scanner or the parser could not read. */
static void
syntax_error(struct tree *t, const yaml_parser_t *p, const char *text, size_t len)
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
		diagnostic_add(&t->errors, line + 1, column + 1,
		    "not YAML: tab in the indentation (use spaces)");
	else if (has_brackets(at, len))
		diagnostic_add(&t->errors, line + 1, column + 1,
		    "not YAML: an address in brackets needs quotes, as in \"[::1]:53\"");
	else if (p->context != NULL && strstr(p->context, "alias") != NULL)
		diagnostic_add(&t->errors, line + 1, column + 1,
		    "not YAML: `*' cannot begin a value without quotes");
	else if (column < len && at[column] == ':' && begins_value(at, column))
		diagnostic_add(&t->errors, line + 1, column + 1,
		    "not YAML: an address that begins with a colon needs quotes here, as in "
		    "\"::1\"");
	else if (column < len && at[column] == ':')
		diagnostic_add(&t->errors, line + 1, column + 1,
		    "not YAML: %s (put a value that ends in a colon in quotes)", p->problem);
	else if (strstr(p->problem, "<document start>") != NULL)
		diagnostic_add(&t->errors, line + 1, column + 1,
		    "not YAML: %s (write `key: value' lines, and no heading such as `[server]')",
		    p->problem);
	else if (column < len && strchr("@`%", at[column]) != NULL)
		diagnostic_add(&t->errors, line + 1, column + 1,
		    "not YAML: `%c' cannot begin a value without quotes", at[column]);
	else
		diagnostic_add(&t->errors, line + 1, column + 1, "not YAML: %s%s%s",
		    p->context != NULL ? p->context : "", p->context != NULL ? ": " : "",
		    p->problem);
}

/* Reports the first bytes that are not allowed in a text. */
static void
encoding_error(struct tree *t, const yaml_parser_t *p, const char *text)
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
		diagnostic_add(&t->errors, line, column, "not text: a NUL byte");
	else if (p->problem_offset == 0 && (p->problem_value == 0xff || p->problem_value == 0xfe))
		diagnostic_add(&t->errors, line, column,
		    "not UTF-8 text: UTF-16 (save it as UTF-8)");
	else
		diagnostic_add(&t->errors, line, column, "not UTF-8 text: %s", p->problem);
}

static void
parser_error(struct tree *t, const yaml_parser_t *p, const char *text, size_t len)
{
	if (p->error == YAML_MEMORY_ERROR)
		diagnostic_add(&t->errors, 0, 0, "out of memory");
	else if (p->error == YAML_READER_ERROR)
		encoding_error(t, p, text);
	else
		syntax_error(t, p, text, len);
}

static int
open_parser(struct tree *t, yaml_parser_t *p, const char *text, size_t len)
{
	if (yaml_parser_initialize(p) == 0) {
		diagnostic_add(&t->errors, 0, 0, "out of memory");
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
 * Parses the text once without building the document: libyaml needs minutes for a document of
 * 100,000 open brackets. Returns 0, or -1 and an error was added.
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
			parser_error(t, &parser, text, len);
			break;
		}
		type = event.type;
		depth += depth_change(type);
		if (depth > DEPTH_MAX)
			diagnostic_add(&t->errors, event.start_mark.line + 1,
			    event.start_mark.column + 1, "nested deeper than %d levels", DEPTH_MAX);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return type == YAML_STREAM_END_EVENT ? 0 : -1;
}

/* Loads the document and checks that it is the only one. Returns 0, or -1 after adding an error. */
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
		diagnostic_add(&t->errors, 1, 1, "file is empty (write at least `upstreams')");
		return 0;
	}
	if (yaml_parser_load(p, &second) == 0)
		return -1;
	root = yaml_document_get_root_node(&second);
	if (root != NULL)
		diagnostic_add(&t->errors, root->start_mark.line + 1, root->start_mark.column + 1,
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
		diagnostic_add(&t->errors, 0, 0, "out of memory");
		return 0;
	}
	if (open_parser(t, &parser, text, len) == -1)
		return 0;
	if (load_only_document(t, &parser) == -1)
		parser_error(t, &parser, text, len);
	yaml_parser_delete(&parser);
	return yaml_document_get_root_node(t->document) != NULL ? 1 : 0;
}

void
tree_clear(struct tree *t)
{
	if (t->document != NULL)
		yaml_document_delete(t->document);
	free(t->document);
	diagnostic_clear(&t->errors);
	diagnostic_clear(&t->warnings);
	t->document = NULL;
}
