#include "config/field.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/duration.h"
#include "base/hostname.h"
#include "base/suggest.h"
#include "config/tree.h"

void *
field_member(void *base, size_t offset)
{
	char *bytes = base;

	return bytes + offset;
}

const void *
field_const_member(const void *base, size_t offset)
{
	const char *bytes = base;

	return bytes + offset;
}

const char *
field_key(const struct field *f)
{
	const char *dot = strrchr(f->name, '.');

	return dot != NULL ? dot + 1 : f->name;
}

/* ---- names in messages ---- */

/* Appends the words, with LAST before the last one. Returns TEXT. */
static char *
join_words(const char *const *words, const char *last, char text[static FIELD_RANGE_MAX])
{
	size_t len = 0;
	size_t i;

	text[0] = '\0';
	for (i = 0; words[i] != NULL && len < FIELD_RANGE_MAX; i++)
		len += (size_t)snprintf(text + len, FIELD_RANGE_MAX - len, "%s%s",
		    i == 0                   ? "" :
			words[i + 1] == NULL ? last :
					       ", ",
		    words[i]);
	return text;
}

/* In a time of that kind. */
static int
ms_in_unit(const struct field *f)
{
	return f->kind == FIELD_SECONDS ? 1000 : 1;
}

static char *
duration_range(const struct field *f, char text[static FIELD_RANGE_MAX])
{
	char min[DURATION_TEXT_MAX];
	char max[DURATION_TEXT_MAX];
	size_t i;
	int len = snprintf(text, FIELD_RANGE_MAX, "%s to %s%s",
	    duration_format(f->min * ms_in_unit(f), min),
	    duration_format(f->max * ms_in_unit(f), max), f->zero ? ", or 0" : "");

	for (i = 0; f->words != NULL && f->words[i] != NULL && len < FIELD_RANGE_MAX; i++)
		len += snprintf(text + len, (size_t)(FIELD_RANGE_MAX - len), ", or %s",
		    f->words[i]);
	return text;
}

static char *
size_range(const struct field *f, char text[static FIELD_RANGE_MAX])
{
	char min[BYTES_TEXT_MAX];
	char max[BYTES_TEXT_MAX];

	(void)snprintf(text, FIELD_RANGE_MAX, "%s to %s%s",
	    bytes_format((uint64_t)f->min << 10, min), bytes_format((uint64_t)f->max << 10, max),
	    f->zero ? ", or 0" : "");
	return text;
}

char *
field_range(const struct field *f, char text[static FIELD_RANGE_MAX])
{
	static const char *const fixed[] = {
		[FIELD_MAP] = "keys and values",
		[FIELD_PATH] = "path",
		[FIELD_HOSTNAME] = "host name",
		[FIELD_USER] = "name or number",
		[FIELD_PIN] = "44 characters of base64",
		[FIELD_LISTEN_ADDRESS] = "address[:port]",
		[FIELD_UPSTREAM_ADDRESS] = "address[:port]",
		[FIELD_PREFIX] = "private, any, or a prefix",
		[FIELD_LISTENER] = "address[:port], or keys and values",
		[FIELD_UPSTREAM] = "address[:port][#hostname], or keys and values",
		[FIELD_ROUTE] = "keys and values",
		[FIELD_DOMAIN] = "domain, *.domain, or a prefix",
	};

	switch (f->kind) {
	case FIELD_HOSTS:
		(void)snprintf(text, FIELD_RANGE_MAX, "up to %d names", f->max);
		return text;
	case FIELD_LIST:
	case FIELD_NUMBER:
		(void)snprintf(text, FIELD_RANGE_MAX, "%d to %d%s%s", f->min, f->max,
		    f->words != NULL ? ", or " : "", f->words != NULL ? f->words[0] : "");
		return text;
	case FIELD_DURATION:
	case FIELD_SECONDS:
		return duration_range(f, text);
	case FIELD_SIZE:
		return size_range(f, text);
	case FIELD_FLAG:
	case FIELD_CHOICE:
		return join_words(f->words, ", ", text);
	default:
		(void)snprintf(text, FIELD_RANGE_MAX, "%s", fixed[f->kind]);
		return text;
	}
}

const char *
field_noun(const struct field *f, char text[static FIELD_RANGE_MAX])
{
	static const char *const fixed[] = {
		[FIELD_MAP] = "keys and values",
		[FIELD_LIST] = "a list",
		[FIELD_NUMBER] = "a number",
		[FIELD_DURATION] = "a time",
		[FIELD_SECONDS] = "a time",
		[FIELD_SIZE] = "a size",
		[FIELD_PATH] = "the path of a file",
		[FIELD_HOSTNAME] = "a host name",
		[FIELD_USER] = "a user",
		[FIELD_PIN] = "a pin",
		[FIELD_LISTEN_ADDRESS] = "an IP address",
		[FIELD_UPSTREAM_ADDRESS] = "an IP address",
		[FIELD_PREFIX] = "a range of addresses",
		[FIELD_LISTENER] = "an IP address",
		[FIELD_UPSTREAM] = "an upstream",
		[FIELD_ROUTE] = "keys and values",
		[FIELD_DOMAIN] = "a domain",
		[FIELD_HOSTS] = "names and addresses",
	};

	if (f->kind == FIELD_FLAG || f->kind == FIELD_CHOICE)
		return join_words(f->words, " or ", text);
	return fixed[f->kind];
}

/* ---- reading ---- */

/* Sets the text; -1. */
__attribute__((format(printf, 2, 3))) static int
refuse(char why[static FIELD_WHY_MAX], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, FIELD_WHY_MAX, fmt, args);
	va_end(args);
	return -1;
}

/* The index of TEXT among the words, or -1. */
static int
find_word(const char *const *words, const char *text)
{
	int i;

	for (i = 0; words != NULL && words[i] != NULL; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -1;
}

static int
read_number(const struct field *f, const char *text, int *out, char why[static FIELD_WHY_MAX])
{
	char range[FIELD_RANGE_MAX];
	long n = 0;
	size_t i;

	for (i = 0; text[i] >= '0' && text[i] <= '9' && n <= f->max; i++)
		n = n * 10 + (text[i] - '0');
	if (i == 0 || text[i] != '\0' || n < f->min || n > f->max)
		return refuse(why, "expected a number from %s, found `%.*s'", field_range(f, range),
		    tree_shown(text), text);
	*out = (int)n;
	return 0;
}

static int
read_duration(const struct field *f, const char *text, int *out, char why[static FIELD_WHY_MAX])
{
	char range[FIELD_RANGE_MAX];
	int word = find_word(f->words, text);
	int ms = word != -1 ? -1 - word : duration_parse(text);
	int unit = ms_in_unit(f);

	if (word == -1 && ms == DURATION_NO_UNIT)
		return refuse(why, "`%.*s' has no unit (as in 1500ms, 2s, 1m)", tree_shown(text),
		    text);
	if (word == -1 && ms == DURATION_INVALID)
		return refuse(why,
		    "expected a time in whole numbers (as in 1500ms, 2s, 1m), found `%.*s'",
		    tree_shown(text), text);
	if (word == -1 && (ms / unit < f->min || ms / unit > f->max) && !(ms == 0 && f->zero))
		return refuse(why, "expected a time from %s, found `%.*s'", field_range(f, range),
		    tree_shown(text), text);
	if (word == -1 && ms % unit != 0)
		return refuse(why, "expected a time in whole seconds (as in 5s, 1m), found `%.*s'",
		    tree_shown(text), text);
	*out = word != -1 ? ms : ms / unit;
	return 0;
}

static int
read_size(const struct field *f, const char *text, size_t *out, char why[static FIELD_WHY_MAX])
{
	char range[FIELD_RANGE_MAX];
	int64_t n = bytes_parse(text);

	if (n == BYTES_NO_UNIT)
		return refuse(why, "`%.*s' has no unit (as in 512KiB, 4MiB, 1GiB)",
		    tree_shown(text), text);
	if ((n < (int64_t)f->min << 10 || n > (int64_t)f->max << 10) && !(n == 0 && f->zero))
		return refuse(why, "expected a size from %s, found `%.*s'", field_range(f, range),
		    tree_shown(text), text);
	*out = (size_t)n;
	return 0;
}

/* The word that was probably meant by TEXT, or NULL. */
static const char *
near_word(const char *const *words, const char *text)
{
	for (; *words != NULL; words++)
		if (suggest_is_near(text, *words))
			return *words;
	return NULL;
}

/* Which of its words stands there; -1 and the error when none does. */
static int
read_word(const struct field *f, const char *text, char why[static FIELD_WHY_MAX])
{
	char words[FIELD_RANGE_MAX];
	int i = find_word(f->words, text);
	const char *near = i == -1 ? near_word(f->words, text) : NULL;

	if (i == -1)
		return refuse(why, "expected %s, found `%.*s'%s%s%s", field_noun(f, words),
		    tree_shown(text), text, near != NULL ? " (did you mean `" : "",
		    near != NULL ? near : "", near != NULL ? "'?)" : "");
	return i;
}

static int
read_flag(const struct field *f, const char *text, bool *out, char why[static FIELD_WHY_MAX])
{
	int i = read_word(f, text, why);

	if (i == -1)
		return -1;
	*out = i == 0;
	return 0;
}

/* An enum without negative values has the type of an unsigned (gcc, clang). */
static int
read_choice(const struct field *f, const char *text, unsigned *out, char why[static FIELD_WHY_MAX])
{
	int i = read_word(f, text, why);

	if (i == -1)
		return -1;
	*out = (unsigned)i;
	return 0;
}

enum { PIN_LEN = 44 };

/* Base64 of 32 bytes, in its only canonical form. */
static bool
is_pin(const char *text)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	return strlen(text) == PIN_LEN && strspn(text, digits) == 43 && text[43] == '=' &&
	    strchr("AEIMQUYcgkosw048", text[42]) != NULL;
}

/* Finds a pin in another notation: `pin-sha256="..."' (HPKP), `sha256//...' (curl). */
static bool
has_pin(const char *text, char pin[static PIN_LEN + 1])
{
	for (; strlen(text) >= PIN_LEN; text++) {
		(void)snprintf(pin, PIN_LEN + 1, "%s", text);
		if (is_pin(pin))
			return true;
	}
	return false;
}

/* Whether TEXT is right for a field of its kind, all of which are kept as they are. */
static int
check_text(const struct field *f, const char *text, char why[static FIELD_WHY_MAX])
{
	char pin[PIN_LEN + 1];
	const char *problem;

	switch (f->kind) {
	case FIELD_PATH:
		return *text != '\0' ?
		    0 :
		    refuse(why, "the path is empty (write one, or leave the key out)");
	case FIELD_USER:
		return *text != '\0' ? 0 : refuse(why, "expected the name or the number of a user");
	case FIELD_HOSTNAME:
		if ((problem = hostname_problem(text)) != NULL)
			return refuse(why, "host name `%.*s' %s", tree_shown(text), text, problem);
		return 0;
	default:
		if (is_pin(text))
			return 0;
		if (has_pin(text, pin))
			return refuse(why,
			    "not a pin: `%.*s' has more than the value (write \"%s\")",
			    tree_shown(text), text, pin);
		return refuse(why,
		    "not a pin: `%.*s' (base64 of a SHA-256, 44 characters; `dot-proxy probe' "
		    "prints it)",
		    tree_shown(text), text);
	}
}

static int
read_text(const struct field *f, const char *text, char **out, char why[static FIELD_WHY_MAX])
{
	char *copy;

	if (check_text(f, text, why) == -1)
		return -1;
	if ((copy = strdup(text)) == NULL)
		return refuse(why, "out of memory");
	*out = copy;
	return 0;
}

int
field_read(const struct field *f, const char *text, void *base, char why[static FIELD_WHY_MAX])
{
	void *out = field_member(base, f->offset);

	switch (f->kind) {
	case FIELD_NUMBER:
		return read_number(f, text, out, why);
	case FIELD_DURATION:
	case FIELD_SECONDS:
		return read_duration(f, text, out, why);
	case FIELD_SIZE:
		return read_size(f, text, out, why);
	case FIELD_FLAG:
		return read_flag(f, text, out, why);
	case FIELD_CHOICE:
		return read_choice(f, text, out, why);
	default:
		return read_text(f, text, out, why);
	}
}

/* ---- printing ---- */

void
field_print_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void
print_duration(const struct field *f, int n, FILE *out)
{
	char text[DURATION_TEXT_MAX];

	fputs(n < 0 ? f->words[-1 - n] : duration_format(n * ms_in_unit(f), text), out);
}

void
field_print(const struct field *f, const void *base, FILE *out)
{
	const void *member = field_const_member(base, f->offset);
	const int *number = member;
	const bool *flag = member;
	const unsigned *choice = member;
	char *const *text = member;
	const size_t *size = member;
	char bytes[BYTES_TEXT_MAX];

	switch (f->kind) {
	case FIELD_NUMBER:
		fprintf(out, "%d", *number);
		return;
	case FIELD_DURATION:
	case FIELD_SECONDS:
		print_duration(f, *number, out);
		return;
	case FIELD_SIZE:
		fputs(bytes_format(*size, bytes), out);
		return;
	case FIELD_FLAG:
		fputs(f->words[*flag ? 0 : 1], out);
		return;
	case FIELD_CHOICE:
		fputs(f->words[*choice], out);
		return;
	default:
		field_print_quoted(out, *text);
	}
}
