#include "config/config.h"

#include <stdio.h>
#include <string.h>

#include "config_schema.h"

/* Each regular expression is one of ECMA-262, as the text of a JSON string. */
#define PORT "(:[0-9]{1,5})?"
#define ZONE "(%[^\\\\]#\\\\s]+)?"
#define ADDRESS                                                                                 \
	"(([0-9]{1,3}\\\\.){3}[0-9]{1,3}" PORT "|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*" ZONE \
	"|\\\\[[0-9A-Fa-f:.]+" ZONE "\\\\]" PORT ")"
#define HOSTNAME "[A-Za-z0-9_-]+(\\\\.[A-Za-z0-9_-]+)*"
#define PREFIX "(any|private|[0-9A-Fa-f.:]+(/[0-9]{1,3})?)"
#define HOST_NAME "[!-)+-~]+"
#define HOST_ADDRESS "[0-9A-Fa-f.:]+"
#define DOMAIN "(\\\\*\\\\.)?[!-)+-~]+"
#define TIME "[0-9]+(ms|s|m|h|d)"
#define SIZE "[0-9]+(KiB|MiB|GiB)"

static bool
is_boolean(const struct field *f)
{
	return f->kind == FIELD_FLAG && strcmp(f->words[0], "true") == 0;
}

static void
print_words(const char *const *words, FILE *out)
{
	size_t i;

	fputs("\"enum\": [", out);
	for (i = 0; words[i] != NULL; i++)
		fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", words[i]);
	fputc(']', out);
}

/* A time or a size, which has a unit unless it is 0. */
static void
print_quantity(const struct field *f, FILE *out)
{
	fprintf(out, "\"anyOf\": [{\"type\": \"string\", \"pattern\": \"^%s$\"}",
	    f->kind == FIELD_SIZE ? SIZE : TIME);
	if (f->zero || f->min == 0)
		fputs(", {\"const\": 0}", out);
	if (f->words != NULL) {
		fputs(", {", out);
		print_words(f->words, out);
		fputc('}', out);
	}
	fputc(']', out);
}

/* The name of the definition of a map, or of the entries of a list: all upstreams have the same. */
static const char *
definition_of(const struct field *f)
{
	static const char routes[] = "routes[].";

	if (strncmp(f->name, routes, strlen(routes)) == 0 &&
	    (f->kind == FIELD_MAP || f[1].kind == FIELD_DOMAIN))
		return f->kind == FIELD_MAP ? f->name : "domains";
	return field_key(f);
}

static void
print_list(const struct field *f, FILE *out)
{
	fputs("\"anyOf\": [", out);
	if (f->words != NULL) {
		fputc('{', out);
		print_words(f->words, out);
		fputs("}, ", out);
	}
	fprintf(out,
	    "{\"$ref\": \"#/$defs/%s\"}, {\"type\": \"array\", \"minItems\": %d, "
	    "\"maxItems\": %d, \"items\": {\"$ref\": \"#/$defs/%s\"}}]",
	    definition_of(f), f->min, f->max, definition_of(f));
}

/* Names, and one address or several for each. */
static void
print_hosts(const struct field *f, FILE *out)
{
	fprintf(out,
	    "\"type\": [\"object\", \"null\"], \"maxProperties\": %d, "
	    "\"propertyNames\": {\"pattern\": \"^%s$\"},\n"
	    "    \"additionalProperties\": {\"anyOf\": [\n"
	    "    {\"type\": \"string\", \"pattern\": \"^%s$\"},\n"
	    "    {\"type\": \"array\", \"minItems\": 1, \"maxItems\": %d, "
	    "\"items\": {\"type\": \"string\", \"pattern\": \"^%s$\"}}]}",
	    f->max, HOST_NAME, HOST_ADDRESS, CONFIG_HOST_ADDRESSES_MAX, HOST_ADDRESS);
}

/* What the value must be. */
static void
print_type(const struct field *f, FILE *out)
{
	static const char *const patterns[] = {
		[FIELD_HOSTNAME] = HOSTNAME,
		[FIELD_PIN] = "[A-Za-z0-9+/]{43}=",
		[FIELD_LISTEN_ADDRESS] = ADDRESS,
		[FIELD_UPSTREAM_ADDRESS] = ADDRESS,
		[FIELD_PREFIX] = PREFIX,
		[FIELD_DOMAIN] = DOMAIN,
	};

	switch (f->kind) {
	case FIELD_MAP:
		fprintf(out, "\"$ref\": \"#/$defs/%s\"", definition_of(f));
		return;
	case FIELD_LIST:
		print_list(f, out);
		return;
	case FIELD_NUMBER:
		fprintf(out, "\"type\": \"integer\", \"minimum\": %d, \"maximum\": %d", f->min,
		    f->max);
		return;
	case FIELD_DURATION:
	case FIELD_SECONDS:
	case FIELD_SIZE:
		print_quantity(f, out);
		return;
	case FIELD_HOSTS:
		print_hosts(f, out);
		return;
	case FIELD_FLAG:
	case FIELD_CHOICE:
		if (is_boolean(f))
			fputs("\"type\": \"boolean\"", out);
		else
			print_words(f->words, out);
		return;
	case FIELD_PATH:
		fputs("\"type\": \"string\", \"minLength\": 1", out);
		return;
	case FIELD_USER:
		fputs("\"type\": [\"string\", \"integer\"], \"minLength\": 1", out);
		return;
	default:
		fprintf(out, "\"type\": \"string\", \"pattern\": \"^%s$\"", patterns[f->kind]);
	}
}

/* Editors show it: what the key is for, what it can be, and what it is by default. */
static void
print_description(const struct field *f, FILE *out)
{
	char range[FIELD_RANGE_MAX];

	fprintf(out, "\"description\": \"%s", f->help);
	if (f->kind != FIELD_MAP)
		fprintf(out, " %s: %s. %s%s.", f->kind == FIELD_LIST ? "Entries" : "Values",
		    field_range(f, range), f->initial != NULL ? "Default: " : "Required",
		    f->initial != NULL ? f->initial : "");
	fputc('"', out);
}

static void
print_default(const struct field *f, FILE *out)
{
	bool is_zero = f->initial != NULL && strcmp(f->initial, "0") == 0;

	if (f->derived)
		return;
	if (f->kind == FIELD_NUMBER || is_boolean(f) || is_zero)
		fprintf(out, ", \"default\": %s", f->initial);
	else if (f->kind >= FIELD_NUMBER && f->kind <= FIELD_CHOICE)
		fprintf(out, ", \"default\": \"%s\"", f->initial);
}

/* "properties" and what goes with it. A required key with an alias may have either name. */
static void
print_object(const struct field *parent, FILE *out)
{
	const struct field *f;
	const char *before = "\"additionalProperties\": false, \"properties\": {";

	for (f = config_schema; f->name != NULL; f++) {
		if (!config_is_child(f, parent))
			continue;
		fprintf(out, "%s\n\t\"%s\": {", before, field_key(f));
		print_description(f, out);
		fputs(", ", out);
		print_type(f, out);
		print_default(f, out);
		fputc('}', out);
		if (f->alias != NULL)
			fprintf(out, ",\n\t\"%s\": {\"$ref\": \"#/properties/%s\"}", f->alias,
			    field_key(f));
		before = ",";
	}
	fputc('}', out);
	for (f = config_schema; f->name != NULL; f++) {
		if (!config_is_child(f, parent) || f->initial != NULL || f->kind == FIELD_MAP)
			continue;
		if (f->alias == NULL)
			fprintf(out, ", \"required\": [\"%s\"]", field_key(f));
		else
			fprintf(out,
			    ", \"anyOf\": [{\"required\": [\"%s\"]}, {\"required\": [\"%s\"]}]",
			    field_key(f), f->alias);
	}
}

/* A map, or the entry of a list, of which LIST is NULL or the list. */
static void
print_definition(const struct field *f, const struct field *list, FILE *out)
{
	fprintf(out, "\"%s\": {", definition_of(list != NULL ? list : f));
	switch (f->kind) {
	case FIELD_MAP:
		fputs("\"type\": [\"object\", \"null\"], ", out);
		print_object(f, out);
		break;
	case FIELD_ROUTE:
		fputs("\"type\": \"object\", ", out);
		print_object(f, out);
		break;
	case FIELD_LISTENER:
	case FIELD_UPSTREAM:
		fprintf(out,
		    "\"anyOf\": [{\"type\": \"string\", \"pattern\": \"^%s%s$\"},\n"
		    "    {\"type\": \"object\", ",
		    ADDRESS, f->kind == FIELD_UPSTREAM ? "(#" HOSTNAME ")?" : "");
		print_object(f, out);
		fputs("}]", out);
		break;
	default:
		print_type(f, out);
	}
	fputc('}', out);
}

void
config_print_schema(FILE *out)
{
	const struct field *f;
	const char *before = "";

	fputs("{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
	      "\"title\": \"configuration of dot-proxy\",\n\"type\": \"object\", ",
	    out);
	print_object(NULL, out);
	fputs(",\n\"$defs\": {\n", out);
	for (f = config_schema; f->name != NULL; f++) {
		if ((f->kind != FIELD_MAP && f->kind != FIELD_LIST) ||
		    f == config_find_field("routes[].upstreams"))
			continue;
		fputs(before, out);
		if (f->kind == FIELD_LIST)
			print_definition(f + 1, f, out);
		else
			print_definition(f, NULL, out);
		before = ",\n";
	}
	fputs("}}\n", out);
}
