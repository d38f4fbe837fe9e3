#include "frontend/tcp.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/waitset.h"
#include "format/dns.h"
#include "format/frame.h"
#include "query/quota.h"
#include "tcp_internal.h"

enum {
	WRITE_AT_ONCE = 64,

	/* However few slots are left, a client may be idle for so long. */
	MIN_IDLE_MS = 250,

	/* A client may have so many times the free slots: half as many as its address. */
	SHARE_OF_CLIENT = 64,

	/*
	 * All unfinished messages, large queries and their responses together take so much memory:
	 * with as much as all that is small can take, two workers stay under 64 MiB.
	 */
	LARGE_MAX = 14 * 1024 * 1024,

	/*
	 * Large queries in flight and their responses take so much of it, and those of an address so
	 * many times what is free.
	 */
	LARGE_QUERIES_MAX = 8 * 1024 * 1024,
	SHARE_OF_LARGE = 8,

	/* Beyond this, clients that do not read their answers are closed. */
	LARGE_ANSWERS_MAX = 12 * 1024 * 1024,

	/* Where memory is short, an address with more than one of so many parts loses clients. */
	LARGE_PARTS = 16,

	/*
	 * A client of a worker that retires has paused when it sends nothing for this long; half of
	 * that after a second, and so on, but never less than a client needs to see the end.
	 */
	RETIRE_IDLE_MS = 500,
	RETIRE_IDLE_MIN_MS = 1,

	/* A client that does not read its answers has this long while others wait for a slot. */
	WRITE_GRACE_MS = 1000
};

/* ---- the table of clients ---- */

void
tcp_set_state(struct tcp *t, struct client *c, enum client_state state, struct deadline now)
{
	/* The time of a state does not begin again with every byte. */
	if (c->state == state)
		return;
	TAILQ_REMOVE(&t->states[c->state], c, state_link);
	c->state = state;
	c->since = now;
	/* The slot used last is the warmest. */
	if (state == CLIENT_FREE)
		TAILQ_INSERT_HEAD(&t->states[state], c, state_link);
	else
		TAILQ_INSERT_TAIL(&t->states[state], c, state_link);
}

static void
set_ready(struct tcp *t, struct client *c)
{
	if (c->is_ready)
		return;
	c->is_ready = true;
	TAILQ_INSERT_TAIL(&t->ready, c, ready_link);
}

static void
clear_ready(struct tcp *t, struct client *c)
{
	if (!c->is_ready)
		return;
	c->is_ready = false;
	TAILQ_REMOVE(&t->ready, c, ready_link);
}

/* Whether there may be something to read from its socket. */
static bool
has_input(const struct client *c)
{
	return c->input == INPUT_SOME || c->input == INPUT_LAST;
}

void
tcp_set_readable(struct tcp *t, struct client *c)
{
	if (c->input == INPUT_NONE)
		c->input = INPUT_SOME;
	set_ready(t, c);
}

/* ---- sharing the slots for queries ---- */

/*
 * Whether a client may have one more query in flight: alone it gets nearly all slots, but leaves
 * some to others of its address, and those together leave some to other addresses. Several
 * addresses can still take all, for as long as their queries last.
 */
static bool
may_take(const struct tcp *t, const struct client *c)
{
	size_t free_slots = query_table_room(t->table);

	return quota_allows(c->addr, free_slots) &&
	    c->queries_in_flight <= SHARE_OF_CLIENT * free_slots;
}

static void
count_query(struct client *c, const struct query *q)
{
	c->queries_in_flight++;
	c->addr->queries_in_flight++;
	c->addr->large += q->large;
}

static void
uncount_query(struct client *c, const struct query *q)
{
	c->queries_in_flight--;
	c->addr->queries_in_flight--;
	c->addr->large -= q->large;
}

static struct client_list *
throttled_of(const struct tcp *t, const struct client_addr *addr)
{
	return &t->throttled[addr->index];
}

/* Lets a client wait until its address is allowed a query. */
static void
throttle_client(struct tcp *t, struct client *c)
{
	if (c->throttled != NULL)
		return;
	c->throttled = throttled_of(t, c->addr);
	c->addr->waiting++;
	TAILQ_INSERT_TAIL(c->throttled, c, throttle_link);
}

static void
wait_for_memory(struct tcp *t, struct client *c)
{
	if (c->throttled != NULL)
		return;
	c->throttled = &t->short_of_memory;
	TAILQ_INSERT_TAIL(c->throttled, c, throttle_link);
}

static void
unthrottle(struct tcp *t, struct client *c)
{
	if (c->throttled == NULL)
		return;
	if (c->throttled != &t->short_of_memory)
		c->addr->waiting--;
	TAILQ_REMOVE(c->throttled, c, throttle_link);
	c->throttled = NULL;
}

/* The next client of that address that may go on does. */
static void
wake_throttled_client(struct tcp *t, const struct client_addr *addr)
{
	struct client *c;

	if (!quota_allows(addr, query_table_room(t->table)))
		return;
	/* Those before it that may not have many queries each, so they are few. */
	TAILQ_FOREACH(c, throttled_of(t, addr), throttle_link) {
		if (!may_take(t, c))
			continue;
		unthrottle(t, c);
		set_ready(t, c);
		return;
	}
}

/* Frees the slot of a query. */
static void
free_query(struct tcp *t, struct client *c, struct query *q)
{
	uncount_query(c, q);
	query_free(t->table, q);
	wake_throttled_client(t, c->addr);
}

/* ---- memory for large messages ---- */

static size_t
large_memory(const struct tcp *t)
{
	return t->in_large + query_table_large(t->table);
}

/* Whether an address may have one more large query: as with slots, it never gets all memory. */
static bool
may_take_large(const struct tcp *t, const struct client_addr *addr)
{
	size_t used = query_table_large(t->table);

	return used < LARGE_QUERIES_MAX &&
	    addr->large <= SHARE_OF_LARGE * (LARGE_QUERIES_MAX - used);
}

/* Whether a client has to wait for memory: to take a query, or to read more than a page of one. */
static bool
is_short_of_memory(const struct tcp *t, const struct client *c)
{
	size_t len;

	if (frame_is_whole(c->in, c->in_len, &len))
		return len > PAGES_LEN && !may_take_large(t, c->addr);
	return c->in_len >= PAGES_LEN && large_memory(t) >= LARGE_MAX;
}

/* Clients that had to wait for memory, and have it now, go on. */
static void
wake_short_of_memory(struct tcp *t)
{
	struct client *c;
	struct client *next;

	for (c = TAILQ_FIRST(&t->short_of_memory); c != NULL; c = next) {
		next = TAILQ_NEXT(c, throttle_link);
		if (is_short_of_memory(t, c))
			continue;
		unthrottle(t, c);
		set_ready(t, c);
	}
}

/* Counts the memory that a client's buffer takes, and gives back what is not needed any more. */
static void
count_buffer(struct tcp *t, struct client *c)
{
	size_t taken = pages_beyond_first(c->in_len);

	if (taken == 0 && c->in_large > 0)
		pages_clear(c->in + c->in_len, 1, FRAME_MAX - c->in_len);
	else if (taken < c->in_large)
		taken = c->in_large;
	t->in_large = t->in_large - c->in_large + taken;
	c->in_large = taken;
}

/* ---- opening and closing ---- */

void
tcp_close_client(struct tcp *t, struct client *c, struct deadline now)
{
	struct query *q;

	clear_ready(t, c);
	unthrottle(t, c);
	c->in_len = 0;
	count_buffer(t, c);
	if (c->is_dirty) {
		c->is_dirty = false;
		TAILQ_REMOVE(&t->dirty, c, dirty_link);
	}
	while ((q = TAILQ_FIRST(&c->in_flight)) != NULL) {
		TAILQ_REMOVE(&c->in_flight, q, client_link);
		q->client = NULL;
		uncount_query(c, q);
		TAILQ_INSERT_TAIL(&t->abandoned, q, client_link);
	}
	while ((q = TAILQ_FIRST(&c->answered)) != NULL) {
		TAILQ_REMOVE(&c->answered, q, client_link);
		uncount_query(c, q);
		query_free(t->table, q);
	}
	wake_throttled_client(t, c->addr);
	c->addr->connections--;
	quota_leave(t->quota, c->addr);
	(void)close(c->fd);
	t->connected--;
	tcp_set_state(t, c, CLIENT_FREE, now);
}

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
		set_ready(t, c);
	} else if (c->input != INPUT_ENDED && (events & (EPOLLRDHUP | EPOLLHUP)) != 0) {
		c->input = INPUT_LAST;
		set_ready(t, c);
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
	else if (!has_input(c) && (c->input == INPUT_ENDED || t->draining || once))
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
	size_t end = large_memory(t) < LARGE_MAX ? FRAME_MAX : PAGES_LEN;
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
	count_query(c, q);
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

	if (has_input(c) && !frame_is_whole(bytes, have, &len))
		have = receive(t, c, bytes, have);
	/* The client reset the connection; drop its queries. */
	if (c->input == INPUT_RESET) {
		tcp_close_client(t, c, now);
		return 0;
	}
	while (count < room && frame_is_whole(bytes + used, have - used, &len)) {
		const uint8_t *message = bytes + used + FRAME_PREFIX_LEN;

		/* Health checks are answered locally and are exempt from the limits. */
		if (!may_take(t, c) && !dns_question_is_own(message, len))
			break;
		if (len > PAGES_LEN && !may_take_large(t, c->addr))
			break;
		queries[count] = take(t, c, message, len, now);
		if (queries[count] == NULL)
			break;
		count++;
		used += FRAME_PREFIX_LEN + len;
	}
	memmove(c->in, bytes + used, have - used);
	c->in_len = have - used;
	/* A client that has more is served again after the others. */
	clear_ready(t, c);
	unthrottle(t, c);
	count_buffer(t, c);
	if (has_input(c) || frame_is_whole(c->in, c->in_len, &len)) {
		/* It goes on when a query of its address ends: there is at least one. */
		if (!may_take(t, c))
			throttle_client(t, c);
		else if (is_short_of_memory(t, c))
			wait_for_memory(t, c);
		else
			set_ready(t, c);
	}
	wake_throttled_client(t, c->addr);
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
		wake_throttled_client(t, addr);
	last = TAILQ_LAST(&t->ready, client_list);
	while (count < room && query_table_room(t->table) > 0 &&
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
	    query_table_room(t->table) > 0;
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
	count_buffer(t, c);
	clear_ready(t, c);
	unthrottle(t, c);
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

static bool
must_close_writer(const struct tcp *t)
{
	return query_table_large(t->table) > LARGE_ANSWERS_MAX || large_memory(t) > LARGE_MAX;
}

/*
 * Of the clients that do not read their answers, one whose address has most memory. NULL: none has
 * much.
 */
static struct client *
heaviest_writer(const struct tcp *t)
{
	struct client *heaviest = NULL;
	size_t most = LARGE_MAX / LARGE_PARTS;
	struct client *c;

	TAILQ_FOREACH(c, &t->states[CLIENT_WRITING], state_link) {
		if (c->addr->large <= most)
			continue;
		heaviest = c;
		most = c->addr->large;
	}
	return heaviest;
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
	while (must_close_writer(t) && (c = heaviest_writer(t)) != NULL)
		tcp_close_client(t, c, now);
	wake_short_of_memory(t);
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
		ms = query_table_room(t->table) > 0 ? t->config->timeouts.query_ms : WRITE_GRACE_MS;
	else
		ms = t->config->timeouts.client_read_ms;
	return deadline_after(c->since, ms);
}

/* Whether a client waits for memory while it has some, for which others wait. */
static bool
holds_scarce_memory(const struct tcp *t, const struct client *c)
{
	return c->throttled == &t->short_of_memory && c->in_large > 0;
}

static void
expire_client(struct tcp *t, struct client *c, struct deadline now)
{
	bool unread = has_input(c) && !holds_scarce_memory(t, c) &&
	    (c->state == CLIENT_IDLE ||
		(c->state == CLIENT_READING &&
		    (c->throttled != NULL || query_table_room(t->table) == 0)));

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
