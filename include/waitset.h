#ifndef DOTPROXY_WAITSET_H
#define DOTPROXY_WAITSET_H

#include <sys/epoll.h>

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "deadline.h"

/*
 * The descriptors that a worker waits for: an epoll set, whose events say whose they
 * are. EVENTS are those of epoll_ctl(2).
 */

enum waitset_owner { WAITSET_LISTENER, WAITSET_CLIENT, WAITSET_CONNECTION, WAITSET_DATAGRAMS };

/* The set itself, a descriptor that the caller closes; -1 with errno. */
int waitset_new(void);

/* -1 with errno when the kernel refuses. INDEX is the owner's own. */
int waitset_add(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index);
int waitset_change(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index);
void waitset_remove(int set, int fd);

enum waitset_owner waitset_owner(const struct epoll_event *);
size_t waitset_index(const struct epoll_event *);

/*
 * The one wait of the loop: until something is ready, the moment BY has come, or a
 * signal that SIGNALS lets in arrives, as it can nowhere else; also when it need not
 * wait. Returns the number of events.
 */
size_t waitset_wait(int set, struct epoll_event *events, size_t count, struct deadline by,
    const sigset_t *signals);

#endif
