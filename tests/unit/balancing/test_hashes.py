"""Ring and Maglev: who gets which key, how few keys move, and how loads are bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypeAlias

import pytest

from shardproxy.balancing.cluster import Cluster
from shardproxy.shm.decisions import EJECTED, Decisions
from shardproxy.shm.segment import Segment
from tests.unit.balancing.clusters import Terms, cluster, far_from, small_segment, taken

Hash: TypeAlias = Literal["ring_hash", "maglev"]
KEYS = [(number * 0x9E3779B97F4A7C15 + 12345) % 2**64 for number in range(20_000)]
both = pytest.mark.parametrize("policy", ["ring_hash", "maglev"])


@pytest.fixture
def segment() -> Iterator[Segment]:
    with small_segment() as made:
        yield made


def owner(one: Cluster, key: int) -> int:
    index = one.take(key=key)
    one.give(index)
    return index


def owners(one: Cluster, names: list[str]) -> list[str]:
    return [names[owner(one, key)] for key in KEYS]


def named(segment: Segment, policy: Hash, names: list[str], row: int = 1) -> list[str]:
    return owners(cluster(segment, [1] * len(names), Terms(policy, row=row, names=names, seed=row)), names)


@both
def test_all_workers_and_any_order_of_endpoints_lead_a_key_to_the_same_one(segment: Segment, policy: Hash) -> None:
    names = [f"10.0.0.{number}:80" for number in range(7)]
    assert named(segment, policy, names) == named(segment, policy, names[::-1], row=2)


def test_the_hashes_are_the_same_on_every_machine_and_in_every_version(segment: Segment) -> None:
    """What changes here moves every session there is: a release has to say so."""
    names = ["a:1", "b:1", "c:1", "d:1"]
    keys = KEYS[:8]
    found = [
        "".join(names[owner(cluster(segment, [1] * 4, Terms(policy, names=names)), key)][0] for key in keys)
        for policy in ("ring_hash", "maglev")
    ]
    assert found == ["bcababbd", "acabcbbd"]


@both
@pytest.mark.parametrize("count", [2, 5, 10, 40])
def test_removing_one_of_n_moves_little_more_than_its_own_keys(segment: Segment, policy: Hash, count: int) -> None:
    names = [f"10.0.0.{number}:80" for number in range(count)]
    before, after = named(segment, policy, names), named(segment, policy, names[1:])
    moved = sum(one != other for one, other in zip(before, after, strict=True)) / len(KEYS)
    assert moved <= 1 / count + 0.05
    if policy == "ring_hash":
        assert {one for one, other in zip(before, after, strict=True) if one != other} == {names[0]}


@both
def test_keys_are_shared_by_weight(segment: Segment, policy: Hash) -> None:
    one = cluster(segment, [1, 2, 5], Terms(policy))
    seen = Counter(owner(one, key) for key in KEYS)
    for index, weight in enumerate([1, 2, 5]):
        assert seen[index] == pytest.approx(len(KEYS) * weight / 8, rel=0.12 if policy == "ring_hash" else 0.05)


@both
def test_keys_of_an_endpoint_that_is_out_spread_over_all_others_and_the_rest_stay(
    segment: Segment, policy: Hash
) -> None:
    one = cluster(segment, [1] * 6, Terms(policy, is_checked=True))
    before = [owner(one, key) for key in KEYS]
    Decisions(segment).decide(3, EJECTED, 0, 1)
    after = [owner(one, key) for key in KEYS]
    assert all(was in (now, 3) for was, now in zip(before, after, strict=True))
    heirs = Counter(now for was, now in zip(before, after, strict=True) if was == 3)
    assert set(heirs) == {0, 1, 2, 4, 5}
    assert max(heirs.values()) < 2 * min(heirs.values())
    Decisions(segment).clear(3)
    assert [owner(one, key) for key in KEYS] == before


@both
def test_a_busy_key_overflows_to_others_by_the_bound_over_all_workers(segment: Segment, policy: Hash) -> None:
    workers = [cluster(segment, [1] * 4, Terms(policy, row=row, balance_factor=125)) for row in (1, 2, 3)]
    seen = Counter(workers[number % 3].take(key=77) for number in range(120))
    assert max(seen.values()) <= -(-125 * 120 // 400)
    assert sum(seen.values()) == 120


@both
def test_without_a_bound_a_key_stays_whatever_the_load(segment: Segment, policy: Hash) -> None:
    one = cluster(segment, [1] * 4, Terms(policy))
    assert len({one.take(key=77) for _ in range(50)}) == 1


@both
def test_with_a_bound_the_endpoints_that_are_out_do_not_count(segment: Segment, policy: Hash) -> None:
    one = cluster(segment, [1] * 4, Terms(policy, balance_factor=150, is_checked=True))
    home = owner(one, 77)
    for index in {0, 1, 2, 3} - {home, (home + 1) % 4}:
        Decisions(segment).decide(index, EJECTED, 0, 1)
    seen = Counter(one.take(key=77) for _ in range(100))
    assert seen[home] == 75


@both
def test_an_endpoint_that_was_tried_or_is_full_is_passed_by(segment: Segment, policy: Hash) -> None:
    one = cluster(segment, [1] * 3, Terms(policy), caps=[1, 1, 1])
    first = one.take(key=5)
    second = one.take(key=5)
    assert {first, second, one.take(1 << first, key=5)} == {0, 1, 2}
    assert one.take(key=5) == -1


@both
def test_without_a_key_all_get_some(segment: Segment, policy: Hash) -> None:
    assert set(taken(cluster(segment, [1] * 5, Terms(policy)), 200)) == set(range(5))


@both
def test_a_million_picks_fall_to_endpoints_as_the_hash_divides_the_keys(segment: Segment, policy: Hash) -> None:
    """Shares by evenly spaced keys, which cut the ring fine enough to know its arcs; then picks by chance."""
    one, weights, many = cluster(segment, [1, 2, 3, 4], Terms(policy, seed=20261123)), range(4), 1 << 21
    shares = Counter(owner(one, step * 2**64 // many) for step in range(many))
    picks = Counter(taken(one, 10**6))
    assert sum(picks.values()) == 10**6
    assert far_from([picks[index] for index in weights], [shares[index] for index in weights]) < 5
