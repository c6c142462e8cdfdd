"""A bucket whose rate, burst or table changes goes on with the tokens that it has, alone or one of many."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from shardproxy.shm.buckets import Bucket, Buckets
from shardproxy.shm.keyed import MAX_RATE, KeyedBuckets
from shardproxy.shm.segment import Segment

NOW, SECOND, HOUR = 10**15, 10**9, 3600 * 10**9
KEY = b"key"
PER_HOUR = 1 / 3600


class One:
    """A bucket of its own."""

    def __init__(self, segment: Segment, rate: float, burst: int, patience_ns: int = 0) -> None:
        self.bucket = Bucket(Buckets(segment), 0, rate, burst)
        self.patience_ns = patience_ns

    def take(self, now_ns: int, cost: int = 1) -> int:
        return self.bucket.take(now_ns, cost)

    def give_back(self, now_ns: int, cost: int = 1) -> None:
        self.bucket.give_back(cost)

    def set_rate(self, rate: float, now_ns: int) -> None:
        self.bucket.set_rate(rate, now_ns, patience_ns=self.patience_ns)


class Keyed:
    """One of a table."""

    def __init__(self, segment: Segment, rate: float, burst: int, patience_ns: int = 0, keys: int = 1024) -> None:
        self.table = KeyedBuckets(segment, 0, keys, rate, burst, patience_ns)

    def take(self, now_ns: int, cost: int = 1, key: bytes = KEY) -> int:
        return self.table.take(key, now_ns, cost)

    def give_back(self, now_ns: int, cost: int = 1) -> None:
        self.table.give_back(KEY, now_ns, cost)

    def set_rate(self, rate: float, now_ns: int) -> None:
        self.table.set_rate(rate, now_ns)


Kind = Callable[..., One | Keyed]


@pytest.fixture(params=[One, Keyed])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def held(bucket: One | Keyed, now_ns: int) -> int:
    """How many tokens are there, by taking and giving back."""
    count = 0
    while bucket.take(now_ns) == 0:
        count += 1
    bucket.give_back(now_ns, count)
    return count


RATES = (PER_HOUR, 10 * PER_HOUR, 11 * PER_HOUR, 1.0, 1000.0, float(MAX_RATE))
CHANGES = list(itertools.permutations(RATES, 2))


@pytest.mark.parametrize(("before", "after"), CHANGES)
@pytest.mark.parametrize("taken", [0, 2, 5])
def test_whatever_the_rates_are_there_are_as_many_tokens_as_before(
    segment: Segment, kind: Kind, before: float, after: float, taken: int
) -> None:
    bucket = kind(segment, before, 5)
    assert taken == 0 or bucket.take(NOW, taken) == 0
    bucket.set_rate(after, NOW)
    assert held(bucket, NOW) == 5 - taken


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_an_empty_bucket_fills_at_the_new_rate_and_nobody_waits_longer_than_for_that(
    segment: Segment, kind: Kind, before: float, after: float
) -> None:
    bucket = kind(segment, before, 5)
    assert bucket.take(NOW, 5) == 0
    bucket.set_rate(after, NOW)
    token_ns = SECOND / after
    assert bucket.take(NOW) == pytest.approx(token_ns, rel=2e-3, abs=2)
    assert bucket.take(NOW, 5) == pytest.approx(5 * token_ns, rel=2e-3, abs=2)
    later = NOW + round(5.01 * token_ns) + 1
    assert held(bucket, later) == 5


def test_a_rate_that_changes_again_and_again_gives_nobody_a_token_more(segment: Segment, kind: Kind) -> None:
    bucket, now, admitted = kind(segment, 100 * PER_HOUR, 5), NOW, 0
    for step in range(200):
        admitted += sum(bucket.take(now) == 0 for _ in range(8))
        bucket.set_rate((10 + step % 7) * PER_HOUR, now)
        now += SECOND
    assert admitted == 5


def test_all_processes_go_by_the_new_rate_at_once(segment: Segment, kind: Kind) -> None:
    one, other = kind(segment, 10 * PER_HOUR, 5), kind(segment, 10 * PER_HOUR, 5)
    assert other.take(NOW, 5) == 0
    one.set_rate(1.0, NOW)
    assert other.take(NOW) == pytest.approx(SECOND, rel=2e-3)
    assert [other.take(NOW + 2 * SECOND + 2) for _ in range(3)].count(0) == 2


def test_who_knows_another_rate_goes_by_the_one_that_is_set(segment: Segment, kind: Kind) -> None:
    """A worker has prepared a configuration that is not served yet, and may never be."""
    served = kind(segment, 10 * PER_HOUR, 5)
    assert served.take(NOW, 5) == 0
    prepared = kind(segment, 1000.0, 5)
    assert prepared.take(NOW + 10 * SECOND) > 100 * SECOND


def test_what_was_taken_before_the_change_can_be_given_back_after_it(segment: Segment, kind: Kind) -> None:
    bucket = kind(segment, 10 * PER_HOUR, 5)
    assert bucket.take(NOW, 3) == 0
    bucket.set_rate(1000 * PER_HOUR, NOW)
    bucket.give_back(NOW, 3)
    assert held(bucket, NOW) == 5


def test_a_reading_of_the_clock_from_before_the_change_gets_no_more(segment: Segment, kind: Kind) -> None:
    bucket = kind(segment, 1.0, 5)
    assert bucket.take(NOW, 5) == 0
    bucket.set_rate(100.0, NOW)
    assert bucket.take(NOW - SECOND // 2) > 0


def test_of_a_larger_burst_there_is_at_once_by_what_it_is_larger(segment: Segment, kind: Kind) -> None:
    assert kind(segment, PER_HOUR, 5).take(NOW, 4) == 0
    larger = kind(segment, PER_HOUR, 8)
    larger.set_rate(PER_HOUR, NOW)
    assert held(larger, NOW) == 4


@pytest.mark.parametrize("after", [PER_HOUR, 1.0, 10.0])
def test_of_a_smaller_burst_no_more_is_missing_than_all_of_it(segment: Segment, kind: Kind, after: float) -> None:
    assert kind(segment, 10.0, 1000).take(NOW, 1000) == 0
    smaller = kind(segment, 10.0, 2)
    smaller.set_rate(after, NOW)
    assert smaller.take(NOW) == pytest.approx(SECOND / after, rel=2e-3)


def test_what_a_smaller_burst_has_forgotten_is_not_missing_when_it_grows_again(segment: Segment, kind: Kind) -> None:
    assert kind(segment, PER_HOUR, 8).take(NOW, 8) == 0
    for burst in (2, 4):
        bucket = kind(segment, PER_HOUR, burst)
        bucket.set_rate(PER_HOUR, NOW)
    assert held(bucket, NOW) == 2


def test_of_a_smaller_burst_what_was_there_beyond_it_is_gone(segment: Segment, kind: Kind) -> None:
    assert kind(segment, PER_HOUR, 1000).take(NOW, 1) == 0
    smaller = kind(segment, PER_HOUR, 10)
    smaller.set_rate(PER_HOUR, NOW)
    assert held(smaller, NOW) == 9


def test_a_reload_that_changes_nothing_leaves_those_who_wait_for_their_tokens_what_they_owe(segment: Segment) -> None:
    bucket = KeyedBuckets(segment, 0, 1024, 1.0, 2, 10 * SECOND)
    assert [bucket.reserve(KEY, NOW) // SECOND for _ in range(5)] == [0, 0, 1, 2, 3]
    bucket.set_rate(1.0, NOW)
    assert bucket.reserve(KEY, NOW) == pytest.approx(4 * SECOND, rel=2e-3)


def test_with_kept_time_a_bucket_is_as_full_as_before_in_proportion_to_its_burst(segment: Segment) -> None:
    """A limit that follows a published interval measures its tokens in that, not in its rate."""
    bucket = Bucket(Buckets(segment), 0, 10.0, 100)
    assert bucket.take(NOW, 50) == 0
    bucket.set_rate(1.0, NOW, keeps_time=True)
    assert bucket.tokens(NOW) == 95
    assert bucket.rate_per_s == 1.0


def test_another_bucket_and_another_table_keep_their_rates(segment: Segment) -> None:
    others = Bucket(Buckets(segment), 1, 1.0, 5), KeyedBuckets(segment, 1, 1024, 1.0, 5)
    for each in (Bucket(Buckets(segment), 0, 1.0, 5), KeyedBuckets(segment, 0, 1024, 1.0, 5)):
        each.set_rate(100.0, NOW)
    assert others[0].take(NOW, 5) == others[1].take(KEY, NOW, 5) == 0
    assert others[0].take(NOW) == SECOND
    assert others[1].take(KEY, NOW) == pytest.approx(SECOND, rel=2e-3)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_cannot_be_is_refused_and_the_former_stays(segment: Segment, kind: Kind, rate: float) -> None:
    bucket = kind(segment, 1.0, 1)
    with pytest.raises(ValueError, match="the rate of a"):
        bucket.set_rate(rate, NOW)
    assert bucket.take(NOW) == 0
    assert bucket.take(NOW) == pytest.approx(SECOND, rel=2e-3)


@pytest.mark.parametrize(("before", "after"), [(16, 32), (16, 1024), (64, 512), (1024, 16), (512, 64), (64, 32)])
def test_in_a_table_of_another_size_no_key_that_has_room_gets_its_burst_again(
    segment: Segment, before: int, after: int
) -> None:
    keys = [b"key %d" % number for number in range(8)]
    small = Keyed(segment, PER_HOUR, 5, keys=before)
    assert [small.take(NOW, 1 + number % 5, key) for number, key in enumerate(keys)] == [0] * 8
    large = Keyed(segment, PER_HOUR, 5, keys=after)
    large.set_rate(PER_HOUR, NOW)
    for number, key in enumerate(keys):
        assert large.take(NOW, 5 - (1 + number % 5), key) == 0
        assert large.take(NOW, 1, key) > 0
    assert large.take(NOW, 5, b"new") == 0


def test_a_table_that_shrinks_and_grows_again_finds_no_key_as_it_was_long_ago(segment: Segment) -> None:
    large = Keyed(segment, 1.0, 5, keys=1024)
    for number in range(500):
        large.take(NOW, 5, b"key %d" % number)
    small = Keyed(segment, 1.0, 5, keys=16)
    small.set_rate(1.0, NOW)
    later = NOW + 100 * SECOND
    again = Keyed(segment, 1.0, 5, keys=1024)
    again.set_rate(1.0, later)
    assert again.table.sweep(later) == 0
    assert all(again.take(later, 5, b"key %d" % number) == 0 for number in range(500))


def test_what_a_key_owes_since_its_table_grew_is_not_forgotten_when_it_shrinks(segment: Segment) -> None:
    keys = [b"key %d" % number for number in range(8)]
    for cost, places in ((2, 16), (3, 1024), (0, 64)):
        table = Keyed(segment, PER_HOUR, 5, keys=places)
        table.set_rate(PER_HOUR, NOW)
        assert all(table.take(NOW, cost, key) == 0 for key in keys)
    assert all(table.take(NOW, 1, key) > 0 for key in keys)


def test_a_table_that_shrinks_keeps_those_who_owe_most(segment: Segment) -> None:
    large = Keyed(segment, PER_HOUR, 9, keys=1024)
    costs = {b"key %d" % number: 1 + number % 9 for number in range(100)}
    for key, cost in costs.items():
        assert large.take(NOW, cost, key) == 0
    small = Keyed(segment, PER_HOUR, 9, keys=16)
    small.set_rate(PER_HOUR, NOW)
    assert small.table.sweep(NOW) == 16
    kept = [cost for key, cost in costs.items() if cost == 9 and small.take(NOW, 1, key) > 0]
    assert len(kept) == sum(cost == 9 for cost in costs.values())
