#ifndef DOTPROXY_NOTIFY_H
#define DOTPROXY_NOTIFY_H

#include "base/fail.h"

/*
 * The way to a service manager, such as systemd, that wants to be told how its service is,
 * in the protocol of sd_notify(3). Only the process that it started may use it.
 */
struct notify {
	int fd;          /* -1: nobody is told anything */
	int watchdog_ms; /* a sign of life is missed after so long; 0: none is wanted */
};

/*
 * Learns from the environment who is to be told, and takes those variables out of it. Returns
 * 0, also when nobody is; or -1 with the reason when they cannot be reached, and nobody is told.
 */
int notify_open(struct notify *, struct failure *why);

/*
 * Sends ASSIGNMENTS, lines of `NAME=VALUE' that each end in a newline, and `STATUS=' with words
 * for people unless STATUS is NULL; what is not printable in those becomes `?'. Never waits.
 * Returns 0, also when there is nobody to be told; or -1 with errno: nothing was sent.
 */
int notify_send(const struct notify *, const char *assignments, const char *status);

/* Nobody is told anything from now on, by this process. */
void notify_close(struct notify *);

#endif
