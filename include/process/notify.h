#ifndef DOTPROXY_NOTIFY_H
#define DOTPROXY_NOTIFY_H

#include "base/fail.h"

/*
 * Notifications for a service manager such as systemd, in the protocol of sd_notify(3). Only the
 * process that it started may send them.
 */
struct notify {
	int fd;          /* -1: there is no service manager */
	int watchdog_ms; /* the longest time between watchdog pings; 0: no watchdog */
};

/*
 * Reads and removes the environment variables of sd_notify(3). Returns 0, also when there is no
 * service manager; or -1 with the reason when its socket cannot be connected.
 */
int notify_open(struct notify *, struct failure *why);

/*
 * Sends ASSIGNMENTS, lines of `NAME=VALUE' that each end in a newline, and `STATUS=' with a text
 * for users unless STATUS is NULL; in that text, bytes that are not printable become `?'. Never
 * blocks. Returns 0, also without a service manager; or -1 with errno: nothing was sent.
 */
int notify_send(const struct notify *, const char *assignments, const char *status);

/* Closes the socket; later messages are not sent. */
void notify_close(struct notify *);

#endif
