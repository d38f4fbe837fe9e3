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
#include "frontend/tcp.h"
#include "frontend/udp.h"
#include "query/query.h"
#include "query/quota.h"
#include "query/reply.h"

enum {
	EVENTS_AT_ONCE = 256,

	/* So often in a turn, where that many have come each time. */
	LOOKS_MAX = 32,

	QUERIES_AT_ONCE = 256,

	/* Descriptors for listeners, the log and the like. */
	DESCRIPTORS_RESERVED = 64,

	/* After so long without a query, memory that a rush has touched is given back. */
	QUIET_MS = 1000,

	/* How busy it is, a worker looks at so often at most. */
	BUSY_INTERVAL_MS = 10,

	/* What comes is left for so long to a worker that is about to take it. */
	STAND_BACK_MS = 1,

	/* The same trouble is told so often at most. */
	TROUBLE_INTERVAL_MS = 10000,

	/* What is in hand has its deadline; then a moment to hand it over. */
	STOP_GRACE_MS = 300
};

struct worker {
	const struct worker_setup *setup;
	const struct config *config;
	struct board_worker *row;
	struct query_table *table;
	struct quota *quota;
	int listeners[CONFIG_LISTEN_MAX];
	struct tcp *tcp;
	struct udp *udp;
	bool udp_is_next; /* to be looked at first */
	struct upstream_list *upstreams;
	int set;
	int signals;
	bool told_to_stop;
	bool told_to_retire;
	struct deadline looked_at;  /* at how busy it is */
	int64_t used_us;            /* processor time until then */
	struct deadline stood_back; /* what had come was left to another worker until then */
	struct deadline stop_by;    /* NEVER until it was told to stop */
	struct deadline quiet_at;   /* when there is no query until then, it is a quiet moment */
	struct deadline
	    trouble_at[TCP_LIMIT_EVENTS]; /* then trouble of that kind may be told again */
	struct deadline drops_at;         /* then dropped datagrams may be logged again */
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

	for (kind = 0; kind < TCP_LIMIT_EVENTS; kind++) {
		if (!deadline_passed(w->trouble_at[kind], now) ||
		    !tcp_limit_event(w->tcp, (enum tcp_limit_event)kind, &why, &times))
			continue;
		(void)snprintf(count, sizeof count, "%u", times);
		log_event(LOG_LEVEL_WARN, events[kind], "cause", why.text, "times", count, "remedy",
		    why.remedy, NULL);
		w->trouble_at[kind] = deadline_after(now, TROUBLE_INTERVAL_MS);
	}
}

/* UDP clients get no error, so log what was dropped. */
static void
log_drops(struct worker *w, struct deadline now)
{
	unsigned counts[UDP_DROP_REASONS];
	char texts[UDP_DROP_REASONS][12];
	char client[ADDRESS_TEXT_MAX] = "";
	struct address limited;
	enum log_level level = LOG_LEVEL_DEBUG;
	size_t i;

	if (!deadline_passed(w->drops_at, now) || !udp_drops(w->udp, counts, &limited))
		return;
	for (i = 0; i < UDP_DROP_REASONS; i++)
		(void)snprintf(texts[i], sizeof texts[i], "%.0u", counts[i]); /* nothing for 0 */
	if (counts[UDP_DROP_CLIENT_LIMIT] + counts[UDP_DROP_BUFFER_FULL] +
		counts[UDP_DROP_NOT_SENT] + counts[UDP_DROP_EVICTED] >
	    0)
		level = LOG_LEVEL_WARN;
	if (limited.sa.sa_family != AF_UNSPEC)
		(void)address_format_host(&limited, client);
	log_event(level, "datagrams dropped", "client_limit", texts[UDP_DROP_CLIENT_LIMIT],
	    "client", client, "evicted", texts[UDP_DROP_EVICTED], "receive_buffer_full",
	    texts[UDP_DROP_BUFFER_FULL], "not_sent", texts[UDP_DROP_NOT_SENT], "duplicate",
	    texts[UDP_DROP_DUPLICATE], "not_allowed", texts[UDP_DROP_NOT_ALLOWED], "invalid_source",
	    texts[UDP_DROP_INVALID_SOURCE], "malformed", texts[UDP_DROP_MALFORMED], NULL);
	w->drops_at = deadline_after(now, TROUBLE_INTERVAL_MS);
}

/* ---- the four steps ---- */

/* Alternate which transport gets the first half of the batch, so neither starves. */
static size_t
gather(struct worker *w, struct deadline now)
{
	size_t count;

	if (w->udp_is_next) {
		count = udp_gather(w->udp, w->batch, QUERIES_AT_ONCE / 2, now);
		w->udp_is_next = count == 0;
		return count + tcp_gather(w->tcp, w->batch + count, QUERIES_AT_ONCE - count, now);
	}
	count = tcp_gather(w->tcp, w->batch, QUERIES_AT_ONCE / 2, now);
	w->udp_is_next = count > 0;
	return count + udp_gather(w->udp, w->batch + count, QUERIES_AT_ONCE - count, now);
}

static void
finish(struct worker *w, struct query *q, struct deadline now)
{
	if (w->config->log.queries)
		log_query(q, now);
	reply_finish(q);
	if (q->transport == QUERY_UDP)
		udp_answer(w->udp, q);
	else
		tcp_answer(w->tcp, q);
}

static void
reject(struct worker *w, struct query *q)
{
	if (q->transport == QUERY_UDP)
		udp_reject(w->udp, q);
	else
		tcp_reject(w->tcp, q);
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
	if (dns_question_is(q->message, q->dns.question_len, DNS_OWN_HEALTH))
		answer_text(w, q, "ok", now);
	else if (!dns_question_is(q->message, q->dns.question_len, DNS_OWN_READY))
		return false;
	else if (board_is_ready(w->setup->board))
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
	board_count(&w->row->queries, count);
	for (i = 0; i < count; i++)
		if (!answer(w, w->batch[i], now))
			upstream_ask(w->upstreams, w->batch[i]);
	while ((q = tcp_next_abandoned(w->tcp)) != NULL) {
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
		board_count(&w->row->failed, 1);
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
		board_count(q->outcome == QUERY_ANSWERED ? &w->row->answered : &w->row->failed, 1);
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
	tcp_send(w->tcp, now);
	udp_send(w->udp, now);
}

/* ---- the loop ---- */

static struct deadline
next_deadline(const struct worker *w)
{
	struct deadline d = deadline_sooner(tcp_deadline(w->tcp), upstream_deadline(w->upstreams));

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

/* For those that wait beside it: when its turn began, and how busy it is. */
static void
show_turn(struct worker *w, struct deadline now)
{
	int64_t since_us = deadline_us_between(w->looked_at, now);
	int64_t used_us;

	atomic_store_explicit(&w->row->heartbeat_us, now.at_us, memory_order_relaxed);
	atomic_store_explicit(&w->row->turn_us, now.at_us, memory_order_relaxed);
	if (since_us < (int64_t)BUSY_INTERVAL_MS * 1000)
		return;
	used_us = deadline_used_us();
	atomic_store_explicit(&w->row->busy, (uint32_t)(100 * (used_us - w->used_us) / since_us),
	    memory_order_relaxed);
	w->used_us = used_us;
	w->looked_at = now;
}

/*
 * Takes what has come from a listener, or leaves it to a worker that is about to take it: one
 * that takes more at a time does it for less.
 */
static void
take_or_leave(struct worker *w, enum waitset_owner owner, size_t index, struct deadline now)
{
	struct deadline until = deadline_after(now, STAND_BACK_MS);
	bool again = !deadline_passed(deadline_after(w->stood_back, STAND_BACK_MS), now);

	if (board_another_takes(w->setup->board, w->setup->index, again, now)) {
		tcp_pause_listening(w->tcp, until);
		udp_pause_listening(w->udp, until);
		w->stood_back = until;
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
		take_or_leave(w, waitset_owner(event), index, now);
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
 * The only blocking call. Under load, drain several epoll batches first so that a close is seen
 * before we write to that socket.
 */
static void
wait_for_events(struct worker *w)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	bool has_work = tcp_has_work(w->tcp) || udp_has_work(w->udp);
	struct deadline by = has_work ? deadline_now() : next_deadline(w);
	struct deadline now;
	size_t count;
	int looks = 0;

	atomic_store_explicit(&w->row->turn_us, 0, memory_order_relaxed);
	do {
		count = waitset_wait(w->set, events, EVENTS_AT_ONCE, by);
		now = deadline_now();
		show_turn(w, now);
		take_events(w, events, count, now);
		by = now;
	} while (count == EVENTS_AT_ONCE && ++looks < LOOKS_MAX);
}

/* What the supervisor tells when it is asked. */
static void
show(const struct worker *w)
{
	size_t in_hand = (size_t)w->config->inflight - query_table_room(w->table);
	bool stopping = w->told_to_stop || w->told_to_retire;

	atomic_store_explicit(&w->row->state, stopping ? BOARD_STOPPING : BOARD_SERVING,
	    memory_order_relaxed);
	atomic_store_explicit(&w->row->in_hand, (uint32_t)in_hand, memory_order_relaxed);
	atomic_store_explicit(&w->row->clients, (uint32_t)tcp_client_count(w->tcp),
	    memory_order_relaxed);
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
	log_troubles(w, now);
	log_drops(w, now);
	if (udp_is_shut_down(w->udp))
		board_report_shut_down(w->setup->board);
	relax(w, now);
	show(w);
}

/* Until it is told to go; then until all is answered, and no longer than a query may take. */
static void
loop(struct worker *w)
{
	atomic_store(&w->row->state, BOARD_SERVING);
	waitset_wake(w->setup->wakeup);
	while (!w->told_to_stop && !w->told_to_retire)
		turn(w);
	atomic_store(&w->row->state, BOARD_STOPPING);
	tcp_retire(w->tcp, deadline_now());
	udp_drain(w->udp);
	listeners_give_up_tcp(w->setup->listeners);
	/* Who retires lets its clients finish what they are about; others take the new ones. */
	w->stop_by = deadline_in(WORKER_RETIRE_MS);
	while (!w->told_to_stop && tcp_client_count(w->tcp) > 0 &&
	    !deadline_passed(w->stop_by, deadline_now()))
		turn(w);
	w->stop_by = deadline_in(w->config->timeouts.query_ms + STOP_GRACE_MS);
	tcp_drain(w->tcp);
	while ((tcp_client_count(w->tcp) > 0 || udp_is_busy(w->udp)) &&
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

_Static_assert((int)BOARD_SOCKETS == (int)CONFIG_LISTEN_MAX, "a number for each socket");

static int
start(struct worker *w, struct failure *why)
{
	const struct config *config = w->config;
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
	if (upstream_attach(w->upstreams, w->set, w->table, w->setup->board, why) == -1)
		return -1;
	for (i = 0; i < w->setup->listeners->count; i++) {
		const struct listener *l = &w->setup->listeners->at[i];

		if (l->tcp != -1)
			w->listeners[tcp++] = l->tcp;
		if (l->udp != -1)
			datagrams[udp++] = l->udp;
	}
	w->tcp = tcp_new(config, w->listeners, tcp, w->set, w->table, w->quota, clients, why);
	if (w->tcp == NULL)
		return -1;
	w->udp = udp_new(config, datagrams, board_overflows(w->setup->board), udp, w->set, w->table,
	    w->quota, why);
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
	w->row = board_worker(setup->board, setup->index);
	w->stop_by = DEADLINE_NEVER;
	w->quiet_at = DEADLINE_NEVER;
	w->set = -1;
	w->signals = -1;
	if ((rc = start(w, why)) == 0)
		loop(w);
	udp_free(w->udp);
	tcp_free(w->tcp);
	quota_free(w->quota);
	query_table_free(w->table);
	if (w->signals != -1)
		(void)close(w->signals);
	if (w->set != -1)
		(void)close(w->set);
	free(w);
	return rc;
}
