#include "frontend/udp.h"

#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/waitset.h"
#include "message.h"
#include "shared/stats.h"
#include "transport/net.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define A_QUERY ID QUERY ONE QUESTION

enum { MOST = 64 };

struct bench {
	struct config *config;
	struct query_table *table;
	struct quota *quota;
	struct udp *udp;
	int set;
	int server;
	uint16_t port;
	struct query *queries[MOST];
};

static int
set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value);
}

static struct deadline
soon(void)
{
	return deadline_in(5000);
}

/* Shared by the modules that serve one socket: which drops were reported. */
static struct stats *stats;

static int
make_stats(void **state)
{
	(void)state;
	return (stats = stats_new()) == NULL ? -1 : 0;
}

static int
free_stats(void **state)
{
	(void)state;
	stats_free(stats);
	return 0;
}

/* The module with one socket, which is the bench's from now on; another may serve it too. */
static struct bench
start_on_socket(int server, const char *settings)
{
	struct bench b = { .server = server, .set = waitset_new() };
	struct config_report report;
	struct address at;
	socklen_t len = sizeof at;
	struct failure why;
	char text[256];

	assert_int_not_equal(server, -1);
	assert_int_equal(getsockname(server, &at.sa, &len), 0);
	b.port = address_port(&at);
	(void)snprintf(text, sizeof text, "upstreams: 192.0.2.1\n%s", settings);
	b.config = config_read(text, strlen(text), "c", &report);
	assert_null(report.errors);
	b.table = query_table_new((size_t)b.config->inflight);
	b.quota = quota_new((size_t)b.config->inflight, (size_t)b.config->inflight);
	assert_non_null(b.quota);
	b.udp = udp_new(b.config, &server, 1, b.set, b.table, b.quota, &why);
	assert_non_null(b.udp);
	stats_ignore_drops(stats, 0, 0, net_dropped(server));
	return b;
}

static struct bench
begin(int server, const char *settings)
{
	stats_clear_sockets(stats, 0);
	return start_on_socket(server, settings);
}

static void
end(struct bench *b)
{
	udp_free(b->udp);
	quota_free(b->quota);
	query_table_free(b->table);
	config_free(b->config);
	(void)close(b->server);
	(void)close(b->set);
}

static int
listen_on(const char *text)
{
	struct address a;
	struct failure why;

	assert_int_equal(address_parse(text, 0, &a), 0);
	address_set_port(&a, 0);
	return net_listen_udp(&a, &why);
}

/* The socket of `ListenDatagram=53' in systemd: it receives IPv4 as well. */
static int
listen_on_both(void)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_int_equal(set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0), 0);
	assert_int_equal(set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
	return fd;
}

static int
connect_to(const struct bench *b, const char *host)
{
	struct address a;
	int fd;

	assert_int_equal(address_parse(host, b->port, &a), 0);
	fd = socket(a.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, &a.sa, address_len(&a)), 0);
	return fd;
}

static void
ask(int client, uint16_t id)
{
	uint8_t message[] = A_QUERY;

	dns_set_id(message, id);
	assert_int_equal(send(client, message, sizeof message - 1, 0), sizeof message - 1);
}

/* Whether the wait reports datagrams; if so, the module is notified. */
static bool
is_ready_by(struct bench *b, struct deadline by)
{
	struct epoll_event event;

	if (waitset_wait(b->set, &event, 1, by) == 0)
		return false;
	assert_int_equal(waitset_owner(&event), WAITSET_DATAGRAMS);
	udp_ready(b->udp, waitset_index(&event));
	return true;
}

static size_t
gather(struct bench *b)
{
	size_t count = udp_gather(b->udp, b->queries, MOST, deadline_now());
	enum dns_rcode rcode;
	size_t i;

	for (i = 0; i < count; i++)
		(void)dns_read_query(b->queries[i]->message, b->queries[i]->len,
		    &b->queries[i]->dns, &rcode);
	return count;
}

static void
answer(struct bench *b, size_t count)
{
	struct query *q;
	size_t i;

	for (i = 0; i < count; i++) {
		q = b->queries[i];
		q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns,
		    DNS_REFUSED, DNS_EDE_NONE, NULL);
		udp_answer(b->udp, q);
	}
	udp_send(b->udp, deadline_now());
}

/* A connected socket receives only from the address that it is connected to. */
static void
assert_answered(int client, uint16_t id)
{
	uint8_t response[DNS_ERROR_MAX];

	assert_int_equal(net_wait(client, POLLIN, soon()), 0);
	assert_int_equal(recv(client, response, sizeof response, 0), DNS_HEADER_LEN + QUESTION_LEN);
	assert_int_equal(dns_id(response), id);
}

static const struct reply_row {
	const char *name;
	const char *listen; /* NULL: IPv6 and mapped IPv4 */
	const char *host;
} reply_rows[] = {
	{ "one address", "127.0.0.1", "127.0.0.1" },
	{ "a wildcard", "0.0.0.0", "127.0.0.1" },
	{ "a wildcard, another address", "0.0.0.0", "127.0.5.6" },
	{ "IPv6", "::1", "::1" },
	{ "a wildcard of IPv6", "::", "::1" },
	{ "a wildcard of both, IPv6", NULL, "::1" },
	{ "a wildcard of both, IPv4", NULL, "127.0.5.6" },
};

static void
test_answer_sent_from_the_queried_address(void **state)
{
	const struct reply_row *row = *state;
	struct bench b = begin(row->listen != NULL ? listen_on(row->listen) : listen_on_both(), "");
	int client = connect_to(&b, row->host);

	ask(client, 7);
	assert_true(is_ready_by(&b, soon()));
	assert_int_equal(gather(&b), 1);
	assert_int_equal(b.queries[0]->transport, QUERY_UDP);
	assert_true(udp_is_busy(b.udp));
	answer(&b, 1);
	assert_answered(client, 7);
	assert_false(udp_is_busy(b.udp));
	(void)close(client);
	end(&b);
}

/* While no slot is free, datagrams wait in the socket and do not wake the loop. */
static void
test_not_listening_while_no_slot_is_free(void **state)
{
	struct bench b = begin(listen_on("127.0.0.1"), "inflight: 2\n");
	int client = connect_to(&b, "127.0.0.1");
	uint16_t id;

	(void)state;
	for (id = 0; id < 4; id++)
		ask(client, id);
	assert_true(is_ready_by(&b, soon()));
	assert_int_equal(gather(&b), 2);
	assert_int_equal(gather(&b), 0);
	assert_false(udp_has_work(b.udp));
	udp_send(b.udp, deadline_now());
	assert_false(is_ready_by(&b, deadline_now()));
	answer(&b, 2);
	assert_answered(client, 0);
	assert_answered(client, 1);
	assert_true(is_ready_by(&b, soon()));
	assert_int_equal(gather(&b), 2);
	answer(&b, 2);
	assert_answered(client, 2);
	assert_answered(client, 3);
	(void)close(client);
	end(&b);
}

/* Reads all queued datagrams, whether or not the wait reported them. */
static size_t
gather_all(struct bench *b)
{
	size_t count = 0;
	size_t n;

	do {
		udp_ready(b->udp, 0);
		count += n = gather(b);
	} while (n > 0);
	return count;
}

/* The number of kernel drops that a module sees, and that were not reported yet. */
static unsigned
lost(struct bench *b)
{
	unsigned count = 0;
	size_t which;
	uint32_t total;

	while (udp_next_overflow(b->udp, &which, &total)) {
		assert_int_equal(which, 0);
		count += stats_new_drops(stats, 0, which, total);
	}
	return count;
}

/* Sends more than the buffer takes; returns how many were lost, once a module has the rest. */
static unsigned
overflow_it(struct bench *b, int client, uint16_t id)
{
	enum { SENT = 100 };
	size_t got;
	size_t i;

	for (i = 0; i < SENT; i++)
		ask(client, id++);
	got = gather_all(b);
	assert_in_range(got, 1, SENT - 1);
	/* The next datagram carries the number of drops before it. */
	assert_int_equal(lost(b), 0);
	ask(client, id);
	assert_int_equal(gather_all(b), 1);
	return SENT - (unsigned)got;
}

/* Workers share the socket: each sees the drops, and one counts them. */
static void
test_kernel_drops_counted_once_by_all_workers(void **state)
{
	int server = listen_on("127.0.0.1");
	struct bench first, second;
	unsigned count;
	int client;

	(void)state;
	assert_int_equal(set_option(server, SOL_SOCKET, SO_RCVBUF, 4096), 0);
	first = begin(server, "");
	second = start_on_socket(dup(server), "");
	client = connect_to(&first, "127.0.0.1");
	count = overflow_it(&first, client, 0);
	assert_int_equal(lost(&first), count);
	assert_int_equal(lost(&first), 0);
	ask(client, 1000);
	assert_int_equal(gather_all(&second), 1);
	assert_int_equal(lost(&second), 0);
	count = overflow_it(&second, client, 2000);
	ask(client, 3000);
	assert_int_equal(gather_all(&first), 1);
	assert_int_equal(lost(&second), count);
	assert_int_equal(lost(&first), 0);
	(void)close(client);
	end(&second);
	end(&first);
}

/* Drops before the first worker are ignored; later ones are counted. */
static void
test_drops_before_the_first_worker_ignored(void **state)
{
	int server = listen_on("127.0.0.1");
	struct bench first, second;
	unsigned count;
	int client;

	(void)state;
	assert_int_equal(set_option(server, SOL_SOCKET, SO_RCVBUF, 4096), 0);
	first = begin(server, "");
	client = connect_to(&first, "127.0.0.1");
	(void)overflow_it(&first, client, 0);
	second = begin(dup(server), "");
	ask(client, 1000);
	assert_int_equal(gather_all(&second), 1);
	assert_int_equal(lost(&second), 0);
	count = overflow_it(&second, client, 2000);
	assert_int_equal(lost(&second), count);
	(void)close(client);
	end(&second);
	end(&first);
}

/* Draining reads the queued datagrams and nothing later. */
static void
test_drain_reads_queued_datagrams(void **state)
{
	struct bench b = begin(listen_on("127.0.0.1"), "");
	int client = connect_to(&b, "127.0.0.1");

	(void)state;
	ask(client, 1);
	udp_drain(b.udp);
	assert_true(udp_is_busy(b.udp));
	assert_int_equal(gather(&b), 1);
	ask(client, 2);
	assert_false(is_ready_by(&b, deadline_now()));
	assert_int_equal(gather(&b), 0);
	answer(&b, 1);
	assert_answered(client, 1);
	assert_false(udp_is_busy(b.udp));
	(void)close(client);
	end(&b);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(test_not_listening_while_no_slot_is_free),
		cmocka_unit_test(test_kernel_drops_counted_once_by_all_workers),
		cmocka_unit_test(test_drops_before_the_first_worker_ignored),
		cmocka_unit_test(test_drain_reads_queued_datagrams),
	};
	const struct fixtures with_stats = { .group_set_up = make_stats,
		.group_tear_down = free_stats };

	return RUN_ROWS_WITH(with_stats, reply_rows, test_answer_sent_from_the_queried_address) +
	    cmocka_run_group_tests_name("udp", singles, make_stats, free_stats);
}
