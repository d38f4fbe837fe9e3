#include "config_schema.h"

#include <stddef.h>
#include <string.h>

enum {
	SECOND = 1000, /* milliseconds, as is the next */
	MINUTE = 60 * SECOND,
	HOUR_S = 3600, /* seconds, as is the next */
	WEEK_S = 7 * 24 * HOUR_S,
	GIB_KIB = 1 << 20
};

/* clang-format off */

/* The offset of a member, which must have the type. */
#define MEMBER(structure, type, member) /* NOLINTNEXTLINE(bugprone-macro-parentheses) */ \
	(offsetof(structure, member) * _Generic(((structure *)NULL)->member, type : 1))
#define CONFIG(type, member) MEMBER(struct config, type, member)
#define UPSTREAM(type, member) MEMBER(struct config_upstream_draft, type, member)
#define LISTENER(type, member) MEMBER(struct config_listener, type, member)
#define ROUTE(type, member) MEMBER(struct config_route_draft, type, member)
#define WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }
#define BOOLEAN WORDS("true", "false")

const struct field config_schema[] = {
	{ "upstreams",
	    "Servers to query, over TLS, in this order. Each is a map, or in short "
	    "address[:port][#hostname], such as 9.9.9.9#dns.quad9.net.",
	    .alias = "DNS_SERVERS",
	    .kind = FIELD_LIST, .min = 1, .max = CONFIG_UPSTREAMS_MAX },
	{ "upstreams[]", "A server: its keys, or in short address[:port][#hostname].",
	    .kind = FIELD_UPSTREAM },
	{ "upstreams[].address",
	    "IP address of the server; host names are not looked up. IPv6 with a port needs "
	    "brackets and quotes.",
	    .kind = FIELD_UPSTREAM_ADDRESS, .offset = UPSTREAM(struct address, upstream.address) },
	{ "upstreams[].port", "Port of the server; 53 is only for cleartext.",
	    .initial = "853", .kind = FIELD_NUMBER, .min = 1, .max = 65535,
	    .offset = UPSTREAM(int, port) },
	{ "upstreams[].hostname",
	    "Name that the certificate must be valid for, also sent as SNI; without it, the "
	    "certificate must be valid for the address.",
	    .initial = "none", .kind = FIELD_HOSTNAME,
	    .offset = UPSTREAM(char *, upstream.hostname) },
	{ "upstreams[].ca_file", "CA certificates for this upstream, in PEM.",
	    .initial = "tls.ca_file", .kind = FIELD_PATH,
	    .offset = UPSTREAM(char *, upstream.ca_file),
	    .place = UPSTREAM(struct config_place, upstream.ca_place) },
	{ "upstreams[].crl_file",
	    "Revocation lists for this upstream, in PEM; none where it has a ca_file of its own.",
	    .initial = "tls.crl_file", .kind = FIELD_PATH,
	    .offset = UPSTREAM(char *, upstream.crl_file),
	    .place = UPSTREAM(struct config_place, upstream.crl_place) },
	{ "upstreams[].pins",
	    "Public keys of which the server must have one: base64 of the SHA-256 (RFC 7858 4.2), "
	    "as `dot-proxy probe' prints it.",
	    .initial = "none", .kind = FIELD_LIST, .min = 1, .max = CONFIG_PINS_MAX },
	{ "upstreams[].pins[]", "Base64 of the SHA-256 of a public key.", .kind = FIELD_PIN },
	{ "upstreams[].verify",
	    "`chain' checks chain and name, and a pin where there is one; `pins' checks the pin "
	    "only.",
	    .initial = "chain", .kind = FIELD_FLAG, .words = WORDS("pins", "chain"),
	    .offset = UPSTREAM(bool, upstream.pins_only) },
	{ "upstreams[].cleartext",
	    "Whether to send queries over TCP without TLS, to port 53 where none is given. Only in a "
	    "route, and only to a private address: loopback, RFC 1918, 100.64.0.0/10, link-local or "
	    "fc00::/7.",
	    .initial = "false", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = UPSTREAM(bool, upstream.cleartext) },

	{ "routes",
	    "Domains with upstreams or an answer of their own, as in {domains: corp.example, "
	    "upstreams: 10.1.1.1#dns.corp.example}. The longest domain decides. Upstreams of a route "
	    "get no other names, and its names go to no other upstream.",
	    .initial = "none", .kind = FIELD_LIST, .min = 1, .max = CONFIG_ROUTES_MAX },
	{ "routes[]", "A route: its keys.", .kind = FIELD_ROUTE },
	{ "routes[].domains",
	    "Domains of the route, with all names below them; *.example is only the names below. A "
	    "prefix such as 10.96.0.0/12 stands for its reverse zones.",
	    .kind = FIELD_LIST, .min = 1, .max = CONFIG_ROUTES_MAX },
	{ "routes[].domains[]", "A domain, or a prefix.", .kind = FIELD_DOMAIN },
	{ "routes[].upstreams",
	    "Servers to query, with the same keys as those at the top level; `default' is those at the "
	    "top level.",
	    .initial = "none", .kind = FIELD_LIST, .min = 1, .max = CONFIG_UPSTREAMS_MAX,
	    .words = WORDS("default") },
	{ "routes[].upstreams[]", "A server: its keys, or in short address[:port][#hostname].",
	    .kind = FIELD_UPSTREAM },
	{ "routes[].answer",
	    "What is answered here, and no upstream is asked: `nxdomain' that the name does not exist, "
	    "`nodata' that it has no such record, `refused' an error.",
	    .initial = "none", .derived = true, .kind = FIELD_CHOICE,
	    .words = WORDS([CONFIG_ANSWER_NXDOMAIN] = "nxdomain", [CONFIG_ANSWER_NODATA] = "nodata",
		[CONFIG_ANSWER_REFUSED] = "refused"),
	    .offset = ROUTE(unsigned, answer) },
	{ "routes[].order", "As `order', for the upstreams of the route.",
	    .initial = "order", .derived = true, .kind = FIELD_FLAG,
	    .words = WORDS("fastest", "list"), .offset = ROUTE(bool, order_fastest) },
	{ "routes[].fallback", "When the next upstream of the route is asked as well.",
	    .kind = FIELD_MAP },
	{ "routes[].fallback.after", "As fallback.after, for the upstreams of the route.",
	    .initial = "fallback.after", .derived = true, .kind = FIELD_DURATION,
	    .words = WORDS("never", "auto"), .min = 10, .max = 9 * SECOND, .zero = true,
	    .offset = ROUTE(int, fallback_after_ms) },
	{ "routes[].cache", "Times of responses in the cache.", .kind = FIELD_MAP },
	{ "routes[].cache.stale", "As cache.stale, for names of the route.",
	    .initial = "cache.stale", .derived = true, .kind = FIELD_SECONDS, .max = WEEK_S,
	    .offset = ROUTE(int, stale_s) },
	{ "routes[].cache.min_ttl", "As cache.min_ttl, for names of the route.",
	    .initial = "cache.min_ttl", .derived = true, .kind = FIELD_SECONDS, .max = HOUR_S,
	    .offset = ROUTE(int, min_ttl_s) },

	{ "listen",
	    "Addresses to listen on, over UDP and TCP; [::] is IPv6 only. Each is address[:port], "
	    "or a map such as {address: 0.0.0.0:53, udp: false}. An address that no interface "
	    "has yet is served once one has it.",
	    .initial = "0.0.0.0:53", .alias = "SOCKET_ADDRESS",
	    .kind = FIELD_LIST, .min = 1, .max = CONFIG_LISTEN_MAX },
	{ "listen[]", "A listener: its keys, or its address alone.", .kind = FIELD_LISTENER },
	{ "listen[].address", "IP address to listen on; the port is 53 where none is given.",
	    .kind = FIELD_LISTEN_ADDRESS, .offset = LISTENER(struct address, address),
	    .place = LISTENER(struct config_place, place) },
	{ "listen[].udp", "Whether to listen over UDP.",
	    .initial = "true", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = LISTENER(bool, udp) },
	{ "listen[].tcp", "Whether to listen over TCP.",
	    .initial = "true", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = LISTENER(bool, tcp) },

	{ "tls", "TLS towards the upstreams.", .kind = FIELD_MAP },
	{ "tls.ca_file",
	    "CA certificates, in PEM; each one is a trust anchor, a root or not. The system's "
	    "bundle is $SSL_CERT_FILE, or the file of the distribution.",
	    .initial = "the system's bundle", .kind = FIELD_PATH,
	    .offset = CONFIG(char *, tls.ca_file),
	    .place = CONFIG(struct config_place, tls.ca_place) },
	{ "tls.crl_file",
	    "Revocation lists, in PEM. No certificate of a chain may be on one, and every issuer "
	    "needs a current one.",
	    .initial = "none", .kind = FIELD_PATH, .offset = CONFIG(char *, tls.crl_file),
	    .place = CONFIG(struct config_place, tls.crl_place) },
	{ "tls.fast_open",
	    "Whether to use TCP Fast Open (RFC 7413) towards the upstreams, which saves a round "
	    "trip on each new connection.",
	    .initial = "false", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = CONFIG(bool, tls.fast_open) },

	/* A query must be answered before `docker stop' kills the process, after 10 s. */
	{ "timeouts", "Limits of time.", .kind = FIELD_MAP },
	{ "timeouts.query",
	    "From the last byte of a query to its response, or to SERVFAIL.",
	    .initial = "4500ms", .kind = FIELD_DURATION, .min = 100, .max = 9 * SECOND,
	    .offset = CONFIG(int, timeouts.query_ms) },
	{ "timeouts.connect", "TCP connection to an upstream; at most timeouts.query.",
	    .initial = "1s", .kind = FIELD_DURATION, .min = 10, .max = 9 * SECOND,
	    .offset = CONFIG(int, timeouts.connect_ms) },
	{ "timeouts.handshake", "TLS handshake with an upstream; at most timeouts.query.",
	    .initial = "1500ms", .kind = FIELD_DURATION, .min = 10, .max = 9 * SECOND,
	    .offset = CONFIG(int, timeouts.handshake_ms) },
	{ "timeouts.answer",
	    "First response on a new connection to an upstream; at most timeouts.query.",
	    .initial = "2s", .kind = FIELD_DURATION, .min = 10, .max = 9 * SECOND,
	    .offset = CONFIG(int, timeouts.answer_ms) },
	{ "timeouts.client_idle",
	    "TCP client without a query; 0 closes a client once its queries are answered.",
	    .initial = "10s", .kind = FIELD_DURATION, .min = 10, .max = 10 * MINUTE, .zero = true,
	    .offset = CONFIG(int, timeouts.client_idle_ms) },
	{ "timeouts.client_read", "From the first byte of a query over TCP to its last.",
	    .initial = "2s", .kind = FIELD_DURATION, .min = 10, .max = MINUTE,
	    .offset = CONFIG(int, timeouts.client_read_ms) },
	{ "timeouts.upstream_idle",
	    "Connection to an upstream without a query; 0 opens a connection for each query.",
	    .initial = "8s", .kind = FIELD_DURATION, .min = 10, .max = 10 * MINUTE, .zero = true,
	    .offset = CONFIG(int, timeouts.upstream_idle_ms) },

	{ "order",
	    "Order of the upstreams: `list' as in the file, `fastest' by smoothed response time, "
	    "which one more query every 10 s measures.",
	    .initial = "list", .kind = FIELD_FLAG, .words = WORDS("fastest", "list"),
	    .offset = CONFIG(bool, order_fastest) },
	{ "fallback", "When the next upstream is asked as well.", .kind = FIELD_MAP },
	{ "fallback.after",
	    "Time without a response after which the next upstream is asked as well; 0 asks all at "
	    "once, up to 8. `auto' takes the time in which 95 % of its recent responses came, from "
	    "20ms to 400ms, and sends under 5 % more queries.",
	    .initial = "400ms", .kind = FIELD_DURATION, .words = WORDS("never", "auto"), .min = 10,
	    .max = 9 * SECOND, .zero = true, .offset = CONFIG(int, fallback_after_ms) },
	/* A place in the cache has 12 bits for its segment, and a segment has 1 MiB at most. */
	{ "cache", "The cache of responses, which all workers share.", .kind = FIELD_MAP },
	{ "cache.size",
	    "Memory of the cache, used as it fills: at least 72KiB, and 54KiB for each worker. 0 "
	    "turns it off, the default where `inflight' is 1 and timeouts.upstream_idle 0.",
	    .initial = "4MiB", .kind = FIELD_SIZE, .min = CONFIG_CACHE_KIB + CONFIG_CACHE_WORKER_KIB,
	    .max = 4 * GIB_KIB, .zero = true, .offset = CONFIG(size_t, cache.size) },
	{ "cache.max_ttl", "Longest time that a response is cached.",
	    .initial = "1d", .kind = FIELD_SECONDS, .min = 1, .max = WEEK_S,
	    .offset = CONFIG(int, cache.max_ttl_s) },
	{ "cache.min_ttl",
	    "Shortest time that a response is cached, even if its TTL is lower; at most "
	    "cache.max_ttl.",
	    .initial = "0", .kind = FIELD_SECONDS, .max = HOUR_S,
	    .offset = CONFIG(int, cache.min_ttl_s) },
	{ "cache.negative_ttl",
	    "Longest time that a response without data is cached, for a name or a type that does "
	    "not exist (RFC 2308).",
	    .initial = "1h", .kind = FIELD_SECONDS, .max = WEEK_S,
	    .offset = CONFIG(int, cache.negative_ttl_s) },
	{ "cache.stale",
	    "How long a response may be given after it has expired, if no upstream answers "
	    "(RFC 8767); 0: not at all.",
	    .initial = "1d", .kind = FIELD_SECONDS, .max = WEEK_S,
	    .offset = CONFIG(int, cache.stale_s) },
	{ "cache.stale_after",
	    "Time without a response after which the client gets one that has expired; at most "
	    "timeouts.query. 0: at once, while an upstream is asked.",
	    .initial = "1800ms", .kind = FIELD_DURATION, .min = 10, .max = 9 * SECOND, .zero = true,
	    .offset = CONFIG(int, cache.stale_after_ms) },
	{ "cache.prefetch",
	    "Whether a cached response that is asked for in the last tenth of its time is "
	    "refreshed.",
	    .initial = "true", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = CONFIG(bool, cache.prefetch) },
	{ "local_names",
	    "Whether special-use names are answered here, and not forwarded: localhost, test, "
	    "internal, reverse zones of private addresses and others (RFC 6761, RFC 6303).",
	    .initial = "true", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = CONFIG(bool, local_names) },
	{ "single_labels",
	    "Names of one label, such as printer: `forward' sends them to upstreams, `nxdomain' "
	    "answers that there are none, but for NS, DS, SOA and DNSKEY.",
	    .initial = "forward", .kind = FIELD_FLAG, .words = WORDS("nxdomain", "forward"),
	    .offset = CONFIG(bool, single_labels_here) },
	{ "hosts",
	    "Names that are answered here, each with an address or a list of up to 64. The "
	    "addresses lead back to them (PTR).",
	    .initial = "none", .kind = FIELD_HOSTS, .min = 1, .max = CONFIG_HOSTS_MAX },
	{ "hosts_file",
	    "A file with more of them, like /etc/hosts, up to 8 MiB; read at the start and on each "
	    "reload. Names in `hosts' are not taken from it.",
	    .initial = "none", .kind = FIELD_PATH, .offset = CONFIG(char *, hosts_file),
	    .place = CONFIG(struct config_place, hosts_place) },
	{ "inflight", "Queries in flight at a time, for each worker.",
	    .initial = "1024", .kind = FIELD_NUMBER, .min = 1, .max = CONFIG_INFLIGHT_MAX,
	    .offset = CONFIG(int, inflight) },
	/* The default fits any path: 1280, less the headers of IPv6 and UDP. */
	{ "udp_size",
	    "Longest response over UDP, in bytes; a longer one is truncated (TC), and the client "
	    "asks again over TCP.",
	    .initial = "1232", .kind = FIELD_NUMBER, .min = CONFIG_UDP_SIZE_MIN,
	    .max = CONFIG_UDP_SIZE_MAX, .offset = CONFIG(int, udp_size) },
	{ "workers", "Worker processes.",
	    .initial = "2", .kind = FIELD_NUMBER, .min = 1, .max = CONFIG_WORKERS_MAX,
	    .offset = CONFIG(int, workers) },
	{ "clients", "Limits of TCP clients.", .kind = FIELD_MAP },
	{ "clients.max",
	    "TCP clients of each worker, or fewer where the limit of descriptors is lower; the one "
	    "idle longest is closed for a new one.",
	    .initial = "5000", .kind = FIELD_NUMBER, .min = 1, .max = CONFIG_CLIENTS_MAX,
	    .offset = CONFIG(int, clients.max) },
	{ "clients.per_address", "TCP clients of each worker from one address.",
	    .initial = "500", .kind = FIELD_NUMBER, .min = 1, .max = CONFIG_CLIENTS_MAX,
	    .offset = CONFIG(int, clients.per_address) },
	{ "allow",
	    "Clients that may ask: prefixes such as 192.0.2.0/24, `any' (2 entries), or `private' "
	    "(9 entries): loopback, RFC 1918, 100.64.0.0/10, link-local and fc00::/7.",
	    .initial = "private", .kind = FIELD_LIST, .min = 1, .max = CONFIG_ALLOW_MAX },
	{ "allow[]", "A prefix, `any' or `private'.", .kind = FIELD_PREFIX },
	{ "reload",
	    "`auto' reloads on SIGHUP and when the content of the file has changed, `signal' on "
	    "SIGHUP only.",
	    .initial = "auto", .kind = FIELD_FLAG, .words = WORDS("auto", "signal"),
	    .offset = CONFIG(bool, reload_auto) },
	{ "user", "User that workers run as when started as root.",
	    .initial = "nobody", .kind = FIELD_USER, .offset = CONFIG(char *, user),
	    .place = CONFIG(struct config_place, user_place) },
	{ "sandbox",
	    "`strict' refuses to start where the kernel lacks Landlock for TCP or seccomp, "
	    "`best-effort' logs what is missing, `off' uses neither.",
	    .initial = "best-effort", .kind = FIELD_CHOICE,
	    .words = WORDS([CONFIG_SANDBOX_STRICT] = "strict",
		[CONFIG_SANDBOX_BEST_EFFORT] = "best-effort", [CONFIG_SANDBOX_OFF] = "off"),
	    .offset = CONFIG(unsigned, sandbox),
	    .place = CONFIG(struct config_place, sandbox_place) },
	{ "privacy", "What upstreams learn about clients.", .kind = FIELD_MAP },
	{ "privacy.padding",
	    "Whether to pad queries to a multiple of 128 bytes (RFC 8467).",
	    .initial = "true", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = CONFIG(bool, privacy.padding) },
	{ "privacy.client_subnet",
	    "`true' forwards a client's subnet option, `false' asks the server to use none "
	    "(RFC 7871).",
	    .initial = "false", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = CONFIG(bool, privacy.client_subnet) },
	{ "log", "What is logged.", .kind = FIELD_MAP },
	{ "log.level", "Least important level that is logged.",
	    .initial = "info", .kind = FIELD_CHOICE,
	    .words = WORDS([LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn",
		[LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug"),
	    .offset = CONFIG(unsigned, log.level) },
	{ "log.queries", "Whether to log a line for each query, with its name.",
	    .initial = "false", .kind = FIELD_FLAG, .words = BOOLEAN,
	    .offset = CONFIG(bool, log.queries) },
	{ .name = NULL },
};
/* clang-format on */

_Static_assert(sizeof config_schema / sizeof config_schema[0] <= CONFIG_FIELDS_MAX,
    "too many keys");

bool
config_is_child(const struct field *f, const struct field *parent)
{
	size_t len = parent != NULL ? strlen(parent->name) : 0;
	const char *rest = f->name + len;

	if (parent != NULL && (strncmp(f->name, parent->name, len) != 0 || *rest++ != '.'))
		return false;
	return rest[strcspn(rest, ".[")] == '\0';
}

const struct field *
config_find_field(const char *name)
{
	const struct field *f = config_schema;

	while (strcmp(f->name, name) != 0)
		f++;
	return f;
}
