#include "process/responder.h"

#include <string.h>

#include "base/pages.h"
#include "format/dns.h"
#include "format/edns.h"
#include "responder_internal.h"

enum {
	/*
	 * A failure is kept for that long, and twice as long each time that it is repeated (RFC 9520
	 * 3.2). The first second may have begun a moment before, so it does not count.
	 */
	FAILURE_MIN_S = 1,
	FAILURE_MAX_S = 5,
	FAILURE_BEGUN_S = 1,

	/* After a failure, out-of-date answers are given at once for this long (RFC 8767 5). */
	STALE_RETRY_S = 30,

	/* An entry is refreshed once in that time, and when less than that part of its life is left. */
	PREFETCH_S = 5,
	PREFETCH_PART = 10,

	/* In a turn, large responses are copied until they are so many bytes: clients must read them. */
	LARGE_A_TURN = 2 * 1024 * 1024,

	/* Of the slots for queries, one of so many is not taken for queries of our own. */
	SHARE_OF_SPARE = 8
};

/* What is claimed about a key: a number that is mixed into its hash. */
#define CLAIM_FAILED UINT64_C(0)
#define CLAIM_PREFETCH UINT64_C(0x9e3779b97f4a7c15)

_Static_assert((int)ANSWER_REASONS <= (int)STATS_REASONS, "a counter for each reason");

/* ---- life ---- */

int
responder_cache_open(struct responder *r, struct failure *why)
{
	const struct config *config = r->setup.config;
	size_t i;

	TAILQ_INIT(&r->stale_waiting);
	TAILQ_INIT(&r->postponed);
	if (r->setup.cache == NULL)
		return 0;
	r->user = cache_user_new(r->setup.cache, r->setup.worker);
	r->joins = joins_new((size_t)config->inflight);
	if (r->user == NULL || r->joins == NULL)
		return fail_errno(why, "cache");
	for (i = 0; i < config->group_count; i++) {
		const struct config_group *group = &config->groups[i];

		upstream_group(r->setup.upstreams, i, r->groups[i].fingerprint);
		r->groups[i].limits = (struct answer_limits){
			.max_ttl = (uint32_t)config->cache.max_ttl_s,
			.min_ttl = (uint32_t)group->min_ttl_s,
			.negative_ttl = (uint32_t)config->cache.negative_ttl_s
		};
		r->groups[i].stale_s = (uint32_t)group->stale_s;
	}
	return 0;
}

void
responder_cache_close(struct responder *r)
{
	joins_free(r->joins);
	cache_user_free(r->user);
}

static void
count(const struct responder *r, enum stats_counter which)
{
	stats_count(r->setup.row, which, 1);
}

/* ---- keys ---- */

/*
 * Whether a query is nothing but a question with DO, AD and CD: what else a client sends crosses to
 * the upstream, and the response may be for this client only.
 */
static bool
is_plain(const struct responder *r, const struct query *q)
{
	const uint16_t plain = DNS_FLAG_RD | DNS_FLAG_AD | DNS_FLAG_CD;

	return (q->dns.flags & ~plain) == 0 && !q->dns.is_signed &&
	    q->len == DNS_HEADER_LEN + q->dns.question_len + q->dns.opt.len &&
	    !edns_is_special(q->message, &q->dns, &r->setup.config->privacy);
}

bool
responder_cache_may_have(const struct responder *r, const struct query *q)
{
	return r->user != NULL && (q->dns.flags & DNS_FLAG_RD) != 0 &&
	    answer_may_be_kept(&q->dns) && is_plain(r, q);
}

_Static_assert(UPSTREAM_GROUP_LEN + JOINS_QUESTION_MAX <= CACHE_KEY_MAX, "room for any key");

/* Writes the bytes of a key, and returns their number. */
static size_t
write_key(const struct responder *r, const struct query *q, struct responder_key *k)
{
	memcpy(k->bytes, r->groups[q->group].fingerprint, UPSTREAM_GROUP_LEN);
	return UPSTREAM_GROUP_LEN + joins_question(q, k->bytes + UPSTREAM_GROUP_LEN);
}

void
responder_cache_key(const struct responder *r, const struct query *q, struct responder_key *k)
{
	size_t len = write_key(r, q, k);

	cache_key_init(r->user, &k->key, k->bytes, len);
}

/* The same for a query whose hash is known. */
static void
key_of(const struct responder *r, const struct query *q, uint64_t hash, struct responder_key *k)
{
	k->key = (struct cache_key){ .bytes = k->bytes, .len = write_key(r, q, k), .hash = hash };
}

/* ---- answers ---- */

/* A canonical response that is given to several clients. */
struct shared_response {
	const uint8_t *message;
	size_t len;
	size_t opt_len;
	enum query_outcome outcome;
	enum query_source source;
};

static void
give(struct responder *r, struct query *q, const struct shared_response *response)
{
	memcpy(q->response, response->message, response->len);
	q->response_len = response->len;
	q->opt_len = response->opt_len;
	q->is_canonical = true;
	q->outcome = response->outcome;
	q->source = response->source;
	if (q->source == QUERY_STALE)
		count(r, STATS_CACHE_STALE);
	r->large_given += pages_beyond_first(response->len);
	responder_put(&r->done, q);
}

static bool
gives_no_more(const struct responder *r)
{
	return r->large_given >= LARGE_A_TURN;
}

/* Whether LEN bytes from the cache answer a query. A faulty worker may have written anything. */
static bool
is_answer(const struct query *q, const uint8_t *message, size_t len)
{
	return dns_match_response(message, len, q->message, q->dns.question_len) == DNS_MATCH;
}

static uint32_t
age_of(const struct responder *r, const struct cache_entry *e)
{
	return r->now_s > e->born ? r->now_s - e->born : 0;
}

static bool
is_fresh(const struct responder *r, const struct cache_entry *e)
{
	return e->until > r->now_s;
}

/* Whether an entry that has expired may still be given. */
static bool
may_be_stale(const struct responder *r, const struct query *q, const struct cache_entry *e)
{
	return e->class != CACHE_FAILURE && !is_fresh(r, e) &&
	    r->now_s - e->until < r->groups[q->group].stale_s;
}

/* Answers a query with the entry whose value is in its `response'. */
static bool
give_fresh(struct responder *r, struct query *q, const struct cache_entry *e)
{
	uint32_t age = age_of(r, e);
	uint32_t limit = r->groups[q->group].limits.max_ttl;
	uint32_t max_ttl = limit > age ? limit - age : 1;

	if (!is_answer(q, q->response, e->len) ||
	    !answer_age(q->response, e->len, age, max_ttl, &q->opt_len))
		return false;
	q->response_len = e->len;
	if (e->class == CACHE_FAILURE)
		q->response_len = edns_add_error(q->response, e->len, &q->opt_len, &q->dns,
		    DNS_EDE_CACHED_ERROR);
	q->is_canonical = true;
	q->outcome = QUERY_ANSWERED;
	q->source = QUERY_CACHE;
	count(r, STATS_CACHE_HITS);
	r->large_given += pages_beyond_first(q->response_len);
	responder_put(&r->done, q);
	return true;
}

/* Makes an out-of-date answer to Q of the entry whose value is in `scratch'. */
static bool
make_stale(struct responder *r, const struct query *q, const struct cache_entry *e,
    struct shared_response *response)
{
	enum dns_ede ede;

	if (!may_be_stale(r, q, e) || !is_answer(q, r->scratch, e->len) ||
	    !answer_age_stale(r->scratch, e->len, age_of(r, e), &response->opt_len))
		return false;
	ede = dns_response_rcode(r->scratch, e->len) == DNS_NXDOMAIN ? DNS_EDE_STALE_NXDOMAIN :
								       DNS_EDE_STALE_ANSWER;
	response->message = r->scratch;
	response->len = edns_add_error(r->scratch, e->len, &response->opt_len, &q->dns, ede);
	response->outcome = QUERY_ANSWERED;
	response->source = QUERY_STALE;
	return true;
}

static bool
find(struct responder *r, const struct responder_key *k, struct cache_entry *e)
{
	return cache_get(r->user, &k->key, r->scratch, sizeof r->scratch, e);
}

static bool
give_stale(struct responder *r, struct query *q, const struct responder_key *k)
{
	struct shared_response response;
	struct cache_entry e;

	if (!find(r, k, &e) || !make_stale(r, q, &e, &response))
		return false;
	give(r, q, &response);
	return true;
}

/* Notes that upstreams do not answer a question. Whether nobody has, for a while. */
static bool
claim_failed(struct responder *r, const struct responder_key *k)
{
	return cache_claim(r->user, k->key.hash ^ CLAIM_FAILED, r->now_s, STALE_RETRY_S);
}

/* ---- asking ---- */

static void
ask_upstream(struct responder *r, struct query *q, uint64_t hash)
{
	joins_add(r->joins, q, hash);
	upstream_ask(r->setup.upstreams, q);
}

/* Asks what Q asks, for the cache. NULL when there is no slot for it. */
static struct query *
refresh(struct responder *r, const struct query *q, const struct responder_key *k,
    struct deadline now)
{
	size_t spare = (size_t)r->setup.config->inflight / SHARE_OF_SPARE;
	struct query *own;

	if (query_table_free_slots(r->setup.table) <= spare ||
	    (own = query_new(r->setup.table, q->message, q->len)) == NULL)
		return NULL;
	own->transport = QUERY_OWN;
	own->dns = q->dns;
	own->allowed = true;
	own->group = q->group;
	own->arrived = now;
	own->by = q->by;
	ask_upstream(r, own, k->key.hash);
	return own;
}

/* An entry that is in use is refreshed before it expires. */
static void
prefetch(struct responder *r, const struct query *q, const struct responder_key *k,
    const struct cache_entry *e, struct deadline now)
{
	uint32_t life = e->until - e->born;

	if (!r->setup.config->cache.prefetch || e->class == CACHE_FAILURE ||
	    (uint64_t)(e->until - r->now_s) * PREFETCH_PART > life ||
	    joins_find(r->joins, q, k->key.hash) != NULL ||
	    !cache_claim(r->user, k->key.hash ^ CLAIM_PREFETCH, r->now_s, PREFETCH_S))
		return;
	if (refresh(r, q, k, now) != NULL)
		count(r, STATS_CACHE_PREFETCHED);
}

/*
 * An entry has expired. Upstreams are asked first, unless they are known not to answer; if there
 * is no response after a while, the query gets the entry. False when it is to be asked like any other.
 */
static bool
ask_before_stale(struct responder *r, struct query *q, const struct responder_key *k,
    struct deadline now)
{
	int wait_ms = r->setup.config->cache.stale_after_ms;
	struct query *first;

	if (wait_ms == 0 || upstream_all_down(r->setup.upstreams, q->group, now) ||
	    cache_is_claimed(r->user, k->key.hash ^ CLAIM_FAILED, r->now_s)) {
		if (!give_stale(r, q, k))
			return false;
		if (claim_failed(r, k) && joins_find(r->joins, q, k->key.hash) == NULL)
			(void)refresh(r, q, k, now);
		return true;
	}
	if ((first = joins_find(r->joins, q, k->key.hash)) == NULL &&
	    (first = refresh(r, q, k, now)) == NULL)
		return false;
	joins_wait(first, q);
	q->may_be_stale = true;
	q->stale_at = deadline_after(now, wait_ms);
	TAILQ_INSERT_TAIL(&r->stale_waiting, q, stale_link);
	return true;
}

void
responder_cache_ask(struct responder *r, struct query *q, const struct responder_key *k,
    struct deadline now)
{
	struct cache_entry e;
	struct query *first;

	if (gives_no_more(r)) {
		responder_put(&r->postponed, q);
		return;
	}
	if (cache_get(r->user, &k->key, q->response, DNS_MESSAGE_MAX, &e)) {
		if (is_fresh(r, &e) && give_fresh(r, q, &e)) {
			prefetch(r, q, k, &e, now);
			return;
		}
		if (may_be_stale(r, q, &e) && ask_before_stale(r, q, k, now))
			return;
	}
	count(r, STATS_CACHE_MISSES);
	if ((first = joins_find(r->joins, q, k->key.hash)) == NULL) {
		ask_upstream(r, q, k->key.hash);
		return;
	}
	count(r, STATS_CACHE_JOINED);
	joins_wait(first, q);
}

/* ---- what comes of it ---- */

static void
stop_waiting(struct responder *r, struct query *q)
{
	if (q->may_be_stale)
		TAILQ_REMOVE(&r->stale_waiting, q, stale_link);
	q->may_be_stale = false;
}

/*
 * Makes, in `scratch', what others with the same question get of a response, and the cache keeps: of
 * its EDNS options only the errors.
 */
static void
share(struct responder *r, const struct query *q, enum dns_ede ede, const char *text,
    struct shared_response *response)
{
	struct dns_query with_edns = q->dns;

	response->outcome = q->outcome;
	response->source = q->source;
	response->message = r->scratch;
	if (q->is_canonical) {
		memcpy(r->scratch, q->response, q->response_len);
		response->opt_len = q->opt_len;
		response->len = edns_keep_errors(r->scratch, q->response_len, &response->opt_len);
		return;
	}
	with_edns.has_edns = true;
	response->len = dns_write_error(r->scratch, DNS_ERROR_MAX, q->message, &with_edns,
	    dns_response_rcode(q->response, q->response_len), ede, text);
	response->opt_len = response->len - DNS_HEADER_LEN - q->dns.question_len;
}

/* How long a failure is kept, after the entry E that was there before. */
static uint32_t
failure_life(const struct responder *r, const struct cache_entry *e)
{
	uint32_t life = 2 * (e->until - e->born - FAILURE_BEGUN_S);

	if (e->class != CACHE_FAILURE || r->now_s - e->until > FAILURE_MAX_S)
		life = FAILURE_MIN_S;
	return (life < FAILURE_MAX_S ? life : FAILURE_MAX_S) + FAILURE_BEGUN_S;
}

static void
put(struct responder *r, const struct responder_key *k, enum cache_class class, uint32_t life,
    const struct shared_response *response)
{
	struct cache_entry e = { .class = class,
		.born = r->now_s,
		.until = r->now_s + life,
		.len = response->len };

	switch (cache_put(r->user, &k->key, &e, response->message)) {
	case CACHE_STORED:
		count(r, STATS_CACHE_STORED);
		break;
	case CACHE_TOO_LARGE:
		count(r, STATS_CACHE_TOO_LARGE);
		break;
	case CACHE_BUSY:
		count(r, STATS_CACHE_BUSY);
		break;
	}
}

/*
 * No upstream has answered. What is out of date is given now and for a while. Else the failure is
 * kept for a moment, but never in place of an answer that may be given later; unless an upstream
 * says that DNSSEC validation has failed, which ends the life of what is out of date.
 */
static void
settle_failure(struct responder *r, struct query *q, const struct responder_key *k,
    enum dns_ede ede, const char *text, struct shared_response *response)
{
	struct cache_entry e;
	bool has_entry = find(r, k, &e);
	bool is_bogus = dns_response_is_bogus(q->response, q->response_len);

	if (has_entry && !is_bogus && make_stale(r, q, &e, response)) {
		(void)claim_failed(r, k);
		return;
	}
	share(r, q, ede, text, response);
	if (!has_entry)
		put(r, k, CACHE_FAILURE, FAILURE_MIN_S + FAILURE_BEGUN_S, response);
	else if (e.class == CACHE_FAILURE ||
	    !(is_fresh(r, &e) || (may_be_stale(r, q, &e) && !is_bogus)))
		put(r, k, CACHE_FAILURE, failure_life(r, &e), response);
}

static void
settle_answer(struct responder *r, struct query *q, const struct responder_key *k,
    struct shared_response *response)
{
	struct answer answer = { .kind = ANSWER_NOT_KEPT, .reason = ANSWER_MALFORMED };

	if (!q->was_longer)
		answer_judge(q->response, q->response_len, q->opt_len, &q->dns,
		    &r->groups[q->group].limits, &answer);
	answer_lower_soa(q->response, q->response_len, &answer);
	share(r, q, DNS_EDE_NONE, NULL, response);
	switch (answer.kind) {
	case ANSWER_POSITIVE:
		put(r, k, CACHE_POSITIVE, answer.life, response);
		break;
	case ANSWER_NEGATIVE:
		put(r, k, CACHE_NEGATIVE, answer.life, response);
		break;
	case ANSWER_FAILURE:
	case ANSWER_NOT_KEPT:
		count(r, STATS_CACHE_NOT_KEPT + answer.reason);
		break;
	}
}

static bool
is_failure(const struct query *q)
{
	enum dns_rcode rcode = dns_response_rcode(q->response, q->response_len);

	return q->outcome != QUERY_ANSWERED || (rcode != DNS_NOERROR && rcode != DNS_NXDOMAIN);
}

/* Gives a response to those that wait for it, and postpones what is too much for this turn. */
static void
give_to_waiters(struct responder *r, struct query *q, const struct shared_response *response)
{
	struct query *waiter;

	while ((waiter = joins_take(q)) != NULL) {
		stop_waiting(r, waiter);
		if (gives_no_more(r))
			responder_put(&r->postponed, waiter);
		else
			give(r, waiter, response);
	}
}

void
responder_cache_settle(struct responder *r, struct query *q, enum dns_ede ede, const char *text)
{
	struct shared_response response;
	struct responder_key k;

	key_of(r, q, q->join_link.hash, &k);
	joins_remove(q);
	if (is_failure(q))
		settle_failure(r, q, &k, ede, text, &response);
	else
		settle_answer(r, q, &k, &response);
	stop_waiting(r, q);
	give_to_waiters(r, q, &response);
	if (q->transport == QUERY_OWN)
		query_free(r->setup.table, q);
	else if (response.source == QUERY_STALE)
		give(r, q, &response);
	else
		responder_put(&r->done, q);
}

void
responder_cache_count_evicted(const struct responder *r)
{
	struct cache_evicted evicted;

	if (r->user == NULL)
		return;
	evicted = cache_take_evicted(r->user);
	stats_count(r->setup.row, STATS_CACHE_EVICTED_PROBATION, evicted.probation);
	stats_count(r->setup.row, STATS_CACHE_EVICTED_MAIN, evicted.main);
}

static void
look_up_postponed(struct responder *r, struct deadline now)
{
	struct responder_key k;
	struct query *q;

	while (!gives_no_more(r) && (q = TAILQ_FIRST(&r->postponed)) != NULL) {
		responder_take(q);
		responder_cache_key(r, q, &k);
		responder_cache_ask(r, q, &k, now);
	}
}

static void
expire(struct responder *r, struct deadline now)
{
	struct responder_key k;
	struct query *q;

	while ((q = TAILQ_FIRST(&r->stale_waiting)) != NULL && deadline_passed(q->stale_at, now)) {
		stop_waiting(r, q);
		key_of(r, q, q->waits_for->join_link.hash, &k);
		/* Else it has been evicted, and the query waits for an upstream. */
		if (!give_stale(r, q, &k))
			continue;
		(void)claim_failed(r, &k);
		joins_leave(q);
	}
}

void
responder_cache_begin(struct responder *r, struct deadline now)
{
	if (r->user == NULL)
		return;
	r->now_s = cache_now();
	r->large_given = 0;
	look_up_postponed(r, now);
	expire(r, now);
}

struct deadline
responder_deadline(const struct responder *r)
{
	const struct query *q = TAILQ_FIRST(&r->stale_waiting);

	if (!TAILQ_EMPTY(&r->postponed))
		return (struct deadline){ 0 };
	return q != NULL ? q->stale_at : DEADLINE_NEVER;
}

void
responder_cache_cancel(struct responder *r, struct query *q)
{
	struct query *next;

	stop_waiting(r, q);
	if (q->waits_for != NULL) {
		joins_leave(q);
		return;
	}
	upstream_cancel(r->setup.upstreams, q);
	if (!q->is_joinable || (next = joins_replace(r->joins, q)) == NULL)
		return;
	stop_waiting(r, next);
	upstream_ask(r->setup.upstreams, next);
}
