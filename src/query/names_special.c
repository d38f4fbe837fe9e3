#include "query/names.h"

#include <stdio.h>

#include "format/domain.h"
#include "names_internal.h"

#define ZEROS_15 "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."

/* clang-format off */
static const struct {
	const char *name;
	enum names_zone zone;
} zones[] = {
	{ "localhost", NAMES_LOCALHOST }, /* RFC 6761 6.3 */
	{ "invalid", NAMES_NOTHING }, /* RFC 6761 6.4 */
	{ "test", NAMES_NOTHING }, /* RFC 6761 6.2 */
	{ "onion", NAMES_NOTHING }, /* RFC 7686 */
	{ "alt", NAMES_NOTHING }, /* RFC 9476 */
	{ "local", NAMES_NOTHING }, /* RFC 6762 22.1 */
	{ "internal", NAMES_NOTHING }, /* reserved by ICANN in 2024 */
	{ "home.arpa", NAMES_HOME }, /* RFC 8375 */
	{ "service.arpa", NAMES_SERVICE }, /* RFC 9665 */
	{ "10.in-addr.arpa", NAMES_REVERSE }, /* RFC 6303 4, as are those below */
	{ "168.192.in-addr.arpa", NAMES_REVERSE },
	{ "d.f.ip6.arpa", NAMES_REVERSE },
	{ "0.in-addr.arpa", NAMES_REVERSE },
	{ "127.in-addr.arpa", NAMES_REVERSE },
	{ "0." ZEROS_15 "0." ZEROS_15 "ip6.arpa", NAMES_REVERSE },
	{ "1." ZEROS_15 "0." ZEROS_15 "ip6.arpa", NAMES_REVERSE },
	{ "254.169.in-addr.arpa", NAMES_REVERSE },
	{ "8.e.f.ip6.arpa", NAMES_REVERSE },
	{ "9.e.f.ip6.arpa", NAMES_REVERSE },
	{ "a.e.f.ip6.arpa", NAMES_REVERSE },
	{ "b.e.f.ip6.arpa", NAMES_REVERSE },
	{ "255.255.255.255.in-addr.arpa", NAMES_REVERSE },
	{ "2.0.192.in-addr.arpa", NAMES_REVERSE },
	{ "100.51.198.in-addr.arpa", NAMES_REVERSE },
	{ "113.0.203.in-addr.arpa", NAMES_REVERSE },
	{ "8.b.d.0.1.0.0.2.ip6.arpa", NAMES_REVERSE },
	{ "0.f.f.f.3.ip6.arpa", NAMES_REVERSE }, /* RFC 9637 */
};

/* Zones that begin with a number in a range. */
static const struct {
	int first;
	int last;
	const char *rest;
	enum names_zone zone;
} ranges[] = {
	{ 16, 31, "172.in-addr.arpa", NAMES_REVERSE }, /* RFC 6303 4.1 */
	{ 64, 127, "100.in-addr.arpa", NAMES_REVERSE }, /* RFC 7793 */
};
/* clang-format on */

static int
add_zone(struct names *n, const char *text, enum names_zone zone)
{
	static const uint8_t v4[] = { 127, 0, 0, 1 };
	static const uint8_t v6[16] = { [15] = 1 };
	struct names_node *node;
	struct domain domain;

	/* The texts are valid. */
	(void)domain_parse(text, &domain);
	if ((node = names_tree_add(n, domain.name, domain.len)) == NULL)
		return -1;
	node->zone = zone;
	/* The hosts file may have others. */
	if (zone != NAMES_LOCALHOST || node->records != NULL)
		return 0;
	if (names_node_add(node, DNS_TYPE_A, v4, sizeof v4) == -1)
		return -1;
	return names_node_add(node, DNS_TYPE_AAAA, v6, sizeof v6);
}

int
names_add_special(struct names *n)
{
	char text[DNS_NAME_MAX];
	size_t i;
	int number;

	for (i = 0; i < sizeof zones / sizeof zones[0]; i++)
		if (add_zone(n, zones[i].name, zones[i].zone) == -1)
			return -1;
	for (i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		for (number = ranges[i].first; number <= ranges[i].last; number++) {
			(void)snprintf(text, sizeof text, "%d.%s", number, ranges[i].rest);
			if (add_zone(n, text, ranges[i].zone) == -1)
				return -1;
		}
	return 0;
}
