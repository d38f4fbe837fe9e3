#include "process/generation.h"

#include <sys/wait.h>

#include <signal.h>
#include <stdlib.h>

#include "base/log.h"

enum {
	/* At the start the first worker has so long to itself: clients may wait for it. */
	HEAD_START_MS = 10,

	/* The longest legal turn of a worker is far shorter, also on a slow machine. */
	STUCK_MS = 5 * WORKER_HEARTBEAT_MS,

	/* A worker that dies sooner is not replaced at once, but after ever longer. */
	QUICK_DEATH_MS = 1000,
	RESTART_MIN_MS = 200,
	RESTART_MAX_MS = 10000,

	/* All together those that died quickly are started no more often than this. */
	RESTART_PACE_MS = 100
};

_Static_assert((int)STATS_TEAM == (int)CONFIG_WORKERS_MAX, "a row for each worker");
_Static_assert((int)STATS_GENERATIONS *(int)CONFIG_UPSTREAMS_MAX <= (int)HEALTH_ROWS,
    "a row for each upstream");

/* ---- life ---- */

static size_t
worker_count(const struct generation *g)
{
	return (size_t)g->config->workers;
}

/* The table of the domains of all routes. */
static int
make_routes(struct generation *g, struct failure *why)
{
	const struct config *config = g->config;
	size_t i;

	if (config->route_count == 0)
		return 0;
	if ((g->routes = route_table_new(config->domain_count)) == NULL)
		return fail_errno(why, "routes");
	for (i = 0; i < config->domain_count; i++) {
		const struct config_domain *d = &config->domains[i];

		(void)route_add(g->routes, d->name, d->len, d->is_below, d->route);
	}
	return 0;
}

static int
set_up(struct generation *g, const struct listeners *passed, const struct listeners *open,
    bool *misconfigured, struct failure *why)
{
	struct config *config = g->config;

	*misconfigured = true;
	if (passed->count > 0 && listeners_override_config(passed, config) == -1)
		return fail_with(why, "an upstream has the address of a socket that was passed");
	if (privilege_plan(config->user, config->sandbox, &g->privilege, why) == -1)
		return -1;
	*misconfigured = false;
	/* Before TLS, which takes longest: clients wait meanwhile, and are not refused. */
	if (listeners_open(&g->listeners, config, open, why) == -1)
		return -1;
	if ((g->number = scoreboard_add_generation(g->shared)) == -1)
		return fail_with(why, "too many generations of workers");
	if (config->cache.size > 0 &&
	    (g->cache = scoreboard_add_cache(g->shared, config->cache.size)) == NULL)
		return fail_errno(why, "cache of %zu bytes", config->cache.size);
	if (make_routes(g, why) == -1)
		return -1;
	*misconfigured = true;
	if ((g->names = names_new(config, why)) == NULL)
		return -1;
	g->upstreams = upstream_groups_new(config, g->shared, why);
	return g->upstreams == NULL ? -1 : 0;
}

struct generation *
generation_new(struct config *config, struct scoreboard *shared, const struct listeners *passed,
    struct generation *older, bool *misconfigured, struct failure *why)
{
	const struct listeners *open = older != NULL ? &older->listeners : passed;
	struct generation *g = calloc(1, sizeof *g);
	size_t i;

	if (g == NULL) {
		*misconfigured = false;
		(void)fail_errno(why, "start");
		config_free(config);
		return NULL;
	}
	g->older = older;
	g->config = config;
	g->shared = shared;
	g->number = -1;
	if (set_up(g, passed, open->count > 0 ? open : NULL, misconfigured, why) == -1) {
		generation_free(g, open);
		return NULL;
	}
	for (i = 1; older == NULL && i < worker_count(g); i++)
		g->slots[i].start_at = deadline_in(HEAD_START_MS);
	return g;
}

void
generation_free(struct generation *g, const struct listeners *keep)
{
	if (g == NULL)
		return;
	listeners_forget_shared(&g->listeners, keep);
	listeners_close(&g->listeners);
	upstream_groups_free(g->upstreams);
	route_table_free(g->routes);
	names_free(g->names);
	scoreboard_remove_cache(g->shared, g->cache);
	if (g->number != -1)
		scoreboard_remove_generation(g->shared, g->number);
	config_free(g->config);
	free(g);
}

/* ---- all of its workers ---- */

struct stats_worker *
generation_stats(const struct generation *g, size_t index)
{
	return stats_worker(g->shared->stats, scoreboard_first_worker(g->number) + index);
}

size_t
generation_count_serving(const struct generation *g)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < worker_count(g); i++)
		if (g->slots[i].pid != 0 && stats_state(generation_stats(g, i)) == STATS_SERVING)
			count++;
	return count;
}

bool
generation_has_workers(const struct generation *g)
{
	size_t i;

	for (i = 0; i < worker_count(g); i++)
		if (g->slots[i].pid != 0)
			return true;
	return false;
}

void
generation_signal(const struct generation *g, int signal_number)
{
	size_t i;

	for (i = 0; i < worker_count(g); i++)
		if (g->slots[i].pid != 0)
			(void)kill(g->slots[i].pid, signal_number);
}

static void
begin_end(struct generation *g, int signal_number, struct deadline kill_at)
{
	g->retiring = true;
	g->kill_at = kill_at;
	generation_signal(g, signal_number);
}

void
generation_retire(struct generation *g, struct deadline now)
{
	int ms = WORKER_RETIRE_MS + g->config->timeouts.query_ms + GENERATION_STOP_GRACE_MS;

	if (!g->retiring)
		begin_end(g, SIGQUIT, deadline_after(now, ms));
}

void
generation_stop(struct generation *g, struct deadline now)
{
	int ms = g->config->timeouts.query_ms + GENERATION_STOP_GRACE_MS;

	begin_end(g, SIGTERM, deadline_after(now, ms));
}

void
generation_give_up(struct generation *g, struct deadline now)
{
	g->given_up = true;
	begin_end(g, SIGKILL, now);
}

void
generation_kill_overdue(const struct generation *g, struct deadline now)
{
	if (g->retiring && deadline_passed(g->kill_at, now))
		generation_signal(g, SIGKILL);
}

void
generation_kill_stuck(struct generation *g, struct deadline now)
{
	size_t i;

	for (i = 0; i < worker_count(g); i++) {
		struct generation_slot *slot = &g->slots[i];
		int64_t heartbeat = stats_heartbeat(generation_stats(g, i));

		/* Only that it changes counts, not what it says. */
		if (heartbeat != slot->heartbeat) {
			slot->heartbeat = heartbeat;
			slot->beat_at = now;
		}
		if (slot->pid == 0 ||
		    !deadline_passed(deadline_after(slot->beat_at, STUCK_MS), now))
			continue;
		log_event(LOG_LEVEL_WARN, "worker stuck", "pid=%d", (int)slot->pid);
		(void)kill(slot->pid, SIGKILL);
	}
}

/* ---- the start and the end of one ---- */

static int
longer_pause(int ms)
{
	if (ms == 0)
		return RESTART_MIN_MS;
	return 2 * ms < RESTART_MAX_MS ? 2 * ms : RESTART_MAX_MS;
}

static struct deadline
start_at(const struct generation *g, const struct generation_slot *slot)
{
	if (slot->pause_ms == 0)
		return slot->start_at;
	return deadline_later(slot->start_at, g->pace_at);
}

bool
generation_next_due(struct generation *g, struct deadline now, size_t *index)
{
	size_t i;

	for (i = 0; i < worker_count(g); i++) {
		struct generation_slot *slot = &g->slots[i];

		if (slot->pid != 0 || !deadline_passed(start_at(g, slot), now))
			continue;
		if (slot->pause_ms > 0)
			g->pace_at = deadline_after(now, RESTART_PACE_MS);
		*index = i;
		return true;
	}
	return false;
}

void
generation_worker_started(struct generation *g, size_t index, pid_t pid, struct deadline now)
{
	struct generation_slot *slot = &g->slots[index];

	slot->fork_pause_ms = 0;
	slot->pid = pid;
	slot->started = now;
	slot->beat_at = now;
}

void
generation_worker_not_started(struct generation *g, size_t index, struct deadline now)
{
	struct generation_slot *slot = &g->slots[index];

	slot->fork_pause_ms = longer_pause(slot->fork_pause_ms);
	slot->start_at = deadline_after(now, slot->fork_pause_ms);
}

struct deadline
generation_next_start(const struct generation *g)
{
	struct deadline d = DEADLINE_NEVER;
	size_t i;

	for (i = 0; i < worker_count(g); i++)
		if (g->slots[i].pid == 0)
			d = deadline_sooner(d, start_at(g, &g->slots[i]));
	return d;
}

struct generation *
generation_find(struct generation *newest, pid_t pid, size_t *index)
{
	struct generation *g;
	size_t i;

	for (g = newest; g != NULL; g = g->older) {
		for (i = 0; i < worker_count(g); i++) {
			if (g->slots[i].pid == pid) {
				*index = i;
				return g;
			}
		}
	}
	return NULL;
}

static void
schedule_restart(struct generation_slot *slot, struct deadline now)
{
	bool quick = deadline_us_between(slot->started, now) < (int64_t)QUICK_DEATH_MS * 1000;

	slot->start_at = quick ? deadline_after(now, slot->pause_ms) : now;
	slot->pause_ms = quick ? longer_pause(slot->pause_ms) : 0;
}

bool
generation_worker_ended(struct generation *g, size_t index, int status, struct deadline now)
{
	struct generation_slot *slot = &g->slots[index];
	bool started = stats_state(generation_stats(g, index)) != STATS_EMPTY;

	scoreboard_remove_worker(g->shared, scoreboard_first_worker(g->number) + index, slot->pid);
	slot->pid = 0;
	if (g->given_up || (g->retiring && WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return false;
	if (!started)
		g->startup_failures++;
	schedule_restart(slot, now);
	return true;
}

bool
generation_startup_failed(const struct generation *g)
{
	return !g->served && g->startup_failures >= GENERATION_MAX_STARTUP_FAILURES;
}
