#include "base/wire.h"

#include "unit.h"

#define X10 "xxxxxxxxxx"
#define X61 X10 X10 X10 X10 X10 X10 "x"
#define LABEL_61 "\75" X61
#define LABEL_62 "\76" X61 "x"
#define LABEL_63 "\77" X61 "xx"

static const struct name_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	bool failed;       /* in wire_skip_name() */
	bool plain_failed; /* in wire_skip_plain_name() */
	size_t pos;        /* after wire_skip_name() */
} name_rows[] = {
	{ "root", BYTES("\0"), false, false, 1 },
	{ "two labels", BYTES("\1a\2bc\0"), false, false, 6 },
	{ "trailing bytes are not read", BYTES("\1a\0\1b\0"), false, false, 3 },
	{ "any byte in a label", BYTES("\4\0.\377\\\0"), false, false, 6 },
	{ "pointer alone", BYTES("\300\14"), false, true, 2 },
	{ "pointer ends the name", BYTES("\1a\300\14"), false, true, 4 },
	{ "pointer to itself", BYTES("\300\0"), false, true, 2 },
	{ "highest pointer", BYTES("\377\377"), false, true, 2 },
	{ "label of 63", BYTES(LABEL_63 "\0"), false, false, 65 },
	{ "255 bytes", BYTES(LABEL_63 LABEL_63 LABEL_63 LABEL_61 "\0"), false, false, 255 },
	{ "256 bytes", BYTES(LABEL_63 LABEL_63 LABEL_63 LABEL_62 "\0"), true, true, 193 },
	{ "254 bytes and a pointer", BYTES(LABEL_63 LABEL_63 LABEL_63 LABEL_61 "\300\14"), false,
	    true, 256 },
	{ "255 bytes and a pointer", BYTES(LABEL_63 LABEL_63 LABEL_63 LABEL_62 "\300\14"), true,
	    true, 193 },
	{ "label of 64", BYTES("\100" LABEL_63 "\0"), true, true, 1 },
	{ "reserved label type 01", BYTES("\177\0"), true, true, 1 },
	{ "reserved label type 10", BYTES("\200\0"), true, true, 1 },
	{ "highest of type 10", BYTES("\277\0"), true, true, 1 },
	{ "nothing", BYTES(""), true, true, 0 },
	{ "label without an end", BYTES("\1a"), true, true, 2 },
	{ "half a label", BYTES("\2a"), true, true, 1 },
	{ "length without a label", BYTES("\1"), true, true, 1 },
	{ "half a pointer", BYTES("\300"), true, true, 1 },
};

static void
skips_a_name(void **state)
{
	const struct name_row *row = *state;
	uint8_t *data = tight_copy(row->data, row->len);
	struct wire_reader r;

	wire_reader_init(&r, data, row->len);
	wire_skip_name(&r);
	assert_int_equal(r.failed, row->failed);
	assert_int_equal(r.pos, row->pos);

	wire_reader_init(&r, data, row->len);
	wire_skip_plain_name(&r);
	assert_int_equal(r.failed, row->plain_failed);
	if (!row->plain_failed)
		assert_int_equal(r.pos, row->pos);
	free(data);
}

/* A name without a pointer is complete only with its last byte. */
static void
fails_on_every_shorter_name(void **state)
{
	const struct name_row *row = *state;
	struct wire_reader r;
	uint8_t *data;
	size_t len;

	for (len = 0; len < row->pos; len++) {
		data = tight_copy(row->data, len);
		wire_reader_init(&r, data, len);
		wire_skip_name(&r);
		assert_true(r.failed);
		assert_true(r.pos <= len);
		free(data);
	}
}

enum { U8, U16, U32, SKIP_3, BYTES_3, SKIP_ALL, READS };

/* The result of READ: the number, or the first of the bytes. */
static uint32_t
read_one(struct wire_reader *r, int read)
{
	const uint8_t *p;

	switch (read) {
	case U8:
		return wire_read_u8(r);
	case U16:
		return wire_read_u16(r);
	case U32:
		return wire_read_u32(r);
	case SKIP_3:
		wire_skip(r, 3);
		return 0;
	case SKIP_ALL:
		wire_skip(r, SIZE_MAX);
		return 0;
	default:
		p = wire_read_bytes(r, 3);
		return p == NULL ? 0 : p[0];
	}
}

static const struct number_row {
	const char *name;
	size_t size;
	uint32_t value;
	int read;
} number_rows[] = {
	{ "u8", 1, 0x81, U8 },
	{ "u16", 2, 0x8182, U16 },
	{ "u32", 4, 0x81828384, U32 },
	{ "skip", 3, 0, SKIP_3 },
	{ "bytes", 3, 0x81, BYTES_3 },
};

static void
reads_in_network_order(void **state)
{
	const struct number_row *row = *state;
	uint8_t *data = tight_copy(BYTES("\201\202\203\204"));
	struct wire_reader r;

	wire_reader_init(&r, data, 4);
	assert_int_equal(read_one(&r, row->read), row->value);
	assert_false(r.failed);
	assert_int_equal(r.pos, row->size);
	assert_int_equal(wire_is_done(&r), row->size == 4);
	free(data);
}

static void
fails_one_byte_short_and_stays_failed(void **state)
{
	const struct number_row *row = *state;
	size_t len = row->size - 1;
	uint8_t *data = tight_copy((const uint8_t *)"\201\202\203\204", len);
	struct wire_reader r;
	int read;

	wire_reader_init(&r, data, len);
	assert_int_equal(read_one(&r, row->read), 0);
	for (read = U8; read < READS; read++) {
		assert_int_equal(read_one(&r, read), 0);
		assert_true(r.failed);
		assert_int_equal(r.pos, 0);
	}
	assert_null(wire_read_bytes(&r, 0));
	assert_false(wire_is_done(&r));
	free(data);
}

static void
a_huge_length_does_not_wrap(void **state)
{
	uint8_t *data = tight_copy(BYTES("abc"));
	struct wire_reader r;

	(void)state;
	wire_reader_init(&r, data, 3);
	wire_skip(&r, 2);
	assert_null(wire_read_bytes(&r, SIZE_MAX));
	assert_true(r.failed);
	assert_int_equal(r.pos, 2);
	wire_reader_init(&r, data, 3);
	wire_skip(&r, 2);
	wire_skip(&r, SIZE_MAX - 1);
	assert_true(r.failed);
	free(data);
}

static void
zero_bytes_are_always_available(void **state)
{
	uint8_t *data = tight_copy(BYTES("ab"));
	struct wire_reader r;

	(void)state;
	wire_reader_init(&r, data, 2);
	assert_false(wire_is_done(&r));
	assert_ptr_equal(wire_read_bytes(&r, 2), data);
	assert_true(wire_is_done(&r));
	assert_non_null(wire_read_bytes(&r, 0));
	wire_skip(&r, 0);
	assert_true(wire_is_done(&r));
	free(data);
}

enum { W8, W16, W32, ZEROS_3, WRITES_3, WRITES };

static void
write_one(struct wire_writer *w, int write)
{
	switch (write) {
	case W8:
		wire_write_u8(w, 0x81);
		break;
	case W16:
		wire_write_u16(w, 0x8182);
		break;
	case W32:
		wire_write_u32(w, 0x81828384);
		break;
	case ZEROS_3:
		wire_write_zeros(w, 3);
		break;
	default:
		wire_write_bytes(w, "abc", 3);
		break;
	}
}

static const struct write_row {
	int write;
	const uint8_t *bytes;
	size_t len;
} write_rows[] = {
	{ W8, BYTES("\201") },
	{ W16, BYTES("\201\202") },
	{ W32, BYTES("\201\202\203\204") },
	{ ZEROS_3, BYTES("\0\0\0") },
	{ WRITES_3, BYTES("abc") },
};

static void
test_writes_in_network_order(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(write_rows); i++) {
		const struct write_row *row = &write_rows[i];
		uint8_t *data = tight_copy(BYTES("xxxxx"));
		struct wire_writer w;

		wire_writer_init(&w, data, 5);
		write_one(&w, row->write);
		assert_int_equal(wire_written(&w), row->len);
		assert_int_equal(wire_room(&w), 5 - row->len);
		assert_memory_equal(data, row->bytes, row->len);
		assert_int_equal(data[row->len], 'x');
		free(data);
	}
}

/* One byte short: nothing is written, and nothing that would fit is written after it. */
static void
test_write_past_the_end_fails_and_stays_failed(void **state)
{
	size_t i;
	int write;

	(void)state;
	for (i = 0; i < LENGTH(write_rows); i++) {
		size_t cap = write_rows[i].len - 1;
		uint8_t *data = tight_copy((const uint8_t *)"xxxx", cap);
		struct wire_writer w;

		wire_writer_init(&w, data, cap);
		write_one(&w, write_rows[i].write);
		for (write = W8; write < WRITES; write++)
			write_one(&w, write);
		wire_write_bytes(&w, NULL, 0);
		assert_true(w.failed);
		assert_int_equal(wire_written(&w), 0);
		assert_int_equal(wire_room(&w), 0);
		assert_memory_equal(data, "xxxx", cap);
		free(data);
	}
}

static void
test_write_of_a_huge_length_does_not_wrap(void **state)
{
	uint8_t *data = tight_copy(BYTES("xyz"));
	struct wire_writer w;

	(void)state;
	wire_writer_init(&w, data, 3);
	wire_write_u16(&w, 0);
	wire_write_zeros(&w, SIZE_MAX);
	assert_true(w.failed);
	assert_int_equal(data[2], 'z');
	free(data);
}

static void
test_overwrite_only_what_was_written(void **state)
{
	static const struct {
		size_t written;
		size_t at;
		bool failed;
	} rows[] = {
		{ 2, 0, false },
		{ 4, 2, false },
		{ 4, 1, false },
		{ 0, 0, true },
		{ 1, 0, true },
		{ 4, 3, true },
		{ 4, 4, true },
		{ 4, SIZE_MAX, true },
	};
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		uint8_t *data = tight_copy(BYTES("xxxx"));
		struct wire_writer w;

		wire_writer_init(&w, data, 4);
		wire_write_zeros(&w, rows[i].written);
		wire_overwrite_u16(&w, rows[i].at, 0x8182);
		assert_int_equal(w.failed, rows[i].failed);
		if (!rows[i].failed) {
			assert_int_equal(wire_written(&w), rows[i].written);
			assert_memory_equal(data + rows[i].at, "\201\202", 2);
		}
		free(data);
	}
}

static void
test_bytes_moved_within_a_message(void **state)
{
	uint8_t *data = tight_copy(BYTES("abcdef"));
	struct wire_writer w;

	(void)state;
	wire_writer_init(&w, data, 6);
	wire_write_u8(&w, 'x');
	wire_write_bytes(&w, data + 2, 4);
	assert_int_equal(wire_written(&w), 5);
	assert_memory_equal(data, "xcdeff", 6);
	free(data);
}

static void
test_letters_are_compared_without_case(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		size_t len;
		bool same;
	} rows[] = {
		{ "", "", 0, true },
		{ "azAZ09-", "AZaz09-", 7, true },
		{ "ab", "ac", 1, true },
		{ "ab", "ac", 2, false },
		{ "@[`{", "`{@[", 4, false },
		{ "\344", "\304", 1, false },
		{ "ab", "a", 2, false },
		{ "a", "a", 2, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		uint8_t *a = tight_copy((const uint8_t *)rows[i].a, strlen(rows[i].a));
		uint8_t *b = tight_copy((const uint8_t *)rows[i].b, strlen(rows[i].b));
		struct wire_reader ra, rb;

		wire_reader_init(&ra, a, strlen(rows[i].a));
		wire_reader_init(&rb, b, strlen(rows[i].b));
		assert_int_equal(wire_same_letters(&ra, &rb, rows[i].len), rows[i].same);
		if (rows[i].same)
			assert_int_equal(ra.pos, rows[i].len);
		free(a);
		free(b);
	}
}

int
main(void)
{
	struct CMUnitTest tests[2 * LENGTH(name_rows) + 2 * LENGTH(number_rows) + 8] = { 0 };
	size_t n = 0, i;

	for (i = 0; i < LENGTH(name_rows); i++) {
		tests[n++] = (struct CMUnitTest){ .name = name_rows[i].name,
			.test_func = skips_a_name,
			.initial_state = (void *)&name_rows[i] };
		if (name_rows[i].failed)
			continue;
		tests[n++] = (struct CMUnitTest){ .name = name_rows[i].name,
			.test_func = fails_on_every_shorter_name,
			.initial_state = (void *)&name_rows[i] };
	}
	for (i = 0; i < LENGTH(number_rows); i++) {
		tests[n++] = (struct CMUnitTest){ .name = number_rows[i].name,
			.test_func = reads_in_network_order,
			.initial_state = (void *)&number_rows[i] };
		tests[n++] = (struct CMUnitTest){ .name = number_rows[i].name,
			.test_func = fails_one_byte_short_and_stays_failed,
			.initial_state = (void *)&number_rows[i] };
	}
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_huge_length_does_not_wrap);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(zero_bytes_are_always_available);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_writes_in_network_order);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(
	    test_write_past_the_end_fails_and_stays_failed);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_write_of_a_huge_length_does_not_wrap);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_overwrite_only_what_was_written);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_bytes_moved_within_a_message);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_letters_are_compared_without_case);
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
