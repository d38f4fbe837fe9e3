#include "process/worker.h"

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
#include "frontend/front.h"
#include "frontend/udp.h"
#include "query/query.h"

enum {
	EVENTS_AT_ONCE = 256,

	/* So often in a turn, where that many have come each time. */
	LOOKS_MAX = 32,

	QUERIES_AT_ONCE = 256,

	/* Descriptors for listeners, the log and the like. */
	DESCRIPTORS_RESERVED = 64,

	/* After so long without a query, memory that a rush has touched is given back. */
	QUIET_MS = 1000,

	/* The same trouble is told so often at most. */
	TROUBLE_INTERVAL_MS = 10000,

	/* What is in hand has its deadline; then a moment to hand it over. */
	STOP_GRACE_MS = 300
};

struct worker {
	const struct worker_setup *setup;
	const struct config *config;
	size_t number;            /* of its row in shared memory */
	struct stats_worker *row; /* in `stats' */
	struct query_table *table;
	int listeners[CONFIG_LISTEN_MAX];
	struct front *front;
	struct udp *udp;
	bool udp_is_next; /* to be looked at first */
	struct upstream_list *upstreams;
	int set;
	int signals;
	bool told_to_stop;
	bool told_to_retire;
	struct deadline measured;     /* when it last measured how busy it is */
	int64_t used_us;              /* processor time until then */
	struct deadline yields_until; /* what had come was left to another worker until then */
	struct deadline stop_by;      /* NEVER until it was told to stop */
	struct deadline quiet_at;     /* when there is no query until then, it is a quiet moment */
	struct deadline
	    trouble_at[FRONT_TROUBLES]; /* then trouble of that kind may be told again */
	struct deadline losses_at;      /* then datagrams that were lost may be told again */
	struct query *batch[QUERIES_AT_ONCE];
};

/* ---- what is logged ---- */

static void
log_upstream_event(const struct upstream_event *e)
{
	enum log_level level = e->first ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
	char seconds[16];
	char times[12] = "";

	switch (e->what) {
	case UPSTREAM_CONNECTED:
		log_event(e->facts.retried != NULL ? LOG_LEVEL_WARN : level, "upstream connected",
		    "upstream", e->name, "tls", e->facts.version, "cipher", e->facts.cipher,
		    "resumed", e->facts.resumed ? "yes" : "no", "certificate", e->facts.names,
		    "until", e->facts.not_after, "trust", e->ca_file, "retried", e->facts.retried,
		    NULL);
		break;
	case UPSTREAM_DOWN:
		if (e->times > 1)
			(void)snprintf(times, sizeof times, "%u", e->times);
		log_event(LOG_LEVEL_WARN, "upstream down", "upstream", e->name, "cause",
		    e->cause.text, "times", times, "remedy", e->cause.remedy, NULL);
		break;
	case UPSTREAM_LESS_EDNS:
		log_event(LOG_LEVEL_INFO, "upstream limits EDNS", "upstream", e->name, "cause",
		    e->no_edns ? "it copies the OPT record into the answer section" :
				 "it answers FORMERR to our EDNS options",
		    "sent", e->no_edns ? "no OPT record" : "no options of ours", NULL);
		break;
	case UPSTREAM_BACK:
		(void)snprintf(seconds, sizeof seconds, "%ds", e->down_s);
		log_event(LOG_LEVEL_INFO, "upstream back", "upstream", e->name, "after", seconds,
		    NULL);
		break;
	}
}

static void
log_query(const struct query *q, struct deadline now)
{
	static const char *const outcomes[] = { "answered here", "answered", "unreachable",
		"unanswered" };
	char name[DNS_NAME_TEXT_MAX];
	char type[10];
	char took[24];

	(void)snprintf(took, sizeof took, "%.1f",
	    (double)deadline_us_between(q->arrived, now) / 1000);
	log_event(LOG_LEVEL_INFO, "query", "name",
	    dns_format_qname(q->message + DNS_HEADER_LEN, q->dns.question_len, name), "type",
	    dns_format_type(q->dns.qtype, type), "outcome", outcomes[q->outcome], "ms", took, NULL);
}

static void
log_troubles(struct worker *w, struct deadline now)
{
	static const char *const events[] = { "clients cannot be accepted", "too many clients",
		"too many clients of one address" };
	struct failure why;
	unsigned times;
	char count[16];
	int kind;

	for (kind = 0; kind < FRONT_TROUBLES; kind++) {
		if (!deadline_passed(w->trouble_at[kind], now) ||
		    !front_trouble(w->front, (enum front_trouble)kind, &why, &times))
			continue;
		(void)snprintf(count, sizeof count, "%u", times);
		log_event(LOG_LEVEL_WARN, events[kind], "cause", why.text, "times", count, "remedy",
		    why.remedy, NULL);
		w->trouble_at[kind] = deadline_after(now, TROUBLE_INTERVAL_MS);
	}
}

/* Those who are not heard, or not answered, may never know why: what is lost on the way is told. */
static void
log_losses(struct worker *w, struct deadline now)
{
	unsigned counts[UDP_LOSSES];
	char texts[UDP_LOSSES][12];
	char client[ADDRESS_TEXT_MAX] = "";
	struct address excessive;
	enum log_level level = LOG_LEVEL_DEBUG;
	size_t i;

	if (!deadline_passed(w->losses_at, now) || !udp_losses(w->udp, counts, &excessive))
		return;
	for (i = 0; i < UDP_LOSSES; i++)
		(void)snprintf(texts[i], sizeof texts[i], "%.0u", counts[i]); /* nothing for 0 */
	if (counts[UDP_LOSS_EXCESS] + counts[UDP_LOSS_OVERFLOW] + counts[UDP_LOSS_UNSENT] +
		counts[UDP_LOSS_EVICTED] >
	    0)
		level = LOG_LEVEL_WARN;
	if (excessive.sa.sa_family != AF_UNSPEC)
		(void)address_format_host(&excessive, client);
	log_event(level, "datagrams dropped", "too_many_in_hand", texts[UDP_LOSS_EXCESS], "client",
	    client, "evicted", texts[UDP_LOSS_EVICTED], "receive_buffer_full",
	    texts[UDP_LOSS_OVERFLOW], "not_sent", texts[UDP_LOSS_UNSENT], "repeated",
	    texts[UDP_LOSS_REPEATED], "not_allowed", texts[UDP_LOSS_REFUSED], "impossible_source",
	    texts[UDP_LOSS_SOURCE], "no_query", texts[UDP_LOSS_MALFORMED], NULL);
	w->losses_at = deadline_after(now, TROUBLE_INTERVAL_MS);
}

/* ---- the four steps ---- */

/* Half of a batch for those whose turn it is to be first, and the rest for the others. */
static size_t
gather(struct worker *w, struct deadline now)
{
	size_t count;

	if (w->udp_is_next) {
		count = udp_gather(w->udp, w->batch, QUERIES_AT_ONCE / 2, now);
		w->udp_is_next = count == 0;
		return count +
		    front_gather(w->front, w->batch + count, QUERIES_AT_ONCE - count, now);
	}
	count = front_gather(w->front, w->batch, QUERIES_AT_ONCE / 2, now);
	w->udp_is_next = count > 0;
	return count + udp_gather(w->udp, w->batch + count, QUERIES_AT_ONCE - count, now);
}

static void
finish(struct worker *w, struct query *q, struct deadline now)
{
	if (w->config->log.queries)
		log_query(q, now);
	if (q->transport == QUERY_UDP)
		udp_answer(w->udp, q);
	else
		front_answer(w->front, q);
}

static void
reject(struct worker *w, struct query *q)
{
	if (q->transport == QUERY_UDP)
		udp_reject(w->udp, q);
	else
		front_reject(w->front, q);
}

static void
answer_error(struct worker *w, struct query *q, enum dns_rcode rcode, enum dns_ede ede,
    const char *text, struct deadline now)
{
	q->response_len = dns_write_error(q->response, DNS_ERROR_MAX, q->message, &q->dns, rcode,
	    ede, text);
	finish(w, q, now);
}

static void
answer_text(struct worker *w, struct query *q, const char *text, struct deadline now)
{
	q->response_len = dns_write_text(q->response, DNS_ERROR_MAX, q->message, &q->dns, text);
	finish(w, q, now);
}

/* Answers what is asked about dot-proxy itself. False when it is something else. */
static bool
answer_own(struct worker *w, struct query *q, struct deadline now)
{
	if (dns_asks(q->message, q->dns.question_len, DNS_OWN_HEALTH))
		answer_text(w, q, "ok", now);
	else if (!dns_asks(q->message, q->dns.question_len, DNS_OWN_READY))
		return false;
	else if (health_is_ready(w->setup->shared->health))
		answer_text(w, q, "ready", now);
	else
		answer_error(w, q, DNS_SERVFAIL, DNS_EDE_NOT_READY,
		    "no upstream has been connected to yet", now);
	return true;
}

/* Answers what can be answered here. False when an upstream must be asked. */
static bool
answer(struct worker *w, struct query *q, struct deadline now)
{
	enum dns_rcode rcode;

	switch (dns_read_query(q->message, q->len, &q->dns, &rcode)) {
	case DNS_DROP:
		reject(w, q);
		return true;
	case DNS_ANSWER:
		answer_error(w, q, rcode, DNS_EDE_NONE, NULL, now);
		return true;
	case DNS_RELAY:
		q->len = q->dns.len;
		break;
	}
	if (answer_own(w, q, now))
		return true;
	if (!q->allowed) {
		answer_error(w, q, DNS_REFUSED, DNS_EDE_PROHIBITED, "this address may not ask here",
		    now);
		return true;
	}
	if (dns_is_resolver_arpa(q->message, &q->dns)) {
		answer_error(w, q, DNS_NOERROR, DNS_EDE_OTHER,
		    "resolver.arpa is answered by the resolver itself (RFC 9462)", now);
		return true;
	}
	if (q->dns.qtype == DNS_TYPE_AXFR || q->dns.qtype == DNS_TYPE_IXFR) {
		answer_error(w, q, DNS_REFUSED, DNS_EDE_NOT_SUPPORTED,
		    "zone transfers are not relayed", now);
		return true;
	}
	return false;
}

static void
gather_and_ask(struct worker *w, struct deadline now)
{
	size_t count = gather(w, now);
	struct query *q;
	size_t i;

	if (count > 0)
		w->quiet_at = deadline_after(now, QUIET_MS);
	stats_count(w->row, STATS_QUERIES, count);
	for (i = 0; i < count; i++)
		if (!answer(w, w->batch[i], now))
			upstream_ask(w->upstreams, w->batch[i], now);
	while ((q = front_next_abandoned(w->front)) != NULL) {
		upstream_cancel(w->upstreams, q);
		query_free(w->table, q);
	}
	upstream_send(w->upstreams, now);
}

/* Gives up slow queries of the addresses with most of them, so that others are served. */
static void
evict(struct worker *w, struct deadline now)
{
	struct query *q;

	while ((q = udp_next_evicted(w->udp, now)) != NULL) {
		upstream_cancel(w->upstreams, q);
		q->outcome = QUERY_UNANSWERED;
		stats_count(w->row, STATS_FAILED, 1);
		answer_error(w, q, DNS_SERVFAIL, DNS_EDE_OTHER,
		    "given up for other clients: too many slow queries in flight", now);
	}
}

static void
reply(struct worker *w, struct deadline now)
{
	struct failure why;
	struct query *q;

	while ((q = upstream_next_done(w->upstreams)) != NULL) {
		stats_count(w->row, q->outcome == QUERY_ANSWERED ? STATS_ANSWERED : STATS_FAILED,
		    1);
		if (q->outcome == QUERY_ANSWERED) {
			finish(w, q, now);
			continue;
		}
		upstream_explain(w->upstreams, q, &why);
		answer_error(w, q, DNS_SERVFAIL,
		    q->outcome == QUERY_UNREACHABLE ? DNS_EDE_NO_REACHABLE_AUTHORITY :
						      DNS_EDE_NETWORK_ERROR,
		    why.text, now);
	}
	evict(w, now);
	front_send(w->front, now);
	udp_send(w->udp, now);
}

/* ---- the loop ---- */

static struct deadline
next_deadline(const struct worker *w)
{
	struct deadline d = deadline_sooner(front_deadline(w->front),
	    upstream_deadline(w->upstreams));

	d = deadline_sooner(d, udp_deadline(w->udp));
	d = deadline_sooner(d, deadline_sooner(w->quiet_at, w->stop_by));
	return deadline_sooner(d, deadline_in(WORKER_HEARTBEAT_MS));
}

/* Gives back the memory that a rush has touched, once it is over. */
static void
relax(struct worker *w, struct deadline now)
{
	if (!deadline_passed(w->quiet_at, now))
		return;
	if (query_table_room(w->table) < (size_t)w->config->inflight) {
		/* Slow ones are still in hand. */
		w->quiet_at = deadline_after(now, QUIET_MS);
		return;
	}
	w->quiet_at = DEADLINE_NEVER;
	query_table_relax(w->table);
	heap_relax();
}

static void
take_signals(struct worker *w)
{
#ifdef DOTPROXY_TEST_HOOKS
	const struct listener *l = &w->setup->listeners->at[0];
#endif
	int number;

	while ((number = waitset_next_signal(w->signals)) != 0) {
		w->told_to_stop = w->told_to_stop || number == SIGTERM;
		w->told_to_retire = w->told_to_retire || number == SIGQUIT;
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

/* Accepts what has come to a listener, or yields to another worker; see affinity.h. */
static void
accept_or_yield(struct worker *w, enum waitset_owner owner, size_t index, struct deadline now)
{
	struct deadline until = deadline_after(now, AFFINITY_YIELD_MS);
	bool has_yielded = !deadline_passed(deadline_after(w->yields_until, AFFINITY_YIELD_MS),
	    now);

	if (affinity_should_yield(w->setup->shared->affinity,
		scoreboard_first_worker(w->setup->generation), w->number, has_yielded, now)) {
		front_stand_back(w->front, until);
		udp_stand_back(w->udp, until);
		w->yields_until = until;
	} else if (owner == WAITSET_LISTENER) {
		front_listener_ready(w->front, index, now);
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
		front_client_ready(w->front, index, event->events);
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

/* The one wait. In a rush it looks on, so that nothing is sent where an end has come already. */
static void
wait_for_events(struct worker *w)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	bool has_work = front_has_work(w->front) || udp_has_work(w->udp);
	struct deadline by = has_work ? deadline_now() : next_deadline(w);
	struct deadline now;
	size_t count;
	int looks = 0;

	affinity_set_turn(w->setup->shared->affinity, w->number, (struct deadline){ 0 });
	do {
		count = waitset_wait(w->set, events, EVENTS_AT_ONCE, by);
		now = deadline_now();
		publish_turn(w, now);
		take_events(w, events, count, now);
		by = now;
	} while (count == EVENTS_AT_ONCE && ++looks < LOOKS_MAX);
}

/* In every turn, so that nothing that a faulty process writes into its row stays there. */
static void
publish_state(const struct worker *w)
{
	bool stopping = w->told_to_stop || w->told_to_retire;

	stats_set_state(w->row, stopping ? STATS_STOPPING : STATS_SERVING);
	stats_set_load(w->row, (size_t)w->config->inflight - query_table_room(w->table),
	    front_client_count(w->front));
	affinity_set_accepting(w->setup->shared->affinity, w->number, !stopping);
}

static void
turn(struct worker *w)
{
	struct deadline now;
	struct upstream_event event;

	wait_for_events(w);
	now = deadline_now();
	front_expire(w->front, now);
	upstream_expire(w->upstreams, now);
	gather_and_ask(w, now);
	reply(w, now);
	while (upstream_next_event(w->upstreams, &event))
		log_upstream_event(&event);
	log_troubles(w, now);
	log_losses(w, now);
	if (udp_is_shut_down(w->udp))
		stats_report_shut_down(w->setup->shared->stats, (size_t)w->setup->generation);
	relax(w, now);
	publish_state(w);
}

/* Until it is told to go; then until all is answered, and no longer than a query may take. */
static void
loop(struct worker *w)
{
	publish_state(w);
	waitset_wake(w->setup->wakeup);
	while (!w->told_to_stop && !w->told_to_retire)
		turn(w);
	publish_state(w);
	front_retire(w->front, deadline_now());
	udp_drain(w->udp);
	listeners_give_up_tcp(w->setup->listeners);
	/* Who retires lets its clients finish what they are about; others take the new ones. */
	w->stop_by = deadline_in(WORKER_RETIRE_MS);
	while (!w->told_to_stop && front_client_count(w->front) > 0 &&
	    !deadline_passed(w->stop_by, deadline_now()))
		turn(w);
	w->stop_by = deadline_in(w->config->timeouts.query_ms + STOP_GRACE_MS);
	front_drain(w->front);
	while ((front_client_count(w->front) > 0 || udp_is_busy(w->udp)) &&
	    !deadline_passed(w->stop_by, deadline_now()))
		turn(w);
}

/* Signals arrive at one line only: the wait. */
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

/* Connections to upstreams, listeners and some more need descriptors, too. */
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
	int datagrams[CONFIG_LISTEN_MAX];
	size_t tcp = 0;
	size_t udp = 0;
	size_t i;

	if ((w->set = waitset_new()) == -1 || arrange_signals(w) == -1 ||
	    (w->table = query_table_new((size_t)config->inflight)) == NULL)
		return fail_errno(why, "start");
	if (upstream_attach(w->upstreams, w->set, w->table, why) == -1)
		return -1;
	for (i = 0; i < w->setup->listeners->count; i++) {
		const struct listener *l = &w->setup->listeners->at[i];

		if (l->tcp != -1)
			w->listeners[tcp++] = l->tcp;
		if (l->udp != -1)
			datagrams[udp++] = l->udp;
	}
	w->front = front_new(config, w->listeners, tcp, w->set, w->table, clients_max(w->setup),
	    why);
	if (w->front == NULL)
		return -1;
	w->udp = udp_new(config, datagrams,
	    stats_socket_drops(w->setup->shared->stats, (size_t)w->setup->generation), udp, w->set,
	    w->table, why);
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
	w->quiet_at = DEADLINE_NEVER;
	w->set = -1;
	w->signals = -1;
	if ((rc = start(w, why)) == 0)
		loop(w);
	udp_free(w->udp);
	front_free(w->front);
	query_table_free(w->table);
	if (w->signals != -1)
		(void)close(w->signals);
	if (w->set != -1)
		(void)close(w->set);
	free(w);
	return rc;
}
