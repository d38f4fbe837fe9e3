#include "shared/scoreboard.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)AFFINITY_WORKERS == (int)STATS_WORKERS, "the same workers");
_Static_assert((int)CACHE_USERS == (int)STATS_WORKERS, "the same workers");
_Static_assert((int)HEALTH_ROWS == (int)SESSIONS_ROWS, "the same upstreams");

/* In memory of the supervisor's own: what workers write cannot change it. */
struct scoreboard_rows {
	bool generations[STATS_GENERATIONS]; /* whether the number is taken */
	struct upstream_row {
		uint8_t key[SCOREBOARD_KEY_LEN];
		unsigned users; /* generations that have it */
		bool has_key;   /* else it was never used */
	} upstreams[HEALTH_ROWS];
	struct cache_row {
		struct cache *cache; /* NULL: there is none */
		unsigned users;      /* generations that have it */
	} caches[STATS_GENERATIONS];
};

int
scoreboard_init(struct scoreboard *s)
{
	*s = (struct scoreboard){ .stats = stats_new(),
		.affinity = affinity_new(),
		.health = health_table_new(),
		.sessions = sessions_new(),
		.rows = calloc(1, sizeof *s->rows) };
	if (s->stats != NULL && s->affinity != NULL && s->health != NULL && s->sessions != NULL &&
	    s->rows != NULL)
		return 0;
	scoreboard_free(s);
	return -1;
}

void
scoreboard_free(struct scoreboard *s)
{
	size_t i;

	stats_free(s->stats);
	affinity_free(s->affinity);
	health_table_free(s->health);
	sessions_free(s->sessions);
	for (i = 0; s->rows != NULL && i < STATS_GENERATIONS; i++)
		cache_free(s->rows->caches[i].cache);
	free(s->rows);
	*s = (struct scoreboard){ 0 };
}

int
scoreboard_add_generation(struct scoreboard *s)
{
	int g;

	for (g = 0; g < STATS_GENERATIONS; g++) {
		if (s->rows->generations[g])
			continue;
		s->rows->generations[g] = true;
		stats_clear_sockets(s->stats, (size_t)g);
		return g;
	}
	return -1;
}

void
scoreboard_remove_generation(struct scoreboard *s, int generation)
{
	s->rows->generations[generation] = false;
}

size_t
scoreboard_first_worker(int generation)
{
	return (size_t)generation * STATS_TEAM;
}

/* The row that has KEY, or else one that nobody uses any more, or else one that was never used. */
static struct upstream_row *
find_row(struct scoreboard_rows *rows, const uint8_t *key)
{
	struct upstream_row *unused = NULL;
	size_t i;

	for (i = 0; i < HEALTH_ROWS; i++) {
		struct upstream_row *row = &rows->upstreams[i];

		if (!row->has_key)
			return unused != NULL ? unused : row;
		if (memcmp(row->key, key, SCOREBOARD_KEY_LEN) == 0)
			return row;
		if (row->users == 0 && unused == NULL)
			unused = row;
	}
	return unused;
}

int
scoreboard_add_upstream(struct scoreboard *s, const uint8_t key[static SCOREBOARD_KEY_LEN])
{
	struct upstream_row *row = find_row(s->rows, key);
	size_t index;

	if (row == NULL)
		return -1;
	index = (size_t)(row - s->rows->upstreams);
	if (!row->has_key || memcmp(row->key, key, SCOREBOARD_KEY_LEN) != 0) {
		memcpy(row->key, key, SCOREBOARD_KEY_LEN);
		row->has_key = true;
		health_clear(health_row(s->health, index));
		sessions_clear(s->sessions, index);
	}
	row->users++;
	return (int)index;
}

void
scoreboard_remove_upstream(struct scoreboard *s, int row)
{
	s->rows->upstreams[row].users--;
}

struct cache *
scoreboard_add_cache(struct scoreboard *s, size_t size)
{
	struct cache_row *unused = NULL;
	struct cache_row *row;
	size_t i;

	for (i = 0; i < STATS_GENERATIONS; i++) {
		row = &s->rows->caches[i];
		if (row->cache == NULL) {
			unused = row;
		} else if (cache_size(row->cache) == size) {
			row->users++;
			return row->cache;
		}
	}
	/* Each generation has one cache at most, and this one has none yet. */
	if (unused == NULL || (unused->cache = cache_new(size)) == NULL)
		return NULL;
	unused->users = 1;
	return unused->cache;
}

void
scoreboard_remove_cache(struct scoreboard *s, const struct cache *cache)
{
	size_t i;

	for (i = 0; cache != NULL && i < STATS_GENERATIONS; i++) {
		struct cache_row *row = &s->rows->caches[i];

		if (row->cache == cache && --row->users == 0) {
			cache_free(row->cache);
			row->cache = NULL;
		}
	}
}

void
scoreboard_clear_caches(struct scoreboard *s)
{
	size_t i;

	for (i = 0; i < STATS_GENERATIONS; i++)
		if (s->rows->caches[i].cache != NULL)
			cache_clear(s->rows->caches[i].cache);
}

void
scoreboard_remove_worker(struct scoreboard *s, size_t worker, pid_t pid)
{
	size_t i;

	sessions_release(s->sessions, pid);
	stats_clear_worker(stats_worker(s->stats, worker));
	affinity_clear(s->affinity, worker);
	for (i = 0; i < STATS_GENERATIONS; i++)
		if (s->rows->caches[i].cache != NULL)
			cache_remove_worker(s->rows->caches[i].cache, worker);
}
