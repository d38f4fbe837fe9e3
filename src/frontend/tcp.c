#include "frontend/tcp.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/waitset.h"
#include "format/frame.h"
#include "query/quota.h"
#include "tcp_internal.h"

enum {
	WRITE_AT_ONCE = 64,

	/* However few slots are left, a client may be idle for so long. */
	MIN_IDLE_MS = 250,

	/*
	 * A client of a worker that retires has paused when it sends nothing for this long; half of
	 * that after a second, and so on, but never less than a client needs to see the end.
	 */
	RETIRE_IDLE_MS = 500,
	RETIRE_IDLE_MIN_MS = 1,

	/* A client that does not read its answers has this long while others wait for a slot. */
	WRITE_GRACE_MS = 1000
};

/* ---- opening and closing ---- */

struct tcp *
tcp_new(const struct config *config, const int *listeners, size_t count, int set,
    struct query_table *table, struct quota *quota, size_t clients, struct failure *why)
{
	struct tcp *t = pages_new(1, sizeof *t);
	size_t i;

	if (t == NULL) {
		(void)fail_errno(why, "clients");
		return NULL;
	}
	t->config = config;
	acceptor_init(&t->acceptor, set, WAITSET_LISTENER, listeners, count);
	t->set = set;
	t->table = table;
	t->quota = quota;
	t->slots = clients;
	for (i = 0; i < CLIENT_STATES; i++)
		TAILQ_INIT(&t->states[i]);
	TAILQ_INIT(&t->ready);
	TAILQ_INIT(&t->dirty);
	TAILQ_INIT(&t->abandoned);
	TAILQ_INIT(&t->short_of_memory);
	t->clients = pages_new(clients, sizeof *t->clients);
	t->buffers = pages_new(clients, pages_stride(FRAME_MAX));
	t->throttled = pages_new(quota_capacity(quota), sizeof *t->throttled);
	if (t->clients == NULL || t->buffers == NULL || t->throttled == NULL) {
		(void)fail_errno(why, "clients");
		tcp_free(t);
		return NULL;
	}
	tcp_listen(t, deadline_now());
	return t;
}

void
tcp_free(struct tcp *t)
{
	size_t i;

	if (t == NULL)
		return;
	for (i = 0; t->clients != NULL && i < t->touched; i++)
		if (t->clients[i].state != CLIENT_FREE)
			tcp_close_client(t, &t->clients[i], deadline_now());
	pages_free(t->throttled, quota_capacity(t->quota), sizeof *t->throttled);
	pages_free(t->buffers, t->slots, pages_stride(FRAME_MAX));
	pages_free(t->clients, t->slots, sizeof *t->clients);
	pages_free(t, 1, sizeof *t);
}

/* ---- reading queries ---- */

static void
set_dirty(struct tcp *t, struct client *c)
{
	if (c->is_dirty)
		return;
	c->is_dirty = true;
	TAILQ_INSERT_TAIL(&t->dirty, c, dirty_link);
}

void
tcp_client_ready(struct tcp *t, size_t client, uint32_t events)
{
	struct client *c = &t->clients[client];

	if (c->state == CLIENT_FREE)
		return;
	if ((events & EPOLLERR) != 0) {
		c->input = INPUT_RESET;
		tcp_set_ready(t, c);
	} else if (c->input != INPUT_ENDED && (events & (EPOLLRDHUP | EPOLLHUP)) != 0) {
		c->input = INPUT_LAST;
		tcp_set_ready(t, c);
	} else if (c->input != INPUT_ENDED && (events & EPOLLIN) != 0 && !t->draining) {
		tcp_set_readable(t, c);
	}
	if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 && c->write_blocked) {
		c->write_blocked = false;
		set_dirty(t, c);
	}
}

/* After something was read from a client or sent to it: puts it into its state, or closes it. */
static void
update_client_state(struct tcp *t, struct client *c, struct deadline now)
{
	bool once = t->config->timeouts.client_idle_ms == 0 && c->has_asked;
	size_t len;

	if (!TAILQ_EMPTY(&c->answered))
		tcp_set_state(t, c, c->write_blocked ? CLIENT_WRITING : CLIENT_WAITING, now);
	else if (frame_is_whole(c->in, c->in_len, &len))
		tcp_set_state(t, c, CLIENT_WAITING, now);
	else if (c->in_len > 0 && c->input != INPUT_ENDED && !t->draining)
		tcp_set_state(t, c, CLIENT_READING, now);
	else if (!TAILQ_EMPTY(&c->in_flight))
		tcp_set_state(t, c, CLIENT_WAITING, now);
	else if (!tcp_has_input(c) && (c->input == INPUT_ENDED || t->draining || once))
		tcp_close_client(t, c, now);
	else
		tcp_set_state(t, c, CLIENT_IDLE, now);
}

/* Whether there is nothing left to read in front of the end. */
static bool
is_at_end(const struct client *c)
{
	uint8_t byte;

	return recv(c->fd, &byte, sizeof byte, MSG_PEEK) == 0;
}

/*
 * Reads more bytes behind the first HAVE. Returns their new number, and updates `input'. Where
 * memory is short, no more than a page is read.
 */
static size_t
receive(const struct tcp *t, struct client *c, uint8_t *bytes, size_t have)
{
	size_t end = tcp_buffer_limit(t);
	size_t room = end > have ? end - have : 0;
	ssize_t n;

	if (room == 0) {
		/* A client that has gone must not hold the memory that all wait for. */
		if (c->input == INPUT_LAST && is_at_end(c))
			c->input = INPUT_ENDED;
		return have;
	}
	n = recv(c->fd, bytes + have, room, 0);
	if (n > 0) {
		/* Less than there was room for is all there was, but for the end. */
		if (c->input == INPUT_SOME && (size_t)n < room)
			c->input = INPUT_NONE;
		return have + (size_t)n;
	}
	if (n == 0)
		c->input = INPUT_ENDED;
	else if (errno == EAGAIN)
		c->input = INPUT_NONE;
	else if (errno != EINTR)
		c->input = INPUT_RESET;
	return have;
}

static struct query *
take(struct tcp *t, struct client *c, const uint8_t *message, size_t len, struct deadline now)
{
	struct query *q = query_new(t->table, message, len);

	if (q == NULL)
		return NULL;
	q->client = c;
	q->allowed = c->allowed;
	q->arrived = now;
	q->by = deadline_after(now, t->config->timeouts.query_ms);
	c->has_asked = true;
	tcp_count_query(c, q);
	TAILQ_INSERT_TAIL(&c->in_flight, q, client_link);
	return q;
}

/* Reads once from a client, and takes the whole messages there are. */
static size_t
gather_from(struct tcp *t, struct client *c, struct query **queries, size_t room,
    struct deadline now)
{
	/* Most clients leave nothing behind, and so need no memory of their own. */
	uint8_t *bytes = c->in_len > 0 ? c->in : t->scratch;
	size_t have = c->in_len;
	size_t used = 0;
	size_t count = 0;
	size_t len;

	if (tcp_has_input(c) && !frame_is_whole(bytes, have, &len))
		have = receive(t, c, bytes, have);
	/* The client reset the connection; drop its queries. */
	if (c->input == INPUT_RESET) {
		tcp_close_client(t, c, now);
		return 0;
	}
	while (count < room && frame_is_whole(bytes + used, have - used, &len)) {
		const uint8_t *message = bytes + used + FRAME_PREFIX_LEN;

		if (!tcp_may_take(t, c, message, len) ||
		    (queries[count] = take(t, c, message, len, now)) == NULL)
			break;
		count++;
		used += FRAME_PREFIX_LEN + len;
	}
	memmove(c->in, bytes + used, have - used);
	c->in_len = have - used;
	/* A client that has more is served again after the others. */
	tcp_clear_ready(t, c);
	tcp_unthrottle(t, c);
	tcp_count_buffer(t, c);
	if ((tcp_has_input(c) || frame_is_whole(c->in, c->in_len, &len)) && !tcp_throttle(t, c))
		tcp_set_ready(t, c);
	tcp_wake_throttled(t, c->addr);
	update_client_state(t, c, now);
	return count;
}

size_t
tcp_gather(struct tcp *t, struct query **queries, size_t room, struct deadline now)
{
	struct client *c;
	struct client *last;
	const struct client_addr *addr;
	size_t count = 0;

	while ((addr = quota_next_released(t->quota)) != NULL)
		tcp_wake_throttled(t, addr);
	last = TAILQ_LAST(&t->ready, client_list);
	while (count < room && query_table_free_slots(t->table) > 0 &&
	    (c = TAILQ_FIRST(&t->ready)) != NULL) {
		count += gather_from(t, c, queries + count, room - count, now);
		if (c == last)
			break;
	}
	return count;
}

bool
tcp_has_work(const struct tcp *t)
{
	return (!TAILQ_EMPTY(&t->ready) || quota_has_released(t->quota)) &&
	    query_table_free_slots(t->table) > 0;
}

struct query *
tcp_next_abandoned(struct tcp *t)
{
	struct query *q = TAILQ_FIRST(&t->abandoned);

	if (q != NULL)
		TAILQ_REMOVE(&t->abandoned, q, client_link);
	return q;
}

/* ---- writing answers ---- */

void
tcp_answer(struct tcp *t, struct query *q)
{
	struct client *c = q->client;

	c->addr->large -= q->large;
	query_answered(t->table, q);
	c->addr->large += q->large;
	TAILQ_REMOVE(&c->in_flight, q, client_link);
	TAILQ_INSERT_TAIL(&c->answered, q, client_link);
	set_dirty(t, c);
}

static void
stop_reading(struct tcp *t, struct client *c)
{
	c->input = INPUT_ENDED;
	c->in_len = 0;
	tcp_count_buffer(t, c);
	tcp_clear_ready(t, c);
	tcp_unthrottle(t, c);
}

/* Frees the slot of a query, for which another client of the address may wait. */
static void
free_query(struct tcp *t, struct client *c, struct query *q)
{
	tcp_uncount_query(c, q);
	query_free(t->table, q);
	tcp_wake_throttled(t, c->addr);
}

void
tcp_reject(struct tcp *t, struct query *q)
{
	struct client *c = q->client;

	TAILQ_REMOVE(&c->in_flight, q, client_link);
	/* First, so that the slot that it frees goes to another client. */
	stop_reading(t, c);
	free_query(t, c, q);
	set_dirty(t, c);
}

/* Frees the slots of the answers that are sent now that N more bytes are. */
static void
count_sent(struct tcp *t, struct client *c, size_t n, struct deadline now)
{
	struct query *q;

	c->sent += n;
	while ((q = TAILQ_FIRST(&c->answered)) != NULL &&
	    c->sent >= FRAME_PREFIX_LEN + q->response_len) {
		c->sent -= FRAME_PREFIX_LEN + q->response_len;
		TAILQ_REMOVE(&c->answered, q, client_link);
		free_query(t, c, q);
		/* It reads its answers: its time to do so begins again. */
		tcp_set_state(t, c, CLIENT_WAITING, now);
	}
}

static ssize_t
write_answers(const struct client *c)
{
	struct iovec pieces[WRITE_AT_ONCE];
	struct msghdr message = { .msg_iov = pieces };
	const struct query *q;

	TAILQ_FOREACH(q, &c->answered, client_link) {
		if (message.msg_iovlen == WRITE_AT_ONCE)
			break;
		pieces[message.msg_iovlen++] = (struct iovec){ query_frame(q),
			FRAME_PREFIX_LEN + q->response_len };
	}
	pieces[0].iov_base = (uint8_t *)pieces[0].iov_base + c->sent;
	pieces[0].iov_len -= c->sent;
	return sendmsg(c->fd, &message, MSG_NOSIGNAL);
}

static void
send_to(struct tcp *t, struct client *c, struct deadline now)
{
	ssize_t n;

	while (!c->write_blocked && !TAILQ_EMPTY(&c->answered)) {
		if ((n = write_answers(c)) >= 0) {
			count_sent(t, c, (size_t)n, now);
		} else if (errno == EAGAIN || errno == EINTR) {
			/* After EINTR the socket is writable, and the next turn tries again. */
			c->write_blocked = true;
			(void)waitset_change(t->set, c->fd, TCP_CLIENT_EVENTS | EPOLLOUT,
			    WAITSET_CLIENT, (size_t)(c - t->clients));
		} else {
			tcp_close_client(t, c, now);
			return;
		}
	}
	update_client_state(t, c, now);
}

void
tcp_send(struct tcp *t, struct deadline now)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&t->dirty)) != NULL) {
		TAILQ_REMOVE(&t->dirty, c, dirty_link);
		c->is_dirty = false;
		send_to(t, c, now);
	}
	while ((c = tcp_memory_hog(t)) != NULL)
		tcp_close_client(t, c, now);
	tcp_wake_short_of_memory(t);
}

/* ---- time ---- */

/* How long a client may be idle: less once half of the slots are in use (RFC 9210 4.2). */
static int
effective_idle_timeout_ms(const struct tcp *t)
{
	int idle_ms = t->config->timeouts.client_idle_ms;
	size_t left = t->slots - t->connected;
	int64_t ms = idle_ms;

	if (left < t->slots / 2)
		ms = ms * (int64_t)left / (int64_t)(t->slots / 2);
	if (ms < MIN_IDLE_MS)
		ms = MIN_IDLE_MS;
	if (t->retiring && ms > t->retire_idle_ms)
		ms = t->retire_idle_ms;
	return ms < idle_ms ? (int)ms : idle_ms;
}

/* When the client that has been in that state longest is to be closed. */
static struct deadline
due(const struct tcp *t, enum client_state state)
{
	const struct client *c = TAILQ_FIRST(&t->states[state]);
	int idle_ms = effective_idle_timeout_ms(t);
	int ms;

	if (c == NULL)
		return DEADLINE_NEVER;
	if (state == CLIENT_IDLE && idle_ms > 0)
		ms = idle_ms;
	else if (state == CLIENT_WRITING)
		ms = query_table_free_slots(t->table) > 0 ? t->config->timeouts.query_ms :
							    WRITE_GRACE_MS;
	else
		ms = t->config->timeouts.client_read_ms;
	return deadline_after(c->since, ms);
}

static void
expire_client(struct tcp *t, struct client *c, struct deadline now)
{
	bool unread = tcp_has_input(c) && !tcp_holds_scarce_memory(t, c) &&
	    (c->state == CLIENT_IDLE ||
		(c->state == CLIENT_READING &&
		    (c->throttled != NULL || query_table_free_slots(t->table) == 0)));

	/* What it has sent is not read before there is a slot for it. */
	if (c->state == CLIENT_IDLE && !unread && tcp_client_has_sent(t, c, now))
		return;
	if (unread) {
		tcp_set_state(t, c, CLIENT_WAITING, now);
	} else if (c->state == CLIENT_READING && !TAILQ_EMPTY(&c->in_flight)) {
		/* It gets the answers that it waits for, and nothing more is read from it. */
		stop_reading(t, c);
		tcp_set_state(t, c, CLIENT_WAITING, now);
	} else {
		tcp_close_client(t, c, now);
	}
}

static int
retire_idle_ms(const struct tcp *t, struct deadline now)
{
	int64_t seconds = deadline_us_between(t->retired, now) / 1000000;
	int ms = seconds < 16 ? RETIRE_IDLE_MS >> seconds : 0;

	return ms > RETIRE_IDLE_MIN_MS ? ms : RETIRE_IDLE_MIN_MS;
}

static const enum client_state timed_states[] = { CLIENT_IDLE, CLIENT_READING, CLIENT_WRITING };

void
tcp_expire(struct tcp *t, struct deadline now)
{
	size_t i;

	if (t->retiring)
		t->retire_idle_ms = retire_idle_ms(t, now);
	for (i = 0; i < sizeof timed_states / sizeof timed_states[0]; i++)
		while (deadline_passed(due(t, timed_states[i]), now))
			expire_client(t, TAILQ_FIRST(&t->states[timed_states[i]]), now);
	tcp_listen(t, now);
}

struct deadline
tcp_deadline(const struct tcp *t)
{
	struct deadline soonest = acceptor_deadline(&t->acceptor);
	size_t i;

	for (i = 0; i < sizeof timed_states / sizeof timed_states[0]; i++)
		soonest = deadline_sooner(soonest, due(t, timed_states[i]));
	return soonest;
}

void
tcp_drain(struct tcp *t)
{
	struct client *c;
	size_t i;

	t->draining = true;
	for (i = 0; i < t->touched; i++) {
		c = &t->clients[i];
		if (c->state != CLIENT_FREE && c->input != INPUT_ENDED)
			tcp_set_readable(t, c);
	}
}

size_t
tcp_client_count(const struct tcp *t)
{
	return t->connected;
}
