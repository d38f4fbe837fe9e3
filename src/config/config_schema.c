#include "config_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hostname.h"
#include "config/field.h"
#include "config/notation.h"

enum {
	DOT_PORT = 853, /* RFC 7858 3.1 */
	SECOND = 1000,
	MINUTE = 60 * SECOND
};

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* The path of a file as written; the text is the tree's. */
struct path {
	const char *text; /* NULL: not given */
	struct config_place place;
};

struct loader {
	struct config *config;
	struct path ca_file;  /* tls.ca_file */
	struct path crl_file; /* tls.crl_file */
	/* Where each one stands, for what can only be checked at the end. */
	int listen_nodes[CONFIG_LISTEN_MAX];
	int upstream_nodes[CONFIG_UPSTREAMS_MAX];
};

static struct config_place
place_of(const struct tree *t, int node)
{
	return (struct config_place){ tree_line(t, node), tree_column(t, node) };
}

static void
load_path(struct tree *t, int node, const struct field *f, void *out)
{
	struct path *path = out;

	field_path(t, node, f, &path->text);
	path->place = place_of(t, node);
}

/* An upstream as written; the texts are the tree's. */
struct draft {
	struct address address; /* port 0: none is written */
	const char *written;    /* the address as text */
	int written_at;
	int port; /* 0: not given by its own key */
	const char *hostname;
	struct path ca_file;
	struct path crl_file;
	const char *pins[CONFIG_PINS_MAX];
	size_t pin_count;
	bool pins_only;
};

static void
load_address(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "an IP address");
	struct draft *d = out;
	char why[NOTATION_MAX];

	(void)f;
	if (text == NULL)
		return;
	d->written = text;
	d->written_at = node;
	if (notation_read(NOTATION_UPSTREAM_ADDRESS, text, 0, &d->address, NULL, why) == -1)
		tree_complain(t, node, "`%.*s' %s", tree_shown(text), text, why);
}

/* Which of the NAMES, of which the last is NULL, stands there; -1 when none does, and has complained. */
static int
read_choice(struct tree *t, int node, const char *what, const char *const *names,
    const char *expected)
{
	const char *text = tree_text(t, node, what);
	int i;

	if (text == NULL)
		return -1;
	for (i = 0; names[i] != NULL; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	tree_complain(t, node, "expected %s, found `%.*s'", expected, tree_shown(text), text);
	return -1;
}

enum { PIN_LEN = 44 };

/* Base64 of 32 bytes, as there is one way only to write it. */
static bool
is_pin(const char *text)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	return strlen(text) == PIN_LEN && strspn(text, digits) == 43 && text[43] == '=' &&
	    strchr("AEIMQUYcgkosw048", text[42]) != NULL;
}

/* Finds a pin within other notations: `pin-sha256="..."' (HPKP), `sha256//...' (curl). */
static bool
has_pin(const char *text, char pin[static PIN_LEN + 1])
{
	for (; strlen(text) >= PIN_LEN; text++) {
		(void)snprintf(pin, PIN_LEN + 1, "%s", text);
		if (is_pin(pin))
			return true;
	}
	return false;
}

static void
load_pin(struct tree *t, int node, void *arg)
{
	struct draft *d = arg;
	const char *text;
	char pin[PIN_LEN + 1];

	if (tree_is_map(t, node)) {
		tree_complain(t, node,
		    "expected a pin, found keys and values (write only the value of `value')");
		return;
	}
	if ((text = tree_text(t, node, "a pin")) == NULL)
		return;
	if (is_pin(text))
		d->pins[d->pin_count++] = text;
	else if (has_pin(text, pin))
		tree_complain(t, node, "not a pin: `%.*s' has more than the value (write \"%s\")",
		    tree_shown(text), text, pin);
	else
		tree_complain(t, node,
		    "not a pin: `%.*s' (base64 of a SHA-256, 44 characters; "
		    "`dot-proxy probe' prints it)",
		    tree_shown(text), text);
}

static void
load_pins(struct tree *t, int node, const struct field *f, void *out)
{
	(void)f;
	tree_list(t, node, CONFIG_PINS_MAX, load_pin, out);
}

static void
load_verify(struct tree *t, int node, const struct field *f, void *out)
{
	static const char *const names[] = { "chain", "pins", NULL };
	int choice = read_choice(t, node, "a way to verify", names, "chain or pins");

	(void)f;
	if (choice != -1)
		*(bool *)out = choice == 1;
}

static void
read_long_form(struct tree *t, int node, struct draft *d)
{
	static const struct field fields[] = {
		{ "address", NULL, load_address, 0, 0, 0, false },
		{ "port", NULL, field_number, offsetof(struct draft, port), 1, 65535, false },
		{ "hostname", NULL, field_hostname, offsetof(struct draft, hostname), 0, 0, false },
		{ "ca_file", NULL, load_path, offsetof(struct draft, ca_file), 0, 0, false },
		{ "crl_file", NULL, load_path, offsetof(struct draft, crl_file), 0, 0, false },
		{ "pins", NULL, load_pins, 0, 0, 0, false },
		{ "verify", NULL, load_verify, offsetof(struct draft, pins_only), 0, 0, false },
	};
	enum { ADDRESS, PORT, VERIFY = 6 };
	int found[LENGTH(fields)];
	size_t before = t->errors.count;
	char why[NOTATION_MAX];

	tree_map(t, node, fields, LENGTH(fields), d, found);
	if (found[ADDRESS] == 0)
		tree_complain(t, node, "missing key `address' (the server's IP address)");
	else if (d->pins_only && d->pin_count == 0)
		tree_complain(t, found[VERIFY],
		    "`verify: pins' without `pins' would verify nothing (write the pins, as "
		    "`dot-proxy probe' prints them)");
	else if (d->port != 0 && address_port(&d->address) != 0)
		tree_complain(t, found[PORT],
		    "repeated port (the address has one already; leave one out)");
	else if (d->port != 0)
		address_set_port(&d->address, (uint16_t)d->port);
	else if (t->errors.count == before && notation_check_port(d->written, why) == -1)
		tree_complain(t, d->written_at, "`%.*s' %s", tree_shown(d->written), d->written,
		    why);
}

/* "address[:port]", perhaps with "#hostname". */
static void
read_short_form(struct tree *t, int node, struct draft *d)
{
	const char *text = tree_text(t, node, "an upstream");
	const char *problem;
	char why[NOTATION_MAX];

	if (text == NULL)
		return;
	if (notation_read(NOTATION_UPSTREAM, text, 0, &d->address, &d->hostname, why) == -1)
		tree_complain(t, node, "`%.*s' %s", tree_shown(text), text, why);
	else if (d->hostname != NULL && (problem = hostname_problem(d->hostname)) != NULL)
		tree_complain(t, node, "host name `%.*s' %s", tree_shown(d->hostname), d->hostname,
		    problem);
}

static bool
same_text(const char *a, const char *b, int (*compare)(const char *, const char *))
{
	return a == b || (a != NULL && b != NULL && compare(a, b) == 0);
}

static char *
copy(struct tree *t, const char *text)
{
	char *copied;

	if (text == NULL)
		return NULL;
	if ((copied = strdup(text)) == NULL)
		complaint_add(&t->errors, 0, 0, "out of memory");
	return copied;
}

static bool
same_pins(const struct config_upstream *u, const struct draft *d)
{
	size_t i;

	if (u->pin_count != d->pin_count || u->pins_only != d->pins_only)
		return false;
	for (i = 0; i < u->pin_count; i++)
		if (strcmp(u->pins[i], d->pins[i]) != 0)
			return false;
	return true;
}

static void
add_upstream(struct tree *t, int node, const struct draft *d, struct loader *l)
{
	struct config *c = l->config;
	struct config_upstream *u;
	size_t i;

	for (u = c->upstreams; u < c->upstreams + c->upstream_count; u++) {
		if (address_equal(&u->address, &d->address) &&
		    same_text(u->hostname, d->hostname, strcasecmp) &&
		    same_text(u->ca_file, d->ca_file.text, strcmp) &&
		    same_text(u->crl_file, d->crl_file.text, strcmp) && same_pins(u, d)) {
			tree_warn(t, node, "the same upstream as on line %zu; left out",
			    tree_line(t, l->upstream_nodes[u - c->upstreams]));
			return;
		}
	}
	u->address = d->address;
	u->hostname = copy(t, d->hostname);
	u->ca_file = copy(t, d->ca_file.text);
	u->ca_place = d->ca_file.place;
	u->crl_file = copy(t, d->crl_file.text);
	u->crl_place = d->crl_file.place;
	for (i = 0; i < d->pin_count; i++)
		u->pins[i] = copy(t, d->pins[i]);
	u->pin_count = d->pin_count;
	u->pins_only = d->pins_only;
	l->upstream_nodes[c->upstream_count++] = node;
}

static void
load_upstream(struct tree *t, int node, void *arg)
{
	struct draft d = { 0 };
	size_t before = t->errors.count;

	if (tree_is_map(t, node))
		read_long_form(t, node, &d);
	else
		read_short_form(t, node, &d);
	if (t->errors.count > before)
		return;
	if (address_port(&d.address) == 0)
		address_set_port(&d.address, DOT_PORT);
	if (address_port(&d.address) == CONFIG_DNS_PORT)
		tree_complain(t, node, "port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is");
	else if (address_is_wildcard(&d.address))
		tree_complain(t, node,
		    "upstream address must not be a wildcard (write the server's address)");
	else
		add_upstream(t, node, &d, arg);
}

static void
load_upstreams(struct tree *t, int node, const struct field *f, void *out)
{
	struct loader *l = out;

	(void)f;
	l->config->upstreams = calloc(CONFIG_UPSTREAMS_MAX, sizeof *l->config->upstreams);
	if (l->config->upstreams == NULL)
		complaint_add(&t->errors, 0, 0, "out of memory");
	else
		tree_list(t, node, CONFIG_UPSTREAMS_MAX, load_upstream, l);
}

static void
load_listen_address(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "an IP address");
	struct config_listener *l = out;
	char why[NOTATION_MAX];

	(void)f;
	if (text == NULL)
		return;
	l->place = place_of(t, node);
	if (address_parse_late(text, CONFIG_DNS_PORT, &l->address, l->interface) == 0 &&
	    config_listener_is_late(l))
		return;
	if (notation_read(NOTATION_LISTENER, text, CONFIG_DNS_PORT, &l->address, NULL, why) == -1)
		tree_complain(t, node, "`%.*s' %s", tree_shown(text), text, why);
}

static void
add_listener(struct tree *t, int node, const struct config_listener *new, struct loader *l)
{
	struct config *c = l->config;
	size_t i;

	for (i = 0; i < c->listen_count; i++)
		if (address_equal(&c->listen[i].address, &new->address) &&
		    (!config_listener_is_late(new) ||
			strcmp(c->listen[i].interface, new->interface) == 0))
			break;
	if (i == c->listen_count) {
		c->listen[i] = *new;
		l->listen_nodes[i] = node;
		c->listen_count++;
	} else if (new->udp <= c->listen[i].udp &&new->tcp <= c->listen[i].tcp) {
		tree_warn(t, node, "the same address as on line %zu; left out",
		    tree_line(t, l->listen_nodes[i]));
	} else {
		/* One for UDP and one for TCP are both. */
		c->listen[i].udp = true;
		c->listen[i].tcp = true;
	}
}

static void
load_listener(struct tree *t, int node, void *arg)
{
#define OFFSET(name) offsetof(struct config_listener, name)
	static const struct field fields[] = {
		{ "address", NULL, load_listen_address, 0, 0, 0, false },
		{ "udp", NULL, field_bool, OFFSET(udp), 0, 0, false },
		{ "tcp", NULL, field_bool, OFFSET(tcp), 0, 0, false },
	};
#undef OFFSET
	enum { ADDRESS };
	struct config_listener new = { .udp = true, .tcp = true };
	int found[LENGTH(fields)];
	size_t before = t->errors.count;

	if (!tree_is_map(t, node)) {
		load_listen_address(t, node, NULL, &new);
	} else {
		tree_map(t, node, fields, LENGTH(fields), &new, found);
		if (found[ADDRESS] == 0)
			tree_complain(t, node, "missing key `address' (as in 127.0.0.1:53)");
		else if (!new.udp && !new.tcp)
			tree_complain(t, node, "at least one of `udp', `tcp' must be true");
	}
	if (t->errors.count == before)
		add_listener(t, node, &new, arg);
}

static void
load_listen(struct tree *t, int node, const struct field *f, void *out)
{
	(void)f;
	tree_list(t, node, CONFIG_LISTEN_MAX, load_listener, out);
}

static const char *const any_prefixes[] = { "0.0.0.0/0", "::/0", NULL };

/* Loopback, RFC 1918, shared (RFC 6598), link-local, unique local (RFC 4193). */
static const char *const private_prefixes[] = { "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12",
	"192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
	NULL };

/* A prefix that is there already is not added again. Returns 0, or -1 when there is no room. */
static int
allow(struct config *c, const struct prefix *p)
{
	size_t i;

	for (i = 0; i < c->allow_count; i++)
		if (c->allow[i].family == p->family && c->allow[i].bits == p->bits &&
		    memcmp(c->allow[i].bytes, p->bytes, sizeof p->bytes) == 0)
			return 0;
	if (i == CONFIG_ALLOW_MAX)
		return -1;
	c->allow[i] = *p;
	c->allow_count++;
	return 0;
}

static int
allow_all_of(struct config *c, const char *const *prefixes)
{
	struct prefix prefix;

	for (; *prefixes != NULL; prefixes++)
		if (prefix_parse(*prefixes, &prefix) == -1 || allow(c, &prefix) == -1)
			return -1;
	return 0;
}

static void
load_allowed(struct tree *t, int node, void *arg)
{
	struct config *c = ((struct loader *)arg)->config;
	const char *text = tree_text(t, node, "a range of addresses");
	struct prefix prefix;
	int allowed;

	if (text == NULL)
		return;
	if (strcmp(text, "private") == 0)
		allowed = allow_all_of(c, private_prefixes);
	else if (strcmp(text, "any") == 0)
		allowed = allow_all_of(c, any_prefixes);
	else if (prefix_parse(text, &prefix) == 0)
		allowed = allow(c, &prefix);
	else {
		tree_complain(t, node,
		    "expected private, any, or a range such as 192.0.2.0/24 "
		    "(no bits set behind its length), found `%.*s'",
		    tree_shown(text), text);
		return;
	}
	if (allowed == -1)
		tree_complain(t, node, "more than %d ranges (`private' is 9, `any' is 2)",
		    CONFIG_ALLOW_MAX);
}

static void
load_allow(struct tree *t, int node, const struct field *f, void *out)
{
	(void)f;
	tree_list(t, node, CONFIG_ALLOW_MAX, load_allowed, out);
}

static void
load_fast_open(struct tree *t, int node, const struct field *f, void *out)
{
	field_bool(t, node, f, &((struct loader *)out)->config->tls.fast_open);
}

static void
load_tls(struct tree *t, int node, const struct field *f, void *out)
{
	static const struct field fields[] = {
		{ "ca_file", NULL, load_path, offsetof(struct loader, ca_file), 0, 0, false },
		{ "crl_file", NULL, load_path, offsetof(struct loader, crl_file), 0, 0, false },
		{ "fast_open", NULL, load_fast_open, 0, 0, 0, false },
	};
	int found[LENGTH(fields)];

	(void)f;
	tree_map(t, node, fields, LENGTH(fields), out, found);
}

#define MS(name) offsetof(struct config, timeouts.name##_ms)

/* A query must be over before `docker stop' kills the process, after 10 s. */
static void
load_timeouts(struct tree *t, int node, const struct field *f, void *out)
{
	static const struct field fields[] = {
		{ "query", NULL, field_duration, MS(query), 100, 9 * SECOND, false },
		{ "connect", NULL, field_duration, MS(connect), 10, 9 * SECOND, false },
		{ "handshake", NULL, field_duration, MS(handshake), 10, 9 * SECOND, false },
		{ "answer", NULL, field_duration, MS(answer), 10, 9 * SECOND, false },
		{ "client_idle", NULL, field_duration, MS(client_idle), 10, 10 * MINUTE, true },
		{ "client_read", NULL, field_duration, MS(client_read), 10, MINUTE, false },
		{ "upstream_idle", NULL, field_duration, MS(upstream_idle), 10, 10 * MINUTE, true },
	};
	enum { FIRST_STEP = 1, STEPS = 3 };
	struct config *c = ((struct loader *)out)->config;
	int *steps[STEPS] = { &c->timeouts.connect_ms, &c->timeouts.handshake_ms,
		&c->timeouts.answer_ms };
	int found[LENGTH(fields)];
	size_t i;

	(void)f;
	tree_map(t, node, fields, LENGTH(fields), c, found);
	for (i = 0; i < STEPS; i++) {
		if (*steps[i] <= c->timeouts.query_ms)
			continue;
		if (found[FIRST_STEP + i] != 0)
			tree_complain(t, found[FIRST_STEP + i],
			    "`%s' is longer than `query', which it is a part of (change one "
			    "of the two)",
			    fields[FIRST_STEP + i].key);
		*steps[i] = c->timeouts.query_ms;
	}
}

static void
load_after(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "a time, or never");

	if (text != NULL && strcmp(text, "never") == 0)
		*(int *)out = -1;
	else if (text != NULL)
		field_duration(t, node, f, out);
}

static void
load_fallback(struct tree *t, int node, const struct field *f, void *out)
{
	static const struct field fields[] = {
		{ "after", NULL, load_after, offsetof(struct config, fallback_after_ms), 10,
		    9 * SECOND, true },
	};
	int found[LENGTH(fields)];

	(void)f;
	tree_map(t, node, fields, LENGTH(fields), ((struct loader *)out)->config, found);
}

static void
load_inflight(struct tree *t, int node, const struct field *f, void *out)
{
	field_number(t, node, f, &((struct loader *)out)->config->inflight);
}

static void
load_privacy(struct tree *t, int node, const struct field *f, void *out)
{
	static const struct field fields[] = {
		{ "padding", NULL, field_bool, offsetof(struct edns_settings, padding), 0, 0,
		    false },
		{ "client_subnet", NULL, field_bool, offsetof(struct edns_settings, client_subnet),
		    0, 0, false },
	};
	int found[LENGTH(fields)];

	(void)f;
	tree_map(t, node, fields, LENGTH(fields), &((struct loader *)out)->config->privacy, found);
}

static void
load_udp_size(struct tree *t, int node, const struct field *f, void *out)
{
	field_number(t, node, f, &((struct loader *)out)->config->udp_size);
}

static void
load_workers(struct tree *t, int node, const struct field *f, void *out)
{
	field_number(t, node, f, &((struct loader *)out)->config->workers);
}

static void
load_clients(struct tree *t, int node, const struct field *f, void *out)
{
	static const struct field fields[] = {
		{ "max", NULL, field_number, offsetof(struct config, clients.max), 1,
		    CONFIG_CLIENTS_MAX, false },
		{ "per_address", NULL, field_number, offsetof(struct config, clients.per_address),
		    1, CONFIG_CLIENTS_MAX, false },
	};
	int found[LENGTH(fields)];

	(void)f;
	tree_map(t, node, fields, LENGTH(fields), ((struct loader *)out)->config, found);
}

static void
load_reload(struct tree *t, int node, const struct field *f, void *out)
{
	static const char *const names[] = { "signal", "auto", NULL };
	int choice = read_choice(t, node, "a way to reload", names, "auto or signal");

	(void)f;
	if (choice != -1)
		((struct loader *)out)->config->reload_auto = choice == 1;
}

static void
load_order(struct tree *t, int node, const struct field *f, void *out)
{
	static const char *const names[] = { "list", "fastest", NULL };
	int choice = read_choice(t, node, "an order", names, "list or fastest");

	(void)f;
	if (choice != -1)
		((struct loader *)out)->config->order_fastest = choice == 1;
}

static void
load_sandbox(struct tree *t, int node, const struct field *f, void *out)
{
	const char *const names[] = { config_sandbox_name(CONFIG_SANDBOX_STRICT),
		config_sandbox_name(CONFIG_SANDBOX_BEST_EFFORT),
		config_sandbox_name(CONFIG_SANDBOX_OFF), NULL };
	int choice = read_choice(t, node, "a sandbox level", names, "strict, best-effort or off");

	(void)f;
	((struct loader *)out)->config->sandbox_place = place_of(t, node);
	if (choice != -1)
		((struct loader *)out)->config->sandbox = (enum config_sandbox)choice;
}

static void
load_user(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "a user");

	(void)f;
	((struct loader *)out)->config->user_place = place_of(t, node);
	if (text != NULL && text[0] == '\0')
		tree_complain(t, node, "expected the name or the number of a user");
	else
		((struct loader *)out)->config->user = copy(t, text);
}

static void
load_level(struct tree *t, int node, const struct field *f, void *out)
{
	const char *const names[] = { config_level_name(LOG_LEVEL_ERROR),
		config_level_name(LOG_LEVEL_WARN), config_level_name(LOG_LEVEL_INFO),
		config_level_name(LOG_LEVEL_DEBUG), NULL };
	int choice = read_choice(t, node, "a log level", names, "error, warn, info or debug");

	(void)f;
	if (choice != -1)
		*(enum log_level *)out = (enum log_level)choice;
}

static void
load_log(struct tree *t, int node, const struct field *f, void *out)
{
	static const struct field fields[] = {
		{ "level", NULL, load_level, offsetof(struct config, log.level), 0, 0, false },
		{ "queries", NULL, field_bool, offsetof(struct config, log.queries), 0, 0, false },
	};
	int found[LENGTH(fields)];

	(void)f;
	tree_map(t, node, fields, LENGTH(fields), ((struct loader *)out)->config, found);
}

bool
config_is_loop(const struct address *listener, const struct address *upstream)
{
	struct prefix loopback[2];

	if (address_port(listener) != address_port(upstream))
		return false;
	if (address_same_host(listener, upstream))
		return true;
	return address_is_wildcard(listener) && prefix_parse("127.0.0.0/8", &loopback[0]) == 0 &&
	    prefix_parse("::1", &loopback[1]) == 0 &&
	    (prefix_contains(&loopback[0], upstream) || prefix_contains(&loopback[1], upstream));
}

static void
complain_loops(struct tree *t, const struct loader *l)
{
	const struct config *c = l->config;
	char text[ADDRESS_TEXT_MAX];
	size_t i;
	size_t k;

	for (i = 0; i < c->upstream_count; i++)
		for (k = 0; k < c->listen_count; k++)
			if (c->listen[k].tcp &&
			    config_is_loop(&c->listen[k].address, &c->upstreams[i].address))
				tree_complain(t, l->upstream_nodes[i],
				    "a loop: dot-proxy itself listens on %s (change one of the two)",
				    address_format(&c->listen[k].address, text));
}

/* What holds where the file says nothing. */
static void
set_defaults(struct config *c)
{
	c->timeouts.query_ms = 4500;
	c->timeouts.connect_ms = 1 * SECOND;
	c->timeouts.handshake_ms = 1500;
	c->timeouts.answer_ms = 2 * SECOND;
	c->timeouts.client_idle_ms = 10 * SECOND;
	c->timeouts.client_read_ms = 2 * SECOND;
	c->timeouts.upstream_idle_ms = 8 * SECOND;
	c->fallback_after_ms = 400;
	c->inflight = 1024;
	c->udp_size = 1232; /* what fits any path: 1280, less the headers of IPv6 and UDP */
	c->workers = 2;
	c->clients.max = 5000;
	c->clients.per_address = 500;
	c->reload_auto = true;
	c->sandbox = CONFIG_SANDBOX_BEST_EFFORT;
	c->privacy.padding = true;
	c->log.level = LOG_LEVEL_INFO;
}

/* `listen', `allow' and the CA files, whose defaults depend on what else there is. */
static void
fill_in(struct tree *t, const struct loader *l)
{
	struct config *c = l->config;
	size_t i;

	if (c->listen_count == 0)
		(void)config_set_listen(c, "0.0.0.0");
	if (c->allow_count == 0)
		(void)allow_all_of(c, private_prefixes);
	for (i = 0; i < c->upstream_count; i++) {
		struct config_upstream *u = &c->upstreams[i];

		if (u->crl_file == NULL && u->ca_file == NULL) {
			u->crl_file = copy(t, l->crl_file.text);
			u->crl_place = l->crl_file.place;
		}
		if (u->ca_file == NULL) {
			u->ca_file = copy(t, l->ca_file.text);
			u->ca_place = l->ca_file.place;
		}
	}
}

void
config_fill(struct tree *t, int root, struct config *config)
{
	/* The second names are those of the program that this one follows. */
	static const struct field fields[] = {
		{ "upstreams", "DNS_SERVERS", load_upstreams, 0, 0, 0, false },
		{ "listen", "SOCKET_ADDRESS", load_listen, 0, 0, 0, false },
		{ "tls", NULL, load_tls, 0, 0, 0, false },
		{ "timeouts", NULL, load_timeouts, 0, 0, 0, false },
		{ "order", NULL, load_order, 0, 0, 0, false },
		{ "fallback", NULL, load_fallback, 0, 0, 0, false },
		{ "inflight", NULL, load_inflight, 0, 1, CONFIG_INFLIGHT_MAX, false },
		{ "udp_size", NULL, load_udp_size, 0, CONFIG_UDP_SIZE_MIN, CONFIG_UDP_SIZE_MAX,
		    false },
		{ "workers", NULL, load_workers, 0, 1, CONFIG_WORKERS_MAX, false },
		{ "clients", NULL, load_clients, 0, 0, 0, false },
		{ "allow", NULL, load_allow, 0, 0, 0, false },
		{ "reload", NULL, load_reload, 0, 0, 0, false },
		{ "user", NULL, load_user, 0, 0, 0, false },
		{ "sandbox", NULL, load_sandbox, 0, 0, 0, false },
		{ "privacy", NULL, load_privacy, 0, 0, 0, false },
		{ "log", NULL, load_log, 0, 0, 0, false },
	};
	enum { UPSTREAMS };
	struct loader l = { .config = config };
	int found[LENGTH(fields)];

	set_defaults(config);
	tree_map(t, root, fields, LENGTH(fields), &l, found);
	if (found[UPSTREAMS] == 0)
		tree_complain(t, root, "missing key `upstreams': the servers to ask");
	complain_loops(t, &l);
	fill_in(t, &l);
}
