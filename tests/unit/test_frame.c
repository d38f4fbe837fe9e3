#include "unit.h"

#include "format/frame.h"

static void
test_whole_frame_recognised(void **state)
{
	static const struct {
		const uint8_t *bytes;
		size_t have;
		bool is_whole;
		size_t len;
	} rows[] = {
		{ BYTES(""), false, 0 },
		{ BYTES("\0"), false, 0 },
		{ BYTES("\0\0"), true, 0 },
		{ BYTES("\0\0\0\5"), true, 0 },   /* an empty message, and a part of the next */
		{ BYTES("\0\1"), false, 0 },
		{ BYTES("\0\1a"), true, 1 },
		{ BYTES("\0\1a\0\3bc"), true, 1 },
		{ BYTES("\0\3ab"), false, 0 },
		{ BYTES("\1\0a"), false, 0 },     /* 256 bytes, not 1 */
		{ BYTES("\377\377abc"), false, 0 },
	};
	enum { UNCHANGED = 99999 };
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		uint8_t *bytes = tight_copy(rows[i].bytes, rows[i].have);
		size_t len = UNCHANGED;

		assert_int_equal(frame_is_whole(bytes, rows[i].have, &len), rows[i].is_whole);
		assert_int_equal(len, rows[i].is_whole ? rows[i].len : UNCHANGED);
		free(bytes);
	}
}

static void
test_written_prefix_read_back(void **state)
{
	static const size_t lens[] = { 0, 1, 255, 256, 4096, DNS_MESSAGE_MAX - 1, DNS_MESSAGE_MAX };
	uint8_t *frame = calloc(1, FRAME_MAX);
	size_t i, len;

	(void)state;
	assert_non_null(frame);
	for (i = 0; i < LENGTH(lens); i++) {
		frame_write_prefix(frame, lens[i]);
		assert_true(frame_is_whole(frame, FRAME_PREFIX_LEN + lens[i], &len));
		assert_int_equal(len, lens[i]);
		assert_false(frame_is_whole(frame, FRAME_PREFIX_LEN + lens[i] - 1, &len));
	}
	free(frame);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_frame_recognised),
		cmocka_unit_test(test_written_prefix_read_back),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
