#ifndef DOTPROXY_ACCEPTOR_H
#define DOTPROXY_ACCEPTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/deadline.h"
#include "base/waitset.h"
#include "config/config.h"

/*
 * The sockets of a frontend that are shared with other workers, and whether they are in the wait
 * set: while they are not, what comes waits in the sockets, or another worker takes it. Of the
 * workers that wait, an event wakes one.
 */
struct acceptor {
	int set;
	enum waitset_owner owner;
	int sockets[CONFIG_LISTEN_MAX];
	size_t count;
	bool is_listening;
	struct deadline paused_until; /* not listening before that */
};

/* The COUNT sockets, CONFIG_LISTEN_MAX at most, stay the caller's. It does not listen yet. */
void acceptor_init(struct acceptor *, int set, enum waitset_owner owner, const int *sockets,
    size_t count);

/*
 * Listens from now on, unless it is paused. -1 with errno when the kernel refuses: then it is
 * paused for a moment.
 */
int acceptor_listen(struct acceptor *, struct deadline now);

/* Stops until the next acceptor_listen(). */
void acceptor_stop(struct acceptor *);

/* Stops until UNTIL, or the end of a longer pause: acceptor_listen() does nothing before. */
void acceptor_pause(struct acceptor *, struct deadline until);

/* When acceptor_listen() is to be called next: the end of the pause. NEVER while it listens. */
struct deadline acceptor_deadline(const struct acceptor *);

#endif
