/*
 * A library to preload: CLOCK_BOOTTIME is ahead by the seconds in the file that $BOOTTIME_FILE
 * names. The file is mapped before there is a sandbox, and may change at any time.
 */

#include <sys/mman.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef int clock_function(clockid_t, struct timespec *);

static const volatile int64_t *ahead;

__attribute__((constructor)) static void
map_file(void)
{
	const char *path = getenv("BOOTTIME_FILE");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *mapped;

	if (fd == -1)
		return;
	mapped = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
	if (mapped != MAP_FAILED)
		ahead = mapped;
	close(fd);
}

/* What the program calls instead of the function of libc. */
int clock_gettime(clockid_t, struct timespec *) __attribute__((alias("gettime_ahead")));

__attribute__((used)) static int
gettime_ahead(clockid_t clock, struct timespec *at)
{
	static clock_function *libc;
	int result;

	if (libc == NULL)
		*(void **)&libc = dlsym(RTLD_NEXT, "clock_gettime");
	result = libc(clock, at);
	if (result == 0 && clock == CLOCK_BOOTTIME && ahead != NULL)
		at->tv_sec += *ahead;
	return result;
}
