#ifndef DOTPROXY_HOOKS_H
#define DOTPROXY_HOOKS_H

/*
 * Only in the build for tests (DOTPROXY_TEST_HOOKS): signal SIGRTMIN + n makes a worker try the
 * nth of the system calls below, most of which the sandbox forbids, so that tests see the result.
 * tests/lib/hooks.py lists them in the same order.
 */
enum hook {
	HOOK_UNAME,
	HOOK_SOCKET_MPTCP,
	HOOK_SOCKET_UDP,
	HOOK_SOCKET_UDP_LITE,
	HOOK_SOCKET_RAW,
	HOOK_SOCKET_SCTP,
	HOOK_SOCKET_UNIX,
	HOOK_SOCKET_TCP, /* the only kind of socket that is allowed */
	HOOK_KILL,
	HOOK_TGKILL,
	HOOK_SET_OWNER, /* F_SETOWN: who gets the signals of a socket */
	HOOK_SHUTDOWN,
	HOOK_DISCONNECT_TCP,
	HOOK_CONNECT_UDP,
	HOOK_SET_OPTION,
	HOOK_FAST_OPEN,
	HOOK_DUPLICATE,
	HOOK_ABORT, /* the process may end itself */
	HOOKS
};

/* Makes the system call and logs its result. TCP and UDP are the sockets of a listener. */
void hooks_try(enum hook, int tcp, int udp);

#endif
