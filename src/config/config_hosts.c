#include "config/config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config_reader.h"
#include "format/domain.h"

static void
out_of_memory(struct config_reader *r)
{
	diagnostic_add(&r->tree->errors, 0, 0, "out of memory");
}

/* ---- addresses ---- */

static void
read_address(struct config_reader *r, int node, struct config_host *host)
{
	const char *text = tree_text(r->tree, node, "an IP address");
	struct address *a = &host->addresses[host->count];

	if (text == NULL)
		return;
	if (strpbrk(text, "[%") != NULL || address_parse(text, 0, a) == -1)
		tree_error(r->tree, node,
		    "`%.*s' is not an IP address (as in 192.168.1.9 or \"fd00::9\")",
		    tree_shown(text), text);
	else if (address_port(a) != 0)
		tree_error(r->tree, node, "`%.*s' has a port (write the address alone)",
		    tree_shown(text), text);
	else
		host->count++;
}

/* One address, or a list. */
static void
read_addresses(struct config_reader *r, int node, struct config_host *host)
{
	bool is_list = tree_is_list(r->tree, node);
	size_t n = is_list ? tree_length(r->tree, node) : 1;
	size_t i;

	if (n == 0)
		tree_error(r->tree, node, "the list is empty (write one address at least)");
	if (n > CONFIG_HOST_ADDRESSES_MAX) {
		tree_error(r->tree, node, "%zu addresses of a name that can have %d", n,
		    CONFIG_HOST_ADDRESSES_MAX);
		return;
	}
	if ((host->addresses = calloc(n + 1, sizeof *host->addresses)) == NULL) {
		out_of_memory(r);
		return;
	}
	for (i = 0; i < n; i++)
		read_address(r, is_list ? tree_item(r->tree, node, i) : node, host);
}

/* ---- names ---- */

/* Returns 0, or -1 after adding an error. */
static int
check_name(struct config_reader *r, int key, const char *text)
{
	struct address address;
	struct domain domain;
	const char *problem;

	if (address_parse(text, 0, &address) == 0)
		problem = "is an address (write the name first, as in `printer.lan: 192.168.1.9')";
	else if ((problem = domain_parse(text, &domain)) == NULL &&
	    (domain.is_below || domain.len == 1))
		problem = "is no name of a host (write each name)";
	if (problem == NULL)
		return 0;
	tree_error(r->tree, key, "`%.*s' %s", tree_shown(text), text, problem);
	return -1;
}

static bool
is_repeated(const struct config *c, const char *name)
{
	size_t i = 0;

	while (i < c->host_count && c->hosts[i].name != NULL &&
	    strcasecmp(c->hosts[i].name, name) != 0)
		i++;
	return i < c->host_count;
}

/* Takes over the name of pair I of the map. */
static void
read_host(struct config_reader *r, int map, size_t i, struct config *c)
{
	int key = tree_key(r->tree, map, i);
	const char *text = tree_text(r->tree, key, "a name");
	struct config_host host = { .name = NULL };
	size_t before = r->tree->errors.count;
	size_t len;

	if (text == NULL || check_name(r, key, text) == -1)
		return;
	/* The dot at the end of a whole name is left off. */
	len = strlen(text);
	host.name = strndup(text, text[len - 1] == '.' ? len - 1 : len);
	if (host.name == NULL) {
		out_of_memory(r);
		return;
	}
	if (is_repeated(c, host.name))
		tree_error(r->tree, key, "repeated name `%.*s' (write one list of its addresses)",
		    tree_shown(text), text);
	else
		read_addresses(r, tree_value(r->tree, map, i), &host);
	if (r->tree->errors.count > before)
		config_clear_host(&host);
	else
		c->hosts[c->host_count++] = host;
}

/* Something else stands where names should. */
static void
not_a_map(struct config_reader *r, int node)
{
	const char *text = tree_scalar(r->tree, node);

	if (text != NULL && text[0] == '/')
		tree_error(r->tree, node,
		    "expected names and addresses, found a path (write `hosts_file: %.*s')",
		    tree_shown(text), text);
	else
		tree_error(r->tree, node,
		    "expected names and addresses, found %s (as in `{printer.lan: 192.168.1.9}')",
		    tree_kind(r->tree, node));
}

void
config_read_hosts(struct config_reader *r, struct config *c)
{
	const struct field *f = config_find_field("hosts");
	int node = r->values[f - config_schema];
	size_t n;
	size_t i;

	if (node == 0 || tree_is_empty(r->tree, node))
		return;
	if (!tree_is_map(r->tree, node)) {
		not_a_map(r, node);
		return;
	}
	if ((n = tree_length(r->tree, node)) > (size_t)f->max) {
		tree_error(r->tree, node, "%zu names in a map that takes %d (use `hosts_file')", n,
		    f->max);
		return;
	}
	if ((c->hosts = calloc(n + 1, sizeof *c->hosts)) == NULL) {
		out_of_memory(r);
		return;
	}
	c->host_count = 0;
	for (i = 0; i < n; i++)
		read_host(r, node, i, c);
}
