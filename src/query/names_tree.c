#include "query/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/wire.h"
#include "names_internal.h"

/* A record and its data. */
struct record {
	struct dns_record record;
	uint8_t data[];
};

int
names_tree_init(struct names *n, size_t count)
{
	return chains_init(&n->chains, count);
}

void
names_tree_clear(struct names *n)
{
	struct names_node *node;
	struct dns_record *r;

	while ((node = n->nodes) != NULL) {
		n->nodes = node->next;
		while ((r = node->records) != NULL) {
			node->records = r->next;
			free(r);
		}
		free(node);
	}
	chains_free(&n->chains);
}

static struct names_node *
find(const struct names *n, const uint8_t *name, size_t len, uint64_t hash)
{
	const struct chains_link *link;

	for (link = chains_first(&n->chains, hash); link != NULL; link = chains_next(link)) {
		struct names_node *node = link->entry;

		if (node->len == len && memcmp(node->name, name, len) == 0)
			return node;
	}
	return NULL;
}

struct names_node *
names_tree_find(const struct names *n, const uint8_t *name, size_t len)
{
	return find(n, name, len, hash_bytes(&n->chains.key, name, len));
}

static struct names_node *
find_or_make(struct names *n, const uint8_t *name, size_t len)
{
	uint64_t hash = hash_bytes(&n->chains.key, name, len);
	struct names_node *node = find(n, name, len, hash);

	if (node != NULL || (node = calloc(1, sizeof *node + len)) == NULL)
		return node;
	node->len = (uint8_t)len;
	memcpy(node->name, name, len);
	node->next = n->nodes;
	n->nodes = node;
	chains_add(&n->chains, &node->link, hash, node);
	return node;
}

struct names_node *
names_tree_add(struct names *n, const uint8_t *name, size_t len)
{
	struct names_node *node = find_or_make(n, name, len);
	struct names_node *above;
	struct wire_reader r;

	wire_reader_init(&r, name, len);
	wire_skip(&r, wire_read_u8(&r));
	/* The root label remains at last. */
	while (node != NULL && r.len - r.pos > 1) {
		if ((above = find_or_make(n, name + r.pos, len - r.pos)) == NULL)
			return NULL;
		if (above->is_above)
			break;
		above->is_above = true;
		wire_skip(&r, wire_read_u8(&r));
	}
	return node;
}

int
names_node_add(struct names_node *node, uint16_t type, const uint8_t *data, size_t len)
{
	struct record *r = malloc(sizeof *r + len);
	struct dns_record **end = &node->records;

	if (r == NULL)
		return -1;
	memcpy(r->data, data, len);
	r->record = (struct dns_record){ .type = type, .len = (uint16_t)len, .data = r->data };
	while (*end != NULL)
		end = &(*end)->next;
	*end = &r->record;
	return 0;
}
