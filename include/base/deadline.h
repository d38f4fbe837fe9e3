#ifndef DOTPROXY_DEADLINE_H
#define DOTPROXY_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A moment on the monotonic clock, in microseconds; it never moves. This module
 * is the only reader of that clock. Passed and kept by value.
 */
struct deadline {
	int64_t at_us;
};

/* A moment that never comes. */
#define DEADLINE_NEVER ((struct deadline){ INT64_MAX })

/* This moment. */
struct deadline deadline_now(void);

/* MS milliseconds after FROM; NEVER stays NEVER. */
struct deadline deadline_after(struct deadline from, int ms);

/* MS milliseconds from this moment. */
struct deadline deadline_in(int ms);

/* The earlier and the later of two moments. */
struct deadline deadline_sooner(struct deadline a, struct deadline b);
struct deadline deadline_later(struct deadline a, struct deadline b);

/* Whether D is at or before the moment NOW. */
bool deadline_passed(struct deadline d, struct deadline now);

/*
 * The milliseconds from NOW until D, as poll(2) and epoll_wait(2) take them: rounded up, so that
 * a wait never ends too soon and spins; 0 when D has passed; -1 (wait for ever) when D is NEVER.
 */
int deadline_left_ms(struct deadline d, struct deadline now);

/* The microseconds from A to B; negative when B came first. */
int64_t deadline_us_between(struct deadline a, struct deadline b);

/* The microseconds of processor time that this process has used. */
int64_t deadline_used_us(void);

#endif
