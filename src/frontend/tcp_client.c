#include "frontend/tcp.h"

#include <sys/socket.h>

#include <unistd.h>

#include "tcp_internal.h"

bool
tcp_has_input(const struct client *c)
{
	return c->input == INPUT_SOME || c->input == INPUT_LAST;
}

void
tcp_set_readable(struct tcp *t, struct client *c)
{
	if (c->input == INPUT_NONE)
		c->input = INPUT_SOME;
	tcp_set_ready(t, c);
}

bool
tcp_client_has_sent(struct tcp *t, struct client *c, struct deadline now)
{
	uint8_t byte;

	if (recv(c->fd, &byte, sizeof byte, MSG_PEEK) != sizeof byte)
		return false;
	tcp_set_readable(t, c);
	tcp_set_state(t, c, CLIENT_WAITING, now);
	return true;
}

void
tcp_close_client(struct tcp *t, struct client *c, struct deadline now)
{
	struct query *q;

	tcp_clear_ready(t, c);
	tcp_unthrottle(t, c);
	c->in_len = 0;
	tcp_count_buffer(t, c);
	if (c->is_dirty) {
		c->is_dirty = false;
		TAILQ_REMOVE(&t->dirty, c, dirty_link);
	}
	while ((q = TAILQ_FIRST(&c->in_flight)) != NULL) {
		TAILQ_REMOVE(&c->in_flight, q, client_link);
		q->client = NULL;
		tcp_uncount_query(c, q);
		TAILQ_INSERT_TAIL(&t->abandoned, q, client_link);
	}
	while ((q = TAILQ_FIRST(&c->answered)) != NULL) {
		TAILQ_REMOVE(&c->answered, q, client_link);
		tcp_uncount_query(c, q);
		query_free(t->table, q);
	}
	tcp_wake_throttled(t, c->addr);
	c->addr->connections--;
	quota_leave(t->quota, c->addr);
	(void)close(c->fd);
	t->connected--;
	tcp_set_state(t, c, CLIENT_FREE, now);
}
