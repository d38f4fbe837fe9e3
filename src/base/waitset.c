#include "base/waitset.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <unistd.h>

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

int
waitset_add_signals(int set, const sigset_t *signals)
{
	int fd = signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);

	if (fd != -1 && waitset_add(set, fd, EPOLLIN, WAITSET_SIGNALS, 0) == -1) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

int
waitset_next_signal(int signals_fd)
{
	struct signalfd_siginfo info;

	if (read(signals_fd, &info, sizeof info) != sizeof info)
		return 0;
	return (int)info.ssi_signo;
}

int
waitset_add_wakeup(int set)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd != -1 && waitset_add(set, fd, EPOLLIN, WAITSET_WAKEUP, 0) == -1) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

void
waitset_wake(int wakeup_fd)
{
	uint64_t one = 1;

	/* Fails only when the counter is full; then the wait ends anyway. */
	if (write(wakeup_fd, &one, sizeof one) == -1)
		return;
}

void
waitset_clear_wakeup(int wakeup_fd)
{
	uint64_t count;

	if (read(wakeup_fd, &count, sizeof count) == -1)
		return;
}

size_t
waitset_wait(int set, struct epoll_event *events, size_t count, struct deadline by)
{
	int n = epoll_wait(set, events, (int)count, deadline_left_ms(by, deadline_now()));

	return n > 0 ? (size_t)n : 0;
}
