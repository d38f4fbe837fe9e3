#ifndef DOTPROXY_FAIL_H
#define DOTPROXY_FAIL_H

#include <stdarg.h>

/*
 * Why something failed, in words for the operator, and the remedy where one is known. The caller
 * owns the struct; both texts are always terminated, and a text that is too long is cut.
 */
struct failure {
	char text[384];
	char remedy[256]; /* empty when none is known */
};

/*
 * Sets the text and clears the remedy. Like all functions of this module but
 * fail_remedy() it returns -1, so that `return fail_with(why, ...)' is the whole
 * error path. WHY may be NULL: then the reason is discarded.
 */
int fail_with(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As fail_with(), followed by ": " and strerror(errno). */
int fail_errno(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "where: " in front of the text; the remedy stays. */
int fail_in(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the remedy. */
void fail_remedy(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
