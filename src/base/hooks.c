#include "base/hooks.h"

#ifdef DOTPROXY_TEST_HOOKS

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum {
	INIT = 1,            /* a process that always exists */
	PROTOCOL_MPTCP = 262 /* newer than the headers that this is built with */
};

/* The discard port on loopback, on which no process listens. */
static const struct sockaddr_in unused_port = { .sin_family = AF_INET,
	.sin_port = 0x0900,
	.sin_addr.s_addr = 0x0100007f };

static long
close_if_open(int fd)
{
	return fd == -1 ? -1 : close(fd);
}

static long
connect_fast(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long rc = fd == -1 ? -1 :
			     sendto(fd, "", 1, MSG_FASTOPEN | MSG_NOSIGNAL,
				 (const struct sockaddr *)&unused_port, sizeof unused_port);

	(void)close(fd);
	return rc;
}

static long
try(enum hook hook, int tcp, int udp)
{
	static const struct sockaddr nothing = { .sa_family = AF_UNSPEC };
	struct utsname name;
	int size = 4096;

	switch (hook) {
	case HOOK_UNAME:
		return uname(&name);
	case HOOK_SOCKET_MPTCP:
		return close_if_open(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, PROTOCOL_MPTCP));
	case HOOK_SOCKET_UDP:
		return close_if_open(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	case HOOK_SOCKET_UDP_LITE:
		return close_if_open(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDPLITE));
	case HOOK_SOCKET_RAW:
		return close_if_open(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
	case HOOK_SOCKET_SCTP:
		return close_if_open(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP));
	case HOOK_SOCKET_UNIX:
		return close_if_open(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	case HOOK_SOCKET_TCP:
		return close_if_open(
		    socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
	case HOOK_KILL:
		return kill(INIT, 0);
	case HOOK_TGKILL:
		return syscall(SYS_tgkill, INIT, INIT, 0);
	case HOOK_SET_OWNER:
		return fcntl(tcp, F_SETOWN, INIT);
	case HOOK_SHUTDOWN:
		return shutdown(tcp, SHUT_RDWR);
	case HOOK_DISCONNECT_TCP:
		return connect(tcp, &nothing, sizeof nothing);
	case HOOK_CONNECT_UDP:
		return connect(udp, (const struct sockaddr *)&unused_port, sizeof unused_port);
	case HOOK_SET_OPTION:
		return setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	case HOOK_FAST_OPEN:
		return connect_fast();
	case HOOK_DUPLICATE:
		return close_if_open(dup3(tcp, tcp + 100, O_CLOEXEC));
	case HOOK_ABORT:
		return raise(SIGABRT);
	case HOOKS:
		break;
	}
	return 0;
}

void
hooks_try(enum hook hook, int tcp, int udp)
{
	static const char event[] = "hook"; /* not documented for users */
	long rc;

	errno = 0;
	rc = try(hook, tcp, udp);
	log_event(LOG_LEVEL_INFO, event, "number=%d result=%s", (int)hook,
	    rc == -1 ? strerror(errno) : "done");
}

#endif
