#ifndef DOTPROXY_FAIL_H
#define DOTPROXY_FAIL_H

#include <stdarg.h>

/*
 * Why something failed, in words for the operator, and what to do about it where
 * that is known. The caller owns it; both texts are always terminated, and one
 * that is too long is cut.
 */
struct failure {
	char text[384];
	char remedy[256]; /* empty when none is known */
};

/*
 * Sets the text and clears the remedy. Like all functions of this module but
 * fail_remedy() it returns -1, so that `return fail_with(why, ...)' is the whole
 * error path. WHY may be NULL: then nobody wants to know.
 */
int fail_with(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As fail_with(), followed by ": " and what errno means. */
int fail_errno(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "where: " in front of the text; the remedy stays. */
int fail_in(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets what can be done about it. */
void fail_remedy(struct failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
