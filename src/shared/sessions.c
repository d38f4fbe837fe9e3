#include "shared/sessions.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/shm.h"

/*
 * A slot for a session. A process that reads or writes it puts its PID into `owner' first, and 0
 * when it is done. The slot of a process that died meanwhile is emptied by sessions_release().
 */
struct slot {
	_Atomic int32_t owner;
	_Atomic uint32_t len; /* 0: empty */
	uint64_t number;      /* the larger, the newer */
	int64_t until_us;
	uint64_t hash; /* of the bytes: what a faulty process has written here is not used */
	uint8_t bytes[SESSIONS_LEN_MAX];
};

struct table {
	struct slot rows[SESSIONS_ROWS][SESSIONS_EACH];
	_Atomic uint64_t last_number;
};

struct sessions {
	struct table *table;
	struct hash_key key; /* not in shared memory */
	size_t rows;         /* below this number a row may have been used */
};

struct sessions *
sessions_new(void)
{
	struct sessions *s = calloc(1, sizeof *s);

	if (s == NULL || hash_key_init(&s->key) == -1 ||
	    (s->table = shm_new(sizeof *s->table)) == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

void
sessions_free(struct sessions *s)
{
	if (s == NULL)
		return;
	shm_free(s->table, sizeof *s->table);
	free(s);
}

static bool
claim(struct slot *slot)
{
	int32_t nobody = 0;

	return atomic_compare_exchange_strong(&slot->owner, &nobody, (int32_t)getpid());
}

static void
release(struct slot *slot)
{
	atomic_store(&slot->owner, 0);
}

static void
empty(struct slot *slot)
{
	atomic_store(&slot->len, 0);
	release(slot);
}

void
sessions_clear(struct sessions *s, size_t row)
{
	size_t i;

	for (i = 0; i < SESSIONS_EACH; i++)
		empty(&s->table->rows[row][i]);
	if (s->rows <= row)
		s->rows = row + 1;
}

void
sessions_put(struct sessions *s, size_t row, const uint8_t *bytes, size_t len,
    struct deadline until)
{
	struct slot *oldest = NULL;
	size_t i;

	if (len > SESSIONS_LEN_MAX)
		return;
	for (i = 0; i < SESSIONS_EACH; i++) {
		struct slot *slot = &s->table->rows[row][i];

		/* Another worker is using it. */
		if (!claim(slot))
			continue;
		if (oldest != NULL &&
		    (oldest->len == 0 || (slot->len > 0 && slot->number > oldest->number))) {
			release(slot);
			continue;
		}
		if (oldest != NULL)
			release(oldest);
		oldest = slot;
	}
	if (oldest == NULL)
		return;
	memcpy(oldest->bytes, bytes, len);
	oldest->hash = hash_bytes(&s->key, bytes, len);
	oldest->until_us = until.at_us;
	oldest->number = atomic_fetch_add(&s->table->last_number, 1) + 1;
	oldest->len = (uint32_t)len;
	release(oldest);
}

size_t
sessions_take(struct sessions *s, size_t row, uint8_t bytes[static SESSIONS_LEN_MAX],
    struct deadline now)
{
	struct slot *newest = NULL;
	size_t len;
	size_t i;

	for (i = 0; i < SESSIONS_EACH; i++) {
		struct slot *slot = &s->table->rows[row][i];

		if (!claim(slot))
			continue;
		if (slot->until_us <= now.at_us)
			slot->len = 0;
		if (slot->len == 0 || (newest != NULL && newest->number > slot->number)) {
			release(slot);
			continue;
		}
		if (newest != NULL)
			release(newest);
		newest = slot;
	}
	if (newest == NULL)
		return 0;
	/* Read once: another process may change it. */
	len = newest->len;
	if (len > SESSIONS_LEN_MAX)
		len = 0;
	memcpy(bytes, newest->bytes, len);
	if (len > 0 && newest->hash != hash_bytes(&s->key, bytes, len))
		len = 0;
	empty(newest);
	return len;
}

void
sessions_release(struct sessions *s, pid_t pid)
{
	size_t row;
	size_t i;

	for (row = 0; row < s->rows; row++)
		for (i = 0; i < SESSIONS_EACH; i++)
			/* What the process was writing may be half-written. */
			if (atomic_load(&s->table->rows[row][i].owner) == (int32_t)pid)
				empty(&s->table->rows[row][i]);
}
