#include "frontend/front.h"

#include <sys/socket.h>

#include <errno.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/waitset.h"
#include "front_internal.h"
#include "query/quota.h"
#include "transport/net.h"

enum {
	ACCEPT_AT_ONCE = 64,

	/* After so many clients that came one at a time, another is looked for at each so-many-th. */
	SINGLES = 16,

	/* After a failed accept(2), which would fail again at once, clients wait for so long. */
	ACCEPT_PAUSE_MS = 100
};

static void
note_failed_accept(struct front *f, const char *what)
{
	struct trouble *t = &f->troubles[FRONT_CANNOT_ACCEPT];
	int error = errno;

	if (t->times++ > 0)
		return;
	(void)fail_errno(&t->why, "%s", what);
	if (error == EMFILE)
		fail_remedy(&t->why,
		    "raise the limit of open files: `ulimit -n', LimitNOFILE= of systemd, "
		    "or --ulimit nofile= of a container");
	else if (error == ENFILE)
		fail_remedy(&t->why,
		    "the whole system has no more open files: raise the sysctl fs.file-max, "
		    "or find who holds them");
}

static void
note_crowding(struct front *f, enum front_trouble kind, const struct address *from)
{
	struct trouble *t = &f->troubles[kind];
	char text[ADDRESS_TEXT_MAX];

	if (t->times++ > 0)
		return;
	if (kind == FRONT_CROWDED) {
		(void)fail_with(&t->why, "all %zu places are taken", f->client_count);
		fail_remedy(&t->why,
		    "raise `clients: {max: ...}', and the limit of descriptors if need be");
	} else {
		(void)fail_with(&t->why, "%s has %d connections", address_format_host(from, text),
		    f->config->clients.per_address);
		fail_remedy(&t->why,
		    "raise `clients: {per_address: ...}' if many share this address");
	}
}

bool
front_trouble(struct front *f, enum front_trouble kind, struct failure *why, unsigned *times)
{
	struct trouble *t = &f->troubles[kind];

	if (t->times == 0)
		return false;
	*why = t->why;
	*times = t->times;
	t->times = 0;
	return true;
}

bool
front_has_just_asked(struct front *f, struct client *c, struct deadline now)
{
	uint8_t octet;

	if (recv(c->fd, &octet, sizeof octet, MSG_PEEK) != sizeof octet)
		return false;
	c->readable = true;
	front_set_ready(f, c);
	front_enter(f, c, CLIENT_WAITING, now);
	return true;
}

/* Who makes room for others: the one that has been idle longest, or else the one that sends slowest. NULL: nobody. */
static struct client *
least_busy(struct front *f, struct deadline now)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&f->states[CLIENT_IDLE])) != NULL)
		if (!front_has_just_asked(f, c, now))
			return c;
	TAILQ_FOREACH(c, &f->states[CLIENT_READING], state_link) {
		if (TAILQ_EMPTY(&c->in_hand))
			return c;
	}
	return NULL;
}

static bool
evict(struct front *f, struct deadline now)
{
	struct client *c = least_busy(f, now);

	if (c == NULL)
		return false;
	front_close_client(f, c, now);
	return true;
}

/*
 * Whether there is room for one more client of that address. At its limit, the one of its
 * own that has been idle longest makes room; other addresses are not touched.
 */
static bool
admit(struct front *f, const struct address *from, struct deadline now)
{
	const struct client_addr *addr = quota_find(f->quota, from);
	struct client *c;
	struct client *next;

	if (addr == NULL || (size_t)f->config->clients.per_address >= f->client_count ||
	    addr->connections < (size_t)f->config->clients.per_address)
		return true;
	note_crowding(f, FRONT_ADDRESS_CROWDED, from);
	/* Each is looked at once, however many of them have just asked. */
	for (c = TAILQ_FIRST(&f->states[CLIENT_IDLE]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, state_link);
		if (c->addr != addr || front_has_just_asked(f, c, now))
			continue;
		front_close_client(f, c, now);
		return true;
	}
	return false;
}

void
front_listen(struct front *f, struct deadline now)
{
	if (acceptor_listen(&f->acceptor, now) == -1)
		note_failed_accept(f, "listen");
}

void
front_pause_listening(struct front *f, struct deadline until)
{
	acceptor_pause(&f->acceptor, until);
}

/* A free place: one that was used before, or else one that costs memory only from now on. NULL: all are taken. */
static struct client *
free_place(struct front *f)
{
	struct client *c = TAILQ_FIRST(&f->states[CLIENT_FREE]);

	if (c != NULL || f->touched == f->client_count)
		return c;
	c = &f->clients[f->touched];
	c->in = f->octets + f->touched * pages_stride(FRAME_MAX);
	f->touched++;
	TAILQ_INSERT_HEAD(&f->states[CLIENT_FREE], c, state_link);
	return c;
}

/* Takes in a client that has connected; there is a place. */
static void
welcome(struct front *f, int fd, const struct address *from, struct deadline now)
{
	struct client *c = free_place(f);
	size_t index = (size_t)(c - f->clients);

	c->fd = fd;
	c->addr = quota_use(f->quota, from);
	if (c->addr->connections++ == 0)
		TAILQ_INIT(&f->throttled[c->addr->index]);
	c->readable = false;
	c->hung_up = false;
	c->blocked = false;
	c->ended = false;
	c->gone = false;
	c->allowed = config_allows(f->config, from);
	c->has_asked = false;
	c->in_len = 0;
	c->queries_in_flight = 0;
	c->throttled = NULL;
	c->sent = 0;
	TAILQ_INIT(&c->in_hand);
	TAILQ_INIT(&c->answered);
	f->connected++;
	front_enter(f, c, CLIENT_IDLE, now);
	if (waitset_add(f->set, fd, FRONT_CLIENT_EVENTS, WAITSET_CLIENT, index) == -1) {
		note_failed_accept(f, "accept");
		front_close_client(f, c, now);
		return;
	}
	/* Its first query is mostly there by now: that saves a wait. */
	c->readable = true;
	front_set_ready(f, c);
}

/* What accept(2) reports of a single client, or of nothing at all. */
static bool
is_passing(int error)
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

/* Takes in who has connected, if its address has not too many clients; others make room. */
static void
take_in(struct front *f, int fd, const struct address *from, struct deadline now)
{
	if (!admit(f, from, now)) {
		(void)close(fd);
		return;
	}
	if (free_place(f) == NULL) {
		note_crowding(f, FRONT_CROWDED, NULL);
		/* Who was to make room may have asked since it was looked at. */
		if (!evict(f, now)) {
			(void)close(fd);
			return;
		}
	}
	welcome(f, fd, from, now);
}

/*
 * Whether to look for another client after the first. When there is none, that costs nearly
 * what taking one does; who is not looked for is reported by the next wait.
 */
static bool
looks_for_another(const struct front *f)
{
	return f->retiring || f->singles < SINGLES || f->singles % SINGLES == 0;
}

/* Accepts those who have connected to a listener, up to a number; pauses if none can be. */
static void
accept_clients(struct front *f, size_t listener, struct deadline now)
{
	struct address from;
	int i;
	int fd;

	for (i = 0; i < ACCEPT_AT_ONCE; i++) {
		/* When all of them wait for answers, the next ones wait in the queue. */
		if (free_place(f) == NULL && least_busy(f, now) == NULL) {
			/* Behind those that were just taken in, there may be nobody. */
			if (i > 0)
				return;
			note_crowding(f, FRONT_CROWDED, NULL);
			acceptor_pause(&f->acceptor, deadline_after(now, ACCEPT_PAUSE_MS));
			return;
		}
		fd = net_accept(f->acceptor.sockets[listener], &from);
		if (fd >= 0) {
			take_in(f, fd, &from, now);
			f->singles = i == 0 ? f->singles + 1 : 0;
			if (i == 0 && !looks_for_another(f))
				return;
		} else if (errno == EAGAIN) {
			return;
		} else if (!is_passing(errno)) {
			/* A listener that was shut down: no client's end helps. */
			bool shut_down = errno == EINVAL;

			note_failed_accept(f, "accept");
			if (shut_down || !evict(f, now)) {
				acceptor_pause(&f->acceptor, deadline_after(now, ACCEPT_PAUSE_MS));
				return;
			}
		}
	}
}

void
front_listener_ready(struct front *f, size_t listener, struct deadline now)
{
	if (f->acceptor.is_listening)
		accept_clients(f, listener, now);
}

void
front_retire(struct front *f, struct deadline now)
{
	size_t i;

	f->retiring = true;
	f->retired = now;
	/* Also while it is paused: nobody else may be there for those who have connected by now. */
	for (i = 0; i < f->acceptor.count; i++)
		accept_clients(f, i, now);
	acceptor_pause(&f->acceptor, DEADLINE_NEVER);
}
