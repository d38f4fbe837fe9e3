#ifndef DOTPROXY_FILEWATCH_H
#define DOTPROXY_FILEWATCH_H

#include <sys/stat.h>

#include <stdbool.h>
#include <stdint.h>

/* The state of a file when it was last checked. A plain value. */
struct filewatch {
	struct stat stat;
	uint64_t content; /* a hash of the content; 0 when it was unreadable */
};

/* Records the state of the file that PATH resolves to, following symbolic links. */
void filewatch_record(struct filewatch *, const char *path);

/*
 * Records the state again. Returns whether there is a file whose content has changed. It is read
 * only when its times, size or inode differ (a Kubernetes ConfigMap replaces a symbolic link, and
 * so the inode).
 */
bool filewatch_has_changed(struct filewatch *, const char *path);

#endif
