#include "process/status.h"

#include <sys/wait.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

static const char file[] = "no-such-configuration.yml";

/* A supervisor that answers all that has connected after a moment. */
static pid_t
answer_later(int fd, const struct config *config)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)usleep(100000);
		status_answer(fd, config);
		_exit(0);
	}
	assert_int_not_equal(pid, -1);
	return pid;
}

static void
fill(struct config *config)
{
	char text[ADDRESS_TEXT_MAX];
	size_t i;

	memset(config, 0, sizeof *config);
	for (i = 0; i < CONFIG_LISTEN_MAX; i++) {
		(void)snprintf(text, sizeof text, "[2001:db8:1111:2222:3333:4444:5555:%zx]:53535",
		    0x1000 + i);
		assert_int_equal(address_parse(text, 53, &config->listen[i].address), 0);
		config->listen[i].udp = i % 3 != 0;
		config->listen[i].tcp = i % 3 != 1;
	}
	config->listen_count = CONFIG_LISTEN_MAX;
	for (i = 0; i < CONFIG_ALLOW_MAX; i++) {
		(void)snprintf(text, sizeof text, "2001:db8:1111:2222:3333:4444:5555:%zx/128",
		    0x1000 + i);
		assert_int_equal(prefix_parse(text, &config->allow[i]), 0);
	}
	config->allow_count = CONFIG_ALLOW_MAX;
}

static void
largest_configuration_arrives_whole(void **state)
{
	struct config config;
	struct config *got;
	struct failure why;
	pid_t pid;
	size_t i;
	int fd = status_listen(file, &why);

	(void)state;
	assert_int_not_equal(fd, -1);
	fill(&config);
	pid = answer_later(fd, &config);
	got = status_ask(file, deadline_in(10000));
	assert_non_null(got);
	assert_int_equal(got->listen_count, CONFIG_LISTEN_MAX);
	for (i = 0; i < CONFIG_LISTEN_MAX; i++) {
		assert_true(address_equal(&got->listen[i].address, &config.listen[i].address));
		assert_int_equal(got->listen[i].udp, config.listen[i].udp);
		assert_int_equal(got->listen[i].tcp, config.listen[i].tcp);
	}
	assert_int_equal(got->allow_count, CONFIG_ALLOW_MAX);
	for (i = 0; i < CONFIG_ALLOW_MAX; i++) {
		assert_int_equal(got->allow[i].bits, config.allow[i].bits);
		assert_memory_equal(got->allow[i].bytes, config.allow[i].bytes,
		    sizeof config.allow[i].bytes);
	}
	config_free(got);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	(void)close(fd);
}

static void
name_can_be_bound_once(void **state)
{
	struct failure why;
	int first = status_listen(file, &why);
	int other;

	(void)state;
	assert_int_not_equal(first, -1);
	assert_int_equal(status_listen(file, &why), -1);
	assert_non_null(strstr(why.text, "Address already in use"));
	other = status_listen("another-file.yml", &why);
	assert_int_not_equal(other, -1);
	(void)close(other);
	(void)close(first);
	first = status_listen(file, &why);
	assert_int_not_equal(first, -1);
	(void)close(first);
}

static void
directory_must_exist(void **state)
{
	struct failure why;

	(void)state;
	assert_int_equal(status_listen("no-such-directory/config.yml", &why), -1);
	assert_non_null(strstr(why.text, "No such file or directory"));
	assert_null(status_ask("no-such-directory/config.yml", deadline_in(1000)));
}

static void
no_supervisor_answers(void **state)
{
	struct failure why;
	int fd;

	(void)state;
	assert_null(status_ask(file, deadline_in(10000)));
	fd = status_listen(file, &why);
	assert_int_not_equal(fd, -1);
	assert_null(status_ask(file, deadline_in(50)));
	/* There was a connection, and its peer is gone. */
	status_answer(fd, &(struct config){ .listen_count = 0 });
	(void)close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(largest_configuration_arrives_whole),
		cmocka_unit_test(name_can_be_bound_once),
		cmocka_unit_test(directory_must_exist),
		cmocka_unit_test(no_supervisor_answers),
	};

	return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
