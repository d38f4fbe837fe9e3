#include "transport/stream.h"

int
stream_open_tls(struct stream *s, struct dot_server *server, const uint8_t *session, size_t len,
    struct failure *why)
{
	if ((s->tls = dot_open(server, session, len, why)) == NULL)
		return -1;
	s->kind = STREAM_TLS;
	return 0;
}

int
stream_open_cleartext(struct stream *s, const struct cleartext_server *server, struct failure *why)
{
	if ((s->cleartext = cleartext_open(server, why)) == NULL)
		return -1;
	s->kind = STREAM_CLEARTEXT;
	return 0;
}

bool
stream_is_open(const struct stream *s)
{
	return s->kind != STREAM_CLOSED;
}

void
stream_close(struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		dot_close(s->tls);
		break;
	case STREAM_CLEARTEXT:
		cleartext_close(s->cleartext);
		break;
	case STREAM_CLOSED:
		break;
	}
	s->kind = STREAM_CLOSED;
}

static enum stream_stage
stage_of_tls(const struct dot *tls)
{
	switch (dot_stage(tls)) {
	case DOT_CONNECTING:
		return STREAM_CONNECTING;
	case DOT_HANDSHAKING:
		return STREAM_HANDSHAKING;
	case DOT_READY:
		break;
	}
	return STREAM_READY;
}

enum stream_stage
stream_stage(const struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		return stage_of_tls(s->tls);
	case STREAM_CLEARTEXT:
		return cleartext_is_ready(s->cleartext) ? STREAM_READY : STREAM_CONNECTING;
	case STREAM_CLOSED:
		break;
	}
	return STREAM_CONNECTING;
}

int
stream_fd(const struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_fd(s->tls);
	case STREAM_CLEARTEXT:
		return cleartext_fd(s->cleartext);
	case STREAM_CLOSED:
		break;
	}
	return -1;
}

uint32_t
stream_events(const struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_events(s->tls);
	case STREAM_CLEARTEXT:
		return cleartext_events(s->cleartext);
	case STREAM_CLOSED:
		break;
	}
	return 0;
}

int
stream_step(struct stream *s, struct failure *why)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_step(s->tls, why);
	case STREAM_CLEARTEXT:
		return cleartext_step(s->cleartext, why);
	case STREAM_CLOSED:
		break;
	}
	return fail_with(why, "closed");
}

int
stream_fail_timeout(struct stream *s, int ms, struct failure *why)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_fail_timeout(s->tls, ms, why);
	case STREAM_CLEARTEXT:
		return cleartext_fail_timeout(s->cleartext, ms, why);
	case STREAM_CLOSED:
		break;
	}
	return fail_with(why, "closed");
}

bool
stream_should_retry_reduced(const struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_should_retry_reduced(s->tls);
	case STREAM_CLEARTEXT:
	case STREAM_CLOSED:
		break;
	}
	return false;
}

const char *
stream_retry_text(const struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_retry_text(s->tls);
	case STREAM_CLEARTEXT:
	case STREAM_CLOSED:
		break;
	}
	return NULL;
}

bool
stream_has_expired(const struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_has_expired(s->tls);
	case STREAM_CLEARTEXT:
	case STREAM_CLOSED:
		break;
	}
	return false;
}

ssize_t
stream_read(struct stream *s, uint8_t *buf, size_t cap, struct failure *why)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_read(s->tls, buf, cap, why);
	case STREAM_CLEARTEXT:
		return cleartext_read(s->cleartext, buf, cap, why);
	case STREAM_CLOSED:
		break;
	}
	return fail_with(why, "closed");
}

bool
stream_has_read_ahead(const struct stream *s)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_has_read_ahead(s->tls);
	case STREAM_CLEARTEXT:
	case STREAM_CLOSED:
		break;
	}
	return false;
}

ssize_t
stream_write(struct stream *s, const uint8_t *buf, size_t len, struct failure *why)
{
	switch (s->kind) {
	case STREAM_TLS:
		return dot_write(s->tls, buf, len, why);
	case STREAM_CLEARTEXT:
		return cleartext_write(s->cleartext, buf, len, why);
	case STREAM_CLOSED:
		break;
	}
	return fail_with(why, "closed");
}

void
stream_describe(const struct stream *s, struct dot_facts *facts)
{
	switch (s->kind) {
	case STREAM_TLS:
		dot_describe(s->tls, facts);
		break;
	case STREAM_CLEARTEXT:
		*facts = (struct dot_facts){ .version = "none" };
		break;
	case STREAM_CLOSED:
		break;
	}
}
