#include "shared/stats.h"

#include <stdalign.h>
#include <stdatomic.h>

#include "base/shm.h"

/* Two cache lines, since processors fetch them in pairs: another process writes the next row. */
struct stats_worker {
	alignas(128) _Atomic uint32_t state;
	_Atomic int64_t heartbeat;
	_Atomic uint64_t counters[STATS_COUNTERS];
	_Atomic uint32_t queries_in_flight;
	_Atomic uint32_t clients;
};

struct sockets {
	alignas(128) _Atomic uint32_t drops[STATS_SOCKETS]; /* reported by any worker */
	_Atomic uint32_t shut_down;
};

struct stats {
	struct stats_worker workers[STATS_WORKERS];
	struct sockets sockets[STATS_GENERATIONS];
};

struct stats *
stats_new(void)
{
	return shm_new(sizeof(struct stats));
}

void
stats_free(struct stats *s)
{
	shm_free(s, sizeof *s);
}

struct stats_worker *
stats_worker(struct stats *s, size_t index)
{
	return &s->workers[index];
}

void
stats_set_state(struct stats_worker *w, enum stats_state state)
{
	atomic_store(&w->state, (uint32_t)state);
}

enum stats_state
stats_state(const struct stats_worker *w)
{
	uint32_t state = atomic_load(&w->state);

	return state == STATS_SERVING || state == STATS_STOPPING ? (enum stats_state)state :
								   STATS_EMPTY;
}

void
stats_beat(struct stats_worker *w, struct deadline now)
{
	atomic_store_explicit(&w->heartbeat, now.at_us, memory_order_relaxed);
}

int64_t
stats_heartbeat(const struct stats_worker *w)
{
	return atomic_load(&w->heartbeat);
}

void
stats_count(struct stats_worker *w, enum stats_counter which, uint64_t n)
{
	_Atomic uint64_t *counter = &w->counters[which];

	/* The row has one writer, so this needs no atomic addition. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

uint64_t
stats_counter(const struct stats_worker *w, enum stats_counter which)
{
	return atomic_load(&w->counters[which]);
}

void
stats_set_load(struct stats_worker *w, size_t queries, size_t clients)
{
	atomic_store_explicit(&w->queries_in_flight, (uint32_t)queries, memory_order_relaxed);
	atomic_store_explicit(&w->clients, (uint32_t)clients, memory_order_relaxed);
}

uint32_t
stats_queries_in_flight(const struct stats_worker *w)
{
	return atomic_load(&w->queries_in_flight);
}

uint32_t
stats_clients(const struct stats_worker *w)
{
	return atomic_load(&w->clients);
}

void
stats_clear_worker(struct stats_worker *w)
{
	stats_set_state(w, STATS_EMPTY);
	stats_set_load(w, 0, 0);
}

uint32_t
stats_new_drops(struct stats *s, size_t generation, size_t socket, uint32_t total)
{
	_Atomic uint32_t *drops = &s->sockets[generation].drops[socket];
	uint32_t reported = atomic_load(drops);

	while ((int32_t)(total - reported) > 0)
		if (atomic_compare_exchange_weak(drops, &reported, total))
			return total - reported;
	return 0;
}

void
stats_ignore_drops(struct stats *s, size_t generation, size_t socket, uint32_t total)
{
	uint32_t none = 0;

	(void)atomic_compare_exchange_strong(&s->sockets[generation].drops[socket], &none, total);
}

void
stats_report_shut_down(struct stats *s, size_t generation)
{
	atomic_store_explicit(&s->sockets[generation].shut_down, true, memory_order_relaxed);
}

bool
stats_take_shut_down(struct stats *s, size_t generation)
{
	return atomic_exchange(&s->sockets[generation].shut_down, false);
}

void
stats_clear_sockets(struct stats *s, size_t generation)
{
	size_t i;

	for (i = 0; i < STATS_SOCKETS; i++)
		atomic_store(&s->sockets[generation].drops[i], 0);
	atomic_store(&s->sockets[generation].shut_down, false);
}
