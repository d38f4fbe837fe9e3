/* A configuration that loads must be printed as text that loads and prints the same. */
#include <stdio.h>

#include "config/config.h"
#include "fuzz.h"

/* What config_print() writes for the configuration in TEXT; NULL when that does not load. */
static char *
printed(const char *text, size_t len)
{
	struct config_report report;
	struct config *config = config_read(text, len, "config.yml", &report);
	char *out = NULL;
	size_t out_len;
	FILE *file;

	if ((config == NULL) != (report.error_count > 0))
		abort();
	if ((report.errors == NULL) != (report.error_count == 0))
		abort();
	if (config != NULL) {
		if ((file = open_memstream(&out, &out_len)) == NULL)
			abort();
		config_print(config, file);
		(void)fclose(file);
	}
	config_free(config);
	config_report_free(&report);
	return out;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *first = printed((const char *)data, size);
	char *second;

	if (first == NULL)
		return 0;
	second = printed(first, strlen(first));
	if (second == NULL || strcmp(first, second) != 0)
		abort();
	free(first);
	free(second);
	return 0;
}
