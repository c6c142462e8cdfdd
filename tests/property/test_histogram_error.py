"""A quantile read from a histogram is within 6.25 % of the true one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.shm.layout import Capacities
from shardproxy.shm.metrics import Metrics, part_bounds_ns, quantile
from shardproxy.shm.segment import Segment

SHORTEST_NS, LONGEST_NS = 1 << 10, (1 << 41) - 1

durations = st.one_of(
    st.integers(SHORTEST_NS, LONGEST_NS),
    st.floats(10, 40.99).map(lambda log2: int(2**log2)),  # as often short as long
    st.integers(10, 40).map(lambda log2: 1 << log2),  # the edges, where the error is largest
)
quantiles = st.one_of(st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.99, 0.999]))


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=1, counters=1, histograms=1, buckets=1))
    made.rows_used = 4
    yield made
    made.close()


def empty(segment: Segment, row: int) -> Metrics:
    section = segment.sections.histograms
    start = section.offset + row * section.stride
    segment.memory[start : start + 2048] = bytes(2048)
    return Metrics(segment, row)


@given(st.lists(durations, min_size=1, max_size=200), quantiles)
def test_a_quantile_is_within_a_sixteenth_of_the_true_one(segment: Segment, observed: list[int], q: float) -> None:
    rows = [empty(segment, row) for row in range(4)]
    for number, ns in enumerate(observed):
        rows[number % 4].observe_ns(0, ns)
    counts = rows[0].histogram_total(0)
    true = sorted(observed)[max(1, math.ceil(q * len(observed))) - 1]
    assert sum(counts) == len(observed)
    assert rows[0].histogram_sum_ns(0) == sum(observed)
    assert abs(quantile(counts, q) - true) <= 0.0625 * true


@given(durations)
def test_a_duration_counts_in_the_part_whose_bounds_hold_it(segment: Segment, ns: int) -> None:
    metrics = empty(segment, 0)
    for row in range(1, 4):
        empty(segment, row)
    metrics.observe_ns(0, ns)
    low, high = part_bounds_ns(metrics.histogram_total(0).index(1))
    assert low <= ns < high
