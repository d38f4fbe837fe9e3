#ifndef DOTPROXY_ANSWER_H
#define DOTPROXY_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/dns.h"

/*
 * Which responses may be kept as answers to the same question, for how long (RFC 2308, RFC 8767 4),
 * and with which TTLs they are given later. Times are in seconds.
 *
 * Pure functions on the bytes of canonical responses (see edns_write_canonical()); none allocates or
 * keeps a pointer. Compression pointers are followed backwards only, and no name is longer than
 * DNS_NAME_MAX.
 */

/* How long answers are kept. */
struct answer_limits {
	uint32_t max_ttl;      /* at most */
	uint32_t min_ttl;      /* at least, up to `max_ttl' */
	uint32_t negative_ttl; /* at most, where there is no data */
};

enum answer_kind {
	ANSWER_NOT_KEPT,
	ANSWER_POSITIVE, /* it has what was asked for */
	ANSWER_NEGATIVE, /* there is no such name, or no such type at the name */
	ANSWER_FAILURE   /* an RCODE other than NOERROR and NXDOMAIN */
};

/* Why a response is not kept. */
enum answer_reason {
	ANSWER_KEPT,         /* it is */
	ANSWER_MALFORMED,    /* not a response to the question, or its records cannot be read */
	ANSWER_TRUNCATED,    /* TC is set */
	ANSWER_SIGNED,       /* by TSIG or SIG(0) */
	ANSWER_TYPE,         /* of the question: 0, OPT, or one of the meta types but ANY */
	ANSWER_INCONSISTENT, /* a CNAME that leads nowhere or to two names, NXDOMAIN with data */
	ANSWER_NO_SOA,       /* negative, without the zone's SOA record */
	ANSWER_ZERO_TTL,     /* not even for a second */
	ANSWER_REASONS
};

struct answer {
	enum answer_kind kind;
	enum answer_reason reason;
	uint32_t life;     /* 0 for ANSWER_FAILURE: up to the caller (RFC 9520 3.2) */
	size_t soa_ttl_at; /* where the TTL of the SOA of ANSWER_NEGATIVE is; else 0 */
};

/* Whether answers to questions of that QTYPE are ever kept: not to 0, OPT and meta types but ANY. */
bool answer_may_be_kept(const struct dns_query *);

/*
 * Judges a response of LEN bytes, the last OPT_LEN of which are its OPT record, to the query that Q
 * was read from, with the same question (see dns_match_response()).
 *
 * It is positive if the RCODE is NOERROR and the CNAME records lead from QNAME, over 16 of them at
 * most, to a name with a record of QTYPE; it then lives for the least TTL of all records. It is
 * negative if they do not, or the RCODE is NXDOMAIN, and there is a SOA record at or above the last
 * name; it then lives for the least of all TTLs, the SOA's MINIMUM and `negative_ttl' (RFC 2308 5).
 */
void answer_judge(const uint8_t *msg, size_t len, size_t opt_len, const struct dns_query *q,
    const struct answer_limits *, struct answer *);

/* The word for a reason in logs and counters: "malformed". */
const char *answer_reason_word(enum answer_reason);

/*
 * Lowers the TTL of the SOA record of a negative answer, which was judged so, to its life, for
 * which the client may keep it (RFC 2308 5). Does nothing to other answers.
 */
void answer_lower_soa(uint8_t *msg, size_t len, const struct answer *);

/*
 * Lowers each TTL of a kept response of LEN bytes by AGE, to CAP at most and 1 at least, and clears
 * AA. *OPT_LEN becomes the length of the OPT record that ends it; 0: there is none. False when the
 * bytes are no such response; then they may have been changed.
 */
bool answer_age(uint8_t *msg, size_t len, uint32_t age, uint32_t cap, size_t *opt_len);

/*
 * As answer_age(), for a response that may be out of date: a TTL that has run out becomes
 * ANSWER_STALE_TTL (RFC 8767 5), and no TTL is longer.
 */
enum { ANSWER_STALE_TTL = 30 };
bool answer_age_stale(uint8_t *msg, size_t len, uint32_t age, size_t *opt_len);

#endif
