#include "process/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "unit.h"

/* A service manager that listens at a name of the kernel's choice; NAME becomes `@...'. */
static int
manager(char name[static 32])
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = sizeof at;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at.sun_family), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	len -= (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1;
	(void)snprintf(name, 32, "@%.*s", (int)len, at.sun_path + 1);
	return fd;
}

static void
set(const char *name, const char *value)
{
	assert_int_equal(value != NULL ? setenv(name, value, 1) : unsetenv(name), 0);
}

static void
assert_environment_is_clean(void)
{
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
}

static const struct watchdog_row {
	const char *name;
	const char *usec;
	const char *pid; /* "ours": that of this process */
	int ms;
} watchdog_rows[] = {
	{ "no watchdog", NULL, NULL, 0 },
	{ "for any process", "3000000", NULL, 3000 },
	{ "for this process", "500000", "ours", 500 },
	{ "for another process", "500000", "1", 0 },
	{ "for an empty PID", "500000", "", 0 },
	{ "0", "0", "ours", 0 },
	{ "no number", "soon", "ours", 0 },
	{ "a number and more", "3000000x", "ours", 0 },
	{ "negative", "-3000000", "ours", 0 },
	{ "too long", "18446744073709551615", "ours", 2147483647 },
	{ "larger than any number", "99999999999999999999999", "ours", 0 },
};

static void
reads_the_watchdog(void **state)
{
	const struct watchdog_row *row = *state;
	struct notify n;
	char name[32];
	char ours[16];
	int fd = manager(name);

	(void)snprintf(ours, sizeof ours, "%d", (int)getpid());
	set("NOTIFY_SOCKET", name);
	set("WATCHDOG_USEC", row->usec);
	set("WATCHDOG_PID", row->pid != NULL && strcmp(row->pid, "ours") == 0 ? ours : row->pid);
	assert_int_equal(notify_open(&n, NULL), 0);
	assert_int_equal(n.watchdog_ms, row->ms);
	assert_environment_is_clean();
	notify_close(&n);
	(void)close(fd);
}

static const struct send_row {
	const char *name;
	const char *assignments;
	const char *status;
	const char *arrives;
} send_rows[] = {
	{ "an assignment", "READY=1\n", NULL, "READY=1\n" },
	{ "words", "", "2 workers", "STATUS=2 workers" },
	{ "both", "READY=1\n", "2 workers", "READY=1\nSTATUS=2 workers" },
	{ "text with newlines and =", "", "a\nREADY=1\r\t\177", "STATUS=a?READY=1???" },
	{ "invalid UTF-8", "", "\xff\xc3", "STATUS=??" },
};

static void
sends(void **state)
{
	const struct send_row *row = *state;
	struct notify n;
	char name[32];
	char got[256] = "";
	int fd = manager(name);

	set("NOTIFY_SOCKET", name);
	assert_int_equal(notify_open(&n, NULL), 0);
	assert_true(fcntl(n.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(n.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(notify_send(&n, row->assignments, row->status), 0);
	assert_int_equal(recv(fd, got, sizeof got - 1, 0), strlen(row->arrives));
	assert_string_equal(got, row->arrives);
	notify_close(&n);
	(void)close(fd);
}

static void
sends_no_more_than_fits(void **state)
{
	struct notify n;
	char name[32];
	char words[5000];
	char got[8192];
	int fd = manager(name);

	(void)state;
	memset(words, 'w', sizeof words - 1);
	words[sizeof words - 1] = '\0';
	set("NOTIFY_SOCKET", name);
	assert_int_equal(notify_open(&n, NULL), 0);
	assert_int_equal(notify_send(&n, "READY=1\n", words), 0);
	assert_in_range(recv(fd, got, sizeof got, 0), 1000, 4095);
	notify_close(&n);
	(void)close(fd);
}

static void
does_not_block_or_die(void **state)
{
	struct notify n;
	char name[32];
	int fd = manager(name);
	int sent = 0;

	(void)state;
	set("NOTIFY_SOCKET", name);
	assert_int_equal(notify_open(&n, NULL), 0);
	while (notify_send(&n, "READY=1\n", NULL) == 0)
		assert_true(++sent < 100000);
	assert_int_equal(errno, EAGAIN);
	(void)close(fd);
	assert_int_equal(notify_send(&n, "READY=1\n", NULL), -1);
	notify_close(&n);
	assert_int_equal(notify_send(&n, "READY=1\n", NULL), 0);
	notify_close(&n);
}

static const struct broken_row {
	const char *name;
	const char *socket;
	const char *why; /* NULL: notifications are off */
} broken_rows[] = {
	{ "no variable", NULL, NULL },
	{ "empty", "", NULL },
	{ "no receiver", "/nowhere/notify",
	    "NOTIFY_SOCKET: /nowhere/notify: No such file or directory" },
	{ "no such name", "@no/such/name", "NOTIFY_SOCKET: @no/such/name: Connection refused" },
	{ "relative", "notify", "NOTIFY_SOCKET: notify: not a path" },
	{ "another kind", "vsock:2:1234", "NOTIFY_SOCKET: vsock:2:1234: not a path" },
	{ "a name without one", "@", "NOTIFY_SOCKET: @: not a path" },
};

static void
notify_socket_is_optional(void **state)
{
	const struct broken_row *row = *state;
	struct failure why = { .text = "" };
	struct notify n;

	set("NOTIFY_SOCKET", row->socket);
	set("WATCHDOG_USEC", "3000000");
	assert_int_equal(notify_open(&n, &why), row->why != NULL ? -1 : 0);
	assert_string_equal(why.text, row->why != NULL ? row->why : "");
	assert_int_equal(n.fd, -1);
	assert_int_equal(n.watchdog_ms, 0);
	assert_environment_is_clean();
	assert_int_equal(notify_send(&n, "READY=1\n", NULL), 0);
}

/* A path of 108 bytes does not fit. */
static void
long_path_is_refused(void **state)
{
	char path[200];
	struct failure why;
	struct notify n;

	(void)state;
	memset(path, 'x', sizeof path);
	path[0] = '/';
	path[108] = '\0';
	set("NOTIFY_SOCKET", path);
	assert_int_equal(notify_open(&n, &why), -1);
	assert_non_null(strstr(why.text, "not a path"));
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(sends_no_more_than_fits),
		cmocka_unit_test(does_not_block_or_die),
		cmocka_unit_test(long_path_is_refused),
	};

	return RUN_ROWS(watchdog_rows, reads_the_watchdog) +
	    RUN_ROWS(send_rows, sends) +
	    RUN_ROWS(broken_rows, notify_socket_is_optional) +
	    cmocka_run_group_tests_name("notify", singles, NULL, NULL);
}
