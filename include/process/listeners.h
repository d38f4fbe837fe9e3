#ifndef DOTPROXY_LISTENERS_H
#define DOTPROXY_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/fail.h"
#include "config/config.h"

/*
 * The listening sockets. Each is managed by one generation of workers at a time: a new generation
 * takes over the sockets of the previous one.
 */
struct listeners {
	size_t count;
	struct listener {
		struct config_listener wanted;
		unsigned interface; /* the index of the interface it names, when last checked */
		bool absent;        /* no interface has the address now */
		int tcp;            /* -1: none */
		int udp;
	} at[CONFIG_LISTEN_MAX];
};

/*
 * Opens the sockets for the `listen' of CONFIG; a socket that FROM (may be NULL) has for the same
 * address is shared with it instead. Logs each address that it opens. An address that no interface
 * has is opened as well, and is served once one has it, unless all are missing. Returns 0, or -1
 * with the reason: then all sockets that it opened are closed.
 */
int listeners_open(struct listeners *, const struct config *config, const struct listeners *from,
    struct failure *why);

/*
 * Takes the sockets that a service manager has passed (socket activation of systemd), and removes
 * their variables from the environment. Logs each address. Returns 0, with a count of 0 when there
 * are none; or -1 with the reason when one cannot be used. It closes none of them.
 */
int listeners_take_passed(struct listeners *, struct failure *why);

/* Replaces the `listen' of CONFIG by these sockets. Returns as config_listen_instead() does. */
int listeners_override_config(const struct listeners *, struct config *config);

/*
 * Logs addresses that interfaces have gained or lost. Returns whether an interface that an address
 * names was created, or replaced by another one: then a reload can listen there.
 */
bool listeners_check_addresses(struct listeners *);

/* As net_check_address(), for an address whose interface may be missing. */
int listeners_check_address(const struct config_listener *, struct failure *why);

/* Logs and repairs TCP sockets that were shut down. */
void listeners_repair(struct listeners *);

/*
 * Logs and replaces UDP sockets that were shut down for receiving and, with SENDS, also for
 * sending. Returns whether it replaced any: then the workers, which have the old ones, must be
 * replaced as well. Not for sockets of a service manager.
 */
bool listeners_replace(struct listeners *, bool sends);

/* Forgets, without closing them, the sockets that TO (may be NULL) has as well. */
void listeners_forget_shared(struct listeners *, const struct listeners *to);

/* Closes the TCP sockets. The address is free once all processes have closed them. */
void listeners_close_tcp(struct listeners *);

/*
 * Closes the TCP sockets of a worker, whose sandbox identifies listeners by descriptor: a copy of
 * standard input replaces each, so that no other socket gets the same descriptor.
 */
void listeners_give_up_tcp(struct listeners *);

/* Lists the descriptors of all sockets. Returns how many. */
enum { LISTENERS_SOCKETS_MAX = 2 * CONFIG_LISTEN_MAX };
size_t listeners_sockets(const struct listeners *, int sockets[static LISTENERS_SOCKETS_MAX]);

/* Closes all sockets. */
void listeners_close(struct listeners *);

#endif
