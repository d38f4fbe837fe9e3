#include "command/probe.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <signal.h>
#include <unistd.h>

#include "format/dns.h"
#include "format/frame.h"
#include "unit.h"

/* What the server does with the query that it received. */
enum reply { ANSWERS, REFUSES, CLOSES, SILENT, NO_SERVER };

/* What is printed for an upstream in cleartext; each time is written as T. */
static const struct row {
	const char *name;
	enum reply reply;
	int rc;
	const char *printed; /* behind the name of the upstream */
} rows[] = {
	{ "a response", ANSWERS, 0,
	    "  connect      T ms\n"
	    "  cleartext    not encrypted, not verified\n"
	    "  answer       T ms\n"
	    "  usable\n" },
	{ "an error", REFUSES, -1,
	    "  connect      T ms\n"
	    "  cleartext    not encrypted, not verified\n"
	    "  answer       T ms\n"
	    "  FAILED       query: the server answered with RCODE 5\n" },
	{ "an end without a response", CLOSES, -1,
	    "  connect      T ms\n"
	    "  cleartext    not encrypted, not verified\n"
	    "  FAILED       query: read: connection closed by the server\n" },
	{ "silence", SILENT, -1,
	    "  connect      T ms\n"
	    "  cleartext    not encrypted, not verified\n"
	    "  FAILED       query: no answer in 300 ms\n" },
	{ "nobody listens", NO_SERVER, -1, "  FAILED       connect: Connection refused\n" },
};

/* Serves one client in a process of its own, until that is killed. */
static void
serve(int listener, enum reply reply)
{
	uint8_t frame[512];
	int fd = accept(listener, NULL, NULL);
	ssize_t n = read(fd, frame, sizeof frame);

	if (n <= 0 || reply == CLOSES)
		_exit(0);
	frame[FRAME_PREFIX_LEN + 2] |= 0x80; /* QR */
	if (reply == REFUSES)
		frame[FRAME_PREFIX_LEN + 3] |= DNS_REFUSED;
	if (reply != SILENT)
		(void)send(fd, frame, (size_t)n, 0);
	pause();
}

static int
open_server(struct address *a)
{
	socklen_t len = sizeof a->in;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_not_equal(fd, -1);
	assert_int_equal(address_parse("127.0.0.1", 1, a), 0);
	address_set_port(a, 0);
	assert_int_equal(bind(fd, &a->sa, address_len(a)), 0);
	assert_int_equal(getsockname(fd, &a->sa, &len), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* A configuration with that upstream. */
static struct config *
configure(const struct address *a)
{
	struct config_report report;
	struct config *config;
	char address[ADDRESS_TEXT_MAX];
	char text[256];

	(void)snprintf(text, sizeof text,
	    "timeouts: {answer: 300ms}\nupstreams:\n  - {address: '%s', hostname: one.test}\n",
	    address_format(a, address));
	config = config_read(text, strlen(text), "c", &report);
	if (report.errors != NULL)
		print_error("%s", report.errors);
	assert_non_null(config);
	config_report_free(&report);
	free(config->upstreams[0].hostname);
	config->upstreams[0].hostname = NULL;
	config->upstreams[0].cleartext = true;
	return config;
}

/* Replaces each time, which ends in " ms", by T. */
static void
mask_times(char *text)
{
	char *from = text;
	char *to = text;

	while (*from != '\0') {
		size_t len = strspn(from, "0123456789.");

		if (len > 2 && from[len - 2] == '.' && strncmp(from + len, " ms", 3) == 0) {
			*to++ = 'T';
			from += len;
			continue;
		}
		len = len > 0 ? len : 1;
		memmove(to, from, len);
		to += len;
		from += len;
	}
	*to = '\0';
}

static void
assert_probe(const struct address *a, int rc, const char *printed)
{
	struct config *config = configure(a);
	char address[ADDRESS_TEXT_MAX];
	char wanted[512];
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(probe(config, out), rc);
	assert_int_equal(fclose(out), 0);
	mask_times(text);
	(void)snprintf(wanted, sizeof wanted, "%s\n%s", address_format(a, address), printed);
	assert_string_equal(text, wanted);
	free(text);
	config_free(config);
}

static void
prints_an_upstream_in_cleartext(void **state)
{
	const struct row *row = *state;
	struct address a;
	int fd = open_server(&a);
	pid_t pid;

	if (row->reply == NO_SERVER) {
		(void)close(fd);
		assert_probe(&a, row->rc, row->printed);
		return;
	}
	assert_int_not_equal(pid = fork(), -1);
	if (pid == 0) {
		(void)alarm(30);
		serve(fd, row->reply);
	}
	(void)close(fd);
	assert_probe(&a, row->rc, row->printed);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
does_not_connect_to_a_public_address_in_cleartext(void **state)
{
	struct address a;

	(void)state;
	assert_int_equal(address_parse("192.0.2.1:5353", 1, &a), 0);
	assert_probe(&a, -1,
	    "  FAILED       a cleartext upstream needs a private address; 192.0.2.1 is public\n");
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(does_not_connect_to_a_public_address_in_cleartext),
	};

	return RUN_ROWS(rows, prints_an_upstream_in_cleartext) +
	    cmocka_run_group_tests_name("probe", singles, NULL, NULL);
}
