#include "frontend/tcp.h"

#include "base/pages.h"
#include "format/dns.h"
#include "tcp_internal.h"

enum {
	/* A client may have so many times the free slots: half as many as its address. */
	SHARE_OF_CLIENT = 64,

	/*
	 * All unfinished messages, large queries and their responses together take so much memory:
	 * with as much as all that is small can take, two workers stay under 64 MiB.
	 */
	LARGE_MAX = 14 * 1024 * 1024,

	/*
	 * Large queries in flight and their responses take so much of it, and those of an address
	 * so many times what is free.
	 */
	LARGE_QUERIES_MAX = 8 * 1024 * 1024,
	SHARE_OF_LARGE = 8,

	/* Beyond this, clients that do not read their answers are closed. */
	LARGE_ANSWERS_MAX = 12 * 1024 * 1024,

	/* Where memory is short, an address with more than one of so many parts loses clients. */
	LARGE_PARTS = 16
};

/* ---- what there is ---- */

/*
 * Whether the share of a client allows one more query in flight: alone it gets nearly all slots,
 * but leaves some to others of its address, and those together leave some to other addresses.
 * Several addresses can still take all, for as long as their queries last.
 */
static bool
has_share(const struct tcp *t, const struct client *c)
{
	size_t free_slots = query_table_free_slots(t->table);

	return quota_allows(c->addr, free_slots) &&
	    c->queries_in_flight <= SHARE_OF_CLIENT * free_slots;
}

/* Whether there is memory for a query of LEN bytes; as with slots, an address never gets all. */
static bool
has_memory(const struct tcp *t, const struct client_addr *addr, size_t len)
{
	size_t used = query_table_large(t->table);

	return len <= PAGES_LEN ||
	    (used < LARGE_QUERIES_MAX &&
		addr->large <= SHARE_OF_LARGE * (LARGE_QUERIES_MAX - used));
}

static size_t
large_memory(const struct tcp *t)
{
	return t->in_large + query_table_large(t->table);
}

bool
tcp_may_take(const struct tcp *t, const struct client *c, const uint8_t *message, size_t len)
{
	/* Health checks are answered locally and are exempt from the limits. */
	return (has_share(t, c) || dns_question_is_own(message, len)) &&
	    has_memory(t, c->addr, len);
}

size_t
tcp_buffer_limit(const struct tcp *t)
{
	return large_memory(t) < LARGE_MAX ? FRAME_MAX : PAGES_LEN;
}

/* ---- what is used ---- */

void
tcp_count_query(struct client *c, const struct query *q)
{
	c->queries_in_flight++;
	c->addr->queries_in_flight++;
	c->addr->large += q->large;
}

void
tcp_uncount_query(struct client *c, const struct query *q)
{
	c->queries_in_flight--;
	c->addr->queries_in_flight--;
	c->addr->large -= q->large;
}

void
tcp_count_buffer(struct tcp *t, struct client *c)
{
	size_t taken = pages_beyond_first(c->in_len);

	if (taken == 0 && c->in_large > 0)
		pages_clear(c->in + c->in_len, 1, FRAME_MAX - c->in_len);
	else if (taken < c->in_large)
		taken = c->in_large;
	t->in_large = t->in_large - c->in_large + taken;
	c->in_large = taken;
}

/* ---- clients that may go on, and clients that wait ---- */

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

void
tcp_set_ready(struct tcp *t, struct client *c)
{
	if (c->is_ready)
		return;
	c->is_ready = true;
	TAILQ_INSERT_TAIL(&t->ready, c, ready_link);
}

void
tcp_clear_ready(struct tcp *t, struct client *c)
{
	if (!c->is_ready)
		return;
	c->is_ready = false;
	TAILQ_REMOVE(&t->ready, c, ready_link);
}

/* Whether a client has to wait for memory: to take a query, or to read more than a page of one. */
static bool
is_short_of_memory(const struct tcp *t, const struct client *c)
{
	size_t len;

	if (frame_is_whole(c->in, c->in_len, &len))
		return !has_memory(t, c->addr, len);
	return c->in_len >= PAGES_LEN && large_memory(t) >= LARGE_MAX;
}

bool
tcp_throttle(struct tcp *t, struct client *c)
{
	if (!has_share(t, c)) {
		/* It goes on when a query of its address ends: there is at least one. */
		c->throttled = &t->throttled[c->addr->index];
		c->addr->waiting++;
	} else if (is_short_of_memory(t, c)) {
		c->throttled = &t->short_of_memory;
	} else {
		return false;
	}
	TAILQ_INSERT_TAIL(c->throttled, c, throttle_link);
	return true;
}

void
tcp_unthrottle(struct tcp *t, struct client *c)
{
	if (c->throttled == NULL)
		return;
	if (c->throttled != &t->short_of_memory)
		c->addr->waiting--;
	TAILQ_REMOVE(c->throttled, c, throttle_link);
	c->throttled = NULL;
}

static void
resume(struct tcp *t, struct client *c)
{
	tcp_unthrottle(t, c);
	tcp_set_ready(t, c);
	/* It was not read meanwhile, so its deadline begins when it is. */
	if (c->state == CLIENT_READING)
		tcp_set_state(t, c, CLIENT_WAITING, c->since);
}

void
tcp_wake_throttled(struct tcp *t, const struct client_addr *addr)
{
	struct client *c;

	if (!quota_allows(addr, query_table_free_slots(t->table)))
		return;
	/* Those before it that have no share have many queries each, so they are few. */
	TAILQ_FOREACH(c, &t->throttled[addr->index], throttle_link) {
		if (has_share(t, c)) {
			resume(t, c);
			return;
		}
	}
}

void
tcp_wake_short_of_memory(struct tcp *t)
{
	struct client *c;
	struct client *next;

	for (c = TAILQ_FIRST(&t->short_of_memory); c != NULL; c = next) {
		next = TAILQ_NEXT(c, throttle_link);
		if (!is_short_of_memory(t, c))
			resume(t, c);
	}
}

bool
tcp_holds_scarce_memory(const struct tcp *t, const struct client *c)
{
	/* Others may have been closed just now. */
	return c->throttled == &t->short_of_memory && c->in_large > 0 && is_short_of_memory(t, c);
}

struct client *
tcp_memory_hog(const struct tcp *t)
{
	struct client *heaviest = NULL;
	size_t most = LARGE_MAX / LARGE_PARTS;
	struct client *c;

	if (query_table_large(t->table) <= LARGE_ANSWERS_MAX && large_memory(t) <= LARGE_MAX)
		return NULL;
	TAILQ_FOREACH(c, &t->states[CLIENT_WRITING], state_link) {
		if (c->addr->large <= most)
			continue;
		heaviest = c;
		most = c->addr->large;
	}
	return heaviest;
}
