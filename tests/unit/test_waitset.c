#include "waitset.h"

#include <unistd.h>

#include "unit.h"

static volatile sig_atomic_t arrived;

static void
on_signal(int number)
{
	(void)number;
	arrived = 1;
}

/* Whether there is something to read, and whether the wait may take a while. */
static const struct signal_row {
	const char *name;
	bool readable;
	int wait_ms;
} signal_rows[] = {
	{ "a signal ends the wait", false, 10000 },
	{ "a signal arrives beside events", true, 10000 },
	{ "a signal arrives where there is no time to wait", false, 0 },
	{ "a signal arrives beside events and without time", true, 0 },
};

static void
lets_signals_in(void **state)
{
	const struct signal_row *row = *state;
	struct sigaction action = { .sa_handler = on_signal };
	struct epoll_event event;
	sigset_t blocked, open;
	int set = waitset_new();
	int ends[2];

	arrived = 0;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(waitset_add(set, ends[0], EPOLLIN, WAITSET_CLIENT, 7), 0);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGUSR1);
	assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, &open), 0);
	if (row->readable)
		assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(arrived, 0);
	assert_int_equal(waitset_wait(set, &event, 1, deadline_in(row->wait_ms), &open), row->readable);
	assert_int_equal(arrived, 1);
	if (row->readable) {
		assert_int_equal(waitset_owner(&event), WAITSET_CLIENT);
		assert_int_equal(waitset_index(&event), 7);
	}
	assert_int_equal(sigprocmask(SIG_SETMASK, &open, NULL), 0);
	(void)close(ends[0]);
	(void)close(ends[1]);
	(void)close(set);
}

int
main(void)
{
	struct CMUnitTest tests[LENGTH(signal_rows)];
	size_t i;

	for (i = 0; i < LENGTH(signal_rows); i++)
		tests[i] = (struct CMUnitTest){ .name = signal_rows[i].name, .test_func = lets_signals_in,
			.initial_state = (void *)&signal_rows[i] };
	return cmocka_run_group_tests_name("waitset", tests, NULL, NULL);
}
