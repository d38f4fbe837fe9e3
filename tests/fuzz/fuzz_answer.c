/*
 * A query, preceded by two bytes of length, and a response after it: a match is a response to
 * that question, and nothing is read past the end.
 */
#include "format/dns.h"
#include "fuzz.h"

static void
check_response(const uint8_t *msg, size_t len)
{
	unsigned rcode = dns_response_rcode(msg, len);
	char ede[DNS_EDE_TEXT_MAX];
	const char *p;

	if (dns_txt_equals(msg, len, "ok"))
		must(len > DNS_HEADER_LEN && msg[4] == 0 && msg[5] == 1);
	for (p = dns_format_ede(msg, len, ede); *p != '\0'; p++)
		must(*p >= ' ' && *p <= '~' && p < ede + sizeof ede);
	must(rcode <= 4095 && (rcode & 15) == (msg[3] & 15));
	if (msg[10] == 0 && msg[11] == 0)
		must(rcode <= 15 && !dns_response_is_bogus(msg, len) && ede[0] == '\0');
	else
		(void)dns_response_is_bogus(msg, len);
}

/* A truncated response fits, has TC, and has only the question and an OPT record. */
static void
check_truncate(const uint8_t *data, size_t data_len)
{
	/* As long as it must be to be cut. */
	size_t len = data_len + DNS_UDP_MIN;
	uint8_t *msg = malloc(len);
	uint8_t *before;
	size_t kept, cut;

	must(msg != NULL);
	memset(msg, 0, len);
	memcpy(msg, data, data_len);
	before = tight_copy(msg, len);
	kept = DNS_HEADER_LEN + dns_question_len(msg, len);
	cut = dns_truncate(msg, len, DNS_UDP_MIN);
	must(cut <= DNS_UDP_MIN && cut >= kept);
	must(msg[0] == before[0] && msg[1] == before[1]);
	must(msg[2] == (before[2] | 2) && msg[3] == before[3]);
	must(msg[4] == 0 && msg[5] == (kept > DNS_HEADER_LEN) && msg[6] == 0 && msg[7] == 0);
	must(msg[8] == 0 && msg[9] == 0 && msg[10] == 0 && msg[11] == (cut > kept));
	must(memcmp(msg + DNS_HEADER_LEN, before + DNS_HEADER_LEN, kept - DNS_HEADER_LEN) == 0);
	must(dns_truncate(msg, cut, DNS_UDP_MIN) == cut);
	free(before);
	free(msg);
}

/* A response that is the query with QR set answers it in any case. */
static void
check_echo(const uint8_t *query, size_t len, size_t question_len)
{
	uint8_t *echo = tight_copy(query, len);
	size_t i;

	must(len >= DNS_HEADER_LEN && question_len <= len - DNS_HEADER_LEN);
	echo[2] |= 0x80;
	for (i = DNS_HEADER_LEN; i < DNS_HEADER_LEN + question_len - 4; i++)
		if (echo[i] >= 'a' && echo[i] <= 'z')
			echo[i] = (uint8_t)(echo[i] - 32);
	must(dns_match_response(echo, len, query, question_len) == DNS_MATCH);
	echo[DNS_HEADER_LEN + question_len - 1] ^= 1;
	must(dns_match_response(echo, len, query, question_len) == DNS_MISMATCH);
	free(echo);
}

static void
check_match(uint8_t *msg, size_t len, const uint8_t *query, size_t question_len)
{
	unsigned rcode;

	switch (dns_match_response(msg, len, query, question_len)) {
	case DNS_MATCH:
		must(len >= DNS_HEADER_LEN && question_len <= len - DNS_HEADER_LEN);
		must((msg[2] & 0x80) != 0 && msg[4] == 0 && msg[5] == 1);
		rcode = dns_response_rcode(msg, len);
		dns_copy_question(msg, query, question_len);
		must(dns_match_response(msg, len, query, question_len) == DNS_MATCH);
		must(memcmp(msg + DNS_HEADER_LEN, query + DNS_HEADER_LEN, question_len) == 0);
		must(dns_response_rcode(msg, len) == rcode);
		break;
	case DNS_MATCH_BARE:
		must(len >= DNS_HEADER_LEN && (msg[2] & 0x80) != 0);
		must(msg[4] == 0 && msg[5] == 0 && (msg[3] & 15) != 0);
		break;
	case DNS_MISMATCH:
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_query q;
	enum dns_rcode rcode;
	uint8_t *query, *msg;
	size_t query_len, len;

	if (size < 2)
		return 0;
	query_len = (size_t)data[0] << 8 | data[1];
	if (query_len > size - 2)
		query_len = size - 2;
	len = size - 2 - query_len;
	query = tight_copy(data + 2, query_len);
	msg = tight_copy(data + 2 + query_len, len);
	if (len >= DNS_HEADER_LEN) {
		check_response(msg, len);
		check_truncate(msg, len);
	}
	if (dns_read_query(query, query_len, &q, &rcode) == DNS_RELAY) {
		check_echo(query, query_len, q.question_len);
		check_match(msg, len, query, q.question_len);
	}
	free(msg);
	free(query);
	return 0;
}
