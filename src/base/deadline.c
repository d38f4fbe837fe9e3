#include "base/deadline.h"

#include <limits.h>
#include <time.h>

static int64_t
read_us(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

struct deadline
deadline_now(void)
{
	return (struct deadline){ read_us(CLOCK_MONOTONIC) };
}

int64_t
deadline_used_us(void)
{
	return read_us(CLOCK_PROCESS_CPUTIME_ID);
}

struct deadline
deadline_after(struct deadline from, int ms)
{
	if (from.at_us == INT64_MAX)
		return from;
	return (struct deadline){ from.at_us + (int64_t)ms * 1000 };
}

struct deadline
deadline_in(int ms)
{
	return deadline_after(deadline_now(), ms);
}

struct deadline
deadline_sooner(struct deadline a, struct deadline b)
{
	return a.at_us < b.at_us ? a : b;
}

struct deadline
deadline_later(struct deadline a, struct deadline b)
{
	return a.at_us > b.at_us ? a : b;
}

bool
deadline_passed(struct deadline d, struct deadline now)
{
	return d.at_us <= now.at_us;
}

int
deadline_left_ms(struct deadline d, struct deadline now)
{
	int64_t ms;

	if (d.at_us == INT64_MAX)
		return -1;
	if (d.at_us <= now.at_us)
		return 0;
	ms = (d.at_us - now.at_us + 999) / 1000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

int64_t
deadline_us_between(struct deadline a, struct deadline b)
{
	return b.at_us - a.at_us;
}
