#ifndef DOTPROXY_EDNS_H
#define DOTPROXY_EDNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/dns.h"

/*
 * EDNS is terminated here: towards the upstream and towards the client the OPT record is ours
 * (RFC 6891 6.2.6). Flags and options are forwarded, but for those that are hop-by-hop: Padding,
 * edns-tcp-keepalive, COOKIE and, unless configured, Client Subnet. Everything else is forwarded
 * unchanged, and so are a query that is signed and its response.
 *
 * Our OPT is the last record. Where the one that came is not, it is cut out and the records behind
 * it move up. Should any two bytes of these look like a compression pointer to what moves, these
 * records are left out: the additional section may always lack something (RFC 2181 9). What
 * precedes the OPT never moves.
 *
 * Pure functions on the bytes of messages; none allocates or keeps a pointer.
 */

struct edns_settings {
	bool padding;       /* pad queries (RFC 7830, RFC 8467 4.1) */
	bool client_subnet; /* forward the client's option; else ask the upstream not to use any */
	bool no_opt_out;    /* do not ask that either: no Client Subnet option at all */
	bool ask_ad;        /* set AD in queries (RFC 6840 5.7); see reply_finish() */
};

/* How much EDNS an upstream gets; each less than the one before. */
enum edns_mode {
	EDNS_OURS,   /* the client's OPT record, or a new one, with what we add */
	EDNS_CLIENT, /* the client's, with nothing added */
	EDNS_NONE    /* no OPT record */
};

/*
 * Writes what is sent upstream for the query that Q was read from, which is to be relayed; LEN
 * is that of Q. What we add (an OPT where there is none, edns-tcp-keepalive, the opt-out of
 * RFC 7871 7.1.2, Padding) is left out unless MODE is EDNS_OURS, and where the message would be
 * longer than DNS_MESSAGE_MAX. Returns the length; 0 when it is over CAP.
 */
size_t edns_write_query(uint8_t *out, size_t cap, const uint8_t *query, size_t len,
    const struct dns_query *q, const struct edns_settings *settings, enum edns_mode mode);

/* What edns_read_response() found in a message from an upstream. */
struct edns_response {
	bool is_readable; /* its records, and its OPT record if any, are well formed */
	size_t len;       /* up to the end of its last record */
	struct dns_opt opt;
	int keepalive_ms; /* how long the server keeps an idle connection (RFC 7828); -1: unknown */
};

void edns_read_response(const uint8_t *msg, size_t len, struct edns_response *r);

/*
 * Writes what is kept of the response of LEN bytes that R was read from, for any client: the
 * message, and as the last record an OPT with the options that cross, if it had an OPT. The
 * length of that record goes to *OPT_LEN, 0 when there is none. Bytes behind the last record are
 * left out. A message that IS_SIGNED stays as it is. OUT has room for DNS_MESSAGE_MAX bytes.
 * Returns the length; 0 when the response is not readable.
 */
size_t edns_write_canonical(uint8_t *out, const uint8_t *msg, size_t len,
    const struct edns_response *r, const struct edns_settings *settings, bool is_signed,
    size_t *opt_len);

/*
 * Turns such a message, in place, into what the client of the query Q gets: with an OPT record only
 * if Q had one; one that is added has DO as in Q (RFC 3225 3). Without, an RCODE that needs one
 * (RFC 6891 6.1.3) becomes SERVFAIL. MSG has room for DNS_MESSAGE_MAX bytes. Returns the length.
 */
size_t edns_finish_response(uint8_t *msg, size_t len, size_t opt_len, const struct dns_query *q);

/*
 * Leaves of such a message, in place, what may be given to any client later: of the OPT record DO,
 * the RCODE, and the first two Extended DNS Errors with up to 128 bytes of their text; no record
 * where there is neither an RCODE that needs it nor an error. Updates *OPT_LEN. Returns the length.
 */
size_t edns_keep_errors(uint8_t *msg, size_t len, size_t *opt_len);

/*
 * Adds an Extended DNS Error without a text to such a message for the client of the query Q,
 * in place, if there is space for it. Updates *OPT_LEN. Returns the length.
 */
size_t edns_add_error(uint8_t *msg, size_t len, size_t *opt_len, const struct dns_query *q,
    enum dns_ede ede);

/*
 * Whether the query that Q was read from, which is to be relayed, has EDNS options or flags (but
 * DO) that are forwarded: the response may then be for its client only.
 */
bool edns_is_special(const uint8_t *query, const struct dns_query *q,
    const struct edns_settings *settings);

#endif
