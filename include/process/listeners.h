#ifndef DOTPROXY_LISTENERS_H
#define DOTPROXY_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/fail.h"
#include "config/config.h"

/*
 * The sockets that queries come to. Each belongs to one holder at a time: the supervisor's
 * newest generation of workers takes over those of the generation before it.
 */
struct listeners {
	size_t count;
	struct listener {
		struct config_listener wanted;
		unsigned interface; /* the index of the one it names, when last looked at */
		bool absent;        /* no interface has the address now */
		int tcp;            /* -1: none */
		int udp;
	} at[CONFIG_LISTEN_MAX];
};

/*
 * Opens what CONFIG wants to listen on, but takes over from FROM (NULL: nobody) what is open
 * there already for the same address; those it has in common with FROM then. Logs each
 * address that it opens. Addresses that no interface has are opened, too, so that they are
 * served when they come, unless all are missing. Returns 0, or -1 with the reason: then all that
 * it opened is closed again.
 */
int listeners_open(struct listeners *, const struct config *config, const struct listeners *from,
    struct failure *why);

/*
 * Takes the sockets that a service manager has opened before (systemd's socket activation), and
 * their variables out of the environment. Logs each address. Returns 0, with a count of 0 when
 * there are none; or -1 with the reason when one cannot be used. None is ever closed.
 */
int listeners_take_passed(struct listeners *, struct failure *why);

/* Makes CONFIG listen on these and nothing else. Returns as config_listen_instead() does. */
int listeners_override_config(const struct listeners *, struct config *config);

/*
 * Logs addresses that interfaces have gained or lost. Returns whether an interface that an address
 * names has come, or come again as another one: whoever reads the configuration now can listen there.
 */
bool listeners_check_addresses(struct listeners *);

/* As net_check_address() for an address whose interface may be late. */
int listeners_check_address(const struct config_listener *, struct failure *why);

/* Logs and repairs TCP sockets that were shut down. */
void listeners_repair(struct listeners *);

/*
 * Logs and replaces UDP sockets that were shut down for receiving, and where SENDS is wanted also
 * those that were for sending. Returns whether there was one: those who have the old one need the
 * new one. Not for sockets of a service manager.
 */
bool listeners_replace(struct listeners *, bool sends);

/* Gives up, without closing it, what TO (NULL: nobody) has as well. */
void listeners_leave(struct listeners *, const struct listeners *to);

/* Takes no more connections: the address is free when nobody listens there any more. */
void listeners_close_tcp(struct listeners *);

/*
 * The same for a worker whose sandbox knows the listeners by their numbers: the standard input
 * takes the number of each, so that no other socket is taken for one.
 */
void listeners_give_up_tcp(struct listeners *);

/* The numbers of all sockets. Returns how many. */
enum { LISTENERS_SOCKETS_MAX = 2 * CONFIG_LISTEN_MAX };
size_t listeners_sockets(const struct listeners *, int sockets[static LISTENERS_SOCKETS_MAX]);

/* Closes what is left. */
void listeners_close(struct listeners *);

#endif
