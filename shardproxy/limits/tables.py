"""Where the buckets of a configuration's limits are in the shared memory, and how fast they fill.

What a limit holds belongs to its name and to what it is kept by, not to its numbers. When one of them changes:

    rate    every bucket goes on with the tokens that it has, and fills at the new rate
    burst   as many tokens are missing as before, at most a whole burst
    keys    (how many there is room for) buckets go on; in a table that shrinks, the fullest may lose their places
    key     what the limit is kept by: it begins anew, with full buckets, since its keys are others
"""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.config.bandwidth import BandwidthLimit, burst_bytes, table_places
from shardproxy.config.limits import LimitOverride, RateLimit, burst_of, key_text, places
from shardproxy.config.schema import Config
from shardproxy.config.words import KIB
from shardproxy.limits.bandwidth import LONGEST_WAIT_NS
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.segment import Segment
from shardproxy.shm.slots import Slots


def bucket_of(limit: RateLimit, segment: Segment, slots: Slots) -> Bucket:
    """Of a limit without a key."""
    return Bucket(Buckets(segment), slots.bucket(names.rate_limit(limit.name)), limit.rate, burst_of(limit))


def override_bucket_of(limit: RateLimit, override: LimitOverride, segment: Segment, slots: Slots) -> Bucket:
    slot = slots.bucket(names.rate_limit_override(limit.name, key_text(limit.key), override.key))
    return Bucket(Buckets(segment), slot, override.rate, burst_of(override))


def table_of(limit: RateLimit, segment: Segment, slots: Slots) -> KeyedBuckets:
    """Of a limit with a key."""
    slot = slots.table(names.rate_limit_keys(limit.name, key_text(limit.key)))
    return KeyedBuckets(segment, slot, places(limit), limit.rate, burst_of(limit), limit.delay)


def bandwidth_table_of(
    limit: BandwidthLimit, direction: str, rate: int, segment: Segment, slots: Slots
) -> KeyedBuckets:
    """Of a limit that is not each connection's own. Its tokens are KiB, so that a tick of it is a byte."""
    slot = slots.table(names.bandwidth_keys(limit.name, direction, key_text(limit.key)))
    burst = -(-burst_bytes(limit, rate) // KIB)
    return KeyedBuckets(segment, slot, table_places(limit), rate / KIB, burst, LONGEST_WAIT_NS)


def bandwidth_rates(limit: BandwidthLimit) -> Iterator[tuple[str, int]]:
    """The directions that a limit limits, and how far."""
    for direction, rate in (("down", limit.down), ("up", limit.up)):
        if rate is not None:
            yield direction, rate


def set_rates(config: Config, segment: Segment, slots: Slots, now_ns: int) -> None:
    """From now on the limits of `config` have its rates, in all processes.  For the supervisor only."""
    for limit in config.rate_limits:
        if limit.key is None:
            bucket = bucket_of(limit, segment, slots)
            bucket.set_rate(limit.rate, now_ns, patience_ns=limit.delay, keeps_time=limit.adaptive is not None)
        else:
            table_of(limit, segment, slots).set_rate(limit.rate, now_ns)
        for override in limit.overrides:
            bucket = override_bucket_of(limit, override, segment, slots)
            bucket.set_rate(override.rate, now_ns, patience_ns=limit.delay)
    for bandwidth in config.bandwidth_limits:
        for direction, rate in () if bandwidth.per_connection else bandwidth_rates(bandwidth):
            bandwidth_table_of(bandwidth, direction, rate, segment, slots).set_rate(rate / KIB, now_ns)
