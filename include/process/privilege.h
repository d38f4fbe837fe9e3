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

/* Which privileges the processes will drop, decided before they do. A plain value. */
struct privilege {
	bool change_user;
	uid_t uid;
	gid_t gid;
	bool chose_root; /* `user' in the configuration is root */
	enum config_sandbox sandbox;
	int landlock;                        /* its version in use; -1: none */
	bool seccomp;                        /* it is in use */
	char missing[PRIVILEGE_MISSING_MAX]; /* what is not in use, and why; "" when nothing */
};

/*
 * Finds the user of the workers (USER, a name or a number; NULL: nobody, and only when started
 * as root) and what the kernel offers. -1 with the reason when there is no such user, when this
 * process may not become the user although it was asked for, or when SANDBOX is strict and
 * something is missing: then the reason names all of it.
 */
int privilege_plan(const char *user, enum config_sandbox sandbox, struct privilege *,
    struct failure *why);

/*
 * Looks USER up, as privilege_plan() does, without a check of the right to become this user.
 * -1 with the reason when there is no such user.
 */
int privilege_find_user(const char *user, struct privilege *, struct failure *why);

/* What of the sandbox is in use, in words; "" when nothing. */
const char *privilege_in_force(const struct privilege *);

/*
 * Makes the permitted capabilities effective. File capabilities that are only permitted leave
 * the program startable where they cannot be had. -1 with the reason.
 */
int privilege_raise(struct failure *why);

/*
 * The supervisor keeps what reload needs: to bind low ports, to read files, to start
 * workers as another user and to end them. -1 with the reason.
 */
int privilege_limit_supervisor(struct failure *why);

/*
 * A worker drops its groups, its user if that is root, all capabilities, every way to get any,
 * and core dumps. Notes what the kernel does not know. -1 with the reason, also when something
 * is missing and the sandbox is strict.
 */
int privilege_limit_worker(struct privilege *, struct failure *why);

/*
 * Then it enters the sandbox: no files, TCP connections to the ports of the bounds only, where the
 * kernel can say so, and the system calls of its loop only; any other one is its death.
 * Notes what the kernel refuses. -1 with the reason when that is something, and the sandbox
 * is strict.
 */
int privilege_sandbox_worker(struct privilege *, const struct sandbox_bounds *,
    struct failure *why);

#endif
