#include "transport/cleartext.h"

#include "unit.h"

static struct cleartext_server *
new_server(const char *text, struct failure *why)
{
	struct address address;

	assert_int_equal(address_parse(text, 53, &address), 0);
	return cleartext_server_new(&address, why);
}

static const struct server_row {
	const char *address;
	const char *reason; /* NULL: the server is made */
} server_rows[] = {
	{ "127.0.0.11", NULL },
	{ "127.0.0.1:5353", NULL },
	{ "10.96.0.10", NULL },
	{ "172.31.255.254", NULL },
	{ "192.168.1.1", NULL },
	{ "100.64.0.2", NULL },
	{ "169.254.20.10", NULL },
	{ "::1", NULL },
	{ "[fd00::53]:53", NULL },
	{ "fe80::1%lo", NULL },
	{ "8.8.8.8", "a cleartext upstream needs a private address; 8.8.8.8 is public" },
	{ "1.1.1.1:853", "a cleartext upstream needs a private address; 1.1.1.1 is public" },
	{ "172.32.0.1", "a cleartext upstream needs a private address; 172.32.0.1 is public" },
	{ "192.0.2.1", "a cleartext upstream needs a private address; 192.0.2.1 is public" },
	{ "0.0.0.0", "a cleartext upstream needs a private address; 0.0.0.0 is public" },
	{ "[2620:fe::fe]:53",
	    "a cleartext upstream needs a private address; 2620:fe::fe is public" },
	{ "::", "a cleartext upstream needs a private address; :: is public" },
};

static void
server_needs_a_private_address(void **state)
{
	const struct server_row *row = *state;
	struct failure why = { .text = "" };
	struct cleartext_server *s = new_server(row->address, &why);

	assert_int_equal(s != NULL, row->reason == NULL);
	assert_string_equal(why.text, row->reason != NULL ? row->reason : "");
	cleartext_server_free(s);
}

static const struct key_row {
	const char *address;
	bool same; /* as 10.96.0.10:53 */
} key_rows[] = {
	{ "10.96.0.10", true },
	{ "10.96.0.10:53", true },
	{ "10.96.0.10:54", false },
	{ "10.96.0.11", false },
	{ "::1", false },
	{ "fe80::10%lo", false },
};

enum { PARTS = 4, PART_LEN = CLEARTEXT_KEY_LEN / PARTS };

/* Each part of the key tells servers apart. */
static void
key_is_the_same_for_the_same_address_only(void **state)
{
	const struct key_row *row = *state;
	uint8_t *usual = calloc(1, CLEARTEXT_KEY_LEN);
	uint8_t *key = calloc(1, CLEARTEXT_KEY_LEN);
	struct cleartext_server *a;
	struct cleartext_server *b;
	struct failure why;
	size_t i, k;

	assert_non_null(usual);
	assert_non_null(key);
	assert_non_null(a = new_server("10.96.0.10", &why));
	assert_non_null(b = new_server(row->address, &why));
	cleartext_server_key(a, usual);
	cleartext_server_key(b, key);
	for (i = 0; i < PARTS; i++) {
		assert_int_equal(
		    memcmp(usual + i * PART_LEN, key + i * PART_LEN, PART_LEN) == 0, row->same);
		for (k = 0; k < i; k++)
			assert_memory_not_equal(key + i * PART_LEN, key + k * PART_LEN, PART_LEN);
	}
	cleartext_server_free(a);
	cleartext_server_free(b);
	free(usual);
	free(key);
}

/* A private address that no socket can connect to at once. */
static void
connection_that_fails_at_once_is_reported(void **state)
{
	struct failure why = { .text = "" };
	struct cleartext_server *s = new_server("fe80::1", &why);

	(void)state;
	assert_non_null(s);
	assert_null(cleartext_open(s, &why));
	assert_string_not_equal(why.text, "");
	cleartext_server_free(s);
	cleartext_close(NULL);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(connection_that_fails_at_once_is_reported),
	};

	return RUN_ROWS(server_rows, server_needs_a_private_address) +
	    RUN_ROWS(key_rows, key_is_the_same_for_the_same_address_only) +
	    cmocka_run_group_tests_name("cleartext", singles, NULL, NULL);
}
