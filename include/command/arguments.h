#ifndef DOTPROXY_ARGUMENTS_H
#define DOTPROXY_ARGUMENTS_H

#include <stdbool.h>
#include <stdio.h>

struct arguments;

/* One command of the program. */
struct command {
	const char *name;      /* NULL: what is done without a command; the first of a table */
	const char *arguments; /* the options that it takes, as in the usage */
	const char *help;
	const char *failure;                  /* what exit status 1 means; NULL ends a table */
	int (*run)(const struct arguments *); /* returns the exit status */
};

/* The command line as understood; the texts are those of argv. */
struct arguments {
	const char *config_file; /* NULL: not given */
	const char *listen;      /* an address that config_set_listen() can read; NULL: not given */
	const struct command *command;
	bool verbose;
	bool upstream; /* at most one of this and `ready' */
	bool ready;
	bool version; /* the rest of the line was not read then, nor with `help' */
	bool help;
};

enum { ARGUMENTS_WHY_MAX = 768 };

/*
 * Reads the command line for the commands of a table; options may stand before and after the
 * command. Returns 0; or -1, and WHY says which word is wrong, why, and what to write: "`chekc':
 * unknown command (did you mean `check'?)".
 */
int arguments_read(int argc, char **argv, const struct command *commands, struct arguments *,
    char why[static ARGUMENTS_WHY_MAX]);

/* Writes the usage: commands, options, exit statuses. */
void arguments_print_help(const struct command *commands, FILE *);

#endif
