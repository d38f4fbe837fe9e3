#ifndef DOTPROXY_STREAM_H
#define DOTPROXY_STREAM_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "transport/cleartext.h"
#include "transport/dot.h"

/*
 * The transport below a connection, of either kind: TLS, or TCP in cleartext for upstreams of
 * routes. Each function is a switch over the kinds. None of them blocks.
 */
enum stream_kind { STREAM_CLOSED, STREAM_TLS, STREAM_CLEARTEXT };

struct stream {
	enum stream_kind kind;
	union {
		struct dot *tls;
		struct cleartext *cleartext;
	};
};

/* Starts to open a stream: as dot_open(). 0, or -1 with the reason. */
int stream_open_tls(struct stream *, struct dot_server *, const uint8_t *session, size_t len,
    struct failure *why);

/* The same in cleartext: as cleartext_open(). */
int stream_open_cleartext(struct stream *, const struct cleartext_server *, struct failure *why);

/* Closes the stream, with close_notify where that does not block. */
void stream_close(struct stream *);

bool stream_is_open(const struct stream *);

/* The stage of a stream; in cleartext there is no handshake. This and all functions below need an open stream. */
enum stream_stage { STREAM_CONNECTING, STREAM_HANDSHAKING, STREAM_READY };
enum stream_stage stream_stage(const struct stream *);

/* The descriptor and the events (EPOLLIN, EPOLLOUT) to wait for. */
int stream_fd(const struct stream *);
uint32_t stream_events(const struct stream *);

/* Continues to open it. Returns 0, or -1 with the reason: then it must be closed. */
int stream_step(struct stream *, struct failure *why);

/* Sets the reason when it is not ready, or has no response, after MS milliseconds. Returns -1. */
int stream_fail_timeout(struct stream *, int ms, struct failure *why);

/* Whether to retry at once: see dot_should_retry_reduced(). */
bool stream_should_retry_reduced(const struct stream *);

/* How the retry differs: see dot_retry_text(). */
const char *stream_retry_text(const struct stream *);

/* Whether nothing may be sent on it any more: see dot_has_expired(). */
bool stream_has_expired(const struct stream *);

/* Reads up to CAP bytes: their number, 0 when there are none now, -1 with the reason. */
ssize_t stream_read(struct stream *, uint8_t *buf, size_t cap, struct failure *why);

/* Whether stream_read() has bytes that epoll does not report. */
bool stream_has_read_ahead(const struct stream *);

/* Writes bytes, as dot_write(): the number accepted, 0 when none now, -1 with the reason. */
ssize_t stream_write(struct stream *, const uint8_t *buf, size_t len, struct failure *why);

/* The negotiated parameters of a stream that is ready. In cleartext the version is "none". */
void stream_describe(const struct stream *, struct dot_facts *);

#endif
