/*
 * A byte of limits, two of an age, and a response: what is judged to be worth keeping lives for
 * as long as it may, and only its TTLs and AA change with its age. The bytes are also taken as
 * what is found in shared memory, where they may be anything.
 */
#include "format/answer.h"

#include "base/wire.h"
#include "format/edns.h"
#include "fuzz.h"

/* The query with the question of a message. */
static struct dns_query
query_of(const uint8_t *msg, size_t len)
{
	struct dns_query q = { .question_len = dns_question_len(msg, len) };
	struct wire_reader r;

	if (q.question_len == 0)
		return q;
	wire_reader_init(&r, msg, len);
	wire_skip(&r, DNS_HEADER_LEN + q.question_len - 4);
	q.qtype = wire_read_u16(&r);
	q.qclass = wire_read_u16(&r);
	return q;
}

/* Each TTL is one at least and TTL_MAX at most; what differs is in TTLs and in the flags. */
static void
check_aged(const uint8_t *msg, const uint8_t *before, size_t len, size_t opt_len, uint32_t ttl_max)
{
	struct wire_reader r;
	uint32_t ttl;
	size_t at;

	must(len >= DNS_HEADER_LEN && opt_len <= len && (msg[2] & 4) == 0);
	must(memcmp(msg, before, 2) == 0 && msg[2] == (before[2] & ~4) && msg[3] == before[3]);
	wire_reader_init(&r, msg, len - opt_len);
	wire_skip(&r, DNS_HEADER_LEN);
	wire_skip_name(&r);
	wire_skip(&r, 4);
	must(!r.failed && memcmp(msg + 4, before + 4, r.pos - 4) == 0);
	while (!wire_is_done(&r)) {
		at = r.pos;
		wire_skip_name(&r);
		wire_skip(&r, 4);
		must(!r.failed && memcmp(msg + at, before + at, r.pos - at) == 0);
		ttl = wire_read_u32(&r);
		must(ttl >= 1 && ttl <= ttl_max);
		at = r.pos;
		wire_skip(&r, wire_read_u16(&r));
		must(!r.failed && memcmp(msg + at, before + at, r.pos - at) == 0);
	}
	must(memcmp(msg + len - opt_len, before + len - opt_len, opt_len) == 0);
}

/* Returns whether the bytes are a response that can be aged. */
static bool
check_age(const uint8_t *data, size_t len, uint32_t age, size_t *opt_len)
{
	uint8_t *msg = tight_copy(data, len);
	uint8_t *once;
	size_t again;
	bool readable = answer_age(msg, len, age, 1000, opt_len);

	if (readable) {
		check_aged(msg, data, len, *opt_len, 1000);
		once = tight_copy(msg, len);
		must(answer_age(msg, len, 0, 1000, &again) && again == *opt_len);
		must(memcmp(msg, once, len) == 0);
		must(answer_age_stale(msg, len, age, &again) && again == *opt_len);
		check_aged(msg, data, len, again, ANSWER_STALE_TTL);
		free(once);
	}
	free(msg);
	return readable;
}

static void
check_judged(const uint8_t *data, size_t len, size_t opt_len, const struct dns_query *q,
    const struct answer_limits *limits)
{
	uint8_t *msg = tight_copy(data, len);
	struct answer a, again;
	size_t found;

	answer_judge(msg, len, opt_len, q, limits, &a);
	must(memcmp(msg, data, len) == 0);
	must((a.kind == ANSWER_NOT_KEPT) == (a.reason != ANSWER_KEPT) && a.reason < ANSWER_REASONS);
	must((a.soa_ttl_at > 0) == (a.kind == ANSWER_NEGATIVE));
	must(a.kind == ANSWER_NOT_KEPT || len >= DNS_HEADER_LEN);
	if (a.kind == ANSWER_POSITIVE || a.kind == ANSWER_NEGATIVE) {
		must(a.life >= 1 && a.life <= limits->max_ttl);
		must(a.kind == ANSWER_POSITIVE || a.life <= limits->negative_ttl);
		must((msg[3] & 15) == 0 || ((msg[3] & 15) == 3 && a.kind == ANSWER_NEGATIVE));
	}
	if (a.kind != ANSWER_NOT_KEPT) {
		must((msg[2] & 0xfa) == 0x80);
		answer_lower_soa(msg, len, &a);
		answer_judge(msg, len, opt_len, q, limits, &again);
		must(again.kind == a.kind && again.life == a.life);
		must(check_age(msg, len, 1, &found) && found == opt_len);
	}
	free(msg);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t canonical[DNS_MESSAGE_MAX];
	struct edns_settings settings = { .client_subnet = true };
	struct answer_limits limits;
	struct edns_response r;
	struct dns_query q;
	size_t len, opt_len, n;
	uint8_t *msg;

	if (size < 3)
		return 0;
	limits.max_ttl = (data[0] & 1) != 0 ? 10 : 86400;
	limits.min_ttl = (data[0] & 2) != 0 ? 5 : 0;
	limits.negative_ttl = (data[0] & 4) != 0 ? 7 : 3600;
	len = size - 3 < DNS_MESSAGE_MAX ? size - 3 : DNS_MESSAGE_MAX;
	msg = tight_copy(data + 3, len);
	q = query_of(msg, len);
	(void)check_age(msg, len, (uint32_t)data[1] << 8 | data[2], &opt_len);
	check_judged(msg, len, 0, &q, &limits);
	edns_read_response(msg, len, &r);
	n = edns_write_canonical(canonical, msg, len, &r, &settings, false, &opt_len);
	if (n > 0)
		check_judged(canonical, n, opt_len, &q, &limits);
	free(msg);
	return 0;
}
