#ifndef DOTPROXY_ADDRESS_H
#define DOTPROXY_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_key;

/* An IPv4 or IPv6 address with a port; a plain value. */
struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

/* Room for any address as text: brackets, zone, port and the terminator. */
enum { ADDRESS_TEXT_MAX = 80 };

/*
 * Reads "192.0.2.1", "192.0.2.1:853", "2001:db8::1", "[2001:db8::1]:853", each IPv6
 * form also with a zone ("fe80::1%eth0"); the port is PORT where none is written.
 * Host names are never looked up. Returns 0, or -1 when TEXT is none of these
 * (port 0, an unknown zone and numbers with leading zeros included).
 */
int address_parse(const char *text, uint16_t port, struct address *out);

/* Room for the name or the number of an interface, and the terminator. */
enum { ADDRESS_INTERFACE_MAX = 16 };

/*
 * As address_parse(), but the interface of a link-local address need not exist yet: then
 * the address has no zone. INTERFACE becomes its name, "" where TEXT names none.
 */
int address_parse_late(const char *text, uint16_t port, struct address *out,
    char interface[static ADDRESS_INTERFACE_MAX]);

/* The current index of an interface, given by name or number; 0 when it does not exist. */
unsigned address_interface_index(const char *interface);

/*
 * Why the address cannot be bound or connected to, as the end of a sentence that begins with
 * "`ADDRESS' "; NULL when it can.
 */
const char *address_problem(const struct address *);

/*
 * Writes the address and its port, "192.0.2.1:853" or "[2001:db8::1]:853", and
 * returns TEXT.
 */
char *address_format(const struct address *, char text[static ADDRESS_TEXT_MAX]);

/* As address_format() without port and brackets; a zone is kept. */
char *address_format_host(const struct address *, char text[static ADDRESS_TEXT_MAX]);

/* The length of the socket address in bytes, for bind(2), connect(2) and sendto(2). */
socklen_t address_len(const struct address *);

uint16_t address_port(const struct address *);
void address_set_port(struct address *, uint16_t port);

/* Same family, address, zone and port. */
bool address_equal(const struct address *, const struct address *);

/* Same host whatever the port; ::ffff:192.0.2.1 and 192.0.2.1 are the same host. */
bool address_same_host(const struct address *, const struct address *);

/* A hash of the address without the port: equal where address_same_host() is true. */
uint64_t address_hash_host(const struct address *, const struct hash_key *);

/* Whether the address is 0.0.0.0 or ::. */
bool address_is_wildcard(const struct address *);

/* A set of addresses that share their first bits. */
struct prefix {
	sa_family_t family;
	uint8_t bytes[16]; /* network order; 4 in use for AF_INET */
	unsigned bits;     /* 0 to 32 or 0 to 128 */
};

/*
 * Reads "192.0.2.0/24", "2001:db8::/32", or an address alone (all bits). Returns
 * 0, or -1 when TEXT is not a prefix or has bits set behind its length.
 */
int prefix_parse(const char *text, struct prefix *out);

/* Whether the prefix has the address; ::ffff:192.0.2.1 counts as 192.0.2.1. */
bool prefix_contains(const struct prefix *, const struct address *);

/*
 * The prefixes of addresses that are not on the Internet: loopback, RFC 1918, shared (RFC 6598),
 * link-local and unique local (RFC 4193). NULL ends the list.
 */
extern const char *const address_private_prefixes[];

/* Whether one of these has the address. */
bool address_is_private(const struct address *);

#endif
