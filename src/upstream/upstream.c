#include "upstream/upstream.h"

#include <stdlib.h>
#include <string.h>

#include "format/dns.h"
#include "upstream_internal.h"

enum {
	/* The most connections for one query each, where there are no persistent ones. */
	SINGLE_CONNECTIONS_MAX = 256,

	/* The most connections that are kept only because slow responses are due on them. */
	SLOW_CONNECTIONS_MAX = 34
};

/* ---- life ---- */

struct dot_identity
upstream_identity(const struct config_upstream *c)
{
	return (struct dot_identity){ .address = c->address,
		.hostname = c->hostname,
		.pins = (const char *const *)c->pins,
		.pin_count = c->pin_count,
		.pins_only = c->pins_only };
}

/*
 * The upstreams of a route have rows and cache entries of their own, also where another group has the
 * same servers: the domain, which no other route has, is mixed into KEY from byte AT on.
 */
static void
mix_in_name(const struct config_group *group, uint8_t *key, size_t at)
{
	static const struct hash_key fixed;
	uint64_t hash;
	size_t i;

	if (group->name == NULL)
		return;
	hash = hash_bytes(&fixed, group->name, strlen(group->name));
	for (i = 0; i < sizeof hash; i++)
		key[at + i] ^= (uint8_t)(hash >> 8 * i);
}

_Static_assert((int)CLEARTEXT_KEY_LEN == (int)DOT_KEY_LEN, "keys of one size");

/* Only for a route: nothing at the top level is ever in cleartext, whatever the configuration is. */
static int
make_cleartext_server(const struct upstream_list *l, struct upstream *u, struct failure *why)
{
	if (l->number == 0)
		return fail_with(why, "%s: cleartext is only for upstreams of a route", u->name);
	if ((u->cleartext = cleartext_server_new(&u->config->address, why)) == NULL)
		return fail_in(why, "%s", u->name);
	cleartext_server_key(u->cleartext, u->key);
	/* Everybody on the way can read it, so padding would hide nothing. */
	u->privacy = (struct edns_settings){ .no_opt_out = true,
		.ask_ad = l->config->privacy.ask_ad };
	return 0;
}

/* Makes what an upstream is asked through. */
static int
make_server(struct upstream_list *l, struct upstream *u, struct failure *why)
{
	struct dot_identity identity = upstream_identity(u->config);

	if (u->config->cleartext)
		return make_cleartext_server(l, u, why);
	u->privacy = l->config->privacy;
	u->server = dot_server_new(u->trust, &identity, l->config->tls.fast_open, why);
	return u->server == NULL ? -1 : dot_server_key(u->server, u->key, why);
}

/* Makes it ready, and finds its row in shared memory. */
static int
prepare(struct upstream_list *l, struct upstream *u, struct failure *why)
{
	if (make_server(l, u, why) == -1)
		return -1;
	mix_in_name(l->settings, u->key, 0);
	if ((u->row = scoreboard_add_upstream(l->shared, u->key)) == -1)
		return fail_with(why, "too many upstreams, with those of earlier configurations");
	u->health = health_row(l->shared->health, (size_t)u->row);
	return 0;
}

struct upstream_list *
upstream_list_new(const struct config *config, size_t number, struct dot_trust *const *trusts,
    struct scoreboard *shared, struct failure *why)
{
	const struct config_group *settings = &config->groups[number];
	struct upstream_list *l = calloc(1, sizeof *l);

	if (l == NULL || (l->upstreams = calloc(settings->count, sizeof *l->upstreams)) == NULL ||
	    (l->members = calloc(settings->count, sizeof *l->members)) == NULL) {
		(void)fail_errno(why, "upstreams");
		upstream_list_free(l);
		return NULL;
	}
	l->config = config;
	l->settings = settings;
	l->number = number;
	l->shared = shared;
	TAILQ_INIT(&l->in_flight);
	TAILQ_INIT(&l->changed);
	TAILQ_INIT(&l->done);
	l->check_at = DEADLINE_NEVER;
	l->hedge_credit = HEDGE_COST;
	while (l->count < settings->count) {
		struct upstream *u = &l->upstreams[l->count];

		u->config = &config->upstreams[settings->first + l->count];
		u->row = -1;
		u->window = SIZE_MAX;
		u->trust = trusts[l->count];
		(void)config_upstream_name(u->config, u->name);
		l->count++;
		if (prepare(l, u, why) == -1) {
			upstream_list_free(l);
			return NULL;
		}
	}
	return l;
}

void
upstream_list_free(struct upstream_list *l)
{
	size_t i;

	if (l == NULL)
		return;
	connection_table_free(l->slots);
	for (i = l->count; i > 0; i--) {
		dot_server_free(l->upstreams[i - 1].server);
		cleartext_server_free(l->upstreams[i - 1].cleartext);
		if (l->upstreams[i - 1].row != -1)
			scoreboard_remove_upstream(l->shared, l->upstreams[i - 1].row);
	}
	free(l->connections);
	free(l->members);
	free(l->upstreams);
	free(l);
}

size_t
upstream_list_connections_max(const struct config *config, const struct config_group *group)
{
	size_t inflight = (size_t)config->inflight;
	/* While one takes queries, others finish theirs, some of them slowly. */
	size_t connections = 2 * group->count + SLOW_CONNECTIONS_MAX;

	if (config->timeouts.upstream_idle_ms > 0)
		return connections;
	return connections +
	    (inflight < SINGLE_CONNECTIONS_MAX ? inflight : SINGLE_CONNECTIONS_MAX);
}

int
upstream_list_attach(struct upstream_list *l, int set, struct query_table *table,
    struct failure *why)
{
	size_t count = upstream_list_connections_max(l->config, l->settings);
	enum dns_rcode rcode;
	size_t i;

	if (hash_key_init(&l->hash_key) == -1)
		return fail_errno(why, "upstreams");
	l->canary.message = l->canary_message;
	l->canary.len = dns_write_ns_query(l->canary_message, 0, l->settings->own_name,
	    l->settings->own_name_len);
	(void)dns_read_query(l->canary_message, l->canary.len, &l->canary.dns, &rcode);
	l->set = set;
	l->table = table;
	l->group = (struct policy_group){ .members = l->members,
		.count = l->count,
		.order_fastest = l->settings->order_fastest,
		.fallback_after_ms = l->settings->fallback_after_ms };
	l->slots = connection_table_new(count,
	    (size_t)QUERY_ATTEMPTS_MAX * (size_t)l->config->inflight +
		count * (UPSTREAM_GIVEN_UP_MAX + 1));
	l->connections = calloc(count, sizeof *l->connections);
	if (l->slots == NULL || l->connections == NULL)
		return fail_errno(why, "upstreams");
	l->connection_count = count;
	for (i = 0; i < count; i++) {
		struct connection *c = connection_table_slot(l->slots, i);

		l->connections[i] = (struct upstream_connection){ .connection = c,
			.stream = connection_stream(c),
			.facts = connection_facts(c) };
	}
	return 0;
}

void
upstream_list_group(const struct upstream_list *l, uint8_t group[static UPSTREAM_GROUP_LEN])
{
	size_t i, k;

	memset(group, 0, UPSTREAM_GROUP_LEN);
	for (i = 0; i < l->count; i++)
		for (k = 0; k < UPSTREAM_GROUP_LEN; k++)
			group[k] ^= l->upstreams[i].key[k];
	mix_in_name(l->settings, group, sizeof(uint64_t));
}

/* ---- health ---- */

bool
upstream_list_all_down(const struct upstream_list *l, struct deadline now)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		enum health_state state = health_state(l->upstreams[i].health, now);

		if (state != HEALTH_DOWN && state != HEALTH_PROBING)
			return false;
	}
	return true;
}

void
upstream_list_state(const struct upstream_list *l, size_t index, struct deadline now,
    struct upstream_state *state)
{
	const struct health *row = l->upstreams[index].health;

	state->name = l->upstreams[index].name;
	state->route = l->settings->name;
	state->failures = health_failures(row);
	state->down_s = health_down_s(row, now);
	state->usual_us = health_usual_us(row);
}

void
upstream_due(struct upstream_list *l, struct deadline d)
{
	l->check_at = deadline_sooner(l->check_at, d);
}

void
upstream_report_failure(struct upstream_list *l, size_t index, const struct failure *why,
    struct deadline now)
{
	struct upstream *u = &l->upstreams[index];

	if (u->cause.text[0] != '\0' && strcmp(u->cause.text, why->text) != 0)
		u->log_cause = true;
	u->cause = *why;
	(void)health_record_failure(u->health, now);
	u->log_state = true;
}

void
upstream_report_success(struct upstream *u, struct deadline now)
{
	u->answered = now;
	u->canaries_lost = 0;
	if (health_record_response(u->health))
		u->log_state = true;
}

/* ---- what comes out ---- */

struct query *
upstream_list_next_done(struct upstream_list *l)
{
	struct query *q = TAILQ_FIRST(&l->done);

	if (q != NULL)
		TAILQ_REMOVE(&l->done, q, upstream_link);
	return q;
}

void
upstream_list_explain(const struct upstream_list *l, const struct query *q, struct failure *why)
{
	size_t i = 0;

	if (q->first_failed_upstream != -1) {
		*why = l->upstreams[q->first_failed_upstream].cause;
		(void)fail_in(why, "%s", l->upstreams[q->first_failed_upstream].name);
		return;
	}
	while (i < l->count - 1 && !policy_was_tried(q, i))
		i++;
	(void)fail_with(why, "%s: query: no answer in %d ms", l->upstreams[i].name,
	    l->config->timeouts.query_ms);
}

static bool
state_event(struct upstream *u, struct upstream_event *event)
{
	struct deadline now = deadline_now();

	switch (health_log_state(u->health, u->log_cause, now, &event->times)) {
	case HEALTH_LOG_LATER:
		return false;
	case HEALTH_LOG_NOTHING:
		break;
	case HEALTH_LOG_DOWN:
		event->what = UPSTREAM_DOWN;
		event->cause = u->cause;
		u->log_state = u->log_cause = false;
		return true;
	case HEALTH_LOG_BACK:
		event->what = UPSTREAM_BACK;
		event->down_s = health_down_s(u->health, now);
		u->log_state = u->log_cause = false;
		return true;
	}
	u->log_state = u->log_cause = false;
	return false;
}

bool
upstream_list_next_event(struct upstream_list *l, struct upstream_event *event)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		struct upstream *u = &l->upstreams[i];

		if (!u->log_connected && !u->log_state && !u->log_edns)
			continue;
		memset(event, 0, sizeof *event);
		event->name = u->name;
		event->route = l->settings->name;
		event->ca_file = u->trust != NULL ? dot_trust_file(u->trust) : NULL;
		if (u->log_connected) {
			u->log_connected = false;
			event->what = UPSTREAM_CONNECTED;
			event->facts = u->facts;
			event->first = !u->was_connected;
			u->was_connected = true;
			return true;
		}
		if (u->log_edns) {
			u->log_edns = false;
			event->what = UPSTREAM_LESS_EDNS;
			event->no_edns = u->edns == EDNS_NONE;
			if (health_log_edns(u->health, deadline_now()))
				return true;
		}
		if (u->log_state && state_event(u, event))
			return true;
	}
	return false;
}
