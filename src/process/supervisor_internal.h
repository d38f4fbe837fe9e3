#ifndef DOTPROXY_SUPERVISOR_INTERNAL_H
#define DOTPROXY_SUPERVISOR_INTERNAL_H

#include <sys/types.h>

#include <stdint.h>

#include "base/deadline.h"
#include "process/listeners.h"
#include "process/notify.h"
#include "process/privilege.h"
#include "process/supervisor.h"
#include "shared/scoreboard.h"
#include "upstream/upstream.h"

/* What the files of the supervisor share. */

/* One worker's place. */
struct slot {
	pid_t pid; /* 0: there is none */
	struct deadline started;
	int64_t heartbeat;        /* as it was seen last, whatever that says */
	struct deadline beat_at;  /* when that was new */
	struct deadline start_at; /* when there is none: then it is started */
	int pause_ms;             /* before it is started again, when it dies quickly */
	int fork_pause_ms;        /* before fork(2), which has failed, is tried again */
};

/* All that belongs to one reading of the configuration. It is built whole, and never changed. */
struct generation {
	struct generation *older;
	struct config *config;
	struct upstream_list *upstreams;
	struct scoreboard *shared; /* the supervisor's */
	int number;                /* of this generation, there; -1: none */
	struct listeners listeners;
	struct privilege privilege;
	uint16_t ports[CONFIG_UPSTREAMS_MAX];
	struct slot slots[CONFIG_WORKERS_MAX];
	bool served; /* one of its workers has come to serve */
	bool retiring;
	bool given_up;           /* its workers were killed, since none came to serve */
	unsigned deaths;         /* in a row, before any served */
	struct deadline kill_at; /* when retiring: then it must be gone */
};

/* What one of its workers reports. */
struct stats_worker *generation_row(const struct generation *, size_t index);

/* One line for a child's end, as waitpid() tells it. */
void supervisor_log_death(pid_t pid, int status);

/* One line for a worker that could not be started; ERROR is the errno of fork(2). */
void supervisor_log_fork_failed(int error);

/* One line for a configuration that is not taken. Of COUNT mistakes CAUSE is the first. */
void supervisor_log_refusal(const char *cause, size_t count, const char *remedy);

/* One line for what workers have given up and what not, and one more where they are root. */
void supervisor_log_sandbox(const struct privilege *);

/* A line for each worker of that generation and those before it, and for each upstream. */
void supervisor_log_state(const struct generation *newest, struct deadline now);

/* Words for people on how the service is. */
enum { SUPERVISOR_STATUS_MAX = 1024 };

/* What the service manager is told, and what it was told last. */
struct service {
	struct notify notify;
	enum { SERVICE_STARTING, SERVICE_READY, SERVICE_RELOADING, SERVICE_STOPPING } state;
	char status[SUPERVISOR_STATUS_MAX];
	char refused[SUPERVISOR_STATUS_MAX / 2]; /* why the file is not in use; "" when it is */
	struct deadline watchdog_at;             /* the next sign of life is due */
	struct deadline hopeless_at; /* no worker has served for so long: no more of them */
};

/* Learns who is to be told. */
void supervisor_service_open(struct service *);

/* A worker has nothing to tell. */
void supervisor_service_close(struct service *);

/* The file is read again; whatever comes of it, supervisor_service_tell() will tell. */
void supervisor_service_reloading(struct service *);

/* It was not taken. */
void supervisor_service_refused(struct service *, const char *cause);

void supervisor_service_stopping(struct service *);

/* Tells what has changed, and gives the sign of life when it is due. */
void supervisor_service_tell(struct service *, const struct generation *newest,
    struct deadline now);

#endif
