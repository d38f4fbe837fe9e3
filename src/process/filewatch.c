#include "process/filewatch.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* More than a configuration can have; the rest of a larger file is ignored. */
enum { HASHED_MAX = 1024 * 1024 };

/* FNV-1a: detects edits; it need not resist an attacker. */
static uint64_t
hash_content(const char *path)
{
	FILE *f = file_open(path, SIZE_MAX, NULL);
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	unsigned char buf[4096];
	size_t total = 0;
	size_t n;
	size_t i;

	if (f == NULL)
		return 0;
	while (total < HASHED_MAX && (n = fread(buf, 1, sizeof buf, f)) > 0) {
		total += n;
		for (i = 0; i < n; i++)
			hash = (hash ^ buf[i]) * UINT64_C(0x100000001b3);
	}
	(void)fclose(f);
	return hash;
}

void
filewatch_record(struct filewatch *w, const char *path)
{
	if (stat(path, &w->stat) == -1)
		memset(&w->stat, 0, sizeof w->stat);
	w->content = hash_content(path);
}

static bool
same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool
filewatch_has_changed(struct filewatch *w, const char *path)
{
	uint64_t before = w->content;
	struct stat now;

	if (stat(path, &now) == -1 || !S_ISREG(now.st_mode))
		return false;
	if (now.st_dev == w->stat.st_dev && now.st_ino == w->stat.st_ino &&
	    now.st_size == w->stat.st_size && same_time(now.st_mtim, w->stat.st_mtim) &&
	    same_time(now.st_ctim, w->stat.st_ctim))
		return false;
	w->stat = now;
	w->content = hash_content(path);
	return w->content != 0 && w->content != before;
}
