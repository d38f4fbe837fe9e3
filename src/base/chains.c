#include "base/chains.h"

#include "base/pages.h"

int
chains_init(struct chains *c, size_t count)
{
	size_t heads = 1;

	while (heads < count)
		heads *= 2;
	c->mask = heads - 1;
	c->heads = pages_new(heads, sizeof *c->heads);
	return c->heads == NULL ? -1 : hash_key_init(&c->key);
}

void
chains_free(struct chains *c)
{
	pages_free(c->heads, c->mask + 1, sizeof *c->heads);
	c->heads = NULL;
}

void
chains_add(struct chains *c, struct chains_link *link, uint64_t hash, void *entry)
{
	link->hash = hash;
	link->entry = entry;
	LIST_INSERT_HEAD(&c->heads[hash & c->mask], link, next);
}

void
chains_remove(struct chains_link *link)
{
	LIST_REMOVE(link, next);
}

/* The first link with that hash, LINK included. */
static struct chains_link *
with_hash(struct chains_link *link, uint64_t hash)
{
	while (link != NULL && link->hash != hash)
		link = LIST_NEXT(link, next);
	return link;
}

struct chains_link *
chains_first(const struct chains *c, uint64_t hash)
{
	return with_hash(LIST_FIRST(&c->heads[hash & c->mask]), hash);
}

struct chains_link *
chains_next(const struct chains_link *link)
{
	return with_hash(LIST_NEXT(link, next), link->hash);
}
