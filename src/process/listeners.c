#include "process/listeners.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "transport/net.h"

/* The first passed descriptor; the others follow (sd_listen_fds(3)). */
enum { FIRST_PASSED = 3 };

static void
close_socket(int *fd)
{
	if (*fd != -1)
		(void)close(*fd);
	*fd = -1;
}

void
listeners_close_tcp(struct listeners *l)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		close_socket(&l->at[i].tcp);
}

void
listeners_give_up_tcp(struct listeners *l)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (l->at[i].tcp != -1 && dup3(STDIN_FILENO, l->at[i].tcp, O_CLOEXEC) == -1)
			(void)close(l->at[i].tcp);
		l->at[i].tcp = -1;
	}
}

size_t
listeners_sockets(const struct listeners *l, int sockets[static LISTENERS_SOCKETS_MAX])
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (l->at[i].tcp != -1)
			sockets[count++] = l->at[i].tcp;
		if (l->at[i].udp != -1)
			sockets[count++] = l->at[i].udp;
	}
	return count;
}

void
listeners_close(struct listeners *l)
{
	size_t i;

	listeners_close_tcp(l);
	for (i = 0; i < l->count; i++)
		close_socket(&l->at[i].udp);
}

void
listeners_forget_shared(struct listeners *l, const struct listeners *to)
{
	size_t i;
	size_t k;

	for (i = 0; i < l->count; i++)
		for (k = 0; to != NULL && k < to->count; k++) {
			if (l->at[i].tcp == to->at[k].tcp)
				l->at[i].tcp = -1;
			if (l->at[i].udp == to->at[k].udp)
				l->at[i].udp = -1;
		}
}

/* Whether both mean the same address; the index of its interface may have changed. */
static bool
is_same(const struct config_listener *a, const struct config_listener *b)
{
	struct address other = b->address;

	if (a->interface[0] == '\0' || strcmp(a->interface, b->interface) != 0)
		return address_equal(&a->address, &b->address);
	other.in6.sin6_scope_id = a->address.in6.sin6_scope_id;
	return address_equal(&a->address, &other);
}

/* Shares the open sockets of FROM for the same address, for the transports that are configured. */
static void
inherit(struct listener *l, const struct listeners *from)
{
	size_t i;

	for (i = 0; from != NULL && i < from->count; i++) {
		if (!is_same(&from->at[i].wanted, &l->wanted))
			continue;
		l->absent = from->at[i].absent;
		if (!address_equal(&from->at[i].wanted.address, &l->wanted.address))
			continue;
		if (l->wanted.tcp)
			l->tcp = from->at[i].tcp;
		if (l->wanted.udp)
			l->udp = from->at[i].udp;
	}
}

static void
log_listening(const struct config_listener *l, const char *over, const char *passed)
{
	char text[ADDRESS_TEXT_MAX];

	log_event(LOG_LEVEL_INFO, "listening", "address=%s over=%s passed=%s",
	    config_listener_format(l, text), over, passed);
}

static void
log_listener(const struct listener *l)
{
	char text[ADDRESS_TEXT_MAX];

	if (l->absent) {
		log_event(LOG_LEVEL_WARN, "listen address missing", "address=%s cause=%s remedy=%s",
		    config_listener_format(&l->wanted, text),
		    config_listener_is_late(&l->wanted) ? "no such interface" :
							  "no interface has the address",
		    "it is served once an interface has it; `ip address' lists them");
		return;
	}
	if (l->tcp != -1)
		log_listening(&l->wanted, "TCP", "");
	if (l->udp != -1)
		log_listening(&l->wanted, "UDP", "");
}

/* A small buffer drops bursts, which is hard to see otherwise. */
static void
log_receive_buffer(int fd, const char *remedy)
{
	int granted = net_receive_buffer(fd);

	if (granted < NET_DATAGRAM_BUFFER)
		log_event(LOG_LEVEL_INFO, "UDP receive buffer limited",
		    "bytes=%d requested=%d remedy=%s", granted, NET_DATAGRAM_BUFFER, remedy);
}

/* Logs the limits of the kernel for one UDP socket; they are the same for all. */
static void
log_udp_limits(int fd, const char *remedy)
{
	log_receive_buffer(fd, remedy);
	if (!net_counts_drops(fd))
		log_event(LOG_LEVEL_INFO, "UDP drops are not counted", "cause=%s",
		    "the kernel does not support SO_RXQ_OVFL");
	if (!net_forbids_fragments(fd))
		log_event(LOG_LEVEL_INFO, "UDP answers may be fragmented", "cause=%s",
		    "the kernel does not support IP_MTU_DISCOVER");
}

/* The stub of systemd-resolved (Ubuntu, Fedora), which keeps 0.0.0.0:53 from being bound. */
static bool
resolved_stub_is_up(void)
{
	struct address stub;
	int fd;
	bool up;

	(void)address_parse("127.0.0.53", 53, &stub);
	if ((fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		return false;
	/* On loopback connect() does not block. */
	up = connect(fd, &stub.sa, address_len(&stub)) == 0;
	(void)close(fd);
	return up;
}

/* The socket could not be opened: the remedy for a frequent cause. Returns -1. */
static int
fail_open(const struct address *a, struct failure *why)
{
	if (errno == EADDRINUSE && address_port(a) == 53 && resolved_stub_is_up())
		fail_remedy(why,
		    "systemd-resolved's stub is on 127.0.0.53:53: set DNSStubListener=no in "
		    "/etc/systemd/resolved.conf and restart it, or listen on 127.0.0.1:53");
	return -1;
}

/* Opens the sockets that are configured and not open yet. */
static int
open_missing(struct listener *l, struct failure *why)
{
	const struct address *a = &l->wanted.address;
	struct listener opened = *l;

	opened.tcp = -1;
	opened.udp = -1;
	if (l->wanted.tcp && l->tcp == -1) {
		if ((l->tcp = net_listen(a, why)) == -1)
			return fail_open(a, why);
		opened.tcp = l->tcp;
	}
	if (l->wanted.udp && l->udp == -1) {
		if ((l->udp = net_listen_udp(a, why)) == -1)
			return fail_open(a, why);
		opened.udp = l->udp;
	}
	if (opened.tcp == -1 && opened.udp == -1)
		return 0;
	opened.absent = net_check_address(a, NULL) == -1;
	l->absent = opened.absent;
	log_listener(&opened);
	return 0;
}

/* The interface does not exist yet: see listeners_check_addresses(). */
static void
mark_absent(struct listener *l)
{
	bool was_absent = l->absent;

	l->absent = true;
	if (!was_absent)
		log_listener(l);
}

static bool
has_new_interface(struct listener *l)
{
	unsigned was = l->interface;

	if (l->wanted.interface[0] == '\0')
		return false;
	l->interface = address_interface_index(l->wanted.interface);
	return l->interface != was && l->interface != 0;
}

bool
listeners_check_addresses(struct listeners *l)
{
	bool any = false;
	size_t i;

	for (i = 0; i < l->count; i++) {
		struct listener *one = &l->at[i];
		bool absent = net_check_address(&one->wanted.address, NULL) == -1;

		any = has_new_interface(one) || any;
		if (absent == one->absent)
			continue;
		one->absent = absent;
		log_listener(one);
	}
	return any;
}

int
listeners_check_address(const struct config_listener *l, struct failure *why)
{
	char text[ADDRESS_TEXT_MAX];

	if (!config_listener_is_late(l))
		return net_check_address(&l->address, why);
	(void)fail_with(why, "listen on %s: no such interface `%s'",
	    config_listener_format(l, text), l->interface);
	fail_remedy(why, "`ip link' lists the interfaces");
	return -1;
}

void
listeners_repair(struct listeners *l)
{
	char text[ADDRESS_TEXT_MAX];
	size_t i;

	for (i = 0; i < l->count; i++)
		if (l->at[i].tcp != -1 && net_listen_again(l->at[i].tcp) == 1)
			log_event(LOG_LEVEL_WARN, "listening socket was shut down",
			    "address=%s over=%s remedy=%s",
			    config_listener_format(&l->at[i].wanted, text), "TCP",
			    "it listens again");
}

static bool
replace_udp(struct listener *l)
{
	char text[ADDRESS_TEXT_MAX];
	struct failure why;
	int fd = net_replace_udp(l->udp, &l->wanted.address, &why);

	log_event(LOG_LEVEL_WARN, "listening socket was shut down",
	    "address=%s over=%s cause=%s remedy=%s", config_listener_format(&l->wanted, text),
	    "UDP", fd == -1 ? why.text : "",
	    fd == -1 ? "restart dot-proxy" : "replaced by a new socket");
	if (fd == -1)
		return false;
	close_socket(&l->udp);
	l->udp = fd;
	return true;
}

bool
listeners_replace(struct listeners *l, bool sends)
{
	bool any = false;
	size_t i;

	for (i = 0; i < l->count; i++) {
		int fd = l->at[i].udp;

		if (fd != -1 && (net_receives_no_more(fd) || (sends && net_sends_no_more(fd))))
			any = replace_udp(&l->at[i]) || any;
	}
	return any;
}

/* At least one address must exist, or be listened on by FROM. */
static int
require_one_address(const struct config *config, const struct listeners *from, struct failure *why)
{
	size_t i;
	size_t k;

	for (i = 0; i < config->listen_count; i++) {
		const struct config_listener *wanted = &config->listen[i];

		for (k = 0; from != NULL && k < from->count; k++)
			if (is_same(&from->at[k].wanted, wanted))
				return 0;
		if (listeners_check_address(wanted, why) == 0)
			return 0;
	}
	return -1;
}

int
listeners_open(struct listeners *l, const struct config *config, const struct listeners *from,
    struct failure *why)
{
	bool reported = from != NULL;
	size_t i;

	l->count = 0;
	if (require_one_address(config, from, why) == -1)
		return -1;
	for (i = 0; i < config->listen_count; i++) {
		struct listener *one = &l->at[l->count++];

		*one = (struct listener){ config->listen[i],
			config->listen[i].address.in6.sin6_scope_id, false, -1, -1 };
		inherit(one, from);
		if (config_listener_is_late(&one->wanted)) {
			mark_absent(one);
			continue;
		}
		if (open_missing(one, why) == -1) {
			listeners_forget_shared(l, from);
			listeners_close(l);
			return -1;
		}
		if (one->udp != -1 && !reported) {
			log_udp_limits(one->udp,
			    "to keep bursts over UDP from being dropped, set the sysctl "
			    "net.core.rmem_max to the requested size");
			reported = true;
		}
	}
	return 0;
}

/* ---- passed sockets ---- */

/* Finds or adds the listener of an address; NULL when there are too many. */
static struct listener *
listener_for(struct listeners *l, const struct address *at)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		if (address_equal(&l->at[i].wanted.address, at))
			return &l->at[i];
	if (l->count == CONFIG_LISTEN_MAX)
		return NULL;
	l->at[l->count] = (struct listener){ { .address = *at }, 0, false, -1, -1 };
	return &l->at[l->count++];
}

static int
take(struct listeners *l, int fd, struct failure *why)
{
	struct address at;
	char text[ADDRESS_TEXT_MAX];
	int type = net_adopt(fd, &at, why);
	const char *over = type == SOCK_STREAM ? "TCP" : "UDP";
	struct listener *one;
	int *slot;

	if (type == -1)
		return -1;
	if ((one = listener_for(l, &at)) == NULL)
		return fail_with(why, "more than %d addresses", CONFIG_LISTEN_MAX);
	slot = type == SOCK_STREAM ? &one->tcp : &one->udp;
	if (*slot != -1)
		return fail_with(why, "duplicate socket for %s/%s", address_format(&at, text),
		    over);
	*slot = fd;
	log_listening(&one->wanted, over, "yes");
	return 0;
}

/* The number of passed sockets, from LISTEN_FDS; -1 when that is not a number. */
static long
count_passed(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count = getenv("LISTEN_FDS");
	char own[16];
	char *end;
	long n;

	(void)snprintf(own, sizeof own, "%d", (int)getpid());
	if (pid == NULL || strcmp(pid, own) != 0 || count == NULL)
		return 0;
	errno = 0;
	n = strtol(count, &end, 10);
	return errno == 0 && end != count && *end == '\0' && n >= 0 && n < INT_MAX ? n : -1;
}

int
listeners_take_passed(struct listeners *l, struct failure *why)
{
	long count = count_passed();
	long i;

	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	l->count = 0;
	if (count == -1)
		return fail_with(why, "LISTEN_FDS is not a number");
	for (i = 0; i < count; i++)
		if (take(l, FIRST_PASSED + (int)i, why) == -1)
			return fail_in(why, "socket passed as descriptor %d",
			    FIRST_PASSED + (int)i);
	for (i = 0; i < (long)l->count && l->at[i].udp == -1; i++)
		;
	if (i < (long)l->count)
		log_udp_limits(l->at[i].udp,
		    "to keep bursts over UDP from being dropped, set ReceiveBuffer= in the socket "
		    "unit");
	return 0;
}

int
listeners_override_config(const struct listeners *l, struct config *config)
{
	struct config_listener wanted[CONFIG_LISTEN_MAX];
	size_t i;

	for (i = 0; i < l->count; i++)
		wanted[i] = (struct config_listener){ .address = l->at[i].wanted.address,
			.udp = l->at[i].udp != -1,
			.tcp = l->at[i].tcp != -1 };
	return config_listen_instead(config, wanted, l->count);
}
