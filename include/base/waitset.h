#ifndef DOTPROXY_WAITSET_H
#define DOTPROXY_WAITSET_H

#include <sys/epoll.h>

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

/*
 * The descriptors that a process waits for: an epoll set, whose events say whose they
 * are. EVENTS are those of epoll_ctl(2).
 */

enum waitset_owner {
	WAITSET_LISTENER,
	WAITSET_CLIENT,
	WAITSET_CONNECTION,
	WAITSET_DATAGRAMS,
	WAITSET_SIGNALS,
	WAITSET_WAKEUP,
	WAITSET_STATUS
};

/* The set itself, a descriptor that the caller closes; -1 with errno. */
int waitset_new(void);

/* -1 with errno when the kernel refuses. INDEX is the owner's own. */
int waitset_add(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index);
int waitset_change(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index);
void waitset_remove(int set, int fd);

enum waitset_owner waitset_owner(const struct epoll_event *);
size_t waitset_index(const struct epoll_event *);

/*
 * Lets signals, which must be blocked, arrive at the wait as events of WAITSET_SIGNALS. Returns
 * a descriptor to fetch them from, which the caller closes; -1 with errno.
 */
int waitset_add_signals(int set, const sigset_t *signals);

/* The number of the next signal that has come, or 0. */
int waitset_next_signal(int signals_fd);

/*
 * Lets other processes that inherit the descriptor end the wait by waitset_wake(), as an event of
 * WAITSET_WAKEUP, until waitset_clear_wakeup(). Returns the descriptor, which the caller closes;
 * -1 with errno.
 */
int waitset_add_wakeup(int set);
void waitset_wake(int wakeup_fd);
void waitset_clear_wakeup(int wakeup_fd);

/* The one wait of the loop: until something is ready, or the moment BY has come. Returns the number of events. */
size_t waitset_wait(int set, struct epoll_event *events, size_t count, struct deadline by);

#endif
