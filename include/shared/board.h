#ifndef DOTPROXY_BOARD_H
#define DOTPROXY_BOARD_H

#include <sys/types.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

/*
 * The page that the supervisor and all workers of one generation share: a row for each
 * worker, written by it alone, and what all of them write: a row for each upstream, and one
 * for the sockets. Only values, no pointers; each is written in one piece, so that a worker
 * may die at any instruction and leave nothing half-done.
 *
 * A faulty process may write anything: each reader checks what it reads, no value decides which
 * process is signalled, and each worker writes its own row again in every turn of its loop.
 */

enum board_state {
	BOARD_EMPTY, /* no worker has the row, or it has not come so far */
	BOARD_SERVING,
	BOARD_STOPPING /* finishes what it has in hand */
};

struct board_worker {
	_Atomic uint32_t state;       /* enum board_state */
	_Atomic int64_t heartbeat_us; /* its last turn: it works as long as this changes */
	_Atomic int64_t turn_us;      /* when the turn that it is in began; 0: it waits */
	_Atomic uint32_t busy;        /* percent of a processor that it has used of late */
	_Atomic uint64_t queries;
	_Atomic uint64_t answered; /* by an upstream */
	_Atomic uint64_t failed;   /* SERVFAIL of our own */
	_Atomic uint64_t dropped;  /* clients that made room for others */
	_Atomic uint32_t in_hand;
	_Atomic uint32_t clients;
};

struct board_upstream {
	_Atomic uint32_t failures;   /* in a row; 0: it is up */
	_Atomic uint32_t suspect;    /* slow to show that it is there, without an answer since */
	_Atomic int64_t retry_at_us; /* it is left alone until then */
	_Atomic int64_t down_since_us;
	_Atomic int64_t usual_us;     /* smoothed time of an answer; 0: not known */
	_Atomic uint32_t downs;       /* how often it went down since that was last logged */
	_Atomic uint32_t logged_down; /* the log says that it is down */
	_Atomic int64_t logged_at_us; /* when the log last said so */
	_Atomic int64_t edns_logged_at_us;
};

/* So many UDP sockets at most. */
enum { BOARD_SOCKETS = 16 };

/* TLS sessions of an upstream, as octets: so many, of that size at most. */
enum { BOARD_SESSIONS = 4, BOARD_SESSION_MAX = 8192 };

struct board;

/* A board for so many workers and upstreams. NULL with errno. Freed by board_free(). */
struct board *board_new(size_t workers, size_t upstreams);
void board_free(struct board *);

struct board_worker *board_worker(struct board *, size_t index);
struct board_upstream *board_upstream(struct board *, size_t index);

/*
 * For each UDP socket, how many datagrams the kernel has lost, as far as a worker has told:
 * all of them see what is lost, and one is to tell of it.
 */
_Atomic uint32_t *board_overflows(struct board *);

/* That an upstream has been connected to, and verified, since the program started. */
void board_set_ready(struct board *);
bool board_is_ready(struct board *);

/* That a worker has found a UDP socket shut down; and whether one has, since that was asked last. */
void board_report_shut_down(struct board *);
bool board_take_shut_down(struct board *);

/* Adds to a counter of a row that only the caller writes. */
void board_count(_Atomic uint64_t *counter, uint64_t n);

/*
 * Keeps a session of an upstream, LEN octets, until UNTIL, instead of the oldest. One that
 * is too large is not kept.
 */
void board_put_session(struct board *, size_t upstream, const uint8_t *octets, size_t len,
    struct deadline until);

/*
 * Takes the newest session of an upstream off the board, so that nobody uses it again
 * (RFC 8446 C.4). Returns its length, or 0 when there is none.
 */
size_t board_take_session(struct board *, size_t upstream, uint8_t octets[static BOARD_SESSION_MAX],
    struct deadline now);

/*
 * Whether a worker before this one will take in a moment what has come for any of them: it is
 * in a turn that began no longer than BOARD_TURN_MS ago, and less than BOARD_BUSY percent of a
 * processor is enough for what it does. One that waits has just been woken for something else,
 * or the kernel would have woken it for this; but when it did not come while this one STOOD_BACK
 * for it, it does not.
 */
enum { BOARD_TURN_MS = 2, BOARD_BUSY = 90 };
bool board_another_takes(struct board *, size_t index, bool stood_back, struct deadline now);

/* The supervisor clears the row of a worker that has ended, and frees what process PID held. */
void board_leave(struct board *, size_t index, pid_t pid);

#endif
