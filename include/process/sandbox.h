#ifndef DOTPROXY_SANDBOX_H
#define DOTPROXY_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"

/*
 * What a process may still ask of the kernel: Landlock for files and connections, a
 * seccomp filter for system calls. Both need no_new_privs, and cannot be undone.
 */

/* The version of Landlock that can restrict TCP. */
enum { SANDBOX_LANDLOCK_TCP = 4 };

enum { SANDBOX_LISTENERS_MAX = 64 };

/* What a process may still use, and what it shares with others. The arrays stay the caller's. */
struct sandbox_bounds {
	const uint16_t *ports; /* of TCP: it may connect to these */
	size_t port_count;
	const int *listeners;  /* the sockets that other processes have as well */
	size_t listener_count; /* SANDBOX_LISTENERS_MAX at most */
};

/* The version of Landlock in this kernel; -1 with the reason why it cannot be used. */
int sandbox_landlock_version(struct failure *why);

/* 0 when this kernel has seccomp filters and this build a list of system calls; -1 with the reason. */
int sandbox_has_seccomp(struct failure *why);

/*
 * No file can be opened any more; where VERSION allows to say so, no TCP port can be bound,
 * and none be connected to but those of the bounds. -1 with the reason.
 */
int sandbox_forbid_files(int version, const struct sandbox_bounds *, struct failure *why);

/*
 * Any system call that the loop of a worker does not need ends the process with SIGSYS: so do
 * sockets of anything but TCP, signals to other processes, and changes to the listeners. The
 * number of a listener stays what it is; see listeners_give_up_tcp(). -1 with the reason.
 */
int sandbox_limit_system_calls(const struct sandbox_bounds *, struct failure *why);

#endif
