#ifndef DOTPROXY_LOG_H
#define DOTPROXY_LOG_H

#include <stdbool.h>

/*
 * One event, one line, one write(2), to standard error. A line is
 * `level=warn event="upstream down" key=value key="value with spaces"'.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What is more talkative than LEVEL is not written. At first: info. */
void log_set_level(enum log_level level);

/* Whether a line of that level would be written: spares the making of its values. */
bool log_enabled(enum log_level level);

/*
 * Writes one line. EVENT says in a few words what happened; then come pairs of
 * strings, key and value, and a NULL. A pair whose value is NULL or empty is left
 * out. Values are quoted where need be, and whatever is not printable is written
 * as \xHH, so that a line is a line. Never blocks: a line that the other end does
 * not take at once is dropped and counted, and the next one that gets through is
 * followed by `event="log lines dropped" count=N'.
 */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

#endif
