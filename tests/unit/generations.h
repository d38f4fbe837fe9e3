#ifndef DOTPROXY_GENERATIONS_H
#define DOTPROXY_GENERATIONS_H

#include <sys/socket.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "process/generation.h"
#include "unit.h"

/* Generations for tests: with real sockets and real processes, which only wait for a signal. */

enum { QUERY_MS = 500 };

/* A port of ADDRESS that is free now. */
static inline unsigned
free_port(const char *address)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_not_equal(fd, -1);
	assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)close(fd);
	return ntohs(at.sin_port);
}

static inline struct config *
configure(unsigned port, int workers, const char *rest)
{
	struct config_report report;
	struct config *config;
	char text[512];

	(void)snprintf(text, sizeof text,
	    "listen: 127.77.1.1:%u\nworkers: %d\ntimeouts: {query: %dms}\n"
	    "upstreams:\n  - {address: 192.0.2.1, hostname: one.test}\n"
	    "  - {address: 192.0.2.2, hostname: two.test}\n%s",
	    port, workers, QUERY_MS, rest);
	config = config_read(text, strlen(text), "c", &report);
	if (report.errors != NULL)
		print_error("%s", report.errors);
	assert_non_null(config);
	config_report_free(&report);
	return config;
}

/* A process for the next slot that is due; -1 when none is. */
static inline pid_t
start_next(struct generation *g, struct deadline now)
{
	size_t index;
	pid_t pid;

	if (!generation_next_due(g, now, &index))
		return -1;
	if ((pid = fork()) == 0) {
		sigset_t none;

		/* A shell that starts the tests in the background has it ignored. */
		(void)signal(SIGQUIT, SIG_DFL);
		(void)sigemptyset(&none);
		for (;;)
			(void)sigsuspend(&none);
	}
	assert_int_not_equal(pid, -1);
	generation_worker_started(g, index, pid, now);
	return pid;
}

#endif
