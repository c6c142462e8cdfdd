"""What is wrong with bandwidth limits."""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.config.bandwidth import BandwidthLimit
from shardproxy.config.check_limits import MAX_KEYED_BURST, MAX_KEYED_RATE, key_makes_sense
from shardproxy.config.findings import Finding, known, routes
from shardproxy.config.forms import write_byte_rate, write_size
from shardproxy.config.places import Path
from shardproxy.config.schema import Config
from shardproxy.config.words import KIB

MOST_OF_A_ROUTE = 8  # as proxy/pacing.pxd
TICKS_PER_S = 20  # of the workers' timers: what a tick brings must fit into the bucket


def bandwidth_limits_make_sense(config: Config) -> Iterator[Finding]:
    for number, limit in enumerate(config.bandwidth_limits):
        path = ("bandwidth_limits", number)
        if limit.up is None and limit.down is None:
            yield path, "needs down, up or both"
        if limit.key is not None:
            yield from key_makes_sense(path, limit.key)
        if limit.key is not None and limit.per_connection:
            yield (*path, "per_connection"), "is not for limits with a key"
        yield from _rates_are_possible(path, limit)


def routes_name_few_bandwidth_limits(config: Config) -> Iterator[Finding]:
    names = [limit.name for limit in config.bandwidth_limits]
    for at, route in routes(config):
        path = (*at, "bandwidth_limits")
        for place, name in enumerate(route.bandwidth_limits):
            yield from known((*path, place), name, "bandwidth limit", names)
        if len(route.bandwidth_limits) > MOST_OF_A_ROUTE:
            yield path, f"a route has at most {MOST_OF_A_ROUTE}, this one has {len(route.bandwidth_limits)}"


def _rates_are_possible(path: Path, limit: BandwidthLimit) -> Iterator[Finding]:
    for word, rate in (("down", limit.down), ("up", limit.up)):
        if rate is None:
            continue
        if rate > MAX_KEYED_RATE * KIB and not limit.per_connection:
            yield (*path, word), f"is at most {write_byte_rate(MAX_KEYED_RATE * KIB)}, unless per_connection"
        if limit.burst is not None and limit.burst < rate // TICKS_PER_S:
            least = write_size(-(-rate // TICKS_PER_S // KIB) * KIB)
            yield (*path, "burst"), f"is too small for {word}: at least {least}, a twentieth of a second's worth"
    if limit.burst is not None and limit.burst > MAX_KEYED_BURST * KIB:
        yield (*path, "burst"), f"is at most {write_size(MAX_KEYED_BURST * KIB)}"
