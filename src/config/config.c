#include "config/config.h"

#include <sys/stat.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "config/tree.h"
#include "config_schema.h"

enum { FILE_MAX = 256 * 1024 };

/* Moves errors and warnings into the report. Returns the configuration, or NULL on any error. */
static struct config *
finish(struct tree *t, struct config *config, const char *name, struct config_report *report)
{
	*report = (struct config_report){
		.errors = diagnostic_text(&t->errors, name),
		.error_count = t->errors.count,
		.warnings = diagnostic_text(&t->warnings, name),
	};
	tree_clear(t);
	if (report->error_count == 0)
		return config;
	config_free(config);
	return NULL;
}

static struct config *
load_text(struct tree *t, const char *text, size_t len, const char *name,
    struct config_report *report)
{
	struct config *config = calloc(1, sizeof *config);
	int root;

	if (config == NULL)
		diagnostic_add(&t->errors, 0, 0, "out of memory");
	else if ((root = tree_read(t, text, len)) != 0)
		config_fill(t, root, config);
	return finish(t, config, name, report);
}

struct config *
config_read(const char *text, size_t len, const char *name, struct config_report *report)
{
	struct tree t = { 0 };

	return load_text(&t, text, len, name, report);
}

static void
warn_of_owner(struct tree *t, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return;
	if (st.st_mode & S_IWOTH)
		diagnostic_add(&t->warnings, 0, 0, "file is world-writable (fix: chmod o-w)");
	/* Only warn when running as root: in a container the owner is usually someone else. */
	if (st.st_uid != 0 && geteuid() == 0)
		diagnostic_add(&t->warnings, 0, 0,
		    "file is owned by uid %ju but used by root (fix: chown root)",
		    (uintmax_t)st.st_uid);
}

/* Reads at most CAP bytes of the file. Returns how many, or 0 after adding an error, or for an empty file. */
static size_t
read_file(struct tree *t, const char *path, char *text, size_t cap)
{
	struct failure why;
	FILE *file = file_open(path, FILE_MAX, &why);
	size_t len;

	if (file == NULL) {
		diagnostic_add(&t->errors, 0, 0, "%s (%s)", why.text, why.remedy);
		return 0;
	}
	errno = 0;
	len = fread(text, 1, cap, file);
	if (ferror(file))
		diagnostic_add(&t->errors, 0, 0, "cannot read: %s", strerror(errno));
	else if (len == cap)
		diagnostic_add(&t->errors, 0, 0, "is larger than %d KiB", FILE_MAX / 1024);
	else
		warn_of_owner(t, fileno(file));
	(void)fclose(file);
	return len;
}

struct config *
config_load(const char *path, struct config_report *report)
{
	struct tree t = { 0 };
	struct config *config;
	char *text = malloc(FILE_MAX + 1);
	size_t len = 0;

	if (text == NULL)
		diagnostic_add(&t.errors, 0, 0, "out of memory");
	else
		len = read_file(&t, path, text, FILE_MAX + 1);
	if (t.errors.count > 0)
		config = finish(&t, NULL, path, report);
	else
		config = load_text(&t, text, len, path, report);
	free(text);
	return config;
}

bool
config_allows(const struct config *config, const struct address *from)
{
	size_t i;

	for (i = 0; i < config->allow_count; i++)
		if (prefix_contains(&config->allow[i], from))
			return true;
	return false;
}

bool
config_listener_is_late(const struct config_listener *l)
{
	return l->interface[0] != '\0' && l->address.in6.sin6_scope_id == 0;
}

char *
config_listener_format(const struct config_listener *l, char text[static ADDRESS_TEXT_MAX])
{
	char host[ADDRESS_TEXT_MAX];

	if (l->interface[0] == '\0')
		return address_format(&l->address, text);
	(void)address_format_host(&l->address, host);
	host[strcspn(host, "%")] = '\0';
	(void)snprintf(text, ADDRESS_TEXT_MAX, "[%.*s%%%s]:%u", INET6_ADDRSTRLEN, host,
	    l->interface, (unsigned)address_port(&l->address));
	return text;
}

int
config_listen_instead(struct config *config, const struct config_listener *listen, size_t count)
{
	size_t i;
	size_t k;

	for (i = 0; i < config->upstream_count; i++)
		for (k = 0; k < count; k++)
			if (listen[k].tcp &&
			    config_is_loop(&listen[k].address, &config->upstreams[i].address))
				return -1;
	memcpy(config->listen, listen, count * sizeof *listen);
	config->listen_count = count;
	return 0;
}

const char *
config_set_listen(struct config *config, const char *text)
{
	struct config_listener one = { .udp = true, .tcp = true };
	const char *problem;

	if (address_parse(text, CONFIG_DNS_PORT, &one.address) == -1)
		return "is not an IP address";
	if ((problem = address_problem(&one.address)) != NULL)
		return problem;
	if (config_listen_instead(config, &one, 1) == -1)
		return "is an upstream: a loop";
	return NULL;
}

void
config_clear_upstream(struct config_upstream *u)
{
	size_t i;

	free(u->hostname);
	free(u->ca_file);
	free(u->crl_file);
	for (i = 0; i < u->pin_count; i++)
		free(u->pins[i]);
}

void
config_free(struct config *config)
{
	size_t i;

	if (config == NULL)
		return;
	for (i = 0; i < config->upstream_count; i++)
		config_clear_upstream(&config->upstreams[i]);
	free(config->upstreams);
	free(config->tls.ca_file);
	free(config->tls.crl_file);
	free(config->user);
	free(config);
}

void
config_report_free(struct config_report *report)
{
	free(report->errors);
	free(report->warnings);
	*report = (struct config_report){ 0 };
}
