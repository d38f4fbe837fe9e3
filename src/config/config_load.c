#include "config/config.h"

#include <sys/stat.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "config/tree.h"
#include "config_schema.h"

enum { FILE_MAX = 4 * 1024 * 1024 };

/* Moves errors and warnings into the report. Returns the configuration, or NULL on any error. */
static struct config *
finish(struct tree *t, struct config *config, const char *name, struct config_report *report)
{
	*report = (struct config_report){
		.errors = diagnostic_text(&t->errors, name),
		.error_count = t->errors.count,
		.warnings = diagnostic_text(&t->warnings, name),
	};
	tree_clear(t);
	if (report->error_count == 0)
		return config;
	config_free(config);
	return NULL;
}

static struct config *
load_text(struct tree *t, const char *text, size_t len, const char *name,
    struct config_report *report)
{
	struct config *config = calloc(1, sizeof *config);
	int root;

	if (config == NULL)
		diagnostic_add(&t->errors, 0, 0, "out of memory");
	else if ((root = tree_read(t, text, len)) != 0)
		config_fill(t, root, config);
	return finish(t, config, name, report);
}

struct config *
config_read(const char *text, size_t len, const char *name, struct config_report *report)
{
	struct tree t = { 0 };

	return load_text(&t, text, len, name, report);
}

static void
warn_of_owner(struct tree *t, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return;
	if (st.st_mode & S_IWOTH)
		diagnostic_add(&t->warnings, 0, 0, "file is world-writable (fix: chmod o-w)");
	/* Only warn when running as root: in a container the owner is usually someone else. */
	if (st.st_uid != 0 && geteuid() == 0)
		diagnostic_add(&t->warnings, 0, 0,
		    "file is owned by uid %ju but used by root (fix: chown root)",
		    (uintmax_t)st.st_uid);
}

/* Reads at most CAP bytes of the file. Returns how many; 0 may mean that an error was added. */
static size_t
read_file(struct tree *t, const char *path, char *text, size_t cap)
{
	struct failure why;
	FILE *file = file_open(path, FILE_MAX, &why);
	size_t len;

	if (file == NULL) {
		diagnostic_add(&t->errors, 0, 0, "%s (%s)", why.text, why.remedy);
		return 0;
	}
	errno = 0;
	len = fread(text, 1, cap, file);
	if (ferror(file))
		diagnostic_add(&t->errors, 0, 0, "cannot read: %s", strerror(errno));
	else if (len == cap)
		diagnostic_add(&t->errors, 0, 0, "is larger than %d KiB", FILE_MAX / 1024);
	else
		warn_of_owner(t, fileno(file));
	(void)fclose(file);
	return len;
}

struct config *
config_load(const char *path, struct config_report *report)
{
	struct tree t = { 0 };
	struct config *config;
	char *text = malloc(FILE_MAX + 1);
	size_t len = 0;

	if (text == NULL)
		diagnostic_add(&t.errors, 0, 0, "out of memory");
	else
		len = read_file(&t, path, text, FILE_MAX + 1);
	if (t.errors.count > 0)
		config = finish(&t, NULL, path, report);
	else
		config = load_text(&t, text, len, path, report);
	free(text);
	return config;
}

void
config_report_free(struct config_report *report)
{
	free(report->errors);
	free(report->warnings);
	*report = (struct config_report){ 0 };
}
