#include "config/diagnostic.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int
comes_later(const struct diagnostic *c, size_t line, size_t column)
{
	return c->line > line || (c->line == line && c->column > column);
}

void
diagnostic_add(struct diagnostics *all, size_t line, size_t column, const char *fmt, ...)
{
	va_list args;
	char *text;
	size_t i;
	int len;

	all->count++;
	if (all->kept == DIAGNOSTIC_MAX)
		return;
	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len == -1)
		return;
	for (i = all->kept; i > 0 && comes_later(&all->list[i - 1], line, column); i--)
		all->list[i] = all->list[i - 1];
	all->list[i] = (struct diagnostic){ line, column, text };
	all->kept++;
}

char *
diagnostic_text(const struct diagnostics *all, const char *name)
{
	const struct diagnostic *c;
	char *text = NULL;
	size_t len;
	FILE *out;

	if (all->kept == 0 || (out = open_memstream(&text, &len)) == NULL)
		return NULL;
	for (c = all->list; c < all->list + all->kept; c++) {
		if (c->line == 0)
			fprintf(out, "%s: %s\n", name, c->text);
		else
			fprintf(out, "%s:%zu:%zu: %s\n", name, c->line, c->column, c->text);
	}
	if (all->count > all->kept)
		fprintf(out, "%s: and %zu more\n", name, all->count - all->kept);
	if (fclose(out) == EOF) {
		free(text);
		return NULL;
	}
	return text;
}

void
diagnostic_clear(struct diagnostics *all)
{
	size_t i;

	for (i = 0; i < all->kept; i++)
		free(all->list[i].text);
	*all = (struct diagnostics){ 0 };
}
