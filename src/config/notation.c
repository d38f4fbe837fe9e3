#include "config/notation.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/hostname.h"

#define DIGITS "0123456789"

enum {
	DNS_PORT = 53,
	DOT_PORT = 853,
	HOST_MAX = 80, /* more than any address with its zone and port */
	FORM_MAX = ADDRESS_TEXT_MAX + HOSTNAME_MAX + 8
};

/* Sets WHY. Returns -1. */
__attribute__((format(printf, 2, 3))) static int
refuse(char why[static NOTATION_MAX], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, NOTATION_MAX, fmt, args);
	va_end(args);
	return -1;
}

/* Copies the first LEN bytes of TEXT, and a NUL. Returns false when that is too long. */
static bool
cut(char host[static HOST_MAX], const char *text, size_t len)
{
	if (len >= HOST_MAX)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	return true;
}

/* Reads a port from 1 to 65535, up to one of STOP or the end. Returns its end, or NULL. */
static const char *
read_port(const char *text, const char *stop, uint16_t *port)
{
	size_t len = strspn(text, DIGITS);
	unsigned n = 0;
	size_t i;

	if (len == 0 || len > 5 || (text[len] != '\0' && strchr(stop, text[len]) == NULL))
		return NULL;
	for (i = 0; i < len; i++)
		n = n * 10 + (unsigned)(text[i] - '0');
	if (n == 0 || n > UINT16_MAX)
		return NULL;
	*port = (uint16_t)n;
	return text + len;
}

/* The address in the notation of dot-proxy, in quotes. Returns OUT. */
static const char *
form(const struct address *a, const char *hostname, char out[static FORM_MAX])
{
	char text[ADDRESS_TEXT_MAX];
	const char *open;

	if (address_port(a) == 0)
		(void)address_format_host(a, text);
	else
		(void)address_format(a, text);
	open = text[0] == '[' ? "\"" : "`";
	(void)snprintf(out, FORM_MAX, "%s%s%s%s%s", open, text, hostname != NULL ? "#" : "",
	    hostname != NULL ? hostname : "", *open == '`' ? "'" : open);
	return out;
}

/*
 * Reads "address", perhaps with ":port", "@port" (stubby, unbound) or "#port" (dnsmasq), and
 * with "#hostname" or "/". Returns 0, or -1 when it is something else.
 */
static int
read_foreign(const char *text, struct address *out, const char **hostname)
{
	char host[HOST_MAX];
	size_t len = strcspn(text, "@#/");
	const char *rest = text + len;
	const char *end;
	uint16_t port;

	*hostname = NULL;
	if (!cut(host, text, len) || address_parse(host, 0, out) == -1)
		return -1;
	if ((*rest == '@' || *rest == '#') && (end = read_port(rest + 1, "#/", &port)) != NULL) {
		address_set_port(out, port);
		rest = end;
	}
	if (*rest == '#' && hostname_problem(rest + 1) == NULL) {
		*hostname = rest + 1;
		return 0;
	}
	return *rest == '\0' || strcmp(rest, "/") == 0 ? 0 : -1;
}

/* Whether TEXT begins with a host name, which ends at one of STOP or at the end. */
static bool
is_hostname(const char *text, const char *stop, char name[static HOSTNAME_MAX + 1])
{
	size_t len = strcspn(text, stop);

	if (len > HOSTNAME_MAX)
		return false;
	memcpy(name, text, len);
	name[len] = '\0';
	return hostname_problem(name) == NULL;
}

static int
refuse_hostname(enum notation_use use, const char *cause, const char *name,
    char why[static NOTATION_MAX])
{
	if (use == NOTATION_UPSTREAM)
		return refuse(why,
		    "%s, and names are not looked up (write its address before it, as in "
		    "`192.0.2.1#%s')",
		    cause, name);
	if (use == NOTATION_UPSTREAM_ADDRESS)
		return refuse(why,
		    "%s, and names are not looked up (write its address here, and the name "
		    "as `hostname')",
		    cause);
	return refuse(why,
	    "%s, and names are not looked up (write an address, as in `127.0.0.1:53' or "
	    "`0.0.0.0:53')",
	    cause);
}

/* ---- "tls://1.1.1.1" ---- */

static const struct scheme {
	const char *prefix;
	const char *cause;
	bool is_dns; /* an address of a DNS server follows */
	bool is_tls;
} schemes[] = {
	{ "sdns:", "is a DNS stamp", false, false },
	{ "https:", "is a URL for DNS over HTTPS", false, false },
	{ "http:", "is a URL for DNS over HTTPS", false, false },
	{ "h3:", "is a URL for DNS over HTTPS", false, false },
	{ "quic:", "is a URL for DNS over QUIC", false, false },
	{ "doq:", "is a URL for DNS over QUIC", false, false },
	{ "tcp-tls:", "has a scheme", true, true },
	{ "tls:", "has a scheme", true, true },
	{ "dot:", "has a scheme", true, true },
	{ "udp:", "has a scheme for DNS without TLS", true, false },
	{ "tcp:", "has a scheme for DNS without TLS", true, false },
	{ "dns:", "has a scheme for DNS without TLS", true, false },
};

static const struct scheme *
find_scheme(const char *text)
{
	size_t i;

	for (i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			return &schemes[i];
	return NULL;
}

static int
refuse_scheme(enum notation_use use, const struct scheme *s, const char *text,
    char why[static NOTATION_MAX])
{
	const char *rest = text + strlen(s->prefix);
	struct address address;
	const char *hostname;
	char name[HOSTNAME_MAX + 1];
	char right[FORM_MAX];

	rest += strspn(rest, "/");
	if (s->is_dns && read_foreign(rest, &address, &hostname) == 0) {
		if (use != NOTATION_LISTENER && address_port(&address) == DNS_PORT)
			address_set_port(&address, 0);
		if (use == NOTATION_LISTENER)
			return refuse(why, "has a scheme (write %s)", form(&address, NULL, right));
		return refuse(why, "%s (write %s; upstreams are always queried over TLS)", s->cause,
		    form(&address, use == NOTATION_UPSTREAM ? hostname : NULL, right));
	}
	if (use == NOTATION_LISTENER)
		return refuse(why, "has a scheme (write an address, as in `127.0.0.1:53')");
	if (s->is_tls && is_hostname(rest, ":/@#", name))
		return refuse_hostname(use, "has a scheme and a host name", name, why);
	return refuse(why,
	    "%s (write the server's address and name for DNS over TLS, as in "
	    "`9.9.9.9#dns.quad9.net')",
	    s->cause);
}

/* ---- ports ---- */

int
notation_check_port(const char *text, char why[static NOTATION_MAX])
{
	static const char *const ports[] = { "53", "443", "784", "853", "1053", "5053", "5300",
		"5335", "5353", "5354", "8053", "8443", "8853" };
	size_t len = strcspn(text, "#");
	char host[HOST_MAX];
	char *colon;
	struct address address;
	size_t i;

	if (!cut(host, text, len) || host[0] == '[' || (colon = strrchr(host, ':')) == NULL)
		return 0;
	for (i = 0; i < sizeof ports / sizeof ports[0]; i++)
		if (strcmp(colon + 1, ports[i]) == 0)
			break;
	*colon = '\0';
	if (i == sizeof ports / sizeof ports[0] || strchr(host, ':') == NULL ||
	    address_parse(host, 0, &address) == -1)
		return 0;
	return refuse(why,
	    "is ambiguous (write \"[%s]:%s\" for port %s, or \"[%s:%s]\" for the whole as an "
	    "address)",
	    host, ports[i], ports[i], host, ports[i]);
}

/* After the last colon of an address is not a port, or the brackets are missing. */
static int
refuse_port(enum notation_use use, const char *text, char why[static NOTATION_MAX])
{
	char host[HOST_MAX];
	char *colon;
	const char *hostname = text[strcspn(text, "#")] == '#' ? strchr(text, '#') + 1 : NULL;
	struct address address;
	char right[FORM_MAX];
	uint16_t port;

	if (!cut(host, text, strcspn(text, "#")) || (colon = strrchr(host, ':')) == NULL)
		return 0;
	*colon = '\0';
	if (address_parse(host, 0, &address) == -1 || address_port(&address) != 0)
		return 0;
	if (use != NOTATION_UPSTREAM || (hostname != NULL && hostname_problem(hostname) != NULL))
		hostname = NULL;
	if (read_port(colon + 1, "", &port) != NULL && colon[1] != '0') {
		address_set_port(&address, port);
		return refuse(why, "has a port but no brackets around the address (write %s)",
		    form(&address, hostname, right));
	}
	address_set_port(&address, use == NOTATION_LISTENER ? DNS_PORT : DOT_PORT);
	return refuse(why, "has a port that is not a number from 1 to 65535 (write one, as in %s)",
	    form(&address, hostname, right));
}

/* ---- the other mistakes ---- */

static int
refuse_missing_address(enum notation_use use, char why[static NOTATION_MAX])
{
	if (use == NOTATION_LISTENER)
		return refuse(why,
		    "has no address (write one before it, as in `127.0.0.1:53'; `0.0.0.0:53' "
		    "or \"[::]:53\" listen on all)");
	return refuse(why, "has no address (write the server's, as in `9.9.9.9#dns.quad9.net')");
}

/* "A@853#name", "A#53", "A#name": what read_foreign() has read. */
static int
refuse_separator(enum notation_use use, const char *text, const struct address *a,
    const char *hostname, char why[static NOTATION_MAX])
{
	char right[FORM_MAX];
	char separator = text[strcspn(text, "@#/")];

	if (address_port(a) == 0 && hostname != NULL && use == NOTATION_UPSTREAM_ADDRESS)
		return refuse(why, "has a host name after the `#' (write it as `hostname')");
	if (use != NOTATION_UPSTREAM)
		hostname = NULL;
	if (address_port(a) == 0 || separator == '/')
		return refuse(why, "has more than an address and a port (write %s)",
		    form(a, hostname, right));
	return refuse(why, "has its port after `%c' (write %s)", separator,
	    form(a, hostname, right));
}

/* Whether TEXT has brackets around an IPv4 address. */
static bool
has_v4_in_brackets(const char *text, struct address *a)
{
	size_t len = text[0] == '[' ? strcspn(text + 1, "]") : 0;
	char host[HOST_MAX];
	uint16_t port;

	if (len == 0 || text[1 + len] != ']' || !cut(host, text + 1, len) ||
	    strchr(host, ':') != NULL || address_parse(host, 0, a) == -1)
		return false;
	if (text[len + 2] == ':' && read_port(text + len + 3, "#", &port) != NULL)
		address_set_port(a, port);
	return true;
}

static bool
begins_with_address(const char *text, const char *stop)
{
	char host[HOST_MAX];
	struct address a;

	return text[strcspn(text, stop)] != '\0' && cut(host, text, strcspn(text, stop)) &&
	    address_parse(host, 0, &a) == 0;
}

/* Finds out what is wrong with TEXT, which is not an address. */
static int
explain(enum notation_use use, const char *text, char why[static NOTATION_MAX])
{
	const struct scheme *scheme = find_scheme(text);
	struct address address;
	const char *hostname;
	char name[HOSTNAME_MAX + 1];
	char right[FORM_MAX];

	if (scheme != NULL)
		return refuse_scheme(use, scheme, text, why);
	if (read_foreign(text, &address, &hostname) == 0)
		return refuse_separator(use, text, &address, hostname, why);
	if (text[0] == '#' || (text[0] == ':' && text[1] != ':') || text[0] == '*' ||
	    (text[0] != '\0' && text[strspn(text, DIGITS)] == '\0'))
		return refuse_missing_address(use, why);
	if (strncmp(text, "[/", 2) == 0)
		return refuse(why,
		    "is for some names only (write it in `routes', as in {domains: corp.example, "
		    "upstreams: 10.1.1.1})");
	if (has_v4_in_brackets(text, &address))
		return refuse(why, "has brackets, which are for IPv6 (write %s)",
		    form(&address, NULL, right));
	if (begins_with_address(text, ", "))
		return refuse(why,
		    "has more than one address (in the configuration write a list, as in "
		    "[192.0.2.1, 192.0.2.2])");
	if (begins_with_address(text, "/"))
		return refuse(why, "is a range (write one address, without the `/')");
	if (begins_with_address(text, "%"))
		return refuse(why, "has an unknown interface (`ip link' shows those there are)");
	if (refuse_port(use, text, why) == -1)
		return -1;
	if (is_hostname(text, use == NOTATION_UPSTREAM ? ":#@" : ":", name) &&
	    strchr(text, ':') == strrchr(text, ':'))
		return refuse_hostname(use, "is a host name", name, why);
	return refuse(why,
	    "is not an IP address (as in 192.0.2.1, 192.0.2.1:853, 2001:db8::1, "
	    "\"[2001:db8::1]:853\")");
}

/* "1.1.1.1#853" and "1.1.1.1#dns.example:853": there is a port after the `#'. */
static int
check_hostname(const struct address *a, const char *hostname, char why[static NOTATION_MAX])
{
	struct address with_port = *a;
	char name[HOSTNAME_MAX + 1];
	char right[FORM_MAX];
	uint16_t port;

	if (read_port(hostname, "", &port) != NULL && address_port(a) == 0) {
		address_set_port(&with_port, port);
		return refuse(why, "has its port after `#' (write %s)",
		    form(&with_port, NULL, right));
	}
	if (strpbrk(hostname, ":@") == NULL || !is_hostname(hostname, ":@", name) ||
	    read_port(hostname + strlen(name) + 1, "", &port) == NULL)
		return 0;
	address_set_port(&with_port, port);
	return refuse(why, "has its port after the host name (write %s)",
	    form(&with_port, name, right));
}

int
notation_read(enum notation_use use, const char *text, uint16_t port, struct address *out,
    const char **hostname, char why[static NOTATION_MAX])
{
	size_t len = use == NOTATION_UPSTREAM ? strcspn(text, "#") : strlen(text);
	char host[HOST_MAX];
	const char *problem;

	if (!cut(host, text, len) || address_parse(host, port, out) == -1)
		return explain(use, text, why);
	if ((problem = address_problem(out)) != NULL)
		return refuse(why, "%s", problem);
	if (use != NOTATION_UPSTREAM_ADDRESS && notation_check_port(text, why) == -1)
		return -1;
	if (hostname != NULL)
		*hostname = text[len] == '#' ? text + len + 1 : NULL;
	return text[len] == '#' ? check_hostname(out, text + len + 1, why) : 0;
}
