#include "base/duration.h"

#include <limits.h>

#include "unit.h"

static const struct row {
	const char *text;
	int ms;
	const char *again; /* as duration_format() writes it */
} rows[] = {
	{ "0", 0, "0" },
	{ "0ms", 0, "0" },
	{ "0m", 0, "0" },
	{ "000", 0, "0" },
	{ "1ms", 1, "1ms" },
	{ "999ms", 999, "999ms" },
	{ "1000ms", 1000, "1s" },
	{ "1500ms", 1500, "1500ms" },
	{ "59s", 59000, "59s" },
	{ "60s", 60000, "1m" },
	{ "90s", 90000, "90s" },
	{ "10m", 600000, "10m" },
	{ "007s", 7000, "7s" },
	{ "2147483647ms", INT_MAX, "2147483647ms" },
	{ "2147483648ms", INT_MAX, NULL },
	{ "2147484s", INT_MAX, NULL },
	{ "2147483s", 2147483000, "2147483s" },
	{ "99999999999999999999999999999999m", INT_MAX, NULL },
	{ "5", DURATION_NO_UNIT, NULL },
	{ "4500", DURATION_NO_UNIT, NULL },
	{ "", DURATION_INVALID, NULL },
	{ "s", DURATION_INVALID, NULL },
	{ "-1s", DURATION_INVALID, NULL },
	{ "+1s", DURATION_INVALID, NULL },
	{ "1.5s", DURATION_INVALID, NULL },
	{ "1 s", DURATION_INVALID, NULL },
	{ "1s ", DURATION_INVALID, NULL },
	{ "1S", DURATION_INVALID, NULL },
	{ "59m", 3540000, "59m" },
	{ "60m", 3600000, "1h" },
	{ "90m", 5400000, "90m" },
	{ "24h", 86400000, "1d" },
	{ "36h", 129600000, "36h" },
	{ "7d", 604800000, "7d" },
	{ "24d", 2073600000, "24d" },
	{ "25d", INT_MAX, NULL },
	{ "597h", INT_MAX, NULL },
	{ "1w", DURATION_INVALID, NULL },
	{ "1H", DURATION_INVALID, NULL },
	{ "1hms", DURATION_INVALID, NULL },
	{ "1sec", DURATION_INVALID, NULL },
	{ "0x1s", DURATION_INVALID, NULL },
	{ "1m30s", DURATION_INVALID, NULL },
};

static void
reads_a_duration(void **state)
{
	const struct row *row = *state;
	char again[DURATION_TEXT_MAX];
	char *text;

	text = (char *)tight_copy((const uint8_t *)row->text, strlen(row->text) + 1);
	assert_int_equal(duration_parse(text), row->ms);
	free(text);
	if (row->again != NULL)
		assert_string_equal(duration_format(row->ms, again), row->again);
}

int
main(void)
{
	return RUN_ROWS(rows, reads_a_duration);
}
