"""What is wrong with limits that are kept in a store."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from shardproxy.config.findings import Finding
from shardproxy.config.limits import RateLimit, burst_of
from shardproxy.config.places import Path
from shardproxy.config.schema import Config

CLIENT = "redis"  # the package of the extra of the same name
LEAST_BURST = 8  # each machine has to have a token of it at hand


def stores_can_be_used(config: Config) -> Iterator[Finding]:
    for number, limit in enumerate(config.rate_limits):
        if limit.store is not None:
            yield from _stored(("rate_limits", number), limit)
        elif limit.store_password_file is not None:
            yield ("rate_limits", number, "store_password_file"), "is for limits with a store"


def _stored(path: Path, limit: RateLimit) -> Iterator[Finding]:
    if find_spec(CLIENT) is None:
        yield (*path, "store"), "needs the package 'redis', which is not installed; pip install 'shardproxy[redis]'"
    if limit.key is not None:
        yield (*path, "store"), "is for limits without a key"
    if limit.delay:
        yield (*path, "delay"), "is for limits without a store"
    if burst_of(limit) < LEAST_BURST:
        key = "store" if limit.burst is None else "burst"
        yield (*path, key), f"a limit with a store needs a burst of {LEAST_BURST} or more"
