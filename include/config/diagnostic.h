#ifndef DOTPROXY_DIAGNOSTIC_H
#define DOTPROXY_DIAGNOSTIC_H

#include <stddef.h>

/* The texts of more than these are not kept; they are only counted. */
enum { DIAGNOSTIC_MAX = 64 };

/* The errors or the warnings about one file, in order of line and column. Zeroed: none. */
struct diagnostics {
	struct diagnostic {
		size_t line;   /* from 1; 0: the file as a whole */
		size_t column; /* from 1 */
		char *text;
	} list[DIAGNOSTIC_MAX];
	size_t kept;  /* the part of list in use */
	size_t count; /* kept <= count */
};

/* Adds one after those of the same place. */
void diagnostic_add(struct diagnostics *, size_t line, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * All of them as lines "NAME:LINE:COLUMN: text", in a string that the caller frees; NULL when
 * there are none, or no memory.
 */
char *diagnostic_text(const struct diagnostics *, const char *name);

/* Releases all of them. */
void diagnostic_clear(struct diagnostics *);

#endif
