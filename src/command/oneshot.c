#include "command/oneshot.h"

#include <sys/epoll.h>
#include <sys/random.h>

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "transport/net.h"

/* Resent because a datagram may be dropped under load. */
enum { RESEND_MS = 500 };

int
oneshot_begin(struct oneshot *o, enum dns_own_question question, struct failure *why)
{
	uint16_t id;

	if (getrandom(&id, sizeof id, 0) != sizeof id)
		return fail_errno(why, "random numbers");
	o->query_len = dns_write_query(o->query + FRAME_PREFIX_LEN, id, question);
	frame_write_prefix(o->query, o->query_len);
	o->answer_len = 0;
	return 0;
}

int
oneshot_begin_ns(struct oneshot *o, const uint8_t *name, size_t len, struct failure *why)
{
	uint16_t id;

	if (getrandom(&id, sizeof id, 0) != sizeof id)
		return fail_errno(why, "random numbers");
	o->query_len = dns_write_ns_query(o->query + FRAME_PREFIX_LEN, id, name, len);
	frame_write_prefix(o->query, o->query_len);
	o->answer_len = 0;
	return 0;
}

const uint8_t *
oneshot_message(const struct oneshot *o)
{
	return o->answer + FRAME_PREFIX_LEN;
}

static bool
matches(const struct oneshot *o)
{
	const uint8_t *query = o->query + FRAME_PREFIX_LEN;

	return o->answer_len >= DNS_HEADER_LEN && dns_id(oneshot_message(o)) == dns_id(query) &&
	    dns_match_response(oneshot_message(o), o->answer_len, query,
		dns_question_len(query, o->query_len)) != DNS_MISMATCH;
}

/* Converts the errno of a failed socket call. */
static enum oneshot_end
fail_socket(struct failure *why, const char *step)
{
	if (errno == ETIMEDOUT)
		return ONESHOT_TIMED_OUT;
	(void)fail_errno(why, "%s", step);
	return ONESHOT_UNREACHED;
}

/* ---- UDP ---- */

/* Receives datagrams until one is the response: 1; 0 at the moment UNTIL; -1 with errno. */
static int
receive_datagram(struct oneshot *o, int fd, struct deadline until)
{
	ssize_t n;

	while (!deadline_passed(until, deadline_now())) {
		if (net_wait(fd, POLLIN, until) == -1)
			return errno == ETIMEDOUT ? 0 : -1;
		n = read(fd, o->answer + FRAME_PREFIX_LEN, DNS_MESSAGE_MAX);
		if (n == -1 && errno != EAGAIN)
			return -1;
		o->answer_len = n == -1 ? 0 : (size_t)n;
		if (matches(o))
			return 1;
	}
	return 0;
}

static enum oneshot_end
exchange_datagrams(struct oneshot *o, int fd, struct deadline by, struct failure *why)
{
	struct deadline now = deadline_now();
	int n = 0;

	while (n == 0 && !deadline_passed(by, now)) {
		if (write(fd, o->query + FRAME_PREFIX_LEN, o->query_len) == -1)
			return fail_socket(why, "send");
		n = receive_datagram(o, fd, deadline_sooner(by, deadline_after(now, RESEND_MS)));
		if (n == -1)
			return fail_socket(why, "receive");
		now = deadline_now();
	}
	return n == 1 ? ONESHOT_ANSWERED : ONESHOT_TIMED_OUT;
}

enum oneshot_end
oneshot_udp(struct oneshot *o, const struct address *to, struct deadline by, struct failure *why)
{
	struct address from;
	int fd = net_connect_udp(to, &from, why);
	enum oneshot_end end;

	if (fd == -1)
		return ONESHOT_UNREACHED;
	end = exchange_datagrams(o, fd, by, why);
	(void)close(fd);
	return end;
}

/* ---- streams ---- */

int
oneshot_wait(const struct stream *s, struct deadline by)
{
	return net_wait(stream_fd(s), (stream_events(s) & EPOLLOUT) != 0 ? POLLOUT : POLLIN, by);
}

/* Reads up to CAP bytes: their number, 0 when there are none now, -1 with the reason. */
static ssize_t
read_tcp(int fd, uint8_t *buf, size_t cap, enum oneshot_end *end, struct failure *why)
{
	ssize_t n = read(fd, buf, cap);

	if (n > 0)
		return n;
	if (n == -1 && errno == EAGAIN)
		return 0;
	if (n == -1)
		*end = fail_socket(why, "receive");
	else
		(void)fail_with(why, "the connection was closed without a response");
	return -1;
}

/* Reads the response from a stream, or from FD if S is NULL. */
static enum oneshot_end
receive_frame(struct oneshot *o, int fd, struct stream *s, struct deadline by, struct failure *why)
{
	enum oneshot_end end = ONESHOT_FAILED;
	size_t have = 0;
	ssize_t n;

	while (!frame_is_whole(o->answer, have, &o->answer_len)) {
		n = s != NULL ? stream_read(s, o->answer + have, sizeof o->answer - have, why) :
				read_tcp(fd, o->answer + have, sizeof o->answer - have, &end, why);
		if (n == -1)
			return end;
		have += (size_t)n;
		if (n == 0 && (s != NULL ? oneshot_wait(s, by) : net_wait(fd, POLLIN, by)) == -1)
			return fail_socket(why, "receive");
	}
	if (matches(o))
		return ONESHOT_ANSWERED;
	(void)fail_with(why, "response does not match the query");
	return ONESHOT_FAILED;
}

/* The query always fits into the send buffer of a new connection. */
static enum oneshot_end
exchange_tcp(struct oneshot *o, int fd, struct deadline by, struct failure *why)
{
	if (net_wait(fd, POLLOUT, by) == -1)
		return fail_socket(why, "connect");
	if (net_connected(fd, why) == -1)
		return ONESHOT_UNREACHED;
	if (write(fd, o->query, FRAME_PREFIX_LEN + o->query_len) == -1)
		return fail_socket(why, "send");
	return receive_frame(o, fd, NULL, by, why);
}

enum oneshot_end
oneshot_tcp(struct oneshot *o, const struct address *to, struct deadline by, struct failure *why)
{
	int fd = net_connect(to, false, why);
	enum oneshot_end end;

	if (fd == -1)
		return ONESHOT_UNREACHED;
	end = exchange_tcp(o, fd, by, why);
	(void)close(fd);
	return end;
}

enum oneshot_end
oneshot_stream(struct oneshot *o, struct stream *s, struct deadline by, struct failure *why)
{
	size_t len = FRAME_PREFIX_LEN + o->query_len;
	ssize_t n = stream_write(s, o->query, len, why);

	if (n == -1)
		return ONESHOT_FAILED;
	if ((size_t)n != len) {
		(void)fail_with(why, "cannot send the query");
		return ONESHOT_FAILED;
	}
	return receive_frame(o, -1, s, by, why);
}
