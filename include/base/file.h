#ifndef DOTPROXY_FILE_H
#define DOTPROXY_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "base/fail.h"

/*
 * Opens a regular file of at most MAX bytes for reading, and follows symbolic links.
 * Never blocks: a FIFO, a device, a socket or a directory is refused at once. Returns a stream
 * that the caller closes, or NULL with the reason (WHY may be NULL).
 */
FILE *file_open(const char *path, size_t max, struct failure *why);

#endif
