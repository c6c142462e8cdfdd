"""A rate limit of the configuration, compiled into buckets in the shared memory."""

from __future__ import annotations

from dataclasses import dataclass

from shardproxy.config import schema
from shardproxy.limits.keys import Key
from shardproxy.limits.leases import Lease
from shardproxy.limits.rates import RateLimit
from shardproxy.limits.tables import bucket_of, override_bucket_of, table_of
from shardproxy.shm import names
from shardproxy.shm.buckets import Bucket
from shardproxy.shm.slots import Slots
from shardproxy.shm.words import Words
from shardproxy.worker.snapshot import Worksite

LEASE_RETRY_NS = 50_000_000  # the controller leases more every 25 ms


@dataclass(frozen=True)
class LimitBuilder:
    site: Worksite
    slots: Slots

    def limit(self, limit: schema.RateLimit) -> RateLimit:
        key = None if limit.key is None else key_of(limit.key)
        return RateLimit(
            bucket_of(limit, self.site.segment, self.slots) if key is None else None,
            self.slots.counter(names.rate_limit_admitted(limit.name)),
            self.slots.counter(names.rate_limit_refused(limit.name)),
            name=limit.name,
            keyed=None if key is None else table_of(limit, self.site.segment, self.slots),
            key=key,
            overrides=[] if key is None else self.overrides(limit, key),
            patience_ns=limit.delay,
            cost=limit.cost.tokens,
            cost_field=limit.cost.header.lower().encode() if limit.cost.header else None,
            bytes_per_token=limit.cost.response or 0,
            is_dry=limit.dry_run,
            tells_all=limit.x_ratelimit,
            delayed=self.slots.counter(names.rate_limit_delayed(limit.name)),
            evicted=-1 if key is None else self.slots.counter(names.rate_limit_evicted(limit.name)),
            lease=None if limit.store is None else self.lease(limit),
            words=None if limit.adaptive is None else Words(self.site.segment),
            interval=-1 if limit.adaptive is None else self.slots.word(names.rate_limit_interval(limit.name)),
        )

    def lease(self, limit: schema.RateLimit) -> Lease:
        return Lease(
            Words(self.site.segment),
            self.slots.word(names.rate_limit_lease(limit.name)),
            self.slots.word(names.rate_limit_leased_until(limit.name)),
            self.slots.counter(names.rate_limit_asked(limit.name)),
            limit.on_store_failure,
            max(LEASE_RETRY_NS, round(1e9 / limit.rate)),
        )

    def overrides(self, limit: schema.RateLimit, key: Key) -> list[tuple[int, Bucket]]:
        segment, slots = self.site.segment, self.slots
        return [
            (key.hash_of(segment.secret, one.key.encode()), override_bucket_of(limit, one, segment, slots))
            for one in limit.overrides
        ]


def key_of(key: schema.LimitKey) -> Key:
    parts = [("client", b"", key.ipv4_prefix, key.ipv6_prefix)] if key.address else []
    for source, name in (("header", key.header), ("cookie", key.cookie), ("query", key.query)):
        if name is not None:
            parts.append((source, name.encode(), 0, 0))
    if key.path is not None:
        parts.append(("path", key.path.partition("{")[0].encode(), 0, 0))
    return Key(parts)
