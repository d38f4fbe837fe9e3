#ifndef DOTPROXY_FILEWATCH_H
#define DOTPROXY_FILEWATCH_H

#include <sys/stat.h>

#include <stdbool.h>
#include <stdint.h>

/* What a file was like when it was last looked at. A plain value. */
struct filewatch {
	struct stat stat;
	uint64_t content; /* a hash of it; 0 when it could not be read */
};

/* Looks at the file that PATH resolves to, through whatever symbolic links. */
void filewatch_look(struct filewatch *, const char *path);

/*
 * Looks again: true when there is a file and its content has changed. Reads it only when
 * something else about it has (time, size, or the file itself, as behind a Kubernetes
 * ConfigMap's symbolic link).
 */
bool filewatch_has_changed(struct filewatch *, const char *path);

#endif
