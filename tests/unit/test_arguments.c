#include "command/arguments.h"

#include "unit.h"

#define WORDS(...) { "dot-proxy", __VA_ARGS__, NULL }

enum { SERVE, CHECK, PROBE, HEALTHCHECK, SCHEMA };

static const struct command commands[] = {
	[SERVE] = { NULL, "[-c FILE] [-l ADDRESS] [-v]", "serves", "serve fails", NULL },
	[CHECK] = { "check", "[-c FILE] [-l ADDRESS] [-v]", "checks", "check fails", NULL },
	[PROBE] = { "probe", "[-v]", "probes", "probe fails", NULL },
	[HEALTHCHECK] = { "healthcheck", "[--upstream | --ready]", "queries", "it is ill", NULL },
	[SCHEMA] = { "schema", "", "prints", "it cannot print", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static const struct row {
	const char *name;
	const char *argv[8];
	struct arguments args; /* as understood */
	const char *why;       /* NULL: it is understood */
} rows[] = {
	{ "nothing", { "dot-proxy", NULL }, { 0 }, NULL },
	{ "not even a name", { NULL }, { 0 }, NULL },
	{ "options first", WORDS("-v", "-c", "f", "check"),
	    { .config_file = "f", .command = &commands[CHECK], .verbose = true }, NULL },
	{ "options last", WORDS("check", "-c", "f", "-v"),
	    { .config_file = "f", .command = &commands[CHECK], .verbose = true }, NULL },
	{ "value in the word", WORDS("-cf", "-l127.0.0.1:53"),
	    { .config_file = "f", .listen = "127.0.0.1:53" }, NULL },
	{ "several in a word", WORDS("-vcf"), { .config_file = "f", .verbose = true }, NULL },
	{ "two dashes", WORDS("-v", "--", "probe"),
	    { .command = &commands[PROBE], .verbose = true }, NULL },
	{ "healthcheck", WORDS("healthcheck", "--ready"),
	    { .command = &commands[HEALTHCHECK], .ready = true }, NULL },
	{ "help is all", WORDS("-h", "--frobnicate"), { .help = true }, NULL },
	{ "version is all", WORDS("--version", "x"), { .version = true }, NULL },
	{ "option behind two dashes", WORDS("--", "-v"), { 0 },
	    "`-v': an option after `--' (write it before that)" },
	{ "a dash", WORDS("-"), { 0 },
	    "`-': unknown command (`dot-proxy --help' shows all)" },
	{ "value missing", WORDS("-v", "-c"), { 0 },
	    "`-c': needs a file (as in `-c config.yml')" },
	{ "value missing in the word", WORDS("-vl"), { 0 },
	    "`-l': needs an address (as in `-l 127.0.0.1:53')" },
	{ "value that is an option", WORDS("-l", "--help"), { 0 },
	    "`-l': needs an address before `--help' (as in `-l 127.0.0.1:53')" },
	{ "given twice", WORDS("-v", "-v"), { 0 }, "`-v': given twice (give it once)" },
	{ "two commands", WORDS("check", "probe"), { 0 },
	    "`probe': a second command, after `check' (give one of the two)" },
	{ "no such command", WORDS("frobnicate"), { 0 },
	    "`frobnicate': unknown command (write check, probe, healthcheck or schema, or none "
	    "to serve)" },
	{ "near a command", WORDS("shcema"), { 0 },
	    "`shcema': unknown command (did you mean `schema'?)" },
	{ "option of another command", WORDS("--ready", "check"), { 0 },
	    "`--ready': not valid with `check' (write `dot-proxy healthcheck --ready', or leave "
	    "it out)" },
	{ "option that serving has", WORDS("schema", "-c", "f"), { 0 },
	    "`-c': not valid with `schema' (leave it out)" },
	{ "option of a command alone", WORDS("--upstream"), { 0 },
	    "`--upstream': only valid with `healthcheck' "
	    "(write `dot-proxy healthcheck --upstream')" },
	{ "two questions", WORDS("healthcheck", "--ready", "--upstream"), { 0 },
	    "`--ready': cannot be combined with `--upstream' "
	    "(give one of the two, or run it twice)" },
	{ "near an option", WORDS("--redy"), { 0 },
	    "`--redy': unknown option (did you mean `--ready'?)" },
	{ "wrong address", WORDS("-l", "x:y:z"), { 0 },
	    "-l: `x:y:z' is not an IP address (as in 192.0.2.1, 192.0.2.1:853, 2001:db8::1, "
	    "\"[2001:db8::1]:853\")" },
};

static void
assert_text(const char *text, const char *expected)
{
	assert_int_equal(text == NULL, expected == NULL);
	if (text != NULL)
		assert_string_equal(text, expected);
}

static void
reads_a_command_line(void **state)
{
	const struct row *row = *state;
	char *argv[LENGTH(row->argv)] = { NULL };
	struct arguments args;
	char why[ARGUMENTS_WHY_MAX] = "";
	int argc = 0;

	for (; row->argv[argc] != NULL; argc++)
		assert_non_null(argv[argc] = strdup(row->argv[argc]));
	assert_int_equal(arguments_read(argc, argv, commands, &args, why),
	    row->why == NULL ? 0 : -1);
	if (row->why != NULL) {
		assert_string_equal(why, row->why);
		args = (struct arguments){ 0 };
	}
	assert_text(args.config_file, row->args.config_file);
	assert_text(args.listen, row->args.listen);
	if (row->why == NULL)
		assert_ptr_equal(args.command,
		    row->args.command != NULL ? row->args.command : &commands[SERVE]);
	assert_int_equal(args.verbose, row->args.verbose);
	assert_int_equal(args.upstream, row->args.upstream);
	assert_int_equal(args.ready, row->args.ready);
	assert_int_equal(args.version, row->args.version);
	assert_int_equal(args.help, row->args.help);
	while (argc > 0)
		free(argv[--argc]);
}

static void
long_words_are_truncated(void **state)
{
	char word[2048];
	char name[] = "dot-proxy";
	char *argv[] = { name, word, NULL };
	struct arguments args;
	char why[ARGUMENTS_WHY_MAX];

	(void)state;
	memset(word, '-', sizeof word);
	word[sizeof word - 1] = '\0';
	assert_int_equal(arguments_read(2, argv, commands, &args, why), -1);
	assert_int_equal(strlen(why), sizeof why - 1);
	memset(word, 'x', sizeof word - 1);
	assert_int_equal(arguments_read(2, argv, commands, &args, why), -1);
	assert_int_equal(strlen(why), sizeof why - 1);
}

static void
prints_every_command_and_option(void **state)
{
	static const char *const parts[] = { "usage: dot-proxy [-c FILE] [-l ADDRESS] [-v]\n",
		"\n       dot-proxy healthcheck [--upstream | --ready]\n",
		"\n       dot-proxy schema\n", "\n  dot-proxy              serves\n",
		"\n  dot-proxy probe        probes\n", "\n  -c FILE     ", "\n  -h, --help  ",
		"\n       serving      serve fails\n", "\n       healthcheck  it is ill\n" };
	char *text;
	size_t len;
	size_t i;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	arguments_print_help(commands, out);
	assert_int_equal(fclose(out), 0);
	for (i = 0; i < LENGTH(parts); i++)
		if (strstr(text, parts[i]) == NULL)
			fail_msg("no %s in\n%s", parts[i], text);
	free(text);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(long_words_are_truncated),
		cmocka_unit_test(prints_every_command_and_option),
	};

	return RUN_ROWS(rows, reads_a_command_line) +
	    cmocka_run_group_tests_name("arguments", singles, NULL, NULL);
}
