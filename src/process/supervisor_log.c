#include "process/supervisor.h"

#include <sys/wait.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "supervisor_internal.h"

void
supervisor_log_death(pid_t pid, int status)
{
	char number[16];
	char how[48];

	(void)snprintf(number, sizeof number, "%d", (int)pid);
	if (WIFSIGNALED(status))
		(void)snprintf(how, sizeof how, "signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		(void)snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
	log_event(LOG_LEVEL_WARN, "worker died", "pid", number, "cause", how, NULL);
}

void
supervisor_log_fork_failed(int error)
{
	log_event(LOG_LEVEL_WARN, "fork failed", "cause", strerror(error), "remedy",
	    error == EAGAIN ? "raise the limit of processes: `ulimit -u', TasksMax= of systemd, "
			      "or --pids-limit of a container" :
			      NULL,
	    NULL);
}

void
supervisor_log_reload_failed(const char *cause, size_t count, const char *remedy)
{
	char errors[32] = "";

	if (count > 1)
		(void)snprintf(errors, sizeof errors, "%zu", count);
	log_event(LOG_LEVEL_ERROR, "reload failed", "cause", cause, "errors", errors, "remedy",
	    remedy, NULL);
}

void
supervisor_log_sandbox(const struct privilege *p)
{
	log_event(LOG_LEVEL_INFO, "sandbox", "on", privilege_in_force(p), "missing", p->missing,
	    NULL);
	if (p->chose_root)
		log_event(LOG_LEVEL_WARN, "workers run as root", "cause",
		    "`user' in the configuration is root", "remedy",
		    "leave `user' out, or name one that owns nothing", NULL);
}

static void
log_worker(const struct generation *g, size_t index)
{
	const struct stats_worker *row = generation_stats(g, index);
	static const char *const states[] = { "starting", "serving", "stopping" };
	char pid[16];
	char numbers[5][24];

	(void)snprintf(pid, sizeof pid, "%d", (int)g->slots[index].pid);
	(void)snprintf(numbers[0], sizeof numbers[0], "%llu",
	    (unsigned long long)stats_counter(row, STATS_QUERIES));
	(void)snprintf(numbers[1], sizeof numbers[1], "%llu",
	    (unsigned long long)stats_counter(row, STATS_ANSWERED));
	(void)snprintf(numbers[2], sizeof numbers[2], "%llu",
	    (unsigned long long)stats_counter(row, STATS_FAILED));
	(void)snprintf(numbers[3], sizeof numbers[3], "%u", stats_queries_in_flight(row));
	(void)snprintf(numbers[4], sizeof numbers[4], "%u", stats_clients(row));
	log_event(LOG_LEVEL_INFO, "worker", "pid", pid, "state", states[stats_state(row)],
	    "queries", numbers[0], "answered", numbers[1], "failed", numbers[2], "in_flight",
	    numbers[3], "clients", numbers[4], NULL);
}

static void
log_upstream(const struct generation *g, size_t index, struct deadline now)
{
	struct upstream_state state;
	char numbers[3][24];

	upstream_state(g->upstreams, index, now, &state);
	(void)snprintf(numbers[0], sizeof numbers[0], "%.1f", (double)state.usual_us / 1000);
	(void)snprintf(numbers[1], sizeof numbers[1], "%u", state.failures);
	(void)snprintf(numbers[2], sizeof numbers[2], "%ds", state.down_s);
	log_event(LOG_LEVEL_INFO, "upstream", "upstream", state.name, "state",
	    state.failures == 0 ? "up" : "down", "answer_ms",
	    state.usual_us > 0 ? numbers[0] : NULL, "failures",
	    state.failures > 0 ? numbers[1] : NULL, "for", state.failures > 0 ? numbers[2] : NULL,
	    NULL);
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
}
