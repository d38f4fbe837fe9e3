#include "frontend/acceptor.h"

#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "unit.h"

enum { SOCKETS = 2 };

struct bench {
	struct acceptor acceptor;
	int set;
	int sockets[SOCKETS];
};

/* Two sockets in each of which a datagram waits. */
static struct bench
begin(void)
{
	struct bench b = { .set = waitset_new() };
	size_t i;

	for (i = 0; i < SOCKETS; i++) {
		struct sockaddr_in at = { .sin_family = AF_INET };
		socklen_t len = sizeof at;

		at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		b.sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(b.sockets[i], (struct sockaddr *)&at, len), 0);
		assert_int_equal(getsockname(b.sockets[i], (struct sockaddr *)&at, &len), 0);
		assert_int_equal(sendto(b.sockets[i], "", 1, 0, (struct sockaddr *)&at, len), 1);
	}
	acceptor_init(&b.acceptor, b.set, WAITSET_DATAGRAMS, b.sockets, SOCKETS);
	return b;
}

static void
end(struct bench *b)
{
	size_t i;

	for (i = 0; i < SOCKETS; i++)
		(void)close(b->sockets[i]);
	(void)close(b->set);
}

/* How many sockets are reported as ready. */
static size_t
reported(const struct bench *b)
{
	struct epoll_event events[SOCKETS];
	size_t count = waitset_wait(b->set, events, SOCKETS, deadline_now());
	size_t i;

	for (i = 0; i < count; i++) {
		assert_int_equal(waitset_owner(&events[i]), WAITSET_DATAGRAMS);
		assert_in_range(waitset_index(&events[i]), 0, SOCKETS - 1);
	}
	return count;
}

static struct deadline
at(int64_t ms)
{
	return (struct deadline){ ms * 1000 };
}

static void
test_listens_until_stopped(void **state)
{
	struct bench b = begin();

	(void)state;
	assert_int_equal(reported(&b), 0);
	assert_int_equal(acceptor_listen(&b.acceptor, at(1)), 0);
	assert_int_equal(acceptor_listen(&b.acceptor, at(1)), 0);
	assert_true(b.acceptor.is_listening);
	assert_int_equal(reported(&b), SOCKETS);
	assert_int_equal(acceptor_deadline(&b.acceptor).at_us, DEADLINE_NEVER.at_us);
	acceptor_stop(&b.acceptor);
	acceptor_stop(&b.acceptor);
	assert_int_equal(reported(&b), 0);
	assert_int_equal(acceptor_listen(&b.acceptor, at(1)), 0);
	assert_int_equal(reported(&b), SOCKETS);
	end(&b);
}

static void
test_pause_lasts_until_its_end(void **state)
{
	/* In turn: pauses until then, and at that moment it listens or does not. */
	static const struct {
		int64_t pause_ms; /* -1: no pause */
		int64_t now_ms;
		int64_t due_ms; /* -1: it listens */
	} rows[] = {
		{ 100, 50, 100 },
		{ -1, 99, 100 },
		{ -1, 100, -1 },
		{ 200, 150, 200 },
		{ 170, 180, 200 }, /* a shorter pause does not end a longer one */
		{ 300, 200, 300 },
		{ -1, 300, -1 },
	};
	struct bench b = begin();
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		if (rows[i].pause_ms != -1)
			acceptor_pause(&b.acceptor, at(rows[i].pause_ms));
		assert_int_equal(acceptor_listen(&b.acceptor, at(rows[i].now_ms)), 0);
		assert_int_equal(b.acceptor.is_listening, rows[i].due_ms == -1);
		assert_int_equal(acceptor_deadline(&b.acceptor).at_us,
		    rows[i].due_ms == -1 ? DEADLINE_NEVER.at_us : at(rows[i].due_ms).at_us);
		assert_int_equal(reported(&b), rows[i].due_ms == -1 ? SOCKETS : 0);
	}
	acceptor_pause(&b.acceptor, DEADLINE_NEVER);
	acceptor_pause(&b.acceptor, at(1));
	assert_int_equal(acceptor_listen(&b.acceptor, at(1000000)), 0);
	assert_int_equal(reported(&b), 0);
	end(&b);
}

/* Here because a set takes a descriptor only once. */
static void
test_accept_error_pauses_listening(void **state)
{
	struct bench b = begin();
	int64_t due_us;

	(void)state;
	assert_int_equal(waitset_add(b.set, b.sockets[1], EPOLLOUT, WAITSET_CLIENT, 0), 0);
	assert_int_equal(acceptor_listen(&b.acceptor, at(1)), -1);
	assert_int_equal(errno, EEXIST);
	assert_false(b.acceptor.is_listening);
	due_us = acceptor_deadline(&b.acceptor).at_us;
	assert_in_range(due_us, at(2).at_us, at(1001).at_us);
	assert_int_equal(acceptor_listen(&b.acceptor, (struct deadline){ due_us }), 0);
	assert_int_equal(reported(&b), SOCKETS);
	end(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listens_until_stopped),
		cmocka_unit_test(test_pause_lasts_until_its_end),
		cmocka_unit_test(test_accept_error_pauses_listening),
	};

	return cmocka_run_group_tests_name("acceptor", tests, NULL, NULL);
}
