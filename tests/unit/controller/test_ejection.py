from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.config.schema import OutlierDetection
from shardproxy.controller.ejection import Sample, ejection_ns, may_eject, outliers, success_threshold
from shardproxy.controller.reasons import Reason, Why

S = 10**9
DEFAULTS = OutlierDetection()
PERCENT = OutlierDetection(success_rate=False, failure_percentage=85)


def samples(*good: int, requests: int = 100) -> dict[int, Sample]:
    return {slot: Sample(requests, one) for slot, one in enumerate(good)}


def test_the_threshold_is_the_mean_less_so_many_standard_deviations() -> None:
    # 100 x 9 and 50: mean 95, population standard deviation 15
    assert success_threshold(samples(*[100] * 9, 50), 1900) == pytest.approx(95 - 15 * 1.9)


def test_who_succeeds_far_more_rarely_than_the_others_is_ejected() -> None:
    assert outliers(samples(*[100] * 9, 50), DEFAULTS) == {9: Reason(Why.SUCCESS_RATE, 50)}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (samples(100, 100, 100, 0), "fewer than five to compare"),
        (samples(*[99] * 9, 0, requests=99), "fewer than a hundred requests each"),
        (samples(*[50] * 10), "all alike"),
        ({}, "no traffic"),
    ],
)
def test_nobody_is_ejected_by_success_rate_when_there_is_too_little_to_tell(found: dict[int, Sample], why: str) -> None:
    assert outliers(found, DEFAULTS) == {}, why


def test_who_has_too_few_requests_is_neither_ejected_nor_compared() -> None:
    assert outliers({**samples(*[100] * 5), 9: Sample(99, 0)}, DEFAULTS) == {}


def test_the_share_of_failures_ejects_whatever_the_others_do_from_the_threshold_on() -> None:
    assert outliers(samples(15, 15, 15, 15, 16), PERCENT) == dict.fromkeys(
        range(4), Reason(Why.FAILURE_PERCENTAGE, 85)
    )


def test_failures_of_fewer_than_fifty_requests_or_five_endpoints_do_not_count() -> None:
    assert outliers(samples(0, 0, 0, 0), PERCENT) == {}
    assert outliers(samples(0, 0, 0, 0, 0, requests=49), PERCENT) == {}


def test_the_worst_come_first() -> None:
    assert list(outliers(samples(9, 3, 7, 0, 5), PERCENT)) == [3, 1, 4, 2, 0]


def test_each_time_in_a_row_is_longer_up_to_the_longest() -> None:
    assert [ejection_ns(DEFAULTS, times) // S for times in (1, 2, 3, 10, 11, 99)] == [30, 60, 90, 300, 300, 300]
    assert ejection_ns(OutlierDetection(base_ejection_time=400 * S), 2) == 400 * S


@pytest.mark.parametrize(
    ("ejected", "endpoints", "percent", "may"),
    [(0, 1, 100, False), (0, 2, 0, True), (1, 2, 10, False), (1, 20, 10, True), (2, 20, 10, False), (4, 5, 100, True)],
)
def test_only_so_many_may_be_out_but_one_of_several_always(
    ejected: int, endpoints: int, percent: int, may: bool
) -> None:
    assert may_eject(ejected, endpoints, percent) is may


@given(
    st.dictionaries(
        st.integers(0, 50),
        st.integers(1, 500).flatmap(lambda n: st.builds(Sample, st.just(n), st.integers(0, n))),
        max_size=20,
    )
)
def test_whoever_is_ejected_by_success_rate_is_worse_than_the_average(found: dict[int, Sample]) -> None:
    seen = [one.success_percent for one in found.values() if one.requests >= DEFAULTS.success_rate_requests]
    for slot in outliers(found, DEFAULTS):
        assert found[slot].success_percent < sum(seen) / len(seen) + 1e-9
