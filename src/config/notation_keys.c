#include "config/notation.h"

#include <stddef.h>
#include <string.h>

#define LIST_OF_UPSTREAMS "write `upstreams: [9.9.9.9#dns.quad9.net]'"
#define ALWAYS_TLS "leave it out: upstreams are always queried over verified TLS"
#define CACHE_SIZE "write `cache: {size: 4MiB}'"
#define ONE_CACHE "leave it out: `cache: {size: ...}' is for all that is kept"
#define NO_LOOKUP "leave it out: names are not looked up; give addresses in `upstreams'"
#define NO_SERVER_TLS "leave it out: clients are answered over UDP and TCP only"
#define IN_A_ROUTE "write `routes: [{domains: corp.example, upstreams: 10.1.1.1#dns.corp.example}]'"
#define AT_THE_TOP "its options are at the top level here, under other names"

static const struct {
	const char *key;
	const char *here; /* what to write instead */
} keys[] = {
	/* Keys of dot-proxy, at another place. */
	{ "address", "write `listen: ADDRESS', or under `upstreams' a list" },
	{ "after", "write `fallback: {after: ...}'" },
	{ "answer", "write `timeouts: {answer: ...}'" },
	{ "ca_file", "write `tls: {ca_file: ...}'" },
	{ "cleartext", "write it next to `address', in an entry of `upstreams' of a route" },
	{ "client_idle", "write `timeouts: {client_idle: ...}'" },
	{ "client_read", "write `timeouts: {client_read: ...}'" },
	{ "client_subnet", "write `privacy: {client_subnet: ...}'" },
	{ "domains", IN_A_ROUTE },
	{ "connect", "write `timeouts: {connect: ...}'" },
	{ "crl_file", "write `tls: {crl_file: ...}'" },
	{ "fast_open", "write `tls: {fast_open: ...}'" },
	{ "handshake", "write `timeouts: {handshake: ...}'" },
	{ "hostname", "write it next to `address', in an entry of `upstreams'" },
	{ "level", "write `log: {level: ...}'" },
	{ "max", "write `clients: {max: ...}'" },
	{ "max_ttl", "write `cache: {max_ttl: ...}'" },
	{ "min_ttl", "write `cache: {min_ttl: ...}'" },
	{ "negative_ttl", "write `cache: {negative_ttl: ...}'" },
	{ "padding", "write `privacy: {padding: ...}'" },
	{ "per_address", "write `clients: {per_address: ...}'" },
	{ "pins", "write it next to `address', in an entry of `upstreams'" },
	{ "port", "write it after the address, as in `listen: 127.0.0.1:53'" },
	{ "prefetch", "write `cache: {prefetch: true}', the default" },
	{ "queries", "write `log: {queries: ...}'" },
	{ "query", "write `timeouts: {query: ...}'" },
	{ "size", "write `cache: {size: ...}'" },
	{ "stale", "write `cache: {stale: ...}'" },
	{ "stale_after", "write `cache: {stale_after: ...}'" },
	{ "upstream_idle", "write `timeouts: {upstream_idle: ...}'" },
	{ "verify", "write it next to `address', in an entry of `upstreams'" },

	/* stubby */
	{ "address_data", "write `address'" },
	{ "appdata_dir", "leave it out: nothing is kept on disk" },
	{ "digest", "write only the value, as in `pins: [...]'" },
	{ "dns_transport_list", ALWAYS_TLS },
	{ "dnssec", "leave it out: DNSSEC is not validated here" },
	{ "dnssec_return_status", "leave it out: DNSSEC is not validated here" },
	{ "edns_client_subnet_private", "write `privacy: {client_subnet: false}', the default" },
	{ "idle_timeout", "write `timeouts: {upstream_idle: 8s}'" },
	{ "limit_outstanding_queries", "write `inflight'" },
	{ "listen_addresses", "write `listen'" },
	{ "log_level", "write `log: {level: ...}'" },
	{ "resolution_type", "leave it out: queries are always forwarded" },
	{ "round_robin_upstreams", "write `order': list or fastest" },
	{ "timeout", "write `timeouts: {query: 4500ms}'" },
	{ "tls_auth_name", "write `hostname'" },
	{ "tls_authentication", ALWAYS_TLS },
	{ "tls_backoff_time", "leave it out: the time grows from 1 s to 30 s" },
	{ "tls_ca_file", "write `tls: {ca_file: ...}'" },
	{ "tls_ca_path", "write `tls: {ca_file: ...}', with one file" },
	{ "tls_cipher_list", "leave it out: ciphers are those of OpenSSL" },
	{ "tls_ciphersuites", "leave it out: ciphers are those of OpenSSL" },
	{ "tls_connection_retries", "leave it out: retries are limited by `timeouts'" },
	{ "tls_max_version", "leave it out: TLS 1.2 and 1.3 are spoken" },
	{ "tls_min_version", "leave it out: TLS 1.2 and 1.3 are spoken" },
	{ "tls_port", "write `port'" },
	{ "tls_pubkey_pinset", "write `pins'" },
	{ "tls_query_padding_blocksize", "write `privacy: {padding: true}', the default" },
	{ "upstream_recursive_servers", "write `upstreams'" },
	{ "value", "write only the value, as in `pins: [...]'" },

	/* unbound */
	{ "access-control", "write `allow: [10.0.0.0/8]'" },
	{ "cache-max-negative-ttl", "write `cache: {negative_ttl: 1h}'" },
	{ "cache-max-ttl", "write `cache: {max_ttl: 1d}'" },
	{ "cache-min-ttl", "write `cache: {min_ttl: 5s}'" },
	{ "chroot", "leave it out: workers cannot open files" },
	{ "do-daemonize", "leave it out: it stays in the foreground" },
	{ "edns-buffer-size", "write `udp_size'" },
	{ "forward-addr", LIST_OF_UPSTREAMS },
	{ "forward-first", ALWAYS_TLS },
	{ "forward-host", NO_LOOKUP },
	{ "forward-ssl-upstream", ALWAYS_TLS },
	{ "forward-tls-upstream", ALWAYS_TLS },
	{ "forward-no-cache", "write `cache: {size: 0}'" },
	{ "forward-zone", LIST_OF_UPSTREAMS ", or for a domain `routes'" },
	{ "hide-identity", "leave it out: dot-proxy does not identify itself" },
	{ "hide-version", "leave it out: dot-proxy does not identify itself" },
	{ "local-zone", "write `routes: [{domains: ads.example, answer: nxdomain}]'" },
	{ "stub-zone", IN_A_ROUTE },
	{ "interface", "write `listen'" },
	{ "local-data", "write `hosts: {NAME: ADDRESS}'" },
	{ "local-data-ptr", "write `hosts: {NAME: ADDRESS}', which has PTR too" },
	{ "log-queries", "write `log: {queries: true}'" },
	{ "max-udp-size", "write `udp_size'" },
	{ "msg-cache-size", CACHE_SIZE },
	{ "neg-cache-size", ONE_CACHE },
	{ "num-queries-per-thread", "write `inflight'" },
	{ "num-threads", "write `workers'" },
	{ "outgoing-num-tcp", "leave it out: connections are opened as needed" },
	{ "pad-queries", "write `privacy: {padding: true}', the default" },
	{ "remote-control", "leave it out: signals are the only control" },
	{ "rrset-cache-size", ONE_CACHE },
	{ "serve-expired", "write `cache: {stale: 1d}', the default" },
	{ "serve-expired-client-timeout", "write `cache: {stale_after: 1800ms}'" },
	{ "serve-expired-reply-ttl", "leave it out: it is 30 s (RFC 8767 5)" },
	{ "serve-expired-ttl", "write `cache: {stale: 1d}'" },
	{ "server", AT_THE_TOP },
	{ "tls-cert-bundle", "write `tls: {ca_file: ...}'" },
	{ "tls-upstream", ALWAYS_TLS },
	{ "username", "write `user'" },
	{ "unblock-lan-zones", "write `local_names: false'" },
	{ "verbosity", "write `log: {level: info}'" },

	/* CoreDNS */
	{ "bind", "write `listen'" },
	{ "errors", "leave it out: errors are always logged" },
	{ "expire", "write `timeouts: {upstream_idle: 8s}'" },
	{ "except", "write `routes: [{domains: www.corp.example, upstreams: default}]'" },
	{ "force_tcp", ALWAYS_TLS },
	{ "forward", LIST_OF_UPSTREAMS },
	{ "health", "leave it out: `dot-proxy healthcheck' asks" },
	{ "health_check", "leave it out: a server that is down is tried by real queries" },
	{ "max_concurrent", "write `inflight'" },
	{ "max_fails", "leave it out: a server that is down is tried by real queries" },
	{ "policy", "write `order': list or fastest" },
	{ "prefer_udp", ALWAYS_TLS },
	{ "tls_servername", "write `hostname', in an entry of `upstreams'" },

	/* dnsproxy */
	{ "all-servers", "write `fallback: {after: 0}'" },
	{ "bootstrap", NO_LOOKUP },
	{ "cache-optimistic", "write `cache: {stale_after: 0}'" },
	{ "cache-size", CACHE_SIZE },
	{ "edns", "write `privacy: {client_subnet: true}'" },
	{ "fastest-addr", "write `order: fastest'" },
	{ "hosts-files", "write `hosts_file: /etc/hosts'" },
	{ "http3", NO_SERVER_TLS },
	{ "https-port", NO_SERVER_TLS },
	{ "insecure", ALWAYS_TLS },
	{ "listen-addrs", "write `listen'" },
	{ "listen-ports", "write `listen: 0.0.0.0:53', with the port after the address" },
	{ "output", "leave it out: the log goes to standard error" },
	{ "quic-port", NO_SERVER_TLS },
	{ "ratelimit", "write `clients: {per_address: 500}'" },
	{ "refuse-any", "leave it out: queries of all types are forwarded" },
	{ "tls-crt", NO_SERVER_TLS },
	{ "tls-key", NO_SERVER_TLS },
	{ "tls-min-version", "leave it out: TLS 1.2 and 1.3 are spoken" },
	{ "tls-port", NO_SERVER_TLS },
	{ "udp-buf-size", "leave it out: the buffer is as large as the kernel allows" },
	{ "upstream-mode", "write `order: fastest', or `fallback: {after: 0}' to ask all" },
	{ "verbose", "write `log: {level: debug}'" },

	/* cloudflared, AdGuard Home, blocky, systemd-resolved, dnscrypt-proxy */
	{ "Cache", "write `cache: {size: 4MiB}', or 0 for no cache" },
	{ "DNS", LIST_OF_UPSTREAMS },
	{ "DNSOverTLS", ALWAYS_TLS },
	{ "ReadEtcHosts", "write `hosts_file: /etc/hosts'" },
	{ "ResolveUnicastSingleLabel", "write `single_labels: nxdomain', or forward" },
	{ "StaleRetentionSec", "write `cache: {stale: 1d}'" },
	{ "bind_hosts", "write `listen'" },
	{ "bootstrapDns", NO_LOOKUP },
	{ "bootstrap_dns", NO_LOOKUP },
	{ "cache_max_ttl", "write `cache: {max_ttl: 1d}'" },
	{ "cache_min_ttl", "write `cache: {min_ttl: 5s}'" },
	{ "cache_neg_max_ttl", "write `cache: {negative_ttl: 1h}'" },
	{ "cache_size", CACHE_SIZE },
	{ "caching", CACHE_SIZE },
	{ "customDNS", "write `hosts: {NAME: ADDRESS}'" },
	{ "fallback_dns", "write them last in `upstreams'" },
	{ "groups", "write the servers as a list right under `upstreams'" },
	{ "proxy-dns", AT_THE_TOP },
	{ "proxy-dns-address", "write `listen: 127.0.0.1:53'" },
	{ "proxy-dns-bootstrap", NO_LOOKUP },
	{ "proxy-dns-port", "write `listen: 127.0.0.1:53'" },
	{ "proxy-dns-upstream", LIST_OF_UPSTREAMS },
	{ "server_names", LIST_OF_UPSTREAMS },
	{ "upstream_dns", "write `upstreams'" },

	/* blocky, dnscrypt-proxy, dnsmasq */
	{ "conditional", IN_A_ROUTE },
	{ "forwarding_rules", IN_A_ROUTE },
	{ "rev-server", "write `routes: [{domains: 10.0.0.0/8, upstreams: 10.1.1.1}]'" },

	/* Common names. */
	{ "dns", LIST_OF_UPSTREAMS },
	{ "host", "write `address', and for its name `hostname'" },
	{ "ip", "write `address'" },
	{ "name", "write `hostname'" },
	{ "nameserver", LIST_OF_UPSTREAMS },
	{ "nameservers", LIST_OF_UPSTREAMS },
	{ "resolvers", LIST_OF_UPSTREAMS },
	{ "server_name", "write `hostname'" },
	{ "servername", "write `hostname'" },
	{ "servers", LIST_OF_UPSTREAMS },
	{ "sni", "write `hostname'" },
	{ "threads", "write `workers'" },
};

const char *
notation_key(const char *key)
{
	struct address address;
	size_t i;

	for (i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (strcmp(key, keys[i].key) == 0)
			return keys[i].here;
	if (address_parse(key, 0, &address) == 0)
		return "write a list of entries such as 192.0.2.1#host.name";
	return NULL;
}
