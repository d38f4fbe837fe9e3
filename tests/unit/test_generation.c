#include "process/generation.h"

#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "generations.h"
#include "unit.h"

static const struct deadline start = { 1000000000 };
static const struct listeners no_passed = { .count = 0 };
static struct scoreboard shared;

static int
make_scoreboard(void **state)
{
	(void)state;
	return scoreboard_init(&shared);
}

static int
free_scoreboard(void **state)
{
	(void)state;
	scoreboard_free(&shared);
	return 0;
}

static struct generation *
start_replacement(struct generation *older, unsigned port, int workers)
{
	struct failure why = { .text = "" };
	bool misconfigured;
	struct generation *g = generation_new(configure(port, workers, ""), &shared, &no_passed,
	    older, &misconfigured, &why);

	if (g == NULL)
		print_error("%s\n", why.text);
	assert_non_null(g);
	return g;
}

static struct generation *
begin(int workers)
{
	return start_replacement(NULL, free_port("127.77.1.1"), workers);
}

/* Waits for the end of a worker and reports it; returns whether it counts as a death. */
static bool
reap(struct generation *newest, pid_t pid, struct deadline now)
{
	struct generation *g;
	size_t index;
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	g = generation_find(newest, pid, &index);
	assert_non_null(g);
	return generation_worker_ended(g, index, status, now);
}

/* The same for one that dies now. */
static bool
kill_and_reap(struct generation *newest, pid_t pid, struct deadline now)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	return reap(newest, pid, now);
}

static void
starts_each_worker_once(void **state)
{
	struct deadline before = deadline_now();
	struct generation *g = begin(3);
	struct deadline now = deadline_in(20);
	pid_t pids[3];
	size_t index;
	size_t i;

	(void)state;
	assert_false(generation_has_workers(g));
	/* The first has a head start. */
	pids[0] = start_next(g, deadline_now());
	assert_int_not_equal(pids[0], -1);
	assert_in_range(generation_next_start(g).at_us, deadline_after(before, 10).at_us,
	    deadline_in(10).at_us);
	assert_int_equal(generation_find(g, pids[0], &index), g);
	assert_int_equal(index, 0);
	for (i = 1; i < 3; i++)
		pids[i] = start_next(g, now);
	assert_int_equal(start_next(g, now), -1);
	assert_int_equal(generation_next_start(g).at_us, DEADLINE_NEVER.at_us);
	assert_true(generation_has_workers(g));
	assert_int_equal(generation_count_serving(g), 0);
	stats_set_state(generation_stats(g, 2), STATS_SERVING);
	assert_int_equal(generation_count_serving(g), 1);
	assert_null(generation_find(g, getpid(), &index));
	for (i = 0; i < 3; i++)
		assert_true(kill_and_reap(g, pids[i], now));
	assert_int_equal(generation_count_serving(g), 0);
	assert_false(generation_has_workers(g));
	generation_free(g, NULL);
	generation_free(NULL, NULL);
}

/* Lifetimes of workers, and how long after its death the last one is restarted. */
static const struct restart_row {
	const char *name;
	int lived_ms;
	int deaths;
	int after_ms;
} restart_rows[] = {
	{ "after a long life", 1000, 1, 0 },
	{ "after many long lives", 60000, 9, 0 },
	{ "after one short life", 999, 1, 0 },
	{ "after two short lives", 10, 2, 200 },
	{ "after three short lives", 10, 3, 400 },
	{ "after seven short lives", 10, 7, 6400 },
	{ "after many short lives", 10, 12, 10000 },
};

static void
restarts_a_worker(void **state)
{
	const struct restart_row *row = *state;
	struct generation *g = begin(1);
	struct deadline now = deadline_in(20);
	pid_t pid;
	int i;

	for (i = 0; i < row->deaths; i++) {
		pid = start_next(g, now);
		assert_int_not_equal(pid, -1);
		now = deadline_after(now, row->lived_ms);
		assert_true(kill_and_reap(g, pid, now));
		if (i < row->deaths - 1)
			now = deadline_after(now, 10000);
	}
	assert_int_equal(generation_next_start(g).at_us, deadline_after(now, row->after_ms).at_us);
	if (row->after_ms > 0)
		assert_int_equal(start_next(g, deadline_after(now, row->after_ms - 1)), -1);
	pid = start_next(g, deadline_after(now, row->after_ms));
	assert_int_not_equal(pid, -1);
	(void)kill_and_reap(g, pid, now);
	generation_free(g, NULL);
}

/* For all workers together, however many die. */
static void
restart_delay_grows_for_short_lived_workers(void **state)
{
	struct generation *g = begin(4);
	struct deadline now = deadline_in(20);
	pid_t pids[4];
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		pids[i] = start_next(g, now);
	for (i = 0; i < 4; i++)
		assert_true(kill_and_reap(g, pids[i], now));
	for (i = 0; i < 4; i++) {
		pids[i] = start_next(g, now);
		assert_int_not_equal(pids[i], -1);
		assert_int_equal(start_next(g, deadline_after(now, 99)), -1);
		now = deadline_after(now, 100);
	}
	for (i = 0; i < 4; i++)
		(void)kill_and_reap(g, pids[i], now);
	generation_free(g, NULL);
}

static void
failed_fork_backs_off(void **state)
{
	static const int pauses[] = { 200, 400, 800, 1600, 3200, 6400, 10000, 10000 };
	struct generation *g = begin(1);
	struct deadline now = deadline_in(20);
	size_t index;
	pid_t pid;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(pauses); i++) {
		assert_true(generation_next_due(g, now, &index));
		generation_worker_not_started(g, index, now);
		assert_int_equal(generation_next_start(g).at_us,
		    deadline_after(now, pauses[i]).at_us);
		now = deadline_after(now, pauses[i]);
	}
	/* It is no death. */
	assert_false(generation_startup_failed(g));
	pid = start_next(g, now);
	(void)kill_and_reap(g, pid, deadline_after(now, 5000));
	generation_free(g, NULL);
}

static void
start_fails_if_no_worker_serves(void **state)
{
	struct generation *g = begin(2);
	struct deadline now = deadline_in(20);
	pid_t pid;
	int i;

	(void)state;
	for (i = 0; i < GENERATION_MAX_STARTUP_FAILURES; i++) {
		assert_false(generation_startup_failed(g));
		pid = start_next(g, now);
		/* One that has served before it dies is no failure to start. */
		if (i == 0) {
			stats_set_state(generation_stats(g, 0), STATS_SERVING);
			assert_true(kill_and_reap(g, pid, now));
			pid = start_next(g, now);
		}
		assert_true(kill_and_reap(g, pid, now));
		now = deadline_after(now, 20000);
	}
	assert_true(generation_startup_failed(g));
	g->served = true;
	assert_false(generation_startup_failed(g));
	generation_free(g, NULL);
}

/* The signal for its workers, and when they are killed after that. */
static const struct stop_row {
	const char *name;
	void (*stop)(struct generation *, struct deadline);
	int signal_number;
	int kill_ms;
	bool is_death;
} stop_rows[] = {
	{ "retires", generation_retire, SIGQUIT, 30000 + QUERY_MS + GENERATION_STOP_GRACE_MS,
	    true },
	{ "stops", generation_stop, SIGTERM, QUERY_MS + GENERATION_STOP_GRACE_MS, true },
	{ "is given up", generation_give_up, SIGKILL, 0, false },
};

static void
signals_its_workers_to_stop(void **state)
{
	const struct stop_row *row = *state;
	struct generation *g = begin(1);
	struct deadline now = deadline_in(20);
	pid_t pid = start_next(g, now);
	size_t index;
	int status;

	row->stop(g, now);
	assert_true(g->retiring);
	assert_int_equal(g->kill_at.at_us, deadline_after(now, row->kill_ms).at_us);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), row->signal_number);
	/* A worker that drains ends with status 0, and that is no death. */
	assert_int_equal(generation_find(g, pid, &index), g);
	assert_int_equal(generation_worker_ended(g, index, status, now), row->is_death);
	generation_free(g, NULL);
}

static void
workers_that_do_not_exit_are_killed(void **state)
{
	struct generation *g = begin(1);
	struct deadline now = deadline_in(20);
	sigset_t quit;
	pid_t pid;
	int status;

	(void)state;
	/* Inherited by the worker, which never lets it in. */
	(void)sigemptyset(&quit);
	(void)sigaddset(&quit, SIGQUIT);
	(void)sigprocmask(SIG_BLOCK, &quit, NULL);
	pid = fork();
	if (pid == 0)
		for (;;)
			(void)pause();
	(void)sigprocmask(SIG_UNBLOCK, &quit, NULL);
	generation_worker_started(g, 0, pid, now);
	generation_retire(g, now);
	generation_kill_overdue(g, deadline_after(now, 30000));
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	generation_kill_overdue(g, deadline_after(now, 40000));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_true(generation_worker_ended(g, 0, status, now));
	generation_free(g, NULL);
}

static void
worker_without_heartbeat_is_killed(void **state)
{
	struct generation *g = begin(2);
	struct deadline now = deadline_in(20);
	pid_t pids[2];
	int status;
	int i;

	(void)state;
	pids[0] = start_next(g, now);
	pids[1] = start_next(g, now);
	for (i = 0; i < 6; i++) {
		stats_beat(generation_stats(g, 1), now);
		generation_kill_stuck(g, now);
		now = deadline_after(now, 1000);
	}
	assert_int_equal(waitpid(pids[0], &status, 0), pids[0]);
	assert_int_equal(waitpid(pids[1], &status, WNOHANG), 0);
	assert_true(generation_worker_ended(g, 0, SIGKILL, now));
	(void)kill_and_reap(g, pids[1], now);
	generation_free(g, NULL);
}

/* A reload: the sockets and what is known of the upstreams go from the old one to the new one. */
static void
new_generation_inherits_sockets_and_state(void **state)
{
	unsigned port = free_port("127.77.1.1");
	struct generation *old = start_replacement(NULL, port, 1);
	struct generation *g;
	struct upstream_state upstream;
	struct deadline now = deadline_now();
	int tcp = old->listeners.at[0].tcp;
	pid_t pid = start_next(old, now);
	size_t index;
	int fd;

	(void)state;
	g = start_replacement(old, port, 2);
	assert_ptr_equal(g->older, old);
	assert_int_equal(g->listeners.at[0].tcp, tcp);
	assert_int_not_equal(g->number, old->number);
	assert_int_equal(generation_find(g, pid, &index), old);
	/* The rows are the same ones. */
	upstream_state(g->upstreams, 1, start, &upstream);
	assert_int_equal(upstream.failures, 0);
	(void)health_record_failure(health_row(shared.health, 1), now);
	upstream_state(g->upstreams, 1, now, &upstream);
	assert_int_equal(upstream.failures, 1);
	(void)health_record_response(health_row(shared.health, 1));
	/* All of the new ones can start at once, and what the old one leaves stays open. */
	assert_true(generation_next_start(g).at_us <= now.at_us);
	generation_retire(old, now);
	(void)reap(g, pid, now);
	generation_free(old, &g->listeners);
	g->older = NULL;
	assert_int_not_equal(fd = dup(tcp), -1);
	(void)close(fd);
	generation_free(g, NULL);
	assert_int_equal(dup(tcp), -1);
}

static void
startup_failure_reason_is_reported(void **state)
{
	unsigned port = free_port("127.77.1.1");
	struct generation *first = start_replacement(NULL, port, 1);
	struct failure why;
	bool misconfigured;

	(void)state;
	/* Nobody but the first may listen there. */
	assert_null(generation_new(configure(port, 1, ""), &shared, &no_passed, NULL,
	    &misconfigured, &why));
	assert_false(misconfigured);
	assert_null(generation_new(configure(port, 1, "tls: {ca_file: /no/such/file}\n"), &shared,
	    &no_passed, first, &misconfigured, &why));
	assert_true(misconfigured);
	assert_non_null(strstr(why.text, "/no/such/file"));
	/* Failed generations keep no resources: all later ones can start. */
	assert_int_equal(scoreboard_add_generation(&shared), 1);
	scoreboard_remove_generation(&shared, 1);
	assert_int_not_equal(dup(first->listeners.at[0].tcp), -1);
	generation_free(first, NULL);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(starts_each_worker_once),
		cmocka_unit_test(restart_delay_grows_for_short_lived_workers),
		cmocka_unit_test(failed_fork_backs_off),
		cmocka_unit_test(start_fails_if_no_worker_serves),
		cmocka_unit_test(workers_that_do_not_exit_are_killed),
		cmocka_unit_test(worker_without_heartbeat_is_killed),
		cmocka_unit_test(new_generation_inherits_sockets_and_state),
		cmocka_unit_test(startup_failure_reason_is_reported),
	};
	const struct fixtures with_scoreboard = { NULL, NULL, make_scoreboard, free_scoreboard };

	log_set_level(LOG_LEVEL_ERROR);
	return RUN_ROWS_WITH(with_scoreboard, restart_rows, restarts_a_worker) +
	    RUN_ROWS_WITH(with_scoreboard, stop_rows, signals_its_workers_to_stop) +
	    cmocka_run_group_tests_name("generation", singles, make_scoreboard, free_scoreboard);
}
