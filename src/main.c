#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "deadline.h"
#include "dot.h"
#include "healthcheck.h"
#include "log.h"
#include "net.h"
#include "probe.h"
#include "status.h"
#include "supervisor.h"
#include "upstream.h"

#ifndef DOTPROXY_VERSION
#define DOTPROXY_VERSION "unversioned"
#endif

/* Exit statuses. */
enum { TOLD_TO_STOP = 0, WORLD_FAILED = 1, MISUSED = 2 };

/* A supervisor that does not say within this time where it listens is not waited for. */
enum { STATUS_TIMEOUT_MS = 500 };

struct arguments {
	const char *config_file;
	const char *listen;
	const char *command; /* NULL: serve */
	bool verbose;
	bool upstream; /* with `healthcheck', as is the next */
	bool ready;
};

static const char usage[] =
    "usage: dot-proxy [-c FILE] [-l ADDRESS[:PORT]] [-v] [check | probe]\n"
    "       dot-proxy [-c FILE] [-l ADDRESS[:PORT]] healthcheck [--upstream | --ready]\n"
    "\n"
    "Takes plain DNS and asks it over verified TLS (RFC 7858).\n"
    "\n"
    "  dot-proxy              serve until SIGTERM or SIGINT\n"
    "  dot-proxy check        check the configuration and print it as understood\n"
    "  dot-proxy probe        try every upstream now and print how it went\n"
    "  dot-proxy healthcheck  ask the running dot-proxy whether it answers\n"
    "\n"
    "  -c FILE     the configuration (default: config.yml)\n"
    "  -l ADDRESS  listen here (healthcheck: ask here) instead of where the configuration says\n"
    "  --upstream  healthcheck: whether an upstream answers through it\n"
    "  --ready     healthcheck: whether it has ever been connected to an upstream\n"
    "  -v          log at level debug\n"
    "  --version   print the version, and that of OpenSSL\n"
    "  --help      print this\n"
    "\n"
    "Exit status: 0 told to stop, 1 something failed, 2 usage or configuration.\n";

static bool
is_command(const struct arguments *args, const char *command)
{
	return args->command != NULL && strcmp(args->command, command) == 0;
}

static struct config *
read_file(const struct arguments *args)
{
	struct config_report report;
	struct config *config = config_load(args->config_file, &report);

	/* Who serves has told the warnings; a healthcheck comes again every few seconds. */
	if (report.warnings != NULL && !is_command(args, "healthcheck"))
		(void)fputs(report.warnings, stderr);
	if (report.errors != NULL)
		(void)fputs(report.errors, stderr);
	config_report_free(&report);
	return config;
}

/* Applies -l. False when the error was printed. */
static bool
set_listen(const struct arguments *args, struct config *config)
{
	const char *problem;

	if (args->listen == NULL)
		return true;
	problem = config_set_listen(config, args->listen);
	if (problem != NULL)
		(void)fprintf(stderr, "dot-proxy: -l: `%s' %s\n", args->listen, problem);
	return problem == NULL;
}

static int
check(const struct config *config)
{
	struct failure why;
	struct upstream_list *upstreams = upstream_list_new(config, &why);

	if (upstreams == NULL) {
		(void)fprintf(stderr, "dot-proxy: %s\n", why.text);
		if (why.remedy[0] != '\0')
			(void)fprintf(stderr, "dot-proxy: remedy: %s\n", why.remedy);
		return MISUSED;
	}
	upstream_list_free(upstreams);
	config_print(config, stdout);
	return fflush(stdout) == 0 ? TOLD_TO_STOP : WORLD_FAILED;
}

static int
ask_health(const struct arguments *args, const struct config *config)
{
	enum healthcheck_question question = args->upstream ? HEALTHCHECK_UPSTREAM :
	    args->ready                                     ? HEALTHCHECK_READY :
							      HEALTHCHECK_ALIVE;
	struct failure why;

	if (healthcheck(config, question, stdout, &why) == 0)
		return TOLD_TO_STOP;
	(void)fprintf(stderr, "dot-proxy: %s%s%s\n", why.text, why.remedy[0] != '\0' ? "; " : "",
	    why.remedy);
	return WORLD_FAILED;
}

/* The running configuration counts, whatever has become of the file since. */
static int
check_health(const struct arguments *args)
{
	struct config *config = status_ask(args->config_file, deadline_in(STATUS_TIMEOUT_MS));
	int status;

	if (config == NULL && (config = read_file(args)) == NULL) {
		(void)fprintf(stderr, "dot-proxy: no dot-proxy runs with %s\n", args->config_file);
		return WORLD_FAILED;
	}
	status = set_listen(args, config) ? ask_health(args, config) : MISUSED;
	config_free(config);
	return status;
}

static int
serve(const struct arguments *args, struct config *config)
{
	struct supervisor_launch launch = { .config_file = args->config_file,
		.listen = args->listen,
		.verbose = args->verbose,
		.version = DOTPROXY_VERSION };

	switch (supervisor_run(&launch, config)) {
	case SUPERVISOR_STOPPED:
		return TOLD_TO_STOP;
	case SUPERVISOR_MISCONFIGURED:
		return MISUSED;
	default:
		return WORLD_FAILED;
	}
}

static int
run(const struct arguments *args)
{
	struct config *config;
	int status;

	if (is_command(args, "healthcheck"))
		return check_health(args);
	if ((config = read_file(args)) == NULL)
		return MISUSED;
	if (!set_listen(args, config)) {
		config_free(config);
		return MISUSED;
	}
	log_set_level(args->verbose ? LOG_LEVEL_DEBUG : config->log.level);
	if (args->command == NULL)
		return serve(args, config);
	if (is_command(args, "check"))
		status = check(config);
	else
		status = probe(config, stdout) == 0 ? TOLD_TO_STOP : WORLD_FAILED;
	config_free(config);
	return status;
}

/* Whether there is such a command, and the options are its. */
static bool
is_usage(const struct arguments *args)
{
	if (is_command(args, "healthcheck"))
		return !args->upstream || !args->ready;
	return !args->upstream && !args->ready &&
	    (args->command == NULL || is_command(args, "check") || is_command(args, "probe"));
}

/* Reads the command line. Returns -1 to go on, or the status to exit with. */
static int
read_arguments(int argc, char **argv, struct arguments *args)
{
	static const struct option options[] = { { "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' }, { "upstream", no_argument, NULL, 'u' },
		{ "ready", no_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "c:l:v", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			args->config_file = optarg;
			break;
		case 'l':
			args->listen = optarg;
			break;
		case 'v':
			args->verbose = true;
			break;
		case 'u':
			args->upstream = true;
			break;
		case 'r':
			args->ready = true;
			break;
		case 'V':
			(void)printf("dot-proxy %s (%s)\n", DOTPROXY_VERSION,
			    dot_library_version());
			return TOLD_TO_STOP;
		case 'h':
			(void)fputs(usage, stdout);
			return TOLD_TO_STOP;
		default:
			(void)fputs(usage, stderr);
			return MISUSED;
		}
	}
	if (optind < argc)
		args->command = argv[optind++];
	if (optind < argc || !is_usage(args)) {
		(void)fputs(usage, stderr);
		return MISUSED;
	}
	return -1;
}

int
main(int argc, char **argv)
{
	struct arguments args = { .config_file = "config.yml" };
	struct failure why;
	int status;

	if (net_guard_standard_descriptors(&why) == -1)
		return WORLD_FAILED;
	if ((status = read_arguments(argc, argv, &args)) != -1)
		return status;
	/* A peer that has gone is no reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	return run(&args);
}
