#ifndef DOTPROXY_HEALTH_H
#define DOTPROXY_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

/*
 * What all workers know of an upstream: whether it is down and until when it is left
 * alone, and how long its answers usually take. It is a row in shared memory. Each function may
 * be called by several workers at once, each value is written in one piece, and what a faulty
 * worker has written there leads to nothing worse than a wrong choice of upstream.
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

/* How often it has failed in a row; 0: it is up. */
unsigned health_failures(const struct health *);

/* It could not be reached, or did not answer: it is left alone for a while. True when it was up until now. */
bool health_failed(struct health *, struct deadline now);

/* It has answered: it is up. True when it was down until now. */
bool health_answered(struct health *);

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

/* How it is: what is decided about queries goes by this. */
enum health_state {
	HEALTH_UP,
	HEALTH_SUSPECT, /* slow to show that it is there, without an answer since */
	HEALTH_DOWN,    /* it is not tried until its backoff has ended */
	HEALTH_PROBING  /* down, and its backoff has ended: the next query tries it */
};
enum health_state health_state(const struct health *, struct deadline now);

/* Whether it is down, whether or not it may be tried again. */
bool health_is_down(const struct health *);

/* It was slow to show that it is there, or ended a connection without an answer. */
void health_suspect(struct health *);

/* Whether it is suspect, and not down: the next upstream should be asked as well. */
bool health_is_suspect(const struct health *);

/*
 * Claims the trial of an upstream whose time of being left alone has ended. One caller
 * gets it: true; for all others it is left alone for another while.
 */
bool health_claim_trial(struct health *, struct deadline now);

/* Seconds that it has been down at the moment NOW, for people. */
int health_down_s(const struct health *, struct deadline now);

/* Notes how long an answer took; smoothed over the last eight or so. */
void health_took(struct health *, int64_t took_us);

/* The same of one that is looked at now and then only: each look weighs half. */
void health_looked(struct health *, int64_t took_us);

/* How long an answer usually takes, in microseconds; 0 when not known. */
int64_t health_usual_us(const struct health *);

#endif
