#ifndef DOTPROXY_CLEARTEXT_H
#define DOTPROXY_CLEARTEXT_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/fail.h"

/*
 * A non-blocking client for DNS over TCP in cleartext (RFC 7766), for upstreams of routes only. It
 * does not wait, retry or log. Nothing is encrypted or verified, so a server must have a private
 * address, see address_is_private(). Nothing turns a server of this kind into one of `dot', or the
 * other way round.
 */
struct cleartext_server;

/*
 * A server. NULL with the reason when its address is not private, or there is no memory. Freed with
 * cleartext_server_free(), after all its connections.
 */
struct cleartext_server *cleartext_server_new(const struct address *, struct failure *why);
void cleartext_server_free(struct cleartext_server *);

/* A digest of how a server is reached: its kind and its address. */
enum { CLEARTEXT_KEY_LEN = 32 };
void cleartext_server_key(const struct cleartext_server *, uint8_t key[static CLEARTEXT_KEY_LEN]);

/* One TCP connection to one server. */
struct cleartext;

/* Starts to connect. NULL with the reason when it failed at once. */
struct cleartext *cleartext_open(const struct cleartext_server *, struct failure *why);

/* Closes and frees; accepts NULL. */
void cleartext_close(struct cleartext *);

/* Whether the connection is established. */
bool cleartext_is_ready(const struct cleartext *);

/* The descriptor and the events (EPOLLIN, EPOLLOUT) to wait for. */
int cleartext_fd(const struct cleartext *);
uint32_t cleartext_events(const struct cleartext *);

/* Continues to connect. Returns 0, or -1 with the reason: then it must be closed. */
int cleartext_step(struct cleartext *, struct failure *why);

/*
 * Sets the reason for a connection that is not ready, or has no response, after MS milliseconds.
 * Returns -1.
 */
int cleartext_fail_timeout(const struct cleartext *, int ms, struct failure *why);

/*
 * Reads up to CAP bytes, at least 1. Returns their number, 0 when there are none now, or -1 with
 * the reason when either side has ended the connection; then it must be closed.
 */
ssize_t cleartext_read(struct cleartext *, uint8_t *buf, size_t cap, struct failure *why);

/* Writes bytes. Returns the number accepted, or 0 when it would block; -1 as cleartext_read(). */
ssize_t cleartext_write(struct cleartext *, const uint8_t *buf, size_t len, struct failure *why);

#endif
