#include "transport/net.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

/* TCP_USER_TIMEOUT: data that is not acknowledged for so long means that the path is broken. */
enum { USER_TIMEOUT_MS = 5000 };

static int
set_flag(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof on);
}

/* Closes the socket (-1: there is none). Returns -1 with errno and the reason. */
static int
fail_bind(int fd, const struct address *a, const char *how, struct failure *why)
{
	int saved = errno;
	char text[ADDRESS_TEXT_MAX];

	(void)fail_errno(why, "listen on %s%s", address_format(a, text), how);
	if (saved == EADDRINUSE)
		fail_remedy(why,
		    "another program uses the port: `ss -lntup' shows which; stop it, "
		    "or listen on another address or port");
	else if (saved == EACCES)
		fail_remedy(why,
		    "binding to a port below 1024 needs CAP_NET_BIND_SERVICE: run as root, grant "
		    "it, or set the sysctl net.ipv4.ip_unprivileged_port_start=53");
	else if (saved == EADDRNOTAVAIL)
		fail_remedy(why, "no interface has this address: `ip address' lists them");
	if (fd != -1)
		(void)close(fd);
	errno = saved;
	return -1;
}

int
net_check_address(const struct address *a, struct failure *why)
{
	struct address any_port = *a;
	int fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool available;

	if (fd == -1)
		return 0;
	address_set_port(&any_port, 0);
	available = bind(fd, &any_port.sa, address_len(&any_port)) == 0 ||
	    (errno != EADDRNOTAVAIL && errno != ENODEV &&
		/* EINVAL: a link-local address without its interface. */
		errno != EINVAL);
	if (!available)
		return fail_bind(fd, a, "", why);
	(void)close(fd);
	return 0;
}

/* Lets bind(2) accept an address that no interface has yet. */
static void
allow_missing_address(int fd, const struct address *a)
{
	if (!address_is_wildcard(a))
		(void)set_flag(fd, IPPROTO_IP, IP_FREEBIND);
}

int
net_listen(const struct address *a, struct failure *why)
{
	int fd;

	fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return fail_bind(-1, a, "", why);
	allow_missing_address(fd, a);
	/* [::] is IPv6 only, so that 0.0.0.0 can be bound as well. */
	if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR) == -1 ||
	    set_flag(fd, IPPROTO_TCP, TCP_NODELAY) == -1 ||
	    (a->sa.sa_family == AF_INET6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) == -1) ||
	    bind(fd, &a->sa, address_len(a)) == -1 || listen(fd, NET_BACKLOG) == -1)
		return fail_bind(fd, a, "", why);
	return fd;
}

/* The FORCE options need CAP_NET_ADMIN; without it, net.core.rmem_max and wmem_max apply. */
static void
enlarge_buffers(int fd)
{
	int size = NET_DATAGRAM_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == -1)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == -1)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/*
 * Sets DF, so that neither we nor a router make fragments, and sending fails with EMSGSIZE above
 * the path MTU. A forged ICMP message can lower that MTU; then larger answers only move to TCP.
 */
static void
forbid_fragments(int fd, int family)
{
	int v4 = IP_PMTUDISC_DO;
	int v6 = IPV6_PMTUDISC_DO;

	if (family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof v6);
	(void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof v4);
}

/* Requests ancillary data. An adopted IPv6 socket may also receive IPv4 datagrams. */
static int
prepare_udp(int fd, const struct address *a)
{
	bool v6 = a->sa.sa_family == AF_INET6;

	/* Emulated kernels may lack these: see net_counts_drops(), net_forbids_fragments(). */
	(void)set_flag(fd, SOL_SOCKET, SO_RXQ_OVFL);
	forbid_fragments(fd, a->sa.sa_family);
	if (!address_is_wildcard(a))
		return 0;
	if (v6 && set_flag(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) == -1)
		return -1;
	return set_flag(fd, IPPROTO_IP, IP_PKTINFO);
}

/* SHARED: another socket of ours still has the address, with SO_REUSEADDR. */
static int
bind_udp(int fd, const struct address *a, bool shared)
{
	int off = 0;

	if (prepare_udp(fd, a) == -1)
		return -1;
	if (a->sa.sa_family == AF_INET6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) == -1)
		return -1;
	allow_missing_address(fd, a);
	enlarge_buffers(fd);
	if (shared && set_flag(fd, SOL_SOCKET, SO_REUSEADDR) == -1)
		return -1;
	if (bind(fd, &a->sa, address_len(a)) == -1)
		return -1;
	/* Other programs must not bind the address. */
	return shared ? setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off) : 0;
}

static int
open_udp(const struct address *a, bool shared, struct failure *why)
{
	int fd;

	fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1 || bind_udp(fd, a, shared) == -1)
		return fail_bind(fd, a, " (UDP)", why);
	return fd;
}

int
net_listen_udp(const struct address *a, struct failure *why)
{
	return open_udp(a, false, why);
}

int
net_replace_udp(int fd, const struct address *a, struct failure *why)
{
	/* The old socket stays bound as long as other processes have it. */
	(void)set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
	return open_udp(a, true, why);
}

bool
net_receives_no_more(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLRDHUP) != 0;
}

bool
net_sends_no_more(int fd)
{
	struct address own;
	socklen_t len = sizeof own;

	return getsockname(fd, &own.sa, &len) == 0 &&
	    sendto(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL, &own.sa, len) == -1 && errno == EPIPE;
}

/* The value of an int option; -1 with errno. */
static int
option_at(int fd, int level, int option)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, level, option, &value, &len) == -1 ? -1 : value;
}

static int
option_of(int fd, int option)
{
	return option_at(fd, SOL_SOCKET, option);
}

bool
net_counts_drops(int fd)
{
	return option_of(fd, SO_RXQ_OVFL) == 1;
}

bool
net_forbids_fragments(int fd)
{
	if (option_of(fd, SO_DOMAIN) == AF_INET6)
		return option_at(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER) == IPV6_PMTUDISC_DO;
	return option_at(fd, IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_DO;
}

uint32_t
net_dropped(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof info;

	(void)getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len);
	return info[SK_MEMINFO_DROPS];
}

int
net_listen_again(int fd)
{
	if (option_of(fd, SO_ACCEPTCONN) == 1)
		return 0;
	return listen(fd, NET_BACKLOG) == -1 ? -1 : 1;
}

int
net_receive_buffer(int fd)
{
	/* The kernel doubles the requested size for its own overhead (socket(7)). */
	return option_of(fd, SO_RCVBUF) / 2;
}

/* Reads the address of a passed socket, and rejects kinds that cannot be used. */
static int
examine(int fd, struct address *at, struct failure *why)
{
	socklen_t len = sizeof *at;
	struct address peer;
	socklen_t peer_len = sizeof peer;
	int family = option_of(fd, SO_DOMAIN);
	int protocol = option_of(fd, SO_PROTOCOL);

	if (family == -1)
		return fail_errno(why, "not a socket");
	if (family != AF_INET && family != AF_INET6)
		return fail_with(why, "not an IPv4 or IPv6 socket");
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return fail_with(why, "not a UDP or TCP socket");
	if (getsockname(fd, &at->sa, &len) == -1)
		return fail_errno(why, "getsockname");
	if (protocol == IPPROTO_TCP && option_of(fd, SO_ACCEPTCONN) != 1) {
		(void)fail_with(why, "TCP socket is not listening");
		fail_remedy(why, "set Accept=no in the socket unit");
		return -1;
	}
	if (address_port(at) == 0)
		return fail_with(why, "UDP socket without a port");
	if (protocol == IPPROTO_UDP && getpeername(fd, &peer.sa, &peer_len) == 0)
		return fail_with(why, "connected UDP socket");
	return 0;
}

/* Only SO_RCVBUFFORCE: SO_RCVBUF could make a larger buffer smaller. */
static void
enlarge_adopted_buffers(int fd)
{
	int size = NET_DATAGRAM_BUFFER;

	if (option_of(fd, SO_RCVBUF) / 2 < size)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	if (option_of(fd, SO_SNDBUF) / 2 < size)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
}

int
net_adopt(int fd, struct address *at, struct failure *why)
{
	int type = option_of(fd, SO_TYPE);

	if (examine(fd, at, why) == -1)
		return -1;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1 || fcntl(fd, F_SETFL, O_NONBLOCK) == -1)
		return fail_errno(why, "fcntl");
	if (type == SOCK_STREAM) {
		if (set_flag(fd, IPPROTO_TCP, TCP_NODELAY) == -1 || listen(fd, NET_BACKLOG) == -1)
			return fail_errno(why, "listen");
		return type;
	}
	if (prepare_udp(fd, at) == -1)
		return fail_errno(why, "setsockopt");
	enlarge_adopted_buffers(fd);
	return type;
}

int
net_connect(const struct address *a, bool fast_open, struct failure *why)
{
	unsigned user_timeout_ms = USER_TIMEOUT_MS;
	int fd;

	fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return fail_errno(why, "socket");
	/* Without TCP_NODELAY, a delayed ACK of the server adds 40 ms to every second query. */
	(void)set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
	    sizeof user_timeout_ms);
	if (fast_open)
		(void)set_flag(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
	if (connect(fd, &a->sa, address_len(a)) == -1 && errno != EINPROGRESS) {
		(void)fail_errno(why, "connect");
		(void)close(fd);
		return -1;
	}
	return fd;
}

int
net_connect_udp(const struct address *a, struct address *from, struct failure *why)
{
	socklen_t len = sizeof *from;
	int fd;

	fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return fail_errno(why, "socket");
	if (connect(fd, &a->sa, address_len(a)) == -1 || getsockname(fd, &from->sa, &len) == -1) {
		(void)fail_errno(why, "connect");
		(void)close(fd);
		return -1;
	}
	return fd;
}

int
net_connected(int fd, struct failure *why)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof errno;
	int error = 0;

	if (poll(&pfd, 1, 0) != 1)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		return fail_errno(why, "connect");
	if (error != 0) {
		errno = error;
		return fail_errno(why, "connect");
	}
	return 1;
}

int
net_accept(int listener, struct address *from)
{
	socklen_t len = sizeof *from;

	return accept4(listener, &from->sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int
net_wait(int fd, short events, struct deadline by)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int n;

	do {
		n = poll(&pfd, 1, deadline_left_ms(by, deadline_now()));
	} while (n == -1 && errno == EINTR);
	if (n == 0)
		errno = ETIMEDOUT;
	return n == 1 ? 0 : -1;
}

int
net_guard_standard_descriptors(struct failure *why)
{
	int fd;

	do {
		if ((fd = open("/dev/null", O_RDWR)) == -1)
			return fail_errno(why, "/dev/null");
	} while (fd <= STDERR_FILENO);
	(void)close(fd);
	return 0;
}

unsigned
net_raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return 1024;
	return limit.rlim_cur > UINT_MAX ? UINT_MAX : (unsigned)limit.rlim_cur;
}
