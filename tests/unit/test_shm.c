#include "base/shm.h"

#include <sys/wait.h>

#include <stdio.h>
#include <unistd.h>

#include "unit.h"

enum { LEN = 3 * 4096 + 5 };

static void
is_zero_and_shared_with_children(void **state)
{
	uint8_t *p = shm_new(LEN);
	pid_t pid;
	int status;
	size_t i;

	(void)state;
	assert_non_null(p);
	for (i = 0; i < LEN; i++)
		assert_int_equal(p[i], 0);
	if ((pid = fork()) == 0) {
		p[LEN - 1] = 7;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(p[LEN - 1], 7);
	shm_free(p, LEN);
	shm_free(NULL, LEN);
}

/* The flags of the mapping that begins at P, as smaps(5) has them. */
static void
read_flags(const void *p, char flags[static 256])
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char begin[32];
	char line[256];
	int found = 0;

	assert_non_null(file);
	(void)snprintf(begin, sizeof begin, "%lx-", (unsigned long)(uintptr_t)p);
	flags[0] = '\0';
	while (fgets(line, sizeof line, file) != NULL) {
		if (strncmp(line, begin, strlen(begin)) == 0)
			found = 1;
		if (found && sscanf(line, "VmFlags: %255[^\n]", flags) == 1)
			break;
	}
	(void)fclose(file);
}

/* TLS session tickets are secrets. */
static void
is_not_part_of_core_dumps(void **state)
{
	uint8_t *p = shm_new(LEN);
	char flags[256];

	(void)state;
	assert_non_null(p);
	read_flags(p, flags);
	assert_non_null(strstr(flags, " dd"));
	shm_free(p, LEN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_zero_and_shared_with_children),
		cmocka_unit_test(is_not_part_of_core_dumps),
	};

	return cmocka_run_group_tests_name("shm", tests, NULL, NULL);
}
