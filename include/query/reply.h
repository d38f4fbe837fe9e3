#ifndef DOTPROXY_REPLY_H
#define DOTPROXY_REPLY_H

#include "query/query.h"

/* The last steps before a response is sent, which adapt it to its client. */

/*
 * Turns a canonical response into the client's: with the ID of the query, the question in the
 * client's spelling, and an OPT record if the client sent one. Where the settings have `ask_ad',
 * the response may be the answer to another client's query: RD and CD are then as in this one, and
 * AD is only given to a client that has set AD or DO (RFC 6840 5.8).
 */
void reply_finish(struct query *, const struct edns_settings *);

/*
 * Truncates a response over UDP to what the client, or UDP_SIZE, allows (RFC 6891 6.2.3; RFC 1035
 * 4.2.1 without EDNS).
 */
void reply_truncate(struct query *, int udp_size);

#endif
