#include "board.h"

#include <sys/mman.h>

#include <stdlib.h>

/* Each row has cache lines of its own, since another process writes the next one. */
union worker_row {
	struct board_worker	worker;
	uint8_t			room[128];
};

union upstream_row {
	struct board_upstream	upstream;
	uint8_t			room[64];
};

struct board {
	size_t			 len;		/* of the shared memory */
	union worker_row	*workers;
	union upstream_row	*upstreams;
};

struct board *
board_new(size_t workers, size_t upstreams)
{
	struct board *b = calloc(1, sizeof *b);
	void *page;

	if (b == NULL)
		return NULL;
	b->len = workers * sizeof(union worker_row) + upstreams * sizeof(union upstream_row);
	page = mmap(NULL, b->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		free(b);
		return NULL;
	}
	b->workers = page;
	b->upstreams = (union upstream_row *)(b->workers + workers);
	return b;
}

void
board_free(struct board *b)
{
	if (b == NULL)
		return;
	(void)munmap(b->workers, b->len);
	free(b);
}

struct board_worker *
board_worker(struct board *b, size_t index)
{
	return &b->workers[index].worker;
}

struct board_upstream *
board_upstream(struct board *b, size_t index)
{
	return &b->upstreams[index].upstream;
}

void
board_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no need for an atomic addition. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

void
board_enter(struct board_worker *row, pid_t pid, struct deadline now)
{
	atomic_store(&row->heartbeat_us, now.at_us);
	atomic_store(&row->pid, (int32_t)pid);
}

void
board_leave(struct board_worker *row)
{
	atomic_store(&row->state, BOARD_EMPTY);
	atomic_store(&row->pid, 0);
	atomic_store(&row->in_hand, 0);
	atomic_store(&row->clients, 0);
}
