/*
 * A fast server for DNS over TLS that always gives the same answers: one A record to each
 * query of type A, nothing to the others. One thread and one epoll set; every connection is
 * pipelined, and delayed responses are kept in a timer wheel.
 *
 * It serves until its standard input ends. For each line that comes there, it writes one
 * with its counters. From a line `silent' to a line `speak' it reads queries and sends no
 * responses.
 */

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "wire.h"

enum {
	DESCRIPTORS_MAX = 65536,
	EVENTS_AT_ONCE = 256,
	BACKLOG = 4096,
	IN_LEN = 65536 + LENGTH_PREFIX,
	ANSWERS_WAITING_MAX = 65536,
	TICK_US = 20,          /* maximum lateness of a response */
	TICKS_IN_MS = 1000 / TICK_US,
	WHEEL_TICKS = 524288, /* longer than any delay */
	DELAY_MAX_MS = 8000,
	TTL_S = 3600, /* of each record: longer than any measurement */
	TYPE_OPT = 41
};

static const char usage[] =
    "usage: upstream [-a ADDRESS] [-p PORT] [-d MS] [-e N] -c FILE\n"
    "\n"
    "Answers DNS over TLS with one A record, until standard input ends; for each line that\n"
    "comes there, one line with counters goes to standard output. `silent' there makes it\n"
    "give no answers, `speak' makes it go on.\n"
    "\n"
    "  -a ADDRESS  listen on this IPv4 address (default: 127.0.0.1)\n"
    "  -p PORT     and on this port (default: 8530)\n"
    "  -c FILE     the certificate, its chain and its key, in PEM\n"
    "  -d MS       answer after so many milliseconds (default: 0); a name whose first label\n"
    "              begins with dMS-, such as d1000-x.test, is answered after those instead\n"
    "  -e N        end each connection after N answers (default: never)\n"
    "  -h          print this\n";

struct connection {
	SSL *ssl;
	uint64_t number; /* of this one, never used again */
	bool ready;      /* the handshake is over */
	bool blocked;    /* not read until it is writable */
	bool ended;      /* end of input */
	bool closing;    /* the server has ended it, and waits for the other side */
	int answered;
	uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
	size_t out_cap;
};

/* An answer that has to wait. */
struct answer {
	struct answer *next;
	int fd;
	uint64_t number; /* of the connection that it is for */
	size_t len;
	uint8_t bytes[LENGTH_PREFIX + MESSAGE_MAX];
};

static struct {
	int set;
	SSL_CTX *tls;
	struct sockaddr_in address;
	int delay_ms;
	int answers_max; /* on a connection; 0: any number */
	bool silent;
	struct connection *connections[DESCRIPTORS_MAX];
	struct answer *wheel[WHEEL_TICKS];
	struct answer *wheel_last[WHEEL_TICKS];
	struct answer *vacant;
	size_t waiting;    /* answers on the wheel */
	int64_t turned_to; /* the wheel: all before this tick is done */
	unsigned long connected;
	unsigned long open;
	unsigned long most; /* open at a time since the last line of counters */
	unsigned long full; /* full handshakes */
	unsigned long resumed;
	unsigned long queries;
} s;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
watch(int fd, int how, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (epoll_ctl(s.set, how, fd, &event) == -1)
		die("epoll_ctl");
}

/* ---- answers ---- */

/* The length in bytes of the name at P, with its end; 0 if it is malformed or compressed. */
static size_t
name_len(const uint8_t *p, size_t have)
{
	size_t len = 0;

	while (len < have && p[len] != 0) {
		if (p[len] > 63)
			return 0;
		len += 1U + p[len];
	}
	return len < have && len < 255 ? len + 1 : 0;
}

static int
delay_of(const uint8_t *name)
{
	int ms = 0;
	unsigned i;

	if (name[0] == 0 || (name[1] | 0x20) != 'd')
		return s.delay_ms;
	for (i = 2; i <= name[0] && name[i] >= '0' && name[i] <= '9' && ms <= DELAY_MAX_MS; i++)
		ms = ms * 10 + name[i] - '0';
	if (i == 2 || i > name[0] || name[i] != '-' || ms > DELAY_MAX_MS)
		return s.delay_ms;
	return ms;
}

static bool
has_opt(const uint8_t *behind, size_t have)
{
	return have >= 11 && behind[0] == 0 && get16(behind + 1) == TYPE_OPT;
}

/*
 * Writes the response to a query of LEN bytes, preceded by its length; returns the size, 0 if
 * the query is malformed. *DELAY_MS is the time until it must be sent.
 */
static size_t
write_answer(const uint8_t *query, size_t len, uint8_t *out, int *delay_ms)
{
	static const uint8_t opt[11] = { 0, 0, TYPE_OPT, 0x04, 0xd0 };
	static const uint8_t record[12] = { 0xc0, HEADER_LEN, 0, TYPE_A, 0, CLASS_IN, 0, 0,
		TTL_S >> 8, TTL_S & 255, 0, 4 };
	const uint8_t *name = query + HEADER_LEN;
	uint8_t *message = out + LENGTH_PREFIX;
	size_t name_bytes;
	size_t end;
	bool edns;
	bool address;
	uint32_t hash;

	if (len < HEADER_LEN || get16(query + 4) != 1)
		return 0;
	name_bytes = name_len(name, len - HEADER_LEN);
	end = HEADER_LEN + name_bytes + 4;
	if (name_bytes == 0 || end > len)
		return 0;
	*delay_ms = delay_of(name);
	address = get16(name + name_bytes) == TYPE_A;
	edns = get16(query + 10) > 0 && has_opt(query + end, len - end);
	memcpy(message, query, end);
	message[2] = (uint8_t)(0x80 | (query[2] & 0x79)); /* QR; opcode and RD of the query */
	message[3] = (uint8_t)(0x80 | (query[3] & 0x10)); /* RA; CD of the query */
	memset(message + 6, 0, 6);
	message[7] = address;
	message[11] = edns;
	if (address) {
		memcpy(message + end, record, sizeof record);
		end += sizeof record;
		hash = hash_name(name, name_bytes);
		put16(message + end, hash >> 16);
		put16(message + end + 2, hash & 0xffff);
		end += 4;
	}
	if (edns) {
		memcpy(message + end, opt, sizeof opt);
		end += sizeof opt;
	}
	put16(out, (unsigned)end);
	return LENGTH_PREFIX + end;
}

/* ---- connections ---- */

static void
close_connection(int fd)
{
	struct connection *c = s.connections[fd];

	if (c->ready)
		(void)SSL_shutdown(c->ssl);
	ERR_clear_error();
	SSL_free(c->ssl);
	(void)close(fd);
	free(c->in);
	free(c->out);
	free(c);
	s.connections[fd] = NULL;
	s.open--;
}

static void
append(struct connection *c, const uint8_t *bytes, size_t len)
{
	if (s.answers_max > 0 && c->answered == s.answers_max)
		return;
	c->answered++;
	if (c->out_len + len > c->out_cap) {
		c->out_cap = 2 * (c->out_len + len);
		if ((c->out = realloc(c->out, c->out_cap)) == NULL)
			die("answers");
	}
	memcpy(c->out + c->out_len, bytes, len);
	c->out_len += len;
}

/* Ends it in order, as soon as all is sent: what the client still sends must not cause a reset. */
static void
begin_to_close(int fd)
{
	struct connection *c = s.connections[fd];

	if (s.answers_max == 0 || c->answered < s.answers_max || c->out_len > 0)
		return;
	c->closing = true;
	(void)SSL_shutdown(c->ssl);
	(void)shutdown(fd, SHUT_WR);
}

/* Sends what there is. False when the connection is lost, and closed. */
static bool
flush(int fd)
{
	struct connection *c = s.connections[fd];
	size_t done = 0;
	size_t n;
	int rc = 1;

	ERR_clear_error();
	while (done < c->out_len &&
	    (rc = SSL_write_ex(c->ssl, c->out + done, c->out_len - done, &n)) == 1)
		done += n;
	memmove(c->out, c->out + done, c->out_len - done);
	c->out_len -= done;
	if (rc != 1 && SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_WRITE) {
		close_connection(fd);
		return false;
	}
	if ((rc != 1) != c->blocked) {
		c->blocked = rc != 1;
		watch(fd, EPOLL_CTL_MOD, c->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
	}
	begin_to_close(fd);
	return true;
}

static void
put_on_wheel(int fd, const uint8_t *bytes, size_t len, int delay_ms)
{
	int64_t due = now_us() / TICK_US + (int64_t)delay_ms * TICKS_IN_MS + 1;
	size_t slot = (size_t)due % WHEEL_TICKS;
	struct answer *a = s.vacant;

	if (a == NULL) {
		(void)fprintf(stderr, "upstream: more than %d answers wait\n", ANSWERS_WAITING_MAX);
		exit(1);
	}
	s.vacant = a->next;
	a->next = NULL;
	a->fd = fd;
	a->number = s.connections[fd]->number;
	a->len = len;
	memcpy(a->bytes, bytes, len);
	if (s.wheel[slot] == NULL)
		s.wheel[slot] = a;
	else
		s.wheel_last[slot]->next = a;
	s.wheel_last[slot] = a;
	s.waiting++;
}

/* Answers the whole queries that have come, at once or later. False: they are none. */
static bool
answer_all(int fd)
{
	struct connection *c = s.connections[fd];
	uint8_t bytes[LENGTH_PREFIX + MESSAGE_MAX];
	size_t used = 0;
	size_t len;
	size_t n;
	int delay_ms = 0;

	while (c->in_len - used >= LENGTH_PREFIX &&
	    c->in_len - used - LENGTH_PREFIX >= (len = get16(c->in + used))) {
		if ((n = write_answer(c->in + used + LENGTH_PREFIX, len, bytes, &delay_ms)) == 0)
			return false;
		s.queries++;
		if (!s.silent && delay_ms > 0)
			put_on_wheel(fd, bytes, n, delay_ms);
		else if (!s.silent)
			append(c, bytes, n);
		used += LENGTH_PREFIX + len;
	}
	memmove(c->in, c->in + used, c->in_len - used);
	c->in_len -= used;
	return true;
}

/* Goes on with the handshake. False when it is not over, or the connection has been closed. */
static bool
shakes_hands(int fd)
{
	struct connection *c = s.connections[fd];
	int error;
	int rc;

	if (c->ready)
		return true;
	ERR_clear_error();
	if ((rc = SSL_accept(c->ssl)) == 1) {
		c->ready = true;
		if (SSL_session_reused(c->ssl) == 1)
			s.resumed++;
		else
			s.full++;
		return true;
	}
	error = SSL_get_error(c->ssl, rc);
	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		close_connection(fd);
	return false;
}

static void
take_the_rest(int fd)
{
	struct connection *c = s.connections[fd];
	ssize_t n;

	while ((n = recv(fd, c->in, IN_LEN, 0)) > 0)
		continue;
	if (n == 0 || errno != EAGAIN)
		close_connection(fd);
}

static void
serve(int fd)
{
	struct connection *c = s.connections[fd];
	size_t n;
	int rc;

	if (c->closing) {
		take_the_rest(fd);
		return;
	}
	if (!shakes_hands(fd))
		return;
	ERR_clear_error();
	while ((rc = SSL_read_ex(c->ssl, c->in + c->in_len, IN_LEN - c->in_len, &n)) == 1) {
		c->in_len += n;
		if (!answer_all(fd)) {
			close_connection(fd);
			return;
		}
	}
	c->ended = SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ;
	if (c->out_len > 0 && !flush(fd))
		return;
	if (c->ended)
		close_connection(fd);
}

static void
welcome(int listener)
{
	static uint64_t number;
	struct connection *c;
	int on = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
		if (fd >= DESCRIPTORS_MAX || (c = calloc(1, sizeof *c)) == NULL ||
		    (c->in = malloc(IN_LEN)) == NULL || (c->ssl = SSL_new(s.tls)) == NULL ||
		    SSL_set_fd(c->ssl, fd) != 1)
			die("connection");
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		SSL_set_accept_state(c->ssl);
		c->number = ++number;
		s.connections[fd] = c;
		s.connected++;
		if (++s.open > s.most)
			s.most = s.open;
		watch(fd, EPOLL_CTL_ADD, EPOLLIN);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept");
}

/* ---- time ---- */

static void
hand_over(struct answer *a)
{
	struct connection *c = s.connections[a->fd];

	if (c == NULL || c->number != a->number || c->closing)
		return;
	append(c, a->bytes, a->len);
	/* One write for all that are due together: the last of them sends. */
	if (a->next == NULL || a->next->number != a->number)
		(void)flush(a->fd);
}

static void
turn_wheel(void)
{
	int64_t now = now_us() / TICK_US;
	struct answer *a;
	struct answer *next;

	/* After a long pause this skips many empty slots. */
	if (s.waiting == 0)
		s.turned_to = now;
	for (; s.turned_to <= now; s.turned_to++) {
		size_t slot = (size_t)s.turned_to % WHEEL_TICKS;

		for (a = s.wheel[slot]; a != NULL; a = next) {
			next = a->next;
			hand_over(a);
			a->next = s.vacant;
			s.vacant = a;
			s.waiting--;
		}
		s.wheel[slot] = NULL;
	}
}

/* The time until the next answer is due; NULL when none waits. */
static const struct timespec *
next_due(struct timespec *left)
{
	int64_t tick = s.turned_to;
	int64_t us;

	if (s.waiting == 0)
		return NULL;
	while (s.wheel[(size_t)tick % WHEEL_TICKS] == NULL)
		tick++;
	us = tick * TICK_US - now_us();
	if (us < 0)
		us = 0;
	left->tv_sec = us / 1000000;
	left->tv_nsec = us % 1000000 * 1000;
	return left;
}

/* ---- life ---- */

static void
report(void)
{
	char line[256];
	ssize_t n = read(STDIN_FILENO, line, sizeof line);

	if (n <= 0)
		exit(0);
	if (strncmp(line, "silent\n", (size_t)n) == 0)
		s.silent = true;
	else if (strncmp(line, "speak\n", (size_t)n) == 0)
		s.silent = false;
	(void)printf("connected=%lu open=%lu most=%lu full=%lu resumed=%lu queries=%lu\n",
	    s.connected, s.open, s.most, s.full, s.resumed, s.queries);
	(void)fflush(stdout);
	s.most = s.open;
}

static void
loop(int listener)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	struct timespec left;
	int count;
	int i;

	for (;;) {
		count = epoll_pwait2(s.set, events, EVENTS_AT_ONCE, next_due(&left), NULL);
		for (i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				welcome(listener);
			else if (events[i].data.fd == STDIN_FILENO)
				report();
			else if (s.connections[events[i].data.fd] != NULL)
				serve(events[i].data.fd);
		}
		turn_wheel();
	}
}

static int
listen_on(void)
{
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1 ||
	    bind(fd, (struct sockaddr *)&s.address, sizeof s.address) == -1 ||
	    listen(fd, BACKLOG) == -1)
		die("listen");
	return fd;
}

static void
set_up(const char *certificate)
{
	static const unsigned char context[] = "bench";
	struct rlimit limit;
	size_t i;
	struct answer *a = calloc(ANSWERS_WAITING_MAX, sizeof *a);

	if (a == NULL || (s.tls = SSL_CTX_new(TLS_server_method())) == NULL)
		die("memory");
	for (i = 0; i < ANSWERS_WAITING_MAX; i++) {
		a[i].next = s.vacant;
		s.vacant = &a[i];
	}
	(void)SSL_CTX_set_min_proto_version(s.tls, TLS1_2_VERSION);
	(void)SSL_CTX_set_mode(s.tls,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_session_id_context(s.tls, context, sizeof context);
	if (SSL_CTX_use_certificate_chain_file(s.tls, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey_file(s.tls, certificate, SSL_FILETYPE_PEM) != 1) {
		ERR_print_errors_fp(stderr);
		exit(1);
	}
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_TIMERSLACK, 1); /* 50 us by default */
	if ((s.set = epoll_create1(EPOLL_CLOEXEC)) == -1)
		die("epoll");
	s.turned_to = now_us() / TICK_US;
}

static int
number(const char *text, int max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < 0 || n > max) {
		(void)fprintf(stderr, "upstream: not a number from 0 to %d: %s\n", max, text);
		exit(2);
	}
	return (int)n;
}

int
main(int argc, char **argv)
{
	const char *certificate = NULL;
	int listener;
	int option;

	s.address.sin_family = AF_INET;
	s.address.sin_port = htons(8530);
	s.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	while ((option = getopt(argc, argv, "a:p:c:d:e:h")) != -1) {
		switch (option) {
		case 'a':
			if (inet_pton(AF_INET, optarg, &s.address.sin_addr) != 1) {
				(void)fprintf(stderr, "upstream: no IPv4 address: %s\n", optarg);
				return 2;
			}
			break;
		case 'p':
			s.address.sin_port = htons((uint16_t)number(optarg, 65535));
			break;
		case 'c':
			certificate = optarg;
			break;
		case 'd':
			s.delay_ms = number(optarg, DELAY_MAX_MS);
			break;
		case 'e':
			s.answers_max = number(optarg, 1000000);
			break;
		default:
			(void)fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (certificate == NULL || optind < argc) {
		(void)fputs(usage, stderr);
		return 2;
	}
	set_up(certificate);
	listener = listen_on();
	watch(listener, EPOLL_CTL_ADD, EPOLLIN);
	watch(STDIN_FILENO, EPOLL_CTL_ADD, EPOLLIN);
	(void)printf("ready\n");
	(void)fflush(stdout);
	loop(listener);
}
