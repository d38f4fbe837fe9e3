#include "base/fail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int
fail_with(struct failure *why, const char *fmt, ...)
{
	va_list ap;

	if (why == NULL)
		return -1;
	why->remedy[0] = '\0';
	va_start(ap, fmt);
	(void)vsnprintf(why->text, sizeof why->text, fmt, ap);
	va_end(ap);
	return -1;
}

int
fail_errno(struct failure *why, const char *fmt, ...)
{
	int saved = errno;
	char what[sizeof why->text];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	return fail_with(why, "%s: %s", what, strerror(saved));
}

int
fail_in(struct failure *why, const char *fmt, ...)
{
	char where[sizeof why->text];
	char inner[sizeof why->text];
	va_list ap;

	if (why == NULL)
		return -1;
	va_start(ap, fmt);
	(void)vsnprintf(where, sizeof where, fmt, ap);
	va_end(ap);
	memcpy(inner, why->text, sizeof inner);
	/* What does not fit is cut: a shortened reason is still a reason. */
	if (snprintf(why->text, sizeof why->text, "%s: %s", where, inner) < 0)
		why->text[0] = '\0';
	return -1;
}

void
fail_remedy(struct failure *why, const char *fmt, ...)
{
	va_list ap;

	if (why == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(why->remedy, sizeof why->remedy, fmt, ap);
	va_end(ap);
}
