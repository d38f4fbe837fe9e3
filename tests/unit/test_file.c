#include "base/file.h"

#include <sys/stat.h>

#include <unistd.h>

#include "unit.h"

enum { MAX = 1024 };

static const struct row {
	const char *path;
	const char *why;
} rows[] = {
	{ "/nonexistent/file", "No such file or directory" },
	{ "", "No such file or directory" },
	{ "/", "is a directory" },
	{ "/dev/null", "is a device, not a regular file" },
	{ "/dev/zero", "is a device, not a regular file" },
	{ "/proc/self/exe", "is larger than 1 KiB" },
};

static void
refuses_special_files(void **state)
{
	const struct row *row = *state;
	struct failure why;

	assert_null(file_open(row->path, MAX, NULL));
	assert_null(file_open(row->path, MAX, &why));
	assert_string_equal(why.text, row->why);
	assert_string_not_equal(why.remedy, "");
}

static void
opens_a_file_and_no_fifo(void **state)
{
	char directory[] = "/tmp/dot-proxy-test-XXXXXX";
	char path[sizeof directory + 8];
	struct failure why;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof path, "%s/file", directory);
	assert_non_null(file = fopen(path, "w"));
	assert_int_equal(fprintf(file, "%*s", MAX, "x"), MAX);
	assert_int_equal(fclose(file), 0);
	assert_null(file_open(path, MAX - 1, &why));
	assert_non_null(file = file_open(path, MAX, &why));
	assert_int_equal(fgetc(file), ' ');
	assert_int_equal(fclose(file), 0);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(file_open(path, MAX, &why));
	assert_string_equal(why.text, "is a FIFO, not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(directory), 0);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(opens_a_file_and_no_fifo),
	};

	return RUN_ROWS(rows, refuses_special_files) +
	    cmocka_run_group_tests_name("file", singles, NULL, NULL);
}
