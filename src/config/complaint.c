#include "config/complaint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int
comes_later(const struct complaint *c, size_t line, size_t column)
{
	return c->line > line || (c->line == line && c->column > column);
}

void
complaint_add(struct complaints *all, size_t line, size_t column, const char *fmt, ...)
{
	va_list args;
	char *text;
	size_t i;
	int len;

	all->count++;
	if (all->kept == COMPLAINT_MAX)
		return;
	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len == -1)
		return;
	for (i = all->kept; i > 0 && comes_later(&all->list[i - 1], line, column); i--)
		all->list[i] = all->list[i - 1];
	all->list[i] = (struct complaint){ line, column, text };
	all->kept++;
}

char *
complaint_text(const struct complaints *all, const char *name)
{
	const struct complaint *c;
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
complaint_clear(struct complaints *all)
{
	size_t i;

	for (i = 0; i < all->kept; i++)
		free(all->list[i].text);
	*all = (struct complaints){ 0 };
}
