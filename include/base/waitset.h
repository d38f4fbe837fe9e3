#ifndef DOTPROXY_WAITSET_H
#define DOTPROXY_WAITSET_H

#include <sys/epoll.h>

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

/*
 * The descriptors that a process waits for: an epoll set, whose events carry the owner of the
 * descriptor and the owner's index. EVENTS are those of epoll_ctl(2).
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

/* Returns the epoll descriptor, which the caller closes; -1 with errno. */
int waitset_new(void);

/* Return 0, or -1 with errno. INDEX has a meaning for the owner only. */
int waitset_add(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index);
int waitset_change(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index);
void waitset_remove(int set, int fd);

enum waitset_owner waitset_owner(const struct epoll_event *);
size_t waitset_index(const struct epoll_event *);

/*
 * Reports signals, which must be blocked, as events of WAITSET_SIGNALS. Returns the signalfd(2)
 * descriptor, which the caller closes; -1 with errno.
 */
int waitset_add_signals(int set, const sigset_t *signals);

/* The number of the next pending signal, or 0. */
int waitset_next_signal(int signals_fd);

/*
 * Lets other processes that inherit the descriptor end the wait by waitset_wake(), as an event of
 * WAITSET_WAKEUP, until waitset_clear_wakeup(). Returns the descriptor, which the caller closes;
 * -1 with errno.
 */
int waitset_add_wakeup(int set);
void waitset_wake(int wakeup_fd);
void waitset_clear_wakeup(int wakeup_fd);

/* Waits until a descriptor is ready, but not longer than BY. Returns the number of events. */
size_t waitset_wait(int set, struct epoll_event *events, size_t count, struct deadline by);

#endif
