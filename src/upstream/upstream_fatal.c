#include "upstream/upstream.h"

#include <string.h>

#include "format/dns.h"
#include "upstream_internal.h"

/* How long a question is remembered after a connection has last ended at it. */
enum { REMEMBERED_MS = 60000 };

static uint64_t
hash_question(const struct upstream_list *l, const struct query *q)
{
	uint8_t question[DNS_QUESTION_MAX];
	size_t i;

	memcpy(question, q->message + DNS_HEADER_LEN, q->dns.question_len);
	for (i = 0; i < q->dns.question_len; i++)
		if (question[i] >= 'A' && question[i] <= 'Z')
			question[i] |= 0x20;
	return hash_bytes(&l->hash_key, question, q->dns.question_len);
}

/* Its entry, or the oldest one: a question that is asked often takes no place from others. */
static struct fatal_question *
entry_for(struct upstream_list *l, uint64_t hash)
{
	size_t i;

	for (i = 0; i < FATAL_QUESTIONS; i++)
		if (l->fatal[i].hash == hash)
			return &l->fatal[i];
	return &l->fatal[l->next_fatal++ % FATAL_QUESTIONS];
}

void
upstream_note_fatal(struct upstream_list *l, const struct query *q, struct deadline now)
{
	uint64_t hash = hash_question(l, q);
	struct fatal_question *f = entry_for(l, hash);

	f->hash = hash;
	f->until = deadline_after(now, REMEMBERED_MS);
	l->fatal_until = f->until;
}

bool
upstream_is_fatal(const struct upstream_list *l, const struct query *q, struct deadline now)
{
	uint64_t hash;
	size_t i;

	if (deadline_passed(l->fatal_until, now))
		return false;
	hash = hash_question(l, q);
	for (i = 0; i < FATAL_QUESTIONS; i++)
		if (l->fatal[i].hash == hash && !deadline_passed(l->fatal[i].until, now))
			return true;
	return false;
}
