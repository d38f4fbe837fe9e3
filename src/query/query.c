#include "query/query.h"

#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "format/frame.h"

/*
 * Each slot has address space for the largest query and the frame of the largest response, of
 * which only the pages in use cost memory.
 */
enum { SLOT_LEN = DNS_MESSAGE_MAX + 1 + FRAME_MAX + 1 + 64 };

struct query_table {
	uint8_t *bytes;
	struct query *queries;
	struct query **free_slots; /* a stack: the slot used last is likely in the cache */
	size_t free_count;
	size_t count;
	size_t large;  /* see query_table_large() */
	bool was_busy; /* many slots were in use since query_table_trim() */
};

struct query_table *
query_table_new(size_t count)
{
	struct query_table *t = calloc(1, sizeof *t);
	size_t i;

	if (t == NULL)
		return NULL;
	t->count = count;
	t->queries = pages_new(count, sizeof *t->queries);
	t->free_slots = calloc(count, sizeof(struct query *));
	t->bytes = pages_new(count, pages_stride(SLOT_LEN));
	if (t->queries == NULL || t->free_slots == NULL || t->bytes == NULL) {
		query_table_free(t);
		return NULL;
	}
	for (i = count; i > 0; i--)
		t->free_slots[t->free_count++] = &t->queries[i - 1];
	return t;
}

void
query_table_free(struct query_table *t)
{
	if (t == NULL)
		return;
	pages_free(t->bytes, t->count, pages_stride(SLOT_LEN));
	pages_free(t->queries, t->count, sizeof *t->queries);
	free(t->free_slots);
	free(t);
}

size_t
query_table_free_slots(const struct query_table *t)
{
	return t->free_count;
}

static size_t
slot_of(const struct query_table *t, const struct query *q)
{
	return (size_t)(q - t->queries);
}

struct query *
query_new(struct query_table *t, const uint8_t *message, size_t len)
{
	struct query *q;

	if (t->free_count == 0)
		return NULL;
	q = t->free_slots[--t->free_count];
	if (t->free_count < t->count - t->count / 8)
		t->was_busy = true;
	memset(q, 0, sizeof *q);
	q->message = t->bytes + slot_of(t, q) * pages_stride(SLOT_LEN);
	memcpy(q->message, message, len);
	q->len = len;
	q->large = pages_beyond_first(len);
	t->large += q->large;
	/* The response follows the query, on the same page if both are small, behind its prefix. */
	q->response = q->message + (len + FRAME_PREFIX_LEN + 7) / 8 * 8;
	q->hedge_at = DEADLINE_NEVER;
	q->first_failed_upstream = -1;
	return q;
}

void
query_free(struct query_table *t, struct query *q)
{
	/* A response may be large without query_answered() if its client has disconnected. */
	if (q->large > 0 || q->response_len > PAGES_LEN)
		pages_clear(q->message, 1, SLOT_LEN);
	t->large -= q->large;
	t->free_slots[t->free_count++] = q;
}

void
query_answered(struct query_table *t, struct query *q)
{
	size_t len = q->response_len;

	t->large -= q->large;
	if (q->large > 0)
		pages_clear(q->message, 1, q->len);
	else
		/* A message and a response, each small, can exceed a page together. */
		len += (size_t)(q->response - q->message);
	q->large = pages_beyond_first(len);
	t->large += q->large;
}

uint8_t *
query_frame(const struct query *q)
{
	uint8_t *frame = q->response - FRAME_PREFIX_LEN;

	frame_write_prefix(frame, q->response_len);
	return frame;
}

size_t
query_table_large(const struct query_table *t)
{
	return t->large;
}

void
query_table_trim(struct query_table *t)
{
	if (!t->was_busy || t->free_count < t->count)
		return;
	t->was_busy = false;
	pages_clear(t->bytes, t->count, pages_stride(SLOT_LEN));
	pages_clear(t->queries, t->count, sizeof *t->queries);
}
