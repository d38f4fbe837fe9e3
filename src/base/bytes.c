#include "base/bytes.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct unit {
	const char *name;
	int64_t bytes;
} units[] = {
	{ "GiB", 1 << 30 },
	{ "MiB", 1 << 20 },
	{ "KiB", 1 << 10 },
};

enum { UNIT_COUNT = sizeof units / sizeof units[0] };

int64_t
bytes_parse(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	const char *name = text + digits;
	int64_t n = 0;
	size_t i;

	if (digits == 0)
		return BYTES_INVALID;
	/* Stops once N is over UINT32_MAX; a unit makes it larger, but not over INT64_MAX. */
	for (i = 0; i < digits && n <= UINT32_MAX; i++)
		n = n * 10 + (text[i] - '0');
	if (*name == '\0')
		return n == 0 ? 0 : BYTES_NO_UNIT;
	for (i = 0; i < UNIT_COUNT; i++)
		if (strcmp(name, units[i].name) == 0)
			return n > UINT32_MAX ? INT64_MAX : n * units[i].bytes;
	return BYTES_INVALID;
}

char *
bytes_format(uint64_t n, char text[static BYTES_TEXT_MAX])
{
	const struct unit *unit = units;

	while (unit < units + UNIT_COUNT - 1 && n % (uint64_t)unit->bytes != 0)
		unit++;
	(void)snprintf(text, BYTES_TEXT_MAX, "%" PRIu64 "%s", n / (uint64_t)unit->bytes,
	    n == 0 ? "" : unit->name);
	return text;
}
