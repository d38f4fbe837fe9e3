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

/* The client that sends a byte at the moment at which another one is accepted; -1: none. */
static int sends_meanwhile = -1;

/* How often accept4(2) was called. */
static size_t accepts;

/* The module keeps where this is. */
static int listener;

/* Replaces libc's, whose prototype is not ISO C. */
int accept_meanwhile(int fd, void *addr, socklen_t *len, int flags) __asm__("accept4");

int
accept_meanwhile(int fd, void *addr, socklen_t *len, int flags)
{
	accepts++;
	if (sends_meanwhile != -1)
		assert_int_equal(send(sends_meanwhile, "", 1, 0), 1);
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

/* How often recv(2) was called. */
static size_t receives;

/* The same for recv(2). */
ssize_t recv_and_count(int fd, void *data, size_t len, int flags) __asm__("recv");

ssize_t
recv_and_count(int fd, void *data, size_t len, int flags)
{
	receives++;
	return syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
}

/* The module with one listener and that many client slots, PER_ADDRESS for each address. */
static struct bench
begin(size_t slots, size_t per_address)
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
	b.quota = quota_new(slots + (size_t)b.config->inflight, (size_t)b.config->inflight);
	assert_non_null(b.quota);
	b.tcp = tcp_new(b.config, &listener, 1, b.set, b.table, b.quota, slots, &why);
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
connect_from(const struct bench *b, const char *host)
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
connect_client(const struct bench *b)
{
	return connect_from(b, "127.0.0.1");
}

/* Accepts clients and reads what they have sent; returns the number of queries. */
static size_t
accept_and_gather(struct bench *b)
{
	struct query *queries[8];

	tcp_listener_ready(b->tcp, 0, deadline_now());
	return tcp_gather(b->tcp, queries, LENGTH(queries), deadline_now());
}

/* Whether the peer has ended the connection in any way. */
static bool
is_ended(int client)
{
	uint8_t byte;

	return recv(client, &byte, sizeof byte, 0) <= 0;
}

/* The only one that could be evicted sends at this very moment, and stays connected. */
static void
test_client_that_sends_during_accept_not_evicted(void **state)
{
	static const uint8_t rest[] = "\x1d" A_MESSAGE;
	struct bench b = begin(1, 1);
	int first;
	int second;

	(void)state;
	first = connect_client(&b);
	assert_int_equal(accept_and_gather(&b), 0);
	assert_int_equal(tcp_client_count(b.tcp), 1);
	second = connect_client(&b);
	sends_meanwhile = first;
	assert_int_equal(accept_and_gather(&b), 0);
	sends_meanwhile = -1;
	assert_int_equal(tcp_client_count(b.tcp), 1);
	assert_true(is_ended(second));
	assert_int_equal(rest[0], sizeof A_MESSAGE - 1);
	assert_int_equal(send(first, rest, sizeof rest - 1, 0), sizeof rest - 1);
	tcp_client_ready(b.tcp, 0, EPOLLIN);
	assert_int_equal(accept_and_gather(&b), 1);
	(void)close(first);
	(void)close(second);
	end(&b);
}

/* One more connects while all clients of its address have sent something that was not read. */
static void
test_each_client_checked_once_at_address_limit(void **state)
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
		clients[i] = connect_client(&b);
		assert_int_equal(accept_and_gather(&b), 0);
	}
	assert_int_equal(tcp_client_count(b.tcp), MANY);
	for (i = 0; i < MANY; i++)
		assert_int_equal(send(clients[i], "", 1, 0), 1);
	last = connect_client(&b);
	receives = 0;
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_int_equal(receives, MANY);
	assert_true(is_ended(last));
	assert_int_equal(tcp_client_count(b.tcp), MANY);
	(void)close(last);
	for (i = 0; i < MANY; i++)
		(void)close(clients[i]);
	end(&b);
}

static void
close_all(const int *clients, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		(void)close(clients[i]);
}

enum { BUSY = 4, EACH = 400 };

struct hand {
	struct query *queries[BUSY * EACH];
	size_t count;
};

/* Sends some queries from the client, as one piece. */
static void
ask(int client, size_t count)
{
	static uint8_t data[EACH * (1 + sizeof A_MESSAGE)];
	uint8_t *p = data;
	size_t i;

	for (i = 0; i < count; i++) {
		*p++ = 0;
		*p++ = sizeof A_MESSAGE - 1;
		memcpy(p, A_MESSAGE, sizeof A_MESSAGE - 1);
		p += sizeof A_MESSAGE - 1;
	}
	assert_int_equal(send(client, data, (size_t)(p - data), 0), p - data);
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

/* Answers the query that was read first. */
static void
answer_first(struct bench *b, struct hand *hand)
{
	struct query *q = hand->queries[0];

	memmove(hand->queries, hand->queries + 1, --hand->count * sizeof hand->queries[0]);
	q->response_len = DNS_HEADER_LEN;
	tcp_answer(b->tcp, q);
	tcp_send(b->tcp, deadline_now());
}

/* Clients connect one after the other, send more than fits, and all are answered. */
static void
test_one_address_leaves_slots_to_others(void **state)
{
	static struct hand hand;
	struct bench b = begin(BUSY + 3, BUSY + 2);
	int clients[BUSY + 3];
	size_t taken;
	size_t i;

	(void)state;
	hand.count = 0;
	for (i = 0; i < BUSY; i++) {
		clients[i] = connect_client(&b);
		ask(clients[i], EACH);
		tcp_listener_ready(b.tcp, 0, deadline_now());
		(void)gather_all(&b, &hand);
	}
	/* Nearly all of 1024, but some are left for other addresses. */
	taken = hand.count;
	assert_in_range(taken, 1000, 1024 - 6);
	clients[BUSY] = connect_client(&b);
	ask(clients[BUSY], 1);
	clients[BUSY + 1] = connect_from(&b, "127.0.0.2");
	ask(clients[BUSY + 1], 1);
	clients[BUSY + 2] = connect_from(&b, "127.0.0.3");
	ask(clients[BUSY + 2], 1);
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_int_equal(gather_all(&b, &hand), 2);
	taken = hand.count;
	while (hand.count > 0) {
		answer_first(&b, &hand);
		taken += gather_all(&b, &hand);
	}
	assert_int_equal(taken, BUSY * EACH + 3);
	close_all(clients, LENGTH(clients));
	end(&b);
}

/* One has nearly all slots and wants more; the last one waits, as its address has too many. */
static void
test_throttled_clients_of_an_address_served_in_turn(void **state)
{
	static const struct {
		size_t asks;
		size_t taken;
	} rows[] = { { 200, 129 }, { 1, 1 }, { 1, 0 } };
	static struct hand hand;
	struct bench b = begin(LENGTH(rows), LENGTH(rows));
	int clients[LENGTH(rows)];
	const struct client *busy;
	size_t i;

	(void)state;
	hand.count = 0;
	while (query_table_free_slots(b.table) > 131)
		(void)query_new(b.table, (const uint8_t *)A_MESSAGE, sizeof A_MESSAGE - 1);
	for (i = 0; i < LENGTH(rows); i++) {
		clients[i] = connect_client(&b);
		ask(clients[i], rows[i].asks);
		tcp_listener_ready(b.tcp, 0, deadline_now());
		assert_int_equal(gather_all(&b, &hand), rows[i].taken);
	}
	assert_int_equal(query_table_free_slots(b.table), 1);
	/* The busy one has waited longest, and then it is the other's turn. */
	busy = hand.queries[0]->client;
	answer_first(&b, &hand);
	assert_int_equal(gather_all(&b, &hand), 1);
	assert_ptr_equal(hand.queries[hand.count - 1]->client, busy);
	answer_first(&b, &hand);
	assert_int_equal(gather_all(&b, &hand), 1);
	assert_ptr_not_equal(hand.queries[hand.count - 1]->client, busy);
	close_all(clients, LENGTH(clients));
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
	while (query_table_free_slots(b.table) > 1)
		(void)query_new(b.table, (const uint8_t *)A_MESSAGE, sizeof A_MESSAGE - 1);
	assert_int_equal(address_parse("127.0.0.1", 53, &from), 0);
	addr = quota_use(b.quota, &from);
	for (i = 0; i < 300; i++)
		quota_add_udp(b.quota, addr);
	client = connect_client(&b);
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

/* With more to read from it, for which there is no slot. */
static void
test_reset_client_frees_its_slots(void **state)
{
	static const struct linger none = { .l_onoff = 1 };
	static struct hand hand;
	struct bench b = begin(3, 3);
	struct epoll_event event;
	struct query *q;
	int busy;
	size_t i;

	(void)state;
	hand.count = 0;
	busy = connect_client(&b);
	for (i = 0; i < 3; i++)
		ask(busy, EACH);
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_in_range(gather_all(&b, &hand), 1000, 1024 - 8);
	assert_int_equal(setsockopt(busy, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
	(void)close(busy);
	while (tcp_client_count(b.tcp) > 0) {
		assert_int_equal(waitset_wait(b.set, &event, 1, deadline_in(2000)), 1);
		tcp_client_ready(b.tcp, waitset_index(&event), event.events);
		assert_int_equal(gather_all(&b, &hand), 0);
	}
	while ((q = tcp_next_abandoned(b.tcp)) != NULL)
		query_free(b.table, q);
	assert_int_equal(query_table_free_slots(b.table), 1024);
	end(&b);
}

/* A client that has closed its side, and resets the connection while its query is in flight. */
static void
test_reset_after_half_close_abandons_queries(void **state)
{
	static const struct linger none = { .l_onoff = 1 };
	static struct hand hand;
	struct bench b = begin(1, 1);
	struct epoll_event event;
	int client = connect_client(&b);

	(void)state;
	hand.count = 0;
	ask(client, 1);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	tcp_listener_ready(b.tcp, 0, deadline_now());
	assert_int_equal(gather_all(&b, &hand), 1);
	assert_int_equal(waitset_wait(b.set, &event, 1, deadline_in(2000)), 1);
	tcp_client_ready(b.tcp, waitset_index(&event), event.events);
	assert_int_equal(gather_all(&b, &hand), 0);
	/* The end of what it sends is no reason to close it: it waits for its answer. */
	assert_int_equal(tcp_client_count(b.tcp), 1);
	assert_null(tcp_next_abandoned(b.tcp));
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
	(void)close(client);
	assert_int_equal(waitset_wait(b.set, &event, 1, deadline_in(2000)), 1);
	tcp_client_ready(b.tcp, waitset_index(&event), event.events);
	assert_int_equal(gather_all(&b, &hand), 0);
	assert_int_equal(tcp_client_count(b.tcp), 0);
	assert_ptr_equal(tcp_next_abandoned(b.tcp), hand.queries[0]);
	assert_null(tcp_next_abandoned(b.tcp));
	query_free(b.table, hand.queries[0]);
	end(&b);
}

enum { SINGLES = 64, TOGETHER = 32 };

/* Connects clients one at a time, so that no other is expected with the next. */
static void
connect_one_at_a_time(struct bench *b, int *clients)
{
	size_t i;

	for (i = 0; i < SINGLES; i++) {
		clients[i] = connect_client(b);
		assert_int_equal(accept_and_gather(b), 0);
		assert_int_equal(tcp_client_count(b->tcp), i + 1);
	}
}

/* Nor do many that connect together later wait for long. */
static void
test_single_clients_accepted_with_one_call(void **state)
{
	struct bench b = begin(SINGLES + TOGETHER, SINGLES + TOGETHER);
	int clients[SINGLES + TOGETHER];
	size_t turns = 0;
	size_t i;

	(void)state;
	accepts = 0;
	connect_one_at_a_time(&b, clients);
	assert_in_range(accepts, SINGLES + 1, SINGLES + SINGLES / 2);
	for (i = 0; i < TOGETHER; i++)
		clients[SINGLES + i] = connect_client(&b);
	while (tcp_client_count(b.tcp) < SINGLES + TOGETHER && turns < TOGETHER) {
		assert_int_equal(accept_and_gather(&b), 0);
		turns++;
	}
	assert_in_range(turns, 1, TOGETHER / 2);
	close_all(clients, LENGTH(clients));
	end(&b);
}

static void
test_retiring_worker_accepts_all_after_single_clients(void **state)
{
	struct bench b = begin(SINGLES + 3, SINGLES + 3);
	int clients[SINGLES + 3];
	size_t i;

	(void)state;
	connect_one_at_a_time(&b, clients);
	for (i = SINGLES; i < LENGTH(clients); i++)
		clients[i] = connect_client(&b);
	tcp_retire(b.tcp, deadline_now());
	assert_int_equal(tcp_client_count(b.tcp), LENGTH(clients));
	close_all(clients, LENGTH(clients));
	end(&b);
}

/* There may be no other worker for clients that have connected by then. */
static void
test_retiring_worker_accepts_while_paused(void **state)
{
	struct bench b = begin(2, 2);
	int client = connect_client(&b);

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
		cmocka_unit_test(test_client_that_sends_during_accept_not_evicted),
		cmocka_unit_test(test_retiring_worker_accepts_while_paused),
		cmocka_unit_test(test_one_address_leaves_slots_to_others),
		cmocka_unit_test(test_throttled_clients_of_an_address_served_in_turn),
		cmocka_unit_test(test_tcp_client_continues_when_udp_queries_of_its_address_end),
		cmocka_unit_test(test_reset_client_frees_its_slots),
		cmocka_unit_test(test_reset_after_half_close_abandons_queries),
		cmocka_unit_test(test_single_clients_accepted_with_one_call),
		cmocka_unit_test(test_retiring_worker_accepts_all_after_single_clients),
		cmocka_unit_test(test_each_client_checked_once_at_address_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
