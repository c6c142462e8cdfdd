"""What one struct cannot see: names that lead nowhere, names and addresses that clash, routes that can never win.

Every check is a generator of `(path, sentence)` over the configuration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from shardproxy.config.places import Path
from shardproxy.config.schema import Cluster, Config, HealthCheck, Listener, Match, RateLimit, Retry, burst_of
from shardproxy.config.suggest import suggestion
from shardproxy.config.units import Address

Finding: TypeAlias = tuple[Path, str]

MAX_FILL_S = 365 * 24 * 3600
_MOST_NAMED = 3  # routes in one sentence
_ANY = {"0.0.0.0", "::"}


def check(config: Config) -> Iterator[Finding]:
    """All that is wrong with a configuration whose single values are right."""
    for one in _CHECKS:
        yield from one(config)


def names_are_unique(config: Config) -> Iterator[Finding]:
    yield from _twice("listeners", "listener", [listener.name for listener in config.listeners])
    yield from _twice("clusters", "cluster", [cluster.name for cluster in config.clusters])
    yield from _twice("rate_limits", "rate limit", [limit.name for limit in config.rate_limits])


def references_lead_somewhere(config: Config) -> Iterator[Finding]:
    clusters = [cluster.name for cluster in config.clusters]
    limits = [limit.name for limit in config.rate_limits]
    for number, listener in enumerate(config.listeners):
        for index, route in enumerate(listener.routes):
            path = ("listeners", number, "routes", index)
            yield from _known((*path, "cluster"), route.cluster, "cluster", clusters)
            for place, name in enumerate(route.rate_limits):
                yield from _known((*path, "rate_limits", place), name, "rate limit", limits)


def matches_say_one_thing(config: Config) -> Iterator[Finding]:
    for path, match in _matches(config):
        if match.prefix is None and match.path is None:
            yield path, "needs prefix or path, such as prefix: /"
        if match.prefix is not None and match.path is not None:
            yield path, "has both prefix and path; leave one of them out"


def lists_repeat_nothing(config: Config) -> Iterator[Finding]:
    for path, match in _matches(config):
        yield from _repeated((*path, "hosts"), match.hosts, "host")
    for number, listener in enumerate(config.listeners):
        for index, route in enumerate(listener.routes):
            path = ("listeners", number, "routes", index)
            yield from _repeated((*path, "rate_limits"), route.rate_limits, "rate limit")
            yield from _repeated((*path, "upgrade"), route.upgrade, "protocol")
    for number, cluster in enumerate(config.clusters):
        addresses = [str(endpoint.address) for endpoint in cluster.endpoints]
        yield from _repeated(("clusters", number, "endpoints"), addresses, "endpoint")


def every_route_can_win(config: Config) -> Iterator[Finding]:
    """A route loses every request if, for each of its hosts, an earlier one takes all that it would."""
    for number, listener in enumerate(config.listeners):
        yield from _losers(("listeners", number, "routes"), listener)


def addresses_do_not_clash(config: Config) -> Iterator[Finding]:
    taken: dict[tuple[str, int], list[tuple[str, Address]]] = defaultdict(list)
    for path, what, address in _binds(config):
        rivals = taken[address.path, address.port]
        for other, bound in rivals:
            if overlap(address, bound):
                yield path, f"{address} is taken already by {other}" + (f" at {bound}" if bound != address else "")
                break
        rivals.append((what, address))


def buckets_fill_in_time(config: Config) -> Iterator[Finding]:
    for number, limit in enumerate(config.rate_limits):
        if limit.rate and burst_of(limit) / limit.rate > MAX_FILL_S:
            yield (
                ("rate_limits", number, _fill_key(limit)),
                "at this rate the burst would take longer than a year to fill",
            )


def health_checks_can_be_made(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        if cluster.health_check is not None:
            for key, sentence in _unusable(cluster.health_check, cluster):
                yield ("clusters", number, "health_check", key), sentence


def _unusable(check: HealthCheck, cluster: Cluster) -> Iterator[tuple[str, str]]:
    if check.type == "tcp":
        for key in ("host", "body"):
            if getattr(check, key) is not None:
                yield key, "a check of type tcp only connects; leave it out, or write type: http"
    elif cluster.proxy_protocol and check.port is None:
        yield "type", "http checks send no PROXY protocol header; write type: tcp, or a port that expects none"
    if check.port is not None and any(endpoint.address.is_unix for endpoint in cluster.endpoints):
        yield "port", "an endpoint of this cluster is a Unix socket, which has no port"


def retries_make_sense(config: Config) -> Iterator[Finding]:
    for number, listener in enumerate(config.listeners):
        for index, route in enumerate(listener.routes):
            if route.retry is not None:
                yield from _retry(("listeners", number, "routes", index, "retry"), route.retry)


def _retry(path: Path, retry: Retry) -> Iterator[Finding]:
    yield from _repeated((*path, "on"), retry.on, "condition")
    yield from _repeated((*path, "statuses"), [str(status) for status in retry.statuses], "status")
    if "retriable-status" in retry.on and not retry.statuses:
        yield path, "retriable-status needs statuses, such as statuses: [409]"
    if retry.statuses and "retriable-status" not in retry.on:
        yield (*path, "statuses"), "are used only if on has retriable-status"
    if retry.backoff.max is not None and retry.backoff.max < retry.backoff.base:
        yield (*path, "backoff", "max"), "must not be less than base"


_CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    names_are_unique,
    references_lead_somewhere,
    matches_say_one_thing,
    lists_repeat_nothing,
    every_route_can_win,
    addresses_do_not_clash,
    buckets_fill_in_time,
    health_checks_can_be_made,
    retries_make_sense,
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


def _matches(config: Config) -> Iterator[tuple[Path, Match]]:
    for number, listener in enumerate(config.listeners):
        for index, route in enumerate(listener.routes):
            yield ("listeners", number, "routes", index, "match"), route.match


def _losers(path: Path, listener: Listener) -> Iterator[Finding]:
    taken: dict[str | None, _Taken] = defaultdict(_Taken)
    for index, route in enumerate(listener.routes):
        hosts = route.match.hosts or (None,)
        winners = {taken[host].winner(route.match) for host in hosts}
        if None not in winners:
            yield (*path, index, "match"), f"can never win: all that it matches goes to {_routes(winners)} before it"
        for host in hosts:
            taken[host].add(route.match, index)


def _routes(winners: set[int | None]) -> str:
    """`routes[0]`, `routes[0] and routes[12]`; beyond three the rest is only counted."""
    numbers = sorted(number for number in winners if number is not None)
    names = [f"routes[{number}]" for number in numbers[:_MOST_NAMED]]
    if len(numbers) > _MOST_NAMED:
        return f"{', '.join(names)} and {len(numbers) - _MOST_NAMED} more"
    return " and ".join(names)


@dataclass
class _Taken:
    """What the routes of one host take; paths and prefixes lead to the first route that has them."""

    paths: dict[str, int] = field(default_factory=dict)
    prefixes: dict[str, int] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)

    def add(self, match: Match, index: int) -> None:
        if match.prefix is not None:
            self.prefixes.setdefault(match.prefix, index)
            self.lengths.add(len(match.prefix))
        elif match.path is not None:
            self.paths.setdefault(match.path, index)

    def winner(self, match: Match) -> int | None:
        """The earliest route that takes all that `match` would; cost: the number of different prefix lengths."""
        start = match.path or match.prefix or ""
        found = [self.prefixes.get(start[:length]) for length in self.lengths]
        if match.prefix is None:
            found.append(self.paths.get(start))
        return min((index for index in found if index is not None), default=None)


def _twice(section: str, what: str, names: Iterable[str]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            yield (
                (section, index, "name"),
                f"{section}[{first[name]}] is called {name!r} too; give each {what} its own name",
            )
        first.setdefault(name, index)


def _repeated(path: Path, values: Iterable[str], what: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield (*path, index), f"the {what} {value!r} is in this list twice"
        seen.add(value)


def _known(path: Path, name: str, what: str, known: Collection[str]) -> Iterator[Finding]:
    """Nothing is said while a definition is without its name: it may be the one that is meant."""
    if name in known or "" in known:
        return
    hint = suggestion(name, known) or (f"; there is {', '.join(map(repr, known))}" if 0 < len(known) <= 5 else "")
    yield path, f"there is no {what} {name!r}{hint}"


def _fill_key(limit: RateLimit) -> str:
    return "rate" if limit.burst is None else "burst"
