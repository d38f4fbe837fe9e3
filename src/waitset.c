#include "waitset.h"

#include <poll.h>

static int
control(int set, int operation, int fd, uint32_t events, enum waitset_owner owner, size_t index)
{
	struct epoll_event event = { .events = events,
		.data.u64 = (uint64_t)owner << 32 | (uint32_t)index };

	return epoll_ctl(set, operation, fd, &event);
}

int
waitset_new(void)
{
	return epoll_create1(EPOLL_CLOEXEC);
}

int
waitset_add(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index)
{
	return control(set, EPOLL_CTL_ADD, fd, events, owner, index);
}

int
waitset_change(int set, int fd, uint32_t events, enum waitset_owner owner, size_t index)
{
	return control(set, EPOLL_CTL_MOD, fd, events, owner, index);
}

void
waitset_remove(int set, int fd)
{
	(void)control(set, EPOLL_CTL_DEL, fd, 0, WAITSET_LISTENER, 0);
}

enum waitset_owner
waitset_owner(const struct epoll_event *event)
{
	return (enum waitset_owner)(event->data.u64 >> 32);
}

size_t
waitset_index(const struct epoll_event *event)
{
	return (size_t)(event->data.u64 & UINT32_MAX);
}

size_t
waitset_wait(int set, struct epoll_event *events, size_t count, struct deadline by,
    const sigset_t *signals)
{
	const struct timespec at_once = { 0 };
	int n = epoll_pwait(set, events, (int)count, deadline_left_ms(by, deadline_now()), signals);

	/* Where it need not wait the kernel looks for no signals: under load none would ever arrive. */
	if (n != -1)
		(void)ppoll(NULL, 0, &at_once, signals);
	return n > 0 ? (size_t)n : 0;
}
