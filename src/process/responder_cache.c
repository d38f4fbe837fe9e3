#include "process/responder.h"

#include <string.h>

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

void
responder_cache_key(const struct responder *r, const struct query *q, struct responder_key *k)
{
	size_t len;

	memcpy(k->bytes, r->groups[q->group].fingerprint, UPSTREAM_GROUP_LEN);
	len = UPSTREAM_GROUP_LEN + joins_question(q, k->bytes + UPSTREAM_GROUP_LEN);
	cache_key_init(r->user, &k->key, k->bytes, len);
}

_Static_assert(UPSTREAM_GROUP_LEN + JOINS_QUESTION_MAX <= CACHE_KEY_MAX, "room for any key");

/* ---- answers ---- */

/* Answers a query with what is kept. */
static void
give(struct responder *r, struct query *q)
{
	memcpy(q->response, r->kept.message, r->kept.len);
	q->response_len = r->kept.len;
	q->opt_len = r->kept.opt_len;
	q->is_canonical = true;
	q->outcome = r->kept.outcome;
	q->source = r->kept.source;
	if (q->source == QUERY_STALE)
		count(r, STATS_CACHE_STALE);
	responder_done(r, q);
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
	responder_done(r, q);
	return true;
}

/* Makes an out-of-date answer to Q of the entry whose value is in `kept'. */
static bool
make_stale(struct responder *r, const struct query *q, const struct cache_entry *e)
{
	struct kept *kept = &r->kept;
	enum dns_ede ede;

	if (!may_be_stale(r, q, e) || !is_answer(q, kept->message, e->len) ||
	    !answer_age_stale(kept->message, e->len, age_of(r, e), &kept->opt_len))
		return false;
	ede = dns_response_rcode(kept->message, e->len) == DNS_NXDOMAIN ? DNS_EDE_STALE_NXDOMAIN :
									  DNS_EDE_STALE_ANSWER;
	kept->len = edns_add_error(kept->message, e->len, &kept->opt_len, &q->dns, ede);
	kept->outcome = QUERY_ANSWERED;
	kept->source = QUERY_STALE;
	return true;
}

static bool
find(struct responder *r, const struct responder_key *k, struct cache_entry *e)
{
	return cache_get(r->user, &k->key, r->kept.message, sizeof r->kept.message, e);
}

static bool
find_stale(struct responder *r, const struct query *q, const struct responder_key *k)
{
	struct cache_entry e;

	return find(r, k, &e) && make_stale(r, q, &e);
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
		if (!find_stale(r, q, k))
			return false;
		give(r, q);
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

/* Makes of the response to a query what others with the same question get, and the cache keeps. */
static void
keep_response(struct responder *r, const struct query *q, enum dns_ede ede, const char *text)
{
	struct kept *kept = &r->kept;
	struct dns_query with_edns = q->dns;

	kept->outcome = q->outcome;
	kept->source = q->source;
	if (q->is_canonical) {
		kept->opt_len = q->opt_len;
		memcpy(kept->message, q->response, q->response_len);
		kept->len = edns_keep_errors(kept->message, q->response_len, &kept->opt_len);
		return;
	}
	with_edns.has_edns = true;
	kept->len = dns_write_error(kept->message, DNS_ERROR_MAX, q->message, &with_edns,
	    dns_response_rcode(q->response, q->response_len), ede, text);
	kept->opt_len = kept->len - DNS_HEADER_LEN - q->dns.question_len;
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
put(struct responder *r, const struct responder_key *k, enum cache_class class, uint32_t life)
{
	struct cache_entry e = { .class = class,
		.born = r->now_s,
		.until = r->now_s + life,
		.len = r->kept.len };

	switch (cache_put(r->user, &k->key, &e, r->kept.message)) {
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
settle_failure(struct responder *r, const struct query *q, const struct responder_key *k,
    enum dns_ede ede, const char *text)
{
	struct cache_entry e;
	bool has_entry = find(r, k, &e);
	bool is_bogus = dns_response_is_bogus(q->response, q->response_len);

	if (has_entry && !is_bogus && make_stale(r, q, &e)) {
		(void)claim_failed(r, k);
		return;
	}
	keep_response(r, q, ede, text);
	if (!has_entry)
		put(r, k, CACHE_FAILURE, FAILURE_MIN_S + FAILURE_BEGUN_S);
	else if (e.class == CACHE_FAILURE ||
	    !(is_fresh(r, &e) || (may_be_stale(r, q, &e) && !is_bogus)))
		put(r, k, CACHE_FAILURE, failure_life(r, &e));
}

static void
settle_answer(struct responder *r, struct query *q, const struct responder_key *k)
{
	struct answer answer;

	if (q->was_longer)
		answer = (struct answer){ .kind = ANSWER_NOT_KEPT, .reason = ANSWER_MALFORMED };
	else
		answer_judge(q->response, q->response_len, q->opt_len, &q->dns,
		    &r->groups[q->group].limits, &answer);
	answer_lower_soa(q->response, q->response_len, &answer);
	keep_response(r, q, DNS_EDE_NONE, NULL);
	switch (answer.kind) {
	case ANSWER_POSITIVE:
		put(r, k, CACHE_POSITIVE, answer.life);
		break;
	case ANSWER_NEGATIVE:
		put(r, k, CACHE_NEGATIVE, answer.life);
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

void
responder_cache_settle(struct responder *r, struct query *q, enum dns_ede ede, const char *text)
{
	struct responder_key k;
	struct query *waiter;

	responder_cache_key(r, q, &k);
	joins_remove(q);
	if (is_failure(q))
		settle_failure(r, q, &k, ede, text);
	else
		settle_answer(r, q, &k);
	stop_waiting(r, q);
	if (q->transport != QUERY_OWN && r->kept.source == QUERY_STALE)
		give(r, q);
	else if (q->transport != QUERY_OWN)
		responder_done(r, q);
	while ((waiter = joins_take(q)) != NULL) {
		stop_waiting(r, waiter);
		give(r, waiter);
	}
	if (q->transport == QUERY_OWN)
		query_free(r->setup.table, q);
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

void
responder_cache_expire(struct responder *r, struct deadline now)
{
	struct responder_key k;
	struct query *q;

	while ((q = TAILQ_FIRST(&r->stale_waiting)) != NULL && deadline_passed(q->stale_at, now)) {
		stop_waiting(r, q);
		responder_cache_key(r, q, &k);
		/* Else it has been evicted, and the query waits for an upstream. */
		if (!find_stale(r, q, &k))
			continue;
		(void)claim_failed(r, &k);
		joins_leave(q);
		give(r, q);
	}
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
