#ifndef DOTPROXY_DNS_H
#define DOTPROXY_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads and writes DNS messages. Pure functions on their bytes: none allocates, keeps a pointer
 * or follows a compression pointer.
 */

enum {
	DNS_HEADER_LEN = 12,     /* RFC 1035 4.1.1 */
	DNS_MESSAGE_MAX = 65535, /* RFC 1035 4.2.2 */
	DNS_NAME_MAX = 255,
	DNS_QUESTION_MAX = DNS_NAME_MAX + 4,
	DNS_UDP_MIN = 512,           /* what any client takes by UDP (RFC 1035 4.2.1) */
	DNS_ERROR_MAX = DNS_UDP_MIN, /* what dns_write_error() writes at most */
	DNS_NAME_TEXT_MAX = 4 * DNS_NAME_MAX + 1,
	DNS_UDP_SIZE = 1232,    /* the UDP payload size that we announce */
	DNS_OWN_QUERY_MAX = 64, /* what dns_write_query() writes at most */
	DNS_NS_QUERY_MAX = 282, /* and dns_write_ns_query() */
	DNS_EDE_TEXT_MAX = 256
};

/* Bits of the header's flags (RFC 1035 4.1.1, RFC 4035 3.2). */
enum {
	DNS_FLAG_QR = 0x8000,
	DNS_FLAGS_OPCODE = 0x7800,
	DNS_FLAG_AA = 0x0400,
	DNS_FLAG_TC = 0x0200,
	DNS_FLAG_RD = 0x0100,
	DNS_FLAG_RA = 0x0080,
	DNS_FLAG_AD = 0x0020,
	DNS_FLAG_CD = 0x0010,
	DNS_FLAGS_RCODE = 0x000f
};

enum { DNS_CLASS_IN = 1 };

/* Types of records and of questions, as far as they matter here. */
enum {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_SOA = 6,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_TXT = 16,
	DNS_TYPE_SIG = 24,    /* RFC 2931 */
	DNS_TYPE_AAAA = 28,   /* RFC 3596 */
	DNS_TYPE_DS = 43,     /* RFC 4034 */
	DNS_TYPE_DNSKEY = 48, /* RFC 4034 */
	DNS_TYPE_TSIG = 250,  /* RFC 8945 */
	DNS_TYPE_IXFR = 251,  /* RFC 1995 */
	DNS_TYPE_AXFR = 252,  /* RFC 5936 */
	DNS_TYPE_ANY = 255    /* RFC 8482 */
};

/* Response codes (RFC 1035 4.1.1, RFC 6891 9). */
enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16
};

/* Extended DNS Errors (RFC 8914 4). */
enum dns_ede {
	DNS_EDE_NONE = -1,
	DNS_EDE_OTHER = 0,
	DNS_EDE_STALE_ANSWER = 3,
	DNS_EDE_CACHED_ERROR = 13,
	DNS_EDE_NOT_READY = 14,
	DNS_EDE_BLOCKED = 15,
	DNS_EDE_PROHIBITED = 18,
	DNS_EDE_STALE_NXDOMAIN = 19,
	DNS_EDE_NOT_SUPPORTED = 21,
	DNS_EDE_NO_REACHABLE_AUTHORITY = 22,
	DNS_EDE_NETWORK_ERROR = 23
};

/* Where the OPT record of a message is. */
struct dns_opt {
	size_t at;         /* where there is none: the end of the message */
	size_t len;        /* 0: there is none */
	size_t behind;     /* the records behind it */
	bool is_misplaced; /* one is in another section than the additional one */
};

/* What dns_read_query() found in a query. */
struct dns_query {
	uint16_t id;
	uint16_t flags;      /* the second 16 bits of the header, as sent */
	size_t question_len; /* bytes behind the header; 0: not one readable question */
	uint16_t qtype;
	uint16_t qclass;
	bool has_edns;      /* an OPT record was seen, be it in a broken message */
	bool dnssec_ok;     /* the DO bit of the first */
	uint16_t udp_size;  /* the requestor's payload size, as sent */
	size_t len;         /* up to the end of the last record; what is behind it is ignored */
	struct dns_opt opt; /* only in a query that is to be relayed, as is the next */
	bool is_signed;     /* TSIG or SIG(0) ends it: a changed byte would break it */
};

/* Questions that dot-proxy itself asks or answers. */
enum dns_own_question {
	DNS_OWN_HEALTH,  /* health.dot-proxy. CH TXT: answered here, as is the next */
	DNS_OWN_READY,   /* ready.dot-proxy. CH TXT */
	DNS_OWN_ROOT,    /* . IN NS: any resolver has the answer */
	DNS_OWN_NO_CACHE /* the same, with an option that no cache can answer (NSID) */
};

/* What is to be done with a message from a client. */
enum dns_verdict {
	DNS_RELAY, /* a well-formed query: ask an upstream */
	DNS_DROP,  /* shorter than a header, or a response: say nothing */
	DNS_ANSWER /* answer it here with the RCODE that came with the verdict */
};

/*
 * Reads a message of LEN bytes that a client sent. Fills in Q as far as the message
 * could be read, and *RCODE on DNS_ANSWER:
 * NOTIMP for an opcode other than QUERY (RFC 8906 3.1.4); FORMERR for more than one
 * question (RFC 9619 4), a QNAME that is broken or compressed, a broken record or
 * EDNS option, two OPT records (RFC 6891 6.1.1), bytes behind a signature; BADVERS for an
 * EDNS version over 0 (RFC 6891 6.1.3); NOERROR for no question at all (RFC 7873 5.4).
 */
enum dns_verdict dns_read_query(const uint8_t *msg, size_t len, struct dns_query *q,
    enum dns_rcode *rcode);

/*
 * Whether the question of a query, which has QUESTION_LEN bytes (0: there is none), is that one;
 * the case of letters does not matter.
 */
bool dns_question_is(const uint8_t *query, size_t question_len, enum dns_own_question);

/*
 * Whether a query that is to be relayed asks, in class IN, for resolver.arpa or a name below it,
 * which must not be forwarded (RFC 9462 6.1). Then *AT is where its name begins in the QNAME.
 */
bool dns_is_resolver_arpa(const uint8_t *query, const struct dns_query *q, size_t *at);

/* Whether any message of LEN bytes has one of the questions that are answered here. */
bool dns_question_is_own(const uint8_t *msg, size_t len);

/* Writes a query of our own, with RD and an OPT record. Returns the length. */
size_t dns_write_query(uint8_t out[static DNS_OWN_QUERY_MAX], uint16_t id, enum dns_own_question);

/* The same for the name servers of a name: LEN bytes, with the root's 0. */
size_t dns_write_ns_query(uint8_t out[static DNS_NS_QUERY_MAX], uint16_t id, const uint8_t *name,
    size_t len);

/* How a message from an upstream relates to the query it should answer. */
enum dns_match {
	DNS_MATCH,      /* it answers this question */
	DNS_MATCH_BARE, /* FORMERR, SERVFAIL, NOTIMP or REFUSED, without the question */
	DNS_MISMATCH    /* it is no answer to this query */
};

/*
 * Whether the message of LEN bytes from an upstream answers the query QUERY, whose
 * question (QUESTION_LEN bytes) follows its header: a whole header, QR set, the
 * opcode equal, one question with the same QNAME (whatever the case), QTYPE and
 * QCLASS (RFC 7766 7, RFC 5452 9.1). IDs are not compared: the caller has looked the
 * query up by it. Records behind the question are not looked at.
 */
enum dns_match dns_match_response(const uint8_t *msg, size_t len, const uint8_t *query,
    size_t question_len);

/*
 * Finds the OPT record of a response. Returns the length up to the end of its last record;
 * 0 when that cannot be read, or its OPT is broken, is not the only one, or is in another
 * section.
 */
size_t dns_read_response(const uint8_t *msg, size_t len, struct dns_opt *opt);

/*
 * The bytes of the one question behind the header: name, type and class. 0 when there
 * are fewer or more questions, or it cannot be read.
 */
size_t dns_question_len(const uint8_t *msg, size_t len);

/* The ID, and the flags, of a message with at least a header. */
uint16_t dns_id(const uint8_t *msg);
void dns_set_id(uint8_t *msg, uint16_t id);
uint16_t dns_flags(const uint8_t *msg);
void dns_set_flags(uint8_t *msg, uint16_t flags);

/*
 * The RCODE of a response with at least a header; with the upper bits of its OPT
 * record where it has a readable one.
 */
enum dns_rcode dns_response_rcode(const uint8_t *msg, size_t len);

/*
 * Whether a response carries an Extended DNS Error that says DNSSEC validation failed
 * (INFO-CODE 1, 2, 5 to 12): asking another server would not make it better.
 */
bool dns_response_is_bogus(const uint8_t *msg, size_t len);

/* Whether the first record of a response that has one question is a TXT of just this TEXT. */
bool dns_txt_equals(const uint8_t *msg, size_t len, const char *text);

/*
 * The text of a response's first Extended DNS Error, cut to what fits, with `?' for what is
 * not printable ASCII; empty when there is none. Returns TEXT.
 */
char *dns_format_ede(const uint8_t *msg, size_t len, char text[static DNS_EDE_TEXT_MAX]);

/*
 * Gives the question of a response that matches the letters of the client's question
 * (RFC 1035 2.3.3; clients that vary them, "0x20", compare).
 */
void dns_copy_question(uint8_t *response, const uint8_t *query, size_t question_len);

/*
 * Writes a response of our own to OUT (CAP bytes; DNS_ERROR_MAX is always enough):
 * the query's ID, opcode, RD and CD, RA set, the question where there is one, and,
 * only when the query had one, an OPT record, with an Extended DNS Error when EDE is
 * not DNS_EDE_NONE. TEXT (UTF-8, may be NULL) is cut to what fits. QUERY are the
 * bytes that Q was read from. Returns the length; 0 when CAP is too small.
 */
size_t dns_write_error(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    enum dns_rcode rcode, enum dns_ede ede, const char *text);

/* A record of a name that is answered here, in class IN. */
struct dns_record {
	struct dns_record *next; /* of the same name; NULL: it is the last one */
	uint16_t type;
	uint16_t len;
	const uint8_t *data;
};

/* A response with such records, or none, for dns_write_local(). */
struct dns_local {
	enum dns_rcode rcode;
	const struct dns_record *records; /* all that the QNAME has */
	size_t zone_at;                   /* where the name of the zone begins in the QNAME */
	uint32_t ttl;
	enum dns_ede ede; /* as for dns_write_error() */
	const char *text;
};

/* Whether a record in the list answers a question for that type, which may be ANY. */
bool dns_has_record(const struct dns_record *, uint16_t qtype);

/*
 * As dns_write_error(), with the records that answer the question, which there must be. Without
 * any, the authority section has a SOA of the zone, so that clients keep the response for the TTL
 * (RFC 2308 5; the rest of the SOA is that of RFC 6303 3).
 */
size_t dns_write_local(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    const struct dns_local *);

/*
 * As dns_write_error(), but NOERROR and one answer to the question, which there must be: a TXT
 * record with TEXT (up to 255 bytes) and a TTL of 0.
 */
size_t dns_write_text(uint8_t *out, size_t cap, const uint8_t *query, const struct dns_query *q,
    const char *text);

/*
 * Makes a response fit LIMIT bytes, DNS_UDP_MIN at least: one that is longer keeps its
 * header, with TC set (RFC 2181 9), its question and its OPT record, without the options
 * where they do not fit; nothing else. Returns the length.
 */
size_t dns_truncate(uint8_t *response, size_t len, size_t limit);

/*
 * Writes the QNAME of a question (QUESTION_LEN bytes, name, type and class) as text
 * in the presentation form of RFC 1035 5.1: one line, printable ASCII only, anything
 * else as \DDD. Returns TEXT.
 */
char *dns_format_qname(const uint8_t *question, size_t question_len,
    char text[static DNS_NAME_TEXT_MAX]);

/* The mnemonic of an RCODE, "SERVFAIL", else "RCODE 9". Returns TEXT. */
char *dns_format_rcode(enum dns_rcode, char text[static 20]);

/*
 * The mnemonic of the common types ("A", "AAAA", "MX"...), else "TYPE65280" (RFC 3597
 * 5). Returns TEXT.
 */
char *dns_format_type(uint16_t qtype, char text[static 10]);

#endif
