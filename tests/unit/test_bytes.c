#include "base/bytes.h"

#include "unit.h"

static const struct row {
	const char *text;
	int64_t bytes;
	const char *again; /* as bytes_format() writes it */
} rows[] = {
	{ "0", 0, "0" },
	{ "0KiB", 0, "0" },
	{ "000", 0, "0" },
	{ "1KiB", 1 << 10, "1KiB" },
	{ "1023KiB", 1023 << 10, "1023KiB" },
	{ "1024KiB", 1 << 20, "1MiB" },
	{ "1025KiB", 1025 << 10, "1025KiB" },
	{ "007MiB", 7 << 20, "7MiB" },
	{ "1024MiB", 1 << 30, "1GiB" },
	{ "4GiB", INT64_C(4) << 30, "4GiB" },
	{ "4294967295GiB", INT64_C(4294967295) << 30, "4294967295GiB" },
	{ "4294967296KiB", INT64_MAX, NULL },
	{ "99999999999999999999999999999999KiB", INT64_MAX, NULL },
	{ "5", BYTES_NO_UNIT, NULL },
	{ "4194304", BYTES_NO_UNIT, NULL },
	{ "99999999999999999999999999999999", BYTES_NO_UNIT, NULL },
	{ "", BYTES_INVALID, NULL },
	{ "MiB", BYTES_INVALID, NULL },
	{ "-1MiB", BYTES_INVALID, NULL },
	{ "+1MiB", BYTES_INVALID, NULL },
	{ "1.5MiB", BYTES_INVALID, NULL },
	{ "1 MiB", BYTES_INVALID, NULL },
	{ "1MiB ", BYTES_INVALID, NULL },
	{ "1MB", BYTES_INVALID, NULL },
	{ "1M", BYTES_INVALID, NULL },
	{ "1m", BYTES_INVALID, NULL },
	{ "1mib", BYTES_INVALID, NULL },
	{ "1B", BYTES_INVALID, NULL },
	{ "0x1MiB", BYTES_INVALID, NULL },
};

static void
reads_a_size(void **state)
{
	const struct row *row = *state;
	char again[BYTES_TEXT_MAX];
	char *text;

	text = (char *)tight_copy((const uint8_t *)row->text, strlen(row->text) + 1);
	assert_true(bytes_parse(text) == row->bytes);
	free(text);
	if (row->again != NULL)
		assert_string_equal(bytes_format((uint64_t)row->bytes, again), row->again);
}

int
main(void)
{
	return RUN_ROWS(rows, reads_a_size);
}
