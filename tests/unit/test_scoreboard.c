#include "shared/scoreboard.h"

#include <sys/wait.h>

#include <stdio.h>
#include <unistd.h>

#include "unit.h"

static const struct deadline now = { 1000000 };

static struct scoreboard
begin(void)
{
	struct scoreboard s;

	assert_int_equal(scoreboard_init(&s), 0);
	return s;
}

/* The key of the upstream with that number, in a block of exactly its size. */
static int
add(struct scoreboard *s, unsigned number)
{
	uint8_t key[SCOREBOARD_KEY_LEN] = { 0 };
	uint8_t *copy;
	int row;

	key[0] = (uint8_t)number;
	key[SCOREBOARD_KEY_LEN - 1] = (uint8_t)(number >> 8);
	copy = tight_copy(key, sizeof key);
	row = scoreboard_add_upstream(s, copy);
	free(copy);
	return row;
}

static void
gives_each_generation_rows_of_its_own(void **state)
{
	struct scoreboard s = begin();
	int g;

	(void)state;
	for (g = 0; g < STATS_GENERATIONS; g++) {
		assert_int_equal(scoreboard_add_generation(&s), g);
		assert_int_equal(scoreboard_first_worker(g), g * STATS_TEAM);
	}
	assert_int_equal(scoreboard_add_generation(&s), -1);
	/* A new generation has no socket reports of the previous one. */
	stats_report_shut_down(s.stats, 2);
	scoreboard_remove_generation(&s, 2);
	assert_int_equal(scoreboard_add_generation(&s), 2);
	assert_false(stats_take_shut_down(s.stats, 2));
	scoreboard_free(&s);
}

/* As in a reload: the new generation starts before the old one ends. */
static void
keeps_the_row_of_an_upstream_that_stays(void **state)
{
	struct scoreboard s = begin();
	uint8_t session[SESSIONS_LEN_MAX] = { 1 };
	int row = add(&s, 1);

	(void)state;
	assert_in_range(row, 0, HEALTH_ROWS - 1);
	(void)health_record_failure(health_row(s.health, (size_t)row), now);
	sessions_put(s.sessions, (size_t)row, session, 1, deadline_after(now, 1));
	assert_int_equal(add(&s, 1), row);
	scoreboard_remove_upstream(&s, row);
	assert_true(health_is_down(health_row(s.health, (size_t)row)));
	assert_int_equal(sessions_take(s.sessions, (size_t)row, session, now), 1);
	/* Also if the upstream was absent for a while and no other took its row. */
	scoreboard_remove_upstream(&s, row);
	assert_int_equal(add(&s, 1), row);
	assert_true(health_is_down(health_row(s.health, (size_t)row)));
	scoreboard_free(&s);
}

static void
row_of_a_removed_upstream_is_reused(void **state)
{
	struct scoreboard s = begin();
	uint8_t session[SESSIONS_LEN_MAX] = { 1 };
	int first = add(&s, 1);
	int second = add(&s, 2);

	(void)state;
	assert_int_not_equal(first, second);
	(void)health_record_failure(health_row(s.health, (size_t)first), now);
	sessions_put(s.sessions, (size_t)first, session, 1, deadline_after(now, 1));
	scoreboard_remove_upstream(&s, first);
	assert_int_equal(add(&s, 3), first);
	assert_false(health_is_down(health_row(s.health, (size_t)first)));
	assert_int_equal(sessions_take(s.sessions, (size_t)first, session, now), 0);
	/* Its own row is in use now. */
	assert_int_not_equal(add(&s, 1), first);
	scoreboard_free(&s);
}

static void
row_has_one_owner(void **state)
{
	static bool taken[HEALTH_ROWS];
	struct scoreboard s = begin();
	unsigned i;
	int row;

	(void)state;
	for (i = 0; i < HEALTH_ROWS; i++) {
		row = add(&s, i);
		assert_in_range(row, 0, HEALTH_ROWS - 1);
		assert_false(taken[row]);
		taken[row] = true;
	}
	assert_int_equal(add(&s, HEALTH_ROWS), -1);
	assert_int_equal(add(&s, 0), 0);
	scoreboard_remove_upstream(&s, 7);
	assert_int_equal(add(&s, HEALTH_ROWS), 7);
	scoreboard_free(&s);
}

/* Once one worker was connected, all workers see it, permanently. */
static void
first_connection_is_visible_to_all(void **state)
{
	struct scoreboard s = begin();
	pid_t pid;
	int status;

	(void)state;
	assert_false(health_is_ready(s.health));
	if ((pid = fork()) == 0) {
		health_set_ready(s.health);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	scoreboard_remove_worker(&s, 0, pid);
	assert_true(health_is_ready(s.health));
	scoreboard_free(&s);
}

static void
clears_the_state_of_a_dead_worker(void **state)
{
	struct scoreboard s = begin();

	(void)state;
	stats_set_state(stats_worker(s.stats, 64), STATS_SERVING);
	stats_count(stats_worker(s.stats, 64), STATS_QUERIES, 3);
	affinity_set_accepting(s.affinity, 64, true);
	assert_true(affinity_should_yield(s.affinity, 64, 65, false, now));
	scoreboard_remove_worker(&s, 64, 4711);
	assert_int_equal(stats_state(stats_worker(s.stats, 64)), STATS_EMPTY);
	assert_int_equal(stats_counter(stats_worker(s.stats, 64), STATS_QUERIES), 3);
	assert_false(affinity_should_yield(s.affinity, 64, 65, false, now));
	scoreboard_free(&s);
}

/* The shared mappings of this process, as far as they are used here. */
enum { MAPPINGS = 8, USED = 256 * 1024 };
struct mapping {
	uint64_t *begin;
	size_t words;
};

static size_t
find_mappings(struct mapping found[static MAPPINGS])
{
	FILE *file = fopen("/proc/self/maps", "r");
	char line[512];
	size_t count = 0;

	assert_non_null(file);
	while (count < MAPPINGS && fgets(line, sizeof line, file) != NULL) {
		char *rest;
		uintptr_t begin = strtoul(line, &rest, 16);
		uintptr_t end = strtoul(rest + 1, &rest, 16);

		if (strncmp(rest, " rw-s ", 6) != 0)
			continue;
		found[count].begin = (uint64_t *)begin;
		found[count++].words = (end - begin < USED ? end - begin : USED) / 8;
	}
	(void)fclose(file);
	return count;
}

static const uint64_t words[] = { 0, 0, 1, 2, 100, 8192, 8193, UINT32_MAX, 0xffffffff00000000,
	INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, 0x7fffffff00000000, 0x0000200100000000 };

static void
fill(const struct mapping *m)
{
	size_t i;

	for (i = 0; i < m->words; i++)
		m->begin[i] = words[(size_t)random() % LENGTH(words)];
}

/* Uses all of it, as workers and the supervisor do. */
static void
use(struct scoreboard *s, size_t row, uint8_t session[static SESSIONS_LEN_MAX])
{
	struct health *health = health_row(s->health, row);
	struct stats_worker *worker = stats_worker(s->stats, 0);
	unsigned times;

	assert_in_range(sessions_take(s->sessions, row, session, now), 0, SESSIONS_LEN_MAX);
	sessions_put(s->sessions, row, session, SESSIONS_LEN_MAX, now);
	(void)affinity_should_yield(s->affinity, 0, 3, random() % 2 == 0, now);
	(void)health_is_ready(s->health);
	(void)health_state(health, now);
	(void)health_claim_probe(health, now);
	(void)health_record_failure(health, now);
	assert_in_range(health_down_s(health, now), 0, 1);
	health_record_latency(health, 1000);
	health_record_probe_latency(health, 1000);
	assert_in_range(health_usual_us(health), 0, 60000000);
	(void)health_log_state(health, true, now, &times);
	(void)health_log_edns(health, now);
	(void)health_record_response(health);
	assert_in_range(stats_state(worker), STATS_EMPTY, STATS_STOPPING);
	stats_count(worker, STATS_QUERIES, 1);
	scoreboard_remove_worker(s, 0, 4711);
}

/* With any content, no access is out of bounds and no number overflows. */
static void
survives_any_bytes(void **state)
{
	struct scoreboard s = begin();
	struct mapping mappings[MAPPINGS];
	size_t count = find_mappings(mappings);
	uint8_t *session = calloc(1, SESSIONS_LEN_MAX);
	size_t row = (size_t)add(&s, 1);
	unsigned round;
	size_t i;

	(void)state;
	assert_int_equal(count, 4);
	assert_non_null(session);
	srandom(1);
	for (round = 0; round < 300; round++) {
		for (i = 0; i < count; i++)
			fill(&mappings[i]);
		use(&s, row, session);
	}
	free(session);
	scoreboard_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_each_generation_rows_of_its_own),
		cmocka_unit_test(keeps_the_row_of_an_upstream_that_stays),
		cmocka_unit_test(row_of_a_removed_upstream_is_reused),
		cmocka_unit_test(row_has_one_owner),
		cmocka_unit_test(first_connection_is_visible_to_all),
		cmocka_unit_test(clears_the_state_of_a_dead_worker),
		cmocka_unit_test(survives_any_bytes),
	};

	return cmocka_run_group_tests_name("scoreboard", tests, NULL, NULL);
}
