#include "base/address.h"

#include <sys/socket.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
	V4_BITS = 32,
	V6_BITS = 128,
	MAPPED_BITS = 96 /* ::ffff:0:0/96 (RFC 4291 2.5.5.2) */
};

/* Room for an address, a `%' and a zone. */
enum { HOST_MAX = INET6_ADDRSTRLEN + 1 + IF_NAMESIZE };

/* Reads a decimal number up to MAX: digits only, no leading zeros. -1: anything else. */
static long
parse_number(const char *text, long max)
{
	long n = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -1;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		n = n * 10 + (*text - '0');
		if (n > max)
			return -1;
	}
	return n;
}

/* The index of an interface, given by name or number; 0 when it does not exist. */
static unsigned
parse_zone(const char *zone)
{
	char name[IF_NAMESIZE];
	long index = parse_number(zone, INT32_MAX);

	if (index > 0)
		return if_indextoname((unsigned)index, name) != NULL ? (unsigned)index : 0;
	return if_nametoindex(zone);
}

static int
parse_v4(const char *host, struct address *out)
{
	out->in.sin_family = AF_INET;
	return inet_pton(AF_INET, host, &out->in.sin_addr) == 1 ? 0 : -1;
}

/* The kernel's rule for interface names; a colon would begin a port. */
static bool
is_interface_name(const char *name)
{
	size_t len = strcspn(name, ":/ ");

	return len > 0 && len < ADDRESS_INTERFACE_MAX && name[len] == '\0';
}

/* Cuts the zone off HOST. INTERFACE is as for address_parse_late(), or NULL. */
static int
parse_v6(char *host, struct address *out, char *interface)
{
	char *zone = strchr(host, '%');

	out->in6.sin6_family = AF_INET6;
	if (zone != NULL)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) != 1)
		return -1;
	if (zone == NULL)
		return 0;
	out->in6.sin6_scope_id = parse_zone(zone);
	if (interface != NULL && is_interface_name(zone))
		memcpy(interface, zone, strlen(zone) + 1);
	else if (out->in6.sin6_scope_id == 0)
		return -1;
	return out->in6.sin6_scope_id != 0 || IN6_IS_ADDR_LINKLOCAL(&out->in6.sin6_addr) ? 0 : -1;
}

static int
parse(const char *text, uint16_t port, struct address *out, char *interface)
{
	bool bracketed = text[0] == '[';
	const char *start = text + bracketed;
	const char *colon = strchr(text, ':');
	bool v6 = colon != NULL && strchr(colon + 1, ':') != NULL;
	const char *end;
	size_t len;
	long written;
	char host[HOST_MAX];

	if (bracketed)
		end = strchr(start, ']');
	else if (colon != NULL && !v6)
		end = colon;
	else
		end = start + strlen(start);
	if (end == NULL || (size_t)(end - start) >= sizeof host)
		return -1;
	len = (size_t)(end - start);
	memcpy(host, start, len);
	host[len] = '\0';

	memset(out, 0, sizeof *out);
	if ((v6 ? parse_v6(host, out, interface) : bracketed ? -1 : parse_v4(host, out)) == -1)
		return -1;
	end += bracketed;
	if (*end != '\0') {
		written = *end == ':' ? parse_number(end + 1, UINT16_MAX) : -1;
		if (written <= 0)
			return -1;
		port = (uint16_t)written;
	}
	address_set_port(out, port);
	return 0;
}

int
address_parse(const char *text, uint16_t port, struct address *out)
{
	return parse(text, port, out, NULL);
}

int
address_parse_late(const char *text, uint16_t port, struct address *out,
    char interface[static ADDRESS_INTERFACE_MAX])
{
	interface[0] = '\0';
	return parse(text, port, out, interface);
}

unsigned
address_interface_index(const char *interface)
{
	return parse_zone(interface);
}

static bool
is_multicast(const struct address *a)
{
	in_addr_t v4;

	if (a->sa.sa_family == AF_INET6)
		return IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr);
	v4 = ntohl(a->in.sin_addr.s_addr);
	return IN_MULTICAST(v4) || v4 == INADDR_BROADCAST;
}

const char *
address_problem(const struct address *a)
{
	if (is_multicast(a))
		return "is a multicast or broadcast address; write a unicast address";
	if (a->sa.sa_family != AF_INET6)
		return NULL;
	if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return "is an IPv4 address; write it as one, as in 192.0.2.1";
	if (IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr) && a->in6.sin6_scope_id == 0)
		return "needs its interface, as in fe80::1%eth0";
	return NULL;
}

char *
address_format_host(const struct address *a, char text[static ADDRESS_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN] = "";
	char zone[IF_NAMESIZE];

	if (a->sa.sa_family != AF_INET6) {
		(void)inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof host);
		(void)snprintf(text, ADDRESS_TEXT_MAX, "%s", host);
		return text;
	}
	(void)inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
	if (a->in6.sin6_scope_id == 0)
		(void)snprintf(text, ADDRESS_TEXT_MAX, "%s", host);
	else if (if_indextoname(a->in6.sin6_scope_id, zone) != NULL)
		(void)snprintf(text, ADDRESS_TEXT_MAX, "%s%%%s", host, zone);
	else
		(void)snprintf(text, ADDRESS_TEXT_MAX, "%s%%%u", host,
		    (unsigned)a->in6.sin6_scope_id);
	return text;
}

char *
address_format(const struct address *a, char text[static ADDRESS_TEXT_MAX])
{
	char host[ADDRESS_TEXT_MAX];
	const char *form = a->sa.sa_family == AF_INET6 ? "[]" : "";

	(void)address_format_host(a, host);
	/* A host has at most HOST_MAX bytes, which leaves space for the rest. */
	(void)snprintf(text, ADDRESS_TEXT_MAX, "%.1s%.*s%.1s:%u", form, HOST_MAX, host,
	    *form == '\0' ? "" : form + 1, (unsigned)address_port(a));
	return text;
}

socklen_t
address_len(const struct address *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof a->in6 : sizeof a->in;
}

uint16_t
address_port(const struct address *a)
{
	return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

void
address_set_port(struct address *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = htons(port);
	else
		a->in.sin_port = htons(port);
}

/*
 * The 4 or 16 bytes of the address; an IPv4-mapped one becomes its IPv4 address. Returns the
 * family of the result.
 */
static sa_family_t
plain_bytes(const struct address *a, uint8_t bytes[static 16])
{
	memset(bytes, 0, 16);
	if (a->sa.sa_family != AF_INET6) {
		memcpy(bytes, &a->in.sin_addr, 4);
		return AF_INET;
	}
	if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		memcpy(bytes, a->in6.sin6_addr.s6_addr + 12, 4);
		return AF_INET;
	}
	memcpy(bytes, &a->in6.sin6_addr, 16);
	return AF_INET6;
}

static uint32_t
zone_of(const struct address *a)
{
	return a->sa.sa_family == AF_INET6 ? a->in6.sin6_scope_id : 0;
}

bool
address_same_host(const struct address *a, const struct address *b)
{
	uint8_t left[16];
	uint8_t right[16];

	return plain_bytes(a, left) == plain_bytes(b, right) &&
	    memcmp(left, right, sizeof left) == 0 && zone_of(a) == zone_of(b);
}

uint64_t
address_hash_host(const struct address *a, const struct hash_key *key)
{
	uint8_t bytes[16];

	(void)plain_bytes(a, bytes);
	return hash_bytes(key, bytes, sizeof bytes);
}

bool
address_equal(const struct address *a, const struct address *b)
{
	return a->sa.sa_family == b->sa.sa_family && address_port(a) == address_port(b) &&
	    address_same_host(a, b);
}

bool
address_is_wildcard(const struct address *a)
{
	static const uint8_t zeros[16];
	uint8_t bytes[16];

	(void)plain_bytes(a, bytes);
	return memcmp(bytes, zeros, sizeof bytes) == 0;
}

/* Whether all bits of BYTES behind the first BITS are 0. */
static bool
ends_in_zeros(const uint8_t bytes[static 16], unsigned bits)
{
	unsigned i;

	for (i = bits; i < V6_BITS; i++)
		if (bytes[i / 8] & (0x80 >> i % 8))
			return false;
	return true;
}

int
prefix_parse(const char *text, struct prefix *out)
{
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char host[INET6_ADDRSTRLEN];
	struct address a = { 0 };
	long most;
	long bits;

	if (len >= sizeof host)
		return -1;
	memcpy(host, text, len);
	host[len] = '\0';
	if (inet_pton(AF_INET, host, &a.in.sin_addr) == 1)
		a.sa.sa_family = AF_INET;
	else if (inet_pton(AF_INET6, host, &a.in6.sin6_addr) == 1)
		a.sa.sa_family = AF_INET6;
	else
		return -1;
	most = a.sa.sa_family == AF_INET ? V4_BITS : V6_BITS;
	bits = slash != NULL ? parse_number(slash + 1, most) : most;
	if (bits == -1)
		return -1;

	memset(out, 0, sizeof *out);
	out->family = plain_bytes(&a, out->bytes);
	if (out->family != a.sa.sa_family) {
		if (bits < MAPPED_BITS)
			return -1;
		bits -= MAPPED_BITS;
	}
	out->bits = (unsigned)bits;
	return ends_in_zeros(out->bytes, out->bits) ? 0 : -1;
}

bool
prefix_contains(const struct prefix *p, const struct address *a)
{
	uint8_t bytes[16];
	unsigned whole = p->bits / 8;
	unsigned rest = p->bits % 8;

	if (plain_bytes(a, bytes) != p->family || memcmp(bytes, p->bytes, whole) != 0)
		return false;
	return rest == 0 || (bytes[whole] ^ p->bytes[whole]) >> (8 - rest) == 0;
}

const char *const address_private_prefixes[] = { "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12",
	"192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
	NULL };

bool
address_is_private(const struct address *a)
{
	const char *const *text;
	struct prefix p;

	for (text = address_private_prefixes; *text != NULL; text++)
		if (prefix_parse(*text, &p) == 0 && prefix_contains(&p, a))
			return true;
	return false;
}
