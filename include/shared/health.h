#ifndef DOTPROXY_HEALTH_H
#define DOTPROXY_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "shared/board.h"

/*
 * What all workers know of an upstream: whether it is down and until when it is left
 * alone, and how long its answers usually take. Each function may be called by several
 * workers at once.
 */

/* It could not be reached, or did not answer: it is left alone for a while. True when it was up until now. */
bool health_failed(struct board_upstream *, struct deadline now);

/* It has answered: it is up. True when it was down until now. */
bool health_answered(struct board_upstream *);

/*
 * What should be logged of it now: that it is down (how often that has happened since it was
 * logged last is in *TIMES; not more than once in ten seconds, then LATER), or that it is back
 * (after a line that said that it is down). One of several workers gets it. NEW_CAUSE: it is down
 * for another reason than was logged.
 */
enum health_log { HEALTH_LOG_NOTHING, HEALTH_LOG_LATER, HEALTH_LOG_DOWN, HEALTH_LOG_BACK };
enum health_log health_log_state(struct board_upstream *, bool new_cause, struct deadline now,
    unsigned *times);

/* Whether this worker should log that it takes less EDNS than ours: once an hour one of all. */
bool health_log_edns(struct board_upstream *, struct deadline now);

/* How it is: what is decided about queries goes by this. */
enum health_state {
	HEALTH_UP,
	HEALTH_SUSPECT, /* slow to show that it is there, without an answer since */
	HEALTH_DOWN,    /* it is not tried until its backoff has ended */
	HEALTH_PROBING  /* down, and its backoff has ended: the next query tries it */
};
enum health_state health_state(const struct board_upstream *, struct deadline now);

/* Whether it is down, whether or not it may be tried again. */
bool health_is_down(const struct board_upstream *);

/* It was slow to show that it is there, or ended a connection without an answer. */
void health_suspect(struct board_upstream *);

/* Whether it is suspect, and not down: the next upstream should be asked as well. */
bool health_is_suspect(const struct board_upstream *);

/*
 * Claims the trial of an upstream whose time of being left alone has ended. One caller
 * gets it: true; for all others it is left alone for another while.
 */
bool health_claim_trial(struct board_upstream *, struct deadline now);

/* Seconds that it has been down at the moment NOW, for people. */
int health_down_s(const struct board_upstream *, struct deadline now);

/* Notes how long an answer took; smoothed over the last eight or so. */
void health_took(struct board_upstream *, int64_t took_us);

/* Makes one row say what another one does. */
void health_copy(struct board_upstream *to, const struct board_upstream *from);

/* The same of one that is looked at now and then only: each look weighs half. */
void health_looked(struct board_upstream *, int64_t took_us);

/* How long an answer usually takes, in microseconds; 0 when not known. */
int64_t health_usual_us(const struct board_upstream *);

#endif
