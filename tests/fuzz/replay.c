/*
 * Runs a fuzz target over files instead of under a fuzzer: any compiler will do, and
 * what was once found stays found.
 */
#include <stdio.h>

#include "fuzz.h"

enum { SEED_MAX = 1 << 20 };

/* Each input is a block of exactly its size, so that a sanitizer sees a read past its end. */
static int
replay(const char *path)
{
	static uint8_t room[SEED_MAX];
	FILE *f = fopen(path, "re");
	uint8_t *data;
	size_t len;
	size_t i;

	if (f == NULL) {
		perror(path);
		return -1;
	}
	len = fread(room, 1, sizeof room, f);
	if (ferror(f) || fgetc(f) != EOF) {
		(void)fprintf(stderr, "%s: cannot be read, or is too long\n", path);
		(void)fclose(f);
		return -1;
	}
	(void)fclose(f);
	data = malloc(len);
	if (data == NULL && len > 0)
		abort();
	for (i = 0; i < len; i++)
		data[i] = room[i];
	(void)LLVMFuzzerTestOneInput(data, len);
	free(data);
	return 0;
}

int
main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (replay(argv[i]) == -1)
			return 1;
	(void)printf("%s: %d inputs\n", argv[0], argc - 1);
	return argc > 1 ? 0 : 1;
}
