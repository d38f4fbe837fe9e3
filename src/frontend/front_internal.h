#ifndef DOTPROXY_FRONT_INTERNAL_H
#define DOTPROXY_FRONT_INTERNAL_H

#include <sys/epoll.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "config/config.h"
#include "format/frame.h"
#include "frontend/acceptor.h"
#include "frontend/front.h"
#include "query/query.h"
#include "query/quota.h"

/* What the files of the front share: the table of clients. */

/*
 * What a client is doing, and so what it is waited for with. Each of these has one time
 * that is the same for all clients, so the one in it longest is due first.
 */
enum client_state {
	CLIENT_FREE,    /* this place is */
	CLIENT_IDLE,    /* it owes a query: timeouts.client_idle */
	CLIENT_READING, /* it has sent a part of a message: timeouts.client_read */
	CLIENT_WAITING, /* we owe it answers: each query has its own deadline */
	CLIENT_WRITING, /* it does not take its answers: timeouts.query */
	CLIENT_STATES
};

TAILQ_HEAD(client_list, client);

struct client {
	int fd;
	struct client_addr *addr; /* used by each of its clients */
	enum client_state state;
	struct deadline since; /* in this state */
	TAILQ_ENTRY(client) state_link;
	TAILQ_ENTRY(client) ready_link;
	TAILQ_ENTRY(client) dirty_link;
	TAILQ_ENTRY(client) throttle_link;
	bool ready;    /* is in the list of those that may have a query */
	bool dirty;    /* is in the list of those that answers were handed over for */
	bool readable; /* there may be something to read */
	bool hung_up;  /* it has closed its side, behind what there is to read */
	bool blocked;  /* it takes no answers until it is writable */
	bool ended;    /* nothing more is read from it */
	bool gone;     /* it has reset the connection */
	bool allowed;
	bool has_asked;
	uint8_t *in; /* what came but was not taken yet */
	size_t in_len;
	size_t queries_in_flight;      /* slots for queries that it has */
	struct client_list *throttled; /* the list of waiting clients that it is in; or NULL */
	size_t in_large;               /* the memory that `in' has taken beyond a page */
	struct query_list in_hand;
	struct query_list answered; /* to be sent, in this order */
	size_t sent;                /* octets of the first of them, with its prefix */
};

struct front {
	const struct config *config;
	struct acceptor acceptor;
	int set;
	struct query_table *table;
	struct client *clients;
	size_t client_count;                      /* places */
	size_t touched;                           /* of them, the first ones, were ever used */
	size_t connected;                         /* of them in use */
	uint8_t *octets;                          /* the `in' of all clients */
	struct client_list states[CLIENT_STATES]; /* the one in it longest in front */
	struct client_list ready;
	struct client_list dirty;
	struct quota *quota;
	struct client_list *throttled;      /* for each address: clients that wait for its share */
	struct client_list short_of_memory; /* clients that wait for memory */
	size_t in_large;                    /* the sum of it over all clients */
	struct query_list abandoned;
	unsigned singles;        /* looks at listeners, in a row, that found no second client */
	bool retiring;           /* see front_retire() */
	struct deadline retired; /* the moment of it */
	int retire_idle_ms;      /* a client that sends nothing for this long is closed */
	bool draining;           /* see front_drain() */
	struct trouble {
		struct failure why; /* of the first of them */
		unsigned times;
	} troubles[FRONT_TROUBLES];
	uint8_t scratch[FRAME_MAX];
};

/* Told once of each change; what there is to read or write is then known. */
#define FRONT_CLIENT_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* Puts a client into a state, for which its time begins if it is another one. */
void front_enter(struct front *, struct client *, enum client_state, struct deadline now);

/* Whether it is among those that may have a query. */
void front_set_ready(struct front *, struct client *);
void front_clear_ready(struct front *, struct client *);

/* Whether it has sent something that was not read yet: then it is idle no more. */
bool front_has_just_asked(struct front *, struct client *, struct deadline now);

/* Ends a connection; its place is free, and queries that it has in hand are abandoned. */
void front_close_client(struct front *, struct client *, struct deadline now);

/* Listens unless it is paused; notes a failure. */
void front_listen(struct front *, struct deadline now);

#endif
