#include "upstream/upstream.h"

#include "upstream_internal.h"

/* What events record in a query. */

/* What was not sent is moved to another connection so often before that is an attempt. */
enum { MOVES_MAX = 4 };

void
upstream_changed(struct upstream_list *l, struct query *q)
{
	if (q->is_changed)
		return;
	q->is_changed = true;
	TAILQ_INSERT_TAIL(&l->changed, q, changed_link);
}

/* The query is to be sent again to the same upstream. */
void
upstream_note_retry(struct upstream_list *l, struct attempt *a)
{
	struct query *q = a->query;
	size_t index = a->upstream;

	if (a->sent || q->moves++ < MOVES_MAX)
		q->tries--;
	q->tried[index / 64] &= ~(UINT64_C(1) << index % 64);
	a->sent = false;
	a->state = ATTEMPT_RETRY;
	upstream_changed(l, q);
}

void
upstream_note_failure(struct upstream_list *l, struct query *q, size_t index,
    const struct failure *why)
{
	l->upstreams[index].cause = *why;
	if (q->first_failed_upstream == -1)
		q->first_failed_upstream = (int)index;
}

void
upstream_note_failed(struct upstream_list *l, struct attempt *a, const struct failure *why)
{
	a->sent = false;
	a->state = ATTEMPT_FREE;
	upstream_note_failure(l, a->query, a->upstream, why);
	upstream_changed(l, a->query);
}
