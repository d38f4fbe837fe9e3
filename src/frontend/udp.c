#include "frontend/udp.h"

#include <sys/socket.h>

#include <errno.h>
#include <string.h>

#include "base/pages.h"
#include "base/waitset.h"
#include "format/dns.h"
#include "frontend/acceptor.h"
#include "query/dedup.h"
#include "query/quota.h"
#include "query/reply.h"

enum {
	/* One of so many slots is left for TCP. */
	SHARE_OF_TCP = 64,

	/* Datagrams received from a socket at a time; other workers may have the rest. */
	RECEIVE_AT_ONCE = 64,
	SEND_AT_ONCE = 64,

	/* Longer than any query. The stride is one cache line more: see pages_stride(). */
	DATAGRAM_MAX = 4096,
	DATAGRAM_STRIDE = DATAGRAM_MAX + 64,

	/* Linux calls the loopback interface so in every network namespace. */
	LOOPBACK_INTERFACE = 1,

	/* How long to wait before a socket whose send buffer is full is tried again. */
	SEND_PAUSE_MS = 1,

	/*
	 * Eviction begins when no slot is free and the candidate is this old, since a short outage
	 * of the upstreams is waited for. Then it keeps one of so many slots free, until it has not
	 * been needed for this long.
	 */
	EVICTION_AGE_MS = 1500,
	SHARE_OF_RESERVE = 16,

	/* How often the age is checked while no slot is free. */
	EVICTION_INTERVAL_MS = 50
};

/* Room for all that is received with a datagram: IP_PKTINFO, IPV6_PKTINFO, SO_RXQ_OVFL. */
struct control {
	_Alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo)) +
	    CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint32_t))];
};

struct udp_socket {
	int fd;
	struct address bound;
	bool ready;                 /* there may be something to read */
	uint32_t overflow;          /* what the kernel had dropped when the last datagram came */
	bool has_overflowed;        /* that has changed since udp_next_overflow() */
	struct query_list answered; /* to be sent, in this order */
};

struct udp {
	const struct config *config;
	struct acceptor acceptor;
	struct query_table *table;
	struct quota *quota;
	struct dedup *dedup;
	struct query_list *in_flight; /* of each address with any, the oldest first */
	size_t in_flight_count;
	size_t in_flight_max;
	struct udp_socket sockets[CONFIG_LISTEN_MAX];
	size_t count;
	size_t first; /* to be looked at in the next turn: each in its turn */
	bool draining;
	struct deadline retry_at;    /* then what a socket did not take is tried again */
	size_t unsent;               /* answers of all sockets that wait to be sent */
	size_t reserve;              /* slots that eviction keeps free */
	struct deadline evict_until; /* eviction goes on until then */
	unsigned drops[UDP_DROP_REASONS];
	struct address limited;
	bool has_overflowed; /* one of the sockets */
	bool shut_down;      /* a socket takes no answers any more */
	struct mmsghdr headers[RECEIVE_AT_ONCE];
	struct iovec pieces[RECEIVE_AT_ONCE];
	struct address sources[RECEIVE_AT_ONCE];
	struct control controls[RECEIVE_AT_ONCE];
	uint8_t datagrams[RECEIVE_AT_ONCE][DATAGRAM_STRIDE];
};

/* ---- opening and closing ---- */

static int
add_socket(struct udp *u, int fd, struct failure *why)
{
	struct udp_socket *s = &u->sockets[u->count];
	socklen_t len = sizeof s->bound;

	s->fd = fd;
	TAILQ_INIT(&s->answered);
	if (getsockname(fd, &s->bound.sa, &len) == -1)
		return fail_errno(why, "UDP");
	u->count++;
	return 0;
}

struct udp *
udp_new(const struct config *config, const int *sockets, size_t count, int set,
    struct query_table *table, struct quota *quota, struct failure *why)
{
	struct udp *u = pages_new(1, sizeof *u);
	size_t slots = query_table_free_slots(table);
	size_t i;

	if (u == NULL) {
		(void)fail_errno(why, "UDP");
		return NULL;
	}
	u->config = config;
	acceptor_init(&u->acceptor, set, WAITSET_DATAGRAMS, sockets, count);
	u->table = table;
	u->quota = quota;
	u->in_flight_max = slots - slots / SHARE_OF_TCP;
	u->dedup = dedup_new(u->in_flight_max);
	u->in_flight = pages_new(quota_capacity(quota), sizeof *u->in_flight);
	if (u->dedup == NULL || u->in_flight == NULL) {
		(void)fail_errno(why, "UDP");
		udp_free(u);
		return NULL;
	}
	u->retry_at = DEADLINE_NEVER;
	u->reserve = slots / SHARE_OF_RESERVE;
	if (u->reserve > RECEIVE_AT_ONCE)
		u->reserve = RECEIVE_AT_ONCE;
	for (i = 0; i < RECEIVE_AT_ONCE; i++)
		u->pieces[i] = (struct iovec){ u->datagrams[i], DATAGRAM_MAX };
	for (i = 0; i < count; i++) {
		if (add_socket(u, sockets[i], why) == -1) {
			udp_free(u);
			return NULL;
		}
	}
	if (acceptor_listen(&u->acceptor, deadline_now()) == -1) {
		(void)fail_errno(why, "UDP");
		udp_free(u);
		return NULL;
	}
	return u;
}

/* Takes a query out of all tables, and frees its slot. */
static void
release(struct udp *u, struct query *q)
{
	dedup_remove(q);
	TAILQ_REMOVE(&u->in_flight[q->addr->index], q, addr_link);
	u->in_flight_count--;
	quota_remove_udp(u->quota, q->addr);
	quota_leave(u->quota, q->addr);
	query_free(u->table, q);
}

static void
release_answered(struct udp *u, struct udp_socket *s, struct query *q)
{
	TAILQ_REMOVE(&s->answered, q, client_link);
	u->unsent--;
	release(u, q);
}

void
udp_free(struct udp *u)
{
	struct query *q;
	size_t i;

	if (u == NULL)
		return;
	for (i = 0; i < u->count; i++)
		while ((q = TAILQ_FIRST(&u->sockets[i].answered)) != NULL)
			release_answered(u, &u->sockets[i], q);
	acceptor_stop(&u->acceptor);
	dedup_free(u->dedup);
	pages_free(u->in_flight, quota_capacity(u->quota), sizeof *u->in_flight);
	pages_free(u, 1, sizeof *u);
}

/* ---- reading queries ---- */

static size_t
free_slots(const struct udp *u)
{
	size_t in_table = query_table_free_slots(u->table);
	size_t for_udp = u->in_flight_max - u->in_flight_count;

	return in_table < for_udp ? in_table : for_udp;
}

void
udp_ready(struct udp *u, size_t socket)
{
	u->sockets[socket].ready = true;
}

void
udp_pause_listening(struct udp *u, struct deadline until)
{
	acceptor_pause(&u->acceptor, until);
}

bool
udp_has_work(const struct udp *u)
{
	size_t i;

	for (i = 0; i < u->count; i++)
		if (u->sockets[i].ready)
			return free_slots(u) > 0;
	return false;
}

static void
note_overflow(struct udp *u, struct udp_socket *s, uint32_t overflow)
{
	if (overflow == s->overflow)
		return;
	s->overflow = overflow;
	s->has_overflowed = true;
	u->has_overflowed = true;
}

/* Reads the destination; false when it was not a unicast address. */
static bool
read_v4_destination(const struct cmsghdr *c, struct query_peer *peer)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	peer->to.in.sin_family = AF_INET;
	peer->to.in.sin_addr = info.ipi_spec_dst;
	peer->interface = (unsigned)info.ipi_ifindex;
	return info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
}

static bool
read_v6_destination(const struct cmsghdr *c, struct query_peer *peer)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	peer->to.in6.sin6_family = AF_INET6;
	peer->to.in6.sin6_addr = info.ipi6_addr;
	peer->interface = info.ipi6_ifindex;
	return !IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
}

/* Reads what the kernel says about a datagram. False when it came by broadcast or multicast. */
static bool
read_control(struct udp *u, struct udp_socket *s, struct msghdr *message, struct query_peer *peer)
{
	struct cmsghdr *c;
	uint32_t overflow;
	bool unicast = true;

	for (c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			unicast = read_v4_destination(c, peer) && unicast;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			unicast = read_v6_destination(c, peer) && unicast;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&overflow, CMSG_DATA(c), sizeof overflow);
			note_overflow(u, s, overflow);
		}
	}
	return unicast;
}

/* Whether the address is one of IPv4, mapped or not; then *V4 is that address. */
static bool
is_v4(const struct address *a, uint32_t *v4)
{
	if (a->sa.sa_family != AF_INET6)
		*v4 = a->in.sin_addr.s_addr;
	else if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		memcpy(v4, &a->in6.sin6_addr.s6_addr[12], sizeof *v4);
	else
		return false;
	*v4 = ntohl(*v4);
	return true;
}

/* Whether a client can have it: not unspecified, "this network", multicast or broadcast. */
static bool
is_host(const struct address *a)
{
	uint32_t v4;

	if (is_v4(a, &v4))
		return !IN_MULTICAST(v4) && v4 >> 24 != 0 && v4 != INADDR_BROADCAST;
	return !IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr) &&
	    !IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

static bool
is_loopback(const struct address *a)
{
	uint32_t v4;

	return is_v4(a, &v4) ? v4 >> 24 == IN_LOOPBACKNET : IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

/* Whether a datagram claims to come from this very socket: it would get its own answer. */
static bool
is_ourselves(const struct udp_socket *s, const struct query_peer *peer)
{
	if (address_port(&peer->from) != address_port(&s->bound))
		return false;
	if (peer->to.sa.sa_family == AF_UNSPEC)
		return address_same_host(&peer->from, &s->bound);
	/* No other socket of this machine can have the port of a wildcard. */
	return peer->interface == LOOPBACK_INTERFACE || is_loopback(&peer->from) ||
	    address_same_host(&peer->from, &peer->to);
}

/* Why the datagram is no query to be asked; UDP_DROP_REASONS when it may be. */
static enum udp_drop_reason
examine(struct udp *u, struct udp_socket *s, struct mmsghdr *m, struct query_peer *peer)
{
	if (!read_control(u, s, &m->msg_hdr, peer) || !is_host(&peer->from) ||
	    address_port(&peer->from) == 0 || is_ourselves(s, peer))
		return UDP_DROP_INVALID_SOURCE;
	if (!config_allows(u->config, &peer->from))
		return UDP_DROP_NOT_ALLOWED;
	if ((m->msg_hdr.msg_flags & MSG_TRUNC) != 0)
		return UDP_DROP_MALFORMED;
	return UDP_DROP_REASONS;
}

/*
 * Takes a query into account that was received while SLOTS were free. Returns why it may
 * not be; UDP_DROP_REASONS when it may.
 */
static enum udp_drop_reason
admit(struct udp *u, struct query *q, size_t slots)
{
	q->addr = quota_use(u->quota, &q->peer.from);
	if (!dedup_add(u->dedup, q)) {
		quota_leave(u->quota, q->addr);
		return UDP_DROP_DUPLICATE;
	}
	/* Health checks are answered locally and are exempt from the limits. */
	if (!quota_allows(q->addr, slots) && !dns_question_is_own(q->message, q->len)) {
		dedup_remove(q);
		quota_leave(u->quota, q->addr);
		u->limited = q->peer.from;
		return UDP_DROP_CLIENT_LIMIT;
	}
	if (q->addr->udp_queries == 0)
		TAILQ_INIT(&u->in_flight[q->addr->index]);
	TAILQ_INSERT_TAIL(&u->in_flight[q->addr->index], q, addr_link);
	quota_add_udp(u->quota, q->addr);
	u->in_flight_count++;
	return UDP_DROP_REASONS;
}

/* Takes the query in one of the datagrams. NULL when there is none, which is counted. */
static struct query *
take(struct udp *u, struct udp_socket *s, size_t index, struct deadline now)
{
	struct mmsghdr *m = &u->headers[index];
	struct query_peer peer = { .socket = (size_t)(s - u->sockets), .from = u->sources[index] };
	enum udp_drop_reason reason = examine(u, s, m, &peer);
	size_t slots = free_slots(u);
	struct query *q;

	if (reason != UDP_DROP_REASONS) {
		u->drops[reason]++;
		return NULL;
	}
	/* No more was received than there are free slots. */
	q = query_new(u->table, u->datagrams[index], m->msg_len);
	q->transport = QUERY_UDP;
	q->peer = peer;
	q->allowed = true;
	q->arrived = now;
	q->by = deadline_after(now, u->config->timeouts.query_ms);
	if ((reason = admit(u, q, slots)) == UDP_DROP_REASONS)
		return q;
	u->drops[reason]++;
	query_free(u->table, q);
	return NULL;
}

/* Receives up to MOST datagrams; returns their number. */
static size_t
receive(struct udp *u, struct udp_socket *s, size_t most)
{
	size_t i;
	int n;

	for (i = 0; i < most; i++)
		u->headers[i].msg_hdr = (struct msghdr){ .msg_name = &u->sources[i],
			.msg_namelen = sizeof u->sources[i],
			.msg_iov = &u->pieces[i],
			.msg_iovlen = 1,
			.msg_control = &u->controls[i],
			.msg_controllen = sizeof u->controls[i] };
	n = recvmmsg(s->fd, u->headers, (unsigned)most, MSG_DONTWAIT, NULL);
	/* After an error, or if another worker was faster, an event says when there is more. */
	s->ready = n == (int)most && !u->draining;
	return n > 0 ? (size_t)n : 0;
}

static size_t
gather_from(struct udp *u, struct udp_socket *s, struct query **queries, size_t most,
    struct deadline now)
{
	size_t received = receive(u, s, most < RECEIVE_AT_ONCE ? most : RECEIVE_AT_ONCE);
	size_t count = 0;
	size_t i;

	for (i = 0; i < received; i++)
		if ((queries[count] = take(u, s, i, now)) != NULL)
			count++;
	return count;
}

size_t
udp_gather(struct udp *u, struct query **queries, size_t most, struct deadline now)
{
	size_t count = 0;
	size_t left;
	size_t i;

	for (i = 0; i < u->count; i++) {
		struct udp_socket *s = &u->sockets[(u->first + i) % u->count];

		left = most - count < free_slots(u) ? most - count : free_slots(u);
		if (s->ready && left > 0)
			count += gather_from(u, s, queries + count, left, now);
	}
	u->first++;
	return count;
}

void
udp_drain(struct udp *u)
{
	size_t i;

	acceptor_pause(&u->acceptor, DEADLINE_NEVER);
	u->draining = true;
	for (i = 0; i < u->count; i++)
		u->sockets[i].ready = true;
}

/* ---- writing answers ---- */

void
udp_reject(struct udp *u, struct query *q)
{
	u->drops[UDP_DROP_MALFORMED]++;
	release(u, q);
}

void
udp_answer(struct udp *u, struct query *q)
{
	query_answered(u->table, q);
	reply_truncate(q, u->config->udp_size);
	q->is_answered = true;
	u->unsent++;
	TAILQ_INSERT_TAIL(&u->sockets[q->peer.socket].answered, q, client_link);
}

/*
 * The query to give up when others need its slot: the oldest one, not answered yet, of the
 * address with most queries in flight. NULL: all queries of that address are answered.
 */
static struct query *
eviction_candidate(const struct udp *u)
{
	const struct client_addr *addr = quota_heaviest_udp(u->quota);
	struct query *q;

	if (addr == NULL)
		return NULL;
	TAILQ_FOREACH(q, &u->in_flight[addr->index], addr_link) {
		if (!q->is_answered)
			return q;
	}
	return NULL;
}

struct query *
udp_next_evicted(struct udp *u, struct deadline now)
{
	size_t spare = free_slots(u) + u->unsent;
	bool evicting = !deadline_passed(u->evict_until, now);
	struct query *q;

	/* Where TCP clients have most slots, giving up queries by UDP would not help. */
	if (spare >= u->reserve || (spare > 0 && !evicting) ||
	    u->in_flight_count < u->in_flight_max - u->in_flight_count)
		return NULL;
	q = eviction_candidate(u);
	if (q == NULL ||
	    (!evicting && !deadline_passed(deadline_after(q->arrived, EVICTION_AGE_MS), now)))
		return NULL;
	u->evict_until = deadline_after(now, EVICTION_AGE_MS);
	u->drops[UDP_DROP_EVICTED]++;
	u->limited = q->peer.from;
	return q;
}

/* The answer comes from where the query went to. Only link-local addresses need their interface. */
static void
set_source(struct msghdr *message, struct control *control, const struct query_peer *peer)
{
	struct in_pktinfo v4 = { .ipi_spec_dst = peer->to.in.sin_addr };
	struct in6_pktinfo v6 = { .ipi6_addr = peer->to.in6.sin6_addr };
	bool is_v6 = peer->to.sa.sa_family == AF_INET6;
	struct cmsghdr *c;

	if (peer->to.sa.sa_family == AF_UNSPEC)
		return;
	if (is_v6 && IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr))
		v6.ipi6_ifindex = peer->interface;
	message->msg_control = control;
	message->msg_controllen = is_v6 ? CMSG_SPACE(sizeof v6) : CMSG_SPACE(sizeof v4);
	c = CMSG_FIRSTHDR(message);
	c->cmsg_level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
	c->cmsg_type = is_v6 ? IPV6_PKTINFO : IP_PKTINFO;
	c->cmsg_len = is_v6 ? CMSG_LEN(sizeof v6) : CMSG_LEN(sizeof v4);
	memcpy(CMSG_DATA(c), is_v6 ? (const void *)&v6 : &v4, is_v6 ? sizeof v6 : sizeof v4);
}

/* Sends the first answers of a socket in one call. Returns as sendmmsg(2) does. */
static int
send_batch(const struct udp_socket *s)
{
	struct mmsghdr headers[SEND_AT_ONCE];
	struct iovec pieces[SEND_AT_ONCE];
	struct control controls[SEND_AT_ONCE];
	struct query *q;
	unsigned n = 0;

	TAILQ_FOREACH(q, &s->answered, client_link) {
		if (n == SEND_AT_ONCE)
			break;
		pieces[n] = (struct iovec){ q->response, q->response_len };
		headers[n].msg_hdr = (struct msghdr){ .msg_name = &q->peer.from,
			.msg_namelen = address_len(&q->peer.from),
			.msg_iov = &pieces[n],
			.msg_iovlen = 1 };
		set_source(&headers[n].msg_hdr, &controls[n], &q->peer);
		n++;
	}
	return sendmmsg(s->fd, headers, n, MSG_NOSIGNAL);
}

/* Whether the same call may succeed later: no buffer or no memory now, or a signal came. */
static bool
is_transient(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EINTR;
}

/* The first answer of a socket could not be sent. False: try again later. */
static bool
handle_send_error(struct udp *u, struct udp_socket *s, int error, struct deadline now)
{
	struct query *q = TAILQ_FIRST(&s->answered);
	size_t len = q->response_len;

	if (is_transient(error) && !deadline_passed(q->by, now))
		return false;
	if (error == EMSGSIZE) {
		/* Longer than the path MTU: truncated, so that the client retries over TCP. */
		q->response_len = dns_truncate(q->response, len, DNS_UDP_MIN);
		if (q->response_len < len)
			return true;
	}
	u->shut_down = u->shut_down || error == EPIPE;
	u->drops[UDP_DROP_NOT_SENT]++;
	release_answered(u, s, q);
	return true;
}

static void
send_all(struct udp *u, struct udp_socket *s, struct deadline now)
{
	int n;

	while (!TAILQ_EMPTY(&s->answered)) {
		n = send_batch(s);
		if (n == -1 && !handle_send_error(u, s, errno, now)) {
			u->retry_at = deadline_after(now, SEND_PAUSE_MS);
			return;
		}
		for (; n > 0; n--)
			release_answered(u, s, TAILQ_FIRST(&s->answered));
	}
}

void
udp_send(struct udp *u, struct deadline now)
{
	size_t i;

	u->retry_at = DEADLINE_NEVER;
	for (i = 0; i < u->count; i++)
		send_all(u, &u->sockets[i], now);
	/* While no slot is free, what comes waits in the sockets, or other workers take it. */
	if (free_slots(u) == 0) {
		acceptor_stop(&u->acceptor);
		u->retry_at = deadline_sooner(u->retry_at,
		    deadline_after(now, EVICTION_INTERVAL_MS));
		return;
	}
	(void)acceptor_listen(&u->acceptor, now);
	u->retry_at = deadline_sooner(u->retry_at, acceptor_deadline(&u->acceptor));
}

struct deadline
udp_deadline(const struct udp *u)
{
	return u->retry_at;
}

bool
udp_is_busy(const struct udp *u)
{
	size_t i;

	for (i = 0; i < u->count; i++)
		if (u->sockets[i].ready || !TAILQ_EMPTY(&u->sockets[i].answered))
			return true;
	return u->in_flight_count > 0;
}

bool
udp_is_shut_down(const struct udp *u)
{
	return u->shut_down;
}

bool
udp_drops(struct udp *u, unsigned counts[static UDP_DROP_REASONS], struct address *limited)
{
	bool any = false;
	size_t i;

	for (i = 0; i < UDP_DROP_REASONS; i++) {
		counts[i] = u->drops[i];
		any |= counts[i] > 0;
	}
	*limited = u->limited;
	memset(u->drops, 0, sizeof u->drops);
	u->limited = (struct address){ .sa.sa_family = AF_UNSPEC };
	return any;
}

bool
udp_next_overflow(struct udp *u, size_t *socket, uint32_t *total)
{
	size_t i;

	if (!u->has_overflowed)
		return false;
	for (i = 0; i < u->count; i++) {
		struct udp_socket *s = &u->sockets[i];

		if (!s->has_overflowed)
			continue;
		s->has_overflowed = false;
		*socket = i;
		*total = s->overflow;
		return true;
	}
	u->has_overflowed = false;
	return false;
}
