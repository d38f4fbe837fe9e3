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
	uint8_t *octets;
	struct query *queries;
	struct query **vacant; /* a stack: the place used last is the warmest */
	size_t vacant_count;
	size_t count;
	size_t large;     /* see query_table_large() */
	bool was_crowded; /* many places were in use since query_table_relax() */
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
	t->vacant = calloc(count, sizeof(struct query *));
	t->octets = pages_new(count, pages_stride(SLOT_LEN));
	if (t->queries == NULL || t->vacant == NULL || t->octets == NULL) {
		query_table_free(t);
		return NULL;
	}
	for (i = count; i > 0; i--)
		t->vacant[t->vacant_count++] = &t->queries[i - 1];
	return t;
}

void
query_table_free(struct query_table *t)
{
	if (t == NULL)
		return;
	pages_free(t->octets, t->count, pages_stride(SLOT_LEN));
	pages_free(t->queries, t->count, sizeof *t->queries);
	free(t->vacant);
	free(t);
}

size_t
query_table_room(const struct query_table *t)
{
	return t->vacant_count;
}

static size_t
index_of(const struct query_table *t, const struct query *q)
{
	return (size_t)(q - t->queries);
}

struct query *
query_new(struct query_table *t, const uint8_t *message, size_t len)
{
	struct query *q;

	if (t->vacant_count == 0)
		return NULL;
	q = t->vacant[--t->vacant_count];
	if (t->vacant_count < t->count - t->count / 8)
		t->was_crowded = true;
	memset(q, 0, sizeof *q);
	q->message = t->octets + index_of(t, q) * pages_stride(SLOT_LEN);
	memcpy(q->message, message, len);
	q->len = len;
	q->large = pages_beyond_first(len);
	t->large += q->large;
	/* Behind the query, on the same page where both are small, and the prefix in front of it. */
	q->response = q->message + (len + FRAME_PREFIX_LEN + 7) / 8 * 8;
	q->hedge_at = DEADLINE_NEVER;
	q->first_failed_upstream = -1;
	return q;
}

void
query_free(struct query_table *t, struct query *q)
{
	/* Also a response that came when its client had gone. */
	if (q->large > 0 || q->response_len > PAGES_LEN)
		pages_clear(q->message, 1, SLOT_LEN);
	t->large -= q->large;
	t->vacant[t->vacant_count++] = q;
}

void
query_answered(struct query_table *t, struct query *q)
{
	size_t len = q->response_len;

	t->large -= q->large;
	if (q->large > 0)
		pages_clear(q->message, 1, q->len);
	else
		/* Small ones of both kinds can be more than a page together. */
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
query_table_relax(struct query_table *t)
{
	if (!t->was_crowded || t->vacant_count < t->count)
		return;
	t->was_crowded = false;
	pages_clear(t->octets, t->count, pages_stride(SLOT_LEN));
	pages_clear(t->queries, t->count, sizeof *t->queries);
}
