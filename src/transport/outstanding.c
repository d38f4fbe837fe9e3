#include "transport/outstanding.h"

#include <sys/random.h>

#include <stdlib.h>

#include "base/pages.h"
#include "query/query.h"

/*
 * A hash table with linear probing. From the place where an entry belongs to the place
 * where it is, no place is free; outstanding_take() and its kin keep it so by moving
 * entries back. It is never more than three quarters full.
 */
struct entry {
	union {
		struct attempt *attempt;
		struct deadline since; /* when it was sent, once it is given up */
	};
	uint16_t connection;
	uint16_t id;
	bool used;
	bool given_up;
};

enum { RANDOM_AT_ONCE = 256 };

struct outstanding {
	struct entry *entries;
	size_t mask; /* one less than their number, a power of two */
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

/* IDs are random already: no more mixing than to set connections apart. */
static size_t
home(const struct outstanding *o, size_t connection, uint16_t id)
{
	return (id + connection * 0x9e37) & o->mask;
}

/* The entry, or the free one where it would go. */
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
		/* It may go back into the hole unless it belongs behind it. */
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
	/* At most a quarter of the IDs of a connection is taken, so this ends soon. */
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

	/* What is moved into the hole must be looked at too. */
	while (i <= o->mask) {
		if (o->entries[i].used && o->entries[i].connection == connection)
			erase(o, i);
		else
			i++;
	}
}
