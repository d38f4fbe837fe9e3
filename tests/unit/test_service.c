#include "process/service.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "generations.h"
#include "unit.h"

enum { WATCHDOG_MS = 3000 };

static const struct listeners no_passed = { .count = 0 };

/* A generation of two workers, and a service manager that is notified of it. */
struct bench {
	struct scoreboard shared;
	struct generation *g;
	struct service service;
	struct deadline now;
	pid_t pids[2];
	int manager;
};

/* Listens at a name of the kernel's choice, and has the environment name it. */
static int
open_manager(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = sizeof at;
	char name[32];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at.sun_family), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	len -= (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1;
	(void)snprintf(name, sizeof name, "@%.*s", (int)len, at.sun_path + 1);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	assert_int_equal(setenv("WATCHDOG_USEC", "3000000", 1), 0);
	return fd;
}

static struct bench *
begin(void)
{
	struct bench *b = calloc(1, sizeof *b);
	struct failure why;
	bool misconfigured;
	size_t i;

	assert_non_null(b);
	assert_int_equal(scoreboard_init(&b->shared), 0);
	b->g = generation_new(configure(free_port("127.77.1.2"), 2, ""), &b->shared, &no_passed,
	    NULL, &misconfigured, &why);
	assert_non_null(b->g);
	b->manager = open_manager();
	service_open(&b->service);
	b->now = deadline_in(20);
	for (i = 0; i < LENGTH(b->pids); i++)
		b->pids[i] = start_next(b->g, b->now);
	return b;
}

static void
serve(struct bench *b, size_t index)
{
	stats_set_state(generation_stats(b->g, index), STATS_SERVING);
	b->g->served = true;
}

static void
die(struct bench *b, size_t index)
{
	int status;

	assert_int_equal(kill(b->pids[index], SIGKILL), 0);
	assert_int_equal(waitpid(b->pids[index], &status, 0), b->pids[index]);
	(void)generation_worker_ended(b->g, index, status, b->now);
}

static void
end(struct bench *b)
{
	size_t i;

	for (i = 0; i < LENGTH(b->pids); i++)
		if (b->g->slots[i].pid != 0)
			die(b, i);
	service_close(&b->service);
	generation_free(b->g, NULL);
	scoreboard_free(&b->shared);
	(void)close(b->manager);
	free(b);
}

/* The next message to the manager, "" if there is none. */
static const char *
next(const struct bench *b)
{
	static char message[4096];
	ssize_t n = recv(b->manager, message, sizeof message - 1, 0);

	message[n > 0 ? n : 0] = '\0';
	return message;
}

/* The same after a notification at a moment that is MS later, pings aside. */
static const char *
notified(struct bench *b, int ms)
{
	const char *message;

	b->now = deadline_after(b->now, ms);
	service_notify(&b->service, b->g, b->now);
	while (strcmp(message = next(b), "WATCHDOG=1\n") == 0)
		continue;
	return message;
}

static void
is_ready_when_a_worker_serves(void **state)
{
	struct bench *b = begin();

	(void)state;
	assert_string_equal(notified(b, 0), "");
	serve(b, 0);
	assert_string_equal(notified(b, 10),
	    "READY=1\nSTATUS=1 of 2 workers, 2 upstreams");
	assert_string_equal(notified(b, 10), "");
	serve(b, 1);
	assert_string_equal(notified(b, 10), "STATUS=2 workers, 2 upstreams");
	die(b, 0);
	assert_string_equal(notified(b, 10), "STATUS=1 of 2 workers, 2 upstreams");
	end(b);
}

static void
down_upstreams_are_listed(void **state)
{
	struct bench *b = begin();

	(void)state;
	serve(b, 0);
	serve(b, 1);
	(void)notified(b, 0);
	(void)health_record_failure(health_row(b->shared.health, 1), b->now);
	assert_string_equal(notified(b, 10),
	    "STATUS=2 workers, 2 upstreams, 1 down: 192.0.2.2:853 two.test");
	(void)health_record_response(health_row(b->shared.health, 1));
	assert_string_equal(notified(b, 10), "STATUS=2 workers, 2 upstreams");
	end(b);
}

static void
reload_result_is_notified(void **state)
{
	struct bench *b = begin();

	(void)state;
	serve(b, 0);
	serve(b, 1);
	(void)notified(b, 0);
	service_reloading(&b->service);
	assert_memory_equal(next(b), "RELOADING=1\nMONOTONIC_USEC=", 27);
	service_reload_failed(&b->service, "c:1:1: no\nREADY=0");
	assert_string_equal(notified(b, 10),
	    "READY=1\nSTATUS=reload failed: c:1:1: no?READY=0; 2 workers, 2 upstreams");
	service_reloading(&b->service);
	(void)next(b);
	assert_string_equal(notified(b, 10), "READY=1\nSTATUS=2 workers, 2 upstreams");
	end(b);
}

static void
is_draining_while_stopping(void **state)
{
	struct bench *b = begin();

	(void)state;
	serve(b, 0);
	(void)notified(b, 0);
	service_stopping(&b->service);
	assert_string_equal(next(b), "STOPPING=1\nSTATUS=draining");
	die(b, 0);
	assert_string_equal(notified(b, 10), "");
	end(b);
}

/* How many watchdog pings come in the next SECONDS, of which the service is called each 100 ms. */
static int
count_pings(struct bench *b, int seconds)
{
	int count = 0;
	int i;

	for (i = 0; i < 10 * seconds; i++) {
		b->now = deadline_after(b->now, 100);
		service_notify(&b->service, b->g, b->now);
		for (;;) {
			const char *message = next(b);

			if (*message == '\0')
				break;
			count += strcmp(message, "WATCHDOG=1\n") == 0;
		}
	}
	return count;
}

static void
pings_while_a_worker_serves(void **state)
{
	struct bench *b = begin();

	(void)state;
	serve(b, 0);
	/* More than twice in the time after which the manager gives up. */
	assert_in_range(count_pings(b, 30), 2 * 30000 / WATCHDOG_MS, 4 * 30000 / WATCHDOG_MS);
	die(b, 0);
	/* A replacement may start for a while; then systemd must restart the service. */
	assert_in_range(count_pings(b, 5), 3, 6);
	assert_int_equal(count_pings(b, 10), 0);
	serve(b, 1);
	assert_in_range(count_pings(b, 3), 2, 4);
	die(b, 1);
	service_stopping(&b->service);
	(void)count_pings(b, 5);
	assert_in_range(count_pings(b, 30), 2 * 30000 / WATCHDOG_MS, 4 * 30000 / WATCHDOG_MS);
	end(b);
}

static void
works_without_a_service_manager(void **state)
{
	struct bench *b = begin();
	struct service alone;

	(void)state;
	service_open(&alone);
	assert_int_equal(alone.notify.fd, -1);
	serve(b, 0);
	service_reloading(&alone);
	service_notify(&alone, b->g, b->now);
	service_stopping(&alone);
	service_close(&alone);
	assert_string_equal(next(b), "");
	end(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_ready_when_a_worker_serves),
		cmocka_unit_test(down_upstreams_are_listed),
		cmocka_unit_test(reload_result_is_notified),
		cmocka_unit_test(is_draining_while_stopping),
		cmocka_unit_test(pings_while_a_worker_serves),
		cmocka_unit_test(works_without_a_service_manager),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
