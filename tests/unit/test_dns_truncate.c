#include "format/dns.h"

#include "message.h"
#include "unit.h"

#define ONE COUNTS("\1", "\0", "\0", "\0")
#define NONE COUNTS("\0", "\0", "\0", "\0")
#define OPT_ONLY COUNTS("\1", "\0", "\0", "\1")
#define CUT "\x83\x80" /* RESPONSE, and TC */
#define OPT_OPTIONS(high, low) "\0\0\51\x04\xd0\0\0\0\0" high low

/* The message before and after a filler record of FILLER bytes. */
static const struct truncate_row {
	const char *name;
	const uint8_t *front;
	size_t front_len;
	size_t filler;
	const uint8_t *back;
	size_t back_len;
	size_t limit;
	const uint8_t *cut; /* NULL: it stays as it is */
	size_t cut_len;
} rows[] = {
	{ "one that fits exactly", BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\0") QUESTION), 483,
	    BYTES(""), 512, NULL, 0 },
	{ "one byte more", BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\0") QUESTION), 484,
	    BYTES(""), 512, BYTES(ID CUT ONE QUESTION) },
	{ "the OPT record stays", BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\1") QUESTION), 600,
	    BYTES(OPT_EMPTY), 512, BYTES(ID CUT OPT_ONLY QUESTION OPT_EMPTY) },
	{ "a larger limit", BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\1") QUESTION), 1200,
	    BYTES(OPT_EMPTY), 1232, BYTES(ID CUT OPT_ONLY QUESTION OPT_EMPTY) },
	{ "the options of the OPT record stay",
	    BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\1") QUESTION), 600,
	    BYTES(OPT_OPTIONS("\0", "\6") "\0\3\0\2ns"), 512,
	    BYTES(ID CUT OPT_ONLY QUESTION OPT_OPTIONS("\0", "\6") "\0\3\0\2ns") },
	{ "the OPT record first of all",
	    BYTES(ID RESPONSE COUNTS("\1", "\0", "\0", "\2") QUESTION OPT_EMPTY),
	    600, BYTES(""), 512, BYTES(ID CUT OPT_ONLY QUESTION OPT_EMPTY) },
	{ "flags and RCODE stay", BYTES(ID "\x85\xb3" COUNTS("\1", "\0", "\1", "\0") QUESTION), 600,
	    BYTES(""), 512, BYTES(ID "\x87\xb3" ONE QUESTION) },
	{ "two OPT records count as none",
	    BYTES(ID RESPONSE COUNTS("\1", "\1", "\0", "\2") QUESTION), 600,
	    BYTES(OPT_EMPTY OPT_EMPTY), 512, BYTES(ID CUT ONE QUESTION) },
	{ "an OPT record among the answers",
	    BYTES(ID RESPONSE COUNTS("\1", "\2", "\0", "\0") QUESTION OPT_EMPTY), 600, BYTES(""),
	    512, BYTES(ID CUT ONE QUESTION) },
	{ "no question", BYTES(ID "\x81\x82" COUNTS("\0", "\1", "\0", "\0")), 600, BYTES(""), 512,
	    BYTES(ID "\x83\x82" NONE) },
	{ "records that cannot be read", BYTES(ID RESPONSE COUNTS("\1", "\7", "\0", "\1") QUESTION),
	    600, BYTES("\377"), 512, BYTES(ID CUT ONE QUESTION) },
};

/* A record at the root of type 65280, LEN bytes in all, at least 11. */
static void
put_filler(uint8_t *p, size_t len)
{
	static const uint8_t head[] = "\0\377\0\0\1\0\0\0\74";

	memset(p, 0xaa, len);
	memcpy(p, head, sizeof head - 1);
	p[9] = (uint8_t)((len - 11) >> 8);
	p[10] = (uint8_t)(len - 11);
}

static void
truncates(void **state)
{
	const struct truncate_row *row = *state;
	size_t len = row->front_len + row->filler + row->back_len;
	uint8_t *msg = malloc(len);
	uint8_t *before;
	size_t cut;

	assert_non_null(msg);
	memcpy(msg, row->front, row->front_len);
	put_filler(msg + row->front_len, row->filler);
	memcpy(msg + row->front_len + row->filler, row->back, row->back_len);
	before = tight_copy(msg, len);
	cut = dns_truncate(msg, len, row->limit);
	assert_int_equal(cut, row->cut != NULL ? row->cut_len : len);
	assert_memory_equal(msg, row->cut != NULL ? row->cut : before, cut);
	free(before);
	free(msg);
}

/* An OPT record whose options do not fit is sent without them. */
static void
drops_options_that_do_not_fit(void **state)
{
	static const uint8_t front[] = ID RESPONSE OPT_ONLY QUESTION OPT_OPTIONS("\2", "\0");
	static const uint8_t wanted[] = ID CUT OPT_ONLY QUESTION OPT_EMPTY;
	size_t len = sizeof front - 1 + 512;
	uint8_t *msg = calloc(1, len);

	(void)state;
	assert_non_null(msg);
	memcpy(msg, front, sizeof front - 1);
	assert_int_equal(dns_truncate(msg, len, 512), sizeof wanted - 1);
	assert_memory_equal(msg, wanted, sizeof wanted - 1);
	free(msg);
}

static const struct question_row {
	const char *name;
	const uint8_t *data;
	size_t len;
	size_t question_len;
} question_rows[] = {
	{ "one question", BYTES(ID QUERY ONE QUESTION), QUESTION_LEN },
	{ "records after it", BYTES(ID QUERY OPT_ONLY QUESTION OPT_EMPTY), QUESTION_LEN },
	{ "none", BYTES(ID QUERY NONE), 0 },
	{ "two", BYTES(ID QUERY COUNTS("\2", "\0", "\0", "\0") QUESTION QUESTION), 0 },
	{ "cut short", BYTES(ID QUERY ONE NAME TYPE_A "\0"), 0 },
	{ "compressed", BYTES(ID QUERY ONE "\300\14" TYPE_A IN), 0 },
	{ "half a header", BYTES(ID QUERY "\0\1"), 0 },
	{ "nothing", BYTES(""), 0 },
};

static void
finds_the_question(void **state)
{
	const struct question_row *row = *state;
	uint8_t *msg = tight_copy(row->data, row->len);

	assert_int_equal(dns_question_len(msg, row->len), row->question_len);
	free(msg);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(drops_options_that_do_not_fit),
	};

	return RUN_ROWS(rows, truncates) +
	    RUN_ROWS(question_rows, finds_the_question) +
	    cmocka_run_group_tests_name("dns_truncate", singles, NULL, NULL);
}
