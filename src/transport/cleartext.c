#include "transport/cleartext.h"

#include <sys/epoll.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "transport/net.h"

struct cleartext_server {
	struct address address; /* private */
};

struct cleartext {
	uint16_t port; /* of the server */
	int fd;
	bool is_ready;
	bool blocked; /* a write waits for the socket to become writable */
};

struct cleartext_server *
cleartext_server_new(const struct address *address, struct failure *why)
{
	char text[ADDRESS_TEXT_MAX];
	struct cleartext_server *s;

	if (!address_is_private(address)) {
		(void)fail_with(why, "a cleartext upstream needs a private address; %s is public",
		    address_format_host(address, text));
		return NULL;
	}
	if ((s = calloc(1, sizeof *s)) == NULL) {
		(void)fail_errno(why, "upstream");
		return NULL;
	}
	s->address = *address;
	return s;
}

void
cleartext_server_free(struct cleartext_server *s)
{
	free(s);
}

void
cleartext_server_key(const struct cleartext_server *s, uint8_t key[static CLEARTEXT_KEY_LEN])
{
	/* The kind is in the key of the hash. It is no secret: addresses are the operator's. */
	struct hash_key part = { { UINT64_C(0x636c656172747874), 0 } };
	char text[ADDRESS_TEXT_MAX];
	uint64_t hash;
	size_t i;

	(void)address_format(&s->address, text);
	for (i = 0; i < CLEARTEXT_KEY_LEN; i += sizeof hash) {
		part.halves[1] = i;
		hash = hash_bytes(&part, text, strlen(text));
		memcpy(key + i, &hash, sizeof hash);
	}
}

struct cleartext *
cleartext_open(const struct cleartext_server *s, struct failure *why)
{
	struct cleartext *c = calloc(1, sizeof *c);

	if (c == NULL) {
		(void)fail_errno(why, "connect");
		return NULL;
	}
	c->port = address_port(&s->address);
	if ((c->fd = net_connect(&s->address, false, why)) == -1) {
		free(c);
		return NULL;
	}
	return c;
}

void
cleartext_close(struct cleartext *c)
{
	if (c == NULL)
		return;
	(void)close(c->fd);
	free(c);
}

bool
cleartext_is_ready(const struct cleartext *c)
{
	return c->is_ready;
}

int
cleartext_fd(const struct cleartext *c)
{
	return c->fd;
}

uint32_t
cleartext_events(const struct cleartext *c)
{
	if (!c->is_ready)
		return EPOLLOUT;
	return c->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
}

int
cleartext_step(struct cleartext *c, struct failure *why)
{
	int rc = c->is_ready ? 1 : net_connected(c->fd, why);

	c->is_ready = rc == 1;
	return rc == -1 ? -1 : 0;
}

int
cleartext_fail_timeout(const struct cleartext *c, int ms, struct failure *why)
{
	if (c->is_ready)
		return fail_with(why, "query: no answer in %d ms", ms);
	(void)fail_with(why, "connect: timed out after %d ms (timeouts.connect)", ms);
	fail_remedy(why, "a firewall may drop TCP to port %u", (unsigned)c->port);
	return -1;
}

ssize_t
cleartext_read(struct cleartext *c, uint8_t *buf, size_t cap, struct failure *why)
{
	ssize_t n = read(c->fd, buf, cap);

	if (n == 0)
		return fail_with(why, "read: connection closed by the server");
	if (n == -1)
		return errno == EAGAIN ? 0 : fail_errno(why, "read");
	return n;
}

ssize_t
cleartext_write(struct cleartext *c, const uint8_t *buf, size_t len, struct failure *why)
{
	ssize_t n = write(c->fd, buf, len);

	c->blocked = n == -1 && errno == EAGAIN;
	if (c->blocked)
		return 0;
	return n == -1 ? fail_errno(why, "write") : n;
}
