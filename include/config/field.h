#ifndef DOTPROXY_FIELD_H
#define DOTPROXY_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* How a value is written, and the type of the member that holds it. */
enum field_kind {
	FIELD_MAP, /* keys and values: the fields whose names begin with "NAME." */
	FIELD_LIST, /* entries, all described by the field "NAME[]", or one of the words; the member is
		     * not touched */
	FIELD_NUMBER,           /* int */
	FIELD_DURATION,         /* int, in milliseconds; words[i] stands for -1 - i */
	FIELD_SECONDS,          /* int, in seconds; a time as well */
	FIELD_SIZE,             /* size_t, in bytes */
	FIELD_FLAG,             /* bool; words[0] stands for true, words[1] for false */
	FIELD_CHOICE,           /* enum; words[i] stands for i */
	FIELD_PATH,             /* char *, allocated */
	FIELD_HOSTNAME,         /* char *, allocated */
	FIELD_USER,             /* char *, allocated */
	FIELD_PIN,              /* char *, allocated */
	FIELD_LISTEN_ADDRESS,   /* struct address */
	FIELD_UPSTREAM_ADDRESS, /* struct address */
	FIELD_PREFIX,           /* struct prefix; a name may stand for several */
	FIELD_LISTENER,         /* struct config_listener: as FIELD_MAP, or its address alone */
	FIELD_UPSTREAM,         /* struct config_upstream: as FIELD_MAP, or in short */
	FIELD_ROUTE,            /* struct config_route: as FIELD_MAP */
	FIELD_DOMAIN,           /* struct config_domain; a prefix may stand for several */
	FIELD_HOSTS             /* names, and addresses of each; the member is not touched */
};

/* One key of the configuration, or what stands for each entry of a list. */
struct field {
	const char *name;    /* "timeouts.query", "upstreams[].port"; "listen[]" is an entry */
	const char *help;    /* one or two sentences */
	const char *initial; /* the default as in the file; NULL: required; of an entry: none */
	const char *alias;   /* another name for the key, or NULL */
	enum field_kind kind;
	const char *const *words; /* the last one is NULL; NULL: the kind has none */
	/* Of a number, of a time in its unit, of a size in KiB, of the length of a list. */
	int min;
	int max;
	bool zero;     /* a time or a size may also be 0 */
	bool derived;  /* the default is no value: `initial' says where it is from */
	size_t offset; /* of the value in the struct that the map fills in */
	size_t place;  /* of a struct config_place, which becomes that of the value; 0: none */
};

/* Room for field_range(), and for what is wrong with a value. */
enum { FIELD_RANGE_MAX = 96, FIELD_WHY_MAX = 480 };

/* The member at OFFSET of the struct at BASE. */
void *field_member(void *base, size_t offset);
const void *field_const_member(const void *base, size_t offset);

/* The last part of the name: "query". */
const char *field_key(const struct field *);

/* The values that are possible, for documents and messages: "10ms to 9s, or 0". Returns TEXT. */
char *field_range(const struct field *, char text[static FIELD_RANGE_MAX]);

/*
 * What a message says is expected where a value of the wrong kind stands: "a number". TEXT is
 * room for it where it is not constant.
 */
const char *field_noun(const struct field *, char text[static FIELD_RANGE_MAX]);

/*
 * Reads the value TEXT into its member of the struct at BASE. For the kinds from FIELD_NUMBER to
 * FIELD_PIN. Returns 0; or -1, and WHY says what is wrong, while the member stays as it was. What
 * a char * member held before is lost.
 */
int field_read(const struct field *, const char *text, void *base, char why[static FIELD_WHY_MAX]);

/* Writes the value as YAML, in quotes where it is a text; for the same kinds. */
void field_print(const struct field *, const void *base, FILE *);

/* Writes TEXT in double quotes, as YAML and JSON have it; it has no control characters. */
void field_print_quoted(FILE *, const char *text);

#endif
