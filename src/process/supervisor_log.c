#include "process/supervisor.h"

#include <sys/wait.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "format/answer.h"
#include "supervisor_internal.h"

void
supervisor_log_death(pid_t pid, int status)
{
	char how[48];

	if (WIFSIGNALED(status))
		(void)snprintf(how, sizeof how, "signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		(void)snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
	log_event(LOG_LEVEL_WARN, "worker died", "pid=%d cause=%s", (int)pid, how);
}

void
supervisor_log_fork_failed(int error)
{
	log_event(LOG_LEVEL_WARN, "fork failed", "cause=%s remedy=%s", strerror(error),
	    error == EAGAIN ? "raise the limit of processes: `ulimit -u', TasksMax= of systemd, "
			      "or --pids-limit of a container" :
			      "");
}

void
supervisor_log_reload_failed(const char *cause, size_t count, const char *remedy)
{
	log_event(LOG_LEVEL_ERROR, "reload failed", "cause=%s errors=%zu? remedy=%s", cause,
	    count > 1 ? count : 0, remedy);
}

void
supervisor_log_sandbox(const struct privilege *p)
{
	log_event(LOG_LEVEL_INFO, "sandbox", "on=%s missing=%s", privilege_in_force(p), p->missing);
	if (p->chose_root)
		log_event(LOG_LEVEL_WARN, "workers run as root", "cause=%s remedy=%s",
		    "`user' in the configuration is root",
		    "leave `user' out, or name one that owns nothing");
}

void
supervisor_log_cleartext(const struct config *config)
{
	char domains[CONFIG_DOMAINS_TEXT_MAX];
	char to[ADDRESS_TEXT_MAX];
	size_t i, k;

	for (i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];
		const struct config_group *group = &config->groups[route->group];

		for (k = group->first; k < group->first + group->count; k++)
			if (config->upstreams[k].cleartext)
				log_event(LOG_LEVEL_INFO, "cleartext", "domains=%s to=%s",
				    config_format_domains(route, domains),
				    address_format(&config->upstreams[k].address, to));
	}
}

static void
log_worker(const struct generation *g, size_t index)
{
	static const char *const states[] = { "starting", "serving", "stopping" };
	const struct stats_worker *row = generation_stats(g, index);

	log_event(LOG_LEVEL_INFO, "worker",
	    "pid=%d state=%s queries=%ju answered=%ju failed=%ju hedged=%ju in_flight=%u clients=%u",
	    (int)g->slots[index].pid, states[stats_state(row)],
	    (uintmax_t)stats_counter(row, STATS_QUERIES),
	    (uintmax_t)stats_counter(row, STATS_ANSWERED),
	    (uintmax_t)stats_counter(row, STATS_FAILED),
	    (uintmax_t)stats_counter(row, STATS_HEDGED), stats_queries_in_flight(row),
	    stats_clients(row));
}

static void
log_upstream(const struct generation *g, size_t index, struct deadline now)
{
	struct upstream_state state;
	char ms[24];

	upstream_state(g->upstreams, index, now, &state);
	(void)snprintf(ms, sizeof ms, "%.1f", (double)state.usual_us / 1000);
	if (state.failures == 0)
		log_event(LOG_LEVEL_INFO, "upstream", "upstream=%s route=%s state=%s answer_ms=%s",
		    state.name, state.route, "up", state.usual_us > 0 ? ms : "");
	else
		log_event(LOG_LEVEL_INFO, "upstream",
		    "upstream=%s route=%s state=%s answer_ms=%s failures=%u for=%ds", state.name,
		    state.route, "down", state.usual_us > 0 ? ms : "", state.failures,
		    state.down_s);
}

/* All workers together, also those that have gone. */
static uintmax_t
total(const struct generation *g, unsigned counter)
{
	uintmax_t sum = 0;
	size_t i;

	for (i = 0; i < STATS_WORKERS; i++)
		sum += stats_counter(stats_worker(g->shared->stats, i),
		    (enum stats_counter)counter);
	return sum;
}

static void
log_not_stored(const char *reason, uintmax_t count)
{
	if (count > 0)
		log_event(LOG_LEVEL_INFO, "cache not stored", "reason=%s count=%ju", reason, count);
}

static void
log_cache(const struct generation *g)
{
	unsigned i;

	if (g->cache == NULL)
		return;
	log_event(LOG_LEVEL_INFO, "cache",
	    "bytes=%zu hits=%ju misses=%ju joined=%ju stale=%ju prefetched=%ju stored=%ju "
	    "evicted_probation=%ju evicted_main=%ju",
	    cache_size(g->cache), total(g, STATS_CACHE_HITS), total(g, STATS_CACHE_MISSES),
	    total(g, STATS_CACHE_JOINED), total(g, STATS_CACHE_STALE),
	    total(g, STATS_CACHE_PREFETCHED), total(g, STATS_CACHE_STORED),
	    total(g, STATS_CACHE_EVICTED_PROBATION), total(g, STATS_CACHE_EVICTED_MAIN));
	log_not_stored("too large", total(g, STATS_CACHE_TOO_LARGE));
	log_not_stored("busy", total(g, STATS_CACHE_BUSY));
	for (i = 0; i < ANSWER_REASONS; i++)
		log_not_stored(answer_reason_word((enum answer_reason)i),
		    total(g, STATS_CACHE_NOT_KEPT + i));
}

void
supervisor_log_state(const struct generation *newest, struct deadline now)
{
	const struct generation *g = newest;
	size_t i;

	do {
		for (i = 0; i < (size_t)g->config->workers; i++)
			if (g->slots[i].pid != 0)
				log_worker(g, i);
	} while ((g = g->older) != NULL);
	for (i = 0; i < newest->config->upstream_count; i++)
		log_upstream(newest, i, now);
	log_cache(newest);
}
