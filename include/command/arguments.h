#ifndef DOTPROXY_ARGUMENTS_H
#define DOTPROXY_ARGUMENTS_H

#include <stdbool.h>

/* The command line as understood; the texts are those of argv. */
struct arguments {
	const char *config_file; /* NULL: not given */
	const char *listen;      /* an address that config_set_listen() can read; NULL: not given */
	const char *command;     /* "check", "probe", "healthcheck"; NULL: serve */
	bool verbose;
	bool upstream; /* with "healthcheck" only, as `ready'; at most one of them */
	bool ready;
	bool version; /* nothing else counts then, nor with `help' */
	bool help;
};

enum { ARGUMENTS_WHY_MAX = 768 };

/*
 * Reads the command line; options may stand before and behind the command. Returns 0, or -1, and
 * WHY says which word is wrong, what is wrong with it and what to write: "`chekc': unknown
 * command (did you mean `check'?)".
 */
int arguments_read(int argc, char **argv, struct arguments *, char why[static ARGUMENTS_WHY_MAX]);

#endif
