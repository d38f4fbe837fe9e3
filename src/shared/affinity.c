#include "shared/affinity.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/shm.h"

struct row {
	alignas(64) _Atomic int64_t turn_us; /* when the turn began; 0: the worker waits */
	_Atomic uint32_t busy;               /* percent of a processor */
	_Atomic uint32_t accepting;
};

struct affinity {
	struct row rows[AFFINITY_WORKERS];
};

struct affinity *
affinity_new(void)
{
	return shm_new(sizeof(struct affinity));
}

void
affinity_free(struct affinity *a)
{
	shm_free(a, sizeof *a);
}

void
affinity_set_accepting(struct affinity *a, size_t worker, bool accepting)
{
	atomic_store_explicit(&a->rows[worker].accepting, accepting, memory_order_relaxed);
}

void
affinity_set_turn(struct affinity *a, size_t worker, struct deadline began)
{
	atomic_store_explicit(&a->rows[worker].turn_us, began.at_us, memory_order_relaxed);
}

void
affinity_set_busy(struct affinity *a, size_t worker, unsigned percent)
{
	atomic_store_explicit(&a->rows[worker].busy, percent, memory_order_relaxed);
}

static bool
will_accept(const struct row *row, bool has_yielded, struct deadline now)
{
	struct deadline turn = { atomic_load_explicit(&row->turn_us, memory_order_relaxed) };

	if (atomic_load_explicit(&row->accepting, memory_order_relaxed) != true ||
	    atomic_load_explicit(&row->busy, memory_order_relaxed) >= AFFINITY_BUSY)
		return false;
	if (turn.at_us == 0)
		return !has_yielded;
	/* A turn in the future was not written by the worker, or its clock is a little ahead. */
	return turn.at_us < deadline_after(now, AFFINITY_TURN_MS).at_us &&
	    !deadline_passed(deadline_after(turn, AFFINITY_TURN_MS), now);
}

bool
affinity_should_yield(struct affinity *a, size_t first, size_t worker, bool has_yielded,
    struct deadline now)
{
	size_t i;

	for (i = first; i < worker; i++)
		if (will_accept(&a->rows[i], has_yielded, now))
			return true;
	return false;
}

void
affinity_clear(struct affinity *a, size_t worker)
{
	affinity_set_accepting(a, worker, false);
	affinity_set_turn(a, worker, (struct deadline){ 0 });
	affinity_set_busy(a, worker, 0);
}
