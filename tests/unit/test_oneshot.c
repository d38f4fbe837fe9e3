#include "command/oneshot.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "unit.h"

enum { TIMEOUT_MS = 300, PATIENT_MS = 5000 };

/* What the server does with the query that it received. */
enum reply { ANSWERS, ANSWERS_IN_PARTS, OTHER_ID, OTHER_QUESTION, SHORT, EMPTY, CLOSES, SILENT };

static const struct row {
	const char *name;
	enum reply reply;
	enum oneshot_end over_tcp;
	const char *tcp_why; /* NULL: no reason */
	enum oneshot_end over_udp;
} rows[] = {
	{ "a response", ANSWERS, ONESHOT_ANSWERED, NULL, ONESHOT_ANSWERED },
	{ "a response in parts", ANSWERS_IN_PARTS, ONESHOT_ANSWERED, NULL, ONESHOT_ANSWERED },
	{ "another ID", OTHER_ID, ONESHOT_FAILED, "response does not match the query",
	    ONESHOT_TIMED_OUT },
	{ "another question", OTHER_QUESTION, ONESHOT_FAILED, "response does not match the query",
	    ONESHOT_TIMED_OUT },
	{ "half a header", SHORT, ONESHOT_FAILED, "response does not match the query",
	    ONESHOT_TIMED_OUT },
	{ "an empty message", EMPTY, ONESHOT_FAILED, "response does not match the query",
	    ONESHOT_TIMED_OUT },
	{ "an end without a response", CLOSES, ONESHOT_FAILED,
	    "the connection was closed without a response", ONESHOT_TIMED_OUT },
	{ "silence", SILENT, ONESHOT_TIMED_OUT, NULL, ONESHOT_TIMED_OUT },
};

/* Makes the reply from the framed query, in place. Returns its length. */
static size_t
make_reply(uint8_t *frame, size_t len, enum reply reply)
{
	uint8_t *message = frame + FRAME_PREFIX_LEN;

	message[2] |= 0x80; /* QR */
	if (reply == OTHER_ID)
		message[0] ^= 1;
	if (reply == OTHER_QUESTION)
		message[DNS_HEADER_LEN + 2] ^= 1; /* its type: the name is the root */
	if (reply == SHORT)
		len = FRAME_PREFIX_LEN + DNS_HEADER_LEN / 2;
	if (reply == EMPTY)
		len = FRAME_PREFIX_LEN;
	frame_write_prefix(frame, len - FRAME_PREFIX_LEN);
	return len;
}

/* Serves one client in a process of its own, until that is killed. */
static void
serve(int fd, int type, enum reply reply)
{
	uint8_t frame[512];
	size_t skipped = type == SOCK_STREAM ? 0 : FRAME_PREFIX_LEN;
	struct sockaddr_storage from;
	socklen_t from_len = sizeof from;
	ssize_t n;
	size_t len;
	size_t i;

	if (type == SOCK_STREAM)
		fd = accept(fd, NULL, NULL);
	n = recvfrom(fd, frame + skipped, sizeof frame - skipped, 0, (struct sockaddr *)&from,
	    &from_len);
	if (n <= 0)
		_exit(1);
	if (reply == CLOSES)
		_exit(0);
	len = make_reply(frame, (size_t)n + skipped, reply);
	if (reply == SILENT)
		pause();
	else if (type == SOCK_DGRAM)
		(void)sendto(fd, frame + skipped, len - skipped, 0, (struct sockaddr *)&from,
		    from_len);
	else if (reply == ANSWERS_IN_PARTS)
		for (i = 0; i < len; i++)
			(void)send(fd, frame + i, 1, 0);
	else
		(void)send(fd, frame, len, 0);
	pause();
}

/* A listening socket on a free port of loopback, whose address is stored in A. */
static int
open_server(int type, struct address *a)
{
	socklen_t len = sizeof a->in;
	int fd = socket(AF_INET, type, 0);

	assert_int_not_equal(fd, -1);
	assert_int_equal(address_parse("127.0.0.1", 1, a), 0);
	address_set_port(a, 0);
	assert_int_equal(bind(fd, &a->sa, address_len(a)), 0);
	assert_int_equal(getsockname(fd, &a->sa, &len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void
assert_exchange(int type, enum reply reply, enum oneshot_end expected, const char *reason)
{
	static struct oneshot o;
	struct address a;
	int fd = open_server(type, &a);
	pid_t pid = fork();
	struct failure why = { .text = "" };
	struct deadline by;
	enum oneshot_end end;

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		(void)alarm(30);
		serve(fd, type, reply);
	}
	assert_int_equal(oneshot_begin(&o, DNS_OWN_ROOT, &why), 0);
	by = deadline_in(expected == ONESHOT_TIMED_OUT ? TIMEOUT_MS : PATIENT_MS);
	end = type == SOCK_STREAM ? oneshot_tcp(&o, &a, by, &why) : oneshot_udp(&o, &a, by, &why);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	(void)close(fd);
	assert_int_equal(end, expected);
	assert_string_equal(why.text, reason != NULL ? reason : "");
	if (expected == ONESHOT_ANSWERED) {
		assert_int_equal(o.answer_len, o.query_len);
		assert_int_equal(dns_id(oneshot_message(&o)), dns_id(o.query + FRAME_PREFIX_LEN));
	}
}

static void
reads_a_response(void **state)
{
	const struct row *row = *state;

	assert_exchange(SOCK_STREAM, row->reply, row->over_tcp, row->tcp_why);
	assert_exchange(SOCK_DGRAM, row->reply, row->over_udp, NULL);
}

static void
no_listener_is_reported(void **state)
{
	static struct oneshot o;
	struct failure why;
	struct address a;
	int fd;

	(void)state;
	assert_int_equal(oneshot_begin(&o, DNS_OWN_ROOT, &why), 0);
	fd = open_server(SOCK_STREAM, &a);
	(void)close(fd);
	assert_int_equal(oneshot_tcp(&o, &a, deadline_in(PATIENT_MS), &why), ONESHOT_UNREACHED);
	assert_non_null(strstr(why.text, "Connection refused"));
	fd = open_server(SOCK_DGRAM, &a);
	(void)close(fd);
	assert_int_equal(oneshot_udp(&o, &a, deadline_in(PATIENT_MS), &why), ONESHOT_UNREACHED);
	assert_non_null(strstr(why.text, "Connection refused"));
}

/* A first datagram that is lost: the second one comes after 500 ms. */
static void
sends_a_datagram_again(void **state)
{
	static struct oneshot o;
	struct failure why;
	struct address a;
	int fd = open_server(SOCK_DGRAM, &a);
	uint8_t first[512];
	pid_t pid = fork();

	(void)state;
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		(void)alarm(30);
		(void)recv(fd, first, sizeof first, 0);
		serve(fd, SOCK_DGRAM, ANSWERS);
	}
	assert_int_equal(oneshot_begin(&o, DNS_OWN_HEALTH, &why), 0);
	assert_int_equal(oneshot_udp(&o, &a, deadline_in(PATIENT_MS), &why), ONESHOT_ANSWERED);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	(void)close(fd);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(no_listener_is_reported),
		cmocka_unit_test(sends_a_datagram_again),
	};

	return RUN_ROWS(rows, reads_a_response) +
	    cmocka_run_group_tests_name("oneshot", singles, NULL, NULL);
}
