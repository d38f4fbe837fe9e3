#include "front.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <unistd.h>

#include "message.h"
#include "net.h"
#include "unit.h"
#include "waitset.h"

#define A_MESSAGE ID QUERY COUNTS("\1", "\0", "\0", "\0") QUESTION

struct bench {
	struct config *config;
	struct query_table *table;
	struct front *front;
	int set;
	struct address at;
};

/* Sends an octet, at the moment at which another client is accepted; -1: nobody does. */
static int sends_meanwhile = -1;

/* The module keeps where this is. */
static int listener;

/* In the place of libc's, whose prototype is none of ISO C. */
int accept_meanwhile(int fd, void *addr, socklen_t *len, int flags) __asm__("accept4");

int
accept_meanwhile(int fd, void *addr, socklen_t *len, int flags)
{
	if (sends_meanwhile != -1)
		assert_int_equal(send(sends_meanwhile, "", 1, 0), 1);
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

/* The module with one listener, and so many places for clients. */
static struct bench
begin(size_t places)
{
	static const char text[] = "upstreams: 192.0.2.1\n";
	struct bench b = { .set = waitset_new() };
	struct config_report report;
	socklen_t len = sizeof b.at;
	struct failure why;

	assert_int_equal(address_parse("127.0.0.1", 53, &b.at), 0);
	address_set_port(&b.at, 0);
	listener = net_listen(&b.at, &why);
	assert_int_not_equal(listener, -1);
	assert_int_equal(getsockname(listener, &b.at.sa, &len), 0);
	b.config = config_read(text, strlen(text), "c", &report);
	assert_null(report.errors);
	b.table = query_table_new((size_t)b.config->inflight);
	b.front = front_new(b.config, &listener, 1, b.set, b.table, places, &why);
	assert_non_null(b.front);
	return b;
}

static void
end(struct bench *b)
{
	front_free(b->front);
	query_table_free(b->table);
	config_free(b->config);
	(void)close(listener);
	(void)close(b->set);
}

static int
come(const struct bench *b)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &b->at.sa, address_len(&b->at)), 0);
	return fd;
}

/* Takes in who has come, and what they have sent by now; returns the number of queries. */
static size_t
take_in(struct bench *b)
{
	struct query *queries[8];

	front_listener_ready(b->front, 0, deadline_now());
	return front_gather(b->front, queries, LENGTH(queries), deadline_now());
}

/* Whether the other side has ended the connection, in whatever way. */
static bool
is_ended(int client)
{
	uint8_t octet;

	return recv(client, &octet, sizeof octet, 0) <= 0;
}

/* The only one that could make room asks at this very moment, and keeps its place. */
static void
a_client_that_asks_while_another_comes_does_not_make_room(void **state)
{
	static const uint8_t rest[] = "\x1d" A_MESSAGE;
	struct bench b = begin(1);
	int first;
	int second;

	(void)state;
	first = come(&b);
	assert_int_equal(take_in(&b), 0);
	assert_int_equal(front_client_count(b.front), 1);
	second = come(&b);
	sends_meanwhile = first;
	assert_int_equal(take_in(&b), 0);
	sends_meanwhile = -1;
	assert_int_equal(front_client_count(b.front), 1);
	assert_true(is_ended(second));
	assert_int_equal(rest[0], sizeof A_MESSAGE - 1);
	assert_int_equal(send(first, rest, sizeof rest - 1, 0), sizeof rest - 1);
	front_client_ready(b.front, 0, EPOLLIN);
	assert_int_equal(take_in(&b), 1);
	(void)close(first);
	(void)close(second);
	end(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(
	    a_client_that_asks_while_another_comes_does_not_make_room) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
