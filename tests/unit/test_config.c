#include "config/config.h"

#include <sys/stat.h>

#include <stdio.h>
#include <unistd.h>

#include "shared/cache.h"

#include "unit.h"

#define UP "upstreams: [9.9.9.9]\n"
#define LABEL_60 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567"
#define MAPPED "is an IPv4 address; write it as one, as in 192.0.2.1"
#define FORMS \
	" is not an IP address (as in 192.0.2.1, 192.0.2.1:853, 2001:db8::1, \"[2001:db8::1]:853\")"
#define RANGE                                                     \
	"expected private, any, or a range such as 192.0.2.0/24 " \
	"(no bits set after the prefix length), found "
#define A_HOST " (as in `{printer.lan: 192.168.1.9}')"
#define NO_HOST_ADDRESS " is not an IP address (as in 192.168.1.9 or \"fd00::9\")"
#define ALL_KEYS                                                                \
	" (one of: upstreams, routes, listen, tls, timeouts, order, fallback, cache, local_names, " \
	"single_labels, hosts, hosts_file, inflight, udp_size, workers, clients, allow, reload, " \
	"user, sandbox, privacy, log)"
#define ROUTE "routes:\n- {domains: [x.y], "
#define TEN(x) x x x x x x x x x x

static struct config *
read_tight(const uint8_t *data, size_t len, struct config_report *report)
{
	uint8_t *copy = tight_copy(data, len);
	struct config *config = config_read((const char *)copy, len, "c", report);

	free(copy);
	return config;
}

static char *
print(const struct config *config)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_print(config, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static size_t
count_lines(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

static const struct refused_row {
	const char *name;
	const uint8_t *text;
	size_t len;
	const char *errors;
} refused[] = {
	/* Not YAML, or not a single document. */
	{ "F-01 empty", BYTES(""), "c:1:1: file is empty (write at least `upstreams')\n" },
	{ "F-01 comments only", BYTES("# upstreams:\n"),
	    "c:1:1: file is empty (write at least `upstreams')\n" },
	{ "F-01 NUL byte", BYTES(UP "log:\0"), "c:2:5: not text: a NUL byte\n" },
	{ "F-01 NUL byte at the start", BYTES("\0"), "c:1:1: not text: a NUL byte\n" },
	{ "F-01 not UTF-8", BYTES("# z\303\274rich \374\n"),
	    "c:1:10: not UTF-8 text: invalid leading UTF-8 octet\n" },
	{ "F-01 UTF-16", BYTES("\377\376u\0p\0"),
	    "c:1:1: not UTF-8 text: UTF-16 (save it as UTF-8)\n" },
	{ "F-01 half a character", BYTES(UP "# \303"),
	    "c:2:3: not UTF-8 text: incomplete UTF-8 octet sequence\n" },
	{ "F-01 control character", BYTES(UP "# \033[2J"),
	    "c:2:3: not UTF-8 text: control characters are not allowed\n" },
	{ "F-02 tab indents", BYTES(UP "log:\n\tlevel: info\n"),
	    "c:3:1: not YAML: tab in the indentation (use spaces)\n" },
	{ "F-02 tab indents what follows", BYTES(UP "log:\n  level: info\n\tqueries: true\n"),
	    "c:4:1: not YAML: tab in the indentation (use spaces)\n" },
	{ "F-02 no quotes", BYTES("upstreams: @home\n"),
	    "c:1:12: not YAML: `@' cannot begin a value without quotes\n" },
	{ "F-02 open list", BYTES("upstreams: [9.9.9.9\n"),
	    "c:2:1: not YAML: while parsing a flow sequence: did not find expected ',' or ']'\n" },
	{ "F-02 undefined alias", BYTES("upstreams: *u\n"),
	    "c:1:12: not YAML: found undefined alias\n" },
	{ "F-02 second document", BYTES(UP "---\nlog: {}\n"),
	    "c:3:1: a second document begins here; there can be only one\n" },
	{ "F-02 broken second document", BYTES(UP "---\n[\n"),
	    "c:4:1: not YAML: while parsing a flow node: did not find expected node content\n" },
	{ "F-13 brackets without quotes", BYTES("listen: [::1]:53\n"),
	    "c:1:10: not YAML: an address in brackets needs quotes, as in \"[::1]:53\"\n" },
	{ "F-13 brackets without quotes, not at ::", BYTES(UP "listen:\n- [2001:db8::1]:53\n"),
	    "c:3:16: not YAML: an address in brackets needs quotes, as in \"[::1]:53\"\n" },

	/* Shape and keys. */
	{ "a list at the root", BYTES("- 9.9.9.9\n"),
	    "c:1:1: expected keys and values, found a list (as in `{upstreams: ...}')\n"
	    "c:1:1: missing key `upstreams': the servers to ask\n" },
	{ "a value at the root", BYTES("9.9.9.9\n"),
	    "c:1:1: expected keys and values, found a single value (as in `{upstreams: 9.9.9.9}')\n"
	    "c:1:1: missing key `upstreams': the servers to ask\n" },
	{ "an empty document", BYTES("---\n"),
	    "c:2:1: missing key `upstreams': the servers to ask\n" },
	{ "F-06 no upstreams", BYTES("log: {}\n"),
	    "c:1:1: missing key `upstreams': the servers to ask\n" },
	{ "F-06 empty list of upstreams", BYTES("upstreams: []\n"),
	    "c:1:12: the list is empty (write one entry at least)\n" },
	{ "F-06 nothing for upstreams", BYTES("upstreams:\n"),
	    "c:1:11: expected a list, found nothing (write one entry at least)\n" },
	{ "F-06 too many upstreams",
	    BYTES("upstreams: [" TEN(TEN("9.9.9.9,") TEN("9.9.9.9,") TEN("9.9.9.9,")) "]\n"),
	    "c:1:12: 300 entries in a list that takes 256\n" },
	{ "F-02 unknown key", BYTES(UP "colour: red\n"),
	    "c:2:1: unknown key `colour'" ALL_KEYS "\n" },
	{ "F-02 key with a letter missing",
	    BYTES("upstreams:\n  - adress: 9.9.9.9\n    address: 9.9.9.9\n"),
	    "c:2:5: unknown key `adress' (did you mean `address'?)\n" },
	{ "F-02 key with letters swapped", BYTES(UP "timeuots: {}\n"),
	    "c:2:1: unknown key `timeuots' (did you mean `timeouts'?)\n" },
	{ "F-02 key with a letter too many", BYTES(UP "timeouts: {queryy: 1s}\n"),
	    "c:2:12: unknown key `queryy' (did you mean `query'?)\n" },
	{ "F-02 key in another case", BYTES(UP "LISTEN: 127.0.0.1\n"),
	    "c:2:1: unknown key `LISTEN' (did you mean `listen'?)\n" },
	{ "F-02 the other name of a key", BYTES("DNS_SERVER: [9.9.9.9]\n"),
	    "c:1:1: unknown key `DNS_SERVER' (did you mean `DNS_SERVERS'?)\n"
	    "c:1:1: missing key `upstreams': the servers to ask\n" },
	{ "F-02 key with a hyphen", BYTES(UP "tls: {ca-file: x}\n"),
	    "c:2:7: unknown key `ca-file' (did you mean `ca_file'?)\n" },
	{ "F-02 key too short to guess", BYTES(UP "tlsx: {}\ntl: {}\nx: 1\n"),
	    "c:2:1: unknown key `tlsx' (did you mean `tls'?)\n"
	    "c:3:1: unknown key `tl' (did you mean `tls'?)\n"
	    "c:4:1: unknown key `x'" ALL_KEYS "\n" },
	{ "F-02 no space behind the colon", BYTES(UP "timeouts: {query:1s}\n"),
	    "c:2:12: unknown key `query:1s' (a key ends in a colon and a space)\n" },
	{ "F-02 long key", BYTES(UP "? " LABEL_60 "abcdefghijklmnopqrs\303\274\303\274\n: 1\n"),
	    "c:2:3: unknown key `" LABEL_60 "abcdefghijklmnopqrs'" ALL_KEYS "\n" },
	{ "F-02 a list as key", BYTES(UP "[1]: 2\n"), "c:2:1: expected a key, found a list\n" },
	{ "F-02 duplicate key", BYTES(UP "inflight: 1\ninflight: 2\n"),
	    "c:3:1: repeated key `inflight' (line 2 has `inflight' already)\n" },
	{ "F-02 key under both its names", BYTES(UP "DNS_SERVERS: [1.1.1.1]\n"),
	    "c:2:1: repeated key `DNS_SERVERS' (line 1 has `upstreams' already)\n" },
	{ "F-02 duplicate key below", BYTES("upstreams:\n- address: 9.9.9.9\n  address: 9.9.9.9\n"),
	    "c:3:3: repeated key `address' (line 2 has `address' already)\n" },
	{ "F-02 list for a map", BYTES(UP "log: [info]\n"),
	    "c:2:6: expected keys and values, found a list (as in `{level: ...}')\n" },
	{ "F-02 value for a map", BYTES(UP "timeouts: 5s\n"),
	    "c:2:11: expected keys and values, found a single value (as in `{query: 5s}')\n" },
	{ "F-02 map for a value", BYTES(UP "inflight: {max: 5}\n"),
	    "c:2:11: expected a number, found keys and values\n" },
	{ "F-02 nothing for a value", BYTES(UP "inflight:\nlog: {level: ~, queries: null}\n"),
	    "c:2:10: expected a number, found nothing\n"
	    "c:3:14: expected error, warn, info or debug, found nothing\n"
	    "c:3:26: expected true or false, found nothing\n" },
	{ "F-02 list in a list", BYTES("upstreams: [[9.9.9.9]]\n"),
	    "c:1:13: expected an upstream, found a list\n" },
	{ "F-02 deep nesting", BYTES("upstreams: " TEN(TEN("[")) TEN(TEN("]"))),
	    "c:1:27: nested deeper than 16 levels\n" },
	{ "F-02 nesting as deep as can be", BYTES("upstreams: " TEN("[") "[[[[[" TEN("]") "]]]]]"),
	    "c:1:13: expected an upstream, found a list\n" },
	{ "F-02 alias cycle", BYTES("upstreams: &u [*u]\n"),
	    "c:1:12: expected an upstream, found a list\n" },
	{ "F-02 billion laughs",
	    BYTES("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
		  "c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n"
		  "e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\n"
		  "g: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g]\n"
		  "i: &i [*h,*h,*h,*h,*h,*h,*h,*h]\nupstreams: [*i]\n"),
	    "c:1:1: unknown key `a'" ALL_KEYS "\nc:2:1: unknown key `b'" ALL_KEYS
	    "\nc:3:1: unknown key `c'" ALL_KEYS "\n"
	    "c:4:1: unknown key `d'" ALL_KEYS "\nc:5:1: unknown key `e'" ALL_KEYS
	    "\nc:6:1: unknown key `f'" ALL_KEYS "\n"
	    "c:7:1: unknown key `g'" ALL_KEYS "\nc:8:1: unknown key `h'" ALL_KEYS
	    "\nc:9:1: unknown key `i'" ALL_KEYS "\n"
	    "c:9:4: expected an upstream, found a list\n" },
	{ "escaped control character", BYTES(UP "log: {level: \"in\\0fo\"}\n\"\\e\": 1\n"),
	    "c:2:14: expected error, warn, info or debug, found control characters\n"
	    "c:3:1: expected a key, found control characters\n" },
	{ "escaped line breaks and non-characters",
	    BYTES("upstreams: [\"\\x9b\", \"\\u2028\", \"\\uFFFE\", \"\\x7f\"]\n"),
	    "c:1:13: expected an upstream, found control characters\n"
	    "c:1:21: expected an upstream, found control characters\n"
	    "c:1:31: expected an upstream, found control characters\n"
	    "c:1:41: expected an upstream, found control characters\n" },
	{ "all errors, in order of line",
	    BYTES("inflight: 0\nlisten: 127.0.0.1:853\nupstreams:\n- 127.0.0.1\n- x y\nlog:\n"
		  "  level: loud\nallow: 1\n"),
	    "c:1:11: expected a number from 1 to 16384, found `0'\n"
	    "c:4:3: a loop: dot-proxy itself listens on 127.0.0.1:853 (change one of the two)\n"
	    "c:5:3: `x y'" FORMS "\n"
	    "c:7:10: expected error, warn, info or debug, found `loud'\n"
	    "c:8:8: " RANGE "`1'\n" },

	/* Upstreams and listeners. */
	{ "missing address", BYTES("upstreams:\n- hostname: dns.example\n"),
	    "c:2:3: missing key `address' (the server's IP address)\n" },
	{ "a host name in the short form", BYTES("upstreams: [dns.google]\n"),
	    "c:1:13: `dns.google' is a host name, and names are not looked up "
	    "(write its address before it, as in `192.0.2.1#dns.google')\n" },
	{ "a host name with a port", BYTES("upstreams: [\"dns.google:853\"]\n"),
	    "c:1:13: `dns.google:853' is a host name, and names are not looked up "
	    "(write its address before it, as in `192.0.2.1#dns.google')\n" },
	{ "a host name as address", BYTES("upstreams: {address: dns.google}\n"),
	    "c:1:22: `dns.google' is a host name, and names are not looked up "
	    "(write its address here, and the name as `hostname')\n" },
	{ "a host name to listen on", BYTES(UP "listen: localhost:53\n"),
	    "c:2:9: `localhost:53' is a host name, and names are not looked up "
	    "(write an address, as in `127.0.0.1:53' or `0.0.0.0:53')\n" },
	{ "an empty address", BYTES("upstreams: ['', '#dns.example']\n"),
	    "c:1:13: `'" FORMS "\nc:1:17: `#dns.example' has no address "
	    "(write the server's, as in `9.9.9.9#dns.quad9.net')\n" },
	{ "F-13 no address", BYTES("upstreams: [9.9.9.256, '1.1.1.1:', '[::1', '1.1.1.1@853']\n"),
	    "c:1:13: `9.9.9.256'" FORMS "\n"
	    "c:1:24: `1.1.1.1:' has a port that is not a number from 1 to 65535 "
	    "(write one, as in `1.1.1.1:853')\n"
	    "c:1:36: `[::1'" FORMS "\n"
	    "c:1:44: `1.1.1.1@853' has its port after `@' (write `1.1.1.1:853')\n" },
	{ "F-13 unknown zone", BYTES("upstreams: ['fe80::1%nowhere']\n"),
	    "c:1:13: `fe80::1%nowhere' has an unknown interface (`ip link' shows those there "
	    "are)\n" },
	{ "F-13 link-local without a zone", BYTES("upstreams: ['fe80::1']\n"),
	    "c:1:13: `fe80::1' needs its interface, as in fe80::1%eth0\n" },
	{ "F-13 IPv4 in an address of IPv6",
	    BYTES("upstreams: ['::ffff:9.9.9.9#dns.example', {address: '::FFFF:909:909'}]\n"
		  "listen: ['[::ffff:127.0.0.1]:53', '::ffff:0:0']\n"),
	    "c:1:13: `::ffff:9.9.9.9#dns.example' " MAPPED "\nc:1:53: `::FFFF:909:909' " MAPPED "\n"
	    "c:2:10: `[::ffff:127.0.0.1]:53' " MAPPED "\nc:2:35: `::ffff:0:0' " MAPPED "\n" },
	{ "F-13 a colon alone in a list", BYTES("upstreams: [9.9.9.9:853, @]\n"),
	    "c:1:26: not YAML: `@' cannot begin a value without quotes\n" },
	{ "F-13 port out of range", BYTES("listen: 127.0.0.1:65536\n" UP),
	    "c:1:9: `127.0.0.1:65536' has a port that is not a number from 1 to 65535 "
	    "(write one, as in `127.0.0.1:53')\n" },
	{ "F-02 ports out of range",
	    BYTES("upstreams:\n"
		  "- {address: 9.9.9.9, port: 0}\n"
		  "- {address: 9.9.9.9, port: -1}\n"
		  "- {address: 9.9.9.9, port: 65536}\n"
		  "- {address: 9.9.9.9, port: 99999999999999999999}\n"
		  "- {address: 9.9.9.9, port: 0x355}\n"
		  "- {address: 9.9.9.9, port: dns}\n"
		  "- {address: 9.9.9.9, port: ''}\n"),
	    "c:2:28: expected a number from 1 to 65535, found `0'\n"
	    "c:3:28: expected a number from 1 to 65535, found `-1'\n"
	    "c:4:28: expected a number from 1 to 65535, found `65536'\n"
	    "c:5:28: expected a number from 1 to 65535, found `99999999999999999999'\n"
	    "c:6:28: expected a number from 1 to 65535, found `0x355'\n"
	    "c:7:28: expected a number from 1 to 65535, found `dns'\n"
	    "c:8:28: expected a number from 1 to 65535, found `'\n" },
	{ "port twice", BYTES("upstreams: {address: '9.9.9.9:853', port: 853}\n"),
	    "c:1:37: repeated port (the address has one already; leave one out)\n" },
	{ "F-07 port 53", BYTES("upstreams:\n- 9.9.9.9:53\n- {address: 9.9.9.9, port: 53}\n"),
	    "c:2:3: port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is\n"
	    "c:3:3: port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is\n" },
	{ "wildcard upstream", BYTES("upstreams: [0.0.0.0, '::']\n"),
	    "c:1:13: upstream address must not be a wildcard (write the server's address)\n"
	    "c:1:22: upstream address must not be a wildcard (write the server's address)\n" },
	{ "F-06 loop", BYTES("listen: ['[::1]:853', 127.0.0.1]\nupstreams: [9.9.9.9, '::1']\n"),
	    "c:2:22: a loop: dot-proxy itself listens on [::1]:853 (change one of the two)\n" },
	{ "F-06 loop by a wildcard", BYTES("upstreams: [127.0.0.9]\nlisten: 0.0.0.0:853\n"),
	    "c:1:13: a loop: dot-proxy itself listens on 0.0.0.0:853 (change one of the two)\n" },
	{ "F-06 loop by a wildcard of IPv6",
	    BYTES("upstreams: ['::1', 127.0.0.1]\nlisten: '[::]:853'\n"),
	    "c:1:13: a loop: dot-proxy itself listens on [::]:853 (change one of the two)\n"
	    "c:1:20: a loop: dot-proxy itself listens on [::]:853 (change one of the two)\n" },
	{ "F-10 host names",
	    BYTES("upstreams:\n"
		  "- {address: 9.9.9.9, hostname: ''}\n"
		  "- {address: 9.9.9.9, hostname: .test}\n"
		  "- {address: 9.9.9.9, hostname: dns.test.}\n"
		  "- {address: 9.9.9.9, hostname: b\303\274cher.test}\n"
		  "- {address: 9.9.9.9, hostname: 9.9.9.9}\n"
		  "- {address: 9.9.9.9, hostname: '*.test'}\n"
		  "- {address: 9.9.9.9, hostname: a" LABEL_60 "bcd.test}\n"),
	    "c:2:32: host name `' is empty; "
	    "without `hostname' the certificate must name the address\n"
	    "c:3:32: host name `.test' begins with a dot\n"
	    "c:4:32: host name `dns.test.' ends with a dot; leave it off\n"
	    "c:5:32: host name `b\303\274cher.test' is not ASCII; "
	    "write international names in their `xn--' form\n"
	    "c:6:32: host name `9.9.9.9' is an address; "
	    "without `hostname' the certificate must name the address\n"
	    "c:7:32: host name `*.test' has characters that are not allowed in a host name; write "
	    "letters, digits, `-' and `_'\n"
	    "c:8:32: host name `a" LABEL_60 "bcd.test' "
	    "has more than 63 characters between two dots\n" },
	{ "F-10 long host name",
	    BYTES("upstreams: [9.9.9.9#" TEN("abcdefghijklmnopqrstuvwxyz.") "a]\n"),
	    "c:1:13: host name `abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz."
	    "abcdefghijklmnopqrstuvwxyz' has more than 253 characters\n" },
	{ "F-10 short forms", BYTES("upstreams: ['9.9.9.9#', 'x y#.test']\n"),
	    "c:1:13: host name `' is empty; "
	    "without `hostname' the certificate must name the address\n"
	    "c:1:25: `x y#.test'" FORMS "\n"
 },
	{ "long short form", BYTES("upstreams: [" TEN(LABEL_60) "]\n"),
	    "c:1:13: `" LABEL_60 "abcdefghijklmnopqrst'" FORMS "\n" },
	{ "empty paths", BYTES("upstreams: {address: 9.9.9.9, ca_file: ''}\ntls: {ca_file: ''}\n"),
	    "c:1:40: the path is empty (write one, or leave the key out)\n"
	    "c:2:16: the path is empty (write one, or leave the key out)\n" },
	{ "a listener without an address", BYTES(UP "listen: {udp: false}\n"),
	    "c:2:9: missing key `address' (as in 127.0.0.1:53)\n" },
	{ "a listener without anything",
	    BYTES(UP "listen: [{address: '::1', udp: false, tcp: false}]\n"),
	    "c:2:10: at least one of `udp', `tcp' must be true\n" },
	{ "a listener's unknown key", BYTES(UP "listen: {address: '::1', upd: false}\n"),
	    "c:2:26: unknown key `upd' (did you mean `udp'?)\n" },
	{ "udp_size too small", BYTES(UP "udp_size: 511\n"),
	    "c:2:11: expected a number from 512 to 4096, found `511'\n" },
	{ "udp_size too large", BYTES(UP "udp_size: 4097\n"),
	    "c:2:11: expected a number from 512 to 4096, found `4097'\n" },
	{ "too many listeners", BYTES(UP "listen: [" TEN("0.0.0.0,") TEN("0.0.0.0,") "]\n"),
	    "c:2:9: 20 entries in a list that takes 16\n" },

	/* Numbers and words. */
	{ "F-08 no unit", BYTES(UP "timeouts: {query: 5, client_idle: 10}\n"),
	    "c:2:19: `5' has no unit (as in 1500ms, 2s, 1m)\n"
	    "c:2:35: `10' has no unit (as in 1500ms, 2s, 1m)\n" },
	{ "F-08 no time", BYTES(UP "timeouts: {query: 1.5s, answer: -1s, connect: soon}\n"),
	    "c:2:19: expected a time in whole numbers (as in 1500ms, 2s, 1m), found `1.5s'\n"
	    "c:2:33: expected a time in whole numbers (as in 1500ms, 2s, 1m), found `-1s'\n"
	    "c:2:47: expected a time in whole numbers (as in 1500ms, 2s, 1m), found `soon'\n" },
	{ "F-08 zero",
	    BYTES(UP "timeouts:\n  query: 0\n  connect: 0\n  handshake: 0s\n"
		     "  answer: 0ms\n  client_read: 0\n"),
	    "c:3:10: expected a time from 100ms to 9s, found `0'\n"
	    "c:4:12: expected a time from 10ms to 9s, found `0'\n"
	    "c:5:14: expected a time from 10ms to 9s, found `0s'\n"
	    "c:6:11: expected a time from 10ms to 9s, found `0ms'\n"
	    "c:7:16: expected a time from 10ms to 1m, found `0'\n" },
	{ "F-08 tiny",
	    BYTES(
		UP "timeouts:\n  query: 99ms\n  connect: 9ms\n  handshake: 9ms\n"
		   "  answer: 9ms\n  client_idle: 9ms\n  client_read: 9ms\n  upstream_idle: 9ms\n"),
	    "c:3:10: expected a time from 100ms to 9s, found `99ms'\n"
	    "c:4:12: expected a time from 10ms to 9s, found `9ms'\n"
	    "c:5:14: expected a time from 10ms to 9s, found `9ms'\n"
	    "c:6:11: expected a time from 10ms to 9s, found `9ms'\n"
	    "c:7:16: expected a time from 10ms to 10m, or 0, found `9ms'\n"
	    "c:8:16: expected a time from 10ms to 1m, found `9ms'\n"
	    "c:9:18: expected a time from 10ms to 10m, or 0, found `9ms'\n" },
	{ "F-08 huge",
	    BYTES(UP "timeouts: {query: 9001ms, client_idle: 11m, client_read: 61s, "
		     "upstream_idle: 99999999999999999m}\n"),
	    "c:2:19: expected a time from 100ms to 9s, found `9001ms'\n"
	    "c:2:40: expected a time from 10ms to 10m, or 0, found `11m'\n"
	    "c:2:58: expected a time from 10ms to 1m, found `61s'\n"
	    "c:2:78: expected a time from 10ms to 10m, or 0, found `99999999999999999m'\n" },
	{ "F-08 steps longer than the whole",
	    BYTES(UP "timeouts:\n  connect: 1001ms\n  handshake: 2s\n  query: 1s\n  answer: 9s\n"),
	    "c:3:3: `connect' is longer than `query', which it is a part of (change one of the "
	    "two)\n"
	    "c:4:3: `handshake' is longer than `query', which it is a part of (change one of the "
	    "two)\n"
	    "c:6:3: `answer' is longer than `query', which it is a part of (change one of the "
	    "two)\n" },
	{ "F-08 step longer than the default", BYTES(UP "timeouts: {answer: 5s}\n"),
	    "c:2:12: `answer' is longer than `query', which it is a part of (change one of the "
	    "two)\n" },
	{ "F-08 not whole seconds", BYTES(UP "cache: {max_ttl: 1500ms, stale: 1ms}\n"),
	    "c:2:18: expected a time in whole seconds (as in 5s, 1m), found `1500ms'\n"
	    "c:2:33: expected a time in whole seconds (as in 5s, 1m), found `1ms'\n" },
	{ "F-08 too long for an answer",
	    BYTES(UP "cache: {max_ttl: 8d, min_ttl: 2h, stale: 25d}\n"),
	    "c:2:18: expected a time from 1s to 7d, found `8d'\n"
	    "c:2:31: expected a time from 0 to 1h, found `2h'\n"
	    "c:2:42: expected a time from 0 to 7d, found `25d'\n" },
	{ "F-08 lives that contradict each other",
	    BYTES(UP "cache: {min_ttl: 10m, max_ttl: 1m}\n"),
	    "c:2:9: `min_ttl' is longer than `max_ttl' (change one of the two)\n" },
	{ "F-08 stale answers after the deadline",
	    BYTES(UP "cache: {stale_after: 1001ms}\ntimeouts: {query: 1s}\n"),
	    "c:2:9: `stale_after' is longer than `timeouts.query', in which a query is answered "
	    "(change one of the two)\n" },
	{ "F-21 sizes", BYTES(UP "cache:\n  size: 4194304\n"),
	    "c:3:9: `4194304' has no unit (as in 512KiB, 4MiB, 1GiB)\n" },
	{ "F-21 unit of others", BYTES(UP "cache: {size: 4M}\n"),
	    "c:2:15: expected a size from 126KiB to 4GiB, or 0, found `4M'\n" },
	{ "F-21 over 4 GiB", BYTES(UP "cache: {size: 5GiB}\n"),
	    "c:2:15: expected a size from 126KiB to 4GiB, or 0, found `5GiB'\n" },
	{ "F-21 no size", BYTES(UP "cache: {size: off}\n"),
	    "c:2:15: expected a size from 126KiB to 4GiB, or 0, found `off'\n" },
	{ "F-21 size without its key", BYTES(UP "cache: 8MiB\n"),
	    "c:2:8: expected keys and values, found a single value (as in `{size: 8MiB}')\n" },
	{ "F-21 too small for the workers", BYTES(UP "cache: {size: 179KiB}\n"),
	    "c:2:9: `size' 179KiB is too small for 2 workers "
	    "(write 180KiB or more, or 0 for no cache)\n" },
	{ "F-21 too small for many workers", BYTES(UP "cache: {size: 1MiB}\nworkers: 64\n"),
	    "c:2:9: `size' 1MiB is too small for 64 workers "
	    "(write 3528KiB or more, or 0 for no cache)\n" },
	{ "inflight over", BYTES(UP "inflight: 16385\n"),
	    "c:2:11: expected a number from 1 to 16384, found `16385'\n" },
	{ "inflight under", BYTES(UP "inflight: -1\n"),
	    "c:2:11: expected a number from 1 to 16384, found `-1'\n" },
	{ "bad booleans", BYTES(UP "log: {queries: yes}\n"),
	    "c:2:16: expected true or false, found `yes'\n" },
	{ "bad ranges", BYTES(UP "allow: [10.1.0.0/8, localhost, '::/129', public]\n"),
	    "c:2:9: " RANGE "`10.1.0.0/8'\nc:2:21: " RANGE "`localhost'\n"
	    "c:2:32: " RANGE "`::/129'\nc:2:42: " RANGE "`public'\n" },
	{ "G-08 cleartext at the top level",
	    BYTES("upstreams: [{address: 10.96.0.10, cleartext: true}]\n"),
	    "c:1:35: `cleartext' is only for upstreams of a route with named domains\n" },
	{ "G-08 cleartext for a top-level domain",
	    BYTES(UP "routes:\n- {domains: [x.y, COM], upstreams: {address: 10.0.0.1, cleartext: true}}\n"
		     "- {domains: '*.de', upstreams: {address: 10.0.0.1, cleartext: true}}\n"
		     "- {domains: 0.0.0.0/0, upstreams: {address: 10.0.0.1, cleartext: true}}\n"),
	    "c:3:56: `cleartext' is only for upstreams of a route with named domains; `com' is public\n"
	    "c:4:52: `cleartext' is only for upstreams of a route with named domains; `de' is public\n"
	    "c:5:55: `cleartext' is only for upstreams of a route with named domains; "
	    "`in-addr.arpa' is public\n" },
	{ "G-08 cleartext to a public address",
	    BYTES(UP ROUTE "upstreams: [{address: 8.8.8.8, cleartext: true}, "
			   "{address: '2001:db8::1', cleartext: true}]}\n"),
	    "c:3:42: a cleartext upstream needs a private address; 8.8.8.8 is public\n"
	    "c:3:79: a cleartext upstream needs a private address; 2001:db8::1 is public\n" },
	{ "cleartext and what verifies",
	    BYTES(UP ROUTE "upstreams: {address: 10.0.0.1, hostname: x, cleartext: true, "
			   "ca_file: /a, crl_file: /b, verify: chain}}\n"),
	    "c:3:51: a cleartext upstream is not verified: remove `hostname'\n"
	    "c:3:81: a cleartext upstream is not verified: remove `ca_file'\n"
	    "c:3:94: a cleartext upstream is not verified: remove `crl_file'\n"
	    "c:3:108: a cleartext upstream is not verified: remove `verify'\n" },
	{ "port 53 over TLS in a route", BYTES(UP ROUTE "upstreams: 10.0.0.1:53}\n"),
	    "c:3:31: port 53 is not for DNS over TLS (RFC 7858 3.1); 853 is\n" },
	{ "G-08 the root", BYTES(UP "routes: {domains: ., answer: nxdomain}\n"),
	    "c:2:19: `.' is the domain of the top-level upstreams (write its servers there)\n" },
	{ "one domain in two routes",
	    BYTES(UP ROUTE "answer: nodata}\n- {domains: [X.Y., '*.x.y'], upstreams: default}\n"
			   "- {domains: ['*.x.Y', 10.0.0.0/8], answer: nxdomain}\n"
			   "- {domains: 10.in-addr.arpa, answer: nxdomain}\n"),
	    "c:4:14: domain `x.y' is in two routes (also line 3)\n"
	    "c:5:14: domain `*.x.y' is in two routes (also line 4)\n"
	    "c:6:13: domain `10.in-addr.arpa' is in two routes (also line 5)\n" },
	{ "domain twice in a route", BYTES(UP "routes: {domains: [x, X.], answer: nodata}\n"),
	    "c:2:23: domain `x' is in its route twice (also line 2)\n" },
	{ "neither upstreams nor answer", BYTES(UP "routes:\n- domains: [x.y]\n- {domains: z}\n"),
	    "c:3:3: a route needs either `upstreams' or `answer'\n"
	    "c:4:3: a route needs either `upstreams' or `answer'\n" },
	{ "upstreams and answer", BYTES(UP ROUTE "upstreams: default, answer: nodata}\n"),
	    "c:3:3: a route needs either `upstreams' or `answer'\n" },
	{ "misspelled answer", BYTES(UP ROUTE "answer: nxdomian}\n- {domains: z, answer: drop}\n"),
	    "c:3:28: expected nxdomain, nodata or refused, found `nxdomian' (did you mean `nxdomain'?)\n"
	    "c:4:24: expected nxdomain, nodata or refused, found `drop'\n" },
	{ "no domains", BYTES(UP "routes: [{answer: nodata}, {domains: [], answer: nodata}]\n"),
	    "c:2:10: missing key `domains' (as in `domains: [corp.example]')\n"
	    "c:2:38: the list is empty (write one entry at least)\n" },
	{ "broken domains",
	    BYTES(UP "routes: {answer: nodata, domains: [a..b, a.*, 10.96.0.1/12, " LABEL_60 "abcd.x, "
		     "'x y', \"b\303\274cher.example\"]}\n"),
	    "c:2:36: domain `a..b' has an empty label\n"
	    "c:2:42: domain `a.*' has a `*' that is not its first label (as in *.corp.example)\n"
	    "c:2:47: `10.96.0.1/12' is not a prefix (as in 10.96.0.0/12, with no bits set after the "
	    "prefix length)\n"
	    "c:2:61: domain `" LABEL_60 "abcd.x' has a label of more than 63 bytes\n"
	    "c:2:129: domain `x y' has a character that no name has in the configuration\n"
	    "c:2:136: domain `b\303\274cher.example' is not ASCII (write it as its A-label, which begins "
	    "with xn--)\n" },
	{ "long domain",
	    BYTES(UP "routes: {answer: nodata, domains: " LABEL_60 "." LABEL_60 "." LABEL_60 "." LABEL_60
		     ".abcdefghij}\n"),
	    "c:2:35: domain `" LABEL_60 "." "abcdefghijklmnopqrs' has more than 255 bytes\n" },
	{ "settings without upstreams",
	    BYTES(UP ROUTE "answer: nodata, order: list}\n"
			   "- {domains: z, upstreams: default, cache: {stale: 0}, fallback: {after: 0}}\n"),
	    "c:3:36: `order' is only for a route with upstreams of its own\n"
	    "c:4:36: `cache' is only for a route with upstreams of its own\n"
	    "c:4:55: `fallback' is only for a route with upstreams of its own\n" },
	{ "min_ttl of a route over max_ttl",
	    BYTES(UP "cache: {max_ttl: 1m}\nroutes: {domains: z, upstreams: 10.0.0.1, "
		     "cache: {min_ttl: 2m}}\n"),
	    "c:3:9: `min_ttl' is longer than `cache.max_ttl' (change one of the two)\n" },
	{ "no route", BYTES(UP "routes: [cluster.local]\n"),
	    "c:2:10: expected keys and values, found a single value (as in `{domains: cluster.local}')\n" },
	{ "upstream of a route that is a listener",
	    BYTES(UP "listen: 127.0.0.1:853\nroutes: {domains: z, upstreams: 127.0.0.1}\n"),
	    "c:3:33: a loop: dot-proxy itself listens on 127.0.0.1:853 (change one of the two)\n" },
	{ "an empty list of ranges", BYTES(UP "allow: []\n"), "c:2:8: the list is empty (write one entry at least)\n" },

	/* Hosts. */
	{ "F-22 hosts: a list", BYTES(UP "hosts: [a, b]\n"),
	    "c:2:8: expected names and addresses, found a list" A_HOST "\n" },
	{ "F-22 hosts: a text", BYTES(UP "hosts: printer\n"),
	    "c:2:8: expected names and addresses, found a single value" A_HOST "\n" },
	{ "F-22 hosts: a path", BYTES(UP "hosts: /etc/hosts\n"),
	    "c:2:8: expected names and addresses, found a path (write `hosts_file: /etc/hosts')\n" },
	{ "F-22 hosts: the address first", BYTES(UP "hosts: {192.168.1.9: printer}\n"),
	    "c:2:9: `192.168.1.9' is an address (write the name first, as in `printer.lan: "
	    "192.168.1.9')\n" },
	{ "F-22 hosts: a wildcard", BYTES(UP "hosts: {'*.lan': 192.168.1.9}\n"),
	    "c:2:9: `*.lan' is no name of a host (write each name)\n" },
	{ "F-22 hosts: an empty label", BYTES(UP "hosts: {a..b: 192.168.1.9, .: 192.168.1.9}\n"),
	    "c:2:9: `a..b' has an empty label\n"
	    "c:2:28: `.' is no name of a host (write each name)\n" },
	{ "F-22 hosts: a label too long", BYTES(UP "hosts:\n  " LABEL_60 "wxyz: 192.168.1.9\n"),
	    "c:3:3: `" LABEL_60 "wxyz' has a label of more than 63 bytes\n" },
	{ "F-22 hosts: a name again", BYTES(UP "hosts: {a.lan: 10.0.0.1, b: 10.0.0.2, A.lan.: 10.0.0.3}\n"),
	    "c:2:39: repeated name `A.lan.' (write one list of its addresses)\n" },
	{ "F-22 hosts: not an address", BYTES(UP "hosts: {a: b, c: [10.0.0.1, 10.0.0]}\n"),
	    "c:2:12: `b'" NO_HOST_ADDRESS "\nc:2:29: `10.0.0'" NO_HOST_ADDRESS "\n" },
	{ "F-22 hosts: a zone", BYTES(UP "hosts: {a: fe80::1%lo}\n"),
	    "c:2:12: `fe80::1%lo'" NO_HOST_ADDRESS "\n" },
	{ "F-22 hosts: a port", BYTES(UP "hosts: {a: 10.0.0.1:53}\n"),
	    "c:2:12: `10.0.0.1:53' has a port (write the address alone)\n" },
	{ "F-22 hosts: no address", BYTES(UP "hosts: {a: , b: []}\n"),
	    "c:2:12: expected an IP address, found nothing\n"
	    "c:2:17: the list is empty (write one address at least)\n" },
	{ "F-22 hosts: keys", BYTES(UP "hosts: {a: {b: 10.0.0.1}}\n"),
	    "c:2:12: expected an IP address, found keys and values\n" },
	{ "F-22 hosts_file: no path", BYTES(UP "hosts_file: ''\n"),
	    "c:2:13: the path is empty (write one, or leave the key out)\n" },
};

static void
refuses(void **state)
{
	const struct refused_row *row = *state;
	struct config_report report;

	assert_null(read_tight(row->text, row->len, &report));
	assert_string_equal(report.errors, row->errors);
	assert_int_equal(report.error_count, count_lines(row->errors));
	assert_null(report.warnings);
	config_report_free(&report);
}

static const struct same_row {
	const char *name;
	const uint8_t *text;
	size_t len;
	const char *same; /* another text with the same meaning */
	const char *warnings;
} same[] = {
	{ "the file of the predecessor",
	    BYTES("DNS_SERVERS:\n  - 1.1.1.1\n  - 8.8.8.8\n"
		  "SOCKET_ADDRESS: 0.0.0.0:5353\n"),
	    "upstreams: [{address: 1.1.1.1, port: 853}, {address: 8.8.8.8, port: 853}]\n"
	    "listen: [0.0.0.0:5353]\n",
	    NULL },
	{ "routes",
	    BYTES("upstreams: [9.9.9.9]\norder: fastest\ncache: {stale: 1h}\nroutes:\n"
		  "- {domains: x, upstreams: {address: 10.0.0.1, cleartext: true}}\n"
		  "- {domains: [X.Y, 10.0.0.0/8], answer: refused}\n"
		  "- {domains: z, upstreams: 10.0.0.1#a, cache: {min_ttl: 1s}, fallback: {after: 0}}\n"),
	    "upstreams: [9.9.9.9]\norder: fastest\ncache: {stale: 1h}\nroutes:\n"
	    "- domains: [x]\n  upstreams: [{address: 10.0.0.1, port: 53, cleartext: true}]\n"
	    "  order: fastest\n  fallback: {after: 400ms}\n  cache: {stale: 1h, min_ttl: 0}\n"
	    "- domains: [X.Y, 10.0.0.0/8]\n  answer: refused\n"
	    "- domains: [z]\n  upstreams: [{address: 10.0.0.1, hostname: a}]\n"
	    "  order: fastest\n  fallback: {after: 0}\n  cache: {stale: 1h, min_ttl: 1s}\n",
	    NULL },
	{ "short forms",
	    BYTES("upstreams: [9.9.9.9#dns.quad9.net, 9.9.9.9:8853#dns.quad9.net, "
		  "'2620:fe::fe#dns.quad9.net', '[2620:fe::fe]:8853']\n"),
	    "upstreams:\n"
	    "- {address: 9.9.9.9, hostname: dns.quad9.net}\n"
	    "- {address: 9.9.9.9, port: 8853, hostname: dns.quad9.net}\n"
	    "- {address: '2620:fe::fe', hostname: dns.quad9.net}\n"
	    "- {address: '2620:fe::fe', port: 8853}\n",
	    NULL },
	{ "a port in the long form's address", BYTES("upstreams: {address: 9.9.9.9:8853}\n"),
	    "upstreams: [{address: 9.9.9.9, port: 8853}]\n", NULL },
	{ "one upstream without a list", BYTES("upstreams: 9.9.9.9\n"), UP, NULL },
	{ "all defaults", BYTES(UP),
	    UP
	    "listen: 0.0.0.0:53\ntls: {}\ntimeouts: {query: 4500ms, connect: 1s, "
	    "handshake: 1500ms, answer: 2s, client_idle: 10s, client_read: 2s, upstream_idle: 8s}\n"
	    "inflight: 1024\nallow: [private]\nprivacy: {padding: true, client_subnet: false}\n"
	    "log: {level: info, queries: false}\n",
	    NULL },
	{ "maps left empty", BYTES(UP "tls:\ntimeouts:\nprivacy:\nlog:\n"), UP, NULL },
	{ "the CA file of all",
	    BYTES("upstreams: [9.9.9.9, {address: 1.1.1.1, ca_file: /b}]\n"
		  "tls: {ca_file: /a}\n"),
	    "upstreams:\n- {address: 9.9.9.9, ca_file: /a}\n- {address: 1.1.1.1, ca_file: /b}\n",
	    NULL },
	{ "the ranges of private", BYTES(UP "allow: private\n"),
	    UP "allow: [127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, "
	       "169.254.0.0/16, '::1', 'fc00::/7', 'fe80::/10']\n",
	    NULL },
	{ "the ranges of any", BYTES(UP "allow: any\n"), UP "allow: [0.0.0.0/0, '::/0']\n", NULL },
	{ "ranges twice", BYTES(UP "allow: [192.0.2.7, any, 192.0.2.7/32, any]\n"),
	    UP "allow: [192.0.2.7/32, 0.0.0.0/0, '::/0']\n", NULL },
	{ "F-08 default steps within a short query", BYTES(UP "timeouts: {query: 1200ms}\n"),
	    UP "timeouts: {query: 1200ms, connect: 1s, handshake: 1200ms, answer: 1200ms}\n",
	    NULL },
	{ "F-08 the limits themselves",
	    BYTES(UP "timeouts: {query: 9s, connect: 9s, handshake: 10ms, "
		     "answer: 10ms, client_idle: 600s, client_read: 60s, upstream_idle: 0}\n"),
	    UP "timeouts: {upstream_idle: 0s, client_read: 1m, client_idle: 10m, answer: 10ms, "
	       "handshake: 10ms, connect: 9000ms, query: 9000ms}\n",
	    NULL },
	{ "F-08 stale answers within a short query", BYTES(UP "timeouts: {query: 1s}\n"),
	    UP "timeouts: {query: 1s, connect: 1s, handshake: 1s, answer: 1s}\n"
	       "cache: {stale_after: 500ms}\n",
	    NULL },
	{ "F-21 the plain relay has no cache",
	    BYTES(UP "inflight: 1\ntimeouts: {upstream_idle: 0}\n"),
	    UP "inflight: 1\ntimeouts: {upstream_idle: 0}\ncache: {size: 0}\n", NULL },
	{ "F-21 the plain relay has a cache where it is said",
	    BYTES(UP "inflight: 1\ntimeouts: {upstream_idle: 0}\ncache:\n"),
	    UP "inflight: 1\ntimeouts: {upstream_idle: 0}\ncache: {size: 4MiB}\n", NULL },
	{ "F-21 all others have one", BYTES(UP "inflight: 1\n"),
	    UP "inflight: 1\ncache: {size: 4096KiB, max_ttl: 24h, min_ttl: 0s, negative_ttl: 60m, "
	       "stale: 86400s, stale_after: 1800ms, prefetch: true}\n",
	    NULL },
	{ "F-21 the default will do for 64 workers", BYTES(UP "workers: 64\n"),
	    UP "workers: 64\ncache: {size: 4MiB}\n", NULL },
	{ "hosts",
	    BYTES(UP "hosts: {printer.lan.: 192.168.1.9, db: [10.0.0.5, 'fd00::0:5'], 10: '::1'}\n"),
	    UP "hosts:\n  printer.lan: [192.168.1.9]\n  db:\n  - 10.0.0.5\n  - fd00::5\n"
	       "  '10': '::1'\n",
	    NULL },
	{ "no hosts", BYTES(UP "hosts: {}\n"), UP, NULL },
	{ "hosts left empty", BYTES(UP "hosts:\n"), UP, NULL },
	{ "a byte order mark", BYTES("\357\273\277" UP), UP, NULL },
	{ "lines that end in CR LF", BYTES("upstreams:\r\n  - 9.9.9.9\r\n"), UP, NULL },
	{ "F-02 an alias", BYTES("upstreams: [&a 9.9.9.9]\nallow: *a\n"), UP "allow: 9.9.9.9\n",
	    NULL },
	{ "a wildcard elsewhere is no loop", BYTES("upstreams: 127.0.0.1\n"),
	    "upstreams: 127.0.0.1:853\nlisten: 0.0.0.0:53\n", NULL },
	{ "a wildcard of IPv4 is no loop for IPv6",
	    BYTES("upstreams: 192.0.2.1\nlisten: 0.0.0.0:853\n"),
	    "upstreams: 192.0.2.1\nlisten: 0.0.0.0:853\n", NULL },
	{ "F-06 the same upstream twice",
	    BYTES(
		"upstreams:\n- 9.9.9.9#a.test\n"
		"- 1.1.1.1\n- {address: 9.9.9.9:853, hostname: A.test}\n"),
	    "upstreams: [9.9.9.9#a.test, 1.1.1.1]\n",
	    "c:4:3: the same upstream as on line 2; left out\n" },
	{ "one address under two names",
	    BYTES("upstreams: [9.9.9.9#a.test, 9.9.9.9#b.test, 9.9.9.9]\n"),
	    "upstreams: [9.9.9.9#a.test, 9.9.9.9#b.test, 9.9.9.9]\n", NULL },
	{ "a listener in the long form", BYTES(UP "listen: {address: 127.0.0.1}\nudp_size: 1232\n"),
	    UP "listen: [{address: 127.0.0.1:53, udp: true, tcp: true}]\n", NULL },
	{ "one listener for UDP, one for TCP",
	    BYTES(UP "listen: [{address: '::1', udp: false}, {address: '::1', tcp: false}]\n"),
	    UP "listen: '[::1]:53'\n", NULL },
	{ "a listener again for UDP alone",
	    BYTES(UP "listen: ['::1', {address: '::1', tcp: false}]\n"), UP "listen: '::1'\n",
	    "c:2:17: the same address as on line 2; left out\n" },
	{ "no loop where TCP is not listened with",
	    BYTES("upstreams: 127.0.0.1\nlisten: {address: 127.0.0.1:853, tcp: false}\n"),
	    "upstreams: 127.0.0.1:853\nlisten: {address: 127.0.0.1:853, tcp: false, udp: true}\n",
	    NULL },
	{ "F-06 the same listener twice", BYTES(UP "listen: ['::1', 127.0.0.1, '[::1]:53']\n"),
	    UP "listen: ['::1', 127.0.0.1]\n",
	    "c:2:28: the same address as on line 2; left out\n" },
};

static void
means_the_same(void **state)
{
	const struct same_row *row = *state;
	struct config_report reports[3];
	struct config *a = read_tight(row->text, row->len, &reports[0]);
	struct config *b = config_read(row->same, strlen(row->same), "c", &reports[1]);
	struct config *c;
	char *printed_a;
	char *printed_b;
	char *printed_c;
	size_t i;

	assert_null(reports[0].errors);
	assert_null(reports[1].errors);
	assert_null(reports[1].warnings);
	if (row->warnings != NULL)
		assert_string_equal(reports[0].warnings, row->warnings);
	else
		assert_null(reports[0].warnings);
	printed_a = print(a);
	printed_b = print(b);
	assert_string_equal(printed_a, printed_b);
	c = config_read(printed_a, strlen(printed_a), "c", &reports[2]);
	assert_null(reports[2].errors);
	assert_null(reports[2].warnings);
	printed_c = print(c);
	assert_string_equal(printed_a, printed_c);
	for (i = 0; i < LENGTH(reports); i++)
		config_report_free(&reports[i]);
	config_free(a);
	config_free(b);
	config_free(c);
	free(printed_a);
	free(printed_b);
	free(printed_c);
}

static void
fills_in_every_field(void **state)
{
	static const char text[] =
	    "listen: [{address: '[::1]:5353', tcp: false}, {address: 127.0.0.2, udp: false}]\n"
	    "udp_size: 600\n"
	    "upstreams: [{address: 192.0.2.1, port: 8853, hostname: dns.test, ca_file: '/\"\\'}, "
	    "'::1']\n"
	    "timeouts: {query: 4s, connect: 11ms, handshake: 12ms, answer: 13ms, client_idle: "
	    "14ms, "
	    "client_read: 15ms, upstream_idle: 16ms}\n"
	    "local_names: false\n"
	    "single_labels: nxdomain\n"
	    "hosts: {Printer.lan.: 192.168.1.9, db: [10.0.0.5, 'fd00::5']}\n"
	    "hosts_file: /etc/hosts\n"
	    "inflight: 17\n"
	    "cache: {size: 8MiB, max_ttl: 18s, min_ttl: 17s, negative_ttl: 19s, stale: 20s, "
	    "stale_after: 21ms, prefetch: false}\n"
	    "allow: [192.0.2.0/24]\n"
	    "privacy: {padding: false, client_subnet: true}\n"
	    "log: {level: warn, queries: true}\n";
	struct config_report report;
	struct config *config = config_read(text, strlen(text), "c", &report);
	struct address a;
	char name[ADDRESS_TEXT_MAX];

	(void)state;
	assert_null(report.errors);
	assert_int_equal(config->listen_count, 2);
	assert_string_equal(address_format(&config->listen[0].address, name), "[::1]:5353");
	assert_string_equal(address_format(&config->listen[1].address, name), "127.0.0.2:53");
	assert_int_equal(config->upstream_count, 2);
	assert_string_equal(address_format(&config->upstreams[0].address, name), "192.0.2.1:8853");
	assert_string_equal(config->upstreams[0].hostname, "dns.test");
	assert_string_equal(config->upstreams[0].ca_file, "/\"\\");
	assert_string_equal(address_format(&config->upstreams[1].address, name), "[::1]:853");
	assert_null(config->upstreams[1].hostname);
	assert_null(config->upstreams[1].ca_file);
	assert_int_equal(config->timeouts.query_ms, 4000);
	assert_int_equal(config->timeouts.connect_ms, 11);
	assert_int_equal(config->timeouts.handshake_ms, 12);
	assert_int_equal(config->timeouts.answer_ms, 13);
	assert_int_equal(config->timeouts.client_idle_ms, 14);
	assert_int_equal(config->timeouts.client_read_ms, 15);
	assert_int_equal(config->timeouts.upstream_idle_ms, 16);
	assert_false(config->local_names);
	assert_true(config->single_labels_here);
	assert_int_equal(config->host_count, 2);
	assert_string_equal(config->hosts[0].name, "Printer.lan");
	assert_int_equal(config->hosts[0].count, 1);
	assert_string_equal(address_format(&config->hosts[0].addresses[0], name), "192.168.1.9:0");
	assert_string_equal(config->hosts[1].name, "db");
	assert_int_equal(config->hosts[1].count, 2);
	assert_string_equal(address_format(&config->hosts[1].addresses[1], name), "[fd00::5]:0");
	assert_string_equal(config->hosts_file, "/etc/hosts");
	assert_int_equal(config->hosts_place.line, 8);
	assert_int_equal(config->hosts_place.column, 13);
	assert_int_equal(config->inflight, 17);
	assert_int_equal(config->udp_size, 600);
	assert_true(config->listen[0].udp && !config->listen[0].tcp);
	assert_true(!config->listen[1].udp && config->listen[1].tcp);
	assert_int_equal(config->allow_count, 1);
	assert_int_equal(address_parse("192.0.2.9", 53, &a), 0);
	assert_true(prefix_contains(&config->allow[0], &a));
	assert_false(config->privacy.padding);
	assert_true(config->privacy.client_subnet);
	assert_int_equal(config->cache.size, 8 << 20);
	assert_int_equal(config->cache.max_ttl_s, 18);
	assert_int_equal(config->cache.min_ttl_s, 17);
	assert_int_equal(config->cache.negative_ttl_s, 19);
	assert_int_equal(config->cache.stale_s, 20);
	assert_int_equal(config->cache.stale_after_ms, 21);
	assert_false(config->cache.prefetch);
	assert_int_equal(config->log.level, LOG_LEVEL_WARN);
	assert_true(config->log.queries);
	config_free(config);
	config_report_free(&report);
}

/* The most ranges that are possible, and one more. */
static void
limits_the_number_of_ranges(void **state)
{
	struct config_report report;
	struct config *config;
	char text[4096];
	size_t len;
	int more;
	int i;

	(void)state;
	for (more = 0; more <= 1; more++) {
		len = (size_t)snprintf(text, sizeof text, UP "allow: [private");
		for (i = 0; i < CONFIG_ALLOW_MAX - 9 + more; i++)
			len += (size_t)snprintf(text + len, sizeof text - len, ", 192.0.2.%d", i);
		len += (size_t)snprintf(text + len, sizeof text - len, "]\n");
		config = config_read(text, len, "c", &report);
		if (more == 0) {
			assert_non_null(config);
			assert_int_equal(config->allow_count, CONFIG_ALLOW_MAX);
		} else {
			assert_null(config);
			assert_int_equal(report.error_count, 1);
			assert_non_null(strstr(report.errors, "more than 64 ranges"));
		}
		config_free(config);
		config_report_free(&report);
	}
}

/* The most names and addresses that are possible, and one more of each. */
static void
limits_the_hosts(void **state)
{
	struct config_report report;
	struct config *config;
	char *text;
	size_t len;
	FILE *out;
	int more, i;

	(void)state;
	for (more = 0; more <= 2; more++) {
		assert_non_null(out = open_memstream(&text, &len));
		fputs(UP "hosts:\n  a: [", out);
		for (i = 0; i < CONFIG_HOST_ADDRESSES_MAX + (more == 1); i++)
			fprintf(out, "10.0.0.%d, ", i);
		fputs("]\n", out);
		for (i = 1; i < CONFIG_HOSTS_MAX + (more == 2); i++)
			fprintf(out, "  n%d: 10.0.0.1\n", i);
		assert_int_equal(fclose(out), 0);
		config = config_read(text, len, "c", &report);
		assert_int_equal(config != NULL, more == 0);
		if (more == 0)
			assert_int_equal(config->host_count, CONFIG_HOSTS_MAX);
		else
			assert_string_equal(report.errors,
			    more == 1 ?
				"c:3:6: 65 addresses of a name that can have 64\n" :
				"c:3:3: 1025 names in a map that takes 1024 (use `hosts_file')\n");
		config_free(config);
		config_report_free(&report);
		free(text);
	}
}

static void
errors_are_counted_without_a_buffer(void **state)
{
	static const char text[] = UP TEN(TEN("x: 1\n"));
	struct config_report report;

	(void)state;
	assert_null(config_read(text, strlen(text), "c", &report));
	assert_int_equal(report.error_count, 100);
	assert_int_equal(count_lines(report.errors), 65);
	assert_non_null(strstr(report.errors,
	    "\nc:65:1: unknown key `x'" ALL_KEYS "\nc: and 36 more\n"));
	config_report_free(&report);
}

/* The least size of the configuration will do, and is not much more than is needed. */
static void
least_cache_is_enough_for_the_workers(void **state)
{
	int workers;

	(void)state;
	for (workers = 1; workers <= CONFIG_WORKERS_MAX; workers++)
		assert_in_range(config_cache_size_min(workers) -
			cache_size_min((size_t)workers), 0, config_cache_size_min(workers) / 16);
}

/* Upstreams are asked for AD where the answer may be kept for a client that wants it. */
static void
asks_for_ad_with_a_cache(void **state)
{
	static const struct {
		const char *text;
		bool asks;
	} rows[] = {
		{ UP, true },
		{ UP "cache: {size: 0}\n", false },
		{ UP "inflight: 1\ntimeouts: {upstream_idle: 0}\n", false },
	};
	struct config_report report;
	struct config *config;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		config = config_read(rows[i].text, strlen(rows[i].text), "c", &report);
		assert_non_null(config);
		assert_int_equal(config->privacy.ask_ad, rows[i].asks);
		config_free(config);
		config_report_free(&report);
	}
}

/* As a comment that is not read back. */
static void
prints_how_much_a_cache_holds(void **state)
{
	static const struct {
		const char *text;
		const char *printed;
	} rows[] = {
		{ UP,
		    "\n  size: 4MiB\n  # space for about 19400 answers of 200 bytes\n  max_ttl: " },
		{ UP "cache: {size: 1GiB}\n",
		    "\n  size: 1GiB\n  # space for about 5032900 answers of 200 bytes\n"
		    "  max_ttl: " },
		{ UP "workers: 1\ncache: {size: 126KiB}\n",
		    "\n  size: 126KiB\n  # space for about 400 answers of 200 bytes\n  max_ttl: " },
		{ UP "cache: {size: 0}\n", "\n  size: 0\n  max_ttl: " },
	};
	struct config_report report;
	struct config *config;
	char *text;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		config = config_read(rows[i].text, strlen(rows[i].text), "c", &report);
		assert_non_null(config);
		text = print(config);
		if (strstr(text, rows[i].printed) == NULL)
			fail_msg("no%sin\n%s", rows[i].printed, text);
		free(text);
		config_free(config);
		config_report_free(&report);
	}
}

static const struct listen_row {
	const char *text;
	const char *listen; /* NULL: refused */
	const char *problem;
} listen_rows[] = {
	{ "127.0.0.1", "127.0.0.1:53", NULL },
	{ "127.0.0.1:5353", "127.0.0.1:5353", NULL },
	{ "[::1]:5353", "[::1]:5353", NULL },
	{ "0.0.0.0:8853", "0.0.0.0:8853", NULL },
	{ "127.0.0.2:853", "127.0.0.2:853", NULL },
	{ "fe80::1%lo", "[fe80::1%lo]:53", NULL },
	{ "localhost", NULL, "is not an IP address" },
	{ "", NULL, "is not an IP address" },
	{ "127.0.0.1:0", NULL, "is not an IP address" },
	{ "fe80::1", NULL, "needs its interface, as in fe80::1%eth0" },
	{ "[::ffff:127.0.0.1]:5353", NULL, MAPPED },
	{ "127.0.0.1:853", NULL, "is an upstream: a loop" },
	{ "0.0.0.0:853", NULL, "is an upstream: a loop" },
	{ "[::]:853", NULL, "is an upstream: a loop" },
	{ "192.0.2.1:853", NULL, "is an upstream: a loop" },
};

static void
replaces_the_listeners(void **state)
{
	static const char file[] = "upstreams: [192.0.2.1, 127.0.0.1]\n"
				   "listen: [10.0.0.1, 10.0.0.2]\n";
	const struct listen_row *row = *state;
	struct config_report report;
	struct config *config = config_read(file, strlen(file), "c", &report);
	char text[ADDRESS_TEXT_MAX];

	assert_non_null(config);
	if (row->listen != NULL) {
		assert_null(config_set_listen(config, row->text));
		assert_int_equal(config->listen_count, 1);
		assert_string_equal(address_format(&config->listen[0].address, text), row->listen);
	} else {
		assert_string_equal(config_set_listen(config, row->text), row->problem);
		assert_int_equal(config->listen_count, 2);
		assert_string_equal(address_format(&config->listen[0].address, text),
		    "10.0.0.1:53");
	}
	config_free(config);
	config_report_free(&report);
}

/* Writes a new file with COUNT times TEXT and stores its name in PATH. */
static void
write_file(char path[static 32], const char *text, size_t count, mode_t mode)
{
	FILE *file;
	int fd;

	(void)snprintf(path, 32, "/tmp/dot-proxy-test-XXXXXX");
	fd = mkstemp(path);
	assert_int_not_equal(fd, -1);
	assert_int_equal(fchmod(fd, mode), 0);
	file = fdopen(fd, "w");
	assert_non_null(file);
	while (count-- > 0)
		assert_int_not_equal(fputs(text, file), EOF);
	assert_int_equal(fclose(file), 0);
}

static const struct file_row {
	const char *name;
	const char *text;
	size_t count;
	mode_t mode;
	const char *errors; /* behind the path; NULL: none */
	const char *warnings;
} file_rows[] = {
	{ "a good file", UP, 1, 0644, NULL, NULL },
	{ "F-01 an empty file", "", 1, 0644, ":1:1: file is empty (write at least `upstreams')\n", NULL },
	{ "F-01 a file too large", "#######\n", 524288 + 1, 0644,
	    ": is larger than 4096 KiB (check that this is the right file)\n", NULL },
	{ "F-01 a file as large as can be", "#######\n", 524288, 0644,
	    ":1:1: file is empty (write at least `upstreams')\n", NULL },
	{ "F-11 world-writable", UP, 1, 0602, NULL,
	    ": file is world-writable (fix: chmod o-w)\n" },
	{ "F-11 world-writable, and wrong", "x", 1, 0666,
	    ":1:1: expected keys and values, found a single value (as in `{upstreams: x}')\n",
	    ": file is world-writable (fix: chmod o-w)\n" },
};

static void
assert_begins(const char *text, const char *path, const char *rest)
{
	char line[256];

	if (rest == NULL) {
		assert_null(text);
		return;
	}
	(void)snprintf(line, sizeof line, "%s%s", path, rest);
	assert_non_null(text);
	assert_memory_equal(text, line, strlen(line));
}

static void
loads_a_file(void **state)
{
	const struct file_row *row = *state;
	struct config_report report;
	struct config *config;
	char path[32];

	write_file(path, row->text, row->count, row->mode);
	config = config_load(path, &report);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(config != NULL, row->errors == NULL);
	assert_begins(report.errors, path, row->errors);
	assert_begins(report.warnings, path, row->warnings);
	config_free(config);
	config_report_free(&report);
}

static void
reports_files_that_cannot_be_read(void **state)
{
	static const char *const rows[][2] = {
		{ "/nonexistent/config.yml", ": No such file or directory (check" },
		{ "/", ": is a directory (give the path of a file" },
		{ "/dev/null/config.yml", ": Not a directory (check" },
		{ "/dev/zero", ": is a device, not a regular file (write the content to a file" },
		{ "/dev/null", ": is a device, not a regular file (write the content to a file" },
	};
	struct config_report report;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		assert_null(config_load(rows[i][0], &report));
		assert_int_equal(report.error_count, 1);
		assert_begins(report.errors, rows[i][0], rows[i][1]);
		config_report_free(&report);
	}
}

static void
names_an_upstream(void **state)
{
	struct config_upstream u = { .hostname = NULL };
	char text[CONFIG_UPSTREAM_NAME_MAX];

	(void)state;
	assert_int_equal(address_parse("1.1.1.1", 853, &u.address), 0);
	assert_string_equal(config_upstream_name(&u, text), "1.1.1.1:853");
	u.hostname = strdup("cloudflare-dns.com");
	assert_string_equal(config_upstream_name(&u, text), "1.1.1.1:853 cloudflare-dns.com");
	free(u.hostname);
}

static void
compares_trust(void **state)
{
	static const struct {
		const char *ca_file[2];
		const char *crl_file[2];
		bool same;
	} rows[] = {
		{ { NULL, NULL }, { NULL, NULL }, true },
		{ { "/a", "/a" }, { NULL, NULL }, true },
		{ { "/a", "/a" }, { "/b", "/b" }, true },
		{ { "/a", NULL }, { NULL, NULL }, false },
		{ { "/a", "/b" }, { NULL, NULL }, false },
		{ { "/a", "/a" }, { "/b", NULL }, false },
		{ { "/a", "/a" }, { "/b", "/c" }, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(rows); i++) {
		struct config_upstream u[2] = { 0 };
		size_t k;

		for (k = 0; k < 2; k++) {
			u[k].ca_file = rows[i].ca_file[k] ? strdup(rows[i].ca_file[k]) : NULL;
			u[k].crl_file = rows[i].crl_file[k] ? strdup(rows[i].crl_file[k]) : NULL;
		}
		assert_int_equal(config_same_trust(&u[0], &u[1]), rows[i].same);
		assert_int_equal(config_same_trust(&u[1], &u[0]), rows[i].same);
		/* In cleartext the files have no meaning. */
		u[0].cleartext = true;
		assert_false(config_same_trust(&u[0], &u[1]));
		assert_false(config_same_trust(&u[1], &u[0]));
		u[1].cleartext = true;
		assert_true(config_same_trust(&u[0], &u[1]));
		for (k = 0; k < 2; k++) {
			free(u[k].ca_file);
			free(u[k].crl_file);
		}
	}
}

static void
frees_null(void **state)
{
	(void)state;
	config_free(NULL);
	config_report_free(&(struct config_report){ 0 });
}

int
main(void)
{
	static const struct CMUnitTest singles[] = {
		cmocka_unit_test(fills_in_every_field),
		cmocka_unit_test(limits_the_number_of_ranges),
		cmocka_unit_test(limits_the_hosts),
		cmocka_unit_test(errors_are_counted_without_a_buffer),
		cmocka_unit_test(least_cache_is_enough_for_the_workers),
		cmocka_unit_test(asks_for_ad_with_a_cache),
		cmocka_unit_test(prints_how_much_a_cache_holds),
		cmocka_unit_test(reports_files_that_cannot_be_read),
		cmocka_unit_test(names_an_upstream),
		cmocka_unit_test(compares_trust),
		cmocka_unit_test(frees_null),
	};

	return RUN_ROWS(refused, refuses) +
	    RUN_ROWS(same, means_the_same) +
	    RUN_ROWS(listen_rows, replaces_the_listeners) +
	    RUN_ROWS(file_rows, loads_a_file) +
	    cmocka_run_group_tests_name("config", singles, NULL, NULL);
}
