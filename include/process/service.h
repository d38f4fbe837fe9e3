#ifndef DOTPROXY_SERVICE_H
#define DOTPROXY_SERVICE_H

#include "base/deadline.h"
#include "process/generation.h"
#include "process/notify.h"

/* The state of the service, as a service manager (systemd) is notified of it; see notify.h. */

/* A longer status text is cut off. */
enum { SERVICE_STATUS_MAX = 1024 };

struct service {
	struct notify notify;
	enum { SERVICE_STARTING, SERVICE_READY, SERVICE_RELOADING, SERVICE_STOPPING } state;
	char status[SERVICE_STATUS_MAX];            /* as it was sent last */
	char reload_failed[SERVICE_STATUS_MAX / 2]; /* why the file is not in use; "" when it is */
	struct deadline ping_at;                    /* the next watchdog ping is due */
	struct deadline watchdog_expiry; /* no worker has served for so long: no more pings */
};

/* Finds out from the environment whether there is a service manager. */
void service_open(struct service *);

/* This process, a worker, notifies nobody. */
void service_close(struct service *);

/* The file is read again; service_notify() says later what came of it. */
void service_reloading(struct service *);
void service_reload_failed(struct service *, const char *cause);

void service_stopping(struct service *);

/* Sends what has changed, and the watchdog ping if it is due. NEWEST is linked to those before. */
void service_notify(struct service *, const struct generation *newest, struct deadline now);

#endif
