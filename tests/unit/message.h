#ifndef DOTPROXY_MESSAGE_H
#define DOTPROXY_MESSAGE_H

/*
 * The parts of DNS messages, as string literals to be concatenated.
 * Counts and lengths are literals of one byte.
 */
#define ID "\x12\x34"
#define QUERY "\x01\x00"    /* RD */
#define RESPONSE "\x81\x80" /* QR, RD, RA */
#define COUNTS(qd, an, ns, ar) "\0" qd "\0" an "\0" ns "\0" ar
#define NAME "\7example\3com\0"
#define TYPE_A "\0\1"
#define IN "\0\1"
#define QUESTION NAME TYPE_A IN
#define RR_A "\300\14" TYPE_A IN "\0\0\0\74\0\4\300\0\2\1"

/* OWNER, then class (the size), upper bits of the RCODE, version, flags. */
#define OPT_AT(owner, size, rcode, version, flags, len) \
	owner "\0\51" size rcode version flags "\0" len
#define OPT_EMPTY OPT_AT("\0", "\x04\xd0", "\0", "\0", "\0\0", "\0")

enum { QUESTION_LEN = sizeof(QUESTION) - 1 };

/* Records that sign the message that they end; SIG(0) covers no type. */
#define TSIG "\3key\0" "\0\372\0\377\0\0\0\0\0\4tsig"
#define SIG_0 "\0" "\0\30\0\377\0\0\0\0\0\4\0\0\0\0"

#endif
