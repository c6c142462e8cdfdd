"""What a dry limit suggests: a bucket that would have refused nothing of what came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.limits.demand import LOOK_S, LOOKS, WINDOW, Demand

COUNTS = st.lists(st.integers(0, 200), min_size=WINDOW, max_size=400)


def seen(counts: list[int]) -> Demand:
    demand = Demand()
    for count in counts:
        demand.note(count)
    return demand


@given(COUNTS)
def test_the_bucket_would_have_refused_nothing(counts: list[int]) -> None:
    found = seen(counts).suggestion()
    if found is None:
        assert not any(counts)
        return
    rate, burst = found
    tokens = float(burst)
    for count in counts:
        tokens = min(float(burst), tokens + rate * LOOK_S) - count
        assert tokens >= -1e-6


def test_a_steady_demand_suggests_a_tenth_more() -> None:
    found = seen([20] * 300).suggestion()
    assert found is not None
    assert round(found[0]) == 110
    assert 20 <= found[1] <= 23


def test_a_burst_asks_for_a_larger_bucket_rather_than_a_larger_rate() -> None:
    found = seen([2] * 100 + [200] + [2] * 100).suggestion()
    assert found is not None
    assert found[0] < 40
    assert 200 <= found[1] <= 230


def test_nothing_is_said_before_ten_seconds_are_known() -> None:
    assert seen([5] * (WINDOW - 1)).suggestion() is None


def test_what_is_long_ago_is_forgotten() -> None:
    found = seen([1000] * 100 + [1] * LOOKS).suggestion()
    assert found is not None
    assert found[0] < 10


def test_a_lone_request_needs_a_bucket_of_two() -> None:
    found = seen([1] + [0] * WINDOW).suggestion()
    assert found is not None
    assert round(found[0], 3) == 0.11
    assert found[1] == 2


def test_the_rate_is_that_of_the_busiest_ten_seconds_whenever_they_were() -> None:
    calm, busy = [1] * WINDOW, [10] * WINDOW
    for order in (busy + calm, calm + busy, calm + busy + calm):
        found = seen(order).suggestion()
        assert found is not None
        assert round(found[0], 6) == 55
