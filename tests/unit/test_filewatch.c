#include "process/filewatch.h"

#include <sys/time.h>

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "unit.h"

enum { STEPS_MAX = 4 };

/* What may happen to a file between two checks. */
enum step {
	NOTHING,
	TOUCH,		/* its time changes */
	EDIT,		/* its content, in place */
	SAME_SIZE,	/* its content, and nothing in stat(2) but the time */
	REWRITE,	/* the same content once more */
	REPLACE,	/* another file takes its name, as editors do it */
	REPLACE_SAME,	/* ... with the same content */
	SWAP,		/* the link that leads to it leads elsewhere */
	SWAP_SAME,
	EMPTY,
	REMOVE,
	DIRECTORY	/* there is one in its place */
};

static const struct row {
	const char *name;
	enum step steps[STEPS_MAX];
	bool changed[STEPS_MAX];
} rows[] = {
	{ "nothing", { NOTHING, NOTHING }, { false, false } },
	{ "touched", { TOUCH, NOTHING }, { false, false } },
	{ "edited", { EDIT, NOTHING, EDIT }, { true, false, true } },
	{ "edited, same size", { SAME_SIZE, NOTHING }, { true, false } },
	{ "written once more", { REWRITE }, { false } },
	{ "replaced", { REPLACE, NOTHING, REPLACE }, { true, false, true } },
	{ "replaced by the same", { REPLACE_SAME, EDIT }, { false, true } },
	{ "link target replaced by another", { SWAP, NOTHING, SWAP }, { true, false, true } },
	{ "link target replaced by an equal one", { SWAP_SAME, SWAP }, { false, true } },
	{ "emptied, then filled", { EMPTY, NOTHING, EDIT }, { true, false, true } },
	{ "removed, then restored", { REMOVE, NOTHING, REPLACE_SAME }, { false, false, false } },
	{ "removed, then replaced", { REMOVE, REPLACE, NOTHING }, { false, true, false } },
	{ "a directory for a while", { DIRECTORY, NOTHING, REPLACE }, { false, false, true } },
};

/* As in a Kubernetes ConfigMap: PATH leads through a link to a directory. */
static char directory[64];
static char path[128];
static char content[32];
static int version;

static void
write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Another version behind the link, in one step. */
static void
swap(void)
{
	char name[128];
	char target[32];
	char link[128];

	(void)snprintf(target, sizeof target, "..version-%d", ++version);
	(void)snprintf(name, sizeof name, "%s/%s", directory, target);
	assert_int_equal(mkdir(name, 0700), 0);
	(void)snprintf(name, sizeof name, "%s/%s/config.yml", directory, target);
	write_file(name, content);
	(void)snprintf(link, sizeof link, "%s/..data-new", directory);
	assert_int_equal(symlink(target, link), 0);
	(void)snprintf(name, sizeof name, "%s/..data", directory);
	assert_int_equal(rename(link, name), 0);
}

static void
replace(void)
{
	char name[128];

	(void)snprintf(name, sizeof name, "%s/config-new", directory);
	write_file(name, content);
	(void)rmdir(path);
	assert_int_equal(rename(name, path), 0);
}

static void
renew_content(void)
{
	(void)snprintf(content, sizeof content, "workers: %d%0*d\n", 2, ++version, 1);
}

static void
do_step(enum step step)
{
	static int64_t clock_s = 1000;
	struct timeval times[2] = { { 0, 0 }, { 0, 0 } };

	if (step == EDIT || step == REPLACE || step == SWAP)
		renew_content();
	switch (step) {
	case NOTHING:
		return;
	case SAME_SIZE:
		content[0]++;
		break;
	case EMPTY:
		content[0] = '\0';
		break;
	case SWAP:
	case SWAP_SAME:
		swap();
		return;
	case REPLACE:
	case REPLACE_SAME:
		replace();
		return;
	case REMOVE:
	case DIRECTORY:
		assert_int_equal(unlink(path), 0);
		if (step == DIRECTORY)
			assert_int_equal(mkdir(path, 0700), 0);
		return;
	default:
		break;
	}
	if (step != TOUCH)
		write_file(path, content);
	/* Two writes may come within one tick of the clock of the file system. */
	times[0].tv_sec = times[1].tv_sec = ++clock_s;
	assert_int_equal(utimes(path, times), 0);
}

static void
detects_changes(void **state)
{
	const struct row *row = *state;
	struct filewatch w;
	size_t i;

	version = 0;
	(void)snprintf(directory, sizeof directory, "/tmp/filewatch-XXXXXX");
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof path, "%s/..data/config.yml", directory);
	renew_content();
	swap();
	filewatch_record(&w, path);
	for (i = 0; i < STEPS_MAX; i++) {
		do_step(row->steps[i]);
		assert_int_equal(filewatch_has_changed(&w, path), row->changed[i]);
	}
}

static int
remove_one(const char *name, const struct stat *stat, int type, struct FTW *at)
{
	(void)stat;
	(void)type;
	(void)at;
	return remove(name);
}

static int
clean(void **state)
{
	(void)state;
	return nftw(directory, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

static void
missing_file_is_noticed_later(void **state)
{
	struct filewatch w;

	(void)state;
	(void)snprintf(directory, sizeof directory, "/tmp/filewatch-XXXXXX");
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof path, "%s/config.yml", directory);
	filewatch_record(&w, path);
	assert_false(filewatch_has_changed(&w, path));
	write_file(path, "workers: 2\n");
	assert_true(filewatch_has_changed(&w, path));
	assert_false(filewatch_has_changed(&w, path));
}

int
main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test_teardown(missing_file_is_noticed_later, clean),
	};
	const struct fixtures cleaned = { .tear_down = clean };

	return RUN_ROWS_WITH(cleaned, rows, detects_changes) +
	    cmocka_run_group_tests_name("filewatch", others, NULL, NULL);
}
