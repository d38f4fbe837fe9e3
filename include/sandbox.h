#ifndef DOTPROXY_SANDBOX_H
#define DOTPROXY_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fail.h"

/*
 * What a process may still ask of the kernel: Landlock for files and connections, a
 * seccomp filter for system calls. Both need no_new_privs, and cannot be undone.
 */

/* The version of Landlock that can restrict TCP. */
enum { SANDBOX_LANDLOCK_TCP = 4 };

/* The version of Landlock in this kernel; 0: there is none. */
int sandbox_landlock_version(void);

/* Whether this kernel has seccomp filters that can end a process. */
bool sandbox_has_seccomp(void);

/*
 * No file can be opened any more; where VERSION allows to say so, no TCP port can be bound,
 * and none be connected to but PORTS (COUNT of them). -1 with the reason.
 */
int sandbox_forbid_files(int version, const uint16_t *ports, size_t count, struct failure *why);

/* Any system call that the loop of a worker does not need ends the process with SIGSYS. -1 with the reason. */
int sandbox_limit_system_calls(struct failure *why);

#endif
