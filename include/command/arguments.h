#ifndef DOTPROXY_ARGUMENTS_H
#define DOTPROXY_ARGUMENTS_H

#include <stdbool.h>
#include <stdio.h>

struct arguments;

/* One command of the program. */
struct command {
	const char *name;      /* NULL: the default command, first in the table */
	const char *arguments; /* its options, as in the usage */
	const char *help;
	const char *failure; /* the meaning of exit status 1; NULL ends the table */
	int (*run)(const struct arguments *); /* returns the exit status */
};

/* The parsed command line; the texts point into argv. */
struct arguments {
	const char *config_file; /* NULL: not given */
	const char *listen;      /* an address that config_set_listen() can read; NULL: not given */
	const struct command *command;
	bool verbose;
	bool upstream; /* at most one of this and `ready' */
	bool ready;
	bool version; /* with this or `help', the rest of the line was not read */
	bool help;
};

enum { ARGUMENTS_WHY_MAX = 768 };

/*
 * Parses the command line for a table of commands; options may precede or follow the command.
 * Returns 0; or -1 with the message in WHY: "`chekc': unknown command (did you mean `check'?)".
 */
int arguments_read(int argc, char **argv, const struct command *commands, struct arguments *,
    char why[static ARGUMENTS_WHY_MAX]);

/* Writes the usage: commands, options, exit statuses. */
void arguments_print_help(const struct command *commands, FILE *);

#endif
