"""Property: loads and panics of any levels are those of Envoy's priority.rst and panic_threshold.rst."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardproxy.balancing.levels import Levels
from shardproxy.shm.decisions import FAILED_CHECK, Decisions
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment

# endpoints and, of those, healthy ones, by level
levels_of_any_health = st.lists(
    st.integers(1, 12).flatmap(lambda total: st.tuples(st.just(total), st.integers(0, total))), min_size=1, max_size=5
)


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=16, counters=16, histograms=1, buckets=1, decisions=64))
    yield made
    made.close()


def model(levels: list[tuple[int, int]], factor: int, threshold: int) -> list[tuple[int, bool]]:
    """Percent and panic by level, as the documents say it."""
    health = [min(100, factor * healthy // total) for total, healthy in levels]
    normalized = min(100, sum(health))
    panics = [normalized < 100 and 100 * healthy / total < threshold for total, healthy in levels]
    if all(panics):
        everybody = sum(total for total, _ in levels)
        loads = [100 * total // everybody for total, _ in levels]
        loads[0] += 100 - sum(loads)
    elif normalized == 0:
        loads = [100] + [0] * (len(levels) - 1)
    else:
        wanted = [100 * one // normalized for one in health]
        before = [0, *accumulate(wanted)]
        loads = [max(0, min(want, 100 - had)) for want, had in zip(wanted, before, strict=False)]
        loads[next(number for number, one in enumerate(health) if one)] += 100 - sum(loads)
    return list(zip(loads, panics, strict=True))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(levels_of_any_health, st.sampled_from([100, 140, 200]), st.sampled_from([0, 30, 50, 80, 100]))
def test_levels_share_out_requests_as_the_documents_say(
    segment: Segment, levels: list[tuple[int, int]], factor: int, threshold: int
) -> None:
    decisions = Decisions(segment)
    level_of = [number for number, (total, _) in enumerate(levels) for _ in range(total)]
    slots = list(range(len(level_of)))
    ill = [place >= healthy for total, healthy in levels for place in range(total)]
    for slot, is_ill in zip(slots, ill, strict=True):
        decisions.decide(slot, FAILED_CHECK if is_ill else 0, 0, 1)
    seen = Levels(level_of, slots, overprovisioning=factor, panic_threshold=threshold).shares(decisions)
    assert [(load, panics) for _, _, load, panics in seen] == model(levels, factor, threshold)
    assert sum(load for _, _, load, _ in seen) == 100
    assert [(total, healthy) for total, healthy, _, _ in seen] == levels
