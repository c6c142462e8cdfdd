from __future__ import annotations

from itertools import pairwise

import pytest

from shardproxy.shm import layout
from shardproxy.shm.layout import Capacities


def test_sections_follow_each_other_on_whole_pages_without_overlap() -> None:
    parts = layout.sections(Capacities(rows=48, gauges=7, counters=3, histograms=1, buckets=5, addresses=16))
    for before, after in pairwise(parts):
        assert after.offset == before.end
        assert before.offset + before.stride * before.blocks <= before.end
    assert all(part.offset % layout.PAGE_BYTES == 0 for part in parts)
    assert parts.size == parts.histograms.end


def test_the_gauges_of_a_slot_begin_on_a_cache_line_so_that_sums_are_vector_adds() -> None:
    parts = layout.sections(Capacities(rows=48))
    assert parts.gauges.offset % layout.LINE_BYTES == 0
    assert parts.gauges.stride % layout.LINE_BYTES == 0


def test_rows_of_metrics_never_share_a_line() -> None:
    parts = layout.sections(Capacities(counters=3, histograms=1))
    assert parts.counters.stride % layout.LINE_BYTES == 0
    assert parts.histograms.stride % layout.LINE_BYTES == 0


def test_the_default_segment_stays_below_a_gibibyte_of_addresses() -> None:
    assert layout.sections(Capacities()).size < 1 << 30


def test_the_header_ends_before_the_rows_used_begin() -> None:
    assert layout.HEADER.size <= layout.ROWS_USED_OFFSET < layout.PAGE_BYTES


@pytest.mark.parametrize("rows", [0, -16, 15, 17, 1040])
def test_rows_that_do_not_fill_cache_lines_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"rows must be a multiple of 16 up to 1024, not {rows}"):
        Capacities(rows=rows)


@pytest.mark.parametrize("kind", ["gauges", "counters", "histograms", "buckets", "decisions", "queues"])
@pytest.mark.parametrize("number", [0, -1, (1 << 24) + 1])
def test_slots_out_of_range_are_refused(kind: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{kind} must be from 1 to 16777216, not {number}"):
        Capacities(**{kind: number})


@pytest.mark.parametrize("number", [0, -16, 8, 24, 1 << 25])
def test_addresses_that_do_not_make_sets_by_a_power_of_two_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"addresses must be a power of two from 16 to 16777216, not {number}"):
        Capacities(addresses=number)


def test_the_cells_of_an_address_are_laid_out_like_those_of_a_gauge() -> None:
    parts = layout.sections(Capacities(rows=48))
    assert parts.address_cells.stride == parts.gauges.stride
    assert parts.address_cells.offset % layout.LINE_BYTES == 0
    assert parts.address_tags.blocks * layout.ADDRESS_WAYS == parts.address_cells.blocks
