#ifndef DOTPROXY_REPLY_H
#define DOTPROXY_REPLY_H

#include "query/query.h"

/* The last steps before a response is sent, which adapt it to its client. */

/*
 * Turns a canonical response into the client's: with the ID of the query, the question in the
 * client's spelling, and an OPT record if the client sent one.
 */
void reply_finish(struct query *);

/*
 * Truncates a response over UDP to what the client, or UDP_SIZE, allows (RFC 6891 6.2.3; RFC 1035
 * 4.2.1 without EDNS).
 */
void reply_truncate(struct query *, int udp_size);

#endif
