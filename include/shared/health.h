#ifndef DOTPROXY_HEALTH_H
#define DOTPROXY_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

/*
 * The health of upstreams, as all workers see it: one state for each, its backoff, and how long its
 * responses take.
 *
 *             silent too long, or ended              the canary stays unanswered,
 *             without a response                     or two connections end before it
 *         UP ------------------------> SUSPECT -------------------------> DOWN <----------+
 *         ^ ^                             |                               ^  |            |
 *         | +----- response in time ------+                               |  | backoff    | no response:
 *         |                                                               |  | has ended  | next backoff
 *         |   UP, SUSPECT: connect, handshake or verification failed -----+  v            |
 *         |                                                               PROBING --------+
 *         |                                                                  |
 *         +--------------------- response in time ---------------------------+
 *
 * It is a row in shared memory. Each function may be called by several workers at once, each value
 * is written in one piece, and what a faulty worker has written there leads to nothing worse than
 * a wrong choice of upstream.
 */

enum { HEALTH_ROWS = 1024 };
struct health;
struct health_table;

/* NULL with errno. Freed by health_table_free(); NULL is fine there. */
struct health_table *health_table_new(void);
void health_table_free(struct health_table *);

/* A row: INDEX is below HEALTH_ROWS. */
struct health *health_row(struct health_table *, size_t index);

/* Makes a row ready for another upstream. */
void health_clear(struct health *);

/* That any upstream has been connected to, and verified, since the program started. */
void health_set_ready(struct health_table *);
bool health_is_ready(struct health_table *);

enum health_state {
	HEALTH_UP,
	HEALTH_SUSPECT, /* the next connection begins with a canary; others are tried as well */
	HEALTH_DOWN,    /* it is not tried until its backoff has ended, unless all are down */
	HEALTH_PROBING  /* down, and its backoff has ended: the next query tries it */
};
enum health_state health_state(const struct health *, struct deadline now);

/* UP to SUSPECT: it was silent for too long, or ended a connection without a response. */
void health_suspect(struct health *);

/*
 * UP, SUSPECT and PROBING to DOWN: it could not be reached or verified, or is silent. It is in
 * backoff for 1, 2, 4, 8, 16, then 30 seconds. True when it was not down before.
 */
bool health_record_failure(struct health *, struct deadline now);

/* PROBING to DOWN, with the next backoff: true for the one caller whose query is the probe. */
bool health_claim_probe(struct health *, struct deadline now);

/* Any state to UP: a response came in time. True when it was down before. */
bool health_record_response(struct health *);

/* Whether it is DOWN or PROBING; whether it is SUSPECT. */
bool health_is_down(const struct health *);
bool health_is_suspect(const struct health *);

/* How often it has failed in a row; 0: it is not down. */
unsigned health_failures(const struct health *);

/*
 * What should be logged of it now: that it is down (how often that has happened since it was
 * logged last is in *TIMES; not more than once in ten seconds, then LATER), or that it is back
 * (after a line that said that it is down). One of several workers gets it. NEW_CAUSE: it is down
 * for another reason than was logged.
 */
enum health_log { HEALTH_LOG_NOTHING, HEALTH_LOG_LATER, HEALTH_LOG_DOWN, HEALTH_LOG_BACK };
enum health_log health_log_state(struct health *, bool new_cause, struct deadline now,
    unsigned *times);

/* Whether this worker should log that it takes less EDNS than ours: once an hour one of all. */
bool health_log_edns(struct health *, struct deadline now);

/* Seconds that it has been down at the moment NOW, for the log. */
int health_down_s(const struct health *, struct deadline now);

/* Notes how long a response took; smoothed over the last eight or so. */
void health_record_latency(struct health *, int64_t took_us);

/* The same where it is measured now and then only: each time weighs half. */
void health_record_probe_latency(struct health *, int64_t took_us);

/*
 * The time in milliseconds, rounded up by a fifth at most, in which PERCENT of the recent responses
 * came (those of health_record_latency()); 0 when there were too few to tell.
 */
int health_percentile_ms(const struct health *, unsigned percent);

/* How long a response usually takes, in microseconds; 0 when not known. */
int64_t health_usual_us(const struct health *);

#endif
