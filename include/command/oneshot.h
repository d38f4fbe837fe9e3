#ifndef DOTPROXY_ONESHOT_H
#define DOTPROXY_ONESHOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/deadline.h"
#include "base/fail.h"
#include "format/dns.h"
#include "format/frame.h"
#include "transport/stream.h"

/* A blocking client that sends one query and waits for the response. */

/* The last question and its response, both framed as over TCP. */
struct oneshot {
	uint8_t query[FRAME_PREFIX_LEN + DNS_NS_QUERY_MAX];
	size_t query_len;  /* of the message, as the next */
	size_t answer_len; /* 0: there is no response */
	uint8_t answer[FRAME_MAX];
};

enum oneshot_end {
	ONESHOT_ANSWERED,  /* `answer' has the response to the query */
	ONESHOT_UNREACHED, /* the address cannot be reached */
	ONESHOT_TIMED_OUT, /* the deadline passed without a response; WHY is not set */
	ONESHOT_FAILED
};

/* Makes the query, with a random ID. Returns 0, or -1 with the reason. */
int oneshot_begin(struct oneshot *, enum dns_own_question, struct failure *why);

/* The same for the name servers of a name in wire form. */
int oneshot_begin_ns(struct oneshot *, const uint8_t *name, size_t len, struct failure *why);

/*
 * Send the query and wait until the deadline for the response. Over UDP the query is sent again
 * every 500 ms. When there is no response, the reason is in WHY.
 */
enum oneshot_end oneshot_udp(struct oneshot *, const struct address *, struct deadline by,
    struct failure *why);
enum oneshot_end oneshot_tcp(struct oneshot *, const struct address *, struct deadline by,
    struct failure *why);

/* The same on a stream that is ready. */
enum oneshot_end oneshot_stream(struct oneshot *, struct stream *, struct deadline by,
    struct failure *why);

/* Waits until stream_step(), _read() or _write() can go on. Returns 0, or -1 with errno. */
int oneshot_wait(const struct stream *, struct deadline by);

/* The response without its prefix, of answer_len bytes. */
const uint8_t *oneshot_message(const struct oneshot *);

#endif
