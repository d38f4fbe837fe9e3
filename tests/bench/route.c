/*
 * Measures the table of routes by itself: time to fill it, and time of a lookup.
 *
 *     make benchroute
 */
#include "query/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "format/domain.h"

enum { DOMAINS = 10000, CALLS = 2000000 };

/* The processor time so far, in seconds. */
static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The mean time of a lookup, of names that have a number between two texts. */
static void
measure(const struct route_table *t, const char *before, const char *after)
{
	static struct domain names[DOMAINS];
	char text[128];
	size_t found = 0;
	size_t at;
	double start;
	size_t i;

	for (i = 0; i < DOMAINS; i++) {
		(void)snprintf(text, sizeof text, "%s%zu%s", before, i, after);
		if (domain_parse(text, &names[i]) != NULL)
			abort();
	}
	start = now();
	for (i = 0; i < CALLS; i++) {
		const struct domain *d = &names[i * 7919 % DOMAINS];

		found += route_find(t, d->name, d->len, &at) != ROUTE_NONE;
	}
	printf("%s0%-26s %6.0f ns, %3zu %% found\n", before, after, (now() - start) * 1e9 / CALLS,
	    100 * found / CALLS);
}

int
main(void)
{
	static struct domain domains[DOMAINS];
	double start = now();
	struct route_table *t = route_table_new(DOMAINS);
	char text[64];
	size_t i;

	if (t == NULL)
		abort();
	for (i = 0; i < DOMAINS; i++) {
		(void)snprintf(text, sizeof text,
		    i % 2 == 0 ? "host%zu.corp.example" : "ad%zu.example", i);
		if (domain_parse(text, &domains[i]) != NULL ||
		    !route_add(t, domains[i].name, domains[i].len, false, i))
			abort();
	}
	printf("%d domains in %.1f ms\n", DOMAINS, (now() - start) * 1e3);
	measure(t, "x.host", ".corp.example");
	measure(t, "www", ".example.com");
	measure(t, "a", ".b.c.d.svc.cluster.local");
	route_table_free(t);
	return 0;
}
