from __future__ import annotations

import pytest

from shardproxy.shm.metrics import HISTOGRAM_COUNTS, Metrics, part_bounds_ns, quantile
from shardproxy.shm.segment import Segment

MS = 1_000_000


def rows(segment: Segment, *numbers: int) -> list[Metrics]:
    segment.rows_used = 1 + max(numbers)
    return [Metrics(segment, number) for number in numbers]


def test_a_counter_is_the_sum_of_what_all_rows_counted(segment: Segment) -> None:
    one, two = rows(segment, 1, 2)
    one.count(9)
    two.count(9, 2**40)
    assert one.counter_total(9) == 2**40 + 1
    assert [one.counter_row(9, row) for row in range(3)] == [0, 1, 2**40]
    assert one.counter_total(8) == one.counter_total(10) == 0


def test_a_histogram_is_the_sum_of_what_all_rows_observed(segment: Segment) -> None:
    one, two = rows(segment, 1, 2)
    one.observe_ns(3, 5 * MS)
    two.observe_ns(3, 5 * MS)
    two.observe_ns(3, 70 * MS)
    counts = one.histogram_total(3)
    assert len(counts) == HISTOGRAM_COUNTS
    assert sorted(count for count in counts if count) == [1, 2]
    assert one.histogram_sum_ns(3) == 80 * MS
    assert not any(one.histogram_total(2))
    assert not any(one.histogram_total(4))


def test_the_parts_of_a_histogram_join_without_gap_from_a_microsecond_to_half_an_hour() -> None:
    bounds = [part_bounds_ns(part) for part in range(HISTOGRAM_COUNTS)]
    assert bounds[0][0] == 1024
    assert bounds[-1][1] == 1 << 41
    assert all(before[1] == after[0] for before, after in zip(bounds, bounds[1:], strict=False))


@pytest.mark.parametrize("part", range(0, HISTOGRAM_COUNTS, 13))
def test_the_first_and_last_duration_of_a_part_count_in_it(segment: Segment, part: int) -> None:
    (metrics,) = rows(segment, 0)
    low, high = part_bounds_ns(part)
    metrics.observe_ns(0, low)
    metrics.observe_ns(0, high - 1)
    assert metrics.histogram_total(0)[part] == 2


@pytest.mark.parametrize(("ns", "part"), [(0, 0), (1023, 0), (1 << 41, HISTOGRAM_COUNTS - 1), (2**64 - 1, -1)])
def test_durations_beyond_the_ends_count_in_the_end_parts(segment: Segment, ns: int, part: int) -> None:
    (metrics,) = rows(segment, 0)
    metrics.observe_ns(0, ns)
    assert metrics.histogram_total(0)[part] == 1


def test_quantiles_are_the_middle_of_the_part_with_that_rank(segment: Segment) -> None:
    (metrics,) = rows(segment, 0)
    for _ in range(98):
        metrics.observe_ns(0, 2 * MS)
    for slow in (50 * MS, 900 * MS):
        metrics.observe_ns(0, slow)
    counts = metrics.histogram_total(0)
    for q, true in ((0.0, 2 * MS), (0.5, 2 * MS), (0.98, 2 * MS), (0.99, 50 * MS), (1.0, 900 * MS)):
        assert quantile(counts, q) == pytest.approx(true, rel=0.0625)


def test_the_quantile_of_nothing_is_zero() -> None:
    assert quantile([0] * HISTOGRAM_COUNTS, 0.99) == 0.0
    assert quantile([], 0.5) == 0.0


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_out_of_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="a quantile must be from 0 to 1"):
        quantile([1], q)


def test_what_a_dead_process_has_counted_stays_in_the_totals(segment: Segment) -> None:
    kept, dead, alive = rows(segment, 0, 1, 2)
    for metrics in (kept, dead, alive):
        metrics.count(7, 3)
        metrics.observe_ns(4, MS)
    segment.rows_used = 1  # rows 1 and 2 are nobody's any more
    assert kept.counter_total(7) == 9
    assert sum(kept.histogram_total(4)) == 3
    assert kept.histogram_sum_ns(4) == 3 * MS


def test_the_next_process_of_a_row_counts_on_from_the_one_before(segment: Segment) -> None:
    reader, first, second = rows(segment, 0, 1, 1)
    first.count(7, 3)
    second.count(7, 2)
    assert (reader.counter_row(7, 1), reader.counter_total(7)) == (5, 5)


def test_slots_and_rows_that_are_not_there_are_refused(segment: Segment) -> None:
    (metrics,) = rows(segment, 0)
    for call, sentence in (
        (lambda: metrics.count(100), "there is no counter 100; the segment has 100"),
        (lambda: metrics.counter_total(-1), "there is no counter -1"),
        (lambda: metrics.observe_ns(10, 1), "there is no histogram 10; the segment has 10"),
        (lambda: metrics.counter_row(0, 32), "there is no row 32; the segment has 32"),
        (lambda: Metrics(segment, -1), "there is no row -1"),
        (lambda: part_bounds_ns(HISTOGRAM_COUNTS), "there is no histogram part 248"),
    ):
        with pytest.raises(IndexError, match=sentence):
            call()


def test_repr_tells_its_row(segment: Segment) -> None:
    assert repr(rows(segment, 3)[0]) == "<Metrics row=3 counters=100>"
