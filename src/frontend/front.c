#include "frontend/front.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/waitset.h"
#include "format/dns.h"
#include "format/frame.h"
#include "front_internal.h"
#include "query/quota.h"

enum {
	WRITE_AT_ONCE = 64,

	/* However crowded it is, a client may be idle for so long. */
	CROWDED_IDLE_MS = 250,

	/* A client may have so many times the places that are free: half of what its address may. */
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

	/* Beyond this, clients that do not take their answers are closed. */
	LARGE_ANSWERS_MAX = 12 * 1024 * 1024,

	/* Where memory is short, an address with more than one of so many parts loses clients. */
	LARGE_PARTS = 16,

	/*
	 * A client of a worker that retires has paused when it sends nothing for this long; half of
	 * that after a second, and so on, but never less than a client needs to see the end.
	 */
	RETIRE_IDLE_MS = 500,
	RETIRE_IDLE_MIN_MS = 1,

	/* Who does not take its answers while others wait for a place is given that long. */
	WRITE_GRACE_MS = 1000
};

/* ---- the table of clients ---- */

void
front_enter(struct front *f, struct client *c, enum client_state state, struct deadline now)
{
	/* Being idle, or slow, does not begin again with every octet. */
	if (c->state == state)
		return;
	TAILQ_REMOVE(&f->states[c->state], c, state_link);
	c->state = state;
	c->since = now;
	/* The place used last is the warmest. */
	if (state == CLIENT_FREE)
		TAILQ_INSERT_HEAD(&f->states[state], c, state_link);
	else
		TAILQ_INSERT_TAIL(&f->states[state], c, state_link);
}

void
front_set_ready(struct front *f, struct client *c)
{
	if (c->ready)
		return;
	c->ready = true;
	TAILQ_INSERT_TAIL(&f->ready, c, ready_link);
}

void
front_clear_ready(struct front *f, struct client *c)
{
	if (!c->ready)
		return;
	c->ready = false;
	TAILQ_REMOVE(&f->ready, c, ready_link);
}

/* ---- sharing the slots for queries ---- */

/*
 * Whether a client may have one more query in flight: alone it gets nearly all slots, but leaves
 * some to others of its address, and those together leave some to other addresses. Several
 * addresses can still take all, for as long as their queries last.
 */
static bool
may_take(const struct front *f, const struct client *c)
{
	size_t free_slots = query_table_room(f->table);

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
throttled_of(const struct front *f, const struct client_addr *addr)
{
	return &f->throttled[addr->index];
}

/* Lets a client wait until its address is allowed a query. */
static void
throttle_client(struct front *f, struct client *c)
{
	if (c->throttled != NULL)
		return;
	c->throttled = throttled_of(f, c->addr);
	c->addr->waiting++;
	TAILQ_INSERT_TAIL(c->throttled, c, throttle_link);
}

static void
wait_for_memory(struct front *f, struct client *c)
{
	if (c->throttled != NULL)
		return;
	c->throttled = &f->short_of_memory;
	TAILQ_INSERT_TAIL(c->throttled, c, throttle_link);
}

static void
unthrottle(struct front *f, struct client *c)
{
	if (c->throttled == NULL)
		return;
	if (c->throttled != &f->short_of_memory)
		c->addr->waiting--;
	TAILQ_REMOVE(c->throttled, c, throttle_link);
	c->throttled = NULL;
}

/* The next client of that address that may go on does. */
static void
wake_throttled_client(struct front *f, const struct client_addr *addr)
{
	struct client *c;

	if (!quota_allows(addr, query_table_room(f->table)))
		return;
	/* Those before it that may not have many queries each, so they are few. */
	TAILQ_FOREACH(c, throttled_of(f, addr), throttle_link) {
		if (!may_take(f, c))
			continue;
		unthrottle(f, c);
		front_set_ready(f, c);
		return;
	}
}

/* Frees the slot of a query. */
static void
free_query(struct front *f, struct client *c, struct query *q)
{
	uncount_query(c, q);
	query_free(f->table, q);
	wake_throttled_client(f, c->addr);
}

/* ---- memory for large messages ---- */

static size_t
large_memory(const struct front *f)
{
	return f->in_large + query_table_large(f->table);
}

/* Whether an address may have one more large query: as with slots, it never gets all memory. */
static bool
may_take_large(const struct front *f, const struct client_addr *addr)
{
	size_t used = query_table_large(f->table);

	return used < LARGE_QUERIES_MAX &&
	    addr->large <= SHARE_OF_LARGE * (LARGE_QUERIES_MAX - used);
}

/* Whether a client has to wait for memory: to take a query, or to read more than a page of one. */
static bool
is_short_of_memory(const struct front *f, const struct client *c)
{
	size_t len;

	if (frame_is_whole(c->in, c->in_len, &len))
		return len > PAGES_LEN && !may_take_large(f, c->addr);
	return c->in_len >= PAGES_LEN && large_memory(f) >= LARGE_MAX;
}

/* Clients that had to wait for memory, and have it now, go on. */
static void
wake_short_of_memory(struct front *f)
{
	struct client *c;
	struct client *next;

	for (c = TAILQ_FIRST(&f->short_of_memory); c != NULL; c = next) {
		next = TAILQ_NEXT(c, throttle_link);
		if (is_short_of_memory(f, c))
			continue;
		unthrottle(f, c);
		front_set_ready(f, c);
	}
}

/* Counts the memory that a client's buffer has taken, and gives back what is not needed any more. */
static void
count_buffer(struct front *f, struct client *c)
{
	size_t taken = pages_beyond_first(c->in_len);

	if (taken == 0 && c->in_large > 0)
		pages_clear(c->in + c->in_len, 1, FRAME_MAX - c->in_len);
	else if (taken < c->in_large)
		taken = c->in_large;
	f->in_large = f->in_large - c->in_large + taken;
	c->in_large = taken;
}

/* ---- its life, and that of a client ---- */

void
front_close_client(struct front *f, struct client *c, struct deadline now)
{
	struct query *q;

	front_clear_ready(f, c);
	unthrottle(f, c);
	c->in_len = 0;
	count_buffer(f, c);
	if (c->dirty) {
		c->dirty = false;
		TAILQ_REMOVE(&f->dirty, c, dirty_link);
	}
	while ((q = TAILQ_FIRST(&c->in_hand)) != NULL) {
		TAILQ_REMOVE(&c->in_hand, q, client_link);
		q->client = NULL;
		uncount_query(c, q);
		TAILQ_INSERT_TAIL(&f->abandoned, q, client_link);
	}
	while ((q = TAILQ_FIRST(&c->answered)) != NULL) {
		TAILQ_REMOVE(&c->answered, q, client_link);
		uncount_query(c, q);
		query_free(f->table, q);
	}
	wake_throttled_client(f, c->addr);
	c->addr->connections--;
	quota_leave(f->quota, c->addr);
	(void)close(c->fd);
	f->connected--;
	front_enter(f, c, CLIENT_FREE, now);
}

struct front *
front_new(const struct config *config, const int *listeners, size_t count, int set,
    struct query_table *table, struct quota *quota, size_t clients, struct failure *why)
{
	struct front *f = pages_new(1, sizeof *f);
	size_t i;

	if (f == NULL) {
		(void)fail_errno(why, "clients");
		return NULL;
	}
	f->config = config;
	acceptor_init(&f->acceptor, set, WAITSET_LISTENER, listeners, count);
	f->set = set;
	f->table = table;
	f->quota = quota;
	f->client_count = clients;
	for (i = 0; i < CLIENT_STATES; i++)
		TAILQ_INIT(&f->states[i]);
	TAILQ_INIT(&f->ready);
	TAILQ_INIT(&f->dirty);
	TAILQ_INIT(&f->abandoned);
	TAILQ_INIT(&f->short_of_memory);
	f->clients = pages_new(clients, sizeof *f->clients);
	f->octets = pages_new(clients, pages_stride(FRAME_MAX));
	f->throttled = pages_new(quota_capacity(quota), sizeof *f->throttled);
	if (f->clients == NULL || f->octets == NULL || f->throttled == NULL) {
		(void)fail_errno(why, "clients");
		front_free(f);
		return NULL;
	}
	front_listen(f, deadline_now());
	return f;
}

void
front_free(struct front *f)
{
	size_t i;

	if (f == NULL)
		return;
	for (i = 0; f->clients != NULL && i < f->touched; i++)
		if (f->clients[i].state != CLIENT_FREE)
			front_close_client(f, &f->clients[i], deadline_now());
	pages_free(f->throttled, quota_capacity(f->quota), sizeof *f->throttled);
	pages_free(f->octets, f->client_count, pages_stride(FRAME_MAX));
	pages_free(f->clients, f->client_count, sizeof *f->clients);
	pages_free(f, 1, sizeof *f);
}

/* ---- what a client sends ---- */

static void
set_dirty(struct front *f, struct client *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	TAILQ_INSERT_TAIL(&f->dirty, c, dirty_link);
}

void
front_client_ready(struct front *f, size_t client, uint32_t events)
{
	struct client *c = &f->clients[client];

	if (c->state == CLIENT_FREE)
		return;
	if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		c->hung_up = true;
	/* Also when it has more in front of that, for which there is no place now. */
	c->gone = c->gone || (events & EPOLLERR) != 0;
	if (!c->ended && (c->hung_up || ((events & EPOLLIN) != 0 && !f->draining))) {
		c->readable = true;
		front_set_ready(f, c);
	}
	if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 && c->blocked) {
		c->blocked = false;
		set_dirty(f, c);
	}
}

/* Puts a client where it belongs after something was read from it or sent to it. */
static void
settle(struct front *f, struct client *c, struct deadline now)
{
	bool once = f->config->timeouts.client_idle_ms == 0 && c->has_asked;
	size_t len;

	if (!TAILQ_EMPTY(&c->answered))
		front_enter(f, c, c->blocked ? CLIENT_WRITING : CLIENT_WAITING, now);
	else if (frame_is_whole(c->in, c->in_len, &len))
		front_enter(f, c, CLIENT_WAITING, now);
	else if (c->in_len > 0 && !c->ended && !f->draining)
		front_enter(f, c, CLIENT_READING, now);
	else if (!TAILQ_EMPTY(&c->in_hand))
		front_enter(f, c, CLIENT_WAITING, now);
	else if (!c->readable && (c->ended || f->draining || once))
		front_close_client(f, c, now);
	else
		front_enter(f, c, CLIENT_IDLE, now);
}

/* Whether there is nothing left to read in front of the end. */
static bool
is_at_end(const struct client *c)
{
	uint8_t octet;

	return recv(c->fd, &octet, sizeof octet, MSG_PEEK) == 0;
}

/*
 * Reads more bytes behind the first HAVE. Returns their new number, and notes if more may follow.
 * Where memory is short, no more than a page is read.
 */
static size_t
receive(const struct front *f, struct client *c, uint8_t *octets, size_t have)
{
	size_t end = large_memory(f) < LARGE_MAX ? FRAME_MAX : PAGES_LEN;
	size_t room = end > have ? end - have : 0;
	ssize_t n;

	if (room == 0) {
		/* Who has gone must not hold the memory that all wait for. */
		c->ended = c->ended || (c->hung_up && is_at_end(c));
		c->readable = !c->ended;
		return have;
	}
	n = recv(c->fd, octets + have, room, 0);
	if (n > 0) {
		/* Less than there was room for is all there was. */
		c->readable = (size_t)n == room || c->hung_up;
		return have + (size_t)n;
	}
	if (n == -1 && errno == EINTR)
		return have;
	c->readable = false;
	c->ended = c->ended || n == 0;
	c->gone = n == -1 && errno != EAGAIN;
	return have;
}

static struct query *
take(struct front *f, struct client *c, const uint8_t *message, size_t len, struct deadline now)
{
	struct query *q = query_new(f->table, message, len);

	if (q == NULL)
		return NULL;
	q->client = c;
	q->allowed = c->allowed;
	q->arrived = now;
	q->by = deadline_after(now, f->config->timeouts.query_ms);
	c->has_asked = true;
	count_query(c, q);
	TAILQ_INSERT_TAIL(&c->in_hand, q, client_link);
	return q;
}

/* Reads once from a client, and takes the whole messages there are. */
static size_t
gather_from(struct front *f, struct client *c, struct query **queries, size_t room,
    struct deadline now)
{
	/* Most clients leave nothing behind, and so need no memory of their own. */
	uint8_t *octets = c->in_len > 0 ? c->in : f->scratch;
	size_t have = c->in_len;
	size_t used = 0;
	size_t count = 0;
	size_t len;

	if (c->readable && !frame_is_whole(octets, have, &len))
		have = receive(f, c, octets, have);
	/* Nobody is there to be answered: what it has asked is given up. */
	if (c->gone) {
		front_close_client(f, c, now);
		return 0;
	}
	while (count < room && frame_is_whole(octets + used, have - used, &len)) {
		const uint8_t *message = octets + used + FRAME_PREFIX_LEN;

		/* What is answered here at once takes nothing from anybody, and must pass in any rush. */
		if (!may_take(f, c) && !dns_question_is_own(message, len))
			break;
		if (len > PAGES_LEN && !may_take_large(f, c->addr))
			break;
		queries[count] = take(f, c, message, len, now);
		if (queries[count] == NULL)
			break;
		count++;
		used += FRAME_PREFIX_LEN + len;
	}
	memmove(c->in, octets + used, have - used);
	c->in_len = have - used;
	/* Who has more is served again after the others. */
	front_clear_ready(f, c);
	unthrottle(f, c);
	count_buffer(f, c);
	if (c->readable || frame_is_whole(c->in, c->in_len, &len)) {
		/* It goes on when a query of its address ends: there is at least one. */
		if (!may_take(f, c))
			throttle_client(f, c);
		else if (is_short_of_memory(f, c))
			wait_for_memory(f, c);
		else
			front_set_ready(f, c);
	}
	wake_throttled_client(f, c->addr);
	settle(f, c, now);
	return count;
}

size_t
front_gather(struct front *f, struct query **queries, size_t room, struct deadline now)
{
	struct client *c;
	struct client *last;
	const struct client_addr *addr;
	size_t count = 0;

	while ((addr = quota_next_released(f->quota)) != NULL)
		wake_throttled_client(f, addr);
	last = TAILQ_LAST(&f->ready, client_list);
	while (count < room && query_table_room(f->table) > 0 &&
	    (c = TAILQ_FIRST(&f->ready)) != NULL) {
		count += gather_from(f, c, queries + count, room - count, now);
		if (c == last)
			break;
	}
	return count;
}

bool
front_has_work(const struct front *f)
{
	return (!TAILQ_EMPTY(&f->ready) || quota_has_released(f->quota)) &&
	    query_table_room(f->table) > 0;
}

struct query *
front_next_abandoned(struct front *f)
{
	struct query *q = TAILQ_FIRST(&f->abandoned);

	if (q != NULL)
		TAILQ_REMOVE(&f->abandoned, q, client_link);
	return q;
}

/* ---- what a client gets ---- */

void
front_answer(struct front *f, struct query *q)
{
	struct client *c = q->client;

	c->addr->large -= q->large;
	query_answered(f->table, q);
	c->addr->large += q->large;
	TAILQ_REMOVE(&c->in_hand, q, client_link);
	TAILQ_INSERT_TAIL(&c->answered, q, client_link);
	set_dirty(f, c);
}

static void
stop_reading(struct front *f, struct client *c)
{
	c->ended = true;
	c->readable = false;
	c->in_len = 0;
	count_buffer(f, c);
	front_clear_ready(f, c);
	unthrottle(f, c);
}

void
front_reject(struct front *f, struct query *q)
{
	struct client *c = q->client;

	TAILQ_REMOVE(&c->in_hand, q, client_link);
	/* First, so that what it gives back is another's. */
	stop_reading(f, c);
	free_query(f, c, q);
	set_dirty(f, c);
}

/* Frees the places of those answers that are sent now that N more octets are. */
static void
count_sent(struct front *f, struct client *c, size_t n, struct deadline now)
{
	struct query *q;

	c->sent += n;
	while ((q = TAILQ_FIRST(&c->answered)) != NULL &&
	    c->sent >= FRAME_PREFIX_LEN + q->response_len) {
		c->sent -= FRAME_PREFIX_LEN + q->response_len;
		TAILQ_REMOVE(&c->answered, q, client_link);
		free_query(f, c, q);
		/* It does take its answers: its time to do so begins again. */
		front_enter(f, c, CLIENT_WAITING, now);
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
send_to(struct front *f, struct client *c, struct deadline now)
{
	ssize_t n;

	while (!c->blocked && !TAILQ_EMPTY(&c->answered)) {
		if ((n = write_answers(c)) >= 0) {
			count_sent(f, c, (size_t)n, now);
		} else if (errno == EAGAIN || errno == EINTR) {
			/* After EINTR the socket is writable, and the next turn tries again. */
			c->blocked = true;
			(void)waitset_change(f->set, c->fd, FRONT_CLIENT_EVENTS | EPOLLOUT,
			    WAITSET_CLIENT, (size_t)(c - f->clients));
		} else {
			front_close_client(f, c, now);
			return;
		}
	}
	settle(f, c, now);
}

static bool
must_close_writer(const struct front *f)
{
	return query_table_large(f->table) > LARGE_ANSWERS_MAX || large_memory(f) > LARGE_MAX;
}

/* The client that does not take its answers whose address has most memory; NULL: none has much. */
static struct client *
heaviest_writer(const struct front *f)
{
	struct client *heaviest = NULL;
	size_t most = LARGE_MAX / LARGE_PARTS;
	struct client *c;

	TAILQ_FOREACH(c, &f->states[CLIENT_WRITING], state_link) {
		if (c->addr->large <= most)
			continue;
		heaviest = c;
		most = c->addr->large;
	}
	return heaviest;
}

void
front_send(struct front *f, struct deadline now)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&f->dirty)) != NULL) {
		TAILQ_REMOVE(&f->dirty, c, dirty_link);
		c->dirty = false;
		send_to(f, c, now);
	}
	while (must_close_writer(f) && (c = heaviest_writer(f)) != NULL)
		front_close_client(f, c, now);
	wake_short_of_memory(f);
}

/* ---- time ---- */

/* How long a client may be idle: less, the fewer places are left beyond half of them (RFC 9210 4.2). */
static int
patience_ms(const struct front *f)
{
	int idle_ms = f->config->timeouts.client_idle_ms;
	size_t left = f->client_count - f->connected;
	int64_t ms = idle_ms;

	if (left < f->client_count / 2)
		ms = ms * (int64_t)left / (int64_t)(f->client_count / 2);
	if (ms < CROWDED_IDLE_MS)
		ms = CROWDED_IDLE_MS;
	if (f->retiring && ms > f->retire_idle_ms)
		ms = f->retire_idle_ms;
	return ms < idle_ms ? (int)ms : idle_ms;
}

/* When the client that has been in that state longest is to be closed. */
static struct deadline
due(const struct front *f, enum client_state state)
{
	const struct client *c = TAILQ_FIRST(&f->states[state]);
	int idle_ms = patience_ms(f);
	int ms;

	if (c == NULL)
		return DEADLINE_NEVER;
	if (state == CLIENT_IDLE && idle_ms > 0)
		ms = idle_ms;
	else if (state == CLIENT_WRITING)
		ms = query_table_room(f->table) > 0 ? f->config->timeouts.query_ms : WRITE_GRACE_MS;
	else
		ms = f->config->timeouts.client_read_ms;
	return deadline_after(c->since, ms);
}

/* Whether it waits for memory while it has some of it, for which others wait. */
static bool
hoards(const struct front *f, const struct client *c)
{
	return c->throttled == &f->short_of_memory && c->in_large > 0;
}

static void
expire_client(struct front *f, struct client *c, struct deadline now)
{
	bool unread = c->readable && !hoards(f, c) &&
	    (c->state == CLIENT_IDLE ||
		(c->state == CLIENT_READING &&
		    (c->throttled != NULL || query_table_room(f->table) == 0)));

	/* What it has sent is not read before there is a place for it. */
	if (c->state == CLIENT_IDLE && !unread && front_has_just_asked(f, c, now))
		return;
	if (unread) {
		front_enter(f, c, CLIENT_WAITING, now);
	} else if (c->state == CLIENT_READING && !TAILQ_EMPTY(&c->in_hand)) {
		/* It gets what it is owed, and nothing more is read from it. */
		stop_reading(f, c);
		front_enter(f, c, CLIENT_WAITING, now);
	} else {
		front_close_client(f, c, now);
	}
}

static int
retire_idle_ms(const struct front *f, struct deadline now)
{
	int64_t seconds = deadline_us_between(f->retired, now) / 1000000;
	int ms = seconds < 16 ? RETIRE_IDLE_MS >> seconds : 0;

	return ms > RETIRE_IDLE_MIN_MS ? ms : RETIRE_IDLE_MIN_MS;
}

static const enum client_state timed_states[] = { CLIENT_IDLE, CLIENT_READING, CLIENT_WRITING };

void
front_expire(struct front *f, struct deadline now)
{
	size_t i;

	if (f->retiring)
		f->retire_idle_ms = retire_idle_ms(f, now);
	for (i = 0; i < sizeof timed_states / sizeof timed_states[0]; i++)
		while (deadline_passed(due(f, timed_states[i]), now))
			expire_client(f, TAILQ_FIRST(&f->states[timed_states[i]]), now);
	front_listen(f, now);
}

struct deadline
front_deadline(const struct front *f)
{
	struct deadline soonest = acceptor_deadline(&f->acceptor);
	size_t i;

	for (i = 0; i < sizeof timed_states / sizeof timed_states[0]; i++)
		soonest = deadline_sooner(soonest, due(f, timed_states[i]));
	return soonest;
}

void
front_drain(struct front *f)
{
	struct client *c;
	size_t i;

	f->draining = true;
	for (i = 0; i < f->touched; i++) {
		c = &f->clients[i];
		if (c->state == CLIENT_FREE || c->ended)
			continue;
		c->readable = true;
		front_set_ready(f, c);
	}
}

size_t
front_client_count(const struct front *f)
{
	return f->connected;
}
