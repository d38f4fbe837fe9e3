#ifndef DOTPROXY_CONFIG_H
#define DOTPROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/address.h"
#include "base/log.h"
#include "format/dns.h"
#include "format/edns.h"

enum {
	CONFIG_LISTEN_MAX = 16,
	CONFIG_UPSTREAMS_MAX = 256, /* of all groups */
	CONFIG_GROUPS_MAX = 32,
	CONFIG_ROUTES_MAX = 16384,
	CONFIG_DOMAINS_MAX = 65536, /* of all routes; reverse zones of prefixes count each */
	CONFIG_ALLOW_MAX = 64,
	CONFIG_PINS_MAX = 8,
	CONFIG_HOSTS_MAX = 1024,
	CONFIG_HOST_ADDRESSES_MAX = 64, /* of one name */
	CONFIG_WORKERS_MAX = 64,
	CONFIG_CLIENTS_MAX = 65536,
	CONFIG_INFLIGHT_MAX = 16384,
	CONFIG_UDP_SIZE_MIN = 512, /* RFC 1035 4.2.1 */
	CONFIG_UDP_SIZE_MAX = 4096,

	/* The least `cache.size': so much, and so much for each worker; in KiB. */
	CONFIG_CACHE_KIB = 72,
	CONFIG_CACHE_WORKER_KIB = 54
};

/* A position in the file, counted from 1; zeros for a value that is not in the file. */
struct config_place {
	size_t line;
	size_t column;
};

/* Where queries come in; at least one of `udp' and `tcp' is true. */
struct config_listener {
	struct address address;
	char interface[ADDRESS_INTERFACE_MAX]; /* as in the file; "": none */
	struct config_place place;
	bool udp;
	bool tcp;
};

/* Whether the interface did not exist when the file was read: the address has no zone then. */
bool config_listener_is_late(const struct config_listener *);

/* As address_format(), with the interface as in the file, whether it exists or not. */
char *config_listener_format(const struct config_listener *, char text[static ADDRESS_TEXT_MAX]);

/* Words for a time of `fallback.after'. */
enum { CONFIG_AFTER_NEVER = -1, CONFIG_AFTER_AUTO = -2 };

/* What to do when the kernel lacks a part of the sandbox. */
enum config_sandbox {
	CONFIG_SANDBOX_STRICT,      /* refuse to start */
	CONFIG_SANDBOX_BEST_EFFORT, /* start without that part */
	CONFIG_SANDBOX_OFF          /* no Landlock, no seccomp */
};

/* A server that queries are sent to over TLS. */
struct config_upstream {
	struct address address;
	char *hostname; /* verified and sent as SNI; NULL: the certificate must name the address */
	char *ca_file;  /* NULL: the system's bundle */
	char *crl_file; /* NULL: none */
	struct config_place ca_place;
	struct config_place crl_place;
	char *pins[CONFIG_PINS_MAX];
	size_t pin_count;
	bool pins_only; /* only the pins are checked; there is one at least */
	bool cleartext; /* plain TCP, and nothing is checked; a private address in a route only */
};

/*
 * Upstreams of which one is asked in place of another: those at the top level, which are group 0, or
 * those of a route. Between groups there is no fallback.
 */
struct config_group {
	char *name;                     /* the first domain of the route; NULL: the top level */
	uint8_t own_name[DNS_NAME_MAX]; /* what our own queries are about: a name of its domains */
	size_t own_name_len;
	size_t first; /* of its upstreams, which stand side by side */
	size_t count;
	bool order_fastest;    /* by response time, not in the order of the file */
	int fallback_after_ms; /* until the next upstream is asked as well; or a word */
	int stale_s;           /* as in `cache', as is the next */
	int min_ttl_s;
};

/* What is answered here to a query of a route that asks no upstream. */
enum config_answer {
	CONFIG_ANSWER_NXDOMAIN,
	CONFIG_ANSWER_NODATA,
	CONFIG_ANSWER_REFUSED,
	CONFIG_ANSWER_NONE /* an upstream is asked */
};

/* Where queries for the names of some domains go. */
struct config_route {
	char **domains; /* as in the file: domains and prefixes */
	size_t domain_count;
	enum config_answer answer;
	size_t group; /* of upstreams, where `answer' is NONE; 0: those at the top level */
};

/* A domain of a route, see struct domain; prefixes have become reverse zones. */
struct config_domain {
	uint8_t *name;
	size_t len;
	bool is_below;
	size_t route; /* its index in `routes' */
	struct config_place place;
};

/*
 * Whether both are verified with the same trust store: the same CA file and the same CRL file; or
 * neither is, in cleartext.
 */
bool config_same_trust(const struct config_upstream *, const struct config_upstream *);

/* A name of `hosts', which domain_parse() takes. */
struct config_host {
	char *name;
	struct address *addresses; /* without port and zone */
	size_t count;              /* of the addresses; at least 1 */
};

/* A valid configuration with all defaults filled in. It does not change while in use. */
struct config {
	struct config_listener listen[CONFIG_LISTEN_MAX];
	size_t listen_count;               /* at least 1 */
	struct config_upstream *upstreams; /* in the order of the file, group after group */
	size_t upstream_count;             /* of all groups; at least 1 */
	struct config_group groups[CONFIG_GROUPS_MAX];
	size_t group_count; /* at least 1 */
	struct config_route *routes;
	size_t route_count;
	struct config_domain *domains; /* of all routes */
	size_t domain_count;
	struct {
		int query_ms;
		int connect_ms;
		int handshake_ms;
		int answer_ms;
		int client_idle_ms; /* 0: a client is closed once its queries are answered */
		int client_read_ms;
		int upstream_idle_ms; /* 0: a fresh connection for each query */
	} timeouts;
	struct {
		char *
		    ca_file; /* given to the upstreams that name none, and NULL then, as the next */
		char *crl_file;
		struct config_place ca_place;
		struct config_place crl_place;
		bool fast_open;
	} tls;
	bool order_fastest; /* of group 0, as is the next */
	int fallback_after_ms;
	bool local_names;        /* special-use names are answered here */
	bool single_labels_here; /* names of one label as well */
	struct config_host *hosts;
	size_t host_count;
	char *hosts_file; /* NULL: none */
	struct config_place hosts_place;
	int inflight; /* queries in flight in each worker; 1 to CONFIG_INFLIGHT_MAX */
	int udp_size; /* bytes of the longest response over UDP */
	struct prefix allow[CONFIG_ALLOW_MAX];
	size_t allow_count; /* "private" and "any" are stored as the prefixes they stand for */
	int workers;        /* 1 to CONFIG_WORKERS_MAX */
	struct {
		int max;         /* TCP clients of each worker */
		int per_address; /* the same, from one address */
	} clients;
	bool reload_auto; /* reload when the file has changed, not only on SIGHUP */
	char *user;       /* user of the workers when started as root; NULL: "nobody" */
	struct config_place user_place;
	enum config_sandbox sandbox;
	struct config_place sandbox_place;
	struct edns_settings privacy;
	struct {
		size_t size; /* bytes; 0: there is none, else config_cache_size_min() at least */
		int max_ttl_s;
		int min_ttl_s; /* `max_ttl_s' at most */
		int negative_ttl_s;
		int stale_s; /* 0: never */
		int stale_after_ms;
		bool prefetch;
	} cache;
	struct {
		enum log_level level;
		bool queries; /* a line for each query, with its name */
	} log;
};

/* The errors and the warnings about a configuration, a line of text each. */
struct config_report {
	/* "config.yml:12:5: unknown key `adress' (did you mean `address'?)\n"..., or NULL */
	char *errors;
	size_t error_count; /* includes those that the text has no room for */
	char *warnings;     /* NULL where there is none */
};

/*
 * Reads and checks the file at PATH. Returns the configuration, which the caller frees with
 * config_free(); or NULL when there are errors, all of them in REPORT with file, line and column.
 * There may be warnings in either case. The caller frees the report with config_report_free().
 * Opens no file but PATH and binds nothing: check_environment() checks what depends on other
 * files and on this machine.
 */
struct config *config_load(const char *path, struct config_report *report);

/* As config_load() for a text in memory; messages name it NAME. */
struct config *config_read(const char *text, size_t len, const char *name,
    struct config_report *report);

/* The least `cache.size' for so many workers, in bytes: not less than cache_size_min(). */
size_t config_cache_size_min(int workers);

/* The group of the upstream with that index. */
const struct config_group *config_group_of(const struct config *, size_t upstream);

/*
 * The domains of a route as a text for people: "cluster.local, 10.96.0.0/12"; of many, only the first
 * ones and the number of the others. Returns TEXT.
 */
enum { CONFIG_DOMAINS_TEXT_MAX = 512 };
char *config_format_domains(const struct config_route *, char text[static CONFIG_DOMAINS_TEXT_MAX]);

/* Whether the client address is in `allow'. */
bool config_allows(const struct config *, const struct address *);

/*
 * Replaces the listeners by COUNT others, 1 to CONFIG_LISTEN_MAX. Returns 0, or -1 when one of
 * them is an upstream; then nothing has changed.
 */
int config_listen_instead(struct config *, const struct config_listener *, size_t count);

/*
 * Replaces the listeners by the one address (see address_parse(); port 53 by default), over UDP
 * and TCP. Returns NULL, or what is wrong with TEXT, in words that continue "`TEXT' "; then
 * nothing has changed.
 */
const char *config_set_listen(struct config *, const char *text);

/* Writes the configuration as YAML that config_load() reads back to the same. */
void config_print(const struct config *, FILE *);

/* Writes the JSON Schema (draft 2020-12) of the file: keys, ranges, defaults, a text for each. */
void config_print_schema(FILE *);

/* Releases all of it; NULL is fine. */
void config_free(struct config *);
void config_report_free(struct config_report *);

/* The name of an upstream in messages: "1.1.1.1:853 cloudflare-dns.com". Returns TEXT. */
enum { CONFIG_UPSTREAM_NAME_MAX = ADDRESS_TEXT_MAX + 256 };
char *config_upstream_name(const struct config_upstream *,
    char text[static CONFIG_UPSTREAM_NAME_MAX]);

#endif
