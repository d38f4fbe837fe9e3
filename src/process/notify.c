#include "process/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* systemd reads at most a page at a time. */
enum { MESSAGE_MAX = 2048 };

/* Parses a decimal number; 0 when TEXT is NULL or not a number. */
static uint64_t
parse_number(const char *text)
{
	char *end;
	unsigned long long n;

	if (text == NULL || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' ? n : 0;
}

/* WATCHDOG_USEC in milliseconds; 0 when WATCHDOG_PID names another process. */
static int
read_watchdog(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t ms = parse_number(getenv("WATCHDOG_USEC")) / 1000;
	char own[16];

	(void)snprintf(own, sizeof own, "%d", (int)getpid());
	if (pid != NULL && strcmp(pid, own) != 0)
		return 0;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* NAME is a path, or an abstract name with a leading `@'. */
static int
connect_to(const char *name, struct failure *why)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd;

	if ((*name != '/' && *name != '@') || len < 2 || len >= sizeof to.sun_path)
		return fail_with(why, "NOTIFY_SOCKET: %s: not a path", name);
	memcpy(to.sun_path, name, len);
	if (*name == '@')
		to.sun_path[0] = '\0';
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) == -1)
		return fail_errno(why, "NOTIFY_SOCKET");
	if (connect(fd, (const struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == -1) {
		(void)fail_errno(why, "NOTIFY_SOCKET: %s", name);
		(void)close(fd);
		return -1;
	}
	return fd;
}

int
notify_open(struct notify *n, struct failure *why)
{
	const char *name = getenv("NOTIFY_SOCKET");
	bool wanted = name != NULL && *name != '\0';

	*n = (struct notify){ .fd = wanted ? connect_to(name, why) : -1 };
	if (n->fd != -1)
		n->watchdog_ms = read_watchdog();
	/* Child processes are not the service and must not send notifications. */
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	return wanted && n->fd == -1 ? -1 : 0;
}

int
notify_send(const struct notify *n, const char *assignments, const char *status)
{
	char message[MESSAGE_MAX];
	size_t words = strlen(assignments);
	size_t i;

	if (n->fd == -1)
		return 0;
	(void)snprintf(message, sizeof message, "%s%s%s", assignments,
	    status != NULL ? "STATUS=" : "", status != NULL ? status : "");
	/* A newline in a file name would begin another assignment. */
	for (i = words; i < sizeof message && message[i] != '\0'; i++)
		if (message[i] < ' ' || message[i] > '~')
			message[i] = '?';
	return send(n->fd, message, strlen(message), MSG_NOSIGNAL) == -1 ? -1 : 0;
}

void
notify_close(struct notify *n)
{
	if (n->fd != -1)
		(void)close(n->fd);
	*n = (struct notify){ .fd = -1 };
}
