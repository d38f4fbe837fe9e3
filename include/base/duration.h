#ifndef DOTPROXY_DURATION_H
#define DOTPROXY_DURATION_H

/* Durations as text: whole numbers with a unit, "1500ms", "2s", "1m", "1h", "7d". */

enum {
	DURATION_INVALID = -1, /* not a duration */
	DURATION_NO_UNIT = -2  /* a number without a unit */
};

/* The largest size of a duration as text. */
enum { DURATION_TEXT_MAX = 16 };

/* Returns milliseconds, INT_MAX at most; or one of the above. "0" needs no unit. */
int duration_parse(const char *text);

/* Writes MS in the largest unit in which it is a whole number. Returns TEXT. */
char *duration_format(int ms, char text[static DURATION_TEXT_MAX]);

#endif
