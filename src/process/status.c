#include "process/status.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/net.h"

enum {
	BACKLOG = 64,

	/* "listen [ADDRESS]:PORT udp tcp\n", "allow PREFIX/128\n" */
	LINE_MAX_LEN = 112,
	TEXT_MAX = (CONFIG_LISTEN_MAX + CONFIG_ALLOW_MAX) * LINE_MAX_LEN
};

/* ---- the name ---- */

/* FNV-1a. The path is hashed because it may be longer than the name of a socket. */
static uint64_t
hash_text(uint64_t hash, const char *text)
{
	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* Hashes the absolute path of a file, of which only the directory must exist. */
static int
hash_path(const char *file, uint64_t *hash, struct failure *why)
{
	const char *slash = strrchr(file, '/');
	size_t len = slash != NULL ? (size_t)(slash - file) + 1 : 0;
	char directory[PATH_MAX];
	char absolute[PATH_MAX];

	if (len + 2 > sizeof directory)
		return fail_with(why, "%s: path too long", file);
	(void)snprintf(directory, sizeof directory, "%.*s.", (int)len, file);
	if (realpath(directory, absolute) == NULL)
		return fail_errno(why, "%s", directory);
	*hash = hash_text(UINT64_C(0xcbf29ce484222325), absolute);
	*hash = hash_text(*hash, "/");
	*hash = hash_text(*hash, file + len);
	return 0;
}

/* Makes "@dot-proxy/pid:[4026531836]/0123456789abcdef". Returns the length, 0 with the reason. */
static socklen_t
write_name(const char *config_file, struct sockaddr_un *name, struct failure *why)
{
	char namespace[32];
	ssize_t n = readlink("/proc/self/ns/pid", namespace, sizeof namespace - 1);
	uint64_t hash = 0;
	int len;

	if (n == -1) {
		(void)fail_errno(why, "/proc/self/ns/pid");
		return 0;
	}
	namespace[n] = '\0';
	if (hash_path(config_file, &hash, why) == -1)
		return 0;
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	/* A leading zero byte makes it an abstract name, not a path. */
	len = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "dot-proxy/%s/%016" PRIx64,
	    namespace, hash);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

static int
open_socket(struct failure *why)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd == -1 ? fail_errno(why, "socket") : fd;
}

static bool
peer_is_own_user_or_root(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	    (peer.uid == 0 || peer.uid == geteuid());
}

/* ---- the supervisor's side ---- */

int
status_listen(const char *config_file, struct failure *why)
{
	struct sockaddr_un name;
	socklen_t len = write_name(config_file, &name, why);
	int fd;

	if (len == 0 || (fd = open_socket(why)) == -1)
		return -1;
	if (bind(fd, (const struct sockaddr *)&name, len) == -1 || listen(fd, BACKLOG) == -1) {
		(void)fail_errno(why, "@%s", name.sun_path + 1);
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Returns the length. */
static size_t
write_status(const struct config *config, char text[static TEXT_MAX])
{
	char address[ADDRESS_TEXT_MAX];
	size_t len = 0;
	size_t i;

	for (i = 0; i < config->listen_count; i++) {
		const struct config_listener *l = &config->listen[i];

		len += (size_t)snprintf(text + len, LINE_MAX_LEN, "listen %s%s%s\n",
		    address_format(&l->address, address), l->udp ? " udp" : "",
		    l->tcp ? " tcp" : "");
	}
	for (i = 0; i < config->allow_count; i++) {
		const struct prefix *p = &config->allow[i];

		(void)inet_ntop(p->family, p->bytes, address, sizeof address);
		len += (size_t)snprintf(text + len, LINE_MAX_LEN, "allow %s/%u\n", address,
		    p->bits);
	}
	return len;
}

void
status_answer(int fd, const struct config *config)
{
	char text[TEXT_MAX];
	size_t len = write_status(config, text);
	int peer;
	int i;

	for (i = 0; i < STATUS_ANSWERS; i++) {
		peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (peer == -1)
			return;
		/* The send buffer of a new connection has space for the whole text. */
		if (peer_is_own_user_or_root(peer))
			(void)send(peer, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)close(peer);
	}
}

/* ---- the client's side ---- */

static int
connect_to(const char *config_file)
{
	struct sockaddr_un name;
	socklen_t len = write_name(config_file, &name, NULL);
	int fd;

	if (len == 0 || (fd = open_socket(NULL)) == -1)
		return -1;
	/* Any user can bind a free name, so only root accepts services of another user. */
	if (connect(fd, (const struct sockaddr *)&name, len) == -1 ||
	    (geteuid() != 0 && !peer_is_own_user_or_root(fd))) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Reads until EOF into TEXT and terminates it. -1 when that fails, or takes longer than BY. */
static int
read_all(int fd, char text[static TEXT_MAX], struct deadline by)
{
	size_t len = 0;
	ssize_t n;

	while (len < TEXT_MAX - 1) {
		if (net_wait(fd, POLLIN, by) == -1)
			return -1;
		n = read(fd, text + len, TEXT_MAX - 1 - len);
		if (n == 0) {
			text[len] = '\0';
			return 0;
		}
		if (n == -1 && errno != EAGAIN)
			return -1;
		len += n == -1 ? 0 : (size_t)n;
	}
	return -1;
}

/* Unknown keys and words come from another version and are ignored. */
static int
read_line(char *line, struct config *config)
{
	char *rest;
	const char *key = strtok_r(line, " ", &rest);
	const char *value = strtok_r(NULL, " ", &rest);
	struct config_listener *l = &config->listen[config->listen_count];
	const char *word;

	if (key == NULL || value == NULL)
		return -1;
	if (strcmp(key, "allow") == 0)
		return config->allow_count == CONFIG_ALLOW_MAX ?
		    -1 :
		    prefix_parse(value, &config->allow[config->allow_count++]);
	if (strcmp(key, "listen") != 0)
		return 0;
	if (config->listen_count == CONFIG_LISTEN_MAX || address_parse(value, 0, &l->address) == -1)
		return -1;
	while ((word = strtok_r(NULL, " ", &rest)) != NULL) {
		l->udp = l->udp || strcmp(word, "udp") == 0;
		l->tcp = l->tcp || strcmp(word, "tcp") == 0;
	}
	config->listen_count++;
	return 0;
}

static int
read_status(char *text, struct config *config)
{
	char *rest;
	char *line;

	for (line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		if (read_line(line, config) == -1)
			return -1;
	return config->listen_count > 0 ? 0 : -1;
}

struct config *
status_ask(const char *config_file, struct deadline by)
{
	struct config *config = calloc(1, sizeof *config);
	char text[TEXT_MAX];
	int fd;

	if (config == NULL || (fd = connect_to(config_file)) == -1) {
		config_free(config);
		return NULL;
	}
	if (read_all(fd, text, by) == -1 || read_status(text, config) == -1) {
		config_free(config);
		config = NULL;
	}
	(void)close(fd);
	return config;
}
