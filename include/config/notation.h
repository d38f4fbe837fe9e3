#ifndef DOTPROXY_NOTATION_H
#define DOTPROXY_NOTATION_H

#include <stdint.h>

#include "base/address.h"

/* Room for a message: what is wrong with a notation, and what to write instead. */
enum { NOTATION_MAX = 480 };

/* What an address is for; the remedies differ. */
enum notation_use { NOTATION_LISTENER, NOTATION_UPSTREAM, NOTATION_UPSTREAM_ADDRESS };

/*
 * Reads TEXT, "address[:port]"; the port is PORT where TEXT has none. For NOTATION_UPSTREAM, TEXT
 * is "address[:port][#hostname]", and *HOSTNAME becomes the part after the `#', or NULL; for the
 * other uses HOSTNAME may be NULL. Returns 0; or -1, and WHY says what is wrong and what to write.
 * The notations of other programs are recognized. The host name is not checked.
 */
int notation_read(enum notation_use, const char *text, uint16_t port, struct address *,
    const char **hostname, char why[static NOTATION_MAX]);

/*
 * Checks whether TEXT is an IPv6 address without brackets whose last group looks like a port, such
 * as "::1:53". Returns 0 when it is not; else -1, and WHY. For NOTATION_UPSTREAM_ADDRESS only:
 * there the port may have a key of its own. notation_read() checks it for the other uses.
 */
int notation_check_port(const char *text, char why[static NOTATION_MAX]);

/*
 * What to write instead of KEY, which is a key of stubby, unbound, CoreDNS, dnsproxy or
 * cloudflared, or belongs to another place of this configuration. NULL: not known.
 */
const char *notation_key(const char *key);

#endif
