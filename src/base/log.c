#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A pipe that is ready takes this much without blocking (PIPE_BUF). */
enum { LINE_MAX_LEN = 4096 };

struct line {
	char text[LINE_MAX_LEN];
	size_t len; /* room for the newline is always left */
};

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static enum log_level threshold = LOG_LEVEL_INFO;
static unsigned long dropped;

static void
put_char(struct line *l, char c)
{
	if (l->len < sizeof l->text - 1)
		l->text[l->len++] = c;
}

static void
put_text(struct line *l, const char *s)
{
	while (*s != '\0')
		put_char(l, *s++);
}

static void
put_value(struct line *l, const char *s)
{
	static const char digits[] = "0123456789abcdef";
	bool quoted = strpbrk(s, " \"=\\") != NULL;

	if (quoted)
		put_char(l, '"');
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			put_char(l, '\\');
			put_char(l, *s);
		} else if (c < 0x20 || c >= 0x7f) {
			put_text(l, "\\x");
			put_char(l, digits[c >> 4]);
			put_char(l, digits[c & 15]);
		} else {
			put_char(l, *s);
		}
	}
	if (quoted)
		put_char(l, '"');
}

static void
put_pair(struct line *l, const char *key, const char *value)
{
	if (l->len > 0)
		put_char(l, ' ');
	put_text(l, key);
	put_char(l, '=');
	put_value(l, value);
}

static bool
write_line(struct line *l)
{
	struct pollfd err = { .fd = STDERR_FILENO, .events = POLLOUT };

	l->text[l->len++] = '\n';
	return poll(&err, 1, 0) == 1 && (err.revents & POLLOUT) != 0 &&
	    write(STDERR_FILENO, l->text, l->len) == (ssize_t)l->len;
}

static void
report_dropped(void)
{
	struct line l = { .len = 0 };
	char count[24];

	(void)snprintf(count, sizeof count, "%lu", dropped);
	put_pair(&l, "level", level_names[LOG_LEVEL_WARN]);
	put_pair(&l, "event", "log lines dropped");
	put_pair(&l, "count", count);
	if (write_line(&l))
		dropped = 0;
}

void
log_set_level(enum log_level level)
{
	threshold = level;
}

bool
log_enabled(enum log_level level)
{
	return level <= threshold;
}

void
log_event(enum log_level level, const char *event, ...)
{
	struct line l = { .len = 0 };
	const char *key;
	const char *value;
	va_list ap;

	if (!log_enabled(level))
		return;
	put_pair(&l, "level", level_names[level]);
	put_pair(&l, "event", event);
	va_start(ap, event);
	while ((key = va_arg(ap, const char *)) != NULL) {
		value = va_arg(ap, const char *);
		if (value != NULL && value[0] != '\0')
			put_pair(&l, key, value);
	}
	va_end(ap);
	if (!write_line(&l))
		dropped++;
	else if (dropped > 0)
		report_dropped();
}
