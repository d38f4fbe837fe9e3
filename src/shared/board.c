#include "shared/board.h"

#include <sys/mman.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"

/* Each row has cache lines of its own, since another process writes the next one. */
union worker_row {
	struct board_worker worker;
	uint8_t room[128];
};

union upstream_row {
	struct board_upstream upstream;
	uint8_t room[64];
};

union common_row {
	struct {
		_Atomic uint64_t last_number; /* of a session */
		_Atomic uint32_t overflows[BOARD_SOCKETS];
		_Atomic uint32_t ready;
		_Atomic uint32_t shut_down;
	} common;
	uint8_t room[128];
};

/*
 * A place for a session. Who wants to write or read it writes its pid into `owner' first,
 * and 0 when done. The place of one that died meanwhile is emptied when it is reaped.
 */
struct session {
	_Atomic int32_t owner;
	_Atomic uint32_t len; /* 0: there is none */
	uint64_t number;      /* the larger, the newer */
	int64_t until_us;
	uint64_t hash; /* of the bytes: what others have written there is not used */
	uint8_t octets[BOARD_SESSION_MAX];
};

struct board {
	size_t len;          /* of the shared memory */
	struct hash_key key; /* not in shared memory */
	size_t upstream_count;
	union worker_row *workers;
	union common_row *common;
	union upstream_row *upstreams;
	struct session (*sessions)[BOARD_SESSIONS];
};

struct board *
board_new(size_t workers, size_t upstreams)
{
	struct board *b = calloc(1, sizeof *b);
	void *page;

	if (b == NULL || hash_key_init(&b->key) == -1) {
		free(b);
		return NULL;
	}
	b->upstream_count = upstreams;
	b->len = sizeof *b->workers * workers + sizeof *b->common +
	    sizeof *b->upstreams * upstreams + sizeof *b->sessions * upstreams;
	page = mmap(NULL, b->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		free(b);
		return NULL;
	}
	b->workers = page;
	b->common = (union common_row *)(b->workers + workers);
	b->upstreams = (union upstream_row *)(b->common + 1);
	b->sessions = (struct session(*)[BOARD_SESSIONS])(b->upstreams + upstreams);
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

_Atomic uint32_t *
board_overflows(struct board *b)
{
	return b->common->common.overflows;
}

void
board_set_ready(struct board *b)
{
	atomic_store(&b->common->common.ready, true);
}

bool
board_is_ready(struct board *b)
{
	return atomic_load(&b->common->common.ready);
}

void
board_report_shut_down(struct board *b)
{
	atomic_store_explicit(&b->common->common.shut_down, true, memory_order_relaxed);
}

bool
board_take_shut_down(struct board *b)
{
	return atomic_exchange(&b->common->common.shut_down, false);
}

void
board_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no need for an atomic addition. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

static bool
claim(struct session *s)
{
	int32_t nobody = 0;

	return atomic_compare_exchange_strong(&s->owner, &nobody, (int32_t)getpid());
}

static void
release(struct session *s)
{
	atomic_store(&s->owner, 0);
}

void
board_put_session(struct board *b, size_t upstream, const uint8_t *octets, size_t len,
    struct deadline until)
{
	struct session *oldest = NULL;
	size_t i;

	if (len > BOARD_SESSION_MAX)
		return;
	for (i = 0; i < BOARD_SESSIONS; i++) {
		struct session *s = &b->sessions[upstream][i];

		/* Another one is at it: so it is in use. */
		if (!claim(s))
			continue;
		if (oldest != NULL &&
		    (oldest->len == 0 || (s->len > 0 && s->number > oldest->number))) {
			release(s);
			continue;
		}
		if (oldest != NULL)
			release(oldest);
		oldest = s;
	}
	if (oldest == NULL)
		return;
	memcpy(oldest->octets, octets, len);
	oldest->hash = hash_bytes(&b->key, octets, len);
	oldest->until_us = until.at_us;
	oldest->number = atomic_fetch_add(&b->common->common.last_number, 1) + 1;
	oldest->len = (uint32_t)len;
	release(oldest);
}

size_t
board_take_session(struct board *b, size_t upstream, uint8_t octets[static BOARD_SESSION_MAX],
    struct deadline now)
{
	struct session *newest = NULL;
	size_t len;
	size_t i;

	for (i = 0; i < BOARD_SESSIONS; i++) {
		struct session *s = &b->sessions[upstream][i];

		if (!claim(s))
			continue;
		if (s->until_us <= now.at_us)
			s->len = 0;
		if (s->len == 0 || (newest != NULL && newest->number > s->number)) {
			release(s);
			continue;
		}
		if (newest != NULL)
			release(newest);
		newest = s;
	}
	if (newest == NULL)
		return 0;
	len = newest->len;
	/* What is written there has passed through other processes. */
	if (len > BOARD_SESSION_MAX)
		len = 0;
	memcpy(octets, newest->octets, len);
	if (len > 0 && newest->hash != hash_bytes(&b->key, octets, len))
		len = 0;
	newest->len = 0;
	release(newest);
	return len;
}

/* What a worker had in its hands when it died may be half-written. */
static void
empty_sessions_of(struct board *b, int32_t pid)
{
	size_t i;
	size_t k;

	for (i = 0; i < b->upstream_count; i++) {
		for (k = 0; k < BOARD_SESSIONS; k++) {
			struct session *s = &b->sessions[i][k];

			if (atomic_load(&s->owner) != pid)
				continue;
			s->len = 0;
			release(s);
		}
	}
}

static bool
takes_in_a_moment(struct board_worker *row, bool stood_back, struct deadline now)
{
	struct deadline turn = { atomic_load_explicit(&row->turn_us, memory_order_relaxed) };

	if (atomic_load(&row->state) != BOARD_SERVING ||
	    atomic_load_explicit(&row->busy, memory_order_relaxed) >= BOARD_BUSY)
		return false;
	if (turn.at_us == 0)
		return !stood_back;
	/* One that is yet to come was not written by the worker, but for what it is ahead of us. */
	return turn.at_us < deadline_after(now, BOARD_TURN_MS).at_us &&
	    !deadline_passed(deadline_after(turn, BOARD_TURN_MS), now);
}

bool
board_another_takes(struct board *b, size_t index, bool stood_back, struct deadline now)
{
	size_t i;

	for (i = 0; i < index; i++)
		if (takes_in_a_moment(board_worker(b, i), stood_back, now))
			return true;
	return false;
}

void
board_leave(struct board *b, size_t index, pid_t pid)
{
	struct board_worker *row = board_worker(b, index);

	empty_sessions_of(b, (int32_t)pid);
	atomic_store(&row->state, BOARD_EMPTY);
	atomic_store(&row->turn_us, 0);
	atomic_store(&row->busy, 0);
	atomic_store(&row->in_hand, 0);
	atomic_store(&row->clients, 0);
}
