#include "format/opt.h"

#include "unit.h"

/* What follows owner and type of a record: size 1232, RCODE 1, version 0, DO. */
#define FIELDS "\4\320\1\0\200\0"

static const struct read_row {
	const char *name;
	const uint8_t *bytes;
	size_t len;
	bool is_read;
	size_t options; /* how many can be read */
	bool is_broken; /* the one behind them */
} read_rows[] = {
	{ "no options", BYTES(FIELDS "\0\0"), true, 0, false },
	{ "no options, and more bytes after it", BYTES(FIELDS "\0\0xyz"), true, 0, false },
	{ "one", BYTES(FIELDS "\0\6\0\12\0\2ab"), true, 1, false },
	{ "one without data", BYTES(FIELDS "\0\4\0\13\0\0"), true, 1, false },
	{ "three", BYTES(FIELDS "\0\16\0\12\0\2ab\0\13\0\0\0\14\0\0"), true, 3, false },
	{ "half a header", BYTES(FIELDS "\0\2\0\12"), true, 0, true },
	{ "data that is cut", BYTES(FIELDS "\0\5\0\12\0\2a"), true, 0, true },
	{ "truncated data after a valid option", BYTES(FIELDS "\0\12\0\12\0\2ab\0\13\377\377"),
	    true, 1, true },
	{ "options that are cut", BYTES(FIELDS "\0\7\0\12\0\2ab"), false, 0, false },
	{ "no length", BYTES(FIELDS "\0"), false, 0, false },
	{ "half the fields", BYTES("\4\320\1"), false, 0, false },
	{ "nothing", BYTES(""), false, 0, false },
};

static void
test_record_and_its_options_read(void **state)
{
	size_t i, n;

	(void)state;
	for (i = 0; i < LENGTH(read_rows); i++) {
		const struct read_row *row = &read_rows[i];
		uint8_t *bytes = tight_copy(row->bytes, row->len);
		struct wire_reader r;
		struct opt opt;
		struct opt_option option;

		wire_reader_init(&r, bytes, row->len);
		memset(&opt, 0xff, sizeof opt);
		opt_read(&r, &opt);
		assert_int_equal(r.failed, !row->is_read);
		assert_int_equal(opt.udp_size, row->is_read ? 1232 : 0);
		assert_int_equal(opt.rcode, row->is_read ? 1 : 0);
		assert_int_equal(opt.version, 0);
		assert_int_equal(opt.flags, row->is_read ? OPT_DO : 0);
		for (n = 0; opt_next(&opt.options, &option); n++)
			assert_true(option.len == 0 || memcmp(option.data, "ab", 2) == 0);
		assert_int_equal(n, row->options);
		assert_int_equal(opt.options.failed, row->is_broken);
		free(bytes);
	}
}

/* Written, and read again as the record that it is. */
static void
test_record_written_with_its_options(void **state)
{
	static const uint8_t expected[] =
	    "\0\0\51\4\320\1\0\200\0\0\16\0\12\0\2ab\0\13\0\0\0\17\0\0";
	static const struct opt opt = { .udp_size = 1232, .rcode = 1, .flags = OPT_DO };
	size_t len = sizeof expected - 1;
	uint8_t *out;
	struct wire_writer w;
	size_t begin, cap;

	(void)state;
	/* With any buffer size: everything or nothing. */
	for (cap = 0; cap <= len; cap++) {
		out = tight_copy(expected, cap);
		wire_writer_init(&w, out, cap);
		begin = opt_begin(&w, &opt);
		opt_write_option(&w, OPT_COOKIE, "ab", 2);
		opt_write_option(&w, OPT_KEEPALIVE, NULL, 0);
		opt_write_option(&w, OPT_EDE, NULL, 0);
		opt_end(&w, begin);
		assert_int_equal(wire_written(&w), cap == len ? len : 0);
		if (cap == len)
			assert_memory_equal(out, expected, len);
		free(out);
	}
}

static void
test_ede_text_truncated_between_characters(void **state)
{
	static const struct {
		const char *text;
		size_t room;
		size_t written; /* of the text; 99: not even the INFO-CODE */
	} rows[] = {
		{ "why", 9, 3 },
		{ "why", 100, 3 },
		{ "why", 8, 2 },
		{ "why", 6, 0 },
		{ "why", 5, 99 },
		{ "why", 0, 99 },
		{ "", 9, 0 },
		{ NULL, 9, 0 },
		{ "a\303\251", 9, 3 },
		{ "a\303\251", 8, 1 },             /* the second byte of two does not fit */
		{ "\342\202\254", 8, 0 },          /* the third of three */
		{ "b\360\237\230\200", 10, 1 },    /* the fourth of four */
		{ "b\360\237\230\200c", 11, 5 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		uint8_t *out = calloc(1, rows[i].room + 1);
		struct wire_writer w;

		assert_non_null(out);
		wire_writer_init(&w, out, rows[i].room);
		opt_write_ede(&w, 22, rows[i].text);
		assert_false(w.failed);
		if (rows[i].written == 99) {
			assert_int_equal(wire_written(&w), 0);
		} else {
			assert_int_equal(wire_written(&w), 6 + rows[i].written);
			assert_memory_equal(out, "\0\17\0", 3);
			assert_int_equal(out[3], 2 + rows[i].written);
			assert_memory_equal(out + 4, "\0\26", 2);
			if (rows[i].written > 0)
				assert_memory_equal(out + 6, rows[i].text, rows[i].written);
		}
		free(out);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record_and_its_options_read),
		cmocka_unit_test(test_record_written_with_its_options),
		cmocka_unit_test(test_ede_text_truncated_between_characters),
	};

	return cmocka_run_group_tests_name("opt", tests, NULL, NULL);
}
