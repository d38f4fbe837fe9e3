#ifndef DOTPROXY_NOTIFY_H
#define DOTPROXY_NOTIFY_H

#include "base/fail.h"

/*
 * Notifications for a service manager such as systemd, in the protocol of sd_notify(3). Only the
 * process that it started may send them.
 */
struct notify {
	int fd;          /* -1: there is no service manager */
	int watchdog_ms; /* a watchdog ping is overdue after so long; 0: none is wanted */
};

/*
 * Reads and removes the variables of the environment. Returns 0, also when there is no service
 * manager; or -1 with the reason when there is one that cannot be reached.
 */
int notify_open(struct notify *, struct failure *why);

/*
 * Sends ASSIGNMENTS, lines of `NAME=VALUE' that each end in a newline, and `STATUS=' with words
 * for people unless STATUS is NULL; what is not printable in those becomes `?'. Never waits.
 * Returns 0, also without a service manager; or -1 with errno: nothing was sent.
 */
int notify_send(const struct notify *, const char *assignments, const char *status);

/* This process sends no more. */
void notify_close(struct notify *);

#endif
