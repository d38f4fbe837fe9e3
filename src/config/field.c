#include "config/field.h"

#include <string.h>

#include "base/duration.h"
#include "base/hostname.h"

void
field_number(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "a number");
	long n = 0;
	size_t i;

	if (text == NULL)
		return;
	for (i = 0; text[i] >= '0' && text[i] <= '9' && n <= f->max; i++)
		n = n * 10 + (text[i] - '0');
	if (i == 0 || text[i] != '\0' || n < f->min || n > f->max)
		tree_complain(t, node, "expected a number from %d to %d, found `%.*s'", f->min,
		    f->max, tree_shown(text), text);
	else
		*(int *)out = (int)n;
}

void
field_duration(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "a time");
	char min[DURATION_TEXT_MAX];
	char max[DURATION_TEXT_MAX];
	int ms;

	if (text == NULL)
		return;
	ms = duration_parse(text);
	if (ms == DURATION_NO_UNIT)
		tree_complain(t, node, "`%.*s' has no unit (as in 1500ms, 2s, 1m)",
		    tree_shown(text), text);
	else if (ms == DURATION_INVALID)
		tree_complain(t, node,
		    "expected a time in whole numbers (as in 1500ms, 2s, 1m), found `%.*s'",
		    tree_shown(text), text);
	else if ((ms < f->min || ms > f->max) && !(ms == 0 && f->zero))
		tree_complain(t, node, "expected a time from %s to %s%s, found `%.*s'",
		    duration_format(f->min, min), duration_format(f->max, max),
		    f->zero ? ", or 0" : "", tree_shown(text), text);
	else
		*(int *)out = ms;
}

void
field_bool(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "true or false");

	(void)f;
	if (text == NULL)
		return;
	if (strcmp(text, "true") == 0)
		*(bool *)out = true;
	else if (strcmp(text, "false") == 0)
		*(bool *)out = false;
	else
		tree_complain(t, node, "expected true or false, found `%.*s'", tree_shown(text),
		    text);
}

void
field_path(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "the path of a file");

	(void)f;
	if (text == NULL)
		return;
	if (*text == '\0')
		tree_complain(t, node, "the path is empty (write one, or leave the key out)");
	else
		*(const char **)out = text;
}

void
field_hostname(struct tree *t, int node, const struct field *f, void *out)
{
	const char *text = tree_text(t, node, "a host name");
	const char *problem;

	(void)f;
	if (text == NULL)
		return;
	if ((problem = hostname_problem(text)) != NULL)
		tree_complain(t, node, "host name `%.*s' %s", tree_shown(text), text, problem);
	else
		*(const char **)out = text;
}
