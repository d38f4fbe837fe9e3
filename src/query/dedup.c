#include "query/dedup.h"

#include <stdlib.h>
#include <string.h>

#include "base/chains.h"
#include "base/wire.h"
#include "format/dns.h"
#include "query/quota.h"

enum { ID_AND_FLAGS_LEN = 4 /* the first fields of a message */ };

struct dedup {
	struct chains chains;
};

struct dedup *
dedup_new(size_t count)
{
	struct dedup *d = calloc(1, sizeof *d);

	if (d != NULL && chains_init(&d->chains, count) == -1) {
		dedup_free(d);
		return NULL;
	}
	return d;
}

void
dedup_free(struct dedup *d)
{
	if (d == NULL)
		return;
	chains_free(&d->chains);
	free(d);
}

/* A hash of what two equal queries share: address, port, ID, flags and question. */
static uint64_t
hash_query(const struct dedup *d, const struct query *q, size_t question_len)
{
	uint8_t bytes[sizeof(uint64_t) + sizeof(uint16_t) + ID_AND_FLAGS_LEN + DNS_QUESTION_MAX];
	struct wire_writer w;

	wire_writer_init(&w, bytes, sizeof bytes);
	wire_write_bytes(&w, &q->addr->link.hash, sizeof q->addr->link.hash);
	wire_write_u16(&w, address_port(&q->peer.from));
	wire_write_bytes(&w, q->message, ID_AND_FLAGS_LEN);
	wire_write_bytes(&w, q->message + DNS_HEADER_LEN, question_len);
	return hash_bytes(&d->chains.key, bytes, wire_written(&w));
}

/* Names are self-delimiting, so equal bytes mean equal questions. */
static bool
is_same(const struct query *a, const struct query *b, size_t question_len)
{
	return a->len >= DNS_HEADER_LEN + question_len &&
	    address_equal(&a->peer.from, &b->peer.from) &&
	    memcmp(a->message, b->message, ID_AND_FLAGS_LEN) == 0 &&
	    memcmp(a->message + DNS_HEADER_LEN, b->message + DNS_HEADER_LEN, question_len) == 0;
}

bool
dedup_add(struct dedup *d, struct query *q)
{
	size_t question_len = dns_question_len(q->message, q->len);
	const struct chains_link *link;
	uint64_t hash = 0;

	if (question_len > 0) {
		hash = hash_query(d, q, question_len);
		for (link = chains_first(&d->chains, hash); link != NULL; link = chains_next(link))
			if (is_same(link->entry, q, question_len))
				return false;
	}
	chains_add(&d->chains, &q->dedup_link, hash, q);
	return true;
}

void
dedup_remove(struct query *q)
{
	chains_remove(&q->dedup_link);
}
