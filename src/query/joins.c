#include "query/joins.h"

#include <stdlib.h>
#include <string.h>

#include "base/chains.h"
#include "format/dns.h"

enum {
	/* Bits of the first byte of a question. */
	WANTS_DNSSEC = 1,
	CHECKING_DISABLED = 2,

	TYPE_AND_CLASS_LEN = 4
};

struct joins {
	struct chains chains;
};

struct joins *
joins_new(size_t count)
{
	struct joins *j = calloc(1, sizeof *j);

	if (j != NULL && chains_init(&j->chains, count) == -1) {
		joins_free(j);
		return NULL;
	}
	return j;
}

void
joins_free(struct joins *j)
{
	if (j == NULL)
		return;
	chains_free(&j->chains);
	free(j);
}

size_t
joins_question(const struct query *q, uint8_t out[static JOINS_QUESTION_MAX])
{
	const uint8_t *question = q->message + DNS_HEADER_LEN;
	size_t len = q->dns.question_len;
	size_t i;

	out[0] = (uint8_t)((q->dns.dnssec_ok ? WANTS_DNSSEC : 0) |
	    ((q->dns.flags & DNS_FLAG_CD) != 0 ? CHECKING_DISABLED : 0));
	memcpy(out + 1, question, len);
	/* The length of a label is less than any letter. */
	for (i = 1; i < 1 + len - TYPE_AND_CLASS_LEN; i++)
		if (out[i] >= 'A' && out[i] <= 'Z')
			out[i] |= 0x20;
	return 1 + len;
}

void
joins_add(struct joins *j, struct query *q, uint64_t hash)
{
	q->is_joinable = true;
	TAILQ_INIT(&q->waiters);
	chains_add(&j->chains, &q->join_link, hash, q);
}

static bool
is_equal(const struct query *a, const struct query *b)
{
	uint8_t of_a[JOINS_QUESTION_MAX];
	uint8_t of_b[JOINS_QUESTION_MAX];
	size_t len = joins_question(a, of_a);

	return a->group == b->group && joins_question(b, of_b) == len &&
	    memcmp(of_a, of_b, len) == 0;
}

struct query *
joins_find(const struct joins *j, const struct query *q, uint64_t hash)
{
	const struct chains_link *link;

	for (link = chains_first(&j->chains, hash); link != NULL; link = chains_next(link)) {
		struct query *first = link->entry;

		if (is_equal(first, q) && first->by.at_us <= q->by.at_us)
			return first;
	}
	return NULL;
}

void
joins_wait(struct query *first, struct query *q)
{
	q->waits_for = first;
	TAILQ_INSERT_TAIL(&first->waiters, q, waiter_link);
}

void
joins_leave(struct query *q)
{
	TAILQ_REMOVE(&q->waits_for->waiters, q, waiter_link);
	q->waits_for = NULL;
}

void
joins_remove(struct query *q)
{
	q->is_joinable = false;
	chains_remove(&q->join_link);
}

struct query *
joins_take(struct query *first)
{
	struct query *q = TAILQ_FIRST(&first->waiters);

	if (q != NULL)
		joins_leave(q);
	return q;
}

struct query *
joins_replace(struct joins *j, struct query *first)
{
	struct query *next = TAILQ_FIRST(&first->waiters);
	struct query *q;

	joins_remove(first);
	if (next == NULL)
		return NULL;
	TAILQ_FOREACH(q, &first->waiters, waiter_link)
		if (q->by.at_us < next->by.at_us)
			next = q;
	joins_leave(next);
	joins_add(j, next, first->join_link.hash);
	while ((q = joins_take(first)) != NULL)
		joins_wait(next, q);
	return next;
}
