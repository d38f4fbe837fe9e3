#include "config/config.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "config_schema.h"

/* Room for the indentation of a key. */
enum { INDENT_MAX = 16 };

/* Whether the entry may have that key: nothing is verified in cleartext. */
static bool
has_key(const struct field *f, const void *base)
{
	const struct config_upstream_draft *d = base;

	return f != config_find_field("upstreams[].verify") || !d->upstream.cleartext;
}

/* A key and its value, where it has one: a text may be missing. */
static void
print_single(const struct field *f, const void *base, const char *indent, FILE *out)
{
	const void *member = field_const_member(base, f->offset);
	char *const *text = member;
	char address[ADDRESS_TEXT_MAX];

	if (f->kind >= FIELD_PATH && f->kind <= FIELD_PIN && *text == NULL)
		return;
	fprintf(out, "%s%s: ", indent, field_key(f));
	if (f->kind == FIELD_LISTEN_ADDRESS)
		field_print_quoted(out, config_listener_format(base, address));
	else if (f->kind == FIELD_UPSTREAM_ADDRESS)
		field_print_quoted(out, address_format_host(member, address));
	else
		field_print(f, base, out);
	fputc('\n', out);
}

static void
print_pins(const struct field *f, const struct config_upstream *u, const char *indent, FILE *out)
{
	size_t i;

	if (u->pin_count > 0)
		fprintf(out, "%s%s:\n", indent, field_key(f));
	for (i = 0; i < u->pin_count; i++)
		fprintf(out, "%s  - \"%s\"\n", indent, u->pins[i]);
}

/* An entry of a list as a map, after so many spaces; its first key follows the dash. */
static void
print_entry(const struct field *entry, const void *base, unsigned spaces, FILE *out)
{
	const struct field *f;
	char dash[INDENT_MAX];
	char indent[INDENT_MAX];
	const char *before = dash;

	(void)snprintf(dash, sizeof dash, "%*s- ", (int)spaces, "");
	(void)snprintf(indent, sizeof indent, "%*s", (int)spaces + 2, "");
	for (f = config_schema; f->name != NULL; f++) {
		if (!config_is_child(f, entry) || !has_key(f, base))
			continue;
		if (f->kind == FIELD_LIST)
			print_pins(f, base, indent, out);
		else
			print_single(f, base, before, out);
		before = indent;
	}
}

/* A listener over both transports is its address alone. */
static void
print_listener(const struct field *entry, const struct config_listener *l, FILE *out)
{
	char text[ADDRESS_TEXT_MAX];

	if (l->udp && l->tcp)
		fprintf(out, "  - \"%s\"\n", config_listener_format(l, text));
	else
		print_entry(entry, l, 2, out);
}

static void
print_upstream(const struct config_upstream *u, unsigned spaces, FILE *out)
{
	struct config_upstream_draft d = { .upstream = *u, .port = address_port(&u->address) };

	print_entry(config_find_field("upstreams[]"), &d, spaces, out);
}

static void
print_upstreams(const struct config *c, size_t group, unsigned spaces, FILE *out)
{
	const struct config_group *g = &c->groups[group];
	size_t i;

	for (i = 0; i < g->count; i++)
		print_upstream(&c->upstreams[g->first + i], spaces, out);
}

/* ---- routes ---- */

/* What may leave in cleartext, and where to, as comments. */
static void
print_cleartext(const struct config *c, const struct config_route *route, FILE *out)
{
	const struct config_group *g = &c->groups[route->group];
	char domains[CONFIG_DOMAINS_TEXT_MAX];
	char address[ADDRESS_TEXT_MAX];
	size_t i;

	for (i = 0; i < g->count; i++)
		if (c->upstreams[g->first + i].cleartext)
			fprintf(out, "    # cleartext: %s, to %s\n",
			    config_format_domains(route, domains),
			    address_format(&c->upstreams[g->first + i].address, address));
}

/* What a route with upstreams of its own has beside them. */
static void
print_settings(const struct config_group *g, FILE *out)
{
	struct config_route_draft d = { .order_fastest = g->order_fastest,
		.fallback_after_ms = g->fallback_after_ms,
		.stale_s = g->stale_s,
		.min_ttl_s = g->min_ttl_s };
	static const char *const maps[] = { "routes[].fallback", "routes[].cache" };
	const struct field *f;
	size_t i;

	print_single(config_find_field("routes[].order"), &d, "    ", out);
	for (i = 0; i < sizeof maps / sizeof maps[0]; i++) {
		fprintf(out, "    %s:\n", field_key(config_find_field(maps[i])));
		for (f = config_schema; f->name != NULL; f++)
			if (config_is_child(f, config_find_field(maps[i])))
				print_single(f, &d, "      ", out);
	}
}

static void
print_route(const struct config *c, const struct config_route *route, FILE *out)
{
	struct config_route_draft d = { .answer = route->answer };
	size_t i;

	fprintf(out, "  - domains: [");
	for (i = 0; i < route->domain_count; i++) {
		fputs(i > 0 ? ", " : "", out);
		field_print_quoted(out, route->domains[i]);
	}
	fprintf(out, "]\n");
	if (route->answer != CONFIG_ANSWER_NONE) {
		print_single(config_find_field("routes[].answer"), &d, "    ", out);
	} else if (route->group == 0) {
		fprintf(out, "    upstreams: default\n");
	} else {
		print_cleartext(c, route, out);
		fprintf(out, "    upstreams:\n");
		print_upstreams(c, route->group, 6, out);
		print_settings(&c->groups[route->group], out);
	}
}

/* ---- the whole ---- */

static void
print_prefix(const struct prefix *p, FILE *out)
{
	char text[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(p->family, p->bytes, text, sizeof text);
	fprintf(out, "  - \"%s/%u\"\n", text, p->bits);
}

static void
print_list(const struct field *list, const struct config *c, FILE *out)
{
	const struct field *entry = list + 1;
	size_t i;

	if (entry->kind == FIELD_ROUTE && c->route_count == 0)
		return;
	fprintf(out, "%s:\n", list->name);
	if (entry->kind == FIELD_UPSTREAM)
		print_upstreams(c, 0, 2, out);
	else if (entry->kind == FIELD_ROUTE)
		for (i = 0; i < c->route_count; i++)
			print_route(c, &c->routes[i], out);
	else if (entry->kind == FIELD_LISTENER)
		for (i = 0; i < c->listen_count; i++)
			print_listener(entry, &c->listen[i], out);
	else
		for (i = 0; i < c->allow_count; i++)
			print_prefix(&c->allow[i], out);
}

static void
print_host(const struct config_host *host, FILE *out)
{
	char text[ADDRESS_TEXT_MAX];
	size_t i;

	fputs("  ", out);
	field_print_quoted(out, host->name);
	for (i = 0; i < host->count; i++) {
		fputs(i == 0 ? ": [" : ", ", out);
		field_print_quoted(out, address_format_host(&host->addresses[i], text));
	}
	fputs("]\n", out);
}

static void
print_hosts(const struct field *f, const struct config *c, FILE *out)
{
	size_t i;

	if (c->host_count > 0)
		fprintf(out, "%s:\n", f->name);
	for (i = 0; i < c->host_count; i++)
		print_host(&c->hosts[i], out);
}

/* What the size of the cache means, as a comment. Its index takes a sixteenth. */
static void
print_capacity(const struct config *c, FILE *out)
{
	enum { FIXED_LEN = 36 << 10, INDEX_SHARE = 16, ANSWER_LEN = 200, ROUND = 100 };
	size_t n;

	if (c->cache.size == 0)
		return;
	n = (c->cache.size - c->cache.size / INDEX_SHARE - FIXED_LEN) / ANSWER_LEN;
	fprintf(out, "  # space for about %zu answers of %d bytes\n", n - n % ROUND, ANSWER_LEN);
}

static void
print_map(const struct field *map, const struct config *c, FILE *out)
{
	const struct field *f;

	fprintf(out, "%s:\n", map->name);
	for (f = config_schema; f->name != NULL; f++)
		if (config_is_child(f, map)) {
			print_single(f, c, "  ", out);
			if (f->kind == FIELD_SIZE)
				print_capacity(c, out);
		}
}

void
config_print(const struct config *c, FILE *out)
{
	const struct field *f;

	for (f = config_schema; f->name != NULL; f++) {
		if (!config_is_child(f, NULL))
			continue;
		if (f->kind == FIELD_LIST)
			print_list(f, c, out);
		else if (f->kind == FIELD_MAP)
			print_map(f, c, out);
		else if (f->kind == FIELD_HOSTS)
			print_hosts(f, c, out);
		else
			print_single(f, c, "", out);
	}
}
