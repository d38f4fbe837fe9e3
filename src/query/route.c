#include "query/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/wire.h"
#include "format/dns.h"

enum {
	LABELS_MAX = (DNS_NAME_MAX + 1) / 2, /* the root included */

	/* Of so many entries one is in use at most, in a table of open addressing. */
	SPARSENESS = 2
};

/* A domain. Routes are stored as their number and one; 0: there is none. */
struct entry {
	uint64_t hash;
	const uint8_t *name; /* NULL: the entry is free */
	size_t len;
	size_t at;    /* for the name, and those below it */
	size_t below; /* for those below it */
};

struct route_table {
	struct hash_key key;
	size_t mask; /* one less than the number of entries, which is a power of two */
	bool has_labels[LABELS_MAX]; /* whether there is a domain of so many labels */
	size_t most_labels;          /* of any domain */
	struct entry *entries;
};

/* A name in lower case, and where each of its suffixes begins: first that of all labels. */
struct name {
	uint8_t bytes[DNS_NAME_MAX];
	size_t len;
	size_t labels; /* without the root */
	size_t starts[LABELS_MAX];
	uint64_t hashes[LABELS_MAX]; /* of the suffixes */
};

struct route_table *
route_table_new(size_t count)
{
	struct route_table *t = calloc(1, sizeof *t);
	size_t entries = 1;

	if (t == NULL)
		return NULL;
	while (entries < SPARSENESS * (count + 1))
		entries *= 2;
	t->mask = entries - 1;
	t->entries = calloc(entries, sizeof *t->entries);
	if (t->entries == NULL || hash_key_init(&t->key) == -1) {
		route_table_free(t);
		return NULL;
	}
	return t;
}

void
route_table_free(struct route_table *t)
{
	if (t == NULL)
		return;
	free(t->entries);
	free(t);
}

/* Reads a name, but for its hashes. Returns false when it is none. */
static bool
read_name(const uint8_t *qname, size_t len, struct name *out)
{
	struct wire_reader r;
	size_t i;

	out->labels = 0;
	wire_reader_init(&r, qname, len < DNS_NAME_MAX ? len : DNS_NAME_MAX);
	for (;;) {
		size_t n;

		out->starts[out->labels] = r.pos;
		n = wire_read_u8(&r);
		if (wire_read_bytes(&r, n) == NULL)
			return false;
		if (n == 0)
			break;
		out->labels++;
	}
	out->len = r.pos;
	/* The length of a label is less than any letter. */
	for (i = 0; i < out->len; i++)
		out->bytes[i] = qname[i] | (uint8_t)((qname[i] >= 'A' && qname[i] <= 'Z') << 5);
	return true;
}

/*
 * Hashes all suffixes that a domain may be, from the last byte to the first (FNV-1a, with a secret
 * basis). The entries are those of the configuration, so names from the network cannot fill chains.
 */
static void
hash_suffixes(const struct route_table *t, struct name *name)
{
	size_t first = name->labels > t->most_labels ? name->labels - t->most_labels : 0;
	uint64_t hash = t->key.halves[0];
	size_t at = name->len;
	size_t i;

	for (i = name->labels + 1; i > first; i--) {
		for (; at > name->starts[i - 1]; at--)
			hash = (hash ^ name->bytes[at - 1]) * UINT64_C(0x100000001b3);
		name->hashes[i - 1] = hash;
	}
}

/* The entry of suffix I of a name, or the free one where it would be. */
static struct entry *
find_entry(const struct route_table *t, const struct name *name, size_t i)
{
	const uint8_t *bytes = name->bytes + name->starts[i];
	size_t len = name->len - name->starts[i];
	uint64_t hash = name->hashes[i];
	size_t at = (size_t)(hash ^ hash >> 32) & t->mask;

	for (; t->entries[at].name != NULL; at = (at + 1) & t->mask) {
		const struct entry *e = &t->entries[at];

		if (e->hash == hash && e->len == len && memcmp(e->name, bytes, len) == 0)
			break;
	}
	return &t->entries[at];
}

bool
route_add(struct route_table *t, const uint8_t *bytes, size_t len, bool is_below, size_t route)
{
	struct name name;
	struct entry *e;
	size_t *to;

	if (!read_name(bytes, len, &name))
		return false;
	if (name.labels > t->most_labels)
		t->most_labels = name.labels;
	hash_suffixes(t, &name);
	e = find_entry(t, &name, 0);
	to = is_below ? &e->below : &e->at;
	if (*to != 0)
		return false;
	e->hash = name.hashes[0];
	e->name = bytes;
	e->len = len;
	*to = route + 1;
	t->has_labels[name.labels] = true;
	return true;
}

size_t
route_find(const struct route_table *t, const uint8_t *qname, size_t len, size_t *domain_at)
{
	struct name name;
	size_t i;

	if (!read_name(qname, len, &name))
		return ROUTE_NONE;
	hash_suffixes(t, &name);
	i = name.labels > t->most_labels ? name.labels - t->most_labels : 0;
	for (; i <= name.labels; i++) {
		const struct entry *e;

		if (!t->has_labels[name.labels - i])
			continue;
		e = find_entry(t, &name, i);
		*domain_at = name.starts[i];
		if (i > 0 && e->below != 0)
			return e->below - 1;
		if (e->at != 0)
			return e->at - 1;
	}
	return ROUTE_NONE;
}
