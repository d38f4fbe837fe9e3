#ifndef DOTPROXY_COMPLAINT_H
#define DOTPROXY_COMPLAINT_H

#include <stddef.h>

/* More of them are counted, but no longer kept. */
enum { COMPLAINT_MAX = 64 };

/* What is to be said about a file, in order of line and column. Zeroed: nothing yet. */
struct complaints {
	struct complaint {
		size_t line;   /* from 1; 0: the file as a whole */
		size_t column; /* from 1 */
		char *text;
	} list[COMPLAINT_MAX];
	size_t kept;  /* the part of list in use */
	size_t count; /* kept <= count */
};

/* Adds one behind those of the same place. */
void complaint_add(struct complaints *, size_t line, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * All of them as "NAME:LINE:COLUMN: text\n"..., which the caller frees; NULL where
 * there are none (or no memory).
 */
char *complaint_text(const struct complaints *, const char *name);

/* Releases all of them. */
void complaint_clear(struct complaints *);

#endif
