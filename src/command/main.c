#include <signal.h>
#include <stdio.h>

#include "base/deadline.h"
#include "base/fail.h"
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
enum { EXIT_OK = 0, EXIT_RUNTIME = 1, EXIT_CONFIG = 2 };

/* How long to wait for a supervisor's answer on the status socket. */
enum { STATUS_TIMEOUT_MS = 500 };

static void
print_failure(const char *where, const struct failure *why)
{
	bool has_remedy = why->remedy[0] != '\0';

	(void)fprintf(stderr, "dot-proxy: %s%s%s%s%s\n", where, why->text, has_remedy ? " (" : "",
	    why->remedy, has_remedy ? ")" : "");
}

/* Prints errors and warnings of the configuration. Returns the number of errors. */
static size_t
print_report(struct config_report *report)
{
	size_t errors = report->error_count;

	if (report->warnings != NULL)
		(void)fputs(report->warnings, stderr);
	if (report->errors != NULL)
		(void)fputs(report->errors, stderr);
	config_report_free(report);
	return errors;
}

/* Applies -l. Returns 0, or -1 after printing the error. */
static int
set_listen(const struct arguments *args, struct config *config)
{
	const char *problem;

	if (args->listen == NULL)
		return 0;
	if ((problem = config_set_listen(config, args->listen)) == NULL)
		return 0;
	(void)fprintf(stderr, "dot-proxy: -l: `%s' %s (name another address or port)\n",
	    args->listen, problem);
	return -1;
}

/* Loads the configuration of the file and the command line; NULL after printing the errors. */
static struct config *
load(const struct arguments *args)
{
	struct config_report report;
	struct config *config = config_load(args->config_file, &report);

	(void)print_report(&report);
	if (config != NULL && set_listen(args, config) == -1) {
		config_free(config);
		return NULL;
	}
	if (config != NULL)
		log_set_level(args->verbose ? LOG_LEVEL_DEBUG : config->log.level);
	return config;
}

static int
run_serve(const struct arguments *args)
{
	struct supervisor_launch launch = { .config_file = args->config_file,
		.listen = args->listen,
		.verbose = args->verbose,
		.version = DOTPROXY_VERSION };
	struct config *config = load(args);

	if (config == NULL)
		return EXIT_CONFIG;
	switch (supervisor_run(&launch, config)) {
	case SUPERVISOR_STOPPED:
		return EXIT_OK;
	case SUPERVISOR_MISCONFIGURED:
		return EXIT_CONFIG;
	default:
		return EXIT_RUNTIME;
	}
}

/* Checks the address of -l, which check_environment() does not: it is not in the file. */
static int
check_listen(const char *listen, const struct config *config)
{
	struct failure why;

	if (listen == NULL || net_check_address(&config->listen[0].address, &why) == 0)
		return 0;
	print_failure("-l: ", &why);
	return -1;
}

static int
run_check(const struct arguments *args)
{
	struct config *config = load(args);
	struct config_report report;
	int status = EXIT_OK;

	if (config == NULL)
		return EXIT_CONFIG;
	if (check_listen(args->listen, config) == -1)
		status = EXIT_CONFIG;
	check_environment(config, args->config_file, &report);
	if (print_report(&report) > 0)
		status = EXIT_CONFIG;
	if (status == EXIT_OK) {
		config_print(config, stdout);
		status = fflush(stdout) == 0 ? EXIT_OK : EXIT_RUNTIME;
	}
	config_free(config);
	return status;
}

static int
run_probe(const struct arguments *args)
{
	struct config *config = load(args);
	int status;

	if (config == NULL)
		return EXIT_CONFIG;
	status = probe(config, stdout) == 0 ? EXIT_OK : EXIT_RUNTIME;
	config_free(config);
	return status;
}

/*
 * The running configuration, even if the file has changed since; or else that of the file. Warnings
 * are not printed, because they were logged at the start and a healthcheck runs every few seconds.
 */
static struct config *
find_running(const struct arguments *args)
{
	struct config *config = status_ask(args->config_file, deadline_in(STATUS_TIMEOUT_MS));
	struct config_report report;

	if (config != NULL)
		return config;
	if ((config = config_load(args->config_file, &report)) == NULL) {
		(void)print_report(&report);
		(void)fprintf(stderr, "dot-proxy: no dot-proxy is running with %s\n",
		    args->config_file);
	} else
		config_report_free(&report);
	return config;
}

static int
run_healthcheck(const struct arguments *args)
{
	struct config *config = find_running(args);
	enum healthcheck_question question = HEALTHCHECK_ALIVE;
	struct failure why;
	int status = EXIT_OK;

	if (config == NULL)
		return EXIT_RUNTIME;
	if (args->upstream)
		question = HEALTHCHECK_UPSTREAM;
	else if (args->ready)
		question = HEALTHCHECK_READY;
	if (set_listen(args, config) == -1)
		status = EXIT_CONFIG;
	else if (healthcheck(config, question, stdout, &why) == -1) {
		print_failure("", &why);
		status = EXIT_RUNTIME;
	}
	config_free(config);
	return status;
}

static int
run_schema(const struct arguments *args)
{
	(void)args;
	config_print_schema(stdout);
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_RUNTIME;
}

#define COMMON "[-c FILE] [-l ADDRESS[:PORT]] [-v]"

static const struct command commands[] = {
	{ NULL, COMMON, "serve until SIGTERM or SIGINT", "a port is in use, or no worker can start",
	    run_serve },
	{ "check", COMMON, "check the configuration and print it with all defaults",
	    "the output cannot be written", run_check },
	{ "probe", COMMON, "connect to every upstream now and print the result",
	    "an upstream cannot be used", run_probe },
	{ "healthcheck", COMMON " [--upstream | --ready]",
	    "query the running dot-proxy and print whether it answers", "it does not answer",
	    run_healthcheck },
	{ "schema", "", "print the JSON Schema of the configuration, for editors",
	    "the output cannot be written", run_schema },
	{ NULL, NULL, NULL, NULL, NULL },
};

int
main(int argc, char **argv)
{
	struct arguments args;
	struct failure why;
	char wrong[ARGUMENTS_WHY_MAX];

	if (net_guard_standard_descriptors(&why) == -1)
		return EXIT_RUNTIME;
	if (arguments_read(argc, argv, commands, &args, wrong) == -1) {
		(void)fprintf(stderr, "dot-proxy: %s\n", wrong);
		return EXIT_CONFIG;
	}
	if (args.version)
		(void)printf("dot-proxy %s (%s)\n", DOTPROXY_VERSION, dot_library_version());
	if (args.help)
		arguments_print_help(commands, stdout);
	if (args.version || args.help)
		return EXIT_OK;
	if (args.config_file == NULL)
		args.config_file = "config.yml";
	/* A write to a closed connection must fail, not end the process. */
	(void)signal(SIGPIPE, SIG_IGN);
	return args.command->run(&args);
}
