#ifndef DOTPROXY_CONNECTION_H
#define DOTPROXY_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "format/edns.h"
#include "query/query.h"
#include "transport/outstanding.h"
#include "transport/stream.h"

/*
 * One connection to an upstream: the queries that wait to be sent, those that wait for their
 * response, and the buffers between messages and TLS (RFC 7766 6.2.1.1: queries are pipelined,
 * responses come in any order).
 */
struct connection {
	struct stream stream; /* closed: the slot is free */
	size_t index;         /* of the slot */
	size_t upstream;      /* the index of the upstream */
	const struct edns_settings *edns;
	int idle_ms;                /* closed when idle for so long */
	uint32_t watched;           /* the events it is in the wait set with */
	bool draining;              /* takes no new query, and closes when it is idle */
	bool retries;               /* while opening, a draining connection takes retries */
	bool stalled;               /* nothing was received for too long */
	bool gated;                 /* sends only the canary until the first response */
	bool has_answered;          /* at least once: a persistent connection */
	size_t taken;               /* queries added so far, without canaries */
	size_t answers;             /* responses so far, without those to canaries */
	struct attempt canary;      /* at most one is open on a connection */
	struct attempt *mismatched; /* its response had another question; it waits again */
	unsigned canaries;          /* canaries answered since the last response to a query */
	struct deadline step_by;    /* the deadline of connect, then of the handshake */
	struct deadline opened;
	struct deadline heard; /* the last message received, or else the opening */
	struct deadline
	    owed_since; /* since then a response is due and nothing was received; or NEVER */
	struct attempt_list waiting; /* not sent yet */
	struct attempt_list sent;    /* in the order of sending; each has an ID */
	size_t outstanding;          /* the length of `sent' */
	unsigned given_up;           /* IDs in use although no query waits */
	uint8_t *in;                 /* received frames; space for one of the largest size */
	bool all_read;               /* the socket is drained until the next epoll event */
	size_t in_pos;               /* in_pos <= in_len, always */
	size_t in_len;
	uint8_t *out; /* frames to send */
	size_t out_len;
};

/* The connection slots of a worker, with buffers. NULL with errno when there is no memory. */
struct connection *connection_table_new(size_t count);
void connection_table_free(struct connection *, size_t count);

/*
 * Puts an opened stream to an upstream into a free slot. Queries are rewritten for the upstream by
 * SETTINGS, which must outlive the connection.
 */
void connection_init(struct connection *, struct stream, size_t upstream,
    const struct edns_settings *settings, int idle_ms);

/* Closes the connection and frees the slot; its attempts must have been released. */
void connection_close(struct connection *, struct outstanding *);

/* Whether no query waits for it, neither to be sent nor for a response. */
bool connection_is_idle(const struct connection *);

/*
 * Queues a canary: a query of our own whose response shows that the server is alive. It is sent
 * first, and on a gated connection alone. Does nothing while another canary is open.
 */
void connection_send_canary(struct connection *, struct query *canary);

/* The number of queries that were sent and have no response yet, without a canary. */
size_t connection_unanswered(const struct connection *);

/*
 * Sends the waiting queries in as few TLS writes as possible; each attempt gets its ID, and NOW as
 * the moment of sending. Returns 0, or -1 with the reason when the connection has failed.
 */
int connection_send(struct connection *, struct outstanding *, struct deadline now,
    struct failure *why);

/* A received message; its bytes belong to the connection and are valid until the next call. */
struct arrival {
	struct attempt *attempt; /* NULL: its query was given up */
	struct deadline since;   /* when its query was sent */
	enum dns_match match;    /* never DNS_MISMATCH */
	uint8_t *message;
	size_t len;
};

/*
 * Receives the next message. Returns 1, with its attempt removed from the connection; 0 when there
 * is no message now; -1 with the reason when the connection has ended, or when a message cannot be
 * a response (RFC 7766 7): then nothing else on the connection can be trusted.
 */
int connection_receive(struct connection *, struct outstanding *, struct arrival *,
    struct deadline now, struct failure *why);

/* Queues a query on the connection, as an attempt that must be free. */
void connection_add(struct connection *, struct attempt *, struct query *, enum edns_mode mode);

/* Removes an attempt from its connection, whether it was sent or not. */
void connection_release(struct attempt *, struct outstanding *);

#endif
