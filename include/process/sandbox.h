#ifndef DOTPROXY_SANDBOX_H
#define DOTPROXY_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"

/*
 * Restricts what a process may do: Landlock for files and connections, a seccomp filter for system
 * calls. Both need no_new_privs, and cannot be undone.
 */

/* The first version of Landlock that can restrict TCP. */
enum { SANDBOX_LANDLOCK_TCP = 4 };

enum { SANDBOX_LISTENERS_MAX = 64 };

/* The ports that a process may use, and the sockets that it shares. The caller keeps the arrays. */
struct sandbox_bounds {
	const uint16_t *ports; /* the TCP ports that it may connect to */
	size_t port_count;
	const int *listeners;  /* the sockets shared with other processes */
	size_t listener_count; /* SANDBOX_LISTENERS_MAX at most */
};

/* The version of Landlock in this kernel; -1 with the reason why it cannot be used. */
int sandbox_landlock_version(struct failure *why);

/* Whether kernel and build support the seccomp filter: 0, or -1 with the reason. */
int sandbox_has_seccomp(struct failure *why);

/*
 * Forbids to open files and, if VERSION supports it, to bind TCP ports and to connect to ports
 * other than those of the bounds. -1 with the reason.
 */
int sandbox_forbid_files(int version, const struct sandbox_bounds *, struct failure *why);

/*
 * Kills the process with SIGSYS at any system call that the loop of a worker does not need, and at
 * sockets other than TCP, signals to other processes, and changes to the listeners. The filter
 * identifies listeners by descriptor; see listeners_give_up_tcp(). -1 with the reason.
 */
int sandbox_limit_system_calls(const struct sandbox_bounds *, struct failure *why);

#endif
