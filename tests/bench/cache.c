/*
 * Measures the cache by itself: times of lookups and inserts, and hit rates.
 *
 *     make benchcache
 */
#include "shared/cache.h"

#include <sys/wait.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	SIZE = 4 << 20,
	NAMES = 1000000, /* of the distribution */
	KEY_LEN = 40,
	VALUE_LEN = 128,
	FEW = 12000,  /* names that all fit */
	HOT = 1000,   /* the most frequent names */
	RANDOM_NAMES = 10, /* with each question */
	CALLS = 5000000,
	QUESTIONS = 4000000
};

struct bench {
	struct cache *cache;
	struct cache_user *user;
	uint64_t random;
	uint64_t next_random_name;
};

/* xorshift64*: always the same numbers. */
static uint64_t
draw(struct bench *b)
{
	b->random ^= b->random >> 12;
	b->random ^= b->random << 25;
	b->random ^= b->random >> 27;
	return b->random * 0x2545f4914f6cdd1d;
}

static void
begin(struct bench *b)
{
	memset(b, 0, sizeof *b);
	b->random = 1;
	b->next_random_name = NAMES;
	b->cache = cache_new(SIZE);
	if (b->cache == NULL || (b->user = cache_user_new(b->cache, 0)) == NULL) {
		perror("cache");
		exit(1);
	}
}

static void
end(struct bench *b)
{
	cache_user_free(b->user);
	cache_free(b->cache);
}

static void
make_key(const struct bench *b, uint64_t name, uint8_t bytes[static KEY_LEN], struct cache_key *key)
{
	memset(bytes, 'x', KEY_LEN);
	memcpy(bytes + 7, &name, sizeof name);
	cache_key_init(b->user, key, bytes, KEY_LEN);
}

static bool
get(struct bench *b, uint64_t name)
{
	uint8_t bytes[KEY_LEN];
	uint8_t value[VALUE_LEN];
	struct cache_entry entry;
	struct cache_key key;

	make_key(b, name, bytes, &key);
	return cache_get(b->user, &key, value, sizeof value, &entry);
}

static void
put(struct bench *b, uint64_t name)
{
	static const uint8_t value[VALUE_LEN];
	struct cache_entry entry = { .len = sizeof value };
	uint8_t bytes[KEY_LEN];
	struct cache_key key;

	make_key(b, name, bytes, &key);
	(void)cache_put(b->user, &key, &entry, value);
}

static bool
ask(struct bench *b, uint64_t name)
{
	if (get(b, name))
		return true;
	put(b, name);
	return false;
}

/* The processor time of this process. */
static double
now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Nanoseconds of a lookup among COUNT names that are all there. */
static double
time_lookups(struct bench *b, uint64_t count)
{
	double began;
	unsigned hits = 0;
	unsigned i;

	for (i = 0; i < 3 * count; i++)
		(void)ask(b, i % count);
	began = now_ns();
	for (i = 0; i < CALLS; i++)
		hits += get(b, draw(b) % count);
	if (hits < CALLS / 10 * 9)
		(void)printf("only %u of %u were hits\n", hits, (unsigned)CALLS);
	return (now_ns() - began) / CALLS;
}

static double
time_inserts(struct bench *b)
{
	double began = now_ns();
	unsigned i;

	for (i = 0; i < CALLS; i++)
		put(b, NAMES + i);
	return (now_ns() - began) / CALLS;
}

/* Prints the time of a lookup of the same few names in two processes at once. */
static void
time_two_processes(struct bench *b)
{
	pid_t pid = fork();

	if (pid == -1) {
		perror("fork");
		return;
	}
	if (pid == 0) {
		b->user = cache_user_new(b->cache, 1);
		if (b->user != NULL)
			(void)time_lookups(b, HOT);
		_exit(0);
	}
	(void)printf("lookup, %d names, two processes   %6.0f ns\n", HOT, time_lookups(b, HOT));
	(void)waitpid(pid, NULL, 0);
	cache_remove_worker(b->cache, 1);
}

/* How often each name is asked for: by its rank to the power of -0.9. As sums, from 0 to 1. */
static double *
make_distribution(void)
{
	double *sums = malloc(NAMES * sizeof *sums);
	double sum = 0;
	unsigned i;

	if (sums == NULL) {
		perror("malloc");
		exit(1);
	}
	for (i = 0; i < NAMES; i++)
		sums[i] = sum += 1 / pow(i + 1, 0.9);
	for (i = 0; i < NAMES; i++)
		sums[i] /= sum;
	return sums;
}

static unsigned
draw_name(struct bench *b, const double *sums)
{
	double at = (double)(draw(b) >> 11) / (double)(1ULL << 53);
	unsigned low = 0;
	unsigned high = NAMES - 1;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (sums[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct rates {
	double all;
	double hot;
};

/* Hit rates in the second half of some questions, with so many names with each that come once. */
static struct rates
ask_questions(struct bench *b, const double *sums, unsigned questions, unsigned random_names)
{
	unsigned warm_up = questions / 2;
	unsigned hits = 0;
	unsigned hot = 0;
	unsigned hot_hits = 0;
	unsigned i;
	unsigned n;

	for (i = 0; i < questions; i++) {
		unsigned name = draw_name(b, sums);
		bool is_hit = ask(b, name);

		for (n = 0; n < random_names; n++)
			(void)ask(b, b->next_random_name++);
		if (i < warm_up)
			continue;
		hits += is_hit;
		hot += name < HOT;
		hot_hits += name < HOT && is_hit;
	}
	return (struct rates) { 100.0 * hits / (questions - warm_up), 100.0 * hot_hits / hot };
}

int
main(void)
{
	double *sums = make_distribution();
	struct cache_evicted evicted;
	struct rates rates;
	struct bench b;

	begin(&b);
	(void)printf("lookup, %d names                 %6.0f ns\n", FEW, time_lookups(&b, FEW));
	(void)printf("lookup, %d names                  %6.0f ns\n", HOT, time_lookups(&b, HOT));
	time_two_processes(&b);
	(void)printf("insert                               %6.0f ns\n", time_inserts(&b));
	end(&b);

	begin(&b);
	rates = ask_questions(&b, sums, QUESTIONS, 0);
	evicted = cache_take_evicted(b.user);
	(void)printf("hits, Zipf 0.9                    %6.2f %%, of the %d most frequent %.2f %%\n",
	    rates.all, HOT, rates.hot);
	(void)printf("evicted                           %ju of probation, %ju of main\n",
	    (uintmax_t)evicted.probation, (uintmax_t)evicted.main);
	rates = ask_questions(&b, sums, QUESTIONS / 8, RANDOM_NAMES);
	(void)printf("the same, then %d random names each  %6.2f %%, of the %d most frequent %.2f %%\n",
	    RANDOM_NAMES, rates.all, HOT, rates.hot);
	end(&b);

	begin(&b);
	rates = ask_questions(&b, sums, QUESTIONS / 4, RANDOM_NAMES);
	(void)printf("%d random names from the start  %6.2f %%, of the %d most frequent %.2f %%\n",
	    RANDOM_NAMES, rates.all, HOT, rates.hot);
	end(&b);
	free(sums);
	return 0;
}
