#include "frontend/tcp.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <stdio.h>
#include <unistd.h>

#include "base/waitset.h"
#include "message.h"
#include "transport/net.h"
#include "unit.h"

#define A_MESSAGE ID QUERY COUNTS("\1", "\0", "\0", "\0") QUESTION

enum { MANY = 4000 };

struct bench {
	struct config *config;
	struct query_table *table;
	struct quota *quota;
	struct tcp *tcp;
	int set;
	struct address at;
};

/* Sends an octet, at the moment at which another client is accepted; -1: nobody does. */
static int sends_meanwhile = -1;

/* How often somebody was accepted, or nobody was there. */
static size_t accepts;

/* The module keeps where this is. */
static int listener;

/* In the place of libc's, whose prototype is none of ISO C. */
int accept_meanwhile(int fd, void *addr, socklen_t *len, int flags) __asm__("accept4");

int
accept_meanwhile(int fd, void *addr, socklen_t *len, int flags)
{
	accepts++;
	if (sends_meanwhile != -1)
		assert_int_equal(send(sends_meanwhile, "", 1, 0), 1);
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

/* How often somebody was looked at. */
static size_t looks;

/* The same for recv(2). */
ssize_t recv_and_count(int fd, void *octets, size_t len, int flags) __asm__("recv");

ssize_t
recv_and_count(int fd, void *octets, size_t len, int flags)
{
	looks++;
	return syscall(SYS_recvfrom, fd, octets, len, flags, NULL, NULL);
}

/* The module with one listener, and so many places for clients, PER_ADDRESS of one address. */
static struct bench
begin(size_t places, size_t per_address)
{
	char text[128];
	struct bench b = { .set = waitset_new() };
	struct config_report report;
	socklen_t len = sizeof b.at;
	struct failure why;

	assert_int_equal(address_parse("127.0.0.1", 53, &b.at), 0);
	address_set_port(&b.at, 0);
	listener = net_listen(&b.at, &why);
	assert_int_not_equal(listener, -1);
	assert_int_equal(getsockname(listener, &b.at.sa, &len), 0);
	(void)snprintf(text, sizeof text, "upstreams: 192.0.2.1\nclients: {per_address: %zu}\n",
	    per_address);
	b.config = config_read(text, strlen(text), "c", &report);
	assert_null(report.errors);
	b.table = query_table_new((size_t)b.config->inflight);
	b.quota = quota_new(places + (size_t)b.config->inflight, (size_t)b.config->inflight);
	assert_non_null(b.quota);
	b.tcp = tcp_new(b.config, &listener, 1, b.set, b.table, b.quota, places, &why);
	assert_non_null(b.tcp);
	return b;
}

static void
end(struct bench *b)
{
	tcp_free(b->tcp);
	quota_free(b->quota);
	query_table_free(b->table);
	config_free(b->config);
	(void)close(listener);
	(void)close(b->set);
}

static int
come_from(const struct bench *b, const char *host)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct address from;

	assert_int_equal(address_parse(host, 53, &from), 0);
	address_set_port(&from, 0);
	assert_int_equal(bind(fd, &from.sa, address_len(&from)), 0);
	assert_int_equal(connect(fd, &b->at.sa, address_len(&b->at)), 0);
	return fd;
}

static int
come(const struct bench *b)
{
	return come_from(b, "127.0.0.1");
}

/* Takes in who has come, and what they have sent by now; returns the number of queries. */
static size_t
take_in(struct bench *b)
{
	struct query *queries[8];

	tcp_listener_ready(b->tcp, 0, deadline_now());
	return tcp_gather(b->tcp, queries, LENGTH(queries), deadline_now());
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
	struct bench b = begin(1, 1);
	int first;
	int second;

	(void)state;
	first = come(&b);
	assert_int_equal(take_in(&b), 0);
	assert_int_equal(tcp_client_count(b.tcp), 1);
	second = come(&b);
	sends_meanwhile = first;
	assert_int_equal(take_in(&b), 0);
	sends_meanwhile = -1;
	assert_int_equal(tcp_client_count(b.tcp), 1);
	assert_true(is_ended(second));
	assert_int_equal(rest[0], sizeof A_MESSAGE - 1);
	assert_int_equal(send(first, rest, sizeof rest - 1, 0), sizeof rest - 1);
	tcp_client_ready(b.tcp, 0, EPOLLIN);
	assert_int_equal(take_in(&b), 1);
	(void)close(first);
	(void)close(second);
	end(&b);
}

/* One more comes while all of its address have asked and were not read: each is looked at once. */
static void
many_that_have_just_asked_are_looked_at_once(void **state)
{
	static int clients[MANY];
	struct bench b;
	int last;
	size_t i;

	(void)state;
	if (net_raise_descriptor_limit() < 2 * MANY + 64U)
		skip();
	b = begin((size_t)2 * MANY, MANY);
	for (i = 0; i < MANY; i++) {
		clients[i] = come(&b);
		assert_int_equal(take_in(&b), 0);
	}
	assert_int_equal(tcp_client_count(b.tcp), MANY);
	for (i = 0; i < MANY; i++)
		assert_int_equal(send(clients[i], "", 1, 0), 1);
	last = come(&b);
	looks = 0;
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_int_equal(looks, MANY);
	assert_true(is_ended(last));
	assert_int_equal(tcp_client_count(b.tcp), MANY);
	(void)close(last);
	for (i = 0; i < MANY; i++)
		(void)close(clients[i]);
	end(&b);
}

static void
hang_up(const int *clients, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		(void)close(clients[i]);
}

enum { GREEDY = 4, EACH = 400 };

struct hand {
	struct query *queries[GREEDY * EACH];
	size_t count;
};

/* Sends some queries from the client, as one piece. */
static void
ask(int client, size_t count)
{
	static uint8_t octets[EACH * (1 + sizeof A_MESSAGE)];
	uint8_t *p = octets;
	size_t i;

	for (i = 0; i < count; i++) {
		*p++ = 0;
		*p++ = sizeof A_MESSAGE - 1;
		memcpy(p, A_MESSAGE, sizeof A_MESSAGE - 1);
		p += sizeof A_MESSAGE - 1;
	}
	assert_int_equal(send(client, octets, (size_t)(p - octets), 0), p - octets);
}

/* Takes all that may be taken; how many more that is. */
static size_t
gather_all(struct bench *b, struct hand *hand)
{
	size_t before = hand->count;

	while (tcp_has_work(b->tcp))
		hand->count += tcp_gather(b->tcp, hand->queries + hand->count,
		    LENGTH(hand->queries) - hand->count, deadline_now());
	return hand->count - before;
}

/* Answers the one that was taken first. */
static void
answer_first(struct bench *b, struct hand *hand)
{
	struct query *q = hand->queries[0];

	memmove(hand->queries, hand->queries + 1, --hand->count * sizeof hand->queries[0]);
	q->response_len = DNS_HEADER_LEN;
	tcp_answer(b->tcp, q);
	tcp_send(b->tcp, deadline_now());
}

/* They come one after the other, ask for more than there is, and all get it in the end. */
static void
clients_of_one_address_leave_places(void **state)
{
	static struct hand hand;
	struct bench b = begin(GREEDY + 3, GREEDY + 2);
	int clients[GREEDY + 3];
	size_t taken;
	size_t i;

	(void)state;
	hand.count = 0;
	for (i = 0; i < GREEDY; i++) {
		clients[i] = come(&b);
		ask(clients[i], EACH);
		tcp_listener_ready(b.tcp, 0, deadline_now());
		(void)gather_all(&b, &hand);
	}
	/* Nearly all of 1024, but some are left for other addresses. */
	taken = hand.count;
	assert_in_range(taken, 1000, 1024 - 6);
	clients[GREEDY] = come(&b);
	ask(clients[GREEDY], 1);
	clients[GREEDY + 1] = come_from(&b, "127.0.0.2");
	ask(clients[GREEDY + 1], 1);
	clients[GREEDY + 2] = come_from(&b, "127.0.0.3");
	ask(clients[GREEDY + 2], 1);
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_int_equal(gather_all(&b, &hand), 2);
	taken = hand.count;
	while (hand.count > 0) {
		answer_first(&b, &hand);
		taken += gather_all(&b, &hand);
	}
	assert_int_equal(taken, GREEDY * EACH + 3);
	hang_up(clients, LENGTH(clients));
	end(&b);
}

/* One has nearly all the places and wants more; the last one waits, as its address has too many. */
static void
those_of_one_address_get_places_in_turn(void **state)
{
	static const struct {
		size_t asks;
		size_t taken;
	} rows[] = { { 200, 129 }, { 1, 1 }, { 1, 0 } };
	static struct hand hand;
	struct bench b = begin(LENGTH(rows), LENGTH(rows));
	int clients[LENGTH(rows)];
	const struct client *greedy;
	size_t i;

	(void)state;
	hand.count = 0;
	while (query_table_room(b.table) > 131)
		(void)query_new(b.table, (const uint8_t *)A_MESSAGE, sizeof A_MESSAGE - 1);
	for (i = 0; i < LENGTH(rows); i++) {
		clients[i] = come(&b);
		ask(clients[i], rows[i].asks);
		tcp_listener_ready(b.tcp, 0, deadline_now());
		assert_int_equal(gather_all(&b, &hand), rows[i].taken);
	}
	assert_int_equal(query_table_room(b.table), 1);
	/* The greedy one has waited longest, and then it is the other's turn. */
	greedy = hand.queries[0]->client;
	answer_first(&b, &hand);
	assert_int_equal(gather_all(&b, &hand), 1);
	assert_ptr_equal(hand.queries[hand.count - 1]->client, greedy);
	answer_first(&b, &hand);
	assert_int_equal(gather_all(&b, &hand), 1);
	assert_ptr_not_equal(hand.queries[hand.count - 1]->client, greedy);
	hang_up(clients, LENGTH(clients));
	end(&b);
}

/* Its address has a share over both transports, so what ends by UDP lets it go on. */
static void
test_tcp_client_continues_when_udp_queries_of_its_address_end(void **state)
{
	static const struct {
		size_t ended;
		size_t taken;
	} rows[] = { { 0, 0 }, { 50, 0 }, { 50, 0 }, { 72, 1 }, { 1, 0 } };
	static struct hand hand;
	struct bench b = begin(1, 1);
	struct client_addr *addr;
	struct address from;
	size_t i, k;
	int client;

	(void)state;
	hand.count = 0;
	while (query_table_room(b.table) > 1)
		(void)query_new(b.table, (const uint8_t *)A_MESSAGE, sizeof A_MESSAGE - 1);
	assert_int_equal(address_parse("127.0.0.1", 53, &from), 0);
	addr = quota_use(b.quota, &from);
	for (i = 0; i < 300; i++)
		quota_add_udp(b.quota, addr);
	client = come(&b);
	ask(client, 2);
	tcp_listener_ready(b.tcp, 0, deadline_now());
	for (i = 0; i < LENGTH(rows); i++) {
		for (k = 0; k < rows[i].ended; k++)
			quota_remove_udp(b.quota, addr);
		assert_int_equal(gather_all(&b, &hand), rows[i].taken);
		assert_false(tcp_has_work(b.tcp));
	}
	answer_first(&b, &hand);
	assert_int_equal(gather_all(&b, &hand), 1);
	(void)close(client);
	end(&b);
}

/* With more to read from it, for which there is no place, and with nobody to answer to. */
static void
one_that_is_gone_leaves_its_places(void **state)
{
	static const struct linger none = { .l_onoff = 1 };
	static struct hand hand;
	struct bench b = begin(3, 3);
	struct epoll_event event;
	struct query *q;
	int greedy;
	size_t i;

	(void)state;
	hand.count = 0;
	greedy = come(&b);
	for (i = 0; i < 3; i++)
		ask(greedy, EACH);
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_in_range(gather_all(&b, &hand), 1000, 1024 - 8);
	assert_int_equal(setsockopt(greedy, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
	(void)close(greedy);
	while (tcp_client_count(b.tcp) > 0) {
		assert_int_equal(waitset_wait(b.set, &event, 1, deadline_in(2000)), 1);
		tcp_client_ready(b.tcp, waitset_index(&event), event.events);
		assert_int_equal(gather_all(&b, &hand), 0);
	}
	while ((q = tcp_next_abandoned(b.tcp)) != NULL)
		query_free(b.table, q);
	assert_int_equal(query_table_room(b.table), 1024);
	end(&b);
}

enum { LONERS = 64, CROWD = 32 };

/* Lets clients come one at a time, so that no other is expected with the next. */
static void
let_come_alone(struct bench *b, int *clients)
{
	size_t i;

	for (i = 0; i < LONERS; i++) {
		clients[i] = come(b);
		assert_int_equal(take_in(b), 0);
		assert_int_equal(tcp_client_count(b->tcp), i + 1);
	}
}

/* Nor does a crowd that comes later wait for long. */
static void
who_comes_alone_is_mostly_accepted_by_one_call(void **state)
{
	struct bench b = begin(LONERS + CROWD, LONERS + CROWD);
	int clients[LONERS + CROWD];
	size_t turns = 0;
	size_t i;

	(void)state;
	accepts = 0;
	let_come_alone(&b, clients);
	assert_in_range(accepts, LONERS + 1, LONERS + LONERS / 2);
	for (i = 0; i < CROWD; i++)
		clients[LONERS + i] = come(&b);
	while (tcp_client_count(b.tcp) < LONERS + CROWD && turns < CROWD) {
		assert_int_equal(take_in(&b), 0);
		turns++;
	}
	assert_in_range(turns, 1, CROWD / 2);
	hang_up(clients, LENGTH(clients));
	end(&b);
}

static void
all_are_taken_in_by_one_that_retires_though_they_came_alone_before(void **state)
{
	struct bench b = begin(LONERS + 3, LONERS + 3);
	int clients[LONERS + 3];
	size_t i;

	(void)state;
	let_come_alone(&b, clients);
	for (i = LONERS; i < LENGTH(clients); i++)
		clients[i] = come(&b);
	tcp_retire(b.tcp, deadline_now());
	assert_int_equal(tcp_client_count(b.tcp), LENGTH(clients));
	hang_up(clients, LENGTH(clients));
	end(&b);
}

/* Nobody else may be there for those who have connected by then. */
static void
who_has_come_is_taken_in_by_one_that_retires(void **state)
{
	struct bench b = begin(2, 2);
	int client = come(&b);

	(void)state;
	tcp_pause_listening(b.tcp, deadline_in(10000));
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_int_equal(tcp_client_count(b.tcp), 0);
	tcp_retire(b.tcp, deadline_now());
	assert_int_equal(tcp_client_count(b.tcp), 1);
	(void)close(client);
	end(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_that_asks_while_another_comes_does_not_make_room),
		cmocka_unit_test(who_has_come_is_taken_in_by_one_that_retires),
		cmocka_unit_test(clients_of_one_address_leave_places),
		cmocka_unit_test(those_of_one_address_get_places_in_turn),
		cmocka_unit_test(test_tcp_client_continues_when_udp_queries_of_its_address_end),
		cmocka_unit_test(one_that_is_gone_leaves_its_places),
		cmocka_unit_test(who_comes_alone_is_mostly_accepted_by_one_call),
		cmocka_unit_test(all_are_taken_in_by_one_that_retires_though_they_came_alone_before),
		cmocka_unit_test(many_that_have_just_asked_are_looked_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
