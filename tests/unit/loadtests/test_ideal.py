"""The bucket that limits are held against, and what is offered to them."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.ideal import admitted
from loadtests.limits import Case, Result, cases, due


def test_a_full_bucket_admits_its_burst_and_then_as_tokens_come() -> None:
    assert admitted([(0.0, 10)], rate=1, burst=4) == 4
    assert admitted([(0.0, 10), (2.5, 10)], rate=2, burst=4) == 8
    assert admitted([(0.0, 10), (0.5, 10), (1.0, 10)], rate=2, burst=4) == 6


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), min_size=1), st.integers(1, 100), st.integers(1, 50))
def test_it_never_admits_more_than_burst_and_rate_allow(
    arrivals: list[tuple[float, int]], rate: int, burst: int
) -> None:
    arrivals.sort()
    span = arrivals[-1][0] - arrivals[0][0]
    assert admitted(arrivals, rate, burst) <= burst + rate * span + 1e-6


@pytest.mark.parametrize("shape", ["steady", "bursts"])
@pytest.mark.parametrize(("rate", "factor"), [(10, 2), (500, 5), (20_000, 2)])
def test_what_is_due_is_what_was_asked_for(shape: str, rate: int, factor: float) -> None:
    case = Case("shardproxy", rate, factor, shape, kills=False)
    batches = list(due(case, 4))
    assert sum(size for _, size in batches) == pytest.approx(4 * case.offered, rel=0.4 if rate == 10 else 0.05)
    assert [when for when, _ in batches] == sorted(when for when, _ in batches)
    if shape == "bursts":
        assert all(when % 1 <= 0.1001 for when, _ in batches)


@pytest.mark.parametrize(("count", "is_right"), [(1000, True), (1005, True), (1006, False), (990, True), (980, False)])
def test_a_result_is_right_within_half_a_percent_of_what_the_arrivals_allow(count: int, is_right: bool) -> None:
    case = Case("shardproxy", 500, 2, "steady", kills=False)
    found = Result(case, offered=2000, admitted=count, lost=0, ideal=1000, least=994, most=1000)
    assert found.is_right is is_right


def test_workers_are_killed_only_where_they_are_ours() -> None:
    every = list(cases(argparse.Namespace(proxy=None, rate=[500], factor=[2])))
    assert {case.proxy for case in every if case.kills} == {"shardproxy"}
    assert {case.proxy for case in every} == {"shardproxy", "nginx", "envoy"}
