#include "process/listeners.h"

#include <sys/socket.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "transport/net.h"
#include "unit.h"

/* No other test uses these addresses. */
#define HERE "127.91.7.1"
#define THERE "127.91.7.2"
#define MISSING "192.0.2.1"

static struct config *
configure(const char *listen)
{
	struct config_report report;
	struct config *config;
	char text[512];

	(void)snprintf(text, sizeof text, "upstreams: 192.0.2.9\nlisten: %s\n", listen);
	config = config_read(text, strlen(text), "c", &report);
	if (config == NULL)
		fail_msg("%s", report.errors);
	config_report_free(&report);
	return config;
}

/* The result of listeners_open() for an address or a list of them. */
static int
open_for(struct listeners *l, const char *listen, const struct listeners *from, struct failure *why)
{
	struct config *config = configure(listen);
	int rc = listeners_open(l, config, from, why);

	config_free(config);
	return rc;
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

/* A port that is free over UDP and TCP, for now. */
static unsigned
free_port(void)
{
	struct address at;
	socklen_t len = sizeof at;
	struct failure why;
	int tcp, udp;

	assert_int_equal(address_parse(HERE, 1, &at), 0);
	address_set_port(&at, 0);
	tcp = net_listen(&at, &why);
	assert_int_not_equal(tcp, -1);
	assert_int_equal(getsockname(tcp, &at.sa, &len), 0);
	udp = net_listen_udp(&at, &why);
	assert_int_not_equal(udp, -1);
	(void)close(tcp);
	(void)close(udp);
	return address_port(&at);
}

/* What is opened; `P' stands for the port. */
static const struct open_row {
	const char *name;
	const char *listen;
	size_t count;
	bool tcp[3];
	bool udp[3];
	bool absent[3];
	const char *why; /* NULL: it succeeds */
} open_rows[] = {
	{ "an address", HERE ":P", 1, { true }, { true }, { false }, NULL },
	{ "UDP only", "{address: '" HERE ":P', tcp: false}", 1, { false }, { true }, { false },
	    NULL },
	{ "TCP only", "{address: '" HERE ":P', udp: false}", 1, { true }, { false }, { false },
	    NULL },
	{ "two addresses", "['" HERE ":P', '" THERE ":P']", 2, { true, true }, { true, true },
	    { false, false }, NULL },
	{ "one of them is missing", "['" MISSING ":P', '" HERE ":P']", 2, { true, true },
	    { true, true }, { true, false }, NULL },
	{ "an interface is missing", "['[fe80::1%nowhere0]:P', '" HERE ":P']", 2, { false, true },
	    { false, true }, { true, false }, NULL },
	{ "all are missing", "['" MISSING ":P', '[fe80::1%nowhere0]:P']", 0, { false }, { false },
	    { false }, "no such interface `nowhere0'" },
};

static void
with_port(char out[static 256], const char *text, unsigned port)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += (size_t)snprintf(out + n, 256 - n, *text == 'P' ? "%u" : "%c",
		    *text == 'P' ? port : (unsigned)*text);
	out[n] = '\0';
}

static void
opens_what_is_configured(void **state)
{
	const struct open_row *row = *state;
	struct listeners l = { 0 };
	struct failure why = { .text = "" };
	char text[256];
	size_t i;

	with_port(text, row->listen, free_port());
	assert_int_equal(open_for(&l, text, NULL, &why), row->why == NULL ? 0 : -1);
	assert_int_equal(l.count, row->count);
	for (i = 0; i < row->count; i++) {
		assert_int_equal(l.at[i].tcp != -1, row->tcp[i]);
		assert_int_equal(l.at[i].udp != -1, row->udp[i]);
		assert_int_equal(l.at[i].absent, row->absent[i]);
	}
	if (row->why != NULL)
		assert_non_null(strstr(why.text, row->why));
	listeners_close(&l);
}

/* What fails to open leaves nothing behind, and sockets of others as they are. */
static void
test_failure_closes_only_what_it_opened(void **state)
{
	struct listeners first, second;
	struct failure why;
	unsigned port = free_port();
	char text[256];
	int at_first;

	(void)state;
	with_port(text, HERE ":P", port);
	assert_int_equal(open_for(&first, text, NULL, &why), 0);
	at_first = dup(STDIN_FILENO);
	(void)close(at_first);
	with_port(text, "['" THERE ":P', '" HERE ":P']", port);
	assert_int_equal(open_for(&second, text, NULL, &why), -1);
	assert_non_null(strstr(why.text, "Address already in use"));
	assert_non_null(strstr(why.remedy, "another program uses the port"));
	assert_true(is_open(first.at[0].tcp));
	/* The next free descriptor is the one it was before. */
	assert_int_equal(dup(STDIN_FILENO), at_first);
	(void)close(at_first);
	listeners_close(&first);
}

/* A reload keeps the sockets of addresses that stay, and closes the others. */
static void
test_sockets_are_shared_with_the_generation_before(void **state)
{
	struct listeners old, new;
	struct failure why;
	unsigned port = free_port();
	char text[256];
	int dropped;

	(void)state;
	with_port(text, "['" HERE ":P', '" THERE ":P']", port);
	assert_int_equal(open_for(&old, text, NULL, &why), 0);
	with_port(text, "{address: '" HERE ":P', tcp: false}", port);
	assert_int_equal(open_for(&new, text, &old, &why), 0);
	assert_int_equal(new.count, 1);
	assert_int_equal(new.at[0].udp, old.at[0].udp);
	assert_int_equal(new.at[0].tcp, -1);
	dropped = old.at[1].udp;
	listeners_forget_shared(&old, &new);
	assert_int_equal(old.at[0].udp, -1);
	listeners_close(&old);
	assert_true(is_open(new.at[0].udp));
	assert_false(is_open(dropped));
	listeners_close(&new);
}

static void
test_sockets_that_were_shut_down_are_repaired(void **state)
{
	struct listeners l;
	struct failure why;
	char text[256];
	int was;

	(void)state;
	with_port(text, HERE ":P", free_port());
	assert_int_equal(open_for(&l, text, NULL, &why), 0);
	listeners_repair(&l);
	assert_false(listeners_replace(&l, true));
	assert_int_equal(shutdown(l.at[0].tcp, SHUT_RDWR), 0);
	listeners_repair(&l);
	assert_int_equal(net_listen_again(l.at[0].tcp), 0);
	was = l.at[0].udp;
	(void)shutdown(was, SHUT_RD);
	assert_true(listeners_replace(&l, false));
	assert_int_not_equal(l.at[0].udp, was);
	assert_false(listeners_replace(&l, true));
	listeners_close(&l);
}

/* A worker gives up its TCP sockets: the descriptors stay in use, but do not listen. */
static void
test_given_up_descriptors_stay_in_use(void **state)
{
	int sockets[LISTENERS_SOCKETS_MAX];
	struct listeners l;
	struct failure why;
	char text[256];
	int tcp;

	(void)state;
	with_port(text, HERE ":P", free_port());
	assert_int_equal(open_for(&l, text, NULL, &why), 0);
	assert_int_equal(listeners_sockets(&l, sockets), 2);
	tcp = l.at[0].tcp;
	listeners_give_up_tcp(&l);
	assert_true(is_open(tcp));
	assert_int_equal(l.at[0].tcp, -1);
	assert_int_equal(listeners_sockets(&l, sockets), 1);
	assert_int_equal(sockets[0], l.at[0].udp);
	(void)close(tcp);
	listeners_close(&l);
}

/* What a service manager passes; `T' and `U' are sockets, `u' a second one, `f' is a file. */
static const struct passed_row {
	const char *name;
	const char *passed;
	const char *count; /* NULL: as many as there are */
	bool to_another;   /* process */
	size_t listeners;
	const char *why; /* NULL: it succeeds */
} passed_rows[] = {
	{ "TCP and UDP of one address", "TU", NULL, false, 1, NULL },
	{ "UDP alone", "U", NULL, false, 1, NULL },
	{ "to another process", "TU", NULL, true, 0, NULL },
	{ "none", "", NULL, false, 0, NULL },
	{ "not a number", "", "x", false, 0, "LISTEN_FDS is not a number" },
	{ "negative", "", "-1", false, 0, "LISTEN_FDS is not a number" },
	{ "two of one kind", "UU", NULL, false, 1, "descriptor 4: duplicate socket for" },
	{ "a file", "f", NULL, false, 0, "descriptor 3: not a socket" },
};

static int
make_passed(char what, const struct address *at)
{
	struct failure why;
	int fd = what == 'T' ? net_listen(at, &why) :
	    what == 'U'      ? net_listen_udp(at, &why) :
			       open("/dev/null", O_RDONLY);

	assert_int_not_equal(fd, -1);
	return fd;
}

static void
takes_what_was_passed(void **state)
{
	const struct passed_row *row = *state;
	struct failure why = { .text = "" };
	size_t count = strlen(row->passed);
	struct listeners l = { 0 };
	struct config *config;
	struct address at;
	char text[24];
	int first = -1;
	size_t i;

	assert_int_equal(address_parse(HERE, 0, &at), 0);
	address_set_port(&at, (uint16_t)free_port());
	for (i = 0; i < count; i++) {
		/* The second one of a kind is the same socket. */
		bool again = i == 1 && row->passed[1] == row->passed[0];
		int fd = again ? dup(first) : make_passed(row->passed[i], &at);

		first = i == 0 ? 3 : first;
		assert_int_equal(fd == 3 + (int)i ? fd : dup2(fd, 3 + (int)i), 3 + (int)i);
		if (fd != 3 + (int)i)
			(void)close(fd);
	}
	(void)snprintf(text, sizeof text, "%zu", count);
	assert_int_equal(setenv("LISTEN_FDS", row->count != NULL ? row->count : text, 1), 0);
	(void)snprintf(text, sizeof text, "%d", (int)getpid() + row->to_another);
	assert_int_equal(setenv("LISTEN_PID", text, 1), 0);
	assert_int_equal(listeners_take_passed(&l, &why), row->why == NULL ? 0 : -1);
	assert_int_equal(l.count, row->listeners);
	assert_null(getenv("LISTEN_FDS"));
	if (row->why != NULL)
		assert_non_null(strstr(why.text, row->why));
	if (row->why == NULL && row->listeners > 0) {
		config = configure("127.0.0.1:5300");
		assert_int_equal(listeners_override_config(&l, config), 0);
		assert_int_equal(config->listen_count, row->listeners);
		assert_true(address_equal(&config->listen[0].address, &at));
		assert_int_equal(config->listen[0].tcp, strchr(row->passed, 'T') != NULL);
		assert_int_equal(config->listen[0].udp, strchr(row->passed, 'U') != NULL);
		config_free(config);
	}
	for (i = 0; i < count; i++)
		(void)close(3 + (int)i);
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(test_failure_closes_only_what_it_opened),
		cmocka_unit_test(test_sockets_are_shared_with_the_generation_before),
		cmocka_unit_test(test_sockets_that_were_shut_down_are_repaired),
		cmocka_unit_test(test_given_up_descriptors_stay_in_use),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return RUN_ROWS(open_rows, opens_what_is_configured) +
	    RUN_ROWS(passed_rows, takes_what_was_passed) +
	    cmocka_run_group_tests_name("listeners", singles, NULL, NULL);
}
