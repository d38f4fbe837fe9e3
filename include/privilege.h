#ifndef DOTPROXY_PRIVILEGE_H
#define DOTPROXY_PRIVILEGE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "fail.h"

/* What the processes will give up, found out before anything is. A plain value. */
struct privilege {
	bool change_user;
	uid_t uid;
	gid_t gid;
	enum config_sandbox sandbox;
	int landlock; /* its version in this kernel; 0: there is none */
	bool seccomp; /* this kernel has filters */
};

/*
 * Finds out whom workers will run as (USER, a name or a number; NULL: nobody, and only
 * when started as root) and what the kernel offers. -1 with the reason when there is no
 * such user, when there is no right to become that user although it was asked for, or
 * when SANDBOX is strict and the kernel lacks something.
 */
int privilege_plan(const char *user, enum config_sandbox sandbox, struct privilege *,
    struct failure *why);

/*
 * Looks USER up, as privilege_plan() does, for whoever is to start: the right to become this
 * user is not looked at. -1 with the reason when there is no such user.
 */
int privilege_find_user(const char *user, struct privilege *, struct failure *why);

/* What the kernel lacks, in words; "" when nothing. */
const char *privilege_missing(const struct privilege *);

/*
 * Makes use of what the program's file permits: a file capability that is permitted and
 * not effective leaves the program startable where there is no right to it. -1 with the
 * reason.
 */
int privilege_raise(struct failure *why);

/*
 * The supervisor keeps what reload needs: to bind low ports, to read files, to start
 * workers as another user and to end them. -1 with the reason.
 */
int privilege_limit_supervisor(struct failure *why);

/*
 * A worker keeps nothing: no groups, no user of rank, no capability, no way to get any, no
 * core dumps. -1 with the reason.
 */
int privilege_limit_worker(const struct privilege *, struct failure *why);

/*
 * Then it is shut in: no files, TCP connections to PORTS (COUNT of them) only, where the
 * kernel can say so, and the system calls of its loop only; any other one is its death.
 * -1 with the reason.
 */
int privilege_shut_in(const struct privilege *, const uint16_t *ports, size_t count,
    struct failure *why);

#endif
