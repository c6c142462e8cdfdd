"""Whichever endpoints are ill: the healthy ones are chosen from, or all, or nobody, as the threshold says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.balancing.cluster import Cluster, EndpointSpec, Health
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment

Policy: TypeAlias = Literal["least_connection", "round_robin", "random"]

FULL, UNHEALTHY = -1, -2
MOST = 70  # beyond the 64 that a set of lost races has bits for
ALL = MOST

flags = st.sampled_from([0, CHECKED, FAILED_CHECK, EJECTED, FAILED_CHECK | CHECKED, FAILED_CHECK | EJECTED])
endpoints = st.lists(st.tuples(flags, st.integers(1, 100), st.none() | st.integers(0, 2)), min_size=1, max_size=MOST)
policies: st.SearchStrategy[Policy] = st.sampled_from(["least_connection", "round_robin", "random"])


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=MOST + 1, counters=1, histograms=1, buckets=1, decisions=MOST))
    yield made
    made.close()


@given(endpoints, policies, st.integers(0, 100), st.integers(0, 2**64 - 1))
def test_a_choice_is_among_those_that_health_and_caps_leave(
    segment: Segment, found: list[tuple[int, int, int | None]], policy: Policy, threshold: int, seed: int
) -> None:
    gauges, decisions, metrics = Gauges(segment, 0), Decisions(segment), Metrics(segment, 0)
    gauges.clear_row(0)
    for slot, (decided, _, _) in enumerate(found):
        decisions.decide(slot, decided, 0, 1)
    specs = [EndpointSpec(slot, weight, cap, slot) for slot, (_, weight, cap) in enumerate(found)]
    health = Health(decisions, threshold, metrics, 0)
    cluster = Cluster(gauges, specs, policy=policy, requests=ALL, requests_cap=None, seed=seed, health=health)
    healthy = {slot for slot, (decided, _, _) in enumerate(found) if not decided & 0xFF}
    is_panic = len(healthy) / len(found) < threshold / 100
    before, active = metrics.counter_total(0), [0] * len(found)
    for _ in range(8):
        pool = set(range(len(found))) if is_panic else healthy
        free = {slot for slot in pool if found[slot][2] is None or active[slot] < (found[slot][2] or 0)}
        index = cluster.take()
        assert index in (free or {FULL} if pool else {UNHEALTHY})
        if index >= 0:
            active[index] += 1
        assert [gauges.total(slot) for slot in range(len(found))] == active
    assert metrics.counter_total(0) - before == (8 if is_panic else 0)
