#include "transport/net.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "unit.h"

static struct address
address_of(const char *text)
{
	struct address a;

	assert_int_equal(address_parse(text, 0, &a), 0);
	return a;
}

/* Listens on a port that the kernel chooses and stores the address. */
static int
listen_anywhere(const char *host, struct address *at)
{
	struct address any = address_of(host);
	socklen_t len = sizeof *at;
	struct failure why;
	int fd = net_listen(&any, &why);

	if (fd == -1)
		fail_msg("%s", why.text);
	assert_int_equal(getsockname(fd, &at->sa, &len), 0);
	return fd;
}

static bool
has_option(int fd, int level, int option)
{
	int on = 0;
	socklen_t len = sizeof on;

	assert_int_equal(getsockopt(fd, level, option, &on, &len), 0);
	return on != 0;
}

static void
assert_is_ours(int fd)
{
	assert_int_not_equal(fd, -1);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void
connects_and_accepts(void **state)
{
	struct address at, local, from;
	socklen_t len = sizeof local;
	struct failure why;
	int listener = listen_anywhere(*state, &at);
	int client, server;

	assert_is_ours(listener);
	assert_int_equal(net_accept(listener, &from), -1);
	assert_int_equal(errno, EAGAIN);

	client = net_connect(&at, false, &why);
	assert_is_ours(client);
	assert_true(has_option(client, IPPROTO_TCP, TCP_NODELAY));
	assert_int_equal(net_wait(client, POLLOUT, deadline_in(5000)), 0);
	assert_int_equal(net_connected(client, &why), 1);

	assert_int_equal(net_wait(listener, POLLIN, deadline_in(5000)), 0);
	server = net_accept(listener, &from);
	assert_is_ours(server);
	assert_true(has_option(server, IPPROTO_TCP, TCP_NODELAY));
	assert_int_equal(getsockname(client, &local.sa, &len), 0);
	assert_true(address_equal(&from, &local));

	(void)close(server);
	(void)close(client);
	(void)close(listener);
}

static void
port_in_use_is_reported(void **state)
{
	struct address at;
	struct failure why;
	char text[ADDRESS_TEXT_MAX];
	char expected[128];
	int listener = listen_anywhere("127.0.0.1", &at);

	(void)state;
	(void)snprintf(expected, sizeof expected, "listen on %s: Address already in use",
	    address_format(&at, text));
	assert_int_equal(net_listen(&at, &why), -1);
	assert_string_equal(why.text, expected);
	assert_non_null(strstr(why.remedy, "another program uses the port"));
	(void)close(listener);
}

static void
udp_port_in_use_is_reported(void **state)
{
	struct address at = address_of("127.83.61.7");
	socklen_t len = sizeof at;
	struct failure why;
	char text[ADDRESS_TEXT_MAX];
	char expected[128];
	int first = net_listen_udp(&at, &why);
	int listener;

	(void)state;
	assert_is_ours(first);
	assert_int_equal(getsockname(first, &at.sa, &len), 0);
	(void)snprintf(expected, sizeof expected, "listen on %s (UDP): Address already in use",
	    address_format(&at, text));
	assert_int_equal(net_listen_udp(&at, &why), -1);
	assert_string_equal(why.text, expected);
	assert_non_null(strstr(why.remedy, "another program uses the port"));
	/* The same port of TCP is another one. */
	listener = net_listen(&at, &why);
	assert_is_ours(listener);
	(void)close(listener);
	(void)close(first);
}

/* Both families can listen on one port at the same time, and the socket options are set. */
static void
listens_by_udp(void **state)
{
	struct address at = address_of("::");
	socklen_t len = sizeof at;
	struct failure why;
	int v6 = net_listen_udp(&at, &why);
	int v4;

	(void)state;
	assert_is_ours(v6);
	assert_true(has_option(v6, IPPROTO_IPV6, IPV6_V6ONLY));
	assert_true(has_option(v6, IPPROTO_IPV6, IPV6_RECVPKTINFO));
	assert_true(has_option(v6, SOL_SOCKET, SO_RXQ_OVFL));
	assert_in_range(net_receive_buffer(v6), 100000, NET_DATAGRAM_BUFFER);
	assert_int_equal(getsockname(v6, &at.sa, &len), 0);
	at = (struct address){ .in = { .sin_family = AF_INET, .sin_port = at.in6.sin6_port } };
	v4 = net_listen_udp(&at, &why);
	assert_is_ours(v4);
	assert_true(has_option(v4, IPPROTO_IP, IP_PKTINFO));
	(void)close(v4);
	(void)close(v6);
}

/* A socket of another program, with no option but a large receive buffer if permitted. */
static int
foreign_socket(const char *host, int type, int family, struct address *at)
{
	struct address any = address_of(host);
	int off = 0;
	int size = 2 * NET_DATAGRAM_BUFFER;
	int fd = socket(family, type, 0);

	if (family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	assert_int_equal(bind(fd, &any.sa, address_len(&any)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	memset(at, 0, sizeof *at);
	return fd;
}

static const struct adopted_row {
	const char *name;
	const char *host;
	int type;
	int family;
	bool v4_info; /* reports the destination of IPv4, or IPv6, datagrams */
	bool v6_info;
} adopted_rows[] = {
	{ "TCP", "127.0.0.1", SOCK_STREAM, AF_INET, false, false },
	{ "TCP, IPv6", "::1", SOCK_STREAM, AF_INET6, false, false },
	{ "UDP", "127.0.0.1", SOCK_DGRAM, AF_INET, false, false },
	{ "UDP, any address", "0.0.0.0", SOCK_DGRAM, AF_INET, true, false },
	{ "UDP, IPv6", "::1", SOCK_DGRAM, AF_INET6, false, false },
	{ "UDP, any address of both families", "::", SOCK_DGRAM, AF_INET6, true, true },
};

static void
adopts(void **state)
{
	const struct adopted_row *row = *state;
	struct address at;
	struct failure why;
	int fd = foreign_socket(row->host, row->type, row->family, &at);
	int buffer = net_receive_buffer(fd);

	assert_int_equal(net_adopt(fd, &at, &why), row->type);
	assert_is_ours(fd);
	assert_int_equal(at.sa.sa_family, row->family);
	assert_int_not_equal(address_port(&at), 0);
	assert_int_equal(has_option(fd, IPPROTO_IP, IP_PKTINFO), row->v4_info);
	if (row->family == AF_INET6) {
		assert_int_equal(has_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO), row->v6_info);
		assert_int_equal(has_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), !row->v4_info);
	}
	assert_int_equal(has_option(fd, SOL_SOCKET, SO_RXQ_OVFL), row->type == SOCK_DGRAM);
	assert_in_range(net_receive_buffer(fd), buffer, 2 * NET_DATAGRAM_BUFFER);
	(void)close(fd);
}

static void
address_not_local_is_reported(void **state)
{
	struct address at = address_of("192.0.2.1:5353");
	struct failure why;

	(void)state;
	assert_int_equal(net_check_address(&at, &why), -1);
	assert_string_equal(why.text, "listen on 192.0.2.1:5353: Cannot assign requested address");
	assert_non_null(strstr(why.remedy, "ip address"));
	at = address_of("127.0.0.1:5353");
	assert_int_equal(net_check_address(&at, &why), 0);
	at = address_of("0.0.0.0:53");
	assert_int_equal(net_check_address(&at, &why), 0);
	at = address_of("[::]:53");
	assert_int_equal(net_check_address(&at, &why), 0);
}

static void
listens_on_a_missing_address(void **state)
{
	struct address at = address_of("192.0.2.1:5353");
	struct failure why;
	int tcp;
	int udp;

	(void)state;
	address_set_port(&at, 0);
	tcp = net_listen(&at, &why);
	udp = net_listen_udp(&at, &why);
	assert_int_not_equal(tcp, -1);
	assert_int_not_equal(udp, -1);
	(void)close(tcp);
	(void)close(udp);
}

static void
listens_again_after_a_shutdown(void **state)
{
	struct address at = address_of("127.0.0.1");
	struct failure why;
	int fd;

	(void)state;
	address_set_port(&at, 0);
	fd = net_listen(&at, &why);
	assert_int_not_equal(fd, -1);
	assert_int_equal(net_listen_again(fd), 0);
	assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
	assert_int_equal(net_listen_again(fd), 1);
	assert_int_equal(net_listen_again(fd), 0);
	(void)close(fd);
}

static void
connection_refused_is_reported(void **state)
{
	struct address at;
	struct failure why;
	int fd;

	(void)state;
	(void)close(listen_anywhere("127.0.0.1", &at));
	fd = net_connect(&at, false, &why);
	if (fd != -1) {
		assert_int_equal(net_wait(fd, POLLOUT, deadline_in(5000)), 0);
		assert_int_equal(net_connected(fd, &why), -1);
		(void)close(fd);
	}
	assert_string_equal(why.text, "connect: Connection refused");
}

/* Runs CHILD in a new process and returns its result. */
static int
in_a_child(int (*child)(const void *), const void *arg)
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(child(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

enum { NOBODY = 65534 };

static int
listens_as_nobody(const void *address)
{
	struct failure why;

	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) == -1)
		return 2;
	if (net_listen(address, &why) != -1)
		return 3;
	if (strcmp(why.text, "listen on 127.0.0.1:1: Permission denied") != 0)
		return 4;
	return strstr(why.remedy, "CAP_NET_BIND_SERVICE") != NULL ? 0 : 5;
}

static void
port_not_permitted_is_reported(void **state)
{
	struct address at = address_of("127.0.0.1:1");
	FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	char start[16] = "";

	(void)state;
	if (f != NULL) {
		if (fgets(start, sizeof start, f) == NULL)
			start[0] = '\0';
		(void)fclose(f);
	}
	if (strcmp(start, "0\n") == 0 || strcmp(start, "1\n") == 0)
		skip();
	assert_int_equal(in_a_child(listens_as_nobody, &at), 0);
}

/* With a full queue the next connection waits, neither open nor refused. */
static void
is_not_connected_yet(void **state)
{
	struct address at = address_of("127.0.0.1");
	socklen_t len = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[8];
	struct failure why;
	size_t n = 0;

	(void)state;
	assert_int_equal(bind(listener, &at.sa, address_len(&at)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, &at.sa, &len), 0);
	do {
		assert_true(n < LENGTH(fds));
		fds[n] = net_connect(&at, false, &why);
		assert_int_not_equal(fds[n], -1);
	} while (net_wait(fds[n++], POLLOUT, deadline_in(50)) == 0);
	assert_int_equal(errno, ETIMEDOUT);
	assert_int_equal(net_connected(fds[n - 1], &why), 0);
	while (n > 0)
		(void)close(fds[--n]);
	(void)close(listener);
}

static void
waits_for_data(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(net_wait(pair[0], POLLOUT, DEADLINE_NEVER), 0);
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_int_equal(net_wait(pair[0], POLLIN, DEADLINE_NEVER), 0);
	/* Data that has arrived counts, even after the deadline. */
	assert_int_equal(net_wait(pair[0], POLLIN, deadline_in(0)), 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void
on_alarm(int signal)
{
	(void)signal;
}

/* Frequent signals neither end the wait nor prolong it. */
static void
wait_ends_at_the_deadline(void **state)
{
	const struct itimerval often = { { 0, 7000 }, { 0, 7000 } };
	const struct itimerval off = { { 0, 0 }, { 0, 0 } };
	struct sigaction interrupt = { .sa_handler = on_alarm };
	struct deadline before, by, after;
	int ends[2];
	int rc, why;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	(void)sigaction(SIGALRM, &interrupt, NULL);
	(void)setitimer(ITIMER_REAL, &often, NULL);
	before = deadline_now();
	by = deadline_after(before, 60);
	rc = net_wait(ends[0], POLLIN, by);
	why = errno;
	after = deadline_now();
	(void)setitimer(ITIMER_REAL, &off, NULL);
	assert_int_equal(rc, -1);
	assert_int_equal(why, ETIMEDOUT);
	assert_true(deadline_passed(by, after));
	assert_in_range(deadline_us_between(before, after), 60000, 5000000);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static const struct closed_row {
	const char *name;
	bool closed[3];
} closed_rows[] = {
	{ "no standard descriptor is closed", { false, false, false } },
	{ "standard input is closed", { true, false, false } },
	{ "standard output is closed", { false, true, false } },
	{ "standard error is closed", { false, false, true } },
	{ "all three are closed", { true, true, true } },
};

static int
guards(const void *arg)
{
	const struct closed_row *row = arg;
	struct failure why;
	int fd;
	int unused = dup(STDERR_FILENO);

	(void)close(unused);
	for (fd = 0; fd < 3; fd++)
		if (row->closed[fd])
			(void)close(fd);
	if (net_guard_standard_descriptors(&why) == -1)
		return 1;
	for (fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) != 0)
			return 2;
	/* Nothing else was left open. */
	return dup(STDIN_FILENO) == unused ? 0 : 3;
}

static void
guards_the_standard_descriptors(void **state)
{
	assert_int_equal(in_a_child(guards, *state), 0);
}

static int
raises(const void *arg)
{
	struct rlimit limit = { .rlim_cur = 64, .rlim_max = 256 };

	(void)arg;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		return 1;
	if (net_raise_descriptor_limit() != 256)
		return 2;
	return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 256 ? 0 : 3;
}

static void
raises_the_limit_of_descriptors(void **state)
{
	(void)state;
	assert_int_equal(in_a_child(raises, NULL), 0);
}

/* The socket receives only from its peer and knows its own address. */
static void
connected_socket_has_one_peer(void **state)
{
	struct address any = address_of(*state);
	struct address at, from, other;
	socklen_t len = sizeof at;
	struct failure why;
	char data[8];
	int server = net_listen_udp(&any, &why);
	int stranger = net_listen_udp(&any, &why);
	int fd;

	assert_int_equal(getsockname(server, &at.sa, &len), 0);
	fd = net_connect_udp(&at, &from, &why);
	assert_is_ours(fd);
	assert_true(address_same_host(&from, &any));
	assert_int_equal(sendto(stranger, "no", 2, 0, &from.sa, address_len(&from)), 2);
	assert_int_equal(write(fd, "ask", 3), 3);
	assert_int_equal(net_wait(server, POLLIN, deadline_in(1000)), 0);
	len = sizeof other;
	assert_int_equal(recvfrom(server, data, sizeof data, 0, &other.sa, &len), 3);
	assert_true(address_equal(&other, &from));
	assert_int_equal(sendto(server, "yes", 3, 0, &from.sa, address_len(&from)), 3);
	assert_int_equal(net_wait(fd, POLLIN, deadline_in(1000)), 0);
	assert_int_equal(read(fd, data, sizeof data), 3);
	(void)close(fd);
	(void)close(stranger);
	(void)close(server);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test_prestate(connects_and_accepts, (void *)"127.0.0.1"),
		cmocka_unit_test_prestate(connects_and_accepts, (void *)"::1"),
		cmocka_unit_test(port_in_use_is_reported),
		cmocka_unit_test(udp_port_in_use_is_reported),
		cmocka_unit_test(listens_by_udp),
		cmocka_unit_test(address_not_local_is_reported),
		cmocka_unit_test(listens_on_a_missing_address),
		cmocka_unit_test(listens_again_after_a_shutdown),
		cmocka_unit_test(port_not_permitted_is_reported),
		cmocka_unit_test(connection_refused_is_reported),
		cmocka_unit_test_prestate(connected_socket_has_one_peer, (void *)"127.0.0.1"),
		cmocka_unit_test_prestate(connected_socket_has_one_peer, (void *)"::1"),
		cmocka_unit_test(is_not_connected_yet),
		cmocka_unit_test(waits_for_data),
		cmocka_unit_test(wait_ends_at_the_deadline),
		cmocka_unit_test(raises_the_limit_of_descriptors),
	};

	return RUN_ROWS(closed_rows, guards_the_standard_descriptors) +
	    RUN_ROWS(adopted_rows, adopts) +
	    cmocka_run_group_tests_name("net", singles, NULL, NULL);
}
