#include "base/log.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "unit.h"

/* The original standard error while a test replaces it. */
static int saved_stderr;

static void
redirect(int fd)
{
	saved_stderr = dup(STDERR_FILENO);
	assert_int_not_equal(saved_stderr, -1);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(close(fd), 0);
}

static void
restore(void)
{
	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
}

static const struct line_row {
	const char *name;
	enum log_level threshold;
	enum log_level level;
	const char *event;
	const char *values[2]; /* of a and b */
	const char *line; /* NULL: none */
} line_rows[] = {
	{ "an event alone", LOG_LEVEL_INFO, LOG_LEVEL_INFO, "ready", { NULL },
	    "level=info event=ready\n" },
	{ "words are quoted", LOG_LEVEL_INFO, LOG_LEVEL_WARN, "upstream down", { NULL },
	    "level=warn event=\"upstream down\"\n" },
	{ "pairs", LOG_LEVEL_INFO, LOG_LEVEL_ERROR, "e", { "1", "2 3" },
	    "level=error event=e a=1 b=\"2 3\"\n" },
	{ "no value, no pair", LOG_LEVEL_INFO, LOG_LEVEL_INFO, "e", { NULL, "" },
	    "level=info event=e\n" },
	{ "a pair after one without a value", LOG_LEVEL_INFO, LOG_LEVEL_INFO, "e",
	    { NULL, "2" }, "level=info event=e b=2\n" },
	{ "an equals sign is quoted", LOG_LEVEL_INFO, LOG_LEVEL_INFO, "e", { "b=c" },
	    "level=info event=e a=\"b=c\"\n" },
	{ "quotes and backslashes", LOG_LEVEL_INFO, LOG_LEVEL_INFO, "e", { "\"\\" },
	    "level=info event=e a=\"\\\"\\\\\"\n" },
	{ "a line is a line", LOG_LEVEL_INFO, LOG_LEVEL_INFO, "e", { "b\nlevel=c\r\x1b" },
	    "level=info event=e a=\"b\\x0alevel=c\\x0d\\x1b\"\n" },
	{ "nothing but ASCII", LOG_LEVEL_INFO, LOG_LEVEL_INFO, "e", { "~\x7f\xc3\xa4\xff" },
	    "level=info event=e a=~\\x7f\\xc3\\xa4\\xff\n" },
	{ "too talkative", LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, "e", { NULL }, NULL },
	{ "talkative on demand", LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG, "e", { NULL },
	    "level=debug event=e\n" },
	{ "errors only", LOG_LEVEL_ERROR, LOG_LEVEL_WARN, "e", { NULL }, NULL },
	{ "errors always", LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, "e", { NULL },
	    "level=error event=e\n" },
};

/* Each write is a message of its own, so that a line in two pieces would be seen. */
static void
writes_a_line(void **state)
{
	const struct line_row *row = *state;
	char got[256];
	ssize_t n;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	redirect(pair[1]);
	log_set_level(row->threshold);
	log_event(row->level, row->event, "a=%s b=%s", row->values[0], row->values[1]);
	restore();
	n = recv(pair[0], got, sizeof got - 1, 0);
	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, row->line != NULL ? row->line : "");
	if (n > 0)
		assert_int_equal(recv(pair[0], got, sizeof got, 0), 0);
	(void)close(pair[0]);
}

/* What LOG_SOMETHING writes, as text. */
#define WRITTEN(call, expected)                                                    \
	do {                                                                       \
		char got[512];                                                     \
		ssize_t n;                                                         \
		int pair[2];                                                       \
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0); \
		redirect(pair[1]);                                                 \
		call;                                                              \
		restore();                                                         \
		n = recv(pair[0], got, sizeof got - 1, 0);                         \
		got[n > 0 ? n : 0] = '\0';                                         \
		assert_string_equal(got, expected);                                \
		(void)close(pair[0]);                                              \
	} while (0)

static void
writes_numbers(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	WRITTEN(log_event(LOG_LEVEL_INFO, "e", "a=%d b=%u c=%zu", -1, UINT32_MAX, SIZE_MAX),
	    "level=info event=e a=-1 b=4294967295 c=18446744073709551615\n");
	WRITTEN(log_event(LOG_LEVEL_INFO, "e", "a=%ju b=%.1f c=%ds d=%s", UINTMAX_MAX, 1.25, 7,
	    "x y"), "level=info event=e a=18446744073709551615 b=1.2 c=7s d=\"x y\"\n");
	WRITTEN(log_event(LOG_LEVEL_INFO, "e", "a=%d b=%u c=%.1f", 0, 0U, 0.0),
	    "level=info event=e a=0 b=0 c=0.0\n");
	WRITTEN(log_event(LOG_LEVEL_INFO, "e", NULL), "level=info event=e\n");
}

static void
zero_numbers_are_omitted(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	WRITTEN(log_event(LOG_LEVEL_INFO, "e", "a=%u? b=%d? c=%zu? d=%ju? e=%s", 0U, 0, (size_t)0,
		    (uintmax_t)0, "x"), "level=info event=e e=x\n");
	WRITTEN(log_event(LOG_LEVEL_INFO, "e", "a=%u? b=%d? c=%zu? d=%ju?", 1U, -1, (size_t)2,
		    (uintmax_t)3), "level=info event=e a=1 b=-1 c=2 d=3\n");
}

static void
limits_how_often_a_notice_is_written(void **state)
{
	struct log_limit limit = { .until = { 0 } };
	struct deadline now = { 1000000 };

	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	assert_false(log_is_limited(&limit, now));
	WRITTEN(log_limited(&limit, now, LOG_LEVEL_WARN, "e", "times=%u", 3U),
	    "level=warn event=e times=3\n");
	assert_true(log_is_limited(&limit, now));
	assert_true(log_is_limited(&limit, deadline_after(now, LOG_LIMIT_MS - 1)));
	assert_false(log_is_limited(&limit, deadline_after(now, LOG_LIMIT_MS)));
}

static void
long_line_is_truncated(void **state)
{
	static char value[10000];
	static char got[20000];
	ssize_t n;
	int pair[2];

	(void)state;
	memset(value, 'v', sizeof value - 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	redirect(pair[1]);
	log_set_level(LOG_LEVEL_INFO);
	log_event(LOG_LEVEL_INFO, "e", "a=%s", value);
	restore();
	n = recv(pair[0], got, sizeof got, 0);
	assert_in_range(n, 1000, 4096);
	assert_memory_equal(got, "level=info event=e a=vvv", 24);
	assert_int_equal(memchr(got, '\n', (size_t)n) == got + n - 1, true);
	(void)close(pair[0]);
}

static void
fill(int fd)
{
	static const char block[4096];
	int flags = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, block, sizeof block) > 0)
		continue;
	assert_int_equal(errno, EAGAIN);
	(void)fcntl(fd, F_SETFL, flags);
}

/* Reads what is there now. */
static size_t
drain(int fd, char *buf, size_t cap)
{
	size_t len = 0;
	ssize_t n;

	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	while (len < cap && (n = read(fd, buf + len, cap - len)) > 0)
		len += (size_t)n;
	return len;
}

static void
drops_and_counts_instead_of_blocking(void **state)
{
	static char got[1 << 20];
	size_t len;
	int ends[2];

	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	assert_int_equal(pipe(ends), 0);
	fill(ends[1]);
	redirect(ends[1]);
	(void)alarm(20);
	log_event(LOG_LEVEL_INFO, "lost", NULL);
	log_event(LOG_LEVEL_INFO, "lost as well", NULL);
	log_event(LOG_LEVEL_DEBUG, "not wanted, so not lost", NULL);
	(void)drain(ends[0], got, sizeof got);
	log_event(LOG_LEVEL_INFO, "through", NULL);
	log_event(LOG_LEVEL_INFO, "again", NULL);
	(void)alarm(0);
	restore();
	len = drain(ends[0], got, sizeof got - 1);
	got[len] = '\0';
	assert_string_equal(got,
	    "level=info event=through\n"
	    "level=warn event=\"log lines dropped\" count=2\n"
	    "level=info event=again\n");
	(void)close(ends[0]);
}

static void
closed_log_pipe_does_not_kill(void **state)
{
	char got[256];
	size_t len;
	int gone[2];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(gone), 0);
	assert_int_equal(close(gone[0]), 0);
	redirect(gone[1]);
	log_event(LOG_LEVEL_INFO, "nobody hears", NULL);
	restore();

	assert_int_equal(pipe(ends), 0);
	redirect(ends[1]);
	log_event(LOG_LEVEL_INFO, "somebody does", NULL);
	restore();
	len = drain(ends[0], got, sizeof got - 1);
	got[len] = '\0';
	assert_string_equal(got,
	    "level=info event=\"somebody does\"\n"
	    "level=warn event=\"log lines dropped\" count=1\n");
	(void)close(ends[0]);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(writes_numbers),
		cmocka_unit_test(zero_numbers_are_omitted),
		cmocka_unit_test(limits_how_often_a_notice_is_written),
		cmocka_unit_test(long_line_is_truncated),
		cmocka_unit_test(drops_and_counts_instead_of_blocking),
		cmocka_unit_test(closed_log_pipe_does_not_kill),
	};

	/* As main() of the program does. */
	(void)signal(SIGPIPE, SIG_IGN);
	return RUN_ROWS(line_rows, writes_a_line) +
	    cmocka_run_group_tests_name("log", singles, NULL, NULL);
}
