#include "shared/health.h"

#include <sys/random.h>

#include <stdalign.h>
#include <stdatomic.h>

#include "base/shm.h"

enum {
	BACKOFF_MAX_MS = 30000,

	/* The shortest time between two log lines that one upstream is down. */
	LOG_INTERVAL_MS = 10000,
	EDNS_LOG_INTERVAL_MS = 3600000,

	/* No answer takes longer; what says so was not written by us. */
	USUAL_MAX_MS = 60000,

	/* Response times up to that, four buckets to each doubling. */
	BUCKETS = 60,

	/* All counts are halved when there are so many, so that old ones fade. */
	RECENT_RESPONSES = 512,

	/* A percentile of fewer says nothing. */
	RESPONSES_MIN = 20
};

struct health {
	alignas(64) _Atomic uint32_t failures; /* in a row; 0: it is up */
	_Atomic uint32_t suspect;    /* slow to show that it is there, without an answer since */
	_Atomic int64_t retry_at_us; /* the end of the backoff */
	_Atomic int64_t down_since_us;
	_Atomic int64_t usual_us;     /* smoothed time of an answer; 0: not known */
	_Atomic uint32_t downs;       /* how often it went down since that was last logged */
	_Atomic uint32_t logged_down; /* the log says that it is down */
	_Atomic int64_t logged_at_us; /* when the log last said so */
	_Atomic int64_t edns_logged_at_us;
	_Atomic uint32_t responses[BUCKETS]; /* by how long they took: see bucket_of() */
};

struct health_table {
	struct health rows[HEALTH_ROWS];
	_Atomic uint32_t ready;
};

struct health_table *
health_table_new(void)
{
	return shm_new(sizeof(struct health_table));
}

void
health_table_free(struct health_table *t)
{
	shm_free(t, sizeof *t);
}

struct health *
health_row(struct health_table *t, size_t index)
{
	return &t->rows[index];
}

void
health_clear(struct health *u)
{
	size_t i;

	atomic_store(&u->failures, 0);
	atomic_store(&u->suspect, false);
	atomic_store(&u->retry_at_us, 0);
	atomic_store(&u->down_since_us, 0);
	atomic_store(&u->usual_us, 0);
	atomic_store(&u->downs, 0);
	atomic_store(&u->logged_down, 0);
	atomic_store(&u->logged_at_us, 0);
	atomic_store(&u->edns_logged_at_us, 0);
	for (i = 0; i < BUCKETS; i++)
		atomic_store(&u->responses[i], 0);
}

void
health_set_ready(struct health_table *t)
{
	atomic_store(&t->ready, true);
}

bool
health_is_ready(struct health_table *t)
{
	return atomic_load(&t->ready);
}

unsigned
health_failures(const struct health *u)
{
	return atomic_load(&u->failures);
}

/* 1, 2, 4, 8, 16, 30 s, a fifth more or less, so that many proxies do not come back in step. */
static int
backoff_ms(unsigned failures)
{
	int ms = failures < 6 ? 1000 << (failures > 0 ? failures - 1 : 0) : BACKOFF_MAX_MS;
	unsigned draw = 0;

	/* Without a random number it comes back in step, and that is all. */
	if (getrandom(&draw, sizeof draw, GRND_NONBLOCK) == -1)
		draw = 0;
	return ms - ms / 5 + (int)(draw % (2 * (unsigned)ms / 5 + 1));
}

/* When it may be asked again. More than the longest back-off away, it was not written by us. */
static int64_t
retry_at_us(const struct health *u, struct deadline now)
{
	int64_t at_us = atomic_load(&u->retry_at_us);

	return at_us > deadline_after(now, 2 * BACKOFF_MAX_MS).at_us ? now.at_us : at_us;
}

bool
health_record_failure(struct health *u, struct deadline now)
{
	unsigned failures = atomic_load(&u->failures);
	int64_t at_us = atomic_load(&u->retry_at_us);

	/* All workers see the same outage; only the first report counts. */
	if (failures > 0 && retry_at_us(u, now) > now.at_us)
		return false;
	if (!atomic_compare_exchange_strong(&u->retry_at_us, &at_us,
		deadline_after(now, backoff_ms(failures + 1)).at_us))
		return false;
	if (atomic_fetch_add(&u->failures, 1) > 0)
		return false;
	atomic_store(&u->down_since_us, now.at_us);
	(void)atomic_fetch_add(&u->downs, 1);
	return true;
}

bool
health_log_edns(struct health *u, struct deadline now)
{
	int64_t at_us = atomic_load(&u->edns_logged_at_us);

	if (at_us > 0 && at_us <= now.at_us &&
	    deadline_us_between((struct deadline){ at_us }, now) <
		(int64_t)EDNS_LOG_INTERVAL_MS * 1000)
		return false;
	return atomic_compare_exchange_strong(&u->edns_logged_at_us, &at_us, now.at_us);
}

enum health_log
health_log_state(struct health *u, bool new_cause, struct deadline now, unsigned *times)
{
	int64_t logged_at_us = atomic_load(&u->logged_at_us);
	uint32_t logged_down = atomic_load(&u->logged_down) != 0;
	bool is_down = health_is_down(u);

	if (is_down == (logged_down == 1) && !(is_down && new_cause))
		return HEALTH_LOG_NOTHING;
	if (!is_down)
		return atomic_exchange(&u->logged_down, 0) != 0 ? HEALTH_LOG_BACK :
								  HEALTH_LOG_NOTHING;
	if (logged_at_us > 0 && logged_at_us <= now.at_us &&
	    deadline_us_between((struct deadline){ logged_at_us }, now) <
		(int64_t)LOG_INTERVAL_MS * 1000)
		return HEALTH_LOG_LATER;
	/* One of the workers that have seen it logs it. */
	if (!atomic_compare_exchange_strong(&u->logged_at_us, &logged_at_us, now.at_us))
		return HEALTH_LOG_NOTHING;
	atomic_store(&u->logged_down, 1);
	*times = atomic_exchange(&u->downs, 0);
	return HEALTH_LOG_DOWN;
}

bool
health_record_response(struct health *u)
{
	/* Written only when it changes, so that all workers keep the cache line most often. */
	if (atomic_load(&u->suspect))
		atomic_store(&u->suspect, false);
	/* Most often it is up, and then the line is not taken from the other workers. */
	return atomic_load(&u->failures) > 0 && atomic_exchange(&u->failures, 0) > 0;
}

bool
health_is_down(const struct health *u)
{
	return atomic_load(&u->failures) > 0;
}

void
health_suspect(struct health *u)
{
	atomic_store(&u->suspect, true);
}

bool
health_is_suspect(const struct health *u)
{
	return !health_is_down(u) && atomic_load(&u->suspect);
}

enum health_state
health_state(const struct health *u, struct deadline now)
{
	if (health_is_down(u))
		return retry_at_us(u, now) > now.at_us ? HEALTH_DOWN : HEALTH_PROBING;
	return atomic_load(&u->suspect) ? HEALTH_SUSPECT : HEALTH_UP;
}

bool
health_claim_probe(struct health *u, struct deadline now)
{
	unsigned failures = atomic_load(&u->failures);
	int64_t at_us = atomic_load(&u->retry_at_us);

	if (failures == 0 || retry_at_us(u, now) > now.at_us ||
	    !atomic_compare_exchange_strong(&u->retry_at_us, &at_us,
		deadline_after(now, backoff_ms(failures + 1)).at_us))
		return false;
	/* Until it answers, the probe is one more failure. It may have answered another worker. */
	(void)atomic_compare_exchange_strong(&u->failures, &failures, failures + 1);
	return true;
}

int
health_down_s(const struct health *u, struct deadline now)
{
	struct deadline since = { atomic_load(&u->down_since_us) };

	/* In the future, or before there was time, it was not written by us. */
	if (since.at_us < 0 || since.at_us > now.at_us)
		return 0;
	return (int)(deadline_us_between(since, now) / 1000000);
}

/* 0 to 3 for as many milliseconds, then four for each doubling. */
static size_t
bucket_of(int64_t took_us)
{
	uint64_t ms = took_us > 0 ? (uint64_t)took_us / 1000 : 0;
	size_t doublings = 2;

	if (ms >= USUAL_MAX_MS)
		return BUCKETS - 1;
	if (ms < 4)
		return (size_t)ms;
	while (ms >> (doublings + 1) > 0)
		doublings++;
	return (doublings - 1) * 4 + (ms >> (doublings - 2) & 3);
}

/* All that is in a bucket took less than this. */
static int
bucket_end_ms(size_t bucket)
{
	return bucket < 4 ? (int)bucket + 1 : (int)(bucket % 4 + 5) << (bucket / 4 - 1);
}

/* Copies the counts, as they are at the moment, and returns their sum. */
static uint64_t
read_responses(const struct health *u, uint32_t counts[static BUCKETS])
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < BUCKETS; i++) {
		counts[i] = atomic_load_explicit(&u->responses[i], memory_order_relaxed);
		sum += counts[i];
	}
	return sum;
}

/* Other workers may count meanwhile; a count that is lost with it does no harm. */
static void
fade(struct health *u)
{
	uint32_t counts[BUCKETS];
	size_t i;

	if (read_responses(u, counts) < RECENT_RESPONSES)
		return;
	for (i = 0; i < BUCKETS; i++)
		if (counts[i] > 0)
			atomic_store_explicit(&u->responses[i], counts[i] / 2,
			    memory_order_relaxed);
}

int
health_percentile_ms(const struct health *u, unsigned percent)
{
	uint32_t counts[BUCKETS];
	uint64_t sum = read_responses(u, counts);
	uint64_t below = 0;
	size_t i;

	if (sum < RESPONSES_MIN)
		return 0;
	for (i = 0; i < BUCKETS - 1; i++) {
		below += counts[i];
		if (100 * below >= percent * sum)
			break;
	}
	return bucket_end_ms(i);
}

void
health_record_latency(struct health *u, int64_t took_us)
{
	int64_t usual_us = health_usual_us(u);
	uint32_t n;

	n = atomic_fetch_add_explicit(&u->responses[bucket_of(took_us)], 1, memory_order_relaxed);
	if (n % (RECENT_RESPONSES / 16) == 0)
		fade(u);
	atomic_store_explicit(&u->usual_us, usual_us == 0 ? took_us : (7 * usual_us + took_us) / 8,
	    memory_order_relaxed);
}

void
health_record_probe_latency(struct health *u, int64_t took_us)
{
	int64_t usual_us = health_usual_us(u);

	atomic_store_explicit(&u->usual_us, usual_us == 0 ? took_us : (usual_us + took_us) / 2,
	    memory_order_relaxed);
}

int64_t
health_usual_us(const struct health *u)
{
	int64_t usual_us = atomic_load_explicit(&u->usual_us, memory_order_relaxed);

	return usual_us < 0 || usual_us > (int64_t)USUAL_MAX_MS * 1000 ? 0 : usual_us;
}
