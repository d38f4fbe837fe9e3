#ifndef DOTPROXY_TCP_H
#define DOTPROXY_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "config/config.h"
#include "query/query.h"
#include "query/quota.h"

/*
 * TCP side of the frontend: listeners and client connections. Yields queries, takes responses. A
 * client that is silent or slow costs an entry in the wait set and nothing else.
 */
struct tcp;

/*
 * Serves the COUNT sockets LISTENERS, which listen and stay the caller's, in the wait set
 * SET. Queries take slots of TABLE. At most CLIENTS clients are connected at a time; for one more,
 * the one that has been idle longest is closed. QUOTA is shared by all frontends, and has room for
 * as many addresses in addition to those of the others. CONFIG, TABLE and QUOTA must outlive it.
 * NULL with the reason.
 */
struct tcp *tcp_new(const struct config *config, const int *listeners, size_t count, int set,
    struct query_table *table, struct quota *quota, size_t clients, struct failure *why);

/* Closes all clients. NULL is fine. */
void tcp_free(struct tcp *);

/* Something happened on that listener (WAITSET_LISTENER) or client (WAITSET_CLIENT). */
void tcp_listener_ready(struct tcp *, size_t listener, struct deadline now);
void tcp_client_ready(struct tcp *, size_t client, uint32_t events);

/* Leaves clients that connect until then to other workers. */
void tcp_pause_listening(struct tcp *, struct deadline until);

/*
 * Takes the queries that are ready now, ROOM at most and no more than the table has free slots:
 * reads once from each client that has sent something. Each query is the caller's until it is
 * given back by tcp_answer() or tcp_reject(). Returns their number.
 */
size_t tcp_gather(struct tcp *, struct query **queries, size_t room, struct deadline now);

/* Whether tcp_gather() would read something without a wait. */
bool tcp_has_work(const struct tcp *);

/* The next query whose client has disconnected: its response is not needed. NULL: none. */
struct query *tcp_next_abandoned(struct tcp *);

/* Hands over a query whose response is set. Sent by tcp_send(), which frees its slot. */
void tcp_answer(struct tcp *, struct query *);

/* Frees a message that is no query, and reads nothing more from the client that sent it. */
void tcp_reject(struct tcp *, struct query *);

/* Sends what tcp_answer() has collected: one write for each client. */
void tcp_send(struct tcp *, struct deadline now);

/* Closes clients that have been idle, or slow, for too long. */
void tcp_expire(struct tcp *, struct deadline now);

/* When tcp_expire() must be called next, or sooner. */
struct deadline tcp_deadline(const struct tcp *);

/*
 * Accepts no more clients but those that have connected by now, and closes each once it is idle
 * for a moment.
 */
void tcp_retire(struct tcp *, struct deadline now);

/*
 * Then reads nothing more from clients but what has already come, and closes each when it has all
 * its answers.
 */
void tcp_drain(struct tcp *);

/* How many clients are connected. Those that drain are until they have all their answers. */
size_t tcp_client_count(const struct tcp *);

/* What an operator should know of. */
enum tcp_limit_event {
	TCP_ACCEPT_FAILED, /* accept(2) failed, for want of descriptors or the like */
	TCP_CLIENT_LIMIT,  /* all slots for clients were in use: one was closed, or none accepted */
	TCP_ADDRESS_LIMIT, /* an address had as many clients as it may: one of them was closed */
	TCP_LIMIT_EVENTS
};

/*
 * How many events of that kind there were since the last call, and the reason of the first. False
 * when there was none.
 */
bool tcp_limit_event(struct tcp *, enum tcp_limit_event, struct failure *why, unsigned *times);

#endif
