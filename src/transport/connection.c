#include "transport/connection.h"

#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "format/frame.h"
#include "transport/outstanding.h"

/* Address space for the largest frame in each direction; only pages in use take memory. */
enum { BUFFERS_LEN = 2 * FRAME_MAX };

struct connection {
	struct stream stream; /* closed: the slot is free */
	size_t index;         /* of the slot */
	struct outstanding *ids;
	const struct edns_settings *edns;
	struct connection_facts facts;
	struct attempt canary;       /* at most one is open on a connection */
	struct attempt_list waiting; /* not sent yet */
	struct attempt_list sent;    /* in the order of sending; each has an ID */
	uint8_t *in;                 /* received frames; space for one of the largest size */
	bool all_read;               /* the socket is drained until the next epoll event */
	size_t in_pos;               /* in_pos <= in_len, always */
	size_t in_len;
	uint8_t *out; /* frames to send */
	size_t out_len;
};

struct connection_table {
	struct connection *slots;
	size_t count;
	uint8_t *buffers;
	struct outstanding *ids;
};

struct connection_table *
connection_table_new(size_t count, size_t attempts)
{
	struct connection_table *t = calloc(1, sizeof *t);
	size_t stride = pages_stride(BUFFERS_LEN);
	size_t i;

	if (t == NULL)
		return NULL;
	t->count = count;
	t->slots = pages_new(count, sizeof *t->slots);
	t->buffers = pages_new(count, stride);
	t->ids = outstanding_new(attempts);
	if (t->slots == NULL || t->buffers == NULL || t->ids == NULL) {
		connection_table_free(t);
		return NULL;
	}
	for (i = 0; i < count; i++) {
		struct connection *c = &t->slots[i];

		c->index = i;
		c->ids = t->ids;
		c->in = t->buffers + i * stride;
		c->out = c->in + FRAME_MAX;
		TAILQ_INIT(&c->waiting);
		TAILQ_INIT(&c->sent);
	}
	return t;
}

void
connection_table_free(struct connection_table *t)
{
	size_t i;

	if (t == NULL)
		return;
	for (i = 0; t->slots != NULL && i < t->count; i++)
		stream_close(&t->slots[i].stream);
	outstanding_free(t->ids);
	pages_free(t->buffers, t->count, pages_stride(BUFFERS_LEN));
	pages_free(t->slots, t->count, sizeof *t->slots);
	free(t);
}

struct connection *
connection_table_slot(struct connection_table *t, size_t index)
{
	return &t->slots[index];
}

void
connection_open(struct connection *c, struct stream stream, const struct edns_settings *settings,
    struct deadline now)
{
	c->stream = stream;
	c->edns = settings;
	c->facts = (struct connection_facts){ .heard = now, .owed_since = DEADLINE_NEVER };
	c->canary.at = NULL;
	c->all_read = false;
	c->in_pos = 0;
	c->in_len = 0;
	c->out_len = 0;
	TAILQ_INIT(&c->waiting);
	TAILQ_INIT(&c->sent);
}

void
connection_close(struct connection *c)
{
	connection_release_canary(c);
	if (c->facts.given_up > 0 || !TAILQ_EMPTY(&c->sent))
		outstanding_clear(c->ids, c->index);
	stream_close(&c->stream);
}

struct stream *
connection_stream(struct connection *c)
{
	return &c->stream;
}

const struct connection_facts *
connection_facts(const struct connection *c)
{
	return &c->facts;
}

bool
connection_is_idle(const struct connection *c)
{
	return TAILQ_EMPTY(&c->waiting) && TAILQ_EMPTY(&c->sent);
}

bool
connection_has_unsent(const struct connection *c)
{
	return !TAILQ_EMPTY(&c->waiting) || c->out_len > 0;
}

void
connection_add(struct connection *c, struct attempt *a, struct query *q, enum edns_mode mode)
{
	a->query = q;
	a->at = c;
	a->state = ATTEMPT_OPEN;
	a->sent = false;
	a->edns = mode;
	c->facts.taken++;
	TAILQ_INSERT_TAIL(&c->waiting, a, link);
}

void
connection_send_canary(struct connection *c, struct query *canary)
{
	if (c->canary.at != NULL)
		return;
	c->canary = (struct attempt){ .query = canary, .at = c };
	TAILQ_INSERT_HEAD(&c->waiting, &c->canary, link);
}

void
connection_begin_with_canary(struct connection *c, struct query *canary)
{
	c->facts.is_gated = true;
	connection_send_canary(c, canary);
}

bool
connection_takes_canary(const struct connection *c)
{
	return c->canary.at == NULL && c->in_pos == c->in_len;
}

void
connection_release_canary(struct connection *c)
{
	if (c->canary.at != NULL)
		connection_release(&c->canary);
}

/* Adds the frame of an attempt to the batch. False when it does not fit, or no ID is left. */
static bool
add_frame(struct connection *c, struct attempt *a)
{
	const struct query *q = a->query;
	uint8_t *frame = c->out + c->out_len;
	size_t space = FRAME_MAX - c->out_len;
	size_t len;
	int id;

	if (space < FRAME_PREFIX_LEN)
		return false;
	len = edns_write_query(frame + FRAME_PREFIX_LEN, space - FRAME_PREFIX_LEN, q->message,
	    q->len, &q->dns, c->edns, a->edns);
	if (len == 0 || (id = outstanding_add(c->ids, c->index, a)) == -1)
		return false;
	a->id = (uint16_t)id;
	frame_write_prefix(frame, len);
	dns_set_id(frame + FRAME_PREFIX_LEN, a->id);
	c->out_len += FRAME_PREFIX_LEN + len;
	return true;
}

static int
write_batch(struct connection *c, struct failure *why)
{
	size_t done = 0;
	ssize_t n;

	do {
		if ((n = stream_write(&c->stream, c->out + done, c->out_len - done, why)) == -1)
			return -1;
		done += (size_t)n;
	} while (n > 0 && done < c->out_len);
	memmove(c->out, c->out + done, c->out_len - done);
	c->out_len -= done;
	return 0;
}

/* Moves as many waiting attempts into the batch as fit. */
static void
fill_batch(struct connection *c, struct deadline now)
{
	struct attempt *a;

	while ((a = TAILQ_FIRST(&c->waiting)) != NULL) {
		if (c->facts.is_gated && !c->facts.has_answered && a != &c->canary)
			break;
		if (!add_frame(c, a))
			break;
		TAILQ_REMOVE(&c->waiting, a, link);
		TAILQ_INSERT_TAIL(&c->sent, a, link);
		c->facts.unanswered += a != &c->canary;
		a->sent = true;
		a->since = now;
		a->query->was_sent = true;
		c->facts.owed_since = deadline_sooner(c->facts.owed_since, now);
	}
}

int
connection_send(struct connection *c, struct deadline now, struct failure *why)
{
	/* One batch after the other, until nothing waits or the write would block. */
	do {
		fill_batch(c, now);
		if (c->out_len == 0)
			return 0;
		if (write_batch(c, why) == -1)
			return -1;
	} while (c->out_len == 0);
	return 0;
}

static void
unlink_sent(struct connection *c, struct attempt *a)
{
	TAILQ_REMOVE(&c->sent, a, link);
	c->facts.unanswered -= a != &c->canary;
	a->sent = false;
}

/* Reads until a frame is complete: 1, with its length; 0 none now; -1 with the reason. */
static int
read_frame(struct connection *c, size_t *len, struct failure *why)
{
	for (;;) {
		const uint8_t *frame = c->in + c->in_pos;
		size_t have = c->in_len - c->in_pos;
		ssize_t n;

		if (frame_is_whole(frame, have, len))
			return 1;
		memmove(c->in, frame, have);
		c->in_pos = 0;
		c->in_len = have;
		if (c->all_read) {
			c->all_read = false;
			return 0;
		}
		if ((n = stream_read(&c->stream, c->in + have, FRAME_MAX - have, why)) <= 0)
			return (int)n;
		c->all_read = !stream_has_read_ahead(&c->stream);
		c->in_len += (size_t)n;
	}
}

int
connection_receive(struct connection *c, struct arrival *arrival, struct deadline now,
    struct failure *why)
{
	struct deadline since;
	struct attempt *a;
	uint8_t *message;
	size_t len = 0;
	int rc;

	if ((rc = read_frame(c, &len, why)) != 1)
		return rc;
	message = c->in + c->in_pos + FRAME_PREFIX_LEN;
	if (len < DNS_HEADER_LEN)
		return fail_with(why, "read: short message (%zu bytes)", len);
	if (!outstanding_take(c->ids, c->index, dns_id(message), &a, &since))
		return fail_with(why, "read: unexpected response ID");
	*arrival = (struct arrival){ .attempt = a, .since = since, .message = message, .len = len };
	if (a == NULL) {
		c->facts.given_up--;
	} else {
		unlink_sent(c, a);
		arrival->match = dns_match_response(message, len, a->query->message,
		    a->query->dns.question_len);
		if (arrival->match == DNS_MISMATCH) {
			c->facts.mismatched = a;
			TAILQ_INSERT_TAIL(&c->waiting, a, link);
			return fail_with(why, "read: response to another question");
		}
		a->at = NULL;
		a->state = ATTEMPT_FREE;
	}
	if (a == &c->canary) {
		arrival->attempt = NULL;
		arrival->is_canary = true;
		c->facts.canaries++;
	} else {
		c->facts.canaries = 0;
		c->facts.answers++;
	}
	c->in_pos += FRAME_PREFIX_LEN + len;
	c->facts.has_answered = true;
	c->facts.heard = now;
	c->facts.owed_since = !TAILQ_EMPTY(&c->sent) || c->facts.given_up > 0 ? now :
										DEADLINE_NEVER;
	return 1;
}

void
connection_release(struct attempt *a)
{
	struct connection *c = a->at;

	if (a->sent) {
		outstanding_give_up(c->ids, c->index, a->id);
		c->facts.given_up++;
		unlink_sent(c, a);
	} else {
		TAILQ_REMOVE(&c->waiting, a, link);
		c->facts.taken -= a != &c->canary;
	}
	a->at = NULL;
	a->state = ATTEMPT_FREE;
}

struct attempt *
connection_next_sent(const struct connection *c, const struct attempt *a)
{
	return a == NULL ? TAILQ_FIRST(&c->sent) : TAILQ_NEXT(a, link);
}

struct attempt *
connection_take(struct connection *c)
{
	struct attempt *a = stream_is_open(&c->stream) ? NULL : TAILQ_FIRST(&c->sent);

	if (a != NULL) {
		TAILQ_REMOVE(&c->sent, a, link);
	} else {
		if (TAILQ_FIRST(&c->waiting) == &c->canary)
			connection_release(&c->canary);
		if ((a = TAILQ_FIRST(&c->waiting)) == NULL)
			return NULL;
		TAILQ_REMOVE(&c->waiting, a, link);
	}
	a->at = NULL;
	return a;
}
