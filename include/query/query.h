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
TAILQ_HEAD(query_list, query);

/* The state of an attempt. */
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
	struct deadline since;     /* when it was sent */
	enum attempt_state state;
	enum edns_mode edns; /* what it was sent with, or will be */
	uint16_t upstream;
	uint16_t id; /* on that connection; valid once sent */
	bool sent;
};
TAILQ_HEAD(attempt_list, attempt);

/* The most attempts of one query at the same time. */
enum { QUERY_ATTEMPTS_MAX = 8 };

/* Which of the untried upstreams are tried next. */
enum query_search {
	QUERY_SEARCH_NONE,
	QUERY_SEARCH_UP,  /* those not in backoff */
	QUERY_SEARCH_ANY, /* those not in backoff; if none, those in backoff */
	QUERY_SEARCH_DOWN /* all in backoff, in parallel */
};

/* The frontend that received a query and sends its response. */
enum query_transport {
	QUERY_TCP, /* uses `client' */
	QUERY_UDP, /* uses `peer' */
	QUERY_OWN  /* none: the response is for the cache */
};

/* The two ends of a datagram. */
struct query_peer {
	size_t socket; /* the index of the receiving socket */
	struct address from;
	struct address to;  /* the destination; AF_UNSPEC: the address of the socket */
	unsigned interface; /* that received it; set if `to' is */
};

/* How a query ended. */
enum query_outcome {
	QUERY_OPEN,        /* it has not ended */
	QUERY_ANSWERED,    /* `response' is an upstream's */
	QUERY_UNREACHABLE, /* no upstream could be reached: see `first_failed_upstream' */
	QUERY_UNANSWERED   /* it was sent, and no upstream responded */
};

/* Where the response to a query is from. */
enum query_source {
	QUERY_LOCAL, /* made here */
	QUERY_UPSTREAM,
	QUERY_CACHE,
	QUERY_STALE /* the cache, and may be out of date */
};

/*
 * One query in flight. Its slot and its bytes belong to the table of queries; the frontend sets the
 * fields up to `outcome', the upstream module the rest.
 */
struct query {
	enum query_transport transport;
	struct client *client; /* NULL: the client has disconnected */
	struct query_peer peer;
	TAILQ_ENTRY(query) client_link; /* in one of the lists of the client, or of a socket */
	struct client_addr *addr;       /* this and the next three: UDP only */
	TAILQ_ENTRY(query) addr_link;   /* in the list of its address, oldest first */
	struct chains_link dedup_link;  /* see dedup.h */
	bool is_answered;               /* its response is queued for sending */
	struct dns_query dns;
	bool allowed;            /* `allow' has the client's address */
	size_t group;            /* of upstreams that it is for; see struct config_group */
	struct deadline arrived; /* when its last byte was read */
	struct deadline by;      /* the deadline for its response */
	uint8_t *message;        /* the query as received */
	size_t len;
	uint8_t *response;   /* space for the largest one, and for a prefix in front */
	size_t response_len; /* 0: there is none */
	bool is_canonical;   /* as made by edns_write_canonical(), not yet for this client */
	size_t opt_len;      /* of the OPT record at the end of a canonical response */
	bool was_longer;     /* there were bytes behind the last record of the response */
	size_t large; /* the memory of a large message or response, see query_table_large() */

	enum query_outcome outcome;
	TAILQ_ENTRY(query) upstream_link;
	TAILQ_ENTRY(query) changed_link;
	bool is_changed; /* in the list of queries for policy_next() */
	struct attempt attempts[QUERY_ATTEMPTS_MAX];
	int attempt_count; /* of these, the first ones that are in use, or were */

	/* The input of policy_next(), with the attempts. */
	enum query_search search;
	bool has_final_response;     /* no other upstream could improve `response' */
	bool error_retried;          /* on the next upstream, or no upstream is left */
	bool had_healthy_upstream;   /* an upstream that was not down was tried */
	bool waits_for_slot;         /* it needs a connection, and no slot is free */
	bool is_fatal;               /* this question, and no other, made connections end */
	struct deadline hedge_at;    /* when the next upstream is tried as well */
	struct deadline late_at;     /* until then, its response time says nothing */
	struct deadline pause_until; /* no attempt before, since all upstreams failed */
	uint64_t tried[4];           /* a bit for each upstream that was tried */
	unsigned tries;              /* connections that it was added to, or that failed to open */
	unsigned resends;            /* how often it was sent again to the same upstream */
	unsigned ends;               /* connections that ended before its response */
	unsigned barren_ends;        /* those of them that carried no response at all */
	unsigned moves;              /* how often its connection failed before it was sent */

	bool is_new;               /* to the upstreams */
	bool is_hedge;             /* the search is for a hedged query, whose rate is limited */
	bool is_late;              /* `hedge_at' has passed since the last policy_next() */
	bool was_sent;             /* to any upstream */
	int first_failed_upstream; /* or -1 */

	/* See joins.h. */
	bool is_joinable;
	struct chains_link join_link;
	struct query_list waiters;
	struct query *waits_for;
	TAILQ_ENTRY(query) waiter_link;

	/* See responder.h. */
	enum query_source source;
	struct query_list *list; /* that has it, with `upstream_link'; or NULL */
	bool may_be_stale;       /* the response, if it is not known by then */
	struct deadline stale_at;
	TAILQ_ENTRY(query) stale_link;
};

struct query_table;

/* A table of COUNT slots. NULL with errno when there is no memory. */
struct query_table *query_table_new(size_t count);
void query_table_free(struct query_table *);

/* The number of free slots. */
size_t query_table_free_slots(const struct query_table *);

/*
 * Takes a free slot and copies the LEN bytes of a message (up to DNS_MESSAGE_MAX) into it; all
 * other fields have their initial values. NULL when no slot is free.
 */
struct query *query_new(struct query_table *, const uint8_t *message, size_t len);

/* Frees the slot, and the memory of a large message or response. */
void query_free(struct query_table *, struct query *);

/*
 * Notes that `response' is final: only the response is needed from now on, so the memory of a large
 * message is returned.
 */
void query_answered(struct query_table *, struct query *);

/*
 * The response as a frame (see frame.h): writes the prefix into the space that is reserved in front
 * of the response.
 */
uint8_t *query_frame(const struct query *);

/*
 * The memory, in bytes, of messages larger than a page, and of responses that are larger than a
 * page, alone or together with their message.
 */
size_t query_table_large(const struct query_table *);

/*
 * Returns memory to the system after a burst, when no query is in flight. To be called when idle,
 * since the next burst must fault the pages in again.
 */
void query_table_trim(struct query_table *);

#endif
