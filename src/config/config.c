#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_schema.h"

size_t
config_cache_size_min(int workers)
{
	return ((size_t)workers * CONFIG_CACHE_WORKER_KIB + CONFIG_CACHE_KIB) << 10;
}

bool
config_allows(const struct config *config, const struct address *from)
{
	size_t i;

	for (i = 0; i < config->allow_count; i++)
		if (prefix_contains(&config->allow[i], from))
			return true;
	return false;
}

static bool
same_file(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
config_same_trust(const struct config_upstream *a, const struct config_upstream *b)
{
	if (a->cleartext || b->cleartext)
		return a->cleartext && b->cleartext;
	return same_file(a->ca_file, b->ca_file) && same_file(a->crl_file, b->crl_file);
}

bool
config_listener_is_late(const struct config_listener *l)
{
	return l->interface[0] != '\0' && l->address.in6.sin6_scope_id == 0;
}

char *
config_listener_format(const struct config_listener *l, char text[static ADDRESS_TEXT_MAX])
{
	char host[ADDRESS_TEXT_MAX];

	if (l->interface[0] == '\0')
		return address_format(&l->address, text);
	(void)address_format_host(&l->address, host);
	host[strcspn(host, "%")] = '\0';
	(void)snprintf(text, ADDRESS_TEXT_MAX, "[%.*s%%%s]:%u", INET6_ADDRSTRLEN, host,
	    l->interface, (unsigned)address_port(&l->address));
	return text;
}

bool
config_is_loop(const struct address *listener, const struct address *upstream)
{
	struct prefix loopback[2];

	if (address_port(listener) != address_port(upstream))
		return false;
	if (address_same_host(listener, upstream))
		return true;
	return address_is_wildcard(listener) && prefix_parse("127.0.0.0/8", &loopback[0]) == 0 &&
	    prefix_parse("::1", &loopback[1]) == 0 &&
	    (prefix_contains(&loopback[0], upstream) || prefix_contains(&loopback[1], upstream));
}

int
config_listen_instead(struct config *config, const struct config_listener *listen, size_t count)
{
	size_t i;
	size_t k;

	for (i = 0; i < config->upstream_count; i++)
		for (k = 0; k < count; k++)
			if (listen[k].tcp &&
			    config_is_loop(&listen[k].address, &config->upstreams[i].address))
				return -1;
	memcpy(config->listen, listen, count * sizeof *listen);
	config->listen_count = count;
	return 0;
}

const char *
config_set_listen(struct config *config, const char *text)
{
	struct config_listener one = { .udp = true, .tcp = true };
	const char *problem;

	if (address_parse(text, CONFIG_DNS_PORT, &one.address) == -1)
		return "is not an IP address";
	if ((problem = address_problem(&one.address)) != NULL)
		return problem;
	if (config_listen_instead(config, &one, 1) == -1)
		return "is an upstream: a loop";
	return NULL;
}

const struct config_group *
config_group_of(const struct config *config, size_t upstream)
{
	const struct config_group *group = config->groups;

	while (upstream >= group->first + group->count)
		group++;
	return group;
}

char *
config_format_domains(const struct config_route *route, char text[static CONFIG_DOMAINS_TEXT_MAX])
{
	enum { SHOWN_MAX = 8, REST_LEN = 32 };
	size_t len = 0;
	size_t i;

	text[0] = '\0';
	for (i = 0; i < route->domain_count && i < SHOWN_MAX; i++) {
		if (len + strlen(route->domains[i]) + REST_LEN >= CONFIG_DOMAINS_TEXT_MAX)
			break;
		len += (size_t)snprintf(text + len, CONFIG_DOMAINS_TEXT_MAX - len, "%s%s",
		    i > 0 ? ", " : "", route->domains[i]);
	}
	if (i < route->domain_count)
		(void)snprintf(text + len, CONFIG_DOMAINS_TEXT_MAX - len, " and %zu more",
		    route->domain_count - i);
	return text;
}

char *
config_upstream_name(const struct config_upstream *u, char text[static CONFIG_UPSTREAM_NAME_MAX])
{
	char address[ADDRESS_TEXT_MAX];

	(void)snprintf(text, CONFIG_UPSTREAM_NAME_MAX, "%s%s%.253s",
	    address_format(&u->address, address), u->hostname != NULL ? " " : "",
	    u->hostname != NULL ? u->hostname : "");
	return text;
}

void
config_clear_upstream(struct config_upstream *u)
{
	size_t i;

	free(u->hostname);
	free(u->ca_file);
	free(u->crl_file);
	for (i = 0; i < u->pin_count; i++)
		free(u->pins[i]);
}

static void
clear_route(struct config_route *route)
{
	size_t i;

	for (i = 0; i < route->domain_count; i++)
		free(route->domains[i]);
	free(route->domains);
}

void
config_clear_host(struct config_host *host)
{
	free(host->name);
	free(host->addresses);
}

void
config_free(struct config *config)
{
	size_t i;

	if (config == NULL)
		return;
	for (i = 0; i < config->upstream_count; i++)
		config_clear_upstream(&config->upstreams[i]);
	free(config->upstreams);
	for (i = 0; i < config->group_count; i++)
		free(config->groups[i].name);
	for (i = 0; i < config->route_count; i++)
		clear_route(&config->routes[i]);
	free(config->routes);
	for (i = 0; i < config->domain_count; i++)
		free(config->domains[i].name);
	free(config->domains);
	for (i = 0; i < config->host_count; i++)
		config_clear_host(&config->hosts[i]);
	free(config->hosts);
	free(config->hosts_file);
	free(config->tls.ca_file);
	free(config->tls.crl_file);
	free(config->user);
	free(config);
}
