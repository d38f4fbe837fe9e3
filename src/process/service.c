#include "process/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "upstream/upstream.h"

/*
 * Stop pinging the watchdog this long after the last worker served, so that systemd restarts us.
 * Workers that die one after the other, at once, have been replaced five times by then.
 */
enum { WATCHDOG_EXPIRY_MS = 5000 };

/* ---- how the service is, in words ---- */

struct words {
	char text[SERVICE_STATUS_MAX]; /* what does not fit is left out */
	size_t len;
};

static void add(struct words *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct words *w, const char *fmt, ...)
{
	size_t room = sizeof w->text - w->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->text + w->len, room, fmt, ap);
	va_end(ap);
	w->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

static void
add_number(struct words *w, size_t n, const char *what)
{
	add(w, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

static bool
is_down(const struct generation *g, size_t index)
{
	struct upstream_state state;

	upstream_state(g->upstreams, index, deadline_now(), &state);
	return state.failures > 0;
}

/* ", 2 down: 1.1.1.1:853 cloudflare-dns.com, 9.9.9.9:853 dns.quad9.net" */
static void
add_down(struct words *w, const struct generation *g)
{
	char name[CONFIG_UPSTREAM_NAME_MAX];
	const char *before = ": ";
	size_t count = 0;
	size_t i;

	for (i = 0; i < g->config->upstream_count; i++)
		count += is_down(g, i);
	if (count == 0)
		return;
	add(w, ", %zu down", count);
	for (i = 0; i < g->config->upstream_count; i++) {
		if (!is_down(g, i))
			continue;
		add(w, "%s%s", before, config_upstream_name(&g->config->upstreams[i], name));
		before = ", ";
	}
}

static void
describe(struct words *w, const struct service *s, const struct generation *g)
{
	size_t serving = generation_count_serving(g);

	if (s->reload_failed[0] != '\0')
		add(w, "reload failed: %s; ", s->reload_failed);
	if (serving < (size_t)g->config->workers)
		add(w, "%zu of ", serving);
	add_number(w, (size_t)g->config->workers, "worker");
	add(w, ", ");
	add_number(w, g->config->upstream_count, "upstream");
	add_down(w, g);
}

/* ---- notifications ---- */

static void
log_failure(const char *cause)
{
	log_event(LOG_LEVEL_DEBUG, "sd_notify failed", "cause=%s", cause);
}

static int
notify(const struct service *s, const char *assignments, const char *status)
{
	if (notify_send(&s->notify, assignments, status) == 0)
		return 0;
	log_failure(strerror(errno));
	return -1;
}

void
service_open(struct service *s)
{
	struct failure why;

	*s = (struct service){ .state = SERVICE_STARTING, .ping_at = DEADLINE_NEVER };
	if (notify_open(&s->notify, &why) == -1)
		log_failure(why.text);
	if (s->notify.watchdog_ms > 0)
		s->ping_at = deadline_now();
}

void
service_close(struct service *s)
{
	notify_close(&s->notify);
}

void
service_reloading(struct service *s)
{
	char assignments[64];

	s->reload_failed[0] = '\0';
	s->state = SERVICE_RELOADING;
	(void)snprintf(assignments, sizeof assignments, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n",
	    deadline_now().at_us);
	(void)notify(s, assignments, NULL);
}

void
service_reload_failed(struct service *s, const char *cause)
{
	(void)snprintf(s->reload_failed, sizeof s->reload_failed, "%s", cause);
}

void
service_stopping(struct service *s)
{
	s->state = SERVICE_STOPPING;
	(void)notify(s, "STOPPING=1\n", "draining");
}

/* As long as a worker serves, or one that died can still be expected back, or all are stopping. */
static void
send_watchdog_ping(struct service *s, const struct generation *newest, struct deadline now)
{
	const struct generation *g;

	for (g = newest; g != NULL; g = g->older)
		if (generation_count_serving(g) > 0)
			s->watchdog_expiry = deadline_after(now, WATCHDOG_EXPIRY_MS);
	if (!deadline_passed(s->ping_at, now))
		return;
	if (s->state == SERVICE_STOPPING || !deadline_passed(s->watchdog_expiry, now))
		(void)notify(s, "WATCHDOG=1\n", NULL);
	/* Well before half of the time has passed, also when this process is held up a little. */
	s->ping_at = deadline_after(now, s->notify.watchdog_ms / 3 + 1);
}

void
service_notify(struct service *s, const struct generation *newest, struct deadline now)
{
	struct words status = { .len = 0 };

	if (s->notify.fd == -1)
		return;
	send_watchdog_ping(s, newest, now);
	if (s->state == SERVICE_STOPPING || !newest->served)
		return;
	describe(&status, s, newest);
	if (s->state == SERVICE_READY && strcmp(status.text, s->status) == 0)
		return;
	/* What was not sent is tried again at the next tick. */
	if (notify(s, s->state == SERVICE_READY ? "" : "READY=1\n", status.text) == 0) {
		s->state = SERVICE_READY;
		(void)snprintf(s->status, sizeof s->status, "%s", status.text);
	}
}
