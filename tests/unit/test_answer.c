#include "format/answer.h"

#include "base/wire.h"

#include "message.h"
#include "unit.h"

#define HEAD(flags, an, ns, ar) ID flags COUNTS("\1", an, ns, ar)
#define OK "\x81\x80"
#define NX "\x81\x83"
#define FAILED "\x81\x82"

/* The question is for `www.example.test', at 12; its zone is at 16, and the records are at 34. */
#define WWW "\3www\7example\4test\0"
#define ASKED(type) WWW "\0" type IN
#define ASKED_A ASKED("\1")
#define AT_QNAME "\300\14"
#define AT_ZONE "\300\20"
#define AT_TLD "\300\30"
enum { ASKED_LEN = sizeof(ASKED_A) - 1 };

#define T(seconds) "\0\0\0" seconds
#define RR(owner, type, ttl, len, data) owner "\0" type IN ttl "\0" len data
#define A(owner, ttl) RR(owner, "\1", ttl, "\4", "\300\0\2\1")
#define AAAA(owner, ttl) RR(owner, "\34", ttl, "\20", "0123456789abcdef")
#define NS(owner, ttl) RR(owner, "\2", ttl, "\2", AT_QNAME)
#define CNAME(owner, ttl, len, target) RR(owner, "\5", ttl, len, target)
#define SOA(owner, ttl, minimum) \
	RR(owner, "\6", ttl, "\30", "\1m\0" "\0" "0123456789abcdef" minimum)
#define RRSIG(owner, ttl) RR(owner, "\56", ttl, "\3", "sig")
#define OPT(rcode) "\0\0\51\4\xd0" rcode "\0\0\0\0\0"
enum { OPT_ALONE = 11 };

static const struct answer_limits usual = { .max_ttl = 200, .min_ttl = 0, .negative_ttl = 100 };
static const struct answer_limits least_5 = { .max_ttl = 200, .min_ttl = 5, .negative_ttl = 100 };
static const struct answer_limits no_negative = { .max_ttl = 200, .min_ttl = 5 };
static const struct answer_limits short_max = { .max_ttl = 3, .min_ttl = 5, .negative_ttl = 100 };

static const struct judge_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	size_t opt_len;
	enum answer_kind kind;
	enum answer_reason reason;
	uint32_t life;
	const struct answer_limits *limits; /* NULL: the usual ones */
} judge_rows[] = {
	{ "K-06 one record", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))), 0,
	    ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "K-06 the least TTL of all sections",
	    BYTES(HEAD(OK, "\2", "\1", "\1") ASKED_A A(AT_QNAME, T("\74")) A(AT_QNAME, T("\73"))
		    NS(AT_ZONE, T("\72")) A(AT_ZONE, T("\71"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 57, NULL },
	{ "K-06 TTL 0", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\0"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_ZERO_TTL, 0, NULL },
	{ "K-06 TTL 1", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\1"))), 0,
	    ANSWER_POSITIVE, ANSWER_KEPT, 1, NULL },
	{ "K-06 TTL 2^31 - 1",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, "\177\377\377\377")), 0,
	    ANSWER_POSITIVE, ANSWER_KEPT, 200, NULL },
	{ "K-06 TTL 2^31",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, "\200\0\0\0")), 0,
	    ANSWER_POSITIVE, ANSWER_KEPT, 200, NULL },
	{ "K-06 TTL 2^32 - 1, and 60",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))
		    A(AT_QNAME, "\377\377\377\377")),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "K-54 TTL 1 is stretched", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\1"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 5, &least_5 },
	{ "K-54 TTL 0 is stretched", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\0"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 5, &least_5 },
	{ "K-54 not beyond max_ttl", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\1"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 3, &short_max },
	{ "the TTL of the OPT does not count",
	    BYTES(HEAD(OK, "\1", "\0", "\1") ASKED_A A(AT_QNAME, T("\74")) OPT("\0")), OPT_ALONE,
	    ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "owner spelled out, in another case",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A("\3WwW\7EXAMPLE\4tesT\0", T("\74"))), 0,
	    ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "owner compressed in its middle",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A("\3www" AT_ZONE, T("\74"))), 0,
	    ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "pointer to a pointer",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A AAAA(AT_QNAME, T("\74")) A("\300\42",
		T("\74"))), 0, ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "K-40 RRSIG asked",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED("\56") RRSIG(AT_QNAME, T("\74"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "K-40 ANY asked",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED("\377") CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)
		    RRSIG(AT_QNAME, T("\73"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 59, NULL },
	{ "CNAME asked",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED("\5") CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },

	/* Chains: the target of the first record is at 46. */
	{ "CNAME and its target",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\4", "\1a" AT_ZONE)
		    A("\300\56", T("\62"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 50, NULL },
	{ "the target before the CNAME",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A("\1a" AT_ZONE, T("\62"))
		    CNAME(AT_QNAME, T("\74"), "\4", "\1A" AT_ZONE)),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 50, NULL },
	{ "two links in any order",
	    BYTES(HEAD(OK, "\3", "\0", "\0") ASKED_A CNAME("\1a" AT_ZONE, T("\74"), "\3", "\1b\0")
		    A("\1B\0", T("\62")) CNAME(AT_QNAME, T("\74"), "\4", "\1A" AT_ZONE)),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 50, NULL },
	{ "the same CNAME twice",
	    BYTES(HEAD(OK, "\3", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)
		    CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE) A(AT_ZONE, T("\62"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 50, NULL },
	{ "CNAME of another name",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A CNAME(AT_ZONE, T("\74"), "\2", AT_TLD)
		    A(AT_QNAME, T("\62"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 50, NULL },
	{ "CNAME of another class",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A AT_QNAME "\0\5\0\3" T("\74") "\0\2" AT_ZONE
		    A(AT_QNAME, T("\62"))),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 50, NULL },
	{ "K-31 dangling CNAME",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)), 0,
	    ANSWER_NOT_KEPT, ANSWER_INCONSISTENT, 0, NULL },
	{ "K-31 wrong type at the end",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)
		    AAAA(AT_ZONE, T("\74"))),
	    0, ANSWER_NOT_KEPT, ANSWER_INCONSISTENT, 0, NULL },
	{ "K-31 loop",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)
		    CNAME(AT_ZONE, T("\74"), "\2", AT_QNAME)),
	    0, ANSWER_NOT_KEPT, ANSWER_INCONSISTENT, 0, NULL },
	{ "K-31 CNAME to itself",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\2", AT_QNAME)
		    A(AT_QNAME, T("\74"))),
	    0, ANSWER_NOT_KEPT, ANSWER_INCONSISTENT, 0, NULL },
	{ "K-31 two targets",
	    BYTES(HEAD(OK, "\3", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)
		    CNAME(AT_QNAME, T("\74"), "\2", AT_TLD) A(AT_ZONE, T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_INCONSISTENT, 0, NULL },
	{ "K-31 CNAME in another section",
	    BYTES(HEAD(OK, "\1", "\1", "\0") ASKED_A A(AT_ZONE, T("\62"))
		    CNAME(AT_QNAME, T("\74"), "\2", AT_ZONE)),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "K-10 data in another section",
	    BYTES(HEAD(OK, "\0", "\1", "\1") ASKED_A A(AT_QNAME, T("\74")) A(AT_QNAME, T("\74"))),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "K-10 data of another name",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A(AT_ZONE, T("\74"))
		    A("\3wwx" AT_ZONE, T("\74"))),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "data of another class",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A AT_QNAME TYPE_A "\0\3" T("\74")
		"\0\4\300\0\2\1"), 0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "CNAME with a byte after the name",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\3", AT_ZONE "x")
		    A(AT_ZONE, T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "CNAME without a name",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\0", "")
		    A(AT_ZONE, T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },

	/* Names that cannot be read are no data. The first record is at 34. */
	{ "pointer to itself",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A("\300\42", T("\74"))), 0, ANSWER_NOT_KEPT,
	    ANSWER_NO_SOA, 0, NULL },
	{ "pointer forward", BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A("\300\62", T("\74"))
	    A(AT_QNAME, T("\74"))), 0, ANSWER_POSITIVE, ANSWER_KEPT, 60, NULL },
	{ "pointer into the header",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A("\300\12", T("\74"))),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "labels that point at themselves",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A("\3www\300\42", T("\74"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },

	{ "K-05 NXDOMAIN",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\74"), T("\62"))),
	    0, ANSWER_NEGATIVE, ANSWER_KEPT, 50, NULL },
	{ "K-05 NODATA", BYTES(HEAD(OK, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\74"), T("\62"))),
	    0, ANSWER_NEGATIVE, ANSWER_KEPT, 50, NULL },
	{ "K-05 NXDOMAIN without SOA", BYTES(HEAD(NX, "\0", "\0", "\0") ASKED_A), 0,
	    ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "K-05 NODATA without SOA",
	    BYTES(HEAD(OK, "\0", "\1", "\0") ASKED_A NS(AT_ZONE, T("\74"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "K-33 SOA with a smaller TTL",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\2"), "\0\0\2\130")), 0,
	    ANSWER_NEGATIVE, ANSWER_KEPT, 2, NULL },
	{ "K-33 SOA with a smaller MINIMUM",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, "\0\0\2\130", T("\2"))), 0,
	    ANSWER_NEGATIVE, ANSWER_KEPT, 2, NULL },
	{ "K-05 negative_ttl",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\310"), T("\310"))), 0,
	    ANSWER_NEGATIVE, ANSWER_KEPT, 100, NULL },
	{ "K-05 another TTL is less",
	    BYTES(HEAD(NX, "\0", "\2", "\0") ASKED_A SOA(AT_ZONE, T("\74"), T("\62"))
		    RRSIG(AT_ZONE, T("\7"))),
	    0, ANSWER_NEGATIVE, ANSWER_KEPT, 7, NULL },
	{ "MINIMUM 0", BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\74"), T("\0"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_ZERO_TTL, 0, NULL },
	{ "MINIMUM 2^31",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\74"), "\200\0\0\0")), 0,
	    ANSWER_NEGATIVE, ANSWER_KEPT, 60, NULL },
	{ "K-54 MINIMUM 1 is stretched",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\74"), T("\1"))), 0,
	    ANSWER_NEGATIVE, ANSWER_KEPT, 5, &least_5 },
	{ "negative_ttl 0",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\74"), T("\62"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_ZERO_TTL, 0, &no_negative },
	{ "SOA of QNAME itself",
	    BYTES(HEAD(OK, "\0", "\1", "\0") ASKED_A SOA(AT_QNAME, T("\74"), T("\62"))),
	    0, ANSWER_NEGATIVE, ANSWER_KEPT, 50, NULL },
	{ "SOA of the root",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA("\0", T("\74"), T("\62"))), 0,
	    ANSWER_NEGATIVE, ANSWER_KEPT, 50, NULL },
	{ "SOA spelled out, in another case",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA("\7eXample\4TEST\0", T("\74"), T("\62"))),
	    0, ANSWER_NEGATIVE, ANSWER_KEPT, 50, NULL },
	{ "SOA below",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA("\1a" AT_QNAME, T("\74"), T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "SOA of a sibling",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA("\7exampla" AT_TLD, T("\74"), T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "SOA with half a label in common",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA("\4mple" AT_TLD, T("\74"), T("\62"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "SOA whose owner cannot be read",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA("\300\42", T("\74"), T("\62"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "SOA in another section",
	    BYTES(HEAD(NX, "\1", "\0", "\1") ASKED_A SOA(AT_ZONE, T("\74"), T("\62"))
		    SOA(AT_ZONE, T("\74"), T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "SOA of another class",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A AT_ZONE "\0\6\0\3" T("\74")
		    "\0\30" "\1m\0" "\0" "0123456789abcdef" T("\62")),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "SOA that is too short",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A RR(AT_ZONE, "\6", T("\74"), "\25",
		"\0\0" "0123456789abcdef" "\0\0\0")),
	    0, ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "SOA that is too long",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A RR(AT_ZONE, "\6", T("\74"), "\27",
		"\0\0" "0123456789abcdef" "\0\0\0\1x")),
	    0, ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "K-30 NXDOMAIN at the end of a CNAME",
	    BYTES(HEAD(NX, "\1", "\1", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\6", "\1a\2xy\0")
		    SOA("\2xy\0", T("\74"), T("\62"))),
	    0, ANSWER_NEGATIVE, ANSWER_KEPT, 50, NULL },
	{ "K-32 CNAME and SOA",
	    BYTES(HEAD(OK, "\1", "\1", "\0") ASKED_A CNAME(AT_QNAME, T("\7"), "\6", "\1a\2xy\0")
		    SOA("\2xy\0", T("\74"), T("\62"))),
	    0, ANSWER_NEGATIVE, ANSWER_KEPT, 7, NULL },
	{ "K-30 SOA of QNAME, not of the target",
	    BYTES(HEAD(NX, "\1", "\1", "\0") ASKED_A CNAME(AT_QNAME, T("\74"), "\6", "\1a\2xy\0")
		    SOA(AT_ZONE, T("\74"), T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_NO_SOA, 0, NULL },
	{ "NXDOMAIN with data",
	    BYTES(HEAD(NX, "\1", "\1", "\0") ASKED_A A(AT_QNAME, T("\74"))
		    SOA(AT_ZONE, T("\74"), T("\62"))),
	    0, ANSWER_NOT_KEPT, ANSWER_INCONSISTENT, 0, NULL },

	{ "K-08 SERVFAIL", BYTES(HEAD(FAILED, "\0", "\0", "\0") ASKED_A), 0, ANSWER_FAILURE,
	    ANSWER_KEPT, 0, NULL },
	{ "K-08 REFUSED with data",
	    BYTES(HEAD("\x81\x85", "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))), 0,
	    ANSWER_FAILURE, ANSWER_KEPT, 0, NULL },
	{ "K-08 extended RCODE",
	    BYTES(HEAD(OK, "\1", "\0", "\1") ASKED_A A(AT_QNAME, T("\74")) OPT("\1")), OPT_ALONE,
	    ANSWER_FAILURE, ANSWER_KEPT, 0, NULL },
	{ "K-08 malformed SERVFAIL", BYTES(HEAD(FAILED, "\1", "\0", "\0") ASKED_A "\0"), 0,
	    ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "K-08 TC", BYTES(HEAD("\x83\x80", "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_TRUNCATED, 0, NULL },
	{ "K-08 QR=0", BYTES(HEAD("\1\0", "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "another opcode", BYTES(HEAD("\x89\x80", "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))),
	    0, ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "no question", BYTES(ID OK COUNTS("\0", "\0", "\0", "\0")), 0, ANSWER_NOT_KEPT,
	    ANSWER_MALFORMED, 0, NULL },
	{ "two questions", BYTES(ID OK COUNTS("\2", "\0", "\0", "\0") ASKED_A ASKED_A), 0,
	    ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "K-08 bytes behind the last record",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74")) "x"), 0, ANSWER_NOT_KEPT,
	    ANSWER_MALFORMED, 0, NULL },
	{ "record that is missing", BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))),
	    0, ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "OPT that is not the last record",
	    BYTES(HEAD(OK, "\1", "\0", "\1") ASKED_A OPT("\0") A(AT_QNAME, T("\74"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "OPT that is not counted",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74")) OPT("\0")), OPT_ALONE,
	    ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "OPT that is none",
	    BYTES(HEAD(OK, "\1", "\0", "\1") ASKED_A A(AT_QNAME, T("\74"))
		"\0\0\50\0\0\0\0\0\0\0\0"), OPT_ALONE, ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "OPT length over the message", BYTES(HEAD(OK, "\0", "\0", "\1") ASKED_A), 99,
	    ANSWER_NOT_KEPT, ANSWER_MALFORMED, 0, NULL },
	{ "K-38 TSIG", BYTES(HEAD(OK, "\1", "\0", "\1") ASKED_A A(AT_QNAME, T("\74")) TSIG), 0,
	    ANSWER_NOT_KEPT, ANSWER_SIGNED, 0, NULL },
	{ "K-38 TSIG and OPT",
	    BYTES(HEAD(OK, "\1", "\0", "\2") ASKED_A A(AT_QNAME, T("\74")) TSIG OPT("\0")),
	    OPT_ALONE, ANSWER_NOT_KEPT, ANSWER_SIGNED, 0, NULL },
	{ "K-38 SIG(0)", BYTES(HEAD(OK, "\1", "\0", "\1") ASKED_A A(AT_QNAME, T("\74")) SIG_0), 0,
	    ANSWER_NOT_KEPT, ANSWER_SIGNED, 0, NULL },
	{ "SIG that covers a type",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))
		    RR(AT_QNAME, "\30", T("\73"), "\2", "\0\1")),
	    0, ANSWER_POSITIVE, ANSWER_KEPT, 59, NULL },
	{ "SIG without data",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))
		    RR(AT_QNAME, "\30", T("\73"), "\0", "")),
	    0, ANSWER_NOT_KEPT, ANSWER_SIGNED, 0, NULL },
	{ "K-39 QTYPE 0",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED("\0") SOA(AT_ZONE, T("\74"), T("\62"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_TYPE, 0, NULL },
	{ "K-39 OPT",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED("\51") SOA(AT_ZONE, T("\74"), T("\62"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_TYPE, 0, NULL },
	{ "the type before the meta types",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED("\177") SOA(AT_ZONE, T("\74"), T("\62"))), 0,
	    ANSWER_NEGATIVE, ANSWER_KEPT, 50, NULL },
	{ "K-39 the first meta type",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED("\200") SOA(AT_ZONE, T("\74"), T("\62"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_TYPE, 0, NULL },
	{ "K-39 IXFR", BYTES(HEAD(FAILED, "\0", "\0", "\0") ASKED("\373")), 0, ANSWER_NOT_KEPT,
	    ANSWER_TYPE, 0, NULL },
	{ "K-39 the last meta type",
	    BYTES(HEAD(NX, "\0", "\1", "\0") ASKED("\376") SOA(AT_ZONE, T("\74"), T("\62"))), 0,
	    ANSWER_NOT_KEPT, ANSWER_TYPE, 0, NULL },
};

/* The query that has the question of a message, if that has one. */
static struct dns_query
query_of(const uint8_t *msg, size_t len)
{
	struct dns_query q = { .question_len = ASKED_LEN, .qtype = 1, .qclass = 1 };
	struct wire_reader r;

	if (len < DNS_HEADER_LEN + ASKED_LEN)
		return q;
	wire_reader_init(&r, msg, len);
	wire_skip(&r, DNS_HEADER_LEN + ASKED_LEN - 4);
	q.qtype = wire_read_u16(&r);
	q.qclass = wire_read_u16(&r);
	return q;
}

static void
judges(void **state)
{
	const struct judge_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	struct dns_query q = query_of(msg, row->len);
	struct answer a;

	answer_judge(msg, row->len, row->opt_len, &q, row->limits != NULL ? row->limits : &usual,
	    &a);
	assert_int_equal(a.kind, row->kind);
	assert_string_equal(answer_reason_word(a.reason), answer_reason_word(row->reason));
	assert_int_equal(a.life, row->life);
	assert_int_equal(a.soa_ttl_at > 0, a.kind == ANSWER_NEGATIVE);
	assert_memory_equal(msg, row->data, row->len);
	free(msg);
}

/* No shorter message is kept, and none is read past its end. */
static void
keeps_no_part(void **state)
{
	const struct judge_row *row = *state;
	struct dns_query q = query_of(row->data, row->len);
	size_t len, opt_len;
	struct answer a;
	uint8_t *msg;

	for (len = 0; len < row->len; len++) {
		msg = tight_copy(row->data, len);
		answer_judge(msg, len, len < row->opt_len ? len : row->opt_len, &q, &usual, &a);
		assert_int_equal(a.kind, ANSWER_NOT_KEPT);
		assert_false(answer_age(msg, len, 1, 200, &opt_len));
		free(msg);
	}
}

/* What answers another question is not kept (K-12). */
static void
test_another_question_is_not_kept(void **state)
{
	static const uint8_t msg[] = HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"));
	static const struct dns_query other[] = {
		{ .question_len = ASKED_LEN, .qtype = 28, .qclass = 1 },
		{ .question_len = ASKED_LEN, .qtype = 1, .qclass = 3 },
		{ .question_len = ASKED_LEN + 1, .qtype = 1, .qclass = 1 },
		{ .question_len = 0, .qtype = 1, .qclass = 1 },
	};
	struct answer a;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(other); i++) {
		answer_judge(msg, sizeof msg - 1, 0, &other[i], &usual, &a);
		assert_int_equal(a.kind, ANSWER_NOT_KEPT);
		assert_int_equal(a.reason, ANSWER_MALFORMED);
	}
}

static void
test_answer_to_a_signed_query_is_not_kept(void **state)
{
	static const uint8_t msg[] = HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"));
	struct dns_query q = query_of(msg, sizeof msg - 1);
	struct answer a;

	(void)state;
	q.is_signed = true;
	answer_judge(msg, sizeof msg - 1, 0, &q, &usual, &a);
	assert_int_equal(a.kind, ANSWER_NOT_KEPT);
	assert_int_equal(a.reason, ANSWER_SIGNED);
}

/* A chain of LINKS records, each with a target of its own, and an address at its end. */
static size_t
write_chain(uint8_t *out, size_t cap, unsigned links)
{
	static const uint8_t head[] = ID OK "\0\1\0\0\0\0\0\0" ASKED_A;
	struct wire_writer w;
	size_t owner = DNS_HEADER_LEN;
	unsigned i;

	wire_writer_init(&w, out, cap);
	wire_write_bytes(&w, head, sizeof head - 1);
	for (i = 0; i <= links; i++) {
		wire_write_u16(&w, (uint16_t)(0xc000 | owner));
		wire_write_u16(&w, i < links ? DNS_TYPE_CNAME : 1);
		wire_write_u16(&w, 1);
		wire_write_u32(&w, 60);
		wire_write_u16(&w, 4);
		owner = w.pos;
		wire_write_u8(&w, 1);
		wire_write_u8(&w, (uint8_t)('a' + i));
		wire_write_bytes(&w, AT_ZONE, 2);
	}
	wire_overwrite_u16(&w, 6, (uint16_t)(links + 1));
	return wire_written(&w);
}

static void
test_chain_of_at_most_16_links_is_kept(void **state)
{
	uint8_t msg[512];
	struct dns_query q;
	struct answer a;
	unsigned links;
	size_t len;

	(void)state;
	for (links = 0; links < 20; links++) {
		len = write_chain(msg, sizeof msg, links);
		q = query_of(msg, len);
		answer_judge(msg, len, 0, &q, &usual, &a);
		assert_int_equal(a.kind, links <= 16 ? ANSWER_POSITIVE : ANSWER_NOT_KEPT);
		assert_int_equal(a.reason, links <= 16 ? ANSWER_KEPT : ANSWER_INCONSISTENT);
	}
}

/* Names that point from one to the next, back to QNAME. */
static void
test_many_pointers_are_followed_no_further(void **state)
{
	static const uint8_t head[] = ID OK "\0\1\0\0\0\0\0\0" ASKED_A;
	static const uint8_t rr[] = TYPE_A IN "\0\0\0\74\0\0";
	static uint8_t msg[4096];
	struct dns_query q;
	struct wire_writer w;
	struct answer a;
	unsigned count, i;
	size_t owner;

	(void)state;
	for (count = 1; count <= 200; count++) {
		wire_writer_init(&w, msg, sizeof msg);
		wire_write_bytes(&w, head, sizeof head - 1);
		owner = DNS_HEADER_LEN;
		for (i = 1; i < count; i++) {
			wire_write_u16(&w, (uint16_t)(0xc000 | owner));
			owner = w.pos - 2;
			wire_write_bytes(&w, "\0\2" IN "\0\0\0\74\0\0", 10);
		}
		wire_write_u16(&w, (uint16_t)(0xc000 | owner));
		wire_write_bytes(&w, rr, sizeof rr - 1);
		wire_overwrite_u16(&w, 6, (uint16_t)count);
		q = query_of(msg, w.pos);
		answer_judge(msg, w.pos, 0, &q, &usual, &a);
		assert_int_equal(a.kind, count <= 128 ? ANSWER_POSITIVE : ANSWER_NOT_KEPT);
	}
}

static void
test_soa_is_lowered_to_the_life(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
		const uint8_t *wanted;
		const struct answer_limits *limits;
	} rows[] = {
		{ BYTES(HEAD(NX, "\0", "\2", "\0") ASKED_A RRSIG(AT_ZONE, T("\74"))
			SOA(AT_ZONE, "\0\0\2\130", T("\2"))),
		    (const uint8_t *)HEAD(NX, "\0", "\2", "\0") ASKED_A RRSIG(AT_ZONE, T("\74"))
			SOA(AT_ZONE, T("\2"), T("\2")), &usual },
		/* It is not raised, */
		{ BYTES(HEAD(NX, "\0", "\1", "\0") ASKED_A SOA(AT_ZONE, T("\1"), T("\2"))),
		    (const uint8_t *)HEAD(NX, "\0", "\1", "\0") ASKED_A
			SOA(AT_ZONE, T("\1"), T("\2")), &least_5 },
		/* and nothing is lowered in what is not negative. */
		{ BYTES(HEAD(OK, "\1", "\1", "\0") ASKED_A A(AT_QNAME, T("\1"))
			SOA(AT_ZONE, T("\74"), T("\74"))),
		    (const uint8_t *)HEAD(OK, "\1", "\1", "\0") ASKED_A A(AT_QNAME, T("\1"))
			SOA(AT_ZONE, T("\74"), T("\74")), &usual },
	};
	struct dns_query q;
	struct answer a;
	uint8_t *msg;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		msg = tight_copy(rows[i].data, rows[i].len);
		q = query_of(msg, rows[i].len);
		answer_judge(msg, rows[i].len, 0, &q, rows[i].limits, &a);
		assert_int_not_equal(a.kind, ANSWER_NOT_KEPT);
		answer_lower_soa(msg, rows[i].len, &a);
		assert_memory_equal(msg, rows[i].wanted, rows[i].len);
		free(msg);
	}
}

static const struct age_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	uint32_t age;
	uint32_t cap; /* 0: as a stale answer */
	const uint8_t *wanted;
	size_t opt_len;
} age_rows[] = {
	{ "K-07 TTL counts down", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))),
	    2, 200, (const uint8_t *)HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\72")), 0 },
	{ "K-07 in the second of its end",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))), 60, 200,
	    (const uint8_t *)HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\1")), 0 },
	{ "K-54 later than its end", BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\1"))),
	    UINT32_MAX, 200,
	    (const uint8_t *)HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\1")), 0 },
	{ "K-07 each TTL by itself, not that of the OPT",
	    BYTES(HEAD(OK, "\1", "\1", "\2") ASKED_A A(AT_QNAME, T("\74"))
		    SOA(AT_ZONE, T("\5"), T("\62")) A(AT_ZONE, T("\11")) OPT("\0")),
	    6, 200,
	    (const uint8_t *)HEAD(OK, "\1", "\1", "\2") ASKED_A A(AT_QNAME, T("\66"))
		SOA(AT_ZONE, T("\1"), T("\62")) A(AT_ZONE, T("\3")) OPT("\0"),
	    OPT_ALONE },
	{ "K-06 at most the cap",
	    BYTES(HEAD(OK, "\2", "\0", "\0") ASKED_A A(AT_QNAME, "\0\1\0\0") A(AT_QNAME, T("\74"))),
	    1, 100,
	    (const uint8_t *)HEAD(OK, "\2", "\0", "\0") ASKED_A A(AT_QNAME, T("\144"))
		A(AT_QNAME, T("\73")),
	    0 },
	{ "K-06 TTL 2^31 and more is very long",
	    BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, "\200\0\0\74")), 0, 200,
	    (const uint8_t *)HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\310")), 0 },
	{ "K-22 AA is cleared",
	    BYTES(HEAD("\x85\xb0", "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))), 0, 200,
	    (const uint8_t *)HEAD("\x81\xb0", "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74")), 0 },
	{ "no records", BYTES(HEAD(FAILED, "\0", "\0", "\0") ASKED_A), 1, 200,
	    (const uint8_t *)HEAD(FAILED, "\0", "\0", "\0") ASKED_A, 0 },
	{ "K-11 stale: TTL 30 for what has run out, at most 30 for the rest",
	    BYTES(HEAD("\x85\x80", "\4", "\0", "\1") ASKED_A A(AT_QNAME, T("\12"))
		    A(AT_QNAME, T("\13")) A(AT_QNAME, T("\74")) A(AT_QNAME, T("\1")) OPT("\0")),
	    10, 0,
	    (const uint8_t *)HEAD(OK, "\4", "\0", "\1") ASKED_A A(AT_QNAME, T("\36"))
		A(AT_QNAME, T("\1")) A(AT_QNAME, T("\36")) A(AT_QNAME, T("\36")) OPT("\0"),
	    OPT_ALONE },
};

static void
ages(void **state)
{
	const struct age_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);
	size_t opt_len = 99;

	if (row->cap > 0)
		assert_true(answer_age(msg, row->len, row->age, row->cap, &opt_len));
	else
		assert_true(answer_age_stale(msg, row->len, row->age, &opt_len));
	assert_memory_equal(msg, row->wanted, row->len);
	assert_int_equal(opt_len, row->opt_len);
	free(msg);
}

static void
test_what_is_no_response_has_no_age(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
	} rows[] = {
		{ BYTES("") },
		{ BYTES("\0\0\0\0\0\0\0\0\0\0\0") },
		{ BYTES("\0\0\0\0\0\0\0\0\0\0\0\0") },
		{ BYTES(ID OK COUNTS("\2", "\0", "\0", "\0") ASKED_A ASKED_A) },
		{ BYTES(HEAD(OK, "\1", "\0", "\0") ASKED_A A(AT_QNAME, T("\74")) "x") },
		{ BYTES(HEAD(OK, "\0", "\0", "\2") ASKED_A OPT("\0") A(AT_QNAME, T("\74"))) },
		{ BYTES(HEAD(OK, "\0", "\0", "\2") ASKED_A OPT("\0") OPT("\0")) },
		{ BYTES(HEAD(OK, "\377", "\0", "\0") ASKED_A A(AT_QNAME, T("\74"))) },
		{ BYTES("\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377") },
	};
	size_t i, opt_len;
	uint8_t *msg;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		msg = tight_copy(rows[i].data, rows[i].len);
		assert_false(answer_age(msg, rows[i].len, 1, 200, &opt_len));
		assert_false(answer_age_stale(msg, rows[i].len, 1, &opt_len));
		free(msg);
	}
}

static void
test_each_reason_has_a_word(void **state)
{
	int i, k;

	(void)state;
	for (i = 0; i < ANSWER_REASONS; i++)
		for (k = 0; k < i; k++)
			assert_string_not_equal(answer_reason_word((enum answer_reason)i),
			    answer_reason_word((enum answer_reason)k));
}

#define ADD(rows, test) \
	for (i = 0; i < LENGTH(rows); i++) \
		tests[n++] = (struct CMUnitTest){ (rows)[i].name, test, NULL, NULL, \
			(void *)(uintptr_t) & (rows)[i] }

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(test_another_question_is_not_kept),
		cmocka_unit_test(test_answer_to_a_signed_query_is_not_kept),
		cmocka_unit_test(test_chain_of_at_most_16_links_is_kept),
		cmocka_unit_test(test_many_pointers_are_followed_no_further),
		cmocka_unit_test(test_soa_is_lowered_to_the_life),
		cmocka_unit_test(test_what_is_no_response_has_no_age),
		cmocka_unit_test(test_each_reason_has_a_word),
	};
	struct CMUnitTest tests[2 * LENGTH(judge_rows) + LENGTH(age_rows) + LENGTH(singles)];
	size_t n = 0;
	size_t i;

	ADD(judge_rows, judges);
	for (i = 0; i < LENGTH(judge_rows); i++)
		if (judge_rows[i].reason == ANSWER_KEPT)
			tests[n++] = (struct CMUnitTest){ judge_rows[i].name, keeps_no_part, NULL,
				NULL, (void *)(uintptr_t)&judge_rows[i] };
	ADD(age_rows, ages);
	for (i = 0; i < LENGTH(singles); i++)
		tests[n++] = singles[i];
	return _cmocka_run_group_tests("answer", tests, n, NULL, NULL);
}
