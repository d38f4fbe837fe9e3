#ifndef DOTPROXY_DURATION_H
#define DOTPROXY_DURATION_H

/* Lengths of time as text: whole numbers with a unit, "1500ms", "2s", "1m". */

enum {
	DURATION_INVALID = -1, /* no duration at all */
	DURATION_NO_UNIT = -2  /* a bare number */
};

/* Room for any duration as text. */
enum { DURATION_TEXT_MAX = 16 };

/*
 * Returns the milliseconds, or one of the above; INT_MAX for all that is longer
 * than that. "0" needs no unit.
 */
int duration_parse(const char *text);

/* Writes it in the largest unit that gives a whole number, and returns TEXT. */
char *duration_format(int ms, char text[static DURATION_TEXT_MAX]);

#endif
