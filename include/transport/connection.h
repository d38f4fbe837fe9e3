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
 * One connection to an upstream with what is on its way there and back: queries that
 * wait to be sent, those that were and wait for their answer, and the octets between
 * messages and TLS (RFC 7766 6.2.1.1: pipelined, answers in any order).
 */
struct connection {
	struct stream stream; /* closed: the slot is free */
	size_t index;         /* of the slot */
	size_t upstream;      /* whose it is */
	const struct edns_settings *edns;
	int idle_ms;                /* unused for so long, it is closed */
	uint32_t watched;           /* the events it is in the wait set with */
	bool draining;              /* takes no new query, and closes when no one waits for it */
	bool retries;               /* draining, but for retried queries until it is open */
	bool stalled;               /* nothing came for too long */
	bool gated;                 /* sends nothing but the canary until a response has come */
	bool has_answered;          /* at least once: it is a kept connection */
	size_t taken;               /* queries handed to it so far, without canaries */
	size_t answers;             /* responses so far, without those to canaries */
	struct attempt canary;      /* at most one is open on a connection */
	struct attempt *mismatched; /* its response was to another question; it waits again */
	unsigned canaries;          /* canaries answered since the last response to a query */
	struct deadline step_by;    /* connecting, then the handshake, must be done by then */
	struct deadline opened;
	struct deadline heard; /* the last message came then, or it was opened */
	struct deadline
	    owed_since; /* an answer is owed, and nothing has come, since then; or NEVER */
	struct attempt_list waiting; /* to be sent */
	struct attempt_list sent;    /* in that order; each has an ID */
	size_t outstanding;          /* the length of `sent' */
	unsigned given_up;           /* IDs that stay taken though nobody waits */
	uint8_t *in;                 /* frames that have come; room for one of the largest size */
	bool all_read;               /* the socket has nothing more until the wait says so */
	size_t in_pos;               /* in_pos <= in_len, always */
	size_t in_len;
	uint8_t *out; /* frames to send */
	size_t out_len;
};

/* The slots for connections of a worker, and their buffers. NULL with errno when there is no memory. */
struct connection *connection_table_new(size_t count);
void connection_table_free(struct connection *, size_t count);

/*
 * Puts a stream that was opened to an upstream into a free slot. What is sent on it is
 * what SETTINGS, which must outlive it, make of the queries.
 */
void connection_init(struct connection *, struct stream, size_t upstream,
    const struct edns_settings *settings, int idle_ms);

/* Closes it and frees the slot; its attempts have been released before. */
void connection_close(struct connection *, struct outstanding *);

/* Whether anybody waits for something on it. */
bool connection_is_idle(const struct connection *);

/*
 * Adds a canary to what waits: a query of our own whose response shows that the server is there.
 * It goes first, and alone on a connection that is gated. Not while one is open already.
 */
void connection_send_canary(struct connection *, struct query *canary);

/* Queries that were sent and have no response yet, without a canary. */
size_t connection_unanswered(const struct connection *);

/*
 * Sends all that waits, in one write as far as it goes, as one batch; each attempt gets
 * its ID, and NOW as the moment it was sent.
 * 0, or -1 with the reason when the connection is lost.
 */
int connection_send(struct connection *, struct outstanding *, struct deadline now,
    struct failure *why);

/* A message that came; the octets are the connection's, until the next call. */
struct arrival {
	struct attempt *attempt; /* NULL: no query waits for it any more */
	struct deadline since;   /* when its query was sent */
	enum dns_match match;    /* never DNS_MISMATCH */
	uint8_t *message;
	size_t len;
};

/*
 * The next message: 1, and its attempt has been taken off the connection; 0 when there is none now; -1 with the reason when the
 * connection has ended, or has brought what cannot be an answer (RFC 7766 7): then
 * nothing else on it can be trusted.
 */
int connection_receive(struct connection *, struct outstanding *, struct arrival *,
    struct deadline now, struct failure *why);

/* Adds a query to what waits, as an attempt that is not in use. */
void connection_add(struct connection *, struct attempt *, struct query *, enum edns_mode mode);

/* Takes an attempt off its connection, whether it was sent or not. */
void connection_release(struct attempt *, struct outstanding *);

#endif
