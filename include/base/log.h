#ifndef DOTPROXY_LOG_H
#define DOTPROXY_LOG_H

#include <stdbool.h>

#include "base/deadline.h"

/*
 * One event, one line, one write(2), to standard error. A line is
 * `level=warn event="upstream down" key=value key="value with spaces"'.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What is more talkative than LEVEL is not written. At first: info. */
void log_set_level(enum log_level level);

/*
 * Writes one line. EVENT says in a few words what happened. FORMAT is the rest of the line, as
 * in "pid=%d after=%ds cause=%s": pairs with one space between them, each of a key and %s, %d,
 * %u, %zu, %ju or %.1f, with a unit behind it where there is one; NULL: no pairs.
 *
 * A pair whose text is NULL or empty is left out; so is one with `?' behind it, as in "times=%u?",
 * whose number is 0. Values are quoted where need be, and whatever is not printable is written
 * as \xHH, so that a line is a line. Never blocks: a line that the other end does not take at
 * once is dropped and counted, and the next one that gets through is followed by
 * `event="log lines dropped" count=N'.
 */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * A notice that is written once in LOG_LIMIT_MS at most, however often there is a reason for it:
 * log_is_limited() says that it must wait, and log_limited() is log_event() and begins the wait.
 * All zero at first. Meanwhile the caller counts.
 */
enum { LOG_LIMIT_MS = 10000 };
struct log_limit {
	struct deadline until;
};
bool log_is_limited(const struct log_limit *, struct deadline now);
void log_limited(struct log_limit *, struct deadline now, enum log_level level, const char *event,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
