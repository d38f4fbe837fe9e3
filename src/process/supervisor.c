#include "process/supervisor.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/waitset.h"
#include "process/filewatch.h"
#include "process/listeners.h"
#include "process/privilege.h"
#include "process/status.h"
#include "process/worker.h"
#include "shared/scoreboard.h"
#include "supervisor_internal.h"
#include "transport/net.h"
#include "upstream/upstream.h"

_Static_assert((int)LISTENERS_SOCKETS_MAX <= (int)SANDBOX_LISTENERS_MAX, "the sandbox knows all");

enum {
	/* Workers are looked after that often; the file and the addresses at each so-many-th. */
	TICK_MS = 500,
	SLOW_TICKS = 4,

	EVENTS_AT_ONCE = 4,

	/* At the start the first worker is left alone for so long: it has clients that wait. */
	FIRST_ALONE_MS = 10,

	/* The longest legal turn of a worker is far shorter, also on a slow machine. */
	STUCK_MS = 5 * WORKER_HEARTBEAT_MS,

	/* A worker that dies sooner is not replaced at once, but after ever longer. */
	QUICK_DEATH_MS = 1000,
	RESTART_MIN_MS = 200,
	RESTART_MAX_MS = 10000,

	/* All together those that died quickly are started no more often than this. */
	RESTART_PACE_MS = 100,

	/* So many workers in a row that died before they served: none ever will. */
	HOPELESS_DEATHS = 5,

	/* Old generations that still finish something; the next reload waits for them. */
	RETIRING_MAX = 3,

	/* After the longest that a query may take, a worker that is told to stop is made to. */
	STOP_GRACE_MS = 400
};

/* A reload waits while RETIRING_MAX generations retire. */
_Static_assert((int)RETIRING_MAX + 1 == (int)STATS_GENERATIONS, "rows for all generations");
_Static_assert((int)STATS_TEAM == (int)CONFIG_WORKERS_MAX, "a row for each worker");
_Static_assert((int)STATS_GENERATIONS *(int)CONFIG_UPSTREAMS_MAX <= (int)HEALTH_ROWS,
    "a row for each upstream");

struct supervisor {
	const struct supervisor_launch *launch;
	struct scoreboard shared;
	struct generation *newest;
	struct listeners passed; /* by the service manager, for as long as this process lives */
	size_t descriptors;
	int set; /* what it waits for: */
	int signals;
	int wakeup; /* woken by a worker that has come to serve */
	int status; /* see status.h; -1: not open */
	bool status_failed;
	struct filewatch file;
	struct service service;
	unsigned ticks;
	struct deadline tick_at;
	struct deadline pace_at; /* no worker that died quickly is started before */
	bool reload_wanted;
	bool stopping;
	bool hopeless;
	bool in_worker; /* this process is one, and has run */
	bool worker_failed;
};

/* ---- generations ---- */

struct stats_worker *
generation_row(const struct generation *g, size_t index)
{
	return stats_worker(g->shared->stats, scoreboard_first_worker(g->number) + index);
}

static void
free_generation(struct generation *g)
{
	if (g == NULL)
		return;
	listeners_close(&g->listeners);
	upstream_list_free(g->upstreams);
	if (g->number != -1)
		scoreboard_remove_generation(g->shared, g->number);
	config_free(g->config);
	free(g);
}

/* The sockets that are open already; NULL: none. */
static const struct listeners *
open_sockets(const struct supervisor *s)
{
	if (s->newest != NULL)
		return &s->newest->listeners;
	return s->passed.count > 0 ? &s->passed : NULL;
}

/* Opens and sets up what CONFIG asks for. Returns 0, or -1 with the reason, and whose fault it is. */
static int
set_up(const struct supervisor *s, struct generation *g, enum supervisor_end *end,
    struct failure *why)
{
	struct config *config = g->config;

	*end = SUPERVISOR_MISCONFIGURED;
	if (s->passed.count > 0 && listeners_prescribe(&s->passed, config) == -1)
		return fail_with(why, "an upstream has the address of a socket that was passed");
	if (privilege_plan(config->user, config->sandbox, &g->privilege, why) == -1)
		return -1;
	*end = SUPERVISOR_FAILED;
	/* Before TLS, which takes longest: who asks meanwhile waits, and is not refused. */
	if (listeners_open(&g->listeners, config, open_sockets(s), why) == -1)
		return -1;
	if ((g->number = scoreboard_add_generation(g->shared)) == -1)
		return fail_with(why, "too many generations of workers");
	*end = SUPERVISOR_MISCONFIGURED;
	g->upstreams = upstream_list_new(config, g->shared, why);
	return g->upstreams == NULL ? -1 : 0;
}

/* Everything of a generation but its workers; CONFIG becomes its own. NULL as set_up(). */
static struct generation *
new_generation(struct supervisor *s, struct config *config, enum supervisor_end *end,
    struct failure *why)
{
	struct generation *g;
	size_t i;

	if ((g = calloc(1, sizeof *g)) == NULL) {
		*end = SUPERVISOR_FAILED;
		(void)fail_errno(why, "start");
		config_free(config);
		return NULL;
	}
	g->config = config;
	g->shared = &s->shared;
	g->number = -1;
	for (i = 0; i < config->upstream_count; i++)
		g->ports[i] = address_port(&config->upstreams[i].address);
	if (set_up(s, g, end, why) == -1) {
		listeners_leave(&g->listeners, open_sockets(s));
		free_generation(g);
		g = NULL;
	}
	return g;
}

/* ---- workers ---- */

/* An address that only others listen on must be free when they have gone, whatever this worker does. */
static void
leave_others(const struct supervisor *s, const struct generation *own)
{
	struct generation *g;

	for (g = s->newest; g != NULL; g = g->older) {
		if (g == own)
			continue;
		listeners_leave(&g->listeners, &own->listeners);
		listeners_close(&g->listeners);
	}
}

/* What a generation has given up is logged once, by its first worker, and not where nothing changes. */
static bool
logs_sandbox(const struct generation *g, size_t index)
{
	const struct generation *older = g->older;

	return index == 0 && g->slots[0].started.at_us == 0 &&
	    (older == NULL || older->privilege.sandbox != g->privilege.sandbox ||
		older->privilege.chose_root != g->privilege.chose_root);
}

/* Drops, for good, the privileges that a worker does not need. */
static int
shut_in(struct generation *g, size_t index, struct failure *why)
{
	int sockets[LISTENERS_SOCKETS_MAX];
	struct sandbox_bounds bounds = { .ports = g->ports,
		.port_count = g->config->upstream_count,
		.listeners = sockets,
		.listener_count = listeners_sockets(&g->listeners, sockets) };

	if (privilege_shut_in(&g->privilege, &bounds, why) == -1)
		return -1;
	if (logs_sandbox(g, index))
		supervisor_log_sandbox(&g->privilege);
	return 0;
}

/* What the supervisor waits for is not the worker's. */
static void
close_waitset(struct supervisor *s)
{
	int *fds[] = { &s->set, &s->signals, &s->status };
	size_t i;

	for (i = 0; i < sizeof fds / sizeof fds[0]; i++) {
		if (*fds[i] != -1)
			(void)close(*fds[i]);
		*fds[i] = -1;
	}
}

/* What a worker does from its birth to its end. */
static int
be_worker(struct supervisor *s, struct generation *g, size_t index, pid_t supervisor)
{
	struct worker_setup setup = { .config = g->config,
		.listeners = &g->listeners,
		.upstreams = g->upstreams,
		.shared = g->shared,
		.generation = g->number,
		.index = index,
		.descriptors = s->descriptors,
		.wakeup = s->wakeup };
	struct failure why;

	supervisor_service_close(&s->service);
	close_waitset(s);
	leave_others(s, g);
	if (privilege_limit_worker(&g->privilege, &why) == 0) {
		/* The supervisor's death is a SIGTERM; it may have come before this was arranged. */
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
		if (getppid() != supervisor)
			return 0;
		if (shut_in(g, index, &why) == 0 && worker_run(&setup, &why) == 0)
			return 0;
	}
	log_event(LOG_LEVEL_ERROR, "worker cannot start", "cause", why.text, "remedy", why.remedy,
	    NULL);
	return -1;
}

static int
longer_pause(int ms)
{
	if (ms == 0)
		return RESTART_MIN_MS;
	return 2 * ms < RESTART_MAX_MS ? 2 * ms : RESTART_MAX_MS;
}

/* Starts one worker. In the worker itself it returns when that is done with, with `in_worker' set. */
static void
start_worker(struct supervisor *s, struct generation *g, size_t index, struct deadline now)
{
	struct slot *slot = &g->slots[index];
	pid_t supervisor = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		s->in_worker = true;
		s->worker_failed = be_worker(s, g, index, supervisor) == -1;
		return;
	}
	if (pid == -1) {
		supervisor_log_fork_failed(errno);
		slot->fork_pause_ms = longer_pause(slot->fork_pause_ms);
		slot->start_at = deadline_after(now, slot->fork_pause_ms);
		return;
	}
	slot->fork_pause_ms = 0;
	slot->pid = pid;
	slot->started = now;
	slot->beat_at = now;
}

/* When the place of a worker that is not there is taken. */
static struct deadline
start_at(const struct supervisor *s, const struct slot *slot)
{
	if (slot->pause_ms == 0)
		return slot->start_at;
	return deadline_later(slot->start_at, s->pace_at);
}

static void
start_due_workers(struct supervisor *s, struct deadline now)
{
	struct generation *g = s->newest;
	size_t i;

	for (i = 0; !s->stopping && i < (size_t)g->config->workers; i++) {
		struct slot *slot = &g->slots[i];

		if (slot->pid != 0 || !deadline_passed(start_at(s, slot), now))
			continue;
		if (slot->pause_ms > 0)
			s->pace_at = deadline_after(now, RESTART_PACE_MS);
		start_worker(s, g, i, now);
		if (s->in_worker)
			return;
	}
}

static void
signal_workers(const struct generation *g, int signal_number)
{
	size_t i;

	for (i = 0; i < (size_t)g->config->workers; i++)
		if (g->slots[i].pid != 0)
			(void)kill(g->slots[i].pid, signal_number);
}

static bool
has_workers(const struct generation *g)
{
	size_t i;

	for (i = 0; i < (size_t)g->config->workers; i++)
		if (g->slots[i].pid != 0)
			return true;
	return false;
}

/* The workers take no more clients, and go when those that they have pause. */
static void
retire(struct generation *g, struct deadline now)
{
	if (g->retiring)
		return;
	g->retiring = true;
	g->kill_at = deadline_after(now,
	    WORKER_RETIRE_MS + g->config->timeouts.query_ms + STOP_GRACE_MS);
	signal_workers(g, SIGQUIT);
}

/* The workers finish what they have in hand, and go. */
static void
finish(struct generation *g, struct deadline now)
{
	g->retiring = true;
	g->kill_at = deadline_after(now, g->config->timeouts.query_ms + STOP_GRACE_MS);
	signal_workers(g, SIGTERM);
}

static struct slot *
find_slot(const struct supervisor *s, pid_t pid, struct generation **in)
{
	struct generation *g;
	size_t i;

	for (g = s->newest; g != NULL; g = g->older) {
		for (i = 0; i < (size_t)g->config->workers; i++) {
			if (g->slots[i].pid == pid) {
				*in = g;
				return &g->slots[i];
			}
		}
	}
	return NULL;
}

/* The place of a worker that has died is taken again at once, unless it died quickly twice. */
static void
schedule_restart(struct supervisor *s, struct generation *g, struct slot *slot, struct deadline now)
{
	bool quick = deadline_us_between(slot->started, now) < (int64_t)QUICK_DEATH_MS * 1000;

	slot->start_at = quick ? deadline_after(now, slot->pause_ms) : now;
	if (!quick)
		slot->pause_ms = 0;
	else
		slot->pause_ms = longer_pause(slot->pause_ms);
	if (!g->served && ++g->deaths >= HOPELESS_DEATHS && g == s->newest && !s->stopping)
		s->hopeless = true;
}

static void
reap(struct supervisor *s, struct deadline now)
{
	struct generation *g = NULL;
	struct slot *slot;
	size_t index;
	int status;
	pid_t pid;

	/* As the first process of a container it inherits others' children, too. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if ((slot = find_slot(s, pid, &g)) == NULL)
			continue;
		index = (size_t)(slot - g->slots);
		if (!g->served)
			g->served = stats_state(generation_row(g, index)) != STATS_EMPTY;
		scoreboard_remove_worker(g->shared, scoreboard_first_worker(g->number) + index,
		    pid);
		slot->pid = 0;
		if (g->given_up)
			continue;
		if (g->retiring && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		supervisor_log_death(pid, status);
		schedule_restart(s, g, slot, now);
	}
}

/* Ends workers that do not come back from a turn. */
static void
check_heartbeats(struct generation *g, struct deadline now)
{
	char number[16];
	size_t i;

	for (i = 0; i < (size_t)g->config->workers; i++) {
		struct slot *slot = &g->slots[i];
		int64_t heartbeat = stats_heartbeat(generation_row(g, i));

		/* Only that it changes counts, not what it says. */
		if (heartbeat != slot->heartbeat) {
			slot->heartbeat = heartbeat;
			slot->beat_at = now;
		}
		if (slot->pid == 0 ||
		    !deadline_passed(deadline_after(slot->beat_at, STUCK_MS), now))
			continue;
		(void)snprintf(number, sizeof number, "%d", (int)slot->pid);
		log_event(LOG_LEVEL_WARN, "worker stuck", "pid", number, NULL);
		(void)kill(slot->pid, SIGKILL);
	}
}

/* ---- reload ---- */

/* What is new is not taken, of whose COUNT mistakes CAUSE is the first. */
static void
refuse(struct supervisor *s, const char *cause, size_t count, const char *remedy)
{
	supervisor_log_refusal(cause, count, remedy);
	supervisor_service_refused(&s->service, cause);
}

static void
refuse_file(struct supervisor *s, const struct config_report *report)
{
	const char *errors = report->errors != NULL ? report->errors : "out of memory";
	size_t count = report->error_count;
	char first[512];

	(void)snprintf(first, sizeof first, "%.*s", (int)strcspn(errors, "\n"), errors);
	refuse(s, first, count, count > 1 ? "`dot-proxy check' shows all" : NULL);
}

static struct config *
read_config(struct supervisor *s)
{
	const struct supervisor_launch *launch = s->launch;
	struct config_report report;
	struct config *config = config_load(launch->config_file, &report);

	if (config == NULL)
		refuse_file(s, &report);
	config_report_free(&report);
	if (config != NULL && launch->listen != NULL &&
	    config_set_listen(config, launch->listen) != NULL) {
		refuse(s, "an upstream has the address that -l names", 1, NULL);
		config_free(config);
		return NULL;
	}
	return config;
}

/* Builds everything new and lets it begin beside the old; a bad file changes nothing. */
static void
reload(struct supervisor *s, struct deadline now)
{
	struct config *config;
	struct generation *g;
	enum supervisor_end end;
	struct failure why;

	s->reload_wanted = false;
	supervisor_service_reloading(&s->service);
	filewatch_look(&s->file, s->launch->config_file);
	if ((config = read_config(s)) == NULL)
		return;
	if (s->passed.count == 0)
		(void)listeners_replace(&s->newest->listeners, true);
	if ((g = new_generation(s, config, &end, &why)) == NULL) {
		refuse(s, why.text, 1, why.remedy);
		return;
	}
	g->older = s->newest;
	s->newest = g;
	log_set_level(s->launch->verbose ? LOG_LEVEL_DEBUG : g->config->log.level);
	start_due_workers(s, now);
}

/* The newest generation has come to serve: those before it may finish and go. */
static void
hand_over(struct supervisor *s, struct deadline now)
{
	struct generation *g = s->newest;
	char workers[16];
	size_t i;

	if (g->served)
		return;
	for (i = 0; i < (size_t)g->config->workers; i++)
		if (stats_state(generation_row(g, i)) == STATS_SERVING)
			g->served = true;
	if (!g->served)
		return;
	s->hopeless = false;
	(void)snprintf(workers, sizeof workers, "%d", g->config->workers);
	log_event(LOG_LEVEL_INFO, g->older == NULL ? "serving" : "configuration reloaded", "file",
	    s->launch->config_file, "workers", workers, "version", s->launch->version, NULL);
	for (g = g->older; g != NULL; g = g->older) {
		listeners_leave(&g->listeners, &s->newest->listeners);
		listeners_close(&g->listeners);
		retire(g, now);
	}
}

/* A new generation of which no worker comes to serve: the one before it goes on. */
static bool
give_up_newest(struct supervisor *s, struct deadline now)
{
	struct generation *g = s->newest;

	if (g->older == NULL || g->older->retiring)
		return false;
	refuse(s, "no worker could start with it", 1, NULL);
	/* Its rows in shared memory are free when its workers have gone; sweep() sees to that. */
	g->retiring = g->given_up = true;
	g->kill_at = now;
	signal_workers(g, SIGKILL);
	s->newest = g->older;
	listeners_leave(&g->listeners, &s->newest->listeners);
	listeners_close(&g->listeners);
	g->older = s->newest->older;
	s->newest->older = g;
	s->hopeless = false;
	return true;
}

/* Frees the generations of which the last worker has gone, and ends those that take too long. */
static size_t
sweep(struct supervisor *s, struct deadline now)
{
	struct generation **at = &s->newest->older;
	size_t left = 0;

	while (*at != NULL) {
		struct generation *g = *at;

		if (g->retiring && !has_workers(g)) {
			*at = g->older;
			free_generation(g);
			continue;
		}
		if (g->retiring && deadline_passed(g->kill_at, now))
			signal_workers(g, SIGKILL);
		left++;
		at = &g->older;
	}
	return left;
}

/* ---- the supervisor itself ---- */

static void
stop(struct supervisor *s, struct deadline now)
{
	struct generation *g;

	supervisor_service_stopping(&s->service);
	/* Told twice: at once. */
	for (g = s->newest; s->stopping && g != NULL; g = g->older)
		signal_workers(g, SIGKILL);
	for (g = s->newest; !s->stopping && g != NULL; g = g->older)
		finish(g, now);
	s->stopping = true;
}

/* The configuration by which queries are answered now. */
static const struct config *
serving_config(const struct supervisor *s)
{
	const struct generation *g = s->newest;

	while (!g->served && g->older != NULL)
		g = g->older;
	return g->config;
}

/* Without it `healthcheck' goes by the file. */
static void
open_status(struct supervisor *s)
{
	struct failure why;

	if (s->status != -1)
		return;
	s->status = status_listen(s->launch->config_file, &why);
	/* Only a new connection wakes it: one that cannot be accepted waits for the next tick. */
	if (s->status != -1)
		(void)waitset_add(s->set, s->status, EPOLLIN | EPOLLET, WAITSET_STATUS, 0);
	else if (!s->status_failed)
		log_event(LOG_LEVEL_INFO, "no status socket", "cause", why.text, "remedy",
		    "`healthcheck' reads the configuration file instead; -l says where to ask",
		    NULL);
	s->status_failed = s->status == -1;
}

/* Workers that have the old socket would look for what never comes, without a pause, or lose answers. */
static void
replace_shut_down(struct supervisor *s)
{
	struct generation *g = s->newest;
	/* Whether it is true is seen here, whatever the worker is. */
	bool reported = stats_take_shut_down(s->shared.stats, (size_t)g->number);

	if (s->passed.count == 0 && listeners_replace(&g->listeners, reported))
		s->reload_wanted = true;
}

static void
tick(struct supervisor *s, struct deadline now)
{
	struct generation *g;
	bool late = deadline_passed(deadline_after(s->tick_at, STUCK_MS / 2), now);

	s->tick_at = deadline_after(now, TICK_MS);
	open_status(s);
	if (s->status != -1)
		status_answer(s->status, serving_config(s));
	/* When all of us stood still (a paused container), the workers must beat first. */
	for (g = s->newest; !late && g != NULL; g = g->older)
		check_heartbeats(g, now);
	listeners_repair(&s->newest->listeners);
	replace_shut_down(s);
	if (++s->ticks % SLOW_TICKS != 0)
		return;
	if (listeners_check_addresses(&s->newest->listeners) && s->passed.count == 0)
		s->reload_wanted = true;
	if (s->newest->config->reload_auto &&
	    filewatch_has_changed(&s->file, s->launch->config_file))
		s->reload_wanted = true;
}

static struct deadline
next_moment(const struct supervisor *s)
{
	struct deadline d = deadline_sooner(s->tick_at, s->service.watchdog_at);
	const struct generation *g = s->newest;
	size_t i;

	for (i = 0; !s->stopping && i < (size_t)g->config->workers; i++)
		if (g->slots[i].pid == 0)
			d = deadline_sooner(d, start_at(s, &g->slots[i]));
	return d;
}

static void
take_signals(struct supervisor *s)
{
	int number;

	while ((number = waitset_next_signal(s->signals)) != 0) {
		switch (number) {
		case SIGTERM:
		case SIGINT:
			stop(s, deadline_now());
			break;
		case SIGHUP:
			s->reload_wanted = true;
			break;
		case SIGUSR1:
			supervisor_log_state(s->newest, deadline_now());
			break;
		default:
			/* SIGCHLD, or one that means nothing here. */
			break;
		}
	}
}

/* The one wait: until something has come, or the next moment at which something is due. */
static void
wait_for_events(struct supervisor *s)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	size_t count = waitset_wait(s->set, events, EVENTS_AT_ONCE, next_moment(s));
	size_t i;

	for (i = 0; i < count; i++) {
		switch (waitset_owner(&events[i])) {
		case WAITSET_SIGNALS:
			take_signals(s);
			break;
		case WAITSET_STATUS:
			status_answer(s->status, serving_config(s));
			break;
		default:
			waitset_clear_wakeup(s->wakeup);
			break;
		}
	}
}

/* Until all workers have gone. In a worker it returns when that is done with. */
static void
watch(struct supervisor *s)
{
	struct deadline now = deadline_now();
	size_t retiring = 0;

	s->tick_at = deadline_after(now, TICK_MS);
	while (!s->stopping || retiring > 0 || has_workers(s->newest)) {
		start_due_workers(s, now);
		if (s->in_worker)
			return;
		wait_for_events(s);
		now = deadline_now();
		reap(s, now);
		hand_over(s, now);
		if (s->hopeless && !give_up_newest(s, now))
			return;
		retiring = sweep(s, now);
		if (s->stopping && deadline_passed(s->newest->kill_at, now))
			signal_workers(s->newest, SIGKILL);
		if (deadline_passed(s->tick_at, now))
			tick(s, now);
		if (s->reload_wanted && !s->stopping && s->newest->served &&
		    retiring < RETIRING_MAX)
			reload(s, now);
		if (s->in_worker)
			return;
		supervisor_service_tell(&s->service, s->newest, now);
	}
}

/* take_signals() reads them all; signals that would end a worker by mistake stay blocked. */
static void
block_signals(sigset_t *signals)
{
	static const int deadly[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP,
		SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT };
	size_t i;

	(void)sigfillset(signals);
	for (i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
		(void)sigdelset(signals, deadly[i]);
	(void)sigprocmask(SIG_SETMASK, signals, NULL);
}

static int
share_memory(struct supervisor *s, struct failure *why)
{
	return scoreboard_init(&s->shared) == -1 ? fail_errno(why, "start") : 0;
}

static int
open_waitset(struct supervisor *s, const sigset_t *signals, struct failure *why)
{
	if ((s->set = waitset_new()) == -1 ||
	    (s->signals = waitset_add_signals(s->set, signals)) == -1 ||
	    (s->wakeup = waitset_add_wakeup(s->set)) == -1)
		return fail_errno(why, "start");
	return 0;
}

static enum supervisor_end
fail_start(const struct failure *why, enum supervisor_end end)
{
	log_event(LOG_LEVEL_ERROR, "cannot start", "cause", why->text, "remedy", why->remedy, NULL);
	return end;
}

static enum supervisor_end
ended(const struct supervisor *s)
{
	if (s->in_worker)
		return s->worker_failed ? SUPERVISOR_FAILED : SUPERVISOR_STOPPED;
	if (s->hopeless) {
		log_event(LOG_LEVEL_ERROR, "cannot start", "cause", "no worker could start", NULL);
		return SUPERVISOR_FAILED;
	}
	log_event(LOG_LEVEL_INFO, "stopped", NULL);
	return SUPERVISOR_STOPPED;
}

/* Sockets of the service manager take the place of what the configuration listens on. */
static int
take_passed(struct supervisor *s, struct failure *why)
{
	if (listeners_take_passed(&s->passed, why) == -1)
		return -1;
	if (s->passed.count == 0 || s->launch->listen == NULL)
		return 0;
	(void)fail_with(why, "sockets were passed, and -l names another one");
	fail_remedy(why, "leave out -l, or disable the socket unit");
	return -1;
}

enum supervisor_end
supervisor_run(const struct supervisor_launch *launch, struct config *config)
{
	struct supervisor s = { .launch = launch,
		.set = -1,
		.signals = -1,
		.wakeup = -1,
		.status = -1 };
	struct generation *older;
	struct failure why;
	enum supervisor_end end;
	sigset_t signals;
	size_t i;

	block_signals(&signals);
	/* First, before anything else could get one of their numbers. */
	if (take_passed(&s, &why) == -1) {
		config_free(config);
		return fail_start(&why, SUPERVISOR_MISCONFIGURED);
	}
	supervisor_service_open(&s.service);
	s.descriptors = net_raise_descriptor_limit();
	filewatch_look(&s.file, launch->config_file);
	if (share_memory(&s, &why) == -1 || open_waitset(&s, &signals, &why) == -1 ||
	    privilege_raise(&why) == -1) {
		config_free(config);
		return fail_start(&why, SUPERVISOR_FAILED);
	}
	if ((s.newest = new_generation(&s, config, &end, &why)) == NULL)
		return fail_start(&why, end);
	if (privilege_limit_supervisor(&why) == -1) {
		free_generation(s.newest);
		return fail_start(&why, SUPERVISOR_FAILED);
	}
	for (i = 1; i < (size_t)s.newest->config->workers; i++)
		s.newest->slots[i].start_at = deadline_in(FIRST_ALONE_MS);
	open_status(&s);
	watch(&s);
	end = ended(&s);
	while (s.newest != NULL) {
		older = s.newest->older;
		if (older != NULL)
			listeners_leave(&older->listeners, &s.newest->listeners);
		free_generation(s.newest);
		s.newest = older;
	}
	scoreboard_free(&s.shared);
	close_waitset(&s);
	(void)close(s.wakeup);
	return end;
}
