#include "frontend/acceptor.h"

#include <sys/epoll.h>

#include <errno.h>
#include <string.h>

/* How long to pause when the kernel refuses to watch a socket, for want of memory. */
enum { RETRY_MS = 100 };

void
acceptor_init(struct acceptor *a, int set, enum waitset_owner owner, const int *sockets,
    size_t count)
{
	*a = (struct acceptor){ .set = set, .owner = owner, .count = count };
	memcpy(a->sockets, sockets, count * sizeof *sockets);
}

int
acceptor_listen(struct acceptor *a, struct deadline now)
{
	size_t i;
	int error;

	if (a->is_listening || !deadline_passed(a->paused_until, now))
		return 0;
	a->is_listening = true;
	for (i = 0; i < a->count; i++) {
		if (waitset_add(a->set, a->sockets[i], EPOLLIN | EPOLLEXCLUSIVE, a->owner, i) ==
		    -1) {
			error = errno;
			acceptor_pause(a, deadline_after(now, RETRY_MS));
			errno = error;
			return -1;
		}
	}
	return 0;
}

void
acceptor_stop(struct acceptor *a)
{
	size_t i;

	for (i = 0; a->is_listening && i < a->count; i++)
		waitset_remove(a->set, a->sockets[i]);
	a->is_listening = false;
}

void
acceptor_pause(struct acceptor *a, struct deadline until)
{
	acceptor_stop(a);
	a->paused_until = deadline_later(a->paused_until, until);
}

struct deadline
acceptor_deadline(const struct acceptor *a)
{
	return a->is_listening ? DEADLINE_NEVER : a->paused_until;
}
