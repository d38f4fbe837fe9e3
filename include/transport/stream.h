#ifndef DOTPROXY_STREAM_H
#define DOTPROXY_STREAM_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "transport/dot.h"

/*
 * What a connection needs of its transport. There is one kind, TLS; each function is a switch over
 * the kinds. None of them waits.
 */
enum stream_kind { STREAM_CLOSED, STREAM_TLS };

struct stream {
	enum stream_kind kind;
	union {
		struct dot *tls;
	};
};

/* Starts to open a stream: as dot_open(). 0, or -1 with the reason. */
int stream_open_tls(struct stream *, struct dot_server *, const uint8_t *session, size_t len,
    struct failure *why);

/* Closes it, politely where that takes no wait. */
void stream_close(struct stream *);

bool stream_is_open(const struct stream *);

/* How far a stream is that is open: all that follow are for such a one. */
enum stream_stage { STREAM_CONNECTING, STREAM_HANDSHAKING, STREAM_READY };
enum stream_stage stream_stage(const struct stream *);

/* The descriptor to wait for, and the events (EPOLLIN, EPOLLOUT), of which it wants one. */
int stream_fd(const struct stream *);
uint32_t stream_events(const struct stream *);

/* Goes on with opening as far as it goes now. 0, or -1 with the reason: then it can only be closed. */
int stream_step(struct stream *, struct failure *why);

/* The reason when a stream is not ready, or brings no answer, after MS milliseconds. Returns -1. */
int stream_fail_timeout(struct stream *, int ms, struct failure *why);

/* Whether the next attempt to open one may succeed at once, since it leaves out what made this one fail. */
bool stream_may_try_again(const struct stream *);

/* Whether nothing may be sent on it any more: see dot_has_expired(). */
bool stream_has_expired(const struct stream *);

/* Bytes that have come, up to CAP: their number, 0 when there are none now, -1 with the reason. */
ssize_t stream_read(struct stream *, uint8_t *buf, size_t cap, struct failure *why);

/* Whether bytes wait here for stream_read() that no wait reports. */
bool stream_has_read_ahead(const struct stream *);

/* Hands over bytes: the number that was taken, 0 when none is now, -1 with the reason; as dot_write(). */
ssize_t stream_write(struct stream *, const uint8_t *buf, size_t len, struct failure *why);

/* What was agreed on a stream that is ready. */
void stream_describe(const struct stream *, struct dot_facts *);

#endif
