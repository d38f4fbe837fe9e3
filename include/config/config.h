#ifndef DOTPROXY_CONFIG_H
#define DOTPROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/address.h"
#include "base/log.h"
#include "format/edns.h"

enum {
	CONFIG_LISTEN_MAX = 16,
	CONFIG_UPSTREAMS_MAX = 256,
	CONFIG_ALLOW_MAX = 64,
	CONFIG_PINS_MAX = 8,
	CONFIG_WORKERS_MAX = 64,
	CONFIG_CLIENTS_MAX = 65536,
	CONFIG_INFLIGHT_MAX = 16384,
	CONFIG_UDP_SIZE_MIN = 512, /* RFC 1035 4.2.1 */
	CONFIG_UDP_SIZE_MAX = 4096
};

/* A position in the file, counted from 1; zeros for a value that is not in the file. */
struct config_place {
	size_t line;
	size_t column;
};

/* What queries come to: one of the two or both are true. */
struct config_listener {
	struct address address;
	char interface[ADDRESS_INTERFACE_MAX]; /* as the file names it; "": it names none */
	struct config_place place;
	bool udp;
	bool tcp;
};

/* Whether the interface of the address was not there when the file was read: it has no zone. */
bool config_listener_is_late(const struct config_listener *);

/* As address_format(), with the interface as the file names it, also where it is not there. */
char *config_listener_format(const struct config_listener *, char text[static ADDRESS_TEXT_MAX]);

/* What becomes of a worker that the kernel cannot shut in as it should. */
enum config_sandbox {
	CONFIG_SANDBOX_STRICT,      /* it does not start */
	CONFIG_SANDBOX_BEST_EFFORT, /* what the kernel lacks is left out */
	CONFIG_SANDBOX_OFF          /* no Landlock, no seccomp */
};

/* One server that is asked over TLS. */
struct config_upstream {
	struct address address;
	char *hostname; /* verified and sent as SNI; NULL: the certificate must name the address */
	char *ca_file;  /* NULL: the system's bundle */
	char *crl_file; /* NULL: none */
	struct config_place ca_place;
	struct config_place crl_place;
	char *pins[CONFIG_PINS_MAX];
	size_t pin_count;
	bool pins_only; /* the key is all that counts; there is at least one pin */
};

/*
 * The configuration as understood: checked, with the defaults filled in. Never
 * changed after it was loaded.
 */
struct config {
	struct config_listener listen[CONFIG_LISTEN_MAX];
	size_t listen_count;               /* at least 1 */
	struct config_upstream *upstreams; /* in the order in which they are asked */
	size_t upstream_count;             /* at least 1 */
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
		bool fast_open;
	} tls;
	bool order_fastest;    /* those that answer fastest first, not those that stand first */
	int fallback_after_ms; /* then the next upstream is asked beside; 0: all at once; -1: never */
	int inflight;          /* queries in hand at most; 1 to CONFIG_INFLIGHT_MAX */
	int udp_size;          /* octets of an answer by UDP at most; CONFIG_UDP_SIZE_MIN to _MAX */
	struct prefix allow[CONFIG_ALLOW_MAX];
	size_t allow_count; /* "private" and "any" are spelled out as prefixes */
	int workers;        /* 1 to CONFIG_WORKERS_MAX */
	struct {
		int max;         /* TCP clients at most, of each worker */
		int per_address; /* of them from one address */
	} clients;
	bool reload_auto; /* also when the file has changed, not only on SIGHUP */
	char *user;       /* whom workers run as when started as root; NULL: nobody */
	struct config_place user_place;
	enum config_sandbox sandbox;
	struct config_place sandbox_place;
	struct edns_settings privacy;
	struct {
		enum log_level level;
		bool queries; /* a line for each query, with its name */
	} log;
};

/* What is wrong, or merely strange, in a configuration: a line of text each. */
struct config_report {
	/* "config.yml:12:5: unknown key `adress' (did you mean `address'?)\n"..., or NULL */
	char *errors;
	size_t error_count; /* also those that no longer found room in the text */
	char *warnings;     /* NULL where there is none */
};

/*
 * Reads and checks the file at PATH. Returns the configuration, which the caller
 * frees with config_free(); or NULL when there is any error, all of which are then
 * in REPORT, with file, line and column. Warnings come with either outcome. The
 * caller frees the report with config_report_free(). Nothing is looked up, opened
 * or bound but PATH itself: what depends on other files and on this machine is for
 * check_environment() and for those who use it.
 */
struct config *config_load(const char *path, struct config_report *report);

/* As config_load() for a text in memory; NAME stands where the path stood in messages. */
struct config *config_read(const char *text, size_t len, const char *name,
    struct config_report *report);

/* Whether the address is one of those that may ask. */
bool config_allows(const struct config *, const struct address *);

/*
 * Replaces what is listened on, COUNT of them, 1 to CONFIG_LISTEN_MAX. Returns 0, or -1 when that
 * would make a loop with an upstream; then nothing has changed.
 */
int config_listen_instead(struct config *, const struct config_listener *, size_t count);

/*
 * Replaces what is listened on by the one address (see address_parse(); port 53 where none
 * is written), by UDP and TCP. Returns NULL, or what keeps TEXT from that, in words that continue
 * "`TEXT' "; then nothing has changed.
 */
const char *config_set_listen(struct config *, const char *text);

/* The name of a sandbox level as the configuration has it. */
const char *config_sandbox_name(enum config_sandbox);

/* Writes the configuration as YAML that config_load() reads back to the same. */
void config_print(const struct config *, FILE *);

/* Releases all of it; NULL is fine. */
void config_free(struct config *);
void config_report_free(struct config_report *);

/*
 * The name of an upstream for people: "1.1.1.1:853 cloudflare-dns.com", without the
 * host name where it has none. Returns TEXT.
 */
enum { CONFIG_UPSTREAM_NAME_MAX = ADDRESS_TEXT_MAX + 256 };
char *config_upstream_name(const struct config_upstream *,
    char text[static CONFIG_UPSTREAM_NAME_MAX]);

/* "error", "warn", "info" or "debug". */
const char *config_level_name(enum log_level);

#endif
