#include "listeners.h"

#include <stdio.h>
#include <unistd.h>

#include "log.h"
#include "net.h"

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
listeners_close(struct listeners *l)
{
	size_t i;

	listeners_close_tcp(l);
	for (i = 0; i < l->count; i++)
		close_socket(&l->at[i].udp);
}

void
listeners_leave(struct listeners *l, const struct listeners *to)
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

/* Takes over the sockets that are already open for that address, as far as they are wanted. */
static void
inherit(struct listener *l, const struct config_listener *wanted, const struct listeners *from)
{
	size_t i;

	for (i = 0; from != NULL && i < from->count; i++) {
		if (!address_equal(&from->at[i].address, &l->address))
			continue;
		if (wanted->tcp)
			l->tcp = from->at[i].tcp;
		if (wanted->udp)
			l->udp = from->at[i].udp;
	}
}

static void
log_listening(const struct address *a, const char *over)
{
	char text[ADDRESS_TEXT_MAX];

	log_event(LOG_LEVEL_INFO, "listening", "address", address_format(a, text), "over", over,
	    NULL);
}

/* What the kernel refused is worth a line, since what is lost for it leaves few traces. */
static void
log_receive_buffer(int fd)
{
	char wanted[16];
	char granted[16];

	if (net_receive_buffer(fd) >= NET_DATAGRAM_BUFFER)
		return;
	(void)snprintf(wanted, sizeof wanted, "%d", NET_DATAGRAM_BUFFER);
	(void)snprintf(granted, sizeof granted, "%d", net_receive_buffer(fd));
	log_event(LOG_LEVEL_INFO, "small receive buffer", "octets", granted, "wanted", wanted,
	    "remedy",
	    "so that bursts over UDP are not lost, set the sysctl net.core.rmem_max to what is wanted",
	    NULL);
}

/* Opens what is wanted and not there yet. */
static int
open_missing(struct listener *l, const struct config_listener *wanted, struct failure *why)
{
	if (wanted->tcp && l->tcp == -1) {
		if ((l->tcp = net_listen(&l->address, why)) == -1)
			return -1;
		log_listening(&l->address, "TCP");
	}
	if (wanted->udp && l->udp == -1) {
		if ((l->udp = net_listen_udp(&l->address, why)) == -1)
			return -1;
		log_listening(&l->address, "UDP");
	}
	return 0;
}

int
listeners_open(struct listeners *l, const struct config *config, const struct listeners *from,
    struct failure *why)
{
	bool told = from != NULL;
	size_t i;

	l->count = 0;
	for (i = 0; i < config->listen_count; i++) {
		struct listener *one = &l->at[l->count++];

		*one = (struct listener){ config->listen[i].address, -1, -1 };
		inherit(one, &config->listen[i], from);
		if (open_missing(one, &config->listen[i], why) == -1) {
			listeners_leave(l, from);
			listeners_close(l);
			return -1;
		}
		if (one->udp != -1 && !told) {
			log_receive_buffer(one->udp);
			told = true;
		}
	}
	return 0;
}
