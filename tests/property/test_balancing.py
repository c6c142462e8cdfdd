"""Whatever workers take and give, counts are what is outstanding, caps hold, and the choice is a best one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.balancing.cluster import Cluster, EndpointSpec
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment

Policy: TypeAlias = Literal["least_connection", "round_robin", "random", "first", "peak_ewma", "maglev"]
Endpoint: TypeAlias = tuple[int, int | None]  # weight and cap

ROWS = 16
ENDPOINTS = 6
ALL = ENDPOINTS  # the gauge of the whole cluster

policies: st.SearchStrategy[Policy] = st.sampled_from(
    ["least_connection", "round_robin", "random", "first", "peak_ewma", "maglev"]
)
caps = st.none() | st.integers(1, 5)
clusters = st.lists(st.tuples(st.integers(1, 1000), caps), min_size=1, max_size=ENDPOINTS)
cluster_caps = st.none() | st.integers(1, 12)
seeds = st.integers(0, 2**64 - 1)
steps = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, 3), st.integers(0, 10**6)), max_size=80)


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=ROWS, gauges=ENDPOINTS + 1, counters=1, histograms=1, buckets=1))
    made.rows_used = ROWS
    yield made
    made.close()


@dataclass
class Workers:
    """A worker for every row, and who holds what: (row, endpoint) for each request under way."""

    segment: Segment
    endpoints: list[Endpoint]
    policy: Policy
    requests_cap: int | None
    seed: int
    held: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gauges = [Gauges(self.segment, row) for row in range(ROWS)]
        for row, gauges in enumerate(self.gauges):
            gauges.clear_row(row)
        self.clusters = [self.cluster(row) for row in range(ROWS)]

    def cluster(self, row: int) -> Cluster:
        specs = [EndpointSpec(slot, weight, cap) for slot, (weight, cap) in enumerate(self.endpoints)]
        return Cluster(
            self.gauges[row],
            specs,
            policy=self.policy,
            requests=ALL,
            requests_cap=self.requests_cap,
            seed=(self.seed + row) % 2**64,
        )

    def take(self, row: int) -> int:
        index = self.clusters[row].take()
        if index >= 0:
            self.held.append((row, index))
        return index

    def give(self, chance: int) -> None:
        if self.held:
            row, index = self.held.pop(chance % len(self.held))
            self.clusters[row].give(index)

    def active(self, index: int) -> int:
        return sum(held == index for _, held in self.held)

    def free(self) -> list[int]:
        """Endpoints that may take one more request."""
        if self.requests_cap is not None and len(self.held) >= self.requests_cap:
            return []
        return [at for at, (_, cap) in enumerate(self.endpoints) if cap is None or self.active(at) < cap]

    def load(self, index: int) -> Fraction:
        """What least connection compares."""
        return Fraction(self.active(index) + 1, self.endpoints[index][0])

    def check_counts(self) -> None:
        for index, (_, cap) in enumerate(self.endpoints):
            assert self.gauges[0].total(index) == self.active(index)
            assert cap is None or self.active(index) <= cap
        assert self.gauges[0].total(ALL) == (0 if self.requests_cap is None else len(self.held))
        assert self.requests_cap is None or len(self.held) <= self.requests_cap


@given(clusters, policies, cluster_caps, seeds, steps)
def test_totals_are_what_is_outstanding_and_only_a_full_cluster_refuses(
    segment: Segment,
    endpoints: list[Endpoint],
    policy: Policy,
    requests_cap: int | None,
    seed: int,
    steps: list[tuple[int, int, int]],
) -> None:
    workers = Workers(segment, endpoints, policy, requests_cap, seed)
    for row, kind, chance in steps:
        if kind:
            free = workers.free()
            assert workers.take(row) in (free or [-1])
        else:
            workers.give(chance)
        workers.check_counts()
    while workers.held:
        workers.give(0)
    workers.check_counts()


@given(clusters, cluster_caps, seeds, steps)
def test_least_connection_takes_one_of_the_least_loaded(
    segment: Segment,
    endpoints: list[Endpoint],
    requests_cap: int | None,
    seed: int,
    steps: list[tuple[int, int, int]],
) -> None:
    workers = Workers(segment, endpoints, "least_connection", requests_cap, seed)
    for row, kind, chance in steps:
        if not kind:
            workers.give(chance)
            continue
        loads = {index: workers.load(index) for index in workers.free()}
        index = workers.take(row)
        assert loads[index] == min(loads.values()) if loads else index == -1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=ENDPOINTS), seeds)
def test_a_whole_turn_of_round_robin_gives_each_its_weight(segment: Segment, weights: list[int], seed: int) -> None:
    workers = Workers(segment, [(weight, None) for weight in weights], "round_robin", None, seed)
    for turn in (1, 2):
        for _ in range(sum(weights)):
            workers.take(1)
        assert [workers.active(index) for index in range(len(weights))] == [turn * weight for weight in weights]


@given(clusters, policies, cluster_caps, seeds, steps)
def test_clearing_a_row_forgets_just_what_that_worker_held(
    segment: Segment,
    endpoints: list[Endpoint],
    policy: Policy,
    requests_cap: int | None,
    seed: int,
    steps: list[tuple[int, int, int]],
) -> None:
    workers = Workers(segment, endpoints, policy, requests_cap, seed)
    for row, _, _ in steps:
        workers.take(row)
    dead = steps[0][0] if steps else 0
    workers.gauges[0].clear_row(dead)
    workers.held = [(row, index) for row, index in workers.held if row != dead]
    workers.check_counts()
