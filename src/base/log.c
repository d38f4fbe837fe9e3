#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A pipe that is ready takes this much without blocking (PIPE_BUF). */
enum { LINE_MAX_LEN = 4096 };

struct line {
	char text[LINE_MAX_LEN];
	size_t len; /* at least one byte is left for the newline */
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
put_pair(struct line *l, const char *key, size_t key_len, const char *value)
{
	if (l->len > 0)
		put_char(l, ' ');
	for (; key_len > 0; key_len--)
		put_char(l, *key++);
	put_char(l, '=');
	put_value(l, value);
}

/* The value of one conversion of the format. */
struct value {
	const char *text; /* of %s; NULL: a number */
	char number[64];  /* with its unit */
	bool is_zero;
};

/* A va_list in a struct, so that functions can pass it by pointer. */
struct log_arguments {
	va_list list;
};

/* Takes the argument for the conversion at P. Returns the rest of the format. */
static const char *
read_conversion(const char *p, struct log_arguments *a, struct value *v)
{
	uintmax_t n;
	int i;

	switch (p[1]) {
	case 's':
		v->text = va_arg(a->list, const char *);
		if (v->text == NULL)
			v->text = "";
		return p + 2;
	case 'd':
		i = va_arg(a->list, int);
		v->is_zero = i == 0;
		(void)snprintf(v->number, sizeof v->number, "%d", i);
		return p + 2;
	case '.': /* %.1f */
		(void)snprintf(v->number, sizeof v->number, "%.1f", va_arg(a->list, double));
		return p + 4;
	case 'u':
		n = va_arg(a->list, unsigned);
		break;
	case 'z':
		n = va_arg(a->list, size_t);
		break;
	default: /* %ju */
		n = va_arg(a->list, uintmax_t);
		break;
	}
	v->is_zero = n == 0;
	(void)snprintf(v->number, sizeof v->number, "%ju", n);
	return p[1] == 'u' ? p + 2 : p + 3;
}

static void
add_unit(struct value *v, const char *unit, size_t len)
{
	size_t used = strlen(v->number);

	(void)snprintf(v->number + used, sizeof v->number - used, "%.*s", (int)len, unit);
}

/* Adds the pair at P unless it is to be left out. Returns the start of the next pair. */
static const char *
put_next_pair(struct line *l, const char *p, struct log_arguments *a)
{
	struct value v = { .text = NULL };
	const char *key = p;
	size_t key_len = strcspn(p, "=");
	size_t unit_len;

	p = read_conversion(p + key_len + 1, a, &v);
	unit_len = strcspn(p, " ");
	if (v.text != NULL && v.text[0] != '\0') {
		put_pair(l, key, key_len, v.text);
	} else if (v.text == NULL && !(v.is_zero && *p == '?')) {
		if (*p != '?')
			add_unit(&v, p, unit_len);
		put_pair(l, key, key_len, v.number);
	}
	p += unit_len;
	return *p == ' ' ? p + 1 : p;
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
begin_line(struct line *l, enum log_level level, const char *event)
{
	l->len = 0;
	put_pair(l, "level", 5, level_names[level]);
	put_pair(l, "event", 5, event);
}

static void
report_dropped(void)
{
	struct line l;
	char count[24];

	begin_line(&l, LOG_LEVEL_WARN, "log lines dropped");
	(void)snprintf(count, sizeof count, "%lu", dropped);
	put_pair(&l, "count", 5, count);
	if (write_line(&l))
		dropped = 0;
}

static void
report(enum log_level level, const char *event, const char *format, struct log_arguments *a)
{
	struct line l;

	if (level > threshold)
		return;
	begin_line(&l, level, event);
	while (format != NULL && *format != '\0')
		format = put_next_pair(&l, format, a);
	if (!write_line(&l))
		dropped++;
	else if (dropped > 0)
		report_dropped();
}

void
log_set_level(enum log_level level)
{
	threshold = level;
}

void
log_event(enum log_level level, const char *event, const char *format, ...)
{
	struct log_arguments a;

	va_start(a.list, format);
	report(level, event, format, &a);
	va_end(a.list);
}

bool
log_is_limited(const struct log_limit *limit, struct deadline now)
{
	return !deadline_passed(limit->until, now);
}

void
log_limited(struct log_limit *limit, struct deadline now, enum log_level level, const char *event,
    const char *format, ...)
{
	struct log_arguments a;

	limit->until = deadline_after(now, LOG_LIMIT_MS);
	va_start(a.list, format);
	report(level, event, format, &a);
	va_end(a.list);
}
