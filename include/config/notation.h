#ifndef DOTPROXY_NOTATION_H
#define DOTPROXY_NOTATION_H

#include <stdint.h>

#include "base/address.h"

/* The size of a message: what is wrong with a notation, and its right form. */
enum { NOTATION_MAX = 480 };

/* What an address is for: examples and remedies differ. */
enum notation_use { NOTATION_LISTENER, NOTATION_UPSTREAM, NOTATION_UPSTREAM_ADDRESS };

/*
 * Reads TEXT, "address[:port]" (PORT where none is written); of a NOTATION_UPSTREAM in short
 * TEXT is all of it, "address[:port][#hostname]", and *HOSTNAME (which may be NULL for the other
 * uses) becomes what stands behind the `#', or NULL. Returns 0, or -1, and WHY says what is wrong
 * and what to write: the notations of other programs are known. The host name is not checked.
 */
int notation_read(enum notation_use, const char *text, uint16_t port, struct address *,
    const char **hostname, char why[static NOTATION_MAX]);

/*
 * An IPv6 address without brackets whose last group looks like a port ("::1:53"): the same, but
 * for the check that the caller makes where no port is given by other means. Returns 0 when
 * TEXT is clear, or -1 and WHY.
 */
int notation_check_port(const char *text, char why[static NOTATION_MAX]);

/*
 * What to write instead of KEY, which is none here but one of stubby, unbound, CoreDNS, dnsproxy
 * or cloudflared, or stands at another place in this configuration. NULL: not known.
 */
const char *notation_key(const char *key);

#endif
