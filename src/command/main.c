#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/log.h"
#include "command/arguments.h"
#include "command/check.h"
#include "command/healthcheck.h"
#include "command/probe.h"
#include "config/config.h"
#include "process/status.h"
#include "process/supervisor.h"
#include "transport/dot.h"
#include "transport/net.h"

#ifndef DOTPROXY_VERSION
#define DOTPROXY_VERSION "unversioned"
#endif

/* Exit statuses. */
enum { TOLD_TO_STOP = 0, WORLD_FAILED = 1, MISUSED = 2 };

/* A supervisor that does not say within this time where it listens is not waited for. */
enum { STATUS_TIMEOUT_MS = 500 };

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
    "  -h, --help  print this\n"
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
		(void)fprintf(stderr, "dot-proxy: -l: `%s' %s (name another address or port)\n",
		    args->listen, problem);
	return problem == NULL;
}

/* An address that the command line names is none of the file's. */
static int
check_listen(const char *listen, const struct config *config)
{
	struct failure why;

	if (listen == NULL || net_check_address(&config->listen[0].address, &why) == 0)
		return 0;
	(void)fprintf(stderr, "dot-proxy: -l: %s%s%s%s\n", why.text,
	    why.remedy[0] != '\0' ? " (" : "", why.remedy, why.remedy[0] != '\0' ? ")" : "");
	return -1;
}

static int
check(const struct arguments *args, const struct config *config)
{
	struct config_report report;
	bool good = check_listen(args->listen, config) == 0;

	check_environment(config, args->config_file, &report);
	if (report.warnings != NULL)
		(void)fputs(report.warnings, stderr);
	if (report.errors != NULL)
		(void)fputs(report.errors, stderr);
	good = good && report.error_count == 0;
	config_report_free(&report);
	if (!good)
		return MISUSED;
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
		status = check(args, config);
	else
		status = probe(config, stdout) == 0 ? TOLD_TO_STOP : WORLD_FAILED;
	config_free(config);
	return status;
}

int
main(int argc, char **argv)
{
	struct arguments args;
	struct failure why;
	char wrong[ARGUMENTS_WHY_MAX];

	if (net_guard_standard_descriptors(&why) == -1)
		return WORLD_FAILED;
	if (arguments_read(argc, argv, &args, wrong) == -1) {
		(void)fprintf(stderr, "dot-proxy: %s\n", wrong);
		return MISUSED;
	}
	if (args.version)
		(void)printf("dot-proxy %s (%s)\n", DOTPROXY_VERSION, dot_library_version());
	if (args.help)
		(void)fputs(usage, stdout);
	if (args.version || args.help)
		return TOLD_TO_STOP;
	if (args.config_file == NULL)
		args.config_file = "config.yml";
	/* A peer that has gone is no reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	return run(&args);
}
