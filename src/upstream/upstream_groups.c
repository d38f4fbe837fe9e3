#include "upstream/upstream.h"

#include <stdlib.h>

#include "upstream_internal.h"

/* A list for each group. A query belongs to one, and nothing leads from one to another. */

struct upstream_groups {
	const struct config *config;
	/* Of each upstream; those with the same files share one. NULL: in cleartext. */
	struct dot_trust **trusts;
	struct upstream_list *lists[CONFIG_GROUPS_MAX];
	size_t count;
};

_Static_assert(2 * (int)CONFIG_UPSTREAMS_MAX < 1 << (UPSTREAM_INDEX_BITS - 1),
    "an index for each connection");

/* ---- life ---- */

/* The first upstream that has the same trust as that one. */
static size_t
first_with_trust(const struct config *config, size_t index)
{
	size_t i = 0;

	while (!config_same_trust(&config->upstreams[i], &config->upstreams[index]))
		i++;
	return i;
}

static int
load_trusts(struct upstream_groups *g, struct failure *why)
{
	const struct config *config = g->config;
	size_t i;

	g->trusts = calloc(config->upstream_count, sizeof(struct dot_trust *));
	if (g->trusts == NULL)
		return fail_errno(why, "upstreams");
	for (i = 0; i < config->upstream_count; i++) {
		const struct config_upstream *u = &config->upstreams[i];
		size_t first = first_with_trust(config, i);

		if (u->cleartext)
			continue;
		g->trusts[i] = first < i ? g->trusts[first] :
					   dot_trust_new(u->ca_file, u->crl_file, why);
		if (g->trusts[i] == NULL)
			return -1;
	}
	return 0;
}

struct upstream_groups *
upstream_groups_new(const struct config *config, struct scoreboard *shared, struct failure *why)
{
	struct upstream_groups *g = calloc(1, sizeof *g);

	if (g == NULL) {
		(void)fail_errno(why, "upstreams");
		return NULL;
	}
	g->config = config;
	if (load_trusts(g, why) == -1) {
		upstream_groups_free(g);
		return NULL;
	}
	for (; g->count < config->group_count; g->count++) {
		g->lists[g->count] = upstream_list_new(config, g->count,
		    g->trusts + config->groups[g->count].first, shared, why);
		if (g->lists[g->count] == NULL) {
			upstream_groups_free(g);
			return NULL;
		}
	}
	return g;
}

void
upstream_groups_free(struct upstream_groups *g)
{
	size_t i;

	if (g == NULL)
		return;
	for (i = g->count; i > 0; i--)
		upstream_list_free(g->lists[i - 1]);
	for (i = 0; g->trusts != NULL && i < g->config->upstream_count; i++)
		if (first_with_trust(g->config, i) == i)
			dot_trust_free(g->trusts[i]);
	free(g->trusts);
	free(g);
}

size_t
upstream_connections_max(const struct config *config)
{
	size_t sum = 0;
	size_t i;

	for (i = 0; i < config->group_count; i++)
		sum += upstream_list_connections_max(config, &config->groups[i]);
	return sum;
}

int
upstream_attach(struct upstream_groups *g, int set, struct query_table *table, struct failure *why)
{
	size_t i;

	for (i = 0; i < g->count; i++)
		if (upstream_list_attach(g->lists[i], set, table, why) == -1)
			return -1;
	return 0;
}

/* ---- one group ---- */

void
upstream_state(const struct upstream_groups *g, size_t index, struct deadline now,
    struct upstream_state *state)
{
	const struct config_group *group = config_group_of(g->config, index);

	upstream_list_state(g->lists[group - g->config->groups], index - group->first, now, state);
}

bool
upstream_all_down(const struct upstream_groups *g, size_t group, struct deadline now)
{
	return upstream_list_all_down(g->lists[group], now);
}

void
upstream_group(const struct upstream_groups *g, size_t group,
    uint8_t out[static UPSTREAM_GROUP_LEN])
{
	upstream_list_group(g->lists[group], out);
}

void
upstream_ask(struct upstream_groups *g, struct query *q)
{
	upstream_list_ask(g->lists[q->group], q);
}

void
upstream_cancel(struct upstream_groups *g, struct query *q)
{
	upstream_list_cancel(g->lists[q->group], q);
}

void
upstream_explain(const struct upstream_groups *g, const struct query *q, struct failure *why)
{
	upstream_list_explain(g->lists[q->group], q, why);
}

void
upstream_ready(struct upstream_groups *g, size_t index, struct deadline now)
{
	const size_t mask = (1 << UPSTREAM_INDEX_BITS) - 1;

	upstream_list_ready(g->lists[index >> UPSTREAM_INDEX_BITS], index & mask, now);
}

/* ---- all groups ---- */

void
upstream_expire(struct upstream_groups *g, struct deadline now)
{
	size_t i;

	for (i = 0; i < g->count; i++)
		upstream_list_expire(g->lists[i], now);
}

void
upstream_send(struct upstream_groups *g, struct deadline now)
{
	size_t i;

	for (i = 0; i < g->count; i++)
		upstream_list_send(g->lists[i], now);
}

size_t
upstream_take_hedged(struct upstream_groups *g)
{
	size_t sum = 0;
	size_t i;

	for (i = 0; i < g->count; i++) {
		sum += g->lists[i]->hedged;
		g->lists[i]->hedged = 0;
	}
	return sum;
}

struct deadline
upstream_deadline(const struct upstream_groups *g)
{
	struct deadline d = DEADLINE_NEVER;
	size_t i;

	for (i = 0; i < g->count; i++)
		d = deadline_sooner(d, g->lists[i]->check_at);
	return d;
}

struct query *
upstream_next_done(struct upstream_groups *g)
{
	struct query *q = NULL;
	size_t i;

	for (i = 0; i < g->count && q == NULL; i++)
		q = upstream_list_next_done(g->lists[i]);
	return q;
}

bool
upstream_next_event(struct upstream_groups *g, struct upstream_event *event)
{
	size_t i;

	for (i = 0; i < g->count; i++)
		if (upstream_list_next_event(g->lists[i], event))
			return true;
	return false;
}
