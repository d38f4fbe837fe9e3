#ifndef DOTPROXY_QUERY_H
#define DOTPROXY_QUERY_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/chains.h"
#include "base/deadline.h"
#include "format/dns.h"
#include "format/edns.h"

struct client;
struct client_addr;
struct connection;
struct query;

/* One asking of one query: on that connection, under that ID. */
struct ask {
	struct query *query;
	struct connection *at; /* NULL: this entry is free */
	TAILQ_ENTRY(ask) link; /* in one of the lists of the connection */
	struct deadline since; /* when it was handed to the connection */
	uint16_t id;           /* on that connection; valid once sent */
	bool sent;
	enum edns_mode edns; /* what it was sent with, or will be */
};
TAILQ_HEAD(ask_list, ask);

/* A query is asked of so many upstreams side by side at most. */
enum { QUERY_ASKS_MAX = 8 };

/* Where a query came from, and so which module its answer goes to. */
enum query_transport {
	QUERY_TCP, /* the TCP frontend's: `client' is its client */
	QUERY_UDP  /* the UDP frontend's: `peer' is its peer */
};

/* The two ends of a datagram. */
struct query_peer {
	size_t socket; /* the number of the one it came by */
	struct address from;
	struct address to;  /* what it was sent to; AF_UNSPEC: what the socket is bound to */
	unsigned interface; /* that it came in by, where TO is known */
};

/* How a query ended. */
enum query_outcome {
	QUERY_OPEN,        /* it has not */
	QUERY_ANSWERED,    /* `response' is an upstream's */
	QUERY_UNREACHABLE, /* no upstream could be reached: `blame' says which was first */
	QUERY_UNANSWERED   /* they were asked and did not answer */
};

/*
 * One query in hand, the one thing that flows through the program. Its place and its
 * octets belong to the table of queries; where it came in fills in the first part, the
 * upstreams the last one.
 */
struct query {
	enum query_transport transport;
	struct client *client; /* NULL: the client has gone */
	struct query_peer peer;
	TAILQ_ENTRY(query) client_link; /* in one of the lists of the client, or of a socket */
	struct client_addr *addr;       /* this and the next three: only of UDP */
	TAILQ_ENTRY(query) addr_link;   /* in the list of its address, the oldest first */
	struct chains_link dedup_link;  /* see dedup.h */
	bool is_answered;               /* its response waits to be sent */
	struct dns_query dns;
	bool allowed;            /* the client may ask here */
	struct deadline arrived; /* when its last octet was read */
	struct deadline by;      /* it is answered before that */
	uint8_t *message;        /* the query as it came */
	size_t len;
	uint8_t *response;   /* room for the largest, and in front of it for its length */
	size_t response_len; /* 0: there is none */
	size_t large; /* the memory of a large message or response, see query_table_large() */

	enum query_outcome outcome;
	TAILQ_ENTRY(query) upstream_link;
	struct ask asks[QUERY_ASKS_MAX];
	bool was_sent;           /* to any upstream */
	struct deadline next_at; /* then the next upstream is asked beside */
	uint64_t tried[4];       /* a bit for each upstream that was */
	int blame;               /* the first upstream that failed it, or -1 */
	unsigned attempts;    /* connections that it was handed to, and those that failed to open */
	bool found_one_up;    /* not all upstreams were down when it was asked */
	unsigned replays;     /* how often it was resent to an upstream that had it already */
	unsigned ends;        /* connections that ended before its response had come */
	unsigned barren_ends; /* those of them that had brought no response at all */
	unsigned moves;       /* how often its connection was of no use before it was sent */
	bool has_second_opinion; /* another upstream was asked after an error */
	bool stranded;           /* there is no place for a connection that it needs */
};
TAILQ_HEAD(query_list, query);

struct query_table;

/* A table of COUNT places. NULL with errno when there is no memory. */
struct query_table *query_table_new(size_t count);
void query_table_free(struct query_table *);

/* The places that are free. */
size_t query_table_room(const struct query_table *);

/*
 * Takes a place and copies the LEN octets of a message (up to DNS_MESSAGE_MAX) into
 * it; everything else in it is as in a new query. NULL when no place is free.
 */
struct query *query_new(struct query_table *, const uint8_t *message, size_t len);

/* Frees the slot, and the memory of a large message or response. */
void query_free(struct query_table *, struct query *);

/*
 * Notes that `response' is final: only that is needed from now on, and the memory of a large
 * message is given back.
 */
void query_answered(struct query_table *, struct query *);

/*
 * The response as a frame (see frame.h), whose prefix is written in front of it, for which there
 * always is room.
 */
uint8_t *query_frame(const struct query *);

/*
 * The memory, in bytes, that messages over a page have taken, and responses that are over a page
 * by themselves or with their message.
 */
size_t query_table_large(const struct query_table *);

/*
 * Gives the memory that a rush has touched back to the system, if there was one and
 * no query is in hand. For quiet moments: it makes the next rush slower.
 */
void query_table_relax(struct query_table *);

#endif
