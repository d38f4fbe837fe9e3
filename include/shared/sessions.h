#ifndef DOTPROXY_SESSIONS_H
#define DOTPROXY_SESSIONS_H

#include <sys/types.h>

#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"

/*
 * TLS sessions for resumption, as bytes in shared memory: what one worker was given by a server,
 * any of them may use. A row for each upstream, a few sessions in each. A worker may be killed at
 * any instruction, and a faulty one may write anything: what was not put there whole by
 * sessions_put() is never handed out.
 */

enum {
	SESSIONS_ROWS = 1024,
	SESSIONS_EACH = 4,      /* of one upstream */
	SESSIONS_LEN_MAX = 8192 /* bytes of one session */
};

struct sessions;

/* NULL with errno. Freed by sessions_free(); NULL is fine there. */
struct sessions *sessions_new(void);
void sessions_free(struct sessions *);

/* Makes a row (below SESSIONS_ROWS) ready for another upstream. Not while a worker uses it. */
void sessions_clear(struct sessions *, size_t row);

/* Keeps a session of LEN bytes until UNTIL, instead of the oldest. Ignores one that is too long. */
void sessions_put(struct sessions *, size_t row, const uint8_t *bytes, size_t len,
    struct deadline until);

/*
 * Takes the newest session out of a row, so that nobody uses it again (RFC 8446 C.4). Returns
 * its length, or 0 when there is none.
 */
size_t sessions_take(struct sessions *, size_t row, uint8_t bytes[static SESSIONS_LEN_MAX],
    struct deadline now);

/* Process PID has ended: the slots that it held are emptied and free again. */
void sessions_release(struct sessions *, pid_t pid);

#endif
