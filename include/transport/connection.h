#ifndef DOTPROXY_CONNECTION_H
#define DOTPROXY_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/fail.h"
#include "format/edns.h"
#include "query/query.h"
#include "transport/stream.h"

/*
 * One connection to an upstream: the queries that wait to be sent, those that wait for their
 * response, and the buffers between messages and TLS (RFC 7766 6.2.1.1: queries are pipelined,
 * responses come in any order).
 */
struct connection;

/* The connection slots of a worker, with their buffers and the message IDs in use. */
struct connection_table;

/*
 * COUNT slots, and IDs for at most ATTEMPTS attempts. NULL with errno when there is no memory.
 * Freed with its connections; NULL is fine.
 */
struct connection_table *connection_table_new(size_t count, size_t attempts);
void connection_table_free(struct connection_table *);

/* A slot; it belongs to the table. */
struct connection *connection_table_slot(struct connection_table *, size_t index);

/*
 * Puts an opened stream into a free slot, at NOW. Queries are rewritten for the upstream by
 * SETTINGS, which must outlive the connection.
 */
void connection_open(struct connection *, struct stream, const struct edns_settings *settings,
    struct deadline now);

/*
 * Closes the connection and frees the slot and its IDs. Attempts that are still on it are taken
 * with connection_take() before the slot is used again; the canary is released.
 */
void connection_close(struct connection *);

/* The stream of a slot, always the same; closed while the slot is free. */
struct stream *connection_stream(struct connection *);

/* What has happened on a connection since it was opened. */
struct connection_facts {
	bool is_gated;                    /* sends only the canary until the first response */
	bool has_answered;                /* at least once: a persistent connection */
	size_t taken;                     /* queries added so far, without canaries */
	size_t answers;                   /* responses so far, without those to canaries */
	size_t unanswered;                /* queries sent that wait for their response; no canary */
	unsigned given_up;                /* IDs in use although no query waits */
	unsigned canaries;                /* answered since the last response to a query */
	struct deadline heard;            /* the last message received, or else the opening */
	struct deadline owed_since;       /* a response is due, and none was received; or NEVER */
	const struct attempt *mismatched; /* its response had another question; it waits again */
};

/* The facts of a slot, always at the same place and up to date. */
const struct connection_facts *connection_facts(const struct connection *);

/* Whether no query waits for it, neither to be sent nor for a response. */
bool connection_is_idle(const struct connection *);

/* Whether connection_send() has something to send, on a stream that is ready. */
bool connection_has_unsent(const struct connection *);

/*
 * Queues a canary: a query of our own whose response shows that the server is alive. It is sent
 * first. Does nothing while another canary is open.
 */
void connection_send_canary(struct connection *, struct query *canary);

/* The same on a new connection, which sends nothing else before it has been answered. */
void connection_begin_with_canary(struct connection *, struct query *canary);

/* Whether a canary may be of use: none is open, and no message was received in part. */
bool connection_takes_canary(const struct connection *);

/* Releases the canary, if one is open. */
void connection_release_canary(struct connection *);

/* Queues a query on the connection, as an attempt that must be free. */
void connection_add(struct connection *, struct attempt *, struct query *, enum edns_mode mode);

/*
 * Sends the waiting queries in as few TLS writes as possible; each attempt gets its ID, and NOW as
 * the moment of sending. Returns 0, or -1 with the reason when the connection has failed.
 */
int connection_send(struct connection *, struct deadline now, struct failure *why);

/* A received message; its bytes belong to the connection and are valid until the next call. */
struct arrival {
	struct attempt *attempt; /* NULL: its query was given up, or it was the canary */
	bool is_canary;
	struct deadline since; /* when its query was sent */
	enum dns_match match;  /* never DNS_MISMATCH */
	uint8_t *message;
	size_t len;
};

/*
 * Receives the next message. Returns 1, with its attempt removed from the connection; 0 when there
 * is no message now; -1 with the reason when the connection has ended, or when a message cannot be
 * a response (RFC 7766 7): then nothing else on the connection can be trusted.
 */
int connection_receive(struct connection *, struct arrival *, struct deadline now,
    struct failure *why);

/* Removes an attempt from its connection, whether it was sent or not. */
void connection_release(struct attempt *);

/* The attempt that was sent after this one (NULL: the first), and has no response. NULL: none. */
struct attempt *connection_next_sent(const struct connection *, const struct attempt *);

/*
 * Removes the next attempt that was not sent, so that it can be made elsewhere; once the connection
 * is closed, any attempt, those that were sent first. Its `sent' stays as it was. NULL: none is
 * left. A canary that was not sent is released.
 */
struct attempt *connection_take(struct connection *);

#endif
