#ifndef DOTPROXY_TCP_INTERNAL_H
#define DOTPROXY_TCP_INTERNAL_H

#include <sys/epoll.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "config/config.h"
#include "format/frame.h"
#include "frontend/acceptor.h"
#include "frontend/tcp.h"
#include "query/query.h"
#include "query/quota.h"

/* What the files of the TCP frontend share: the table of clients. */

/*
 * What a client is doing, which decides how long it may do so. update_client_state() derives it
 * from the rest. All clients in a state have the same time for it, so the one that has been in it
 * longest is due first.
 */
enum client_state {
	CLIENT_FREE, /* this slot is */
	CLIENT_IDLE, /* nothing in flight, nothing in IN: the next query (timeouts.client_idle) */
	CLIENT_READING, /* a part of a message in IN: the rest of it (timeouts.client_read) */
	CLIENT_WAITING, /* answers or a slot: none, since each query has its own deadline */
	CLIENT_WRITING, /* its socket takes no more: it must read its answers (timeouts.query) */
	CLIENT_STATES
};

/* What there is to read from a client's socket. */
enum client_input {
	INPUT_NONE,  /* nothing until the next event */
	INPUT_SOME,  /* there may be something */
	INPUT_LAST,  /* there may be something, and then the end: the client has closed its side */
	INPUT_ENDED, /* nothing more is read: the end was read, or we stopped reading */
	INPUT_RESET  /* the connection was reset; it is closed at its turn */
};

TAILQ_HEAD(client_list, client);

/*
 * One client. It is in the list of its state, and
 * - while its input is SOME, LAST or RESET, or IN holds a whole message: in `ready', or in a list
 *   of throttled clients while a limit keeps it from going on (both, once an event has come since);
 * - while answers may be written to it: in `dirty'.
 */
struct client {
	int fd;
	struct client_addr *addr; /* used by each of its clients */
	enum client_state state;
	struct deadline since; /* in this state */
	enum client_input input;
	bool write_blocked; /* its socket takes no answers until it is writable */
	bool allowed;       /* its address may use us */
	bool has_asked;     /* at least one query was taken from it */
	bool is_ready;
	bool is_dirty;
	struct client_list *throttled; /* the list of waiting clients that it is in; or NULL */
	TAILQ_ENTRY(client) state_link;
	TAILQ_ENTRY(client) ready_link;
	TAILQ_ENTRY(client) dirty_link;
	TAILQ_ENTRY(client) throttle_link;
	uint8_t *in;                 /* what was read but not taken yet */
	size_t in_len;               /* 0 once a message was rejected */
	size_t in_large;             /* the memory that IN has taken beyond a page */
	size_t queries_in_flight;    /* slots that it has: those in the next two lists */
	struct query_list in_flight; /* without a response */
	struct query_list answered;  /* to be sent, in this order */
	size_t sent;                 /* bytes of the first of them, with its prefix */
};

struct tcp {
	const struct config *config;
	struct acceptor acceptor;
	int set;
	struct query_table *table;
	struct client *clients;
	size_t slots;                             /* for clients */
	size_t touched;                           /* of them, the first ones, were ever used */
	size_t connected;                         /* of them in use */
	uint8_t *buffers;                         /* the `in' of all clients */
	struct client_list states[CLIENT_STATES]; /* the one in it longest in front */
	struct client_list ready;
	struct client_list dirty;
	struct quota *quota;
	struct client_list *throttled;      /* for each address: clients that wait for its share */
	struct client_list short_of_memory; /* clients that wait for memory */
	size_t in_large;                    /* the sum of it over all clients */
	struct query_list abandoned;
	unsigned single_accepts; /* how often, in a row, a listener had just one client */
	bool retiring;           /* see tcp_retire() */
	struct deadline retired; /* the moment of it */
	int retire_idle_ms;      /* a client that sends nothing for this long is closed */
	bool draining;           /* see tcp_drain() */
	struct {
		struct failure why; /* of the first since it was reported last */
		unsigned times;
	} limit_events[TCP_LIMIT_EVENTS];
	uint8_t scratch[FRAME_MAX];
};

/* Edge-triggered: each change is reported once, and what can be read or written is then known. */
#define TCP_CLIENT_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

/*
 * The files, each of which calls only those above it:
 * tcp_limits.c  which clients may go on, and which wait for a slot or for memory
 * tcp_client.c  the states of a client, and its end
 * tcp_accept.c  the beginning of a client
 * tcp.c         queries and answers, and time
 */

/* ---- tcp_limits.c ---- */

/* Puts a client among those from which something may be taken, or takes it out. */
void tcp_set_ready(struct tcp *, struct client *);
void tcp_clear_ready(struct tcp *, struct client *);

/* Whether a client may have one more query in flight, that message of LEN bytes. */
bool tcp_may_take(const struct tcp *, const struct client *, const uint8_t *message, size_t len);

/* How many bytes of a message may be read: the longest one, or less where memory is short. */
size_t tcp_buffer_limit(const struct tcp *);

/* Counts a query that a client has, or has no longer. */
void tcp_count_query(struct client *, const struct query *);
void tcp_uncount_query(struct client *, const struct query *);

/* Counts the memory that a client's buffer takes, and gives back what is not needed any more. */
void tcp_count_buffer(struct tcp *, struct client *);

/* Lets a client that is not throttled wait, if a limit keeps it from going on. Whether it does. */
bool tcp_throttle(struct tcp *, struct client *);
void tcp_unthrottle(struct tcp *, struct client *);

/* Puts a client into a state, for which its time begins if it is another one. */
void tcp_set_state(struct tcp *, struct client *, enum client_state, struct deadline now);

/* The next throttled client of that address that may go on does. */
void tcp_wake_throttled(struct tcp *, const struct client_addr *);

/* Clients that had to wait for memory, and have it now, go on. */
void tcp_wake_short_of_memory(struct tcp *);

/* Whether a client waits for memory while it has some, for which others wait. */
bool tcp_holds_scarce_memory(const struct tcp *, const struct client *);

/*
 * While memory is short: of the clients that do not read their answers, one whose address has most
 * of it. NULL: it is not short, or none has much.
 */
struct client *tcp_memory_hog(const struct tcp *);

/* ---- tcp_client.c ---- */

/* Whether there may be something to read from its socket. */
bool tcp_has_input(const struct client *);

/* Notes that there may be something to read from a client whose input has not ended. */
void tcp_set_readable(struct tcp *, struct client *);

/* Whether it has sent something that was not read yet: then it is idle no more. */
bool tcp_client_has_sent(struct tcp *, struct client *, struct deadline now);

/* Closes a connection and frees its slot; its queries in flight are abandoned. */
void tcp_close_client(struct tcp *, struct client *, struct deadline now);

/* ---- tcp_accept.c ---- */

/* Listens unless it is paused; notes a failure. */
void tcp_listen(struct tcp *, struct deadline now);

#endif
