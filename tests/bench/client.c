/*
 * Load for a DNS server, from many addresses of 127.0.0.0/8: either as `dig +tcp' makes it,
 * or at a fixed rate, whether the answers come or not. Each query has a name of its own, or
 * one of a few, and an answer counts only when it holds the address that belongs to that name
 * (wire.h).
 *
 * Writes one line: how many were answered right, how many not, and the times it took.
 */

#include <sys/epoll.h>
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

#include "wire.h"

enum {
	CLIENTS_MAX = 10000,
	EVENTS_AT_ONCE = 256,
	IDS = 65536,
	IN_LEN = 16384,
	RECORD_LEN = 16, /* of type A, its name a pointer */
	TIMES_MAX = 4000000,
	SECOND_US = 1000000,
	TICK_NS = 10,
	TICKS_IN_US = 100,
	ADDRESSES = 1000, /* default */
	LOOK_ROUND_US = 100000,
	RATE_MAX = 100000
};

static const char usage[] =
    "usage: client [-c CLIENTS] [-a N] [-l MS] [-w MS] [-n N] [-o N] [-r RATE] [-d MS] [-s N]\n"
    "           [-u N] MODE ADDRESS PORT\n"
    "       client -h\n"
    "\n"
    "Asks the DNS server at an IPv4 address, and says how it went.\n"
    "\n"
    "  each        each client connects, asks once, closes, and begins again when it is answered\n"
    "  each-udp    each client asks, and asks again when it is answered\n"
    "  kept        each client keeps a connection, with so many queries on their way as -o says\n"
    "  idle        the clients connect, and do nothing until standard input ends; those that\n"
    "              are closed connect again\n"
    "  byte       as idle, but each sends the first byte of a query\n"
    "  tcp, udp    queries leave at a fixed rate, each client in turn; times count from when a\n"
    "              query should have left\n"
    "\n"
    "  -c CLIENTS  so many at once (default: 1); their sockets come from 1000 addresses in turn\n"
    "  -a N        each, each-udp: from so many addresses instead, each query from the next one\n"
    "  -l MS       ask for so long (default: 1000); what is asked by then is waited for\n"
    "  -w MS       wait so long for an answer (default: 5000, as dig)\n"
    "  -n N        each, each-udp: ask no more than so often in all\n"
    "  -o N        kept: so many for each client (default: 1)\n"
    "  -r RATE     queries a second (default: 1000)\n"
    "  -d MS       ask for names that the upstream answers after so many milliseconds; each,\n"
    "              each-udp, kept: the clients begin one after the other in that time, before\n"
    "              it counts, so that they do not all wait for the same moment ever after\n"
    "  -s N        every N-th name is one that it answers after 1000 ms; they are counted apart\n"
    "  -u N        ask for N different names only, one after the other, the same in each run\n"
    "              (default: never for the same name again)\n"
    "  -h          print this\n";

enum mode { EACH, EACH_UDP, KEPT, IDLE, BYTE, TCP, UDP };

/* One query that is on its way; free when it began at 0. */
struct pending {
	int64_t began_us;
	int64_t began_ns;
	uint32_t hash;
	uint16_t question_len;
	bool slow;
};

struct client {
	int fd; /* -1: none */
	unsigned next_id;
	bool sent;             /* EACH, EACH_UDP: the query is; BYTE: the byte */
	struct pending one;    /* EACH, EACH_UDP */
	struct pending *by_id; /* KEPT, TCP, UDP */
	uint8_t *in;
	size_t in_len;
	uint8_t query[LENGTH_PREFIX + MESSAGE_MAX];
	size_t query_len;
};

/* Times that queries took. */
struct times {
	uint32_t *ticks; /* of 10 ns */
	size_t count;
};

static struct {
	enum mode mode;
	struct sockaddr_in server;
	size_t clients;
	uint32_t addresses;
	uint32_t next_address;
	bool afresh; /* EACH, EACH_UDP: each query has a socket of its own */
	int64_t length_us;
	int64_t response_timeout_us;
	unsigned long limit; /* of queries; 0: none */
	unsigned outstanding; /* KEPT: for each client */
	int64_t rate;
	int delay_ms;
	unsigned long slow_every;
	unsigned long names; /* different ones; 0: each query has its own */
	int set;
	struct client *table;
	int64_t start_us;
	int64_t end_us;
	unsigned long asked;
	double in_time; /* answered between start and end */
	unsigned long failed;
	unsigned long wrong;  /* of those: a wrong response */
	unsigned long on_way; /* neither answered nor failed */
	struct times fast;
	struct times slow;
} s;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- queries ---- */

/* Writes the next query, with its length in front, and stores the expected response. */
static void
make_query(struct client *c, unsigned id, struct pending *p)
{
	uint8_t *message = c->query + LENGTH_PREFIX;
	size_t end = HEADER_LEN;
	char label[64];
	int len;
	int delay_ms = s.delay_ms;

	s.asked++;
	s.on_way++;
	p->slow = s.slow_every > 0 && s.asked % s.slow_every == 0;
	if (p->slow)
		delay_ms = 1000;
	if (s.names > 0)
		len = snprintf(label, sizeof label, "d%d-%lu", delay_ms, s.asked % s.names);
	else
		len = snprintf(label, sizeof label, "d%d-%lu-%d", delay_ms, s.asked, (int)getpid());
	memset(message, 0, HEADER_LEN);
	put16(message, id);
	message[2] = 0x01; /* RD */
	message[5] = 1;
	message[end++] = (uint8_t)len;
	memcpy(message + end, label, (size_t)len);
	end += (size_t)len;
	memcpy(message + end, "\5bench\7example", 15);
	end += 15;
	p->hash = hash_name(message + HEADER_LEN, end - HEADER_LEN);
	put16(message + end, TYPE_A);
	put16(message + end + 2, CLASS_IN);
	end += 4;
	p->question_len = (uint16_t)(end - HEADER_LEN);
	put16(c->query, (unsigned)end);
	c->query_len = LENGTH_PREFIX + end;
}

/* Whether the response has no error and the right address in its first record. */
static bool
is_right(const uint8_t *message, size_t len, const struct pending *p)
{
	size_t at = (size_t)HEADER_LEN + p->question_len;

	if (len < at + RECORD_LEN || (message[2] & 0x80) == 0 || (message[3] & 0x0f) != 0 ||
	    get16(message + 6) != 1)
		return false;
	/* Some write the name out, most point to it. */
	at += (message[at] & 0xc0) == 0xc0 ? 2 : p->question_len - 4U;
	at += RECORD_LEN - 2 - 4;
	return len >= at + 4 && get16(message + at) == p->hash >> 16 &&
	    get16(message + at + 2) == (p->hash & 0xffff);
}

static void
fail(struct pending *p)
{
	p->began_us = 0;
	s.failed++;
	s.on_way--;
}

static void
count(struct pending *p, const uint8_t *message, size_t len)
{
	struct times *t = p->slow ? &s.slow : &s.fast;
	int64_t ended_ns = now_ns();
	int64_t now = ended_ns / 1000;
	int64_t from = p->began_us > s.start_us ? p->began_us : s.start_us;
	int64_t to = now < s.end_us ? now : s.end_us;

	if (!is_right(message, len, p)) {
		s.wrong++;
		fail(p);
		return;
	}
	if (t->count < TIMES_MAX)
		t->ticks[t->count++] = (uint32_t)((ended_ns - p->began_ns) / TICK_NS);
	/* By its part between start and end: whole rounds would be too few. */
	if (now == p->began_us)
		s.in_time++;
	else if (from < to)
		s.in_time += (double)(to - from) / (double)(now - p->began_us);
	p->began_us = 0;
	s.on_way--;
}

/* ---- sockets ---- */

static bool
is_udp(void)
{
	return s.mode == UDP || s.mode == EACH_UDP;
}

/* 127.7.0.1 to 127.7.39.250, so that local ports do not run out. */
static struct sockaddr_in
next_source(void)
{
	uint32_t n = s.next_address++ % s.addresses;
	struct sockaddr_in a = { .sin_family = AF_INET };

	a.sin_addr.s_addr = htonl(0x7f070000U + (n / 250 << 8) + n % 250 + 1);
	return a;
}

static void
watch(struct client *c, int how, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(s.set, how, c->fd, &event) == -1)
		die("epoll_ctl");
}

/* False when it has failed at once. */
static bool
open_socket(struct client *c)
{
	struct sockaddr_in from = next_source();
	int type = is_udp() ? SOCK_DGRAM : SOCK_STREAM;
	int on = 1;

	if ((c->fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) == -1)
		die("socket");
	if (type == SOCK_STREAM) {
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		(void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	}
	if (bind(c->fd, (struct sockaddr *)&from, sizeof from) == -1)
		die("bind");
	if (connect(c->fd, (struct sockaddr *)&s.server, sizeof s.server) == -1 &&
	    errno != EINPROGRESS) {
		(void)close(c->fd);
		c->fd = -1;
		return false;
	}
	c->in_len = 0;
	return true;
}

static void
close_socket(struct client *c)
{
	if (c->fd != -1)
		(void)close(c->fd);
	c->fd = -1;
}

/* ---- each: one query at a time ---- */

static bool
may_ask(int64_t now)
{
	return now < s.end_us && (s.limit == 0 || s.asked < s.limit);
}

static void
give_up(struct client *c)
{
	if (s.afresh)
		close_socket(c);
	fail(&c->one);
}

static void
send_one(struct client *c)
{
	size_t skip = is_udp() ? LENGTH_PREFIX : 0;
	ssize_t n = send(c->fd, c->query + skip, c->query_len - skip, MSG_NOSIGNAL);

	c->sent = n == (ssize_t)(c->query_len - skip);
	if (!c->sent && (n != -1 || errno != EAGAIN))
		give_up(c);
}

static void
begin(struct client *c)
{
	c->one.began_ns = now_ns();
	c->one.began_us = c->one.began_ns / 1000;
	make_query(c, c->next_id++ & 0xffff, &c->one);
	c->sent = false;
	if (s.afresh && !open_socket(c)) {
		fail(&c->one);
		return;
	}
	/* On loopback the connection is mostly up by now. */
	send_one(c);
	if (s.afresh && c->fd != -1)
		watch(c, EPOLL_CTL_ADD, c->sent ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

/* Processes the received message if it answers the last query. */
static void
finish(struct client *c, const uint8_t *message, size_t len)
{
	if (len < HEADER_LEN || get16(message) != get16(c->query + LENGTH_PREFIX)) {
		s.wrong++;
		if (s.mode == EACH)
			give_up(c);
		return;
	}
	if (s.afresh)
		close_socket(c);
	count(&c->one, message, len);
}

static void
go_on(struct client *c)
{
	ssize_t n;

	if (!c->sent && c->one.began_us != 0) {
		send_one(c);
		if (c->sent)
			watch(c, EPOLL_CTL_MOD, EPOLLIN);
		return;
	}
	n = recv(c->fd, c->in + c->in_len, IN_LEN - c->in_len, 0);
	if (n == -1 && errno == EAGAIN)
		return;
	if (is_udp()) {
		if (n > 0 && c->one.began_us != 0)
			finish(c, c->in, (size_t)n);
		return;
	}
	if (n <= 0) {
		give_up(c);
		return;
	}
	c->in_len += (size_t)n;
	if (c->in_len >= LENGTH_PREFIX && c->in_len - LENGTH_PREFIX >= get16(c->in))
		finish(c, c->in + LENGTH_PREFIX, get16(c->in));
}

/* ---- kept; tcp, udp: at a fixed rate ---- */

/* The connection is closed, and its queries with it. */
static void
open_anew(struct client *c)
{
	size_t i;

	close_socket(c);
	for (i = 0; i < IDS; i++)
		if (c->by_id[i].began_us != 0)
			fail(&c->by_id[i]);
	if (open_socket(c))
		watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void
send_at(struct client *c, int64_t due_us)
{
	unsigned id = c->next_id++ % IDS;
	struct pending *p = &c->by_id[id];
	size_t skip = is_udp() ? LENGTH_PREFIX : 0;

	if (p->began_us != 0)
		fail(p);
	p->began_us = due_us;
	p->began_ns = due_us * 1000;
	make_query(c, id, p);
	if (c->fd == -1)
		open_anew(c);
	else if (send(c->fd, c->query + skip, c->query_len - skip, MSG_NOSIGNAL) !=
	    (ssize_t)(c->query_len - skip))
		fail(p);
}

static void
take_answer(struct client *c, const uint8_t *message, size_t len)
{
	struct pending *p;
	int64_t now;

	if (len < HEADER_LEN)
		return;
	p = &c->by_id[get16(message)];
	if (p->began_us == 0)
		s.wrong++; /* unsolicited, or too late */
	else
		count(p, message, len);
	if (s.mode == KEPT && may_ask(now = now_us()))
		send_at(c, now);
}

static void
receive_datagrams(struct client *c)
{
	ssize_t n;

	while ((n = recv(c->fd, c->in, IN_LEN, 0)) > 0)
		take_answer(c, c->in, (size_t)n);
}

static void
receive_stream(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, IN_LEN - c->in_len, 0);
	size_t used = 0;
	size_t len;

	if (n == -1 && errno == EAGAIN)
		return;
	if (n <= 0) {
		open_anew(c);
		return;
	}
	c->in_len += (size_t)n;
	while (c->in_len - used >= LENGTH_PREFIX &&
	    c->in_len - used - LENGTH_PREFIX >= (len = get16(c->in + used))) {
		take_answer(c, c->in + used + LENGTH_PREFIX, len);
		used += LENGTH_PREFIX + len;
	}
	memmove(c->in, c->in + used, c->in_len - used);
	c->in_len -= used;
}

/* Sends what is due; returns when the next one is. */
static int64_t
send_due(int64_t now)
{
	int64_t due;

	for (;;) {
		due = s.start_us + (int64_t)s.asked * SECOND_US / s.rate;
		if (due > now || due >= s.end_us)
			return due;
		send_at(&s.table[s.asked % s.clients], due);
	}
}

/* ---- the loop ---- */

/* Every client that does nothing begins. */
static void
begin_free(int64_t now)
{
	size_t i;

	for (i = 0; i < s.clients && may_ask(now); i++)
		if (s.table[i].one.began_us == 0)
			begin(&s.table[i]);
}

static void
give_up_late(int64_t now)
{
	size_t i;

	for (i = 0; i < s.clients; i++) {
		struct client *c = &s.table[i];

		if (c->one.began_us != 0 && now - c->one.began_us > s.response_timeout_us)
			give_up(c);
	}
}

static void
ready(struct client *c)
{
	if (c->fd == -1)
		return;
	if (s.mode == TCP || s.mode == KEPT) {
		receive_stream(c);
	} else if (s.mode == UDP) {
		receive_datagrams(c);
	} else {
		go_on(c);
		if (c->one.began_us == 0 && may_ask(now_us()))
			begin(c);
	}
}

static void
wait_until(int64_t by_us)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int64_t left = by_us - now_us();
	struct timespec timeout = { .tv_sec = 0 };
	int n;
	int i;

	if (left > 0) {
		timeout.tv_sec = left / SECOND_US;
		timeout.tv_nsec = left % SECOND_US * 1000;
	}
	n = epoll_pwait2(s.set, events, EVENTS_AT_ONCE, &timeout, NULL);
	for (i = 0; i < n; i++)
		ready(events[i].data.ptr);
}

/*
 * The N-th of COUNT that are to begin does so now. They are spread over the time that the
 * upstream takes: if all began at once, its answers would all come at once, too, and each
 * client would wait for those before it in every round.
 */
static void
await_turn(size_t n, size_t count)
{
	int64_t delay_us = (int64_t)s.delay_ms * 1000;
	int64_t turn_us = s.start_us - delay_us + delay_us * (int64_t)n / (int64_t)count;

	while (now_us() < turn_us)
		wait_until(turn_us);
}

static void
load_each(void)
{
	int64_t look_round_us;
	int64_t now;
	size_t i;

	for (i = 0; i < s.clients && may_ask(now_us()); i++) {
		await_turn(i, s.clients);
		begin(&s.table[i]);
	}
	look_round_us = now = now_us();
	while (may_ask(now) || s.on_way > 0) {
		if (now >= look_round_us) {
			give_up_late(now);
			begin_free(now);
			look_round_us = now + LOOK_ROUND_US;
		}
		wait_until(look_round_us);
		now = now_us();
	}
	if (now < s.end_us)
		s.length_us = now - s.start_us;
}

static void
begin_kept(void)
{
	size_t i;
	unsigned n;

	for (n = 0; n < s.outstanding; n++) {
		for (i = 0; i < s.clients; i++) {
			await_turn(n * s.clients + i, s.outstanding * s.clients);
			send_at(&s.table[i], now_us());
		}
	}
}

/* Queries without a response at the timeout have failed. */
static void
load_open(void)
{
	int64_t now;
	int64_t next;

	if (s.mode == KEPT)
		begin_kept();
	now = now_us();
	while (now < s.end_us || (s.on_way > 0 && now < s.end_us + s.response_timeout_us)) {
		next = s.end_us + s.response_timeout_us;
		if (now < s.end_us)
			next = s.mode == KEPT ? s.end_us : send_due(now);
		wait_until(next);
		now = now_us();
	}
	s.failed += s.on_way;
}

/* ---- idle, byte: clients that only stay connected ---- */

static void
open_idle(struct client *c)
{
	c->sent = s.mode == IDLE;
	if (open_socket(c))
		watch(c, EPOLL_CTL_ADD, c->sent ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void
idle_ready(struct client *c, uint32_t events)
{
	char byte = 0;
	bool lost = false;

	if ((events & EPOLLOUT) != 0) {
		lost = send(c->fd, &byte, 1, MSG_NOSIGNAL) != 1;
		c->sent = true;
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	}
	if ((events & ~(uint32_t)EPOLLOUT) != 0)
		lost = lost || recv(c->fd, &byte, 1, 0) <= 0;
	if (lost)
		close_socket(c);
}

/*
 * Returns when standard input ends. A closed client reconnects, but not at once, since the cost
 * of reconnecting is not measured here.
 */
static void
stay_idle(void)
{
	struct epoll_event input = { .events = EPOLLIN };
	struct epoll_event events[EVENTS_AT_ONCE];
	unsigned long again = 0;
	bool end = false;
	size_t i;
	int n;

	if (epoll_ctl(s.set, EPOLL_CTL_ADD, STDIN_FILENO, &input) == -1)
		die("standard input");
	(void)printf("connected=%zu\n", s.clients);
	(void)fflush(stdout);
	while (!end) {
		for (i = 0; i < s.clients; i++) {
			if (s.table[i].fd != -1)
				continue;
			open_idle(&s.table[i]);
			again++;
		}
		n = epoll_wait(s.set, events, EVENTS_AT_ONCE, LOOK_ROUND_US / 1000);
		while (--n >= 0) {
			if (events[n].data.ptr == NULL)
				end = true;
			else
				idle_ready(events[n].data.ptr, events[n].events);
		}
		if (!end)
			(void)usleep(LOOK_ROUND_US);
	}
	(void)printf("again=%lu\n", again);
}

/* ---- what came of it ---- */

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
report_time(const char *name, const char *which, uint32_t ticks)
{
	(void)printf(" %s_%s_us=%u.%02u", name, which, ticks / TICKS_IN_US, ticks % TICKS_IN_US);
}

static void
report_times(const char *name, struct times *t)
{
	if (t->count == 0)
		return;
	qsort(t->ticks, t->count, sizeof t->ticks[0], compare);
	report_time(name, "p50", t->ticks[t->count / 2]);
	report_time(name, "p99", t->ticks[t->count * 99 / 100]);
	report_time(name, "max", t->ticks[t->count - 1]);
}

static void
report(void)
{
	(void)printf("asked=%lu answered=%zu in_time=%.1f failed=%lu wrong=%lu qps=%.1f", s.asked,
	    s.fast.count + s.slow.count, s.in_time, s.failed, s.wrong,
	    s.in_time * SECOND_US / (double)s.length_us);
	report_times("fast", &s.fast);
	report_times("slow", &s.slow);
	(void)printf("\n");
}

static void
set_up(void)
{
	struct rlimit limit;
	size_t i;

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	s.table = calloc(s.clients, sizeof *s.table);
	s.fast.ticks = calloc(TIMES_MAX, sizeof *s.fast.ticks);
	s.slow.ticks = calloc(TIMES_MAX, sizeof *s.slow.ticks);
	if (s.table == NULL || s.fast.ticks == NULL || s.slow.ticks == NULL)
		die("memory");
	if ((s.set = epoll_create1(EPOLL_CLOEXEC)) == -1)
		die("epoll");
	for (i = 0; i < s.clients; i++) {
		struct client *c = &s.table[i];

		c->fd = -1;
		if (s.mode == IDLE || s.mode == BYTE) {
			open_idle(c);
			continue;
		}
		if ((c->in = malloc(IN_LEN)) == NULL)
			die("memory");
		if (s.mode != EACH && s.mode != EACH_UDP &&
		    (c->by_id = calloc(IDS, sizeof *c->by_id)) == NULL)
			die("memory");
		if (s.afresh)
			continue;
		if (!open_socket(c))
			die("connect");
		watch(c, EPOLL_CTL_ADD, EPOLLIN);
	}
}

static long
number(const char *text, long min, long max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < min || n > max) {
		(void)fprintf(stderr, "client: not a number from %ld to %ld: %s\n", min, max, text);
		exit(2);
	}
	return n;
}

static bool
read_options(int argc, char **argv)
{
	static const char *const modes[] = { "each", "each-udp", "kept", "idle", "byte", "tcp",
	    "udp" };
	int option;

	s.clients = 1;
	s.addresses = ADDRESSES;
	s.length_us = SECOND_US;
	s.response_timeout_us = 5 * (int64_t)SECOND_US;
	s.outstanding = 1;
	s.rate = 1000;
	while ((option = getopt(argc, argv, "c:a:l:w:n:o:r:d:s:u:h")) != -1) {
		switch (option) {
		case 'c':
			s.clients = (size_t)number(optarg, 1, CLIENTS_MAX);
			break;
		case 'a':
			s.addresses = (uint32_t)number(optarg, 1, CLIENTS_MAX);
			s.afresh = true;
			break;
		case 'l':
			s.length_us = 1000 * number(optarg, 1, 600000);
			break;
		case 'w':
			s.response_timeout_us = 1000 * number(optarg, 1, 40000);
			break;
		case 'n':
			s.limit = (unsigned long)number(optarg, 1, TIMES_MAX);
			break;
		case 'o':
			s.outstanding = (unsigned)number(optarg, 1, IDS / 2);
			break;
		case 'r':
			s.rate = number(optarg, 1, RATE_MAX);
			break;
		case 'd':
			s.delay_ms = (int)number(optarg, 0, 4000);
			break;
		case 's':
			s.slow_every = (unsigned long)number(optarg, 1, 1000000);
			break;
		case 'u':
			s.names = (unsigned long)number(optarg, 1, 1000000);
			break;
		default:
			(void)fputs(usage, option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	if (argc - optind != 3)
		return false;
	while (s.mode <= UDP && strcmp(argv[optind], modes[s.mode]) != 0)
		s.mode++;
	s.afresh = s.mode == EACH || (s.mode == EACH_UDP && s.afresh);
	s.server.sin_family = AF_INET;
	s.server.sin_port = htons((uint16_t)number(argv[optind + 2], 1, 65535));
	return s.mode <= UDP && inet_pton(AF_INET, argv[optind + 1], &s.server.sin_addr) == 1;
}

int
main(int argc, char **argv)
{
	if (!read_options(argc, argv)) {
		(void)fputs(usage, stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	set_up();
	if (s.mode == IDLE || s.mode == BYTE) {
		stay_idle();
		return 0;
	}
	s.start_us = now_us();
	if (s.mode != TCP && s.mode != UDP)
		s.start_us += (int64_t)s.delay_ms * 1000;
	s.end_us = s.start_us + s.length_us;
	if (s.mode == EACH || s.mode == EACH_UDP)
		load_each();
	else
		load_open();
	report();
	return 0;
}
