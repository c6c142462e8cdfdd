"""Buckets by key: each key has its own, a full set gives up the one that is worth least, and processes agree."""

from __future__ import annotations

import multiprocessing
import os
import random
import time

import pytest

from shardproxy.shm.keyed import MAX_BURST, MAX_RATE, KeyedBuckets
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment

SECOND = 10**9
NOW = 1000 * SECOND
NEVER = 2**63 - 1


def neighbours(buckets: KeyedBuckets, count: int) -> list[bytes]:
    """Keys of one set."""
    home = buckets.set_of(b"0")
    numbers = (b"%d" % number for number in range(1_000_000))
    return [key for key, _ in zip((key for key in numbers if buckets.set_of(key) == home), range(count), strict=False)]


def test_every_key_has_a_bucket_of_its_own(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 1024, rate_per_s=10, burst=2)
    assert [buckets.take(b"one", NOW) for _ in range(3)] == [0, 0, pytest.approx(SECOND // 10, rel=0.002)]
    assert [buckets.take(b"other", NOW) for _ in range(2)] == [0, 0]


def test_a_refused_key_is_admitted_when_it_has_waited_as_long_as_it_was_told(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 1024, rate_per_s=3, burst=1)
    assert buckets.take(b"key", NOW) == 0
    wait = buckets.take(b"key", NOW)
    assert buckets.take(b"key", NOW + wait // 2) > 0
    assert buckets.take(b"key", NOW + wait) == 0


def test_a_cost_above_the_burst_can_never_be_met(segment: Segment) -> None:
    assert KeyedBuckets(segment, 0, 1024, rate_per_s=3, burst=5).take(b"key", NOW, 6) == NEVER


def test_what_is_given_back_can_be_taken_again(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 1024, rate_per_s=10, burst=5)
    assert buckets.take(b"key", NOW, 5) == 0
    buckets.give_back(b"key", NOW, 3)
    assert buckets.take(b"key", NOW, 3) == 0
    assert buckets.take(b"key", NOW) > 0


def test_giving_back_what_has_filled_up_meanwhile_makes_no_bucket_fuller_than_full(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 1024, rate_per_s=10, burst=5)
    assert buckets.take(b"key", NOW, 5) == 0
    buckets.give_back(b"key", NOW + SECOND, 5)
    assert buckets.take(b"key", NOW + SECOND, 5) == 0
    assert buckets.take(b"key", NOW + SECOND) > 0


def test_tables_do_not_know_each_other_s_keys(segment: Segment) -> None:
    first, second = (KeyedBuckets(segment, slot, 1024, rate_per_s=1, burst=1) for slot in (0, 1))
    assert [first.take(b"key", NOW), first.take(b"key", NOW) > 0, second.take(b"key", NOW)] == [0, True, 0]


def test_a_full_set_gives_up_the_key_that_is_nearest_to_being_full_again(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 16, rate_per_s=1, burst=100)
    keys = neighbours(buckets, 18)
    for taken, key in enumerate(keys[:16]):
        assert buckets.take(key, NOW, 20 - taken) == 0  # the last has the most left
    assert buckets.enter(keys[16], NOW)
    assert buckets.take(keys[15], NOW, 100) == 0, "the evicted one has a full bucket again"
    assert all(buckets.take(key, NOW, 100) > 0 for key in keys[:14]), "those that took more keep what they owe"


def test_a_key_that_has_used_up_its_limit_is_not_evicted_by_any_number_of_others(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 16, rate_per_s=1, burst=10)
    assert buckets.take(b"heavy", NOW, 10) == 0
    for number in range(100_000):
        buckets.take(b"%d" % number, NOW)
    assert buckets.take(b"heavy", NOW) > 0


def test_a_place_whose_bucket_is_full_again_is_free(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 16, rate_per_s=10, burst=10)
    keys = neighbours(buckets, 17)
    for key in keys[:16]:
        buckets.take(key, NOW)
    assert buckets.enter(keys[16], NOW)
    assert not buckets.enter(keys[0], NOW + SECOND)


def test_a_sweep_counts_the_keys_that_owe_and_forgets_the_others(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 1, 1024, rate_per_s=10, burst=10)
    for number in range(20):
        buckets.take(b"%d" % number, NOW, 1 + number % 2)
    assert buckets.sweep(NOW) == 20
    assert buckets.sweep(NOW + SECOND // 9) == 10
    assert buckets.sweep(NOW + SECOND) == 0
    section = segment.sections.keyed
    assert not any(segment.memory[section.offset + section.stride : section.offset + 2 * section.stride])


def test_a_word_that_is_nonsense_is_a_full_bucket(segment: Segment) -> None:
    buckets = KeyedBuckets(segment, 0, 16, rate_per_s=1000, burst=10)
    section = segment.sections.keyed
    for fill in (0xFF, 0x5A, 0x01):
        segment.memory[section.offset : section.offset + 128] = bytes([fill]) * 128
        assert [buckets.take(b"key", NOW, 10), buckets.take(b"key", NOW) > 0] == [0, True]


@pytest.mark.parametrize(
    ("keys", "rate", "burst"), [(17, 1, 1), (8, 1, 1), (2048, 1, 1), (16, 0, 1), (16, MAX_RATE + 1, 1), (16, 1, 0)]
)
def test_what_a_table_cannot_hold_is_refused(segment: Segment, keys: int, rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        KeyedBuckets(segment, 0, keys, rate, burst)
    with pytest.raises(ValueError, match="burst"):
        KeyedBuckets(segment, 0, 16, 1, MAX_BURST + 1)
    with pytest.raises(IndexError):
        KeyedBuckets(segment, 4, 16, 1, 1)


def take_all(fd: int, seed: int, keys: int, tries: int, found: multiprocessing.Queue[dict[bytes, int]]) -> None:
    buckets = KeyedBuckets(Segment.attach(os.dup(fd)), 0, 1024, rate_per_s=0.001, burst=500)
    dice = random.Random(seed)
    admitted: dict[bytes, int] = {}
    for _ in range(tries):
        key = b"%d" % dice.randrange(keys)
        if buckets.take(key, time.monotonic_ns()) == 0:
            admitted[key] = admitted.get(key, 0) + 1
    found.put(admitted)


def test_processes_together_admit_exactly_the_burst_of_every_key(segment: Segment) -> None:
    context = multiprocessing.get_context("fork")
    found: multiprocessing.Queue[dict[bytes, int]] = context.Queue()
    processes = [context.Process(target=take_all, args=(segment.fd, seed, 40, 20_000, found)) for seed in range(4)]
    for process in processes:
        process.start()
    totals: dict[bytes, int] = {}
    for _ in processes:
        for key, count in found.get(timeout=60).items():
            totals[key] = totals.get(key, 0) + count
    for process in processes:
        process.join(60)
    assert totals == {b"%d" % key: 500 for key in range(40)}


def test_two_million_keys_in_a_table_for_65_536_leave_heavy_hitters_limited() -> None:
    """100 000 new keys a second, each of which would stay for a second: the table is always full."""
    segment = Segment.create(Capacities(rows=16, key_tables=1, keys=65_536))
    buckets = KeyedBuckets(segment, 0, 65_536, rate_per_s=1, burst=100)
    heavy, admitted, seconds = [b"heavy %d" % number for number in range(50)], dict.fromkeys(range(50), 0), 20
    evictions = 0
    for step in range(seconds * 100):
        now = NOW + step * SECOND // 100
        for number, key in enumerate(heavy):
            admitted[number] += buckets.take(key, now) == 0  # 100/s of each
        evictions += sum(buckets.enter(b"%d" % (step * 1000 + number), now) for number in range(1000))
    ideal = 100 + seconds
    assert evictions > 500_000
    assert all(abs(count - ideal) <= 0.02 * ideal for count in admitted.values()), admitted
    segment.close()
