#include "config/config.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/duration.h"

const char *
config_level_name(enum log_level level)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARN] = "warn",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};

	return names[level];
}

const char *
config_sandbox_name(enum config_sandbox sandbox)
{
	static const char *const names[] = {
		[CONFIG_SANDBOX_STRICT] = "strict",
		[CONFIG_SANDBOX_BEST_EFFORT] = "best-effort",
		[CONFIG_SANDBOX_OFF] = "off",
	};

	return names[sandbox];
}

/* TEXT holds no control characters and no line breaks: config_read() refuses them. */
static void
print_quoted(FILE *out, const char *indent, const char *key, const char *text)
{
	fprintf(out, "%s%s: \"", indent, key);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputs("\"\n", out);
}

static void
print_listener(FILE *out, const struct config_listener *l)
{
	char text[ADDRESS_TEXT_MAX];

	if (l->udp && l->tcp) {
		fprintf(out, "  - \"%s\"\n", config_listener_format(l, text));
		return;
	}
	fprintf(out, "  - address: \"%s\"\n", config_listener_format(l, text));
	fprintf(out, "    %s: false\n", l->udp ? "tcp" : "udp");
}

static void
print_upstream(FILE *out, const struct config_upstream *u)
{
	char text[ADDRESS_TEXT_MAX];
	size_t i;

	fprintf(out, "  - address: \"%s\"\n", address_format_host(&u->address, text));
	fprintf(out, "    port: %u\n", (unsigned)address_port(&u->address));
	if (u->hostname != NULL)
		print_quoted(out, "    ", "hostname", u->hostname);
	if (u->ca_file != NULL)
		print_quoted(out, "    ", "ca_file", u->ca_file);
	if (u->crl_file != NULL)
		print_quoted(out, "    ", "crl_file", u->crl_file);
	if (u->pin_count > 0)
		fprintf(out, "    verify: %s\n    pins:\n", u->pins_only ? "pins" : "chain");
	for (i = 0; i < u->pin_count; i++)
		fprintf(out, "      - \"%s\"\n", u->pins[i]);
}

static void
print_timeout(FILE *out, const char *key, int ms)
{
	char text[DURATION_TEXT_MAX];

	fprintf(out, "  %s: %s\n", key, duration_format(ms, text));
}

static void
print_bool(FILE *out, const char *key, bool value)
{
	fprintf(out, "  %s: %s\n", key, value ? "true" : "false");
}

static void
print_prefix(FILE *out, const struct prefix *p)
{
	char text[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(p->family, p->bytes, text, sizeof text);
	fprintf(out, "  - \"%s/%u\"\n", text, p->bits);
}

void
config_print(const struct config *config, FILE *out)
{
	char duration[DURATION_TEXT_MAX];
	size_t i;

	fputs("listen:\n", out);
	for (i = 0; i < config->listen_count; i++)
		print_listener(out, &config->listen[i]);
	fputs("upstreams:\n", out);
	for (i = 0; i < config->upstream_count; i++)
		print_upstream(out, &config->upstreams[i]);
	fprintf(out, "tls:\n  fast_open: %s\n", config->tls.fast_open ? "true" : "false");
	fputs("timeouts:\n", out);
	print_timeout(out, "query", config->timeouts.query_ms);
	print_timeout(out, "connect", config->timeouts.connect_ms);
	print_timeout(out, "handshake", config->timeouts.handshake_ms);
	print_timeout(out, "answer", config->timeouts.answer_ms);
	print_timeout(out, "client_idle", config->timeouts.client_idle_ms);
	print_timeout(out, "client_read", config->timeouts.client_read_ms);
	print_timeout(out, "upstream_idle", config->timeouts.upstream_idle_ms);
	fprintf(out, "order: %s\n", config->order_fastest ? "fastest" : "list");
	if (config->fallback_after_ms == -1)
		fputs("fallback:\n  after: never\n", out);
	else
		fprintf(out, "fallback:\n  after: %s\n",
		    duration_format(config->fallback_after_ms, duration));
	fprintf(out, "inflight: %d\n", config->inflight);
	fprintf(out, "udp_size: %d\n", config->udp_size);
	fprintf(out, "workers: %d\n", config->workers);
	fprintf(out, "clients:\n  max: %d\n  per_address: %d\n", config->clients.max,
	    config->clients.per_address);
	fputs("allow:\n", out);
	for (i = 0; i < config->allow_count; i++)
		print_prefix(out, &config->allow[i]);
	fprintf(out, "reload: %s\n", config->reload_auto ? "auto" : "signal");
	if (config->user != NULL)
		print_quoted(out, "", "user", config->user);
	fprintf(out, "sandbox: %s\n", config_sandbox_name(config->sandbox));
	fputs("privacy:\n", out);
	print_bool(out, "padding", config->privacy.padding);
	print_bool(out, "client_subnet", config->privacy.client_subnet);
	fputs("log:\n", out);
	fprintf(out, "  level: %s\n", config_level_name(config->log.level));
	print_bool(out, "queries", config->log.queries);
}

char *
config_upstream_name(const struct config_upstream *u, char text[static CONFIG_UPSTREAM_NAME_MAX])
{
	char address[ADDRESS_TEXT_MAX];

	(void)snprintf(text, CONFIG_UPSTREAM_NAME_MAX, "%s%s%.253s",
	    address_format(&u->address, address), u->hostname != NULL ? " " : "",
	    u->hostname != NULL ? u->hostname : "");
	return text;
}
