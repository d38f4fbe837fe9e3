#include "query/names.h"

#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/wire.h"
#include "names_internal.h"

enum {
	/* So many bytes of a hosts file make a node, or more. */
	BYTES_FOR_NODE = 16,

	/* Without `hosts' there are about so many nodes. */
	SPECIAL_NODES = 256,

	TYPE_AND_CLASS_LEN = 4,
	LABELS_MAX = DNS_NAME_MAX / 2
};

/* ---- life ---- */

static size_t
count_nodes(const struct config *config, FILE *hosts)
{
	size_t count = SPECIAL_NODES + 2 * config->host_count;
	struct stat st;

	if (hosts != NULL && fstat(fileno(hosts), &st) == 0)
		count += (size_t)st.st_size / BYTES_FOR_NODE;
	return count;
}

static int
fill(struct names *n, const struct config *config, FILE *hosts, struct failure *why)
{
	if (names_tree_init(n, count_nodes(config, hosts)) == -1)
		return fail_errno(why, "names");
	if (names_add_hosts(n, config, hosts, why) == -1)
		return -1;
	if (config->local_names && names_add_special(n) == -1)
		return fail_errno(why, "names");
	n->has_single_labels = config->single_labels_here;
	return 0;
}

struct names *
names_new(const struct config *config, struct failure *why)
{
	struct names *n = calloc(1, sizeof *n);
	FILE *hosts = NULL;
	int rc = -1;

	if (n == NULL)
		(void)fail_errno(why, "names");
	else if (config->hosts_file != NULL &&
	    (hosts = file_open(config->hosts_file, NAMES_HOSTS_FILE_MAX, why)) == NULL)
		(void)fail_in(why, "hosts file %s", config->hosts_file);
	else
		rc = fill(n, config, hosts, why);
	if (hosts != NULL)
		(void)fclose(hosts);
	if (rc == 0)
		return n;
	names_free(n);
	return NULL;
}

void
names_free(struct names *n)
{
	if (n == NULL)
		return;
	names_tree_clear(n);
	free(n);
}

/* ---- looking up ---- */

/* A QNAME in lower case, and where its labels begin. */
struct qname {
	size_t len;
	size_t labels; /* without the root */
	uint8_t at[LABELS_MAX];
	uint8_t bytes[DNS_NAME_MAX];
};

/* What there is of a name. */
struct found {
	const struct names_node *node; /* its own; NULL: it has none */
	const struct names_node *zone; /* the special-use zone that it is in; NULL: none */
	size_t zone_at;                /* where the name of the zone begins in it */
};

static void
read_qname(const uint8_t *query, const struct dns_query *q, struct qname *name)
{
	struct wire_reader r;
	uint8_t len;
	size_t i;

	name->len = q->question_len - TYPE_AND_CLASS_LEN;
	memcpy(name->bytes, query + DNS_HEADER_LEN, name->len);
	/* The length of a label is less than any letter. */
	for (i = 0; i < name->len; i++)
		if (name->bytes[i] >= 'A' && name->bytes[i] <= 'Z')
			name->bytes[i] |= 0x20;
	name->labels = 0;
	wire_reader_init(&r, name->bytes, name->len);
	while ((len = wire_read_u8(&r)) != 0) {
		name->at[name->labels++] = (uint8_t)(r.pos - 1);
		wire_skip(&r, len);
	}
}

/* From the last label on, as long as there are nodes: most names have none for the first one. */
static void
find(const struct names *n, const struct qname *name, struct found *f)
{
	const struct names_node *node;
	size_t i = name->labels;
	size_t at;

	*f = (struct found){ .node = NULL };
	while (i > 0) {
		at = name->at[--i];
		if ((node = names_tree_find(n, name->bytes + at, name->len - at)) == NULL)
			return;
		if (node->zone != NAMES_NO_ZONE) {
			f->zone = node;
			f->zone_at = at;
		}
		if (i == 0)
			f->node = node;
	}
}

static bool
has_records(const struct found *f)
{
	return f->node != NULL && f->node->records != NULL;
}

static enum names_zone
zone_of(const struct found *f)
{
	return f->zone != NULL ? f->zone->zone : NAMES_NO_ZONE;
}

/* An empty name above others exists (RFC 8020). */
static bool
exists(const struct found *f)
{
	enum names_zone zone = zone_of(f);

	if (zone == NAMES_LOCALHOST || has_records(f))
		return true;
	if (f->node == NULL)
		return false;
	return f->node->is_above || (f->node == f->zone && zone != NAMES_NOTHING);
}

static bool
is_single_label(const struct names *n, const struct qname *name, uint16_t qtype)
{
	return n->has_single_labels && name->labels == 1 && qtype != DNS_TYPE_NS &&
	    qtype != DNS_TYPE_DS && qtype != DNS_TYPE_SOA && qtype != DNS_TYPE_DNSKEY;
}

static bool
is_answered(const struct names *n, const struct qname *name, const struct found *f, uint16_t qtype)
{
	if (has_records(f))
		return true;
	if (f->zone == NULL)
		return is_single_label(n, name, qtype);
	/* The zone above has it (RFC 8375 4). */
	return !(f->zone->zone == NAMES_HOME && f->node == f->zone && qtype == DNS_TYPE_DS);
}

static const struct dns_record *
records_of(const struct found *f)
{
	if (has_records(f))
		return f->node->records;
	return zone_of(f) == NAMES_LOCALHOST ? f->zone->records : NULL;
}

/* Says why there are no records. */
static void
explain(const struct found *f, struct dns_local *local)
{
	if (has_records(f) && f->node != f->zone)
		local->text = "hosts: no record of this type";
	else if (f->zone == NULL)
		local->text = "single_labels: nxdomain";
	else if (f->zone->zone == NAMES_REVERSE)
		local->text = "local_names: reverse zone of addresses that are not public";
	else
		local->text = "local_names: special-use name";
}

bool
names_find(const struct names *n, const uint8_t *query, const struct dns_query *q,
    struct dns_local *local)
{
	struct qname name;
	struct found f;

	if (q->qclass != DNS_CLASS_IN)
		return false;
	read_qname(query, q, &name);
	find(n, &name, &f);
	if (!is_answered(n, &name, &f, q->qtype))
		return false;
	*local = (struct dns_local){ .rcode = exists(&f) ? DNS_NOERROR : DNS_NXDOMAIN,
		.records = records_of(&f),
		.zone_at = f.zone_at,
		.ttl = NAMES_TTL,
		.ede = DNS_EDE_OTHER };
	if (q->is_signed)
		local->text = "answered here, so the response is not signed";
	else if (!dns_has_record(local->records, q->qtype))
		explain(&f, local);
	else
		local->ede = DNS_EDE_NONE;
	return true;
}
