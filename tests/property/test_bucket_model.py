"""A bucket agrees, to the nanosecond, with a token bucket reckoned in fractions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.layout import LINE_BYTES, Capacities
from shardproxy.shm.segment import Segment

SECOND = 10**9
NEVER = 2**63 - 1
CLOCK_SLACK_NS = 10 * SECOND  # as in buckets.pxd

rates = st.one_of(st.floats(0.01, 10_000_000), st.sampled_from([0.01, 1 / 3, 1.0, 3.0, 500.0, 7_000_000.0, 1e7]))
bursts = st.one_of(st.integers(1, 5), st.integers(1, 100_000))
clocks = st.integers(1, 10**17)  # a start, up to three years of uptime


class Tokens:
    """A jar that fills evenly and overflows at `burst`: the textbook, with nothing rounded but the interval."""

    def __init__(self, rate: float, burst: int, now_ns: int) -> None:
        self.per_token_ns = Fraction(math.ceil(16 * SECOND / Fraction(rate)), 16)
        self.burst = burst
        self.level = Fraction(burst)
        self.at_ns = now_ns

    def take(self, now_ns: int, cost: int) -> int:
        self.level = min(Fraction(self.burst), self.level + (now_ns - self.at_ns) / self.per_token_ns)
        self.at_ns = now_ns
        if cost > self.burst:
            return NEVER
        if cost > self.level:
            return math.ceil((cost - self.level) * self.per_token_ns)
        self.level -= cost
        return 0


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=1, counters=1, histograms=1, buckets=1))
    yield made
    made.close()


def fresh(segment: Segment, rate: float, burst: int, word: int = 0) -> Bucket:
    """The only bucket, as if nobody had had it, with its word set."""
    line = segment.part(segment.sections.buckets)[:LINE_BYTES].cast("Q")
    line[:] = memoryview(bytes(LINE_BYTES)).cast("Q")
    line[0] = word
    return Bucket(Buckets(segment), 0, rate, burst)


@st.composite
def journeys(draw: st.DrawFn, rate: float, burst: int) -> list[tuple[int, int]]:
    """Steps of the clock in ns (often none) and costs, of a size that matters to the bucket."""
    token_ns = math.ceil(SECOND / rate)
    steps = st.one_of(st.just(0), st.integers(0, 3 * token_ns), st.integers(0, token_ns * (burst + 1)))
    costs = st.one_of(st.just(1), st.integers(1, min(burst + 2, 10)), st.integers(1, burst + 1))
    return draw(st.lists(st.tuples(steps, costs), max_size=60))


@given(rates, bursts, clocks, st.data())
def test_it_admits_refuses_and_waits_exactly_as_the_model(
    segment: Segment, rate: float, burst: int, now_ns: int, data: st.DataObject
) -> None:
    bucket, model = fresh(segment, rate, burst), Tokens(rate, burst, now_ns)
    for step, cost in data.draw(journeys(rate, burst)):
        now_ns += step
        assert bucket.take(now_ns, cost) == model.take(now_ns, cost)
        assert bucket.tokens(now_ns) == pytest.approx(float(model.level), rel=1e-9, abs=1e-9)


@given(rates, bursts, clocks, st.data())
def test_what_is_given_back_at_once_was_never_taken(
    segment: Segment, rate: float, burst: int, now_ns: int, data: st.DataObject
) -> None:
    bucket, model = fresh(segment, rate, burst), Tokens(rate, burst, now_ns)
    for step, cost in data.draw(journeys(rate, burst)):
        now_ns += step
        undone = data.draw(st.integers(1, burst))
        if bucket.take(now_ns, undone) == 0:
            bucket.give_back(undone)
        assert bucket.take(now_ns, cost) == model.take(now_ns, cost)


@given(rates)
def test_the_interval_is_never_shorter_than_asked_and_errs_by_under_a_tenth_of_a_percent(rate: float) -> None:
    interval = Tokens(rate, 1, 0).per_token_ns
    assert Fraction(SECOND) / Fraction(rate) <= interval < Fraction(SECOND) / Fraction(rate) * Fraction(1001, 1000)


@given(rates, bursts, clocks, st.data())
def test_the_wait_is_the_shortest_that_helps(
    segment: Segment, rate: float, burst: int, now_ns: int, data: st.DataObject
) -> None:
    bucket = fresh(segment, rate, burst)
    assert bucket.take(now_ns, data.draw(st.integers(1, burst))) == 0
    cost = data.draw(st.integers(1, burst))
    wait_ns = bucket.take(now_ns, cost)
    if wait_ns:
        assert bucket.take(now_ns + wait_ns - 1, cost) == 1
        assert bucket.take(now_ns + wait_ns, cost) == 0


@given(rates, bursts, st.integers(10**12, 10**17), st.data())
def test_clocks_that_differ_between_processes_never_make_it_admit_more(
    segment: Segment, rate: float, burst: int, start_ns: int, data: st.DataObject
) -> None:
    """Over any window of what callers say the time is, in whatever order they come (up to 5 s behind)."""
    bucket, model = fresh(segment, rate, burst), Tokens(rate, burst, 0)
    behind = st.integers(0, 5 * SECOND)
    taken: list[tuple[int, int]] = []
    for step, cost in data.draw(journeys(rate, burst)):
        start_ns += step
        now_ns = start_ns - data.draw(behind)
        if bucket.take(now_ns, cost) == 0:
            taken.append((now_ns, cost))
    taken.sort()
    for first in range(len(taken)):
        total = 0
        for now_ns, cost in taken[first:]:
            total += cost
            assert total <= burst + (now_ns - taken[first][0]) / model.per_token_ns


@given(rates, bursts, clocks, st.integers(0, 2**64 - 1))
def test_whatever_stands_in_the_word_it_is_a_state_from_which_the_bucket_goes_on(
    segment: Segment, rate: float, burst: int, now_ns: int, word: int
) -> None:
    bucket = fresh(segment, rate, burst, word)
    assert 0 <= bucket.tokens(now_ns) <= burst
    wait_ns = bucket.take(now_ns)
    assert 0 <= wait_ns <= CLOCK_SLACK_NS + SECOND / rate + 1
    if wait_ns:
        assert bucket.take(now_ns + wait_ns) == 0
