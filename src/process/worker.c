#include "process/worker.h"

/*
 * One worker: a single thread that blocks in one place, wait_for_events(). A turn of its loop:
 *
 *	wait		until something is ready or due; note what
 *	gather		take the queries that have come, over TCP and UDP
 *	ask		answer what can be answered here, and send the rest to the upstreams, in
 *			one write for each connection; see responder.h
 *	reply		send the responses that have come, and errors for queries that are due
 *	log, publish	report what went wrong; show the others what this worker does
 *
 * The sections below come in this order. How it starts and stops is at the end.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/hooks.h"
#include "base/log.h"
#include "base/waitset.h"
#include "format/dns.h"
#include "frontend/tcp.h"
#include "frontend/udp.h"
#include "process/responder.h"
#include "query/query.h"
#include "query/quota.h"
#include "query/reply.h"
#include "transport/net.h"

enum {
	EVENTS_AT_ONCE = 256,

	/* How often in a turn it waits again while that many come each time. */
	WAITS_MAX = 32,

	QUERIES_AT_ONCE = 256,

	/* Descriptors for listeners, the log and the like. */
	DESCRIPTORS_RESERVED = 64,

	/* After so long without a query, memory that a burst has touched is given back. */
	IDLE_MS = 1000
};

struct worker {
	const struct worker_setup *setup;
	const struct config *config;
	size_t number;            /* of its row in shared memory */
	struct stats_worker *row; /* in `stats' */
	struct query_table *table;
	struct quota *quota;
	struct tcp *tcp;
	struct udp *udp;
	bool udp_is_first; /* to be gathered from */
	struct upstream_groups *upstreams;
	struct responder *responder;
	int set;
	int signals;
	bool stopping;
	bool retiring;
	struct deadline measured;     /* when it last measured how busy it is */
	int64_t used_us;              /* processor time until then */
	struct deadline yields_until; /* what had come was left to another worker until then */
	struct deadline stop_by;      /* NEVER until it stops or retires */
	struct deadline idle_at;      /* without a query until then, it is idle */
	struct log_limit tcp_limits[TCP_LIMIT_EVENTS];
	struct log_limit drop_limit;
	unsigned overflows; /* datagrams that the kernel dropped, not logged yet */
	struct query *batch[QUERIES_AT_ONCE];
};

/* ---- what is logged ---- */

static void
log_upstream_event(const struct upstream_event *e)
{
	const struct dot_facts *facts = &e->facts;
	enum log_level level = e->first ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
	const char *resumed = facts->resumed ? "yes" : "no";

	switch (e->what) {
	case UPSTREAM_CONNECTED:
		log_event(facts->retried != NULL ? LOG_LEVEL_WARN : level, "upstream connected",
		    "upstream=%s tls=%s cipher=%s resumed=%s certificate=%s until=%s trust=%s "
		    "retried=%s",
		    e->name, facts->version, facts->cipher, facts->cipher != NULL ? resumed : NULL,
		    facts->names, facts->not_after, e->ca_file, facts->retried);
		break;
	case UPSTREAM_DOWN:
		log_event(LOG_LEVEL_WARN, "upstream down",
		    "upstream=%s cause=%s times=%u? remedy=%s", e->name, e->cause.text,
		    e->times > 1 ? e->times : 0, e->cause.remedy);
		break;
	case UPSTREAM_LESS_EDNS:
		log_event(LOG_LEVEL_INFO, "upstream limits EDNS", "upstream=%s cause=%s sent=%s",
		    e->name,
		    e->no_edns ? "it copies the OPT record into the answer section" :
				 "it answers FORMERR to our EDNS options",
		    e->no_edns ? "no OPT record" : "no options of ours");
		break;
	case UPSTREAM_BACK:
		log_event(LOG_LEVEL_INFO, "upstream back", "upstream=%s after=%ds", e->name,
		    e->down_s);
		break;
	}
}

static void
log_query(const struct query *q, struct deadline now)
{
	static const char *const outcomes[] = { "answered here", "answered", "unreachable",
		"unanswered" };
	static const char *const sources[] = { "local", "upstream", "cache", "stale" };
	char name[DNS_NAME_TEXT_MAX];
	char type[10];

	log_event(LOG_LEVEL_INFO, "query", "name=%s type=%s outcome=%s source=%s ms=%.1f",
	    dns_format_qname(q->message + DNS_HEADER_LEN, q->dns.question_len, name),
	    dns_format_type(q->dns.qtype, type), outcomes[q->outcome], sources[q->source],
	    (double)deadline_us_between(q->arrived, now) / 1000);
}

static void
log_tcp_limits(struct worker *w, struct deadline now)
{
	static const char *const events[] = { "accept failed", "too many clients",
		"too many clients of one address" };
	struct failure why;
	unsigned times;
	int kind;

	for (kind = 0; kind < TCP_LIMIT_EVENTS; kind++)
		if (!log_is_limited(&w->tcp_limits[kind], now) &&
		    tcp_limit_event(w->tcp, (enum tcp_limit_event)kind, &why, &times))
			log_limited(&w->tcp_limits[kind], now, LOG_LEVEL_WARN, events[kind],
			    "cause=%s times=%u remedy=%s", why.text, times, why.remedy);
}

/* All workers see what the kernel drops on a socket that they share: each drop is logged once. */
static void
count_overflows(struct worker *w)
{
	size_t socket;
	uint32_t total;

	while (udp_next_overflow(w->udp, &socket, &total))
		w->overflows += stats_new_drops(w->setup->shared->stats,
		    (size_t)w->setup->generation, socket, total);
}

/* UDP clients get no error, so drops are logged: as a warning if it was not their fault. */
static void
log_udp_drops(struct worker *w, struct deadline now)
{
	unsigned n[UDP_DROP_REASONS];
	char client[ADDRESS_TEXT_MAX] = "";
	struct address limited;
	unsigned ours;

	if (log_is_limited(&w->drop_limit, now) ||
	    (!udp_drops(w->udp, n, &limited) && w->overflows == 0))
		return;
	ours = n[UDP_DROP_CLIENT_LIMIT] + w->overflows + n[UDP_DROP_NOT_SENT] + n[UDP_DROP_EVICTED];
	if (limited.sa.sa_family != AF_UNSPEC)
		(void)address_format_host(&limited, client);
	log_limited(&w->drop_limit, now, ours > 0 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
	    "datagrams dropped",
	    "client_limit=%u? client=%s evicted=%u? receive_buffer_full=%u? not_sent=%u? "
	    "duplicate=%u? not_allowed=%u? invalid_source=%u? malformed=%u?",
	    n[UDP_DROP_CLIENT_LIMIT], client, n[UDP_DROP_EVICTED], w->overflows,
	    n[UDP_DROP_NOT_SENT], n[UDP_DROP_DUPLICATE], n[UDP_DROP_NOT_ALLOWED],
	    n[UDP_DROP_INVALID_SOURCE], n[UDP_DROP_MALFORMED]);
	w->overflows = 0;
}

/* ---- gather, ask, reply ---- */

/* Alternates which transport gets the first half of the batch, so that neither starves. */
static size_t
gather(struct worker *w, struct deadline now)
{
	size_t count;

	if (w->udp_is_first) {
		count = udp_gather(w->udp, w->batch, QUERIES_AT_ONCE / 2, now);
		w->udp_is_first = count == 0;
		return count + tcp_gather(w->tcp, w->batch + count, QUERIES_AT_ONCE - count, now);
	}
	count = tcp_gather(w->tcp, w->batch, QUERIES_AT_ONCE / 2, now);
	w->udp_is_first = count > 0;
	return count + udp_gather(w->udp, w->batch + count, QUERIES_AT_ONCE - count, now);
}

/* Hands a response to the client, or drops the message if there must be none. */
static void
finish(struct worker *w, struct query *q, struct deadline now)
{
	if (q->response_len == 0) {
		if (q->transport == QUERY_UDP)
			udp_reject(w->udp, q);
		else
			tcp_reject(w->tcp, q);
		return;
	}
	if (w->config->log.queries)
		log_query(q, now);
	if (q->source == QUERY_UPSTREAM)
		stats_count(w->row, STATS_ANSWERED, 1);
	else if (q->source == QUERY_LOCAL && q->outcome != QUERY_OPEN)
		stats_count(w->row, STATS_FAILED, 1);
	reply_finish(q, &w->config->privacy);
	if (q->transport == QUERY_UDP)
		udp_answer(w->udp, q);
	else
		tcp_answer(w->tcp, q);
}

/* Hands over all responses that are known. */
static void
finish_done(struct worker *w, struct deadline now)
{
	struct query *q;

	while ((q = responder_next_done(w->responder)) != NULL)
		finish(w, q, now);
}

static void
gather_and_ask(struct worker *w, struct deadline now)
{
	size_t count = gather(w, now);
	struct query *q;

	if (count > 0)
		w->idle_at = deadline_after(now, IDLE_MS);
	stats_count(w->row, STATS_QUERIES, count);
	stats_count(w->row, STATS_HEDGED, upstream_take_hedged(w->upstreams));
	responder_ask(w->responder, w->batch, count, now);
	while ((q = tcp_next_abandoned(w->tcp)) != NULL) {
		responder_cancel(w->responder, q);
		query_free(w->table, q);
	}
	finish_done(w, now);
	upstream_send(w->upstreams, now);
}

/* Gives up slow queries of the client addresses that have most of them. */
static void
evict(struct worker *w, struct deadline now)
{
	struct query *q;

	while ((q = udp_next_evicted(w->udp, now)) != NULL) {
		responder_cancel(w->responder, q);
		q->outcome = QUERY_UNANSWERED;
		responder_write_error(q, DNS_SERVFAIL, DNS_EDE_OTHER,
		    "given up for other clients: too many slow queries in flight");
		finish(w, q, now);
	}
}

static void
reply(struct worker *w, struct deadline now)
{
	finish_done(w, now);
	evict(w, now);
	tcp_send(w->tcp, now);
	udp_send(w->udp, now);
}

/* ---- the loop ---- */

static struct deadline
next_deadline(const struct worker *w)
{
	struct deadline d = deadline_sooner(tcp_deadline(w->tcp), upstream_deadline(w->upstreams));

	d = deadline_sooner(d, udp_deadline(w->udp));
	d = deadline_sooner(d, responder_deadline(w->responder));
	d = deadline_sooner(d, deadline_sooner(w->idle_at, w->stop_by));
	return deadline_sooner(d, deadline_in(WORKER_HEARTBEAT_MS));
}

/* The idle hook: gives back the memory that a burst has touched, once it is over. */
static void
release_memory(struct worker *w, struct deadline now)
{
	if (!deadline_passed(w->idle_at, now))
		return;
	if (query_table_free_slots(w->table) < (size_t)w->config->inflight) {
		/* Some are still in flight. */
		w->idle_at = deadline_after(now, IDLE_MS);
		return;
	}
	w->idle_at = DEADLINE_NEVER;
	query_table_trim(w->table);
	heap_trim();
}

static void
take_signals(struct worker *w)
{
#ifdef DOTPROXY_TEST_HOOKS
	const struct listener *l = &w->setup->listeners->at[0];
#endif
	int number;

	while ((number = waitset_next_signal(w->signals)) != 0) {
		w->stopping = w->stopping || number == SIGTERM;
		w->retiring = w->retiring || number == SIGQUIT;
#ifdef DOTPROXY_TEST_HOOKS
		if (number >= SIGRTMIN && number < SIGRTMIN + HOOKS)
			hooks_try((enum hook)(number - SIGRTMIN), l->tcp, l->udp);
#endif
	}
}

/* Publishes the start of the turn and the processor load for the other workers. */
static void
publish_turn(struct worker *w, struct deadline now)
{
	int64_t since_us = deadline_us_between(w->measured, now);
	int64_t used_us;

	stats_beat(w->row, now);
	affinity_set_turn(w->setup->shared->affinity, w->number, now);
	if (since_us < (int64_t)AFFINITY_MEASURE_MS * 1000)
		return;
	used_us = deadline_used_us();
	affinity_set_busy(w->setup->shared->affinity, w->number,
	    (unsigned)(100 * (used_us - w->used_us) / since_us));
	w->used_us = used_us;
	w->measured = now;
}

/* Accepts what has come to a listener, or yields to a warmer worker; see affinity.h. */
static void
accept_or_yield(struct worker *w, enum waitset_owner owner, size_t index, struct deadline now)
{
	struct deadline until = deadline_after(now, AFFINITY_YIELD_MS);
	bool has_yielded = !deadline_passed(deadline_after(w->yields_until, AFFINITY_YIELD_MS),
	    now);

	if (affinity_should_yield(w->setup->shared->affinity,
		scoreboard_first_worker(w->setup->generation), w->number, has_yielded, now)) {
		tcp_pause_listening(w->tcp, until);
		udp_pause_listening(w->udp, until);
		w->yields_until = until;
	} else if (owner == WAITSET_LISTENER) {
		tcp_listener_ready(w->tcp, index, now);
	} else {
		udp_ready(w->udp, index);
	}
}

static void
take_event(struct worker *w, const struct epoll_event *event, struct deadline now)
{
	size_t index = waitset_index(event);

	switch (waitset_owner(event)) {
	case WAITSET_LISTENER:
	case WAITSET_DATAGRAMS:
		accept_or_yield(w, waitset_owner(event), index, now);
		break;
	case WAITSET_CLIENT:
		tcp_client_ready(w->tcp, index, event->events);
		break;
	case WAITSET_CONNECTION:
		upstream_ready(w->upstreams, index, now);
		break;
	case WAITSET_SIGNALS:
		take_signals(w);
		break;
	case WAITSET_WAKEUP:
	case WAITSET_STATUS:
		/* The supervisor's. */
		break;
	}
}

/*
 * Notes what has become ready. Clients are accepted last: a new client may get the slot of an
 * evicted one, and an event of the evicted one in the same batch must not reach the new one.
 */
static void
take_events(struct worker *w, const struct epoll_event *events, size_t count, struct deadline now)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (waitset_owner(&events[i]) != WAITSET_LISTENER)
			take_event(w, &events[i], now);
	for (i = 0; i < count; i++)
		if (waitset_owner(&events[i]) == WAITSET_LISTENER)
			take_event(w, &events[i], now);
}

/*
 * The only blocking call. Under load it drains several batches of events first, so that a close is
 * seen before anything is written to that socket.
 */
static void
wait_for_events(struct worker *w)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	bool has_work = tcp_has_work(w->tcp) || udp_has_work(w->udp);
	struct deadline by = has_work ? deadline_now() : next_deadline(w);
	struct deadline now;
	size_t count;
	int waits = 0;

	affinity_set_turn(w->setup->shared->affinity, w->number, (struct deadline){ 0 });
	do {
		count = waitset_wait(w->set, events, EVENTS_AT_ONCE, by);
		now = deadline_now();
		publish_turn(w, now);
		take_events(w, events, count, now);
		by = now;
	} while (count == EVENTS_AT_ONCE && ++waits < WAITS_MAX);
}

/* In every turn, so that nothing that a faulty process writes into its row stays there. */
static void
publish_state(const struct worker *w)
{
	bool stopping = w->stopping || w->retiring;

	stats_set_state(w->row, stopping ? STATS_STOPPING : STATS_SERVING);
	stats_set_load(w->row, (size_t)w->config->inflight - query_table_free_slots(w->table),
	    tcp_client_count(w->tcp));
	affinity_set_accepting(w->setup->shared->affinity, w->number, !stopping);
}

static void
turn(struct worker *w)
{
	struct deadline now;
	struct upstream_event event;

	wait_for_events(w);
	now = deadline_now();
	tcp_expire(w->tcp, now);
	upstream_expire(w->upstreams, now);
	gather_and_ask(w, now);
	reply(w, now);
	while (upstream_next_event(w->upstreams, &event))
		log_upstream_event(&event);
	log_tcp_limits(w, now);
	count_overflows(w);
	log_udp_drops(w, now);
	if (udp_is_shut_down(w->udp))
		stats_report_shut_down(w->setup->shared->stats, (size_t)w->setup->generation);
	release_memory(w, now);
	publish_state(w);
}

/* Runs until it stops or retires, then drains: at most for one query timeout after it stops. */
static void
loop(struct worker *w)
{
	publish_state(w);
	waitset_wake(w->setup->wakeup);
	while (!w->stopping && !w->retiring)
		turn(w);
	publish_state(w);
	tcp_retire(w->tcp, deadline_now());
	udp_drain(w->udp);
	listeners_give_up_tcp(w->setup->listeners);
	/* A worker that retires serves its clients until they pause; the new ones have the rest. */
	w->stop_by = deadline_in(WORKER_RETIRE_MS);
	while (!w->stopping && tcp_client_count(w->tcp) > 0 &&
	    !deadline_passed(w->stop_by, deadline_now()))
		turn(w);
	w->stop_by = deadline_in(w->config->timeouts.query_ms + WORKER_STOP_GRACE_MS);
	tcp_drain(w->tcp);
	while ((tcp_client_count(w->tcp) > 0 || udp_is_busy(w->udp)) &&
	    !deadline_passed(w->stop_by, deadline_now()))
		turn(w);
}

/* Signals arrive at the wait and nowhere else. */
static int
arrange_signals(struct worker *w)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGQUIT);
#ifdef DOTPROXY_TEST_HOOKS
	for (int i = 0; i < HOOKS; i++)
		(void)sigaddset(&signals, SIGRTMIN + i);
#endif
	w->signals = waitset_add_signals(w->set, &signals);
	return w->signals == -1 ? -1 : 0;
}

/* How many TCP clients there are descriptors for, after connections to upstreams and the like. */
static size_t
clients_max(const struct worker_setup *setup)
{
	size_t max = (size_t)setup->config->clients.max;
	size_t others = upstream_connections_max(setup->config) + DESCRIPTORS_RESERVED;
	size_t room = setup->descriptors / 2;

	if (setup->descriptors > 2 * others)
		room = setup->descriptors - others;
	return max < room ? max : room;
}

_Static_assert((int)STATS_SOCKETS == (int)CONFIG_LISTEN_MAX, "a number for each socket");

static int
start(struct worker *w, struct failure *why)
{
	const struct config *config = w->config;
	int listeners[CONFIG_LISTEN_MAX];
	int datagrams[CONFIG_LISTEN_MAX];
	size_t clients = clients_max(w->setup);
	size_t slots = (size_t)config->inflight;
	size_t tcp = 0;
	size_t udp = 0;
	size_t i;

	if ((w->set = waitset_new()) == -1 || arrange_signals(w) == -1 ||
	    (w->table = query_table_new(slots)) == NULL ||
	    (w->quota = quota_new(clients + slots, slots)) == NULL)
		return fail_errno(why, "start");
	if (upstream_attach(w->upstreams, w->set, w->table, why) == -1)
		return -1;
	w->responder = responder_new(&(struct responder_setup){ .config = config,
					 .names = w->setup->names,
					 .upstreams = w->upstreams,
					 .routes = w->setup->routes,
					 .table = w->table,
					 .health = w->setup->shared->health,
					 .cache = w->setup->cache,
					 .row = w->row,
					 .worker = w->number },
	    why);
	if (w->responder == NULL)
		return -1;
	for (i = 0; i < w->setup->listeners->count; i++) {
		const struct listener *l = &w->setup->listeners->at[i];

		if (l->tcp != -1)
			listeners[tcp++] = l->tcp;
		if (l->udp != -1)
			datagrams[udp++] = l->udp;
	}
	w->tcp = tcp_new(config, listeners, tcp, w->set, w->table, w->quota, clients, why);
	if (w->tcp == NULL)
		return -1;
	for (i = 0; i < udp; i++)
		stats_ignore_drops(w->setup->shared->stats, (size_t)w->setup->generation, i,
		    net_dropped(datagrams[i]));
	w->udp = udp_new(config, datagrams, udp, w->set, w->table, w->quota, why);
	return w->udp == NULL ? -1 : 0;
}

int
worker_run(const struct worker_setup *setup, struct failure *why)
{
	struct worker *w = calloc(1, sizeof *w);
	int rc;

	if (w == NULL)
		return fail_errno(why, "start");
	w->setup = setup;
	w->config = setup->config;
	w->upstreams = setup->upstreams;
	w->number = scoreboard_first_worker(setup->generation) + setup->index;
	w->row = stats_worker(setup->shared->stats, w->number);
	w->stop_by = DEADLINE_NEVER;
	w->idle_at = DEADLINE_NEVER;
	w->set = -1;
	w->signals = -1;
	if ((rc = start(w, why)) == 0)
		loop(w);
	udp_free(w->udp);
	tcp_free(w->tcp);
	responder_free(w->responder);
	quota_free(w->quota);
	query_table_free(w->table);
	if (w->signals != -1)
		(void)close(w->signals);
	if (w->set != -1)
		(void)close(w->set);
	free(w);
	return rc;
}
