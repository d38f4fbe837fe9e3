#include "config/config.h"

#include <stdio.h>

#include "unit.h"

#define UP "upstreams: [192.0.2.1]\n"
#define PIN "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

/* Each key that has a default: how it is printed, and the ends of its range. */
static const struct row {
	const char *name;
	const char *before; /* the configuration around its value */
	const char *after;
	const char *without; /* a configuration without it */
	const char *printed; /* then */
	const char *accepted[5];
	const char *refused[4];
} rows[] = {
	{ "upstreams[].port", "upstreams: [{address: 192.0.2.1, port: ", "}]\n", UP,
	    "\n    port: 853\n", { "1", "65535" }, { "0", "65536", "53" } },
	{ "upstreams[].verify", "upstreams: [{address: 192.0.2.1, pins: " PIN ", verify: ", "}]\n",
	    UP, "\n    verify: chain\n", { "chain", "pins" }, { "none", "true" } },
	{ "upstreams[].cleartext",
	    "routes: {domains: x, upstreams: {address: 10.0.0.1, cleartext: ", "}}\n" UP, UP,
	    "\n    cleartext: false\n", { "true", "false" }, { "yes" } },
	{ "listen[].udp", "listen: [{address: 127.0.0.1, udp: ", "}]\n" UP,
	    "listen: [{address: 127.0.0.1, tcp: false}]\n" UP, "\n    udp: true\n",
	    { "true", "false" }, { "yes", "1" } },
	{ "listen[].tcp", "listen: [{address: 127.0.0.1, tcp: ", "}]\n" UP,
	    "listen: [{address: 127.0.0.1, udp: false}]\n" UP, "\n    tcp: true\n",
	    { "true", "false" }, { "yes", "1" } },
	{ "tls.fast_open", "tls: {fast_open: ", "}\n" UP, UP, "\ntls:\n  fast_open: false\n",
	    { "true", "false" }, { "yes", "1" } },
	{ "timeouts.query", "timeouts: {query: ", "}\n" UP, UP, "\n  query: 4500ms\n",
	    { "100ms", "9s" }, { "99ms", "9001ms", "0" } },
	{ "timeouts.connect", "timeouts: {query: 9s, connect: ", "}\n" UP, UP, "\n  connect: 1s\n",
	    { "10ms", "9s" }, { "9ms", "9001ms", "0" } },
	{ "timeouts.handshake", "timeouts: {query: 9s, handshake: ", "}\n" UP, UP,
	    "\n  handshake: 1500ms\n", { "10ms", "9s" }, { "9ms", "9001ms", "0" } },
	{ "timeouts.answer", "timeouts: {query: 9s, answer: ", "}\n" UP, UP, "\n  answer: 2s\n",
	    { "10ms", "9s" }, { "9ms", "9001ms", "0" } },
	{ "timeouts.client_idle", "timeouts: {client_idle: ", "}\n" UP, UP,
	    "\n  client_idle: 10s\n", { "10ms", "10m", "0" }, { "9ms", "600001ms", "never" } },
	{ "timeouts.client_read", "timeouts: {client_read: ", "}\n" UP, UP,
	    "\n  client_read: 2s\n", { "10ms", "1m" }, { "9ms", "60001ms", "0" } },
	{ "timeouts.upstream_idle", "timeouts: {upstream_idle: ", "}\n" UP, UP,
	    "\n  upstream_idle: 8s\n", { "10ms", "10m", "0" }, { "9ms", "600001ms", "never" } },
	{ "order", "order: ", "\n" UP, UP, "\norder: list\n", { "list", "fastest" }, { "random" } },
	{ "fallback.after", "fallback: {after: ", "}\n" UP, UP, "\nfallback:\n  after: 400ms\n",
	    { "10ms", "9s", "0", "never", "auto" }, { "9ms", "9001ms", "ever", "-1" } },
	{ "cache.size", "workers: 1\ncache: {size: ", "}\n" UP, UP, "\ncache:\n  size: 4MiB\n",
	    { "0", "126KiB", "4GiB" }, { "125KiB", "4194305KiB", "4194304", "1M" } },
	{ "cache.max_ttl", "cache: {max_ttl: ", "}\n" UP, UP, "\n  max_ttl: 1d\n", { "1s", "7d" },
	    { "0", "999ms", "604801s", "1500ms" } },
	{ "cache.min_ttl", "cache: {min_ttl: ", "}\n" UP, UP, "\n  min_ttl: 0\n",
	    { "0", "1s", "1h" }, { "3601s", "1ms", "never" } },
	{ "cache.negative_ttl", "cache: {negative_ttl: ", "}\n" UP, UP, "\n  negative_ttl: 1h\n",
	    { "0", "1s", "7d" }, { "604801s", "1ms", "never" } },
	{ "cache.stale", "cache: {stale: ", "}\n" UP, UP, "\n  stale: 1d\n", { "0", "1s", "7d" },
	    { "604801s", "1ms", "false" } },
	{ "cache.stale_after", "timeouts: {query: 9s}\ncache: {stale_after: ", "}\n" UP, UP,
	    "\n  stale_after: 1800ms\n", { "0", "10ms", "9s" }, { "9ms", "9001ms", "never" } },
	{ "cache.prefetch", "cache: {prefetch: ", "}\n" UP, UP, "\n  prefetch: true\n",
	    { "true", "false" }, { "yes" } },
	{ "local_names", "local_names: ", "\n" UP, UP, "\nlocal_names: true\n", { "true", "false" },
	    { "yes", "1" } },
	{ "single_labels", "single_labels: ", "\n" UP, UP, "\nsingle_labels: forward\n",
	    { "forward", "nxdomain" }, { "true", "NXDOMAIN" } },
	{ "inflight", "inflight: ", "\n" UP, UP, "\ninflight: 1024\n", { "1", "16384" },
	    { "0", "16385" } },
	{ "udp_size", "udp_size: ", "\n" UP, UP, "\nudp_size: 1232\n", { "512", "4096" },
	    { "511", "4097" } },
	{ "workers", "workers: ", "\n" UP, UP, "\nworkers: 2\n", { "1", "64" }, { "0", "65" } },
	{ "clients.max", "clients: {max: ", "}\n" UP, UP, "\nclients:\n  max: 5000\n",
	    { "1", "65536" }, { "0", "65537" } },
	{ "clients.per_address", "clients: {per_address: ", "}\n" UP, UP,
	    "\n  per_address: 500\n", { "1", "65536" }, { "0", "65537" } },
	{ "reload", "reload: ", "\n" UP, UP, "\nreload: auto\n", { "auto", "signal" },
	    { "never" } },
	{ "sandbox", "sandbox: ", "\n" UP, UP, "\nsandbox: best-effort\n",
	    { "strict", "best-effort", "off" }, { "false" } },
	{ "privacy.padding", "privacy: {padding: ", "}\n" UP, UP, "\nprivacy:\n  padding: true\n",
	    { "true", "false" }, { "128" } },
	{ "privacy.client_subnet", "privacy: {client_subnet: ", "}\n" UP, UP,
	    "\n  client_subnet: false\n", { "true", "false" }, { "none" } },
	{ "log.level", "log: {level: ", "}\n" UP, UP, "\nlog:\n  level: info\n",
	    { "error", "warn", "info", "debug" }, { "notice", "INFO" } },
	{ "log.queries", "log: {queries: ", "}\n" UP, UP, "\n  queries: false\n",
	    { "true", "false" }, { "yes" } },
};

/* What config_print() writes for the text, or NULL when the text is refused. */
static char *
printed(const char *text)
{
	uint8_t *copy = tight_copy((const uint8_t *)text, strlen(text));
	struct config_report report;
	struct config *config = config_read((const char *)copy, strlen(text), "c", &report);
	char *out = NULL;
	size_t len;
	FILE *file;

	free(copy);
	config_report_free(&report);
	if (config == NULL)
		return NULL;
	file = open_memstream(&out, &len);
	assert_non_null(file);
	config_print(config, file);
	assert_int_equal(fclose(file), 0);
	config_free(config);
	return out;
}

static void
assert_taken(const struct row *row, const char *value, bool taken)
{
	char text[256];
	char *out;

	(void)snprintf(text, sizeof text, "%s%s%s", row->before, value, row->after);
	out = printed(text);
	if ((out != NULL) != taken)
		fail_msg("%s: %s was %s", row->name, value, taken ? "refused" : "taken");
	free(out);
}

static void
has_its_default_and_its_range(void **state)
{
	const struct row *row = *state;
	char *out = printed(row->without);
	size_t i;

	assert_non_null(out);
	if (strstr(out, row->printed) == NULL)
		fail_msg("no%sin\n%s", row->printed, out);
	free(out);
	for (i = 0; i < LENGTH(row->accepted) && row->accepted[i] != NULL; i++)
		assert_taken(row, row->accepted[i], true);
	for (i = 0; i < LENGTH(row->refused) && row->refused[i] != NULL; i++)
		assert_taken(row, row->refused[i], false);
}

static size_t
count(const char *text, const char *part)
{
	size_t n = 0;

	while ((text = strstr(text, part)) != NULL) {
		text += strlen(part);
		n++;
	}
	return n;
}

/* So that no key is added to the schema without a row above. */
static void
json_schema_has_a_default_for_each_row(void **state)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	config_print_schema(out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(count(text, ", \"default\": "), LENGTH(rows));
	free(text);
}

static void
lists_end_at_their_maximum(void **state)
{
	static const struct {
		const char *before;
		const char *after;
		int max;
	} lists[] = {
		{ "upstreams: [", "]\n", CONFIG_UPSTREAMS_MAX },
		{ UP "listen: [", "]\n", CONFIG_LISTEN_MAX },
		{ UP "allow: [", "]\n", CONFIG_ALLOW_MAX },
	};
	char text[8192];
	size_t len;
	size_t i;
	char *out;
	int more;
	int k;

	(void)state;
	for (i = 0; i < LENGTH(lists); i++)
		for (more = 0; more <= 1; more++) {
			len = (size_t)snprintf(text, sizeof text, "%s", lists[i].before);
			for (k = 0; k < lists[i].max + more; k++)
				len += (size_t)snprintf(text + len, sizeof text - len,
				    "10.1.%d.%d,", k / 250, k % 250);
			(void)snprintf(text + len, sizeof text - len, "%s", lists[i].after);
			out = printed(text);
			assert_int_equal(out != NULL, more == 0);
			free(out);
		}
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(json_schema_has_a_default_for_each_row),
		cmocka_unit_test(lists_end_at_their_maximum),
	};

	return RUN_ROWS(rows, has_its_default_and_its_range) +
	    cmocka_run_group_tests_name("schema", singles, NULL, NULL);
}
