"""Keyed buckets agree with token buckets in plain arithmetic, as long as no set is full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.shm.keyed import KeyedBuckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment

SECOND = 10**9

steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 3 * SECOND)), max_size=60)


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, key_tables=1, keys=16))
    yield made
    made.close()


@given(
    steps=steps,
    rate=st.sampled_from([0.01, 1 / 3, 1.0, 7.0, 50.0, 500_000.0]),
    burst=st.integers(1, 50),
    start=st.integers(1, 10**17),
)
def test_a_take_is_admitted_exactly_if_the_tokens_are_there(
    segment: Segment, steps: list[tuple[int, int, int]], rate: float, burst: int, start: int
) -> None:
    for section in (segment.sections.keyed, segment.sections.clocks):
        segment.memory[section.offset : section.end] = bytes(section.end - section.offset)
    buckets = KeyedBuckets(segment, 0, 16, rate, burst)
    now, full_again = start, {number: float(start) for number in range(4)}
    for number, cost, pause in steps:
        now += pause
        ahead = max(0.0, full_again[number] - now) + cost * SECOND / rate
        wait = buckets.take(b"key %d" % number, now, cost)
        slack = 3 * SECOND / rate / 1024 + 2 + 1e-6 * (now - start)  # ticks, and a float's doubts
        if cost == 0:
            assert wait == 0
        elif cost > burst:
            assert wait == 2**63 - 1
        elif wait == 0:
            assert ahead <= burst * SECOND / rate + slack
            full_again[number] = now + ahead
        else:
            assert ahead - burst * SECOND / rate == pytest.approx(wait, abs=slack)
