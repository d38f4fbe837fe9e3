#include "command/arguments.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/suggest.h"
#include "config/notation.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

enum id { CONFIG, LISTEN, VERBOSE, UPSTREAM, READY, VERSION, HELP, IDS };

static const struct option {
	const char *word;
	enum id id;
	const char *value; /* its value, in words; NULL: it takes none */
	const char *example;
	const char *label; /* in the help; NULL: not listed */
	const char *help;
} options[] = {
	{ "-c", CONFIG, "a file", "-c config.yml", "-c FILE",
	    "configuration file (default: config.yml)" },
	{ "-l", LISTEN, "an address", "-l 127.0.0.1:53", "-l ADDRESS",
	    "address to listen on, instead of `listen' in the file (healthcheck: to query)" },
	{ "--upstream", UPSTREAM, NULL, NULL, "--upstream",
	    "healthcheck: check that an upstream answers" },
	{ "--ready", READY, NULL, NULL, "--ready",
	    "healthcheck: check that an upstream has been connected at least once" },
	{ "-v", VERBOSE, NULL, NULL, "-v", "log at level debug" },
	{ "--version", VERSION, NULL, NULL, "--version",
	    "print the versions of dot-proxy and OpenSSL" },
	{ "--help", HELP, NULL, NULL, "-h, --help", "print this text" },
	{ "-h", HELP, NULL, NULL, NULL, NULL },
};

/* Options and commands of other programs, and what to write instead. */
static const struct {
	const char *word;
	const char *here;
} others[] = {
	{ "--config", "write `-c FILE'" },
	{ "--config-file", "write `-c FILE'" },
	{ "--config-path", "write `-c FILE'" },
	{ "-C", "write `-c FILE'" },
	{ "-f", "write `-c FILE'" },
	{ "--listen", "write `-l ADDRESS:PORT'" },
	{ "--address", "write `-l ADDRESS:PORT'" },
	{ "--bind", "write `-l ADDRESS:PORT'" },
	{ "--port", "write `-l ADDRESS:PORT'" },
	{ "-p", "write `-l ADDRESS:PORT'" },
	{ "-a", "write `-l ADDRESS:PORT'" },
	{ "--verbose", "write `-v'" },
	{ "--debug", "write `-v'" },
	{ "-d", "write `-v' for the log; it always stays in the foreground" },
	{ "-V", "write `--version'" },
	{ "-?", "write `--help'" },
	{ "-t", "write `dot-proxy check'" },
	{ "-T", "write `dot-proxy check'" },
	{ "--test", "write `dot-proxy check'" },
	{ "--check", "write `dot-proxy check'" },
	{ "--healthcheck", "write `dot-proxy healthcheck'" },
	{ "--probe", "write `dot-proxy probe'" },
	{ "-s", "send SIGHUP or SIGTERM to the process" },
	{ "--reload", "send SIGHUP to the process" },
	{ "-D", "leave it out: it stays in the foreground" },
	{ "--daemon", "leave it out: it stays in the foreground" },
	{ "--daemonize", "leave it out: it stays in the foreground" },
	{ "--foreground", "leave it out: it stays in the foreground" },
	{ "-u", "write `upstreams' or `user' in the configuration" },
	{ "--user", "write `user' in the configuration" },
	{ "--workers", "write `workers' in the configuration" },
	{ "--log-level", "write `-v', or `log: {level: ...}' in the configuration" },
	{ "--timeout", "write `timeouts' in the configuration" },
	{ "serve", "leave it out: without a command it serves" },
	{ "run", "leave it out: without a command it serves" },
	{ "start", "leave it out: without a command it serves" },
	{ "stop", "send SIGTERM to the process" },
	{ "reload", "send SIGHUP to the process" },
	{ "restart", "send SIGHUP to the process, to read the configuration again" },
	{ "status", "write `healthcheck', or send SIGUSR1 to the process" },
	{ "test", "write `check'" },
	{ "configtest", "write `check'" },
	{ "validate", "write `check'" },
	{ "health", "write `healthcheck'" },
	{ "ready", "write `healthcheck --ready'" },
	{ "help", "write `--help'" },
	{ "version", "write `--version'" },
};

struct reading {
	char **at; /* the current word; NULL follows the last one */
	const struct command *commands;
	struct arguments *args;
	const char *given[IDS]; /* the value of each option given, or its word */
	const struct option *last[IDS];
	char *why;
};

__attribute__((format(printf, 2, 3))) static int
refuse(struct reading *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(r->why, ARGUMENTS_WHY_MAX, fmt, args);
	va_end(args);
	return -1;
}

/* ---- commands ---- */

static const struct command *
find_command(const struct command *commands, const char *name)
{
	const struct command *c;

	for (c = commands + 1; c->failure != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

/* Makes "check, probe or healthcheck". */
static void
list_commands(const struct command *commands, char *text, size_t size)
{
	const struct command *c;
	size_t len = 0;

	for (c = commands + 1; c->failure != NULL && len < size; c++)
		len += (size_t)snprintf(text + len, size - len, "%s%s",
		    len == 0                 ? "" :
			c[1].failure == NULL ? " or " :
					       ", ",
		    c->name);
}

/* ---- unknown words ---- */

static const char *
find_other(const char *word, size_t len)
{
	size_t i;

	for (i = 0; i < LENGTH(others); i++)
		if (strlen(others[i].word) == len && memcmp(others[i].word, word, len) == 0)
			return others[i].here;
	return NULL;
}

/* Whether WORD, of LEN characters, is similar to KNOWN or a prefix of it. */
static bool
is_near(const char *word, size_t len, const char *known)
{
	char name[32];

	if (len >= sizeof name)
		return false;
	(void)snprintf(name, sizeof name, "%.*s", (int)len, word);
	return suggest_is_near(name, known) || (len > 3 && strncmp(known, name, len) == 0);
}

static const char *
find_near(const struct reading *r, const char *word, size_t len)
{
	const struct command *c;
	size_t i;

	for (i = 0; i < LENGTH(options); i++)
		if (is_near(word, len, options[i].word))
			return options[i].word;
	for (c = r->commands + 1; c->failure != NULL; c++)
		if (is_near(word, len, c->name))
			return c->name;
	return NULL;
}

static bool
is_path(const char *word)
{
	const char *dot = strrchr(word, '.');

	return strchr(word, '/') != NULL ||
	    (dot != NULL &&
		(strcmp(dot, ".yml") == 0 || strcmp(dot, ".yaml") == 0 ||
		    strcmp(dot, ".conf") == 0));
}

static int
refuse_unknown(struct reading *r, const char *word, const char *what)
{
	size_t len = word[0] == '-' ? strcspn(word, "=") : strlen(word);
	struct address address;
	const char *found;
	char all[128];

	if ((found = find_other(word, len)) != NULL)
		return refuse(r, "`%s': unknown %s (%s)", word, what, found);
	if ((found = find_near(r, word, len)) != NULL)
		return refuse(r, "`%s': unknown %s (did you mean `%s'?)", word, what, found);
	if (word[0] == '-')
		return refuse(r, "`%s': unknown %s (`dot-proxy --help' shows all)", word, what);
	if (address_parse(word, 0, &address) == 0)
		return refuse(r,
		    "`%s': unknown %s (to listen there, write `-l %s'; upstreams are set in "
		    "the configuration)",
		    word, what, word);
	if (is_path(word))
		return refuse(r, "`%s': unknown %s (if it is the configuration, write `-c %s')",
		    word, what, word);
	list_commands(r->commands, all, sizeof all);
	return refuse(r, "`%s': unknown %s (write %s, or none to serve)", word, what, all);
}

/* ---- options ---- */

static int
take_listen(struct reading *r, const char *value)
{
	char why[NOTATION_MAX];
	struct address address;

	if (notation_read(NOTATION_LISTENER, value, 0, &address, NULL, why) == -1)
		return refuse(r, "-l: `%s' %s", value, why);
	r->args->listen = value;
	return 0;
}

/* VALUE is NULL when the option takes none. */
static int
take(struct reading *r, const struct option *o, const char *value)
{
	const char *before = r->given[o->id];

	if (before != NULL && o->value != NULL)
		return refuse(r, "`%s %s': `%s' was given before, as `%s' (give one of the two)",
		    o->word, value, o->word, before);
	if (before != NULL)
		return refuse(r, "`%s': given twice (give it once)", o->word);
	r->given[o->id] = value != NULL ? value : o->word;
	r->last[o->id] = o;
	switch (o->id) {
	case CONFIG:
		r->args->config_file = value;
		return 0;
	case LISTEN:
		return take_listen(r, value);
	case VERBOSE:
		r->args->verbose = true;
		return 0;
	case UPSTREAM:
		r->args->upstream = true;
		return 0;
	case READY:
		r->args->ready = true;
		return 0;
	case VERSION:
		r->args->version = true;
		return 0;
	default:
		r->args->help = true;
		return 0;
	}
}

/* VALUE is the rest of the word or the next word; NULL: there is none. */
static int
take_value(struct reading *r, const struct option *o, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return refuse(r, "`%s': needs %s (as in `%s')", o->word, o->value, o->example);
	if (value[0] == '-' && value[1] != '\0')
		return refuse(r, "`%s': needs %s before `%s' (as in `%s')", o->word, o->value,
		    value, o->example);
	if (value[0] == '=')
		return refuse(r, "`%s%s': `=' between option and value (write `%s %s')", o->word,
		    value, o->word, value + 1);
	if (o->id == CONFIG && strcmp(value, "-") == 0)
		return refuse(r, "`%s -': standard input is not read (write it to a file)",
		    o->word);
	return take(r, o, value);
}

static const struct option *
find_option(const char *word, size_t len)
{
	size_t i;

	for (i = 0; i < LENGTH(options); i++)
		if (strlen(options[i].word) == len && memcmp(options[i].word, word, len) == 0)
			return &options[i];
	return NULL;
}

static int
read_long(struct reading *r, const char *word)
{
	size_t len = strcspn(word, "=");
	const struct option *o = find_option(word, len);

	if (o == NULL)
		return refuse_unknown(r, word, "option");
	if (word[len] == '=')
		return refuse(r, "`%s': `%s' takes no value (write `%s' alone)", word, o->word,
		    o->word);
	return take(r, o, NULL);
}

/* Reads a word of one-letter options, of which the last may have a value. */
static int
read_short(struct reading *r, const char *word)
{
	const struct option *o;
	const char *letter;
	char one[3] = "-";
	char with_two[32];

	/* `-config', as programs in Go accept it, is not `-c' with the file `onfig'. */
	(void)snprintf(with_two, sizeof with_two, "-%s", word);
	if (word[2] != '\0' && find_other(with_two, strlen(with_two)) != NULL)
		return refuse(r, "`%s': unknown option (%s)", word,
		    find_other(with_two, strlen(with_two)));
	for (letter = word + 1; *letter != '\0'; letter++) {
		one[1] = *letter;
		if ((o = find_option(one, 2)) == NULL && letter == word + 1)
			return refuse_unknown(r, word, "option");
		if (o == NULL && *letter == '=')
			return refuse(r, "`%s': `%.2s' takes no value (write it alone)", word,
			    word);
		if (o == NULL)
			return refuse(r, "`%s': unknown option `%s' (`dot-proxy --help' shows all)",
			    word, one);
		if (o->value != NULL)
			return take_value(r, o, letter[1] != '\0' ? letter + 1 : *++r->at);
		if (take(r, o, NULL) == -1)
			return -1;
	}
	return 0;
}

static int
read_command(struct reading *r, const char *word)
{
	const struct command *c = find_command(r->commands, word);
	const char *before = r->args->command->name;

	if (word[0] == '-' && word[1] != '\0')
		return refuse(r, "`%s': an option after `--' (write it before that)", word);
	if (c == NULL)
		return refuse_unknown(r, word, before == NULL ? "command" : "argument");
	if (before != NULL)
		return refuse(r, "`%s': a second command, after `%s' (give one of the two)", word,
		    before);
	r->args->command = c;
	return 0;
}

/* Refuses an option that the command does not take. */
static int
refuse_option(struct reading *r, const struct option *o)
{
	const struct command *c = r->commands;
	const char *name = r->args->command->name;

	while (c->failure != NULL && strstr(c->arguments, o->word) == NULL)
		c++;
	if (name == NULL)
		return refuse(r, "`%s': only valid with `%s' (write `dot-proxy %s %s')", o->word,
		    c->name, c->name, o->word);
	if (c->name == NULL)
		return refuse(r, "`%s': not valid with `%s' (leave it out)", o->word, name);
	return refuse(r, "`%s': not valid with `%s' (write `dot-proxy %s %s', or leave it out)",
	    o->word, name, c->name, o->word);
}

/* Checks that the options are valid for the command and do not conflict. */
static int
check_together(struct reading *r)
{
	size_t i;

	for (i = 0; i < LENGTH(r->last); i++)
		if (r->last[i] != NULL &&
		    strstr(r->args->command->arguments, r->last[i]->word) == NULL)
			return refuse_option(r, r->last[i]);
	if (r->args->upstream && r->args->ready)
		return refuse(r,
		    "`--ready': cannot be combined with `--upstream' (give one of the two, or run "
		    "it twice)");
	return 0;
}

int
arguments_read(int argc, char **argv, const struct command *commands, struct arguments *args,
    char why[static ARGUMENTS_WHY_MAX])
{
	struct reading r = { .at = argv, .commands = commands, .args = args };
	bool only_commands = false;
	int rc;

	*args = (struct arguments){ .command = commands };
	r.why = why;
	if (argc == 0)
		return 0;
	while (*++r.at != NULL) {
		const char *word = *r.at;

		if (!only_commands && strcmp(word, "--") == 0) {
			only_commands = true;
			continue;
		}
		if (only_commands || word[0] != '-' || word[1] == '\0')
			rc = read_command(&r, word);
		else
			rc = word[1] == '-' ? read_long(&r, word) : read_short(&r, word);
		if (rc == -1)
			return -1;
		if (args->help || args->version)
			return 0;
	}
	return check_together(&r);
}

/* ---- help ---- */

void
arguments_print_help(const struct command *commands, FILE *out)
{
	const struct command *c;
	const char *before = "usage:";
	size_t i;

	for (c = commands; c->failure != NULL; c++) {
		fprintf(out, "%-6s dot-proxy%s%s%s%s\n", before, c->name != NULL ? " " : "",
		    c->name != NULL ? c->name : "", c->arguments[0] != '\0' ? " " : "",
		    c->arguments);
		before = "";
	}
	fputs(
	    "\nTakes DNS queries over UDP and TCP, and forwards them over verified TLS (RFC 7858)."
	    "\n\n",
	    out);
	for (c = commands; c->failure != NULL; c++)
		fprintf(out, "  dot-proxy %-11s  %s\n", c->name != NULL ? c->name : "", c->help);
	fputc('\n', out);
	for (i = 0; i < LENGTH(options); i++)
		if (options[i].label != NULL)
			fprintf(out, "  %-10s  %s\n", options[i].label, options[i].help);
	fputs("\nexit status:\n"
	      "  0  success, or stopped by a signal\n"
	      "  1  runtime error\n",
	    out);
	for (c = commands; c->failure != NULL; c++)
		fprintf(out, "       %-11s  %s\n", c->name != NULL ? c->name : "serving",
		    c->failure);
	fputs("  2  wrong usage, or an error in the configuration\n", out);
}
