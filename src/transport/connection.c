#include "transport/connection.h"

#include <string.h>

#include "base/pages.h"
#include "format/frame.h"

/* Address space for the largest frame in each direction; only pages in use take memory. */
enum { BUFFERS_LEN = 2 * FRAME_MAX };

struct connection *
connection_table_new(size_t count)
{
	struct connection *table = pages_new(count, sizeof *table);
	size_t stride = pages_stride(BUFFERS_LEN);
	uint8_t *buffers = pages_new(count, stride);
	size_t i;

	if (table == NULL || buffers == NULL) {
		pages_free(buffers, count, stride);
		pages_free(table, count, sizeof *table);
		return NULL;
	}
	for (i = 0; i < count; i++) {
		table[i].index = i;
		table[i].in = buffers + i * stride;
		table[i].out = table[i].in + FRAME_MAX;
	}
	return table;
}

void
connection_table_free(struct connection *table, size_t count)
{
	if (table == NULL)
		return;
	pages_free(table[0].in, count, pages_stride(BUFFERS_LEN));
	pages_free(table, count, sizeof *table);
}

void
connection_init(struct connection *c, struct stream stream, size_t upstream,
    const struct edns_settings *settings, int idle_ms)
{
	c->stream = stream;
	c->upstream = upstream;
	c->edns = settings;
	c->idle_ms = idle_ms;
	c->watched = 0;
	c->draining = false;
	c->retries = false;
	c->stalled = false;
	c->gated = false;
	c->has_answered = false;
	c->taken = 0;
	c->answers = 0;
	c->canary.at = NULL;
	c->mismatched = NULL;
	c->canaries = 0;
	c->outstanding = 0;
	c->given_up = 0;
	c->owed_since = DEADLINE_NEVER;
	c->all_read = false;
	c->in_pos = 0;
	c->in_len = 0;
	c->out_len = 0;
	TAILQ_INIT(&c->waiting);
	TAILQ_INIT(&c->sent);
}

void
connection_close(struct connection *c, struct outstanding *ids)
{
	if (c->given_up > 0)
		outstanding_clear(ids, c->index);
	stream_close(&c->stream);
}

bool
connection_is_idle(const struct connection *c)
{
	return TAILQ_EMPTY(&c->waiting) && TAILQ_EMPTY(&c->sent);
}

void
connection_add(struct connection *c, struct attempt *a, struct query *q, enum edns_mode mode)
{
	a->query = q;
	a->at = c;
	a->state = ATTEMPT_OPEN;
	a->upstream = (uint16_t)c->upstream;
	a->sent = false;
	a->edns = mode;
	c->taken++;
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

size_t
connection_unanswered(const struct connection *c)
{
	return c->outstanding - (c->canary.at != NULL && c->canary.sent);
}

/* Adds the frame of an attempt to the batch. False when it does not fit, or no ID is left. */
static bool
add_frame(struct connection *c, struct outstanding *ids, struct attempt *a)
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
	if (len == 0 || (id = outstanding_add(ids, c->index, a)) == -1)
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
fill_batch(struct connection *c, struct outstanding *ids, struct deadline now)
{
	struct attempt *a;

	while ((a = TAILQ_FIRST(&c->waiting)) != NULL) {
		if (c->gated && !c->has_answered && a != &c->canary)
			break;
		if (!add_frame(c, ids, a))
			break;
		TAILQ_REMOVE(&c->waiting, a, link);
		TAILQ_INSERT_TAIL(&c->sent, a, link);
		c->outstanding++;
		a->sent = true;
		a->since = now;
		c->owed_since = deadline_sooner(c->owed_since, now);
	}
}

int
connection_send(struct connection *c, struct outstanding *ids, struct deadline now,
    struct failure *why)
{
	/* One batch after the other, until nothing waits or the write would block. */
	do {
		fill_batch(c, ids, now);
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
	c->outstanding--;
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
connection_receive(struct connection *c, struct outstanding *ids, struct arrival *arrival,
    struct deadline now, struct failure *why)
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
	if (!outstanding_take(ids, c->index, dns_id(message), &a, &since))
		return fail_with(why, "read: unexpected response ID");
	*arrival = (struct arrival){ .attempt = a, .since = since, .message = message, .len = len };
	if (a == NULL) {
		c->given_up--;
	} else {
		unlink_sent(c, a);
		arrival->match = dns_match_response(message, len, a->query->message,
		    a->query->dns.question_len);
		if (arrival->match == DNS_MISMATCH) {
			c->mismatched = a;
			TAILQ_INSERT_TAIL(&c->waiting, a, link);
			return fail_with(why, "read: response to another question");
		}
		a->at = NULL;
		a->state = ATTEMPT_FREE;
	}
	if (a == &c->canary) {
		c->canaries++;
	} else {
		c->canaries = 0;
		c->answers++;
	}
	c->has_answered = true;
	c->in_pos += FRAME_PREFIX_LEN + len;
	c->heard = now;
	c->owed_since = c->outstanding + c->given_up > 0 ? now : DEADLINE_NEVER;
	return 1;
}

void
connection_release(struct attempt *a, struct outstanding *ids)
{
	struct connection *c = a->at;

	if (a->sent) {
		outstanding_give_up(ids, c->index, a->id);
		c->given_up++;
		unlink_sent(c, a);
	} else {
		TAILQ_REMOVE(&c->waiting, a, link);
		c->taken -= a != &c->canary;
	}
	a->at = NULL;
	a->state = ATTEMPT_FREE;
}
