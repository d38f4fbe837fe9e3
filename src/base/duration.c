#include "base/duration.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct unit {
	const char *name;
	int ms;
} units[] = {
	{ "d", 86400000 },
	{ "h", 3600000 },
	{ "m", 60000 },
	{ "s", 1000 },
	{ "ms", 1 },
};

enum { UNIT_COUNT = sizeof units / sizeof units[0] };

int
duration_parse(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	const char *name = text + digits;
	long long n = 0;
	size_t i;

	if (digits == 0)
		return DURATION_INVALID;
	/* Stops once N is over INT_MAX; a unit only makes it larger. */
	for (i = 0; i < digits && n <= INT_MAX; i++)
		n = n * 10 + (text[i] - '0');
	if (*name == '\0')
		return n == 0 ? 0 : DURATION_NO_UNIT;
	for (i = 0; i < UNIT_COUNT; i++)
		if (strcmp(name, units[i].name) == 0)
			return n > INT_MAX / units[i].ms ? INT_MAX : (int)n * units[i].ms;
	return DURATION_INVALID;
}

char *
duration_format(int ms, char text[static DURATION_TEXT_MAX])
{
	const struct unit *unit = units;

	while (ms % unit->ms != 0)
		unit++;
	(void)snprintf(text, DURATION_TEXT_MAX, "%d%s", ms / unit->ms, ms == 0 ? "" : unit->name);
	return text;
}
