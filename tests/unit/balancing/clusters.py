"""Clusters for tests: endpoints by weight and cap in one segment, seen from any worker's row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardproxy.balancing.cluster import Cluster, EndpointSpec, Health, SlowStart
from shardproxy.shm.decisions import Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words

if TYPE_CHECKING:
    from shardproxy.balancing.cluster import Policy

ROWS = 16
ALL = 2000  # the gauge of a whole cluster
TURN = 3999  # the word of its round robin
PANICS = 1


@contextmanager
def small_segment() -> Iterator[Segment]:
    made = Segment.create(
        Capacities(rows=ROWS, gauges=2048, counters=16, histograms=1, buckets=1, decisions=2048, words=4096)
    )
    made.rows_used = ROWS
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Terms:
    """What a test says of a cluster beside its endpoints."""

    policy: Policy
    row: int = 1
    seed: int = 7
    is_checked: bool = False
    slow_start: SlowStart | None = None
    balance_factor: int = 0
    names: Sequence[str] = ()


def cluster(segment: Segment, weights: Sequence[int], terms: Terms, caps: Sequence[int | None] = ()) -> Cluster:
    """Endpoint i has gauge and decision i, the words i (latency) and 2000 + i (since)."""
    specs = [
        EndpointSpec(i, weight, cap, i, (terms.names[i] if terms.names else f"10.0.0.{i}:80").encode(), i, 2000 + i)
        for i, (weight, cap) in enumerate(zip(weights, caps or [None] * len(weights), strict=True))
    ]
    return Cluster(
        Gauges(segment, terms.row),
        specs,
        policy=terms.policy,
        requests=ALL,
        requests_cap=None,
        seed=terms.seed,
        health=Health(Decisions(segment), 0, Metrics(segment, terms.row), PANICS) if terms.is_checked else None,
        words=Words(segment),
        turn=TURN,
        slow_start=terms.slow_start,
        decay_ns=10**9,
        hash_balance_factor=terms.balance_factor,
    )


def taken(one: Cluster, times: int, key: int | None = None) -> list[int]:
    """Which endpoints got so many requests, each over before the next."""
    found = []
    for _ in range(times):
        index = one.take(key=key)
        found.append(index)
        if index >= 0:
            one.give(index)
    return found


def far_from(observed: Sequence[int], shares: Sequence[float]) -> float:
    """Pearson's chi-square in standard deviations from its mean: above 5 happens once in some million tests."""
    total, whole = sum(observed), sum(shares)
    expected = [total * share / whole for share in shares]
    square = sum((seen - wanted) ** 2 / wanted for seen, wanted in zip(observed, expected, strict=True))
    freedom = len(shares) - 1
    return float((square - freedom) / (2 * freedom) ** 0.5)
