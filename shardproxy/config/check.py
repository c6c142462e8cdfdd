"""What one struct cannot see: names that lead nowhere, names and addresses that clash, routes that can never win.

Every check is a generator of `(path, sentence)` over the configuration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from shardproxy.config.check_actions import field_edits_are_allowed, routes_do_one_thing, splits_lead_somewhere
from shardproxy.config.check_balancing import balancing_makes_sense, hashes_say_one_thing
from shardproxy.config.check_bandwidth import bandwidth_limits_make_sense, routes_name_few_bandwidth_limits
from shardproxy.config.check_clusters import (
    adaptive_limits_make_sense,
    connections_of_endpoints_are_capped_without_a_queue,
    endpoints_have_one_source,
    health_checks_can_be_made,
    levels_can_change,
    queues_can_fill,
)
from shardproxy.config.check_limits import (
    adaptive_rates_make_sense,
    buckets_fill_in_time,
    costs_can_be_met,
    keys_are_of_use,
    routes_have_few_limits,
)
from shardproxy.config.check_overload import overload_ends_below_where_it_begins
from shardproxy.config.check_routes import (
    every_route_can_win,
    hedges_make_sense,
    matches,
    matches_say_one_thing,
    retries_make_sense,
)
from shardproxy.config.check_stores import stores_can_be_used
from shardproxy.config.check_subsets import labels_say_one_thing, subsets_have_endpoints
from shardproxy.config.findings import Finding, known, repeated, routes, twice
from shardproxy.config.places import Path
from shardproxy.config.schema import Config
from shardproxy.config.units import Address

_ANY = {"0.0.0.0", "::"}


def check(config: Config) -> Iterator[Finding]:
    """All that is wrong with a configuration whose single values are right."""
    for one in _CHECKS:
        yield from one(config)


def names_are_unique(config: Config) -> Iterator[Finding]:
    yield from twice("listeners", "listener", [listener.name for listener in config.listeners])
    yield from twice("clusters", "cluster", [cluster.name for cluster in config.clusters])
    yield from twice("rate_limits", "rate limit", [limit.name for limit in config.rate_limits])
    yield from twice("bandwidth_limits", "bandwidth limit", [limit.name for limit in config.bandwidth_limits])


def references_lead_somewhere(config: Config) -> Iterator[Finding]:
    clusters = [cluster.name for cluster in config.clusters]
    limits = [limit.name for limit in config.rate_limits]
    for path, route in routes(config):
        if route.cluster is not None:
            yield from known((*path, "cluster"), route.cluster, "cluster", clusters)
        for place, name in enumerate(route.rate_limits):
            yield from known((*path, "rate_limits", place), name, "rate limit", limits)


def lists_repeat_nothing(config: Config) -> Iterator[Finding]:
    for path, match in matches(config):
        yield from repeated((*path, "hosts"), match.hosts, "host")
    for path, route in routes(config):
        yield from repeated((*path, "rate_limits"), route.rate_limits, "rate limit")
        yield from repeated((*path, "bandwidth_limits"), route.bandwidth_limits, "bandwidth limit")
        yield from repeated((*path, "upgrade"), route.upgrade, "protocol")
    for number, cluster in enumerate(config.clusters):
        addresses = [str(endpoint.address) for endpoint in cluster.endpoints]
        yield from repeated(("clusters", number, "endpoints"), addresses, "endpoint")


def addresses_do_not_clash(config: Config) -> Iterator[Finding]:
    taken: dict[tuple[str, int], list[tuple[str, Address]]] = defaultdict(list)
    for path, what, address in _binds(config):
        rivals = taken[address.path, address.port]
        for other, bound in rivals:
            if overlap(address, bound):
                yield path, f"{address} is taken already by {other}" + (f" at {bound}" if bound != address else "")
                break
        rivals.append((what, address))


_CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    names_are_unique,
    references_lead_somewhere,
    matches_say_one_thing,
    lists_repeat_nothing,
    every_route_can_win,
    addresses_do_not_clash,
    buckets_fill_in_time,
    keys_are_of_use,
    costs_can_be_met,
    adaptive_rates_make_sense,
    routes_have_few_limits,
    stores_can_be_used,
    bandwidth_limits_make_sense,
    routes_name_few_bandwidth_limits,
    endpoints_have_one_source,
    health_checks_can_be_made,
    queues_can_fill,
    connections_of_endpoints_are_capped_without_a_queue,
    adaptive_limits_make_sense,
    levels_can_change,
    retries_make_sense,
    hedges_make_sense,
    balancing_makes_sense,
    hashes_say_one_thing,
    labels_say_one_thing,
    subsets_have_endpoints,
    routes_do_one_thing,
    splits_lead_somewhere,
    field_edits_are_allowed,
    overload_ends_below_where_it_begins,
)


def overlap(one: Address, other: Address) -> bool:
    """Whether both cannot be bound: the same, or one is every address of its family (IPv6 sockets take IPv6 only)."""
    if one == other:
        return True
    if one.is_unix or other.is_unix or one.port != other.port or one.is_ipv6 != other.is_ipv6:
        return False
    return bool(_ANY & {one.host, other.host})


def _binds(config: Config) -> Iterator[tuple[Path, str, Address]]:
    yield ("admin", "bind"), "the admin interface", config.admin.bind
    for number, listener in enumerate(config.listeners):
        yield ("listeners", number, "bind"), f"listeners[{number}]", listener.bind
