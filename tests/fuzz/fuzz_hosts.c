/* Any bytes as a hosts file: it is read, or refused with a reason of one printable line. */
#include <sys/mman.h>

#include <stdio.h>
#include <unistd.h>

#include "format/domain.h"
#include "fuzz.h"
#include "query/names.h"

/* Whether a name is answered here, and with how many addresses. */
static void
look_up(const struct names *names, const char *text)
{
	uint8_t query[DNS_HEADER_LEN + DNS_QUESTION_MAX] = { 0 };
	struct dns_query q = { .qtype = DNS_TYPE_ANY, .qclass = DNS_CLASS_IN };
	const struct dns_record *r;
	struct dns_local local;
	struct domain domain;
	int count = 0;

	must(domain_parse(text, &domain) == NULL);
	memcpy(query + DNS_HEADER_LEN, domain.name, domain.len);
	q.question_len = domain.len + 4;
	if (!names_find(names, query, &q, &local))
		return;
	for (r = local.records; r != NULL; r = r->next) {
		must(r->type == DNS_TYPE_A || r->type == DNS_TYPE_AAAA || r->type == DNS_TYPE_PTR);
		count++;
	}
	must(count <= 256 + 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[32];
	struct config config = { .local_names = true, .hosts_file = path };
	int fd = memfd_create("hosts", MFD_CLOEXEC);
	struct failure why;
	struct names *names;
	const char *p;

	must(fd != -1 && write(fd, data, size) == (ssize_t)size);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	names = names_new(&config, &why);
	(void)close(fd);
	if (names == NULL) {
		for (p = why.text; *p != '\0'; p++)
			must(*p >= ' ' && *p <= '~');
		must(p > why.text);
		return 0;
	}
	look_up(names, "localhost");
	look_up(names, "a");
	look_up(names, "1.0.0.10.in-addr.arpa");
	names_free(names);
	return 0;
}
