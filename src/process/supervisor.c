#include "process/supervisor.h"

/*
 * The first process: it opens what a configuration asks for, starts workers, and watches over
 * them. It handles no DNS and no TLS. From the top:
 *
 *	workers		what happens in a worker before worker_run(); starting and reaping them
 *	reload		a new generation takes over from the old one, or fails to
 *	the loop	tick(), the signals, the one wait, watch()
 *	start and end	supervisor_run()
 *
 * generation.c keeps the books on the workers of one configuration; service.c notifies systemd.
 */

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/waitset.h"
#include "process/filewatch.h"
#include "process/generation.h"
#include "process/listeners.h"
#include "process/privilege.h"
#include "process/service.h"
#include "process/status.h"
#include "process/worker.h"
#include "shared/scoreboard.h"
#include "supervisor_internal.h"
#include "transport/net.h"

_Static_assert((int)LISTENERS_SOCKETS_MAX <= (int)SANDBOX_LISTENERS_MAX, "the sandbox knows all");

enum {
	/* How often workers and sockets are checked; the file and addresses at each nth tick. */
	TICK_MS = 500,
	SLOW_TICKS = 4,

	/* After a tick that is later than this, the whole container was paused. */
	PAUSED_MS = 2500,

	EVENTS_AT_ONCE = 4,

	/* While so many old generations drain, the next reload waits. */
	RETIRING_MAX = STATS_GENERATIONS - 1
};

struct supervisor {
	const struct supervisor_launch *launch;
	struct scoreboard shared;
	struct generation *newest;
	struct listeners passed; /* by the service manager; kept for good */
	size_t descriptors;
	int set; /* what it waits for: */
	int signals;
	int wakeup; /* by a worker that has come to serve */
	int status; /* see status.h; -1: not open */
	bool status_failed;
	struct filewatch file;
	struct service service;
	unsigned ticks;
	struct deadline tick_at;
	bool reload_wanted;
	bool stopping;
	bool in_worker; /* this process is one, and has run */
	bool worker_failed;
};

/* ---- workers ---- */

/* Closes the sockets that only other generations have, so that they free their addresses. */
static void
close_sockets_of_others(const struct supervisor *s, const struct generation *own)
{
	struct generation *g;

	for (g = s->newest; g != NULL; g = g->older) {
		if (g == own)
			continue;
		listeners_forget_shared(&g->listeners, &own->listeners);
		listeners_close(&g->listeners);
	}
}

/* The first worker of a generation logs its sandbox, unless the generation before had the same. */
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
enter_sandbox(struct generation *g, size_t index, struct failure *why)
{
	uint16_t ports[CONFIG_UPSTREAMS_MAX];
	int sockets[LISTENERS_SOCKETS_MAX];
	struct sandbox_bounds bounds = { .ports = ports,
		.port_count = g->config->upstream_count,
		.listeners = sockets,
		.listener_count = listeners_sockets(&g->listeners, sockets) };
	size_t i;

	for (i = 0; i < g->config->upstream_count; i++)
		ports[i] = address_port(&g->config->upstreams[i].address);
	if (privilege_sandbox_worker(&g->privilege, &bounds, why) == -1)
		return -1;
	if (logs_sandbox(g, index))
		supervisor_log_sandbox(&g->privilege);
	return 0;
}

/* Closes what the supervisor waits for, in a worker. */
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

/* The whole life of a worker. */
static int
worker_main(struct supervisor *s, struct generation *g, size_t index, pid_t supervisor)
{
	struct worker_setup setup = { .config = g->config,
		.listeners = &g->listeners,
		.names = g->names,
		.upstreams = g->upstreams,
		.routes = g->routes,
		.shared = g->shared,
		.cache = g->cache,
		.generation = g->number,
		.index = index,
		.descriptors = s->descriptors,
		.wakeup = s->wakeup };
	struct failure why;

	service_close(&s->service);
	close_waitset(s);
	close_sockets_of_others(s, g);
	if (privilege_limit_worker(&g->privilege, &why) == 0) {
		/* The supervisor's death becomes a SIGTERM, unless it died before this call. */
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
		if (getppid() != supervisor)
			return 0;
		if (enter_sandbox(g, index, &why) == 0 && worker_run(&setup, &why) == 0)
			return 0;
	}
	log_event(LOG_LEVEL_ERROR, "worker startup failed", "cause=%s remedy=%s", why.text,
	    why.remedy);
	return -1;
}

/* Starts the workers that are due. In a worker it returns at its end, with `in_worker' set. */
static void
start_due_workers(struct supervisor *s, struct deadline now)
{
	struct generation *g = s->newest;
	pid_t supervisor = getpid();
	size_t index;
	pid_t pid;

	while (!s->stopping && generation_next_due(g, now, &index)) {
		pid = fork();
		if (pid == 0) {
			s->in_worker = true;
			s->worker_failed = worker_main(s, g, index, supervisor) == -1;
			return;
		}
		if (pid == -1) {
			supervisor_log_fork_failed(errno);
			generation_worker_not_started(g, index, now);
		} else {
			generation_worker_started(g, index, pid, now);
		}
	}
}

static void
reap(struct supervisor *s, struct deadline now)
{
	struct generation *g;
	size_t index;
	int status;
	pid_t pid;

	/* As the first process of a container it inherits others' children, too. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if ((g = generation_find(s->newest, pid, &index)) != NULL &&
		    generation_worker_ended(g, index, status, now))
			supervisor_log_death(pid, status);
}

/* ---- reload ---- */

/* Logs why the old configuration stays: CAUSE is the first of COUNT errors. */
static void
reload_failed(struct supervisor *s, const char *cause, size_t count, const char *remedy)
{
	supervisor_log_reload_failed(cause, count, remedy);
	service_reload_failed(&s->service, cause);
}

static void
report_errors(struct supervisor *s, const struct config_report *report)
{
	const char *errors = report->errors != NULL ? report->errors : "out of memory";
	size_t count = report->error_count;
	char first[512];

	(void)snprintf(first, sizeof first, "%.*s", (int)strcspn(errors, "\n"), errors);
	reload_failed(s, first, count, count > 1 ? "`dot-proxy check' shows all" : NULL);
}

static struct config *
read_config(struct supervisor *s)
{
	const struct supervisor_launch *launch = s->launch;
	struct config_report report;
	struct config *config = config_load(launch->config_file, &report);

	if (config == NULL)
		report_errors(s, &report);
	config_report_free(&report);
	if (config != NULL && launch->listen != NULL &&
	    config_set_listen(config, launch->listen) != NULL) {
		reload_failed(s, "an upstream has the address that -l names", 1, NULL);
		config_free(config);
		return NULL;
	}
	return config;
}

/* Starts a new generation, and lets the old one drain. An invalid file changes nothing. */
static void
reload(struct supervisor *s, struct deadline now)
{
	struct config *config;
	struct generation *g;
	struct failure why;
	bool misconfigured;

	s->reload_wanted = false;
	service_reloading(&s->service);
	filewatch_record(&s->file, s->launch->config_file);
	if ((config = read_config(s)) == NULL)
		return;
	if (s->passed.count == 0)
		(void)listeners_replace(&s->newest->listeners, true);
	g = generation_new(config, &s->shared, &s->passed, s->newest, &misconfigured, &why);
	if (g == NULL) {
		reload_failed(s, why.text, 1, why.remedy);
		return;
	}
	s->newest = g;
	log_set_level(s->launch->verbose ? LOG_LEVEL_DEBUG : g->config->log.level);
	start_due_workers(s, now);
}

/* When the newest generation has come to serve, those before it drain and go. */
static void
hand_over(struct supervisor *s, struct deadline now)
{
	struct generation *g = s->newest;

	if (g->served || generation_count_serving(g) == 0)
		return;
	g->served = true;
	log_event(LOG_LEVEL_INFO, g->older == NULL ? "serving" : "configuration reloaded",
	    "file=%s workers=%d version=%s", s->launch->config_file, g->config->workers,
	    s->launch->version);
	supervisor_log_cleartext(g->config);
	for (g = g->older; g != NULL; g = g->older) {
		listeners_forget_shared(&g->listeners, &s->newest->listeners);
		listeners_close(&g->listeners);
		generation_retire(g, now);
	}
}

/* No worker of the newest generation can start: the one before it goes on, if there is one. */
static bool
fall_back(struct supervisor *s, struct deadline now)
{
	struct generation *g = s->newest;

	if (g->older == NULL || g->older->retiring)
		return false;
	reload_failed(s, "no worker could start with it", 1, NULL);
	generation_give_up(g, now);
	s->newest = g->older;
	listeners_forget_shared(&g->listeners, &s->newest->listeners);
	listeners_close(&g->listeners);
	/* Its rows in shared memory are in use until its workers have been reaped. */
	g->older = s->newest->older;
	s->newest->older = g;
	return true;
}

/* Frees the generations without workers, and returns how many of the old ones are left. */
static size_t
sweep(struct supervisor *s, struct deadline now)
{
	struct generation **at = &s->newest->older;
	size_t left = 0;

	while (*at != NULL) {
		struct generation *g = *at;

		if (g->retiring && !generation_has_workers(g)) {
			*at = g->older;
			generation_free(g, &s->newest->listeners);
			continue;
		}
		generation_kill_overdue(g, now);
		left++;
		at = &g->older;
	}
	return left;
}

/* ---- the loop ---- */

static void
stop(struct supervisor *s, struct deadline now)
{
	struct generation *g;

	service_stopping(&s->service);
	/* The second time: at once. */
	for (g = s->newest; s->stopping && g != NULL; g = g->older)
		generation_signal(g, SIGKILL);
	for (g = s->newest; !s->stopping && g != NULL; g = g->older)
		generation_stop(g, now);
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

/* Without the status socket `healthcheck' uses the file. */
static void
open_status(struct supervisor *s)
{
	struct failure why;

	if (s->status != -1)
		return;
	s->status = status_listen(s->launch->config_file, &why);
	/* Edge-triggered: a connection that cannot be accepted waits for the next tick. */
	if (s->status != -1)
		(void)waitset_add(s->set, s->status, EPOLLIN | EPOLLET, WAITSET_STATUS, 0);
	else if (!s->status_failed)
		log_event(LOG_LEVEL_INFO, "no status socket", "cause=%s remedy=%s", why.text,
		    "`healthcheck' reads the configuration file instead; -l says where to ask");
	s->status_failed = s->status == -1;
}

/* Replaces UDP sockets that were shut down: with the old ones, workers spin or lose answers. */
static void
replace_shut_down(struct supervisor *s)
{
	struct generation *g = s->newest;
	/* A faulty worker may report anything: listeners_replace() checks. */
	bool reported = stats_take_shut_down(s->shared.stats, (size_t)g->number);

	if (s->passed.count == 0 && listeners_replace(&g->listeners, reported))
		s->reload_wanted = true;
}

static void
tick(struct supervisor *s, struct deadline now)
{
	struct generation *g;
	bool late = deadline_passed(deadline_after(s->tick_at, PAUSED_MS), now);

	s->tick_at = deadline_after(now, TICK_MS);
	open_status(s);
	if (s->status != -1)
		status_answer(s->status, serving_config(s));
	/* After the whole container was paused, give workers time to send a heartbeat. */
	for (g = s->newest; !late && g != NULL; g = g->older)
		generation_kill_stuck(g, now);
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
	struct deadline d = deadline_sooner(s->tick_at, s->service.ping_at);

	return s->stopping ? d : deadline_sooner(d, generation_next_start(s->newest));
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
		case SIGUSR2:
			scoreboard_clear_caches(&s->shared);
			log_event(LOG_LEVEL_INFO, "cache cleared", "by=%s", "SIGUSR2");
			break;
		default:
			/* SIGCHLD, which has ended the wait, or one without a meaning. */
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

/* Runs until all workers have gone. In a worker it returns when that has ended. */
static void
watch(struct supervisor *s)
{
	struct deadline now = deadline_now();
	size_t retiring = 0;

	s->tick_at = deadline_after(now, TICK_MS);
	while (!s->stopping || retiring > 0 || generation_has_workers(s->newest)) {
		start_due_workers(s, now);
		if (s->in_worker)
			return;
		wait_for_events(s);
		now = deadline_now();
		reap(s, now);
		hand_over(s, now);
		if (!s->stopping && generation_startup_failed(s->newest) && !fall_back(s, now))
			return;
		retiring = sweep(s, now);
		generation_kill_overdue(s->newest, now);
		if (deadline_passed(s->tick_at, now))
			tick(s, now);
		if (s->reload_wanted && !s->stopping && s->newest->served &&
		    retiring < RETIRING_MAX)
			reload(s, now);
		if (s->in_worker)
			return;
		service_notify(&s->service, s->newest, now);
	}
}

/* ---- start and end ---- */

/* Blocks everything for take_signals() to fetch. Fatal and job-control signals stay unblocked. */
static void
block_signals(sigset_t *signals)
{
	static const int unblocked[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP,
		SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT };
	size_t i;

	(void)sigfillset(signals);
	for (i = 0; i < sizeof unblocked / sizeof unblocked[0]; i++)
		(void)sigdelset(signals, unblocked[i]);
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
fail_start(struct supervisor *s, const struct failure *why, enum supervisor_end end)
{
	scoreboard_free(&s->shared);
	log_event(LOG_LEVEL_ERROR, "cannot start", "cause=%s remedy=%s", why->text, why->remedy);
	return end;
}

static enum supervisor_end
ended(const struct supervisor *s)
{
	if (s->in_worker)
		return s->worker_failed ? SUPERVISOR_FAILED : SUPERVISOR_STOPPED;
	/* Unless it was told to stop, watch() ends only when no worker can start. */
	if (!s->stopping) {
		log_event(LOG_LEVEL_ERROR, "cannot start", "cause=%s", "no worker could start");
		return SUPERVISOR_FAILED;
	}
	log_event(LOG_LEVEL_INFO, "stopped", NULL);
	return SUPERVISOR_STOPPED;
}

/* Takes the sockets of the service manager, which replace the addresses of the configuration. */
static int
take_passed(struct supervisor *s, struct failure *why)
{
	if (listeners_take_passed(&s->passed, why) == -1)
		return -1;
	if (s->passed.count == 0 || s->launch->listen == NULL)
		return 0;
	(void)fail_with(why, "-l cannot be combined with socket activation");
	fail_remedy(why, "leave out -l, or disable the socket unit");
	return -1;
}

static void
free_generations(struct supervisor *s)
{
	struct generation *g;

	while ((g = s->newest->older) != NULL) {
		s->newest->older = g->older;
		generation_free(g, &s->newest->listeners);
	}
	generation_free(s->newest, NULL);
}

enum supervisor_end
supervisor_run(const struct supervisor_launch *launch, struct config *config)
{
	struct supervisor s = { .launch = launch,
		.set = -1,
		.signals = -1,
		.wakeup = -1,
		.status = -1 };
	struct failure why;
	enum supervisor_end end;
	bool misconfigured;
	sigset_t signals;

	block_signals(&signals);
	/* First, before anything else could get one of their numbers. */
	if (take_passed(&s, &why) == -1) {
		config_free(config);
		return fail_start(&s, &why, SUPERVISOR_MISCONFIGURED);
	}
	service_open(&s.service);
	s.descriptors = net_raise_descriptor_limit();
	filewatch_record(&s.file, launch->config_file);
	if (share_memory(&s, &why) == -1 || open_waitset(&s, &signals, &why) == -1 ||
	    privilege_raise(&why) == -1) {
		config_free(config);
		return fail_start(&s, &why, SUPERVISOR_FAILED);
	}
	s.newest = generation_new(config, &s.shared, &s.passed, NULL, &misconfigured, &why);
	if (s.newest == NULL)
		return fail_start(&s, &why,
		    misconfigured ? SUPERVISOR_MISCONFIGURED : SUPERVISOR_FAILED);
	if (privilege_limit_supervisor(&why) == -1) {
		generation_free(s.newest, NULL);
		return fail_start(&s, &why, SUPERVISOR_FAILED);
	}
	open_status(&s);
	watch(&s);
	end = ended(&s);
	free_generations(&s);
	scoreboard_free(&s.shared);
	close_waitset(&s);
	(void)close(s.wakeup);
	return end;
}
