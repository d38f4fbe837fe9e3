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
#include "query/quota.h"

struct client;
struct connection;
struct query;

/* What has become of an attempt. */
enum attempt_state {
	ATTEMPT_FREE,    /* the entry is not in use */
	ATTEMPT_OPEN,    /* on a connection */
	ATTEMPT_STALLED, /* on a connection that stalled; the response may still come */
	ATTEMPT_RESEND,  /* stalled, and to be sent once more to the same upstream */
	ATTEMPT_RETRY    /* off its connection, and to be sent again to the same upstream */
};

/* One attempt to resolve a query: on one connection, under one ID. */
struct attempt {
	struct query *query;
	struct connection *at;     /* NULL when it is FREE or RETRY */
	TAILQ_ENTRY(attempt) link; /* in one of the lists of the connection */
	struct deadline since;     /* when it was handed to the connection */
	enum attempt_state state;
	enum edns_mode edns; /* what it was sent with, or will be */
	uint16_t upstream;
	uint16_t id; /* on that connection; valid once sent */
	bool sent;
};
TAILQ_HEAD(attempt_list, attempt);

/* So many attempts of one query at the same time at most. */
enum { QUERY_ATTEMPTS_MAX = 8 };

/* Which upstreams that were not tried yet are tried next. */
enum query_search {
	QUERY_SEARCH_NONE,
	QUERY_SEARCH_UP,  /* those that are not in backoff */
	QUERY_SEARCH_ANY, /* the same; when there is none, those in backoff */
	QUERY_SEARCH_DOWN /* all that are in backoff, side by side */
};

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
	QUERY_UNREACHABLE, /* no upstream could be reached: see `first_failed_upstream' */
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
	bool is_canonical;   /* the response is no client's yet: see edns_write_canonical() */
	size_t opt_len;      /* of the OPT record at the end of a canonical response */
	size_t large; /* the memory of a large message or response, see query_table_large() */

	enum query_outcome outcome;
	TAILQ_ENTRY(query) upstream_link;
	TAILQ_ENTRY(query) changed_link;
	bool is_changed; /* it is in the list of those that policy_next() is asked about */
	struct attempt attempts[QUERY_ATTEMPTS_MAX];
	int attempt_count; /* of these, the first ones that are in use, or were */

	/* What policy_next() goes by, besides the attempts. */
	enum query_search search;
	bool has_final_response;   /* `response' is one that no other upstream could improve */
	bool has_second_opinion;   /* another upstream was tried after an error, or none is left */
	bool had_healthy_upstream; /* one that was not down has been tried */
	bool waits_for_slot;       /* there is no free slot for a connection that it needs */
	bool is_fatal;             /* a connection has ended at this question, and at no other */
	struct deadline hedge_at;  /* then the next upstream is tried as well */
	struct deadline late_at;   /* before that, the time that it takes is no evidence */
	struct deadline pause_until; /* after all have failed it */
	uint64_t tried[4];           /* a bit for each upstream that was tried */
	unsigned tries;       /* connections that it was handed to, and those that failed to open */
	unsigned resends;     /* how often it was resent to an upstream that had it already */
	unsigned ends;        /* connections that ended before its response had come */
	unsigned barren_ends; /* those of them that had brought no response at all */
	unsigned moves;       /* how often its connection was of no use before it was sent */

	bool is_new;   /* to the upstreams */
	bool is_hedge; /* what is searched for is an extra query, of which few are sent */
	bool is_late;  /* `hedge_at' has passed since policy_next() was asked */
	bool was_sent; /* to any upstream */
	int first_failed_upstream; /* or -1 */
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
