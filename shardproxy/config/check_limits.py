"""What is wrong with rate limits."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from shardproxy.config.findings import Finding, known, repeated, routes
from shardproxy.config.limits import LimitKey, LimitOverride, RateLimit, burst_of
from shardproxy.config.places import Path
from shardproxy.config.schema import Config

MOST_PARTS = 4  # as limits/keys.pxd
MAX_FILL_S = 365 * 24 * 3600
MAX_KEYED_RATE = 500_000  # a second; as shm/keyed.pyx
MAX_KEYED_BURST = 1 << 24
KEY_PARTS = ("address", "header", "cookie", "query", "path")
MOST_OF_A_ROUTE = 16  # as limits/rates.pxd


def buckets_fill_in_time(config: Config) -> Iterator[Finding]:
    for number, limit in enumerate(config.rate_limits):
        yield from _fills(("rate_limits", number), limit)
        for index, override in enumerate(limit.overrides):
            yield from _fills(("rate_limits", number, "overrides", index), override)


def keys_are_of_use(config: Config) -> Iterator[Finding]:
    for number, limit in enumerate(config.rate_limits):
        path = ("rate_limits", number)
        if limit.key is not None:
            yield from _keyed(path, limit, limit.key)
        elif limit.overrides:
            yield (*path, "overrides"), "are for limits with a key"


def adaptive_rates_make_sense(config: Config) -> Iterator[Finding]:
    clusters = [cluster.name for cluster in config.clusters]
    for number, limit in enumerate(config.rate_limits):
        path = ("rate_limits", number, "adaptive")
        rules = limit.adaptive
        if rules is None:
            continue
        yield from known((*path, "cluster"), rules.cluster, "cluster", clusters)
        if not rules.min <= limit.rate <= rules.max:
            yield (*path[:2], "rate"), f"must be from adaptive.min ({rules.min:g}/s) to adaptive.max ({rules.max:g}/s)"
        if limit.key is not None or limit.store is not None:
            yield path, "is not for limits with a key or a store"


def costs_can_be_met(config: Config) -> Iterator[Finding]:
    for number, limit in enumerate(config.rate_limits):
        least = min(burst_of(limit), *(burst_of(override) for override in limit.overrides), MAX_KEYED_BURST)
        if limit.cost.tokens > least:
            yield (
                ("rate_limits", number, "cost"),
                f"is above the burst of {least}, so such a request could never be admitted",
            )


def routes_have_few_limits(config: Config) -> Iterator[Finding]:
    for path, route in routes(config):
        found = len(route.rate_limits)
        if found > MOST_OF_A_ROUTE:
            yield (*path, "rate_limits"), f"a route has at most {MOST_OF_A_ROUTE} limits, this one has {found}"


def parts_of(key: LimitKey) -> list[str]:
    """The keys of a `LimitKey` that are written."""
    return [name for name in KEY_PARTS if getattr(key, name) is not None]


def _fills(path: Path, limit: RateLimit | LimitOverride) -> Iterator[Finding]:
    if limit.rate and burst_of(limit) / limit.rate > MAX_FILL_S:
        key = "rate" if limit.burst is None else "burst"
        yield (*path, key), "at this rate the burst would take longer than a year to fill"


def key_makes_sense(path: Path, key: LimitKey) -> Iterator[Finding]:
    parts = parts_of(key)
    if not parts:
        yield (*path, "key"), "needs client_ip, or header, cookie, query or path"
    if len(parts) > MOST_PARTS:
        yield (*path, "key"), f"has {len(parts)} parts; at most {MOST_PARTS} make a key"
    if key.path is not None and not re.fullmatch(r"[^{]*\{[^}]*\}", key.path):
        yield (*path, "key", "path"), "needs one name in braces, at its end: /users/{id}"


def _keyed(path: Path, limit: RateLimit, key: LimitKey) -> Iterator[Finding]:
    parts = parts_of(key)
    yield from key_makes_sense(path, key)
    if limit.rate > MAX_KEYED_RATE:
        yield (*path, "rate"), f"of each key at most {MAX_KEYED_RATE}/s"
    if limit.burst is not None and limit.burst > MAX_KEYED_BURST:
        yield (*path, "burst"), f"of each key at most {MAX_KEYED_BURST}"
    if limit.overrides and len(parts) > 1:
        yield (*path, "overrides"), "are for keys of one part"
    yield from repeated((*path, "overrides"), [override.key for override in limit.overrides], "key")
    if parts == ["address"]:
        for index, override in enumerate(limit.overrides):
            if not _is_address(override.key):
                yield (*path, "overrides", index, "key"), f"{override.key!r} is not an IP address"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
