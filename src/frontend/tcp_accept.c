#include "frontend/tcp.h"

#include <sys/socket.h>

#include <errno.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/waitset.h"
#include "query/quota.h"
#include "tcp_internal.h"
#include "transport/net.h"

enum {
	ACCEPT_AT_ONCE = 64,

	/*
	 * After so many clients in a row that were the only one, whether there is another one is
	 * checked for each so-many-th only.
	 */
	ACCEPT_RETRY_INTERVAL = 16,

	/* How long to wait after an accept(2) that failed, since the next would fail, too. */
	ACCEPT_PAUSE_MS = 100
};

/* Counts an event that the operator should know of. Whether its reason is still to be set. */
static bool
count_limit_event(struct tcp *t, enum tcp_limit_event kind)
{
	return t->limit_events[kind].times++ == 0;
}

static void
note_accept_failure(struct tcp *t, const char *what)
{
	struct failure *why = &t->limit_events[TCP_ACCEPT_FAILED].why;
	int error = errno;

	if (!count_limit_event(t, TCP_ACCEPT_FAILED))
		return;
	(void)fail_errno(why, "%s", what);
	if (error == EMFILE)
		fail_remedy(why,
		    "raise the limit of open files: `ulimit -n', LimitNOFILE= of systemd, "
		    "or --ulimit nofile= of a container");
	else if (error == ENFILE)
		fail_remedy(why,
		    "the whole system has no more open files: raise the sysctl fs.file-max, "
		    "or find who holds them");
}

static void
note_client_limit(struct tcp *t)
{
	struct failure *why = &t->limit_events[TCP_CLIENT_LIMIT].why;

	if (!count_limit_event(t, TCP_CLIENT_LIMIT))
		return;
	(void)fail_with(why, "all %zu slots for clients are in use", t->slots);
	fail_remedy(why, "raise `clients: {max: ...}', and the limit of descriptors if need be");
}

static void
note_address_limit(struct tcp *t, const struct address *from)
{
	struct failure *why = &t->limit_events[TCP_ADDRESS_LIMIT].why;
	char text[ADDRESS_TEXT_MAX];

	if (!count_limit_event(t, TCP_ADDRESS_LIMIT))
		return;
	(void)fail_with(why, "%s has %d connections", address_format_host(from, text),
	    t->config->clients.per_address);
	fail_remedy(why, "raise `clients: {per_address: ...}' if many share this address");
}

bool
tcp_limit_event(struct tcp *t, enum tcp_limit_event kind, struct failure *why, unsigned *times)
{
	*times = t->limit_events[kind].times;
	if (*times == 0)
		return false;
	*why = t->limit_events[kind].why;
	t->limit_events[kind].times = 0;
	return true;
}

/* Picks a client to evict: longest idle, else slowest sender; NULL if none. */
static struct client *
eviction_candidate(struct tcp *t, struct deadline now)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&t->states[CLIENT_IDLE])) != NULL)
		if (!tcp_client_has_sent(t, c, now))
			return c;
	TAILQ_FOREACH(c, &t->states[CLIENT_READING], state_link) {
		if (TAILQ_EMPTY(&c->in_flight))
			return c;
	}
	return NULL;
}

static bool
evict_client(struct tcp *t, struct deadline now)
{
	struct client *c = eviction_candidate(t, now);

	if (c == NULL)
		return false;
	tcp_close_client(t, c, now);
	return true;
}

/*
 * Whether that address may have one more client. At its limit, the one of its clients that has
 * been idle longest is closed; other addresses are not touched.
 */
static bool
check_address_limit(struct tcp *t, const struct address *from, struct deadline now)
{
	const struct client_addr *addr = quota_find(t->quota, from);
	struct client *c;
	struct client *next;

	if (addr == NULL || (size_t)t->config->clients.per_address >= t->slots ||
	    addr->connections < (size_t)t->config->clients.per_address)
		return true;
	note_address_limit(t, from);
	/* Each is checked once, however many of them have just sent something. */
	for (c = TAILQ_FIRST(&t->states[CLIENT_IDLE]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, state_link);
		if (c->addr != addr || tcp_client_has_sent(t, c, now))
			continue;
		tcp_close_client(t, c, now);
		return true;
	}
	return false;
}

void
tcp_listen(struct tcp *t, struct deadline now)
{
	if (acceptor_listen(&t->acceptor, now) == -1)
		note_accept_failure(t, "listen");
}

void
tcp_pause_listening(struct tcp *t, struct deadline until)
{
	acceptor_pause(&t->acceptor, until);
}

/* A free slot, used before if possible, since that costs no more memory. NULL if none. */
static struct client *
free_slot(struct tcp *t)
{
	struct client *c = TAILQ_FIRST(&t->states[CLIENT_FREE]);

	if (c != NULL || t->touched == t->slots)
		return c;
	c = &t->clients[t->touched];
	c->in = t->buffers + t->touched * pages_stride(FRAME_MAX);
	t->touched++;
	TAILQ_INSERT_HEAD(&t->states[CLIENT_FREE], c, state_link);
	return c;
}

/* Adds a client that has connected; a slot is free. */
static void
add_client(struct tcp *t, int fd, const struct address *from, struct deadline now)
{
	struct client *c = free_slot(t);
	size_t index = (size_t)(c - t->clients);

	c->fd = fd;
	c->addr = quota_use(t->quota, from);
	if (c->addr->connections++ == 0)
		TAILQ_INIT(&t->throttled[c->addr->index]);
	c->input = INPUT_NONE;
	c->write_blocked = false;
	c->allowed = config_allows(t->config, from);
	c->has_asked = false;
	c->in_len = 0;
	c->queries_in_flight = 0;
	c->throttled = NULL;
	c->sent = 0;
	TAILQ_INIT(&c->in_flight);
	TAILQ_INIT(&c->answered);
	t->connected++;
	tcp_set_state(t, c, CLIENT_IDLE, now);
	if (waitset_add(t->set, fd, TCP_CLIENT_EVENTS, WAITSET_CLIENT, index) == -1) {
		note_accept_failure(t, "accept");
		tcp_close_client(t, c, now);
		return;
	}
	/* Its first query has usually arrived already; reading now saves an epoll_wait(). */
	tcp_set_readable(t, c);
}

/* Whether accept(2) failed for a single client only, or for no reason that lasts. */
static bool
is_transient_accept_error(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EINTR:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case ENONET:
		return true;
	default:
		return false;
	}
}

/* Adds a client that has connected, unless its address has too many; may evict another. */
static void
admit_client(struct tcp *t, int fd, const struct address *from, struct deadline now)
{
	if (!check_address_limit(t, from, now)) {
		(void)close(fd);
		return;
	}
	if (free_slot(t) == NULL) {
		note_client_limit(t);
		/* The candidate may have sent a query since it was picked. */
		if (!evict_client(t, now)) {
			(void)close(fd);
			return;
		}
	}
	add_client(t, fd, from, now);
}

/*
 * Whether to call accept(2) again after the first client. When there is no other, that costs
 * nearly what accepting one does; one that is missed is reported by the next wait.
 */
static bool
should_accept_again(const struct tcp *t)
{
	return t->retiring || t->single_accepts < ACCEPT_RETRY_INTERVAL ||
	    t->single_accepts % ACCEPT_RETRY_INTERVAL == 0;
}

/* Accepts clients that have connected to a listener, up to a number; pauses if none can be. */
static void
accept_clients(struct tcp *t, size_t listener, struct deadline now)
{
	struct address from;
	int i;
	int fd;

	for (i = 0; i < ACCEPT_AT_ONCE; i++) {
		/* When all of them wait for answers, the next ones wait in the queue. */
		if (free_slot(t) == NULL && eviction_candidate(t, now) == NULL) {
			/* Behind those that were just accepted, there may be no other. */
			if (i > 0)
				return;
			note_client_limit(t);
			acceptor_pause(&t->acceptor, deadline_after(now, ACCEPT_PAUSE_MS));
			return;
		}
		fd = net_accept(t->acceptor.sockets[listener], &from);
		if (fd >= 0) {
			admit_client(t, fd, &from, now);
			t->single_accepts = i == 0 ? t->single_accepts + 1 : 0;
			if (i == 0 && !should_accept_again(t))
				return;
		} else if (errno == EAGAIN) {
			return;
		} else if (!is_transient_accept_error(errno)) {
			/* A listener that was shut down: to evict a client does not help. */
			bool shut_down = errno == EINVAL;

			note_accept_failure(t, "accept");
			if (shut_down || !evict_client(t, now)) {
				acceptor_pause(&t->acceptor, deadline_after(now, ACCEPT_PAUSE_MS));
				return;
			}
		}
	}
}

void
tcp_listener_ready(struct tcp *t, size_t listener, struct deadline now)
{
	if (t->acceptor.is_listening)
		accept_clients(t, listener, now);
}

void
tcp_retire(struct tcp *t, struct deadline now)
{
	size_t i;

	t->retiring = true;
	t->retired = now;
	/* Also while paused: maybe no other worker is there for clients that have connected. */
	for (i = 0; i < t->acceptor.count; i++)
		accept_clients(t, i, now);
	acceptor_pause(&t->acceptor, DEADLINE_NEVER);
}
