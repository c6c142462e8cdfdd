from __future__ import annotations

import math

import pytest

from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.segment import Segment

SECOND = 10**9
NOW = 1000 * SECOND
NEVER = 2**63 - 1


@pytest.fixture
def buckets(segment: Segment) -> Buckets:
    return Buckets(segment)


def test_a_full_bucket_gives_its_burst_at_once_and_then_says_how_long_to_wait(buckets: Buckets) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=10, burst=3)
    assert [bucket.take(NOW) for _ in range(4)] == [0, 0, 0, SECOND // 10]
    assert bucket.take(NOW + SECOND // 10 - 1) == 1
    assert bucket.take(NOW + SECOND // 10) == 0


def test_a_refusal_takes_nothing(buckets: Buckets) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=1, burst=2)
    assert bucket.take(NOW, 2) == 0
    assert [bucket.take(NOW) for _ in range(5)] == [SECOND] * 5


def test_it_never_saves_up_more_than_its_burst(buckets: Buckets) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=1000, burst=2)
    assert bucket.take(NOW, 2) == 0
    later = NOW + 3600 * SECOND
    assert bucket.tokens(later) == 2
    assert [bucket.take(later) for _ in range(3)] == [0, 0, SECOND // 1000]


def test_a_cost_takes_that_many_tokens(buckets: Buckets) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=10, burst=10)
    assert bucket.take(NOW, 7) == 0
    assert bucket.tokens(NOW) == 3
    assert bucket.take(NOW, 5) == 2 * SECOND // 10
    assert bucket.take(NOW, 3) == 0


def test_a_cost_above_the_burst_can_never_be_met(buckets: Buckets) -> None:
    assert Bucket(buckets, 0, rate_per_s=10, burst=10).take(NOW, 11) == NEVER


def test_what_is_given_back_can_be_taken_again(buckets: Buckets) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=10, burst=5)
    assert bucket.take(NOW, 4) == 0
    bucket.give_back(3)
    assert bucket.tokens(NOW) == 4
    assert [bucket.take(NOW, 4), bucket.take(NOW)] == [0, SECOND // 10]


@pytest.mark.parametrize("cost", [0, -5])
def test_a_cost_of_nothing_is_met_and_takes_nothing(buckets: Buckets, cost: int) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=10, burst=1)
    assert bucket.take(NOW) == 0
    assert bucket.take(NOW, cost) == 0
    assert bucket.tokens(NOW) == 0


def test_all_who_name_the_same_slot_share_one_bucket(buckets: Buckets) -> None:
    one, two, other = (Bucket(buckets, slot, rate_per_s=1, burst=2) for slot in (4, 4, 5))
    assert [one.take(NOW), two.take(NOW)] == [0, 0]
    assert one.take(NOW) > 0
    assert two.take(NOW) > 0
    assert other.take(NOW, 2) == 0


def test_a_caller_whose_clock_is_behind_gets_no_more(buckets: Buckets) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=10, burst=2)
    assert bucket.take(NOW, 2) == 0
    assert bucket.take(NOW - SECOND) == SECOND + SECOND // 10
    assert bucket.take(NOW + SECOND // 10) == 0


def test_a_smaller_burst_after_a_reload_does_not_leave_the_bucket_shut_for_the_old_one(buckets: Buckets) -> None:
    assert Bucket(buckets, 0, rate_per_s=1, burst=1000).take(NOW, 1000) == 0
    bucket = Bucket(buckets, 0, rate_per_s=100, burst=1)
    bucket.set_rate(100, NOW)
    assert bucket.take(NOW) == SECOND // 100
    assert bucket.take(NOW + SECOND // 100) == 0


@pytest.mark.parametrize("rate", [3.0, 7e6, 1e7, 0.01, 1 / 3600])
def test_the_rate_is_never_rounded_up_and_hardly_down(buckets: Buckets, rate: float) -> None:
    rounded = Bucket(buckets, 0, rate, burst=1).rate_per_s
    assert rate * (1 - 0.0007) < rounded <= rate * (1 + 1e-15)


def test_a_burst_of_more_than_four_and_a_half_years_is_cut(buckets: Buckets) -> None:
    bucket = Bucket(buckets, 0, rate_per_s=1 / 3600, burst=10**9)
    assert 40_000 < bucket.burst < 40_100
    assert bucket.take(NOW, bucket.burst) == 0


@pytest.mark.parametrize("rate", [1e-300, 1e-9, 1e11, 1e300])
def test_rates_beyond_all_reason_still_make_a_working_bucket(buckets: Buckets, rate: float) -> None:
    bucket = Bucket(buckets, 0, rate, burst=1)
    assert bucket.take(NOW) == 0
    assert bucket.take(NOW) > 0


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_not_above_zero_is_refused(buckets: Buckets, rate: float) -> None:
    with pytest.raises(ValueError, match="the rate of a bucket must be a number above 0"):
        Bucket(buckets, 0, rate, burst=1)


def test_a_burst_below_one_is_refused(buckets: Buckets) -> None:
    with pytest.raises(ValueError, match="the burst of a bucket must be at least 1, not 0"):
        Bucket(buckets, 0, 1.0, burst=0)


@pytest.mark.parametrize("slot", [-1, 10])
def test_a_bucket_that_is_not_there_is_refused(buckets: Buckets, slot: int) -> None:
    with pytest.raises(IndexError, match=f"there is no bucket {slot}; the segment has 10"):
        Bucket(buckets, slot, 1.0, burst=1)


def test_repr_tells_rate_and_burst(buckets: Buckets) -> None:
    assert repr(buckets) == "<Buckets slots=10>"
    assert repr(Bucket(buckets, 2, 500, burst=20)) == "<Bucket 2 rate=500/s burst=20>"
