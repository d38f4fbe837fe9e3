#include "transport/outstanding.h"

#include <sys/random.h>

#include <stdlib.h>

#include "base/pages.h"
#include "query/query.h"

/*
 * A hash table with linear probing. No slot between the home slot of an entry and its actual slot
 * is free; erase() keeps this true by moving entries back. The table is never more than three
 * quarters full.
 */
struct entry {
	union {
		struct attempt *attempt;
		struct deadline since; /* when it was sent; valid if given up */
	};
	uint16_t connection;
	uint16_t id;
	bool used;
	bool given_up;
};

enum { RANDOM_AT_ONCE = 256 };

struct outstanding {
	struct entry *entries;
	size_t mask; /* the number of entries, a power of two, less one */
	size_t used;
	uint16_t random[RANDOM_AT_ONCE];
	size_t random_left;
};

struct outstanding *
outstanding_new(size_t attempts)
{
	struct outstanding *o = calloc(1, sizeof *o);
	size_t size = 64;

	if (o == NULL)
		return NULL;
	while (size / 4 * 3 < attempts)
		size *= 2;
	o->mask = size - 1;
	if ((o->entries = pages_new(size, sizeof *o->entries)) == NULL) {
		free(o);
		return NULL;
	}
	return o;
}

void
outstanding_free(struct outstanding *o)
{
	if (o == NULL)
		return;
	pages_free(o->entries, o->mask + 1, sizeof *o->entries);
	free(o);
}

/* IDs are random already, so only connections need mixing. */
static size_t
home(const struct outstanding *o, size_t connection, uint16_t id)
{
	return (id + connection * 0x9e37) & o->mask;
}

/* The slot of the entry, or the free one where it would be added. */
static size_t
find(const struct outstanding *o, size_t connection, uint16_t id)
{
	size_t i = home(o, connection, id);

	while (o->entries[i].used &&
	    (o->entries[i].id != id || o->entries[i].connection != connection))
		i = (i + 1) & o->mask;
	return i;
}

static void
erase(struct outstanding *o, size_t hole)
{
	size_t i = hole;

	o->entries[hole].used = false;
	o->used--;
	for (;;) {
		const struct entry *e;

		i = (i + 1) & o->mask;
		e = &o->entries[i];
		if (!e->used)
			return;
		/* An entry whose home is behind the hole must stay behind it. */
		if (((i - home(o, e->connection, e->id)) & o->mask) < ((i - hole) & o->mask))
			continue;
		o->entries[hole] = *e;
		o->entries[i].used = false;
		hole = i;
	}
}

static bool
draw(struct outstanding *o, uint16_t *id)
{
	if (o->random_left == 0) {
		if (getrandom(o->random, sizeof o->random, 0) != sizeof o->random)
			return false;
		o->random_left = RANDOM_AT_ONCE;
	}
	*id = o->random[--o->random_left];
	return true;
}

int
outstanding_add(struct outstanding *o, size_t connection, struct attempt *attempt)
{
	uint16_t id;
	size_t i;

	if (o->used >= (o->mask + 1) / 4 * 3)
		return -1;
	/* At most a quarter of a connection's IDs are in use, so this ends soon. */
	do {
		if (!draw(o, &id))
			return -1;
		i = find(o, connection, id);
	} while (o->entries[i].used);
	o->entries[i] = (struct entry){ .attempt = attempt,
		.connection = (uint16_t)connection,
		.id = id,
		.used = true };
	o->used++;
	return id;
}

bool
outstanding_take(struct outstanding *o, size_t connection, uint16_t id, struct attempt **attempt,
    struct deadline *since)
{
	size_t i = find(o, connection, id);
	const struct entry *e = &o->entries[i];

	if (!e->used)
		return false;
	*attempt = e->given_up ? NULL : e->attempt;
	*since = e->given_up ? e->since : e->attempt->since;
	erase(o, i);
	return true;
}

void
outstanding_give_up(struct outstanding *o, size_t connection, uint16_t id)
{
	struct entry *e = &o->entries[find(o, connection, id)];
	struct deadline since;

	if (!e->used || e->given_up)
		return;
	since = e->attempt->since;
	e->since = since;
	e->given_up = true;
}

void
outstanding_clear(struct outstanding *o, size_t connection)
{
	size_t i = 0;

	/* erase() may move another entry into slot I, so check that slot again. */
	while (i <= o->mask) {
		if (o->entries[i].used && o->entries[i].connection == connection)
			erase(o, i);
		else
			i++;
	}
}
