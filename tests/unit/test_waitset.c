#include "base/waitset.h"

#include <unistd.h>

#include "unit.h"

/* Whether there is something to read, and whether the wait may block. */
static const struct signal_row {
	const char *name;
	bool readable;
	int wait_ms;
} signal_rows[] = {
	{ "a signal ends the wait", false, 10000 },
	{ "a signal arrives together with events", true, 10000 },
	{ "a signal arrives with timeout 0", false, 0 },
	{ "a signal arrives with events and timeout 0", true, 0 },
};

static void
receives_signals_while_waiting(void **state)
{
	const struct signal_row *row = *state;
	struct epoll_event events[3];
	sigset_t signals, before;
	bool signalled = false, readable = false;
	int set = waitset_new();
	int ends[2];
	size_t count, i;
	int fd;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(waitset_add(set, ends[0], EPOLLIN, WAITSET_CLIENT, 7), 0);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGUSR1);
	assert_int_equal(sigprocmask(SIG_BLOCK, &signals, &before), 0);
	fd = waitset_add_signals(set, &signals);
	assert_int_not_equal(fd, -1);
	assert_int_equal(waitset_next_signal(fd), 0);
	if (row->readable)
		assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(raise(SIGUSR1), 0);
	count = waitset_wait(set, events, LENGTH(events), deadline_in(row->wait_ms));
	for (i = 0; i < count; i++) {
		signalled |= waitset_owner(&events[i]) == WAITSET_SIGNALS;
		readable |= waitset_owner(&events[i]) == WAITSET_CLIENT &&
		    waitset_index(&events[i]) == 7;
	}
	assert_int_equal(count, 1 + row->readable);
	assert_true(signalled);
	assert_int_equal(readable, row->readable);
	assert_int_equal(waitset_next_signal(fd), SIGUSR1);
	assert_int_equal(waitset_next_signal(fd), 0);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	(void)close(fd);
	(void)close(ends[0]);
	(void)close(ends[1]);
	(void)close(set);
}

int
main(void)
{
	return RUN_ROWS(signal_rows, receives_signals_while_waiting);
}
