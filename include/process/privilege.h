#ifndef DOTPROXY_PRIVILEGE_H
#define DOTPROXY_PRIVILEGE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "config/config.h"
#include "process/sandbox.h"

enum { PRIVILEGE_MISSING_MAX = 320 };

/* The privileges that the processes will drop. A plain value. */
struct privilege {
	bool change_user;
	uid_t uid;
	gid_t gid;
	bool chose_root; /* `user' in the configuration is root */
	enum config_sandbox sandbox;
	int landlock;                        /* the version in use; -1: none */
	bool seccomp;                        /* it is in use */
	char missing[PRIVILEGE_MISSING_MAX]; /* what is not in use, and why; "" when all is */
};

/*
 * Determines the user of the workers (USER, a name or a number; NULL: `nobody' when started as
 * root, else no change) and which sandbox features the kernel supports. -1 with the reason when
 * USER does not exist or needs capabilities that this process lacks, or when SANDBOX is strict and
 * a feature is missing: then the reason names all of them.
 */
int privilege_plan(const char *user, enum config_sandbox sandbox, struct privilege *,
    struct failure *why);

/*
 * Looks USER up, as privilege_plan() does, without a check of the capabilities. -1 with the reason
 * when there is no such user.
 */
int privilege_find_user(const char *user, struct privilege *, struct failure *why);

/* The parts of the sandbox that are in use, as text; "" when none. */
const char *privilege_in_force(const struct privilege *);

/*
 * Makes the permitted capabilities effective. File capabilities are installed as permitted only, so
 * that the program also starts where they are not available. -1 with the reason.
 */
int privilege_raise(struct failure *why);

/*
 * Drops the capabilities of the supervisor but those for a reload: to bind low ports, read files,
 * and start and stop workers of another user. -1 with the reason.
 */
int privilege_limit_supervisor(struct failure *why);

/*
 * Drops the groups of a worker, root, all capabilities, the means to regain any, and core dumps.
 * Records what the kernel does not support in `missing'. -1 with the reason, also when something is
 * missing and the sandbox is strict.
 */
int privilege_limit_worker(struct privilege *, struct failure *why);

/*
 * Enters the sandbox afterwards: no files, TCP connections only to the ports of the bounds if the
 * kernel supports that, and only the system calls of the worker's loop; any other kills the
 * process. Records what failed in `missing'. -1 with the reason when something did and the sandbox
 * is strict.
 */
int privilege_sandbox_worker(struct privilege *, const struct sandbox_bounds *,
    struct failure *why);

#endif
