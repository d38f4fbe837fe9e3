#include "process/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "supervisor_internal.h"

/*
 * So long after the last worker has served somebody else may try to help. Those that die one
 * after the other, at once, have then been replaced five times.
 */
enum { HOPELESS_MS = 5000 };

/* ---- how the service is, in words ---- */

struct words {
	char text[SUPERVISOR_STATUS_MAX]; /* what does not fit is left out */
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

static size_t
count_serving(const struct generation *g)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < (size_t)g->config->workers; i++)
		if (g->slots[i].pid != 0 && stats_state(generation_row(g, i)) == STATS_SERVING)
			count++;
	return count;
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
	size_t serving = count_serving(g);

	if (s->refused[0] != '\0')
		add(w, "the file was refused, the old configuration stays: %s; ", s->refused);
	if (serving < (size_t)g->config->workers)
		add(w, "%zu of ", serving);
	add_number(w, (size_t)g->config->workers, "worker");
	add(w, ", ");
	add_number(w, g->config->upstream_count, "upstream");
	add_down(w, g);
}

/* ---- telling it ---- */

static void
log_trouble(const char *cause)
{
	log_event(LOG_LEVEL_DEBUG, "service manager cannot be told", "cause", cause, NULL);
}

static int
tell(const struct service *s, const char *assignments, const char *status)
{
	if (notify_send(&s->notify, assignments, status) == 0)
		return 0;
	log_trouble(strerror(errno));
	return -1;
}

void
supervisor_service_open(struct service *s)
{
	struct failure why;

	*s = (struct service){ .state = SERVICE_STARTING, .watchdog_at = DEADLINE_NEVER };
	if (notify_open(&s->notify, &why) == -1)
		log_trouble(why.text);
	if (s->notify.watchdog_ms > 0)
		s->watchdog_at = deadline_now();
}

void
supervisor_service_close(struct service *s)
{
	notify_close(&s->notify);
}

void
supervisor_service_reloading(struct service *s)
{
	char assignments[64];

	s->refused[0] = '\0';
	s->state = SERVICE_RELOADING;
	(void)snprintf(assignments, sizeof assignments, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n",
	    deadline_now().at_us);
	(void)tell(s, assignments, NULL);
}

void
supervisor_service_refused(struct service *s, const char *cause)
{
	(void)snprintf(s->refused, sizeof s->refused, "%s", cause);
}

void
supervisor_service_stopping(struct service *s)
{
	s->state = SERVICE_STOPPING;
	(void)tell(s, "STOPPING=1\n", "answers what is in hand");
}

/* As long as a worker serves, or the supervisor can be trusted to replace it, or all come to their end. */
static void
give_sign_of_life(struct service *s, const struct generation *newest, struct deadline now)
{
	const struct generation *g;

	for (g = newest; g != NULL; g = g->older)
		if (count_serving(g) > 0)
			s->hopeless_at = deadline_after(now, HOPELESS_MS);
	if (!deadline_passed(s->watchdog_at, now))
		return;
	if (s->state == SERVICE_STOPPING || !deadline_passed(s->hopeless_at, now))
		(void)tell(s, "WATCHDOG=1\n", NULL);
	/* Well before half of the time has passed, also when this process is held up a little. */
	s->watchdog_at = deadline_after(now, s->notify.watchdog_ms / 3 + 1);
}

void
supervisor_service_tell(struct service *s, const struct generation *newest, struct deadline now)
{
	struct words status = { .len = 0 };

	if (s->notify.fd == -1)
		return;
	give_sign_of_life(s, newest, now);
	if (s->state == SERVICE_STOPPING || !newest->served)
		return;
	describe(&status, s, newest);
	if (s->state == SERVICE_READY && strcmp(status.text, s->status) == 0)
		return;
	/* What was not sent is tried again at the next tick. */
	if (tell(s, s->state == SERVICE_READY ? "" : "READY=1\n", status.text) == 0) {
		s->state = SERVICE_READY;
		(void)snprintf(s->status, sizeof s->status, "%s", status.text);
	}
}
