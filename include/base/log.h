#ifndef DOTPROXY_LOG_H
#define DOTPROXY_LOG_H

#include <stdbool.h>

#include "base/deadline.h"

/*
 * One event, one line, one write(2), to standard error. A line is
 * `level=warn event="upstream down" key=value key="value with spaces"'.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Events of a lower priority than LEVEL are not written. The default is info. */
void log_set_level(enum log_level level);

/*
 * Writes one line. EVENT names what happened in a few words. FORMAT is the rest of the line, as
 * in "pid=%d after=%ds cause=%s": pairs with one space between them, each of a key and %s, %d,
 * %u, %zu, %ju or %.1f, followed by a unit if there is one; NULL: no pairs.
 *
 * A pair whose text is NULL or empty is left out; so is a pair that ends in `?', as in
 * "times=%u?", whose number is 0. Values are quoted where necessary, and bytes that are not
 * printable are written as \xHH, so that an event is always one line. Never blocks: a line that
 * cannot be written at once is dropped and counted; after the next line that can, this one follows:
 * `event="log lines dropped" count=N'.
 */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Rate limit for an event: at most one line in LOG_LIMIT_MS. While log_is_limited() is true, the
 * caller counts occurrences instead; log_limited() logs as log_event() does and starts the next
 * interval. Initialised to zero.
 */
enum { LOG_LIMIT_MS = 10000 };
struct log_limit {
	struct deadline until;
};
bool log_is_limited(const struct log_limit *, struct deadline now);
void log_limited(struct log_limit *, struct deadline now, enum log_level level, const char *event,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
