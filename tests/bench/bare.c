/*
 * The least that a first query over TLS can cost: trust is loaded, it waits as a daemon has
 * waited (the processor has forgotten by then), and then it times a connection, a handshake
 * with verification, one query and its answer.
 */

#include <sys/socket.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "wire.h"

static void
die(const char *what)
{
	perror(what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static SSL *
new_tls(const char *ca_file, const char *hostname)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	if (context == NULL || SSL_CTX_load_verify_file(context, ca_file) != 1)
		die(ca_file);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if ((ssl = SSL_new(context)) == NULL || SSL_set1_host(ssl, hostname) != 1 ||
	    SSL_set_tlsext_host_name(ssl, hostname) != 1)
		die(hostname);
	return ssl;
}

static int
connect_to(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	to.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || fd == -1 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == -1 ||
	    connect(fd, (struct sockaddr *)&to, sizeof to) == -1)
		die(address);
	return fd;
}

/* Asks for bare.bench.example; an answer is all that is wanted. */
static void
ask(SSL *ssl)
{
	static const uint8_t query[] = "\0\44\52\52\1\0\0\1\0\0\0\0\0\0"
				       "\4bare\5bench\7example\0\0\1\0\1";
	uint8_t answer[LENGTH_PREFIX + MESSAGE_MAX];
	size_t have = 0;
	size_t n;

	if (SSL_write_ex(ssl, query, sizeof query - 1, &n) != 1)
		die("query");
	while (have < LENGTH_PREFIX || have < LENGTH_PREFIX + get16(answer)) {
		if (SSL_read_ex(ssl, answer + have, sizeof answer - have, &n) != 1)
			die("answer");
		have += n;
	}
}

int
main(int argc, char **argv)
{
	SSL *ssl;
	int64_t began_us;

	if (argc != 6) {
		(void)fputs("usage: bare CA-FILE HOSTNAME ADDRESS PORT WAIT-MS\n", stderr);
		return 2;
	}
	ssl = new_tls(argv[1], argv[2]);
	(void)poll(NULL, 0, (int)strtol(argv[5], NULL, 10));
	began_us = now_us();
	if (SSL_set_fd(ssl, connect_to(argv[3], argv[4])) != 1 || SSL_connect(ssl) != 1)
		die("handshake");
	ask(ssl);
	(void)printf("us=%lld\n", (long long)(now_us() - began_us));
	return 0;
}
