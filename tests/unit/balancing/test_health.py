"""Endpoints that the controller has decided against get nothing, unless so many are ill that health is ignored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypeAlias

import pytest

from shardproxy.balancing.cluster import Cluster, EndpointSpec, Health
from shardproxy.shm.decisions import CHECKED, EJECTED, FAILED_CHECK, Decisions
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.segment import Segment

Policy: TypeAlias = Literal["least_connection", "round_robin", "random", "peak_ewma", "ring_hash", "maglev"]

FULL, UNHEALTHY = -1, -2
ALL, PANICS = 100, 3
POLICIES: tuple[Policy, ...] = ("least_connection", "round_robin", "random", "peak_ewma", "ring_hash", "maglev")
every_policy = pytest.mark.parametrize("policy", POLICIES)


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=128, counters=16, histograms=1, buckets=1, decisions=100))
    yield made
    made.close()


def checked(
    segment: Segment,
    endpoints: int,
    *,
    policy: Policy = "least_connection",
    threshold: int = 50,
    cap: int | None = None,
    requests_cap: int | None = None,
) -> Cluster:
    """Its endpoints' decisions have the slots of their gauges."""
    specs = [EndpointSpec(slot, 1, cap, slot) for slot in range(endpoints)]
    health = Health(Decisions(segment), threshold, Metrics(segment, 0), PANICS)
    gauges = Gauges(segment, 0)
    return Cluster(gauges, specs, policy=policy, requests=ALL, requests_cap=requests_cap, seed=5, health=health)


def fail(segment: Segment, *slots: int, flags: int = FAILED_CHECK | CHECKED) -> None:
    for slot in slots:
        Decisions(segment).decide(slot, flags, 0, 1)


def panics(segment: Segment) -> int:
    return Metrics(segment, 0).counter_total(PANICS)


@every_policy
@pytest.mark.parametrize("flags", [FAILED_CHECK, EJECTED, FAILED_CHECK | EJECTED | CHECKED])
def test_an_endpoint_that_is_out_gets_nothing_until_it_is_back(segment: Segment, policy: Policy, flags: int) -> None:
    one = checked(segment, 3, policy=policy)
    fail(segment, 1, flags=flags)
    assert set(Counter(one.take() for _ in range(30))) == {0, 2}
    Decisions(segment).decide(1, CHECKED, 0, 2)
    assert 1 in {one.take() for _ in range(30)}
    assert panics(segment) == 0


@every_policy
def test_the_decisions_of_a_cluster_that_is_not_checked_mean_nothing(segment: Segment, policy: Policy) -> None:
    specs = [EndpointSpec(0, 1, None, 0)]
    one = Cluster(Gauges(segment, 0), specs, policy=policy, requests=ALL, requests_cap=None, seed=5)
    fail(segment, 0)
    assert one.take() == 0


@every_policy
def test_exactly_half_is_enough_and_less_than_half_is_a_panic(segment: Segment, policy: Policy) -> None:
    one = checked(segment, 4, policy=policy)
    fail(segment, 0, 1)
    assert {one.take() for _ in range(40)} == {2, 3}
    assert panics(segment) == 0
    fail(segment, 2)
    assert {one.take() for _ in range(80)} == {0, 1, 2, 3}
    assert panics(segment) == 80


@every_policy
def test_all_ill_and_no_panic_allowed_is_a_refusal_that_leaves_nothing_counted(
    segment: Segment, policy: Policy
) -> None:
    one = checked(segment, 2, policy=policy, threshold=0, requests_cap=9)
    fail(segment, 0, 1)
    assert one.take() == UNHEALTHY
    assert [Gauges(segment, 0).total(slot) for slot in (0, 1, ALL)] == [0, 0, 0]
    assert panics(segment) == 0


@every_policy
def test_healthy_ones_that_are_full_are_full_whatever_room_the_ill_have(segment: Segment, policy: Policy) -> None:
    one = checked(segment, 2, policy=policy, cap=1)
    fail(segment, 0)
    assert (one.take(), one.take()) == (1, FULL)


@every_policy
@pytest.mark.parametrize("healthy", [0, 63, 64, 99])
def test_the_only_healthy_one_of_a_hundred_is_found(segment: Segment, policy: Policy, healthy: int) -> None:
    one = checked(segment, 100, policy=policy, threshold=1)
    fail(segment, *(slot for slot in range(100) if slot != healthy))
    assert {one.take() for _ in range(10)} == {healthy}


def test_a_decision_that_the_segment_does_not_have_is_refused(segment: Segment) -> None:
    with pytest.raises(IndexError, match="there is no decision 100"):
        checked(segment, 101)
