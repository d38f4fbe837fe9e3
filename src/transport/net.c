#include "transport/net.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

/* What is not acknowledged for so long is on a path that has died. */
enum { USER_TIMEOUT_MS = 5000 };

static int
set_flag(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof on);
}

/* Ubuntu, Fedora and others run a stub resolver of systemd here; it takes port 53 of every address that is 0.0.0.0. */
static bool
resolved_stub_is_up(void)
{
	struct address stub;
	int fd;
	bool up;

	(void)address_parse("127.0.0.53", 53, &stub);
	if ((fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		return false;
	/* Loopback answers at once, whether yes or no. */
	up = connect(fd, &stub.sa, address_len(&stub)) == 0;
	(void)close(fd);
	return up;
}

static int
fail_bind(struct failure *why, const struct address *a, const char *how)
{
	int saved = errno;
	char text[ADDRESS_TEXT_MAX];

	(void)fail_errno(why, "listen on %s%s", address_format(a, text), how);
	if (saved == EADDRINUSE && address_port(a) == 53 && resolved_stub_is_up())
		fail_remedy(why,
		    "systemd-resolved's stub is on 127.0.0.53:53: set DNSStubListener=no in "
		    "/etc/systemd/resolved.conf and restart it, or listen on 127.0.0.1:53");
	else if (saved == EADDRINUSE)
		fail_remedy(why,
		    "another program has the port: `ss -lntup' shows which; stop it, "
		    "or listen on another address or port");
	else if (saved == EACCES)
		fail_remedy(why,
		    "ports below 1024 take a right: start as root, or give the program "
		    "CAP_NET_BIND_SERVICE, or set the sysctl net.ipv4.ip_unprivileged_port_start=53");
	else if (saved == EADDRNOTAVAIL)
		fail_remedy(why,
		    "no interface of this machine has the address: `ip address' shows "
		    "those there are");
	return -1;
}

int
net_check_address(const struct address *a, struct failure *why)
{
	struct address any_port = *a;
	int fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_there;

	if (fd == -1)
		return 0;
	address_set_port(&any_port, 0);
	is_there = bind(fd, &any_port.sa, address_len(&any_port)) == 0 ||
	    (errno != EADDRNOTAVAIL && errno != ENODEV &&
		/* A link-local address without its interface. */
		errno != EINVAL);
	if (!is_there)
		(void)fail_bind(why, a, "");
	(void)close(fd);
	return is_there ? 0 : -1;
}

/* An address that no interface has yet can be bound, too; without the option, bind(2) says so. */
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
		return fail_bind(why, a, "");
	allow_missing_address(fd, a);
	/* [::] takes IPv6 only, so that it can stand beside 0.0.0.0. */
	if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR) == -1 ||
	    set_flag(fd, IPPROTO_TCP, TCP_NODELAY) == -1 ||
	    (a->sa.sa_family == AF_INET6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) == -1) ||
	    bind(fd, &a->sa, address_len(a)) == -1 || listen(fd, NET_BACKLOG) == -1) {
		(void)fail_bind(why, a, "");
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Without the right to go beyond the limit of the system (net.core.rmem_max) it is what it is. */
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
 * No fragments, neither ours nor those that a router would make: DF is set, and what is known
 * to be too large for the path is refused. A forged ICMP message could make that less than the
 * path takes; then larger answers go by TCP, and nothing worse.
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

/* What a UDP socket has to tell of what it receives. One of IPv6 may get datagrams of IPv4, too. */
static int
prepare_udp(int fd, const struct address *a)
{
	bool v6 = a->sa.sa_family == AF_INET6;

	/* Emulators of a kernel do not know both of them: net_counts_drops(), net_forbids_fragments(). */
	(void)set_flag(fd, SOL_SOCKET, SO_RXQ_OVFL);
	forbid_fragments(fd, a->sa.sa_family);
	if (!address_is_wildcard(a))
		return 0;
	if (v6 && set_flag(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) == -1)
		return -1;
	return set_flag(fd, IPPROTO_IP, IP_PKTINFO);
}

/* BESIDE: another socket of ours has the address still, and lets this one have it, too. */
static int
bind_udp(int fd, const struct address *a, bool beside)
{
	int off = 0;

	if (prepare_udp(fd, a) == -1)
		return -1;
	if (a->sa.sa_family == AF_INET6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) == -1)
		return -1;
	allow_missing_address(fd, a);
	enlarge_buffers(fd);
	if (beside && set_flag(fd, SOL_SOCKET, SO_REUSEADDR) == -1)
		return -1;
	if (bind(fd, &a->sa, address_len(a)) == -1)
		return -1;
	/* Nobody else may. */
	return beside ? setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off) : 0;
}

static int
open_udp(const struct address *a, bool beside, struct failure *why)
{
	int fd;

	fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return fail_bind(why, a, " (UDP)");
	if (bind_udp(fd, a, beside) == -1) {
		(void)fail_bind(why, a, " (UDP)");
		(void)close(fd);
		return -1;
	}
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
	/* Other processes have it as well, and so its address. */
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

/* A number; -1 with errno. */
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
	/* The kernel counts its own needs as well, and so shows twice what was asked for. */
	return option_of(fd, SO_RCVBUF) / 2;
}

/* Learns its address, and refuses what it cannot be used for. */
static int
examine(int fd, struct address *at, struct failure *why)
{
	socklen_t len = sizeof *at;
	struct address peer;
	socklen_t peer_len = sizeof peer;
	int family = option_of(fd, SO_DOMAIN);
	int protocol = option_of(fd, SO_PROTOCOL);

	if (family == -1)
		return fail_errno(why, "no socket");
	if (family != AF_INET && family != AF_INET6)
		return fail_with(why, "a socket of neither IPv4 nor IPv6");
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return fail_with(why, "a socket of neither UDP nor TCP");
	if (getsockname(fd, &at->sa, &len) == -1)
		return fail_errno(why, "address");
	if (protocol == IPPROTO_TCP && option_of(fd, SO_ACCEPTCONN) != 1) {
		(void)fail_with(why, "a TCP socket that does not listen");
		fail_remedy(why, "set Accept=no in the socket unit");
		return -1;
	}
	if (address_port(at) == 0)
		return fail_with(why, "a UDP socket without a port");
	if (protocol == IPPROTO_UDP && getpeername(fd, &peer.sa, &peer_len) == 0)
		return fail_with(why, "a UDP socket for one client only");
	return 0;
}

/* Only with the right to go beyond the limit of the system; without, it could lose what it has. */
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
		return fail_errno(why, "no blocking");
	if (type == SOCK_STREAM) {
		if (set_flag(fd, IPPROTO_TCP, TCP_NODELAY) == -1 || listen(fd, NET_BACKLOG) == -1)
			return fail_errno(why, "listen");
		return type;
	}
	if (prepare_udp(fd, at) == -1)
		return fail_errno(why, "UDP");
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
	/* Without it a delayed ACK of the server adds 40 ms to every second query. */
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
