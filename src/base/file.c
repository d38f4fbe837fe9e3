#include "base/file.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static int
fail_to_open(struct failure *why)
{
	int saved = errno;

	(void)fail_with(why, "%s", strerror(saved));
	if (saved == EACCES)
		fail_remedy(why,
		    "make it readable for this user: chmod or chown the file, "
		    "and chmod +x the directories above");
	else
		fail_remedy(why,
		    "check the path; it is relative to the working directory "
		    "unless it begins with `/'");
	return -1;
}

/* Accepts only regular files of at most MAX bytes. */
static int
check_file(const struct stat *st, size_t max, struct failure *why)
{
	if (S_ISDIR(st->st_mode)) {
		(void)fail_with(why, "is a directory");
		fail_remedy(why,
		    "give the path of a file; container engines make a directory "
		    "where the file to mount is missing");
		return -1;
	}
	if (!S_ISREG(st->st_mode)) {
		(void)fail_with(why, "is a %s, not a regular file",
		    S_ISFIFO(st->st_mode)     ? "FIFO" :
			S_ISSOCK(st->st_mode) ? "socket" :
						"device");
		fail_remedy(why, "write the content to a file and give its path");
		return -1;
	}
	if ((uintmax_t)st->st_size > max) {
		(void)fail_with(why, "is larger than %zu KiB", max / 1024);
		fail_remedy(why, "check that this is the right file");
		return -1;
	}
	return 0;
}

/* Opening a device can have side effects, so the type of the file is checked first. */
static int
open_file(const char *path, size_t max, struct failure *why)
{
	struct stat st;
	int fd;

	if (stat(path, &st) == -1)
		return fail_to_open(why);
	if (check_file(&st, max, why) == -1)
		return -1;
	/* The file may have been replaced by a FIFO since then. */
	if ((fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) == -1)
		return fail_to_open(why);
	if (fstat(fd, &st) == 0 && check_file(&st, max, why) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

FILE *
file_open(const char *path, size_t max, struct failure *why)
{
	int fd = open_file(path, max, why);
	FILE *file;

	if (fd == -1)
		return NULL;
	if ((file = fdopen(fd, "r")) == NULL) {
		(void)fail_to_open(why);
		(void)close(fd);
	}
	return file;
}
