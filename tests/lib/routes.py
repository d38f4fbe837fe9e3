"""Which upstream may see which name: promise O10."""

import ipaddress

from upstream import Upstream


def entries(upstreams):
    """The entries of upstreams in a configuration."""
    return [u.config() if isinstance(u, Upstream) else u for u in upstreams]


def settings(routes):
    """Routes as in a configuration; their upstreams may be Upstreams."""
    return [{**route, "upstreams": entries(route["upstreams"])}
            if isinstance(route.get("upstreams"), list) else route for route in routes]


def _zones(domain):
    """The domains that a domain or a prefix stands for."""
    try:
        network = ipaddress.ip_network(domain)
    except ValueError:
        return [domain.lower().rstrip(".")]
    step = 8 if network.version == 4 else 4
    up = -(-network.prefixlen // step) * step
    zones = []
    for finer in network.subnets(new_prefix=up):
        labels = finer.network_address.reverse_pointer.split(".")
        count = network.max_prefixlen // step
        zones.append(".".join(labels[count - up // step:]))
    return zones


class Routes:
    """The routes of a configuration."""

    def __init__(self, top, routes):
        self._top = {u for u in top if isinstance(u, Upstream)}
        self._by_zone = {}
        own_names = {}
        for route in routes:
            domains = route["domains"]
            domains = [domains] if isinstance(domains, str) else domains
            where = route.get("upstreams", [])
            where = self._top if where == "default" else set(where) \
                if isinstance(where, list) and all(isinstance(u, Upstream) for u in where) else None
            for domain in domains:
                for zone in _zones(domain):
                    self._by_zone[zone] = where
            first = _zones(domains[0])[0]
            for server in where if where and where is not self._top else []:
                own_names[server] = first.replace("*.", "_.", 1)
        for server, name in own_names.items():
            if server not in self._top:
                server.own_name = name

    def upstreams_of(self, name):
        """Those that may see the name; None: it is not known which."""
        if not self._by_zone:
            return None
        labels = name.lower().split(".")
        for n in range(len(labels)):
            zone = ".".join(labels[n:])
            if n > 0 and f"*.{zone}" in self._by_zone:
                return self._by_zone[f"*.{zone}"]
            if zone in self._by_zone:
                return self._by_zone[zone]
        return self._top
