/* Between any two steps of a call, another user changes the cache. */
static void between_steps(void);
#define CACHE_STEP() between_steps()
/* NOLINTBEGIN(bugprone-suspicious-include): not the objects of the program */
#include "../../src/shared/cache.c"
#include "../../src/shared/cache_entries.c"
#include "../../src/shared/cache_segments.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include "cache_scenarios.h"
#include "unit.h"

static const struct event *event; /* that is to happen; NULL: none, or it has happened */
static unsigned steps_left;	  /* until it happens */

static void
between_steps(void)
{
	const struct event *now = event;

	if (now == NULL || steps_left-- > 0)
		return;
	event = NULL;
	now->happen();
}

/* Whether the call had so many steps. */
static bool
happens_at(const struct scenario *s, const struct event *e, unsigned step)
{
	bool happened;

	begin(s);
	steps_left = step;
	event = e;
	s->call();
	happened = event == NULL;
	event = NULL;
	if (happened)
		e->check(s);
	assert_in_range(count_owned(cache, SUBJECT), 0, AREAS);
	end();
	return happened;
}

static void
others_may_change_it_between_any_steps(void **state)
{
	size_t i;
	size_t n;

	(void)state;
	for (i = 0; i < LENGTH(scenarios); i++)
		for (n = 0; n < LENGTH(events); n++) {
			unsigned step = 0;

			while (happens_at(&scenarios[i], &events[n], step))
				step++;
			assert_true(step >= 2);
		}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_may_change_it_between_any_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
