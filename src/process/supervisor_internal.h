#ifndef DOTPROXY_SUPERVISOR_INTERNAL_H
#define DOTPROXY_SUPERVISOR_INTERNAL_H

#include <sys/types.h>

#include <stddef.h>

#include "base/deadline.h"
#include "process/generation.h"
#include "process/privilege.h"
#include "process/supervisor.h"

/* What the supervisor logs. */

/* One line for a child's end, as waitpid() tells it. */
void supervisor_log_death(pid_t pid, int status);

/* One line for a worker that could not be started; ERROR is the errno of fork(2). */
void supervisor_log_fork_failed(int error);

/* One line for a configuration that is not used. CAUSE is the first of COUNT errors. */
void supervisor_log_reload_failed(const char *cause, size_t count, const char *remedy);

/* One line for what workers have given up and what not, and one more where they are root. */
void supervisor_log_sandbox(const struct privilege *);

/* A line for each upstream that is asked in cleartext: for which domains. */
void supervisor_log_cleartext(const struct config *);

/* A line for each worker of that generation and those before it, and for each upstream. */
void supervisor_log_state(const struct generation *newest, struct deadline now);

#endif
