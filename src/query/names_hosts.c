#include "query/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/domain.h"
#include "names_internal.h"

enum {
	ADDRESSES_MAX = 256, /* of one name */
	SHOWN_MAX = 80       /* bytes of what is wrong */
};

/* ---- records ---- */

/* The 4 or 16 bytes of an address. Returns how many. */
static size_t
bytes_of(const struct address *a, uint8_t bytes[static 16])
{
	if (a->sa.sa_family == AF_INET6) {
		memcpy(bytes, &a->in6.sin6_addr, sizeof a->in6.sin6_addr);
		return sizeof a->in6.sin6_addr;
	}
	memcpy(bytes, &a->in.sin_addr, sizeof a->in.sin_addr);
	return sizeof a->in.sin_addr;
}

static int
add_address(struct names_node *node, const struct address *a, struct failure *why)
{
	uint8_t bytes[16];
	size_t len = bytes_of(a, bytes);
	uint16_t type = a->sa.sa_family == AF_INET6 ? DNS_TYPE_AAAA : DNS_TYPE_A;
	const struct dns_record *r;
	int count = 0;

	for (r = node->records; r != NULL; r = r->next) {
		if (r->type == type && memcmp(r->data, bytes, len) == 0)
			return 0;
		count++;
	}
	if (count == ADDRESSES_MAX)
		return fail_with(why, "more than %d addresses of one name", ADDRESSES_MAX);
	return names_node_add(node, type, bytes, len) == 0 ? 0 : fail_errno(why, "names");
}

/* The address leads back to the name, unless it leads to another one already. */
static int
add_reverse(struct names *n, const struct address *a, const struct names_node *host,
    struct failure *why)
{
	struct prefix all = { .family = a->sa.sa_family };
	struct names_node *node;
	struct domain reverse;

	/* The address that stands for none, as in lists of blocked names. */
	if (address_is_wildcard(a))
		return 0;
	all.bits = (unsigned)(8 * bytes_of(a, all.bytes));
	domain_of_prefix(&all, 0, &reverse);
	node = names_tree_add(n, reverse.name, reverse.len);
	if (node == NULL)
		return fail_errno(why, "names");
	if (dns_has_record(node->records, DNS_TYPE_PTR))
		return 0;
	if (names_node_add(node, DNS_TYPE_PTR, host->name, host->len) == -1)
		return fail_errno(why, "names");
	return 0;
}

/* ---- `hosts' ---- */

static int
add_host(struct names *n, const struct config_host *host, struct failure *why)
{
	struct names_node *node;
	struct domain domain;
	size_t i;

	/* The names of a configuration have been checked. */
	(void)domain_parse(host->name, &domain);
	if ((node = names_tree_add(n, domain.name, domain.len)) == NULL)
		return fail_errno(why, "names");
	node->is_configured = true;
	for (i = 0; i < host->count; i++)
		if (add_address(node, &host->addresses[i], why) == -1 ||
		    add_reverse(n, &host->addresses[i], node, why) == -1)
			return -1;
	return 0;
}

/* ---- the hosts file ---- */

#define SPACES " \t\r\n\v\f"

/* What is wrong with TEXT, of which only printable ASCII is shown. */
static int
refuse(struct failure *why, const char *text, const char *problem)
{
	char shown[SHOWN_MAX + 1];
	char *p;

	(void)snprintf(shown, sizeof shown, "%s", text);
	for (p = shown; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return fail_with(why, "`%s' %s", shown, problem);
}

static int
read_address(const char *text, struct address *a, struct failure *why)
{
	if (address_parse(text, 0, a) == -1 || address_port(a) != 0 || text[0] == '[')
		return refuse(why, text,
		    "is not an IP address (a line is: address, name, aliases)");
	return 0;
}

/* A name of a line; the first one is what the address leads back to. */
static int
add_alias(struct names *n, const char *text, const struct address *a, bool is_first,
    struct failure *why)
{
	struct names_node *node;
	struct domain domain;
	const char *problem = domain_parse(text, &domain);

	if (problem == NULL && (domain.is_below || domain.len == 1))
		problem = "is no name of a host";
	if (problem != NULL)
		return refuse(why, text, problem);
	if ((node = names_tree_add(n, domain.name, domain.len)) == NULL)
		return fail_errno(why, "names");
	if (node->is_configured)
		return 0;
	if (add_address(node, a, why) == -1)
		return -1;
	return is_first ? add_reverse(n, a, node, why) : 0;
}

/* Takes a line apart. -1 with the reason, and where that is. */
static int
read_line(struct names *n, char *line, const char **at, struct failure *why)
{
	struct address address;
	bool is_first = true;
	char *rest, *text;

	*at = line;
	line[strcspn(line, "#")] = '\0';
	/* An address of one interface means nothing to a client elsewhere. */
	if ((text = strtok_r(line, SPACES, &rest)) == NULL || strchr(text, '%') != NULL)
		return 0;
	*at = text;
	if (read_address(text, &address, why) == -1)
		return -1;
	while ((text = strtok_r(NULL, SPACES, &rest)) != NULL) {
		*at = text;
		if (add_alias(n, text, &address, is_first, why) == -1)
			return -1;
		is_first = false;
	}
	return is_first ? fail_with(why, "no name after the address") : 0;
}

static int
read_file(struct names *n, const char *path, FILE *file, struct failure *why)
{
	char *line = NULL;
	size_t size = 0, total = 0, number = 0;
	const char *at;
	ssize_t len;
	int rc = 0;

	while (rc == 0 && (len = getline(&line, &size, file)) != -1) {
		total += (size_t)len;
		number++;
		at = line;
		/* It may have grown since it was opened. */
		if (total > NAMES_HOSTS_FILE_MAX)
			rc = fail_with(why, "is larger than %d KiB", NAMES_HOSTS_FILE_MAX / 1024);
		else if (strlen(line) != (size_t)len)
			rc = fail_with(why, "not text: a NUL byte");
		else
			rc = read_line(n, line, &at, why);
		if (rc == -1)
			(void)fail_in(why, "%s:%zu:%zu", path, number, (size_t)(at - line) + 1);
	}
	if (rc == 0 && ferror(file))
		rc = fail_errno(why, "%s: cannot read", path);
	free(line);
	return rc;
}

int
names_add_hosts(struct names *n, const struct config *config, FILE *file, struct failure *why)
{
	size_t i;

	for (i = 0; i < config->host_count; i++)
		if (add_host(n, &config->hosts[i], why) == -1)
			return -1;
	return file != NULL ? read_file(n, config->hosts_file, file, why) : 0;
}
