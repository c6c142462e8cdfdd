"""Round robin: one sequence for all workers; `first`: one after the other is filled."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier

import pytest

from shardproxy.shm.decisions import EJECTED, Decisions
from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words
from tests.unit.balancing.clusters import TURN, Terms, cluster, small_segment, taken

WORKERS = 4
EACH = 7_000


@pytest.fixture
def segment() -> Iterator[Segment]:
    with small_segment() as made:
        yield made


def smooth(weights: list[int], times: int) -> list[int]:
    """nginx's smooth weighted round robin, written out."""
    current, found = [0] * len(weights), []
    for _ in range(times):
        current = [now + weight for now, weight in zip(current, weights, strict=True)]
        best = current.index(max(current))
        current[best] -= sum(weights)
        found.append(best)
    return found


def test_workers_that_take_turns_follow_one_smooth_sequence(segment: Segment) -> None:
    workers = [cluster(segment, [5, 1, 1, 3], Terms("round_robin", row=row)) for row in range(1, 5)]
    assert [workers[(n * n) % 4].take() for n in range(200)] == smooth([5, 1, 1, 3], 200)


def work(fd: int, row: int, start: Barrier, counts: multiprocessing.SimpleQueue[Counter[int]]) -> None:
    one = cluster(Segment.attach(os.dup(fd)), [5, 1, 1, 3, 4], Terms("round_robin", row=row, seed=row))
    start.wait(30)
    counts.put(Counter(taken(one, EACH)))


def test_four_processes_at_once_take_exactly_the_global_sequence(segment: Segment) -> None:
    """28 000 turns of a round of 14: each endpoint exactly 2 000 times its weight, whoever took which turn."""
    context = multiprocessing.get_context("fork")
    counts, start = context.SimpleQueue(), context.Barrier(WORKERS)
    processes = [context.Process(target=work, args=(segment.fd, row, start, counts)) for row in range(1, 5)]
    for process in processes:
        process.start()
    together: Counter[int] = sum((counts.get() for _ in processes), Counter())
    for process in processes:
        process.join(30)
    assert together == {0: 10_000, 1: 2_000, 2: 2_000, 3: 6_000, 4: 8_000}
    assert Words(segment).load(TURN) == WORKERS * EACH


def test_the_turns_of_an_endpoint_that_is_out_are_everybodys(segment: Segment) -> None:
    workers = [cluster(segment, [1] * 5, Terms("round_robin", row=row, is_checked=True)) for row in (1, 2)]
    Decisions(segment).decide(2, EJECTED, 0, 1)
    assert [workers[n % 2].take() for n in range(12)] == [0, 1, 3, 4] * 3
    Decisions(segment).clear(2)
    assert Counter(workers[n % 2].take() for n in range(100)) == dict.fromkeys(range(5), 20)


def test_weights_too_large_for_a_written_sequence_are_met_all_the_same(segment: Segment) -> None:
    weights = [997, 991, 1, 500, 983, 977, 971, 967, 953, 947, 941, 937]
    times = 50_000
    seen = Counter(taken(cluster(segment, weights, Terms("round_robin")), times))
    for index, weight in enumerate(weights):
        assert abs(seen[index] - times * weight / sum(weights)) < 10


def test_a_worker_that_dies_or_restarts_leaves_the_turn_where_it_was(segment: Segment) -> None:
    first = cluster(segment, [1, 1, 1], Terms("round_robin"))
    assert taken(first, 4) == [0, 1, 2, 0]
    assert taken(cluster(segment, [1, 1, 1], Terms("round_robin", row=2)), 2) == [1, 2]


def test_a_position_that_wraps_around_goes_on(segment: Segment) -> None:
    Words(segment).store(TURN, 2**63 - 2)
    assert set(taken(cluster(segment, [1, 1], Terms("round_robin")), 6)) == {0, 1}


def test_first_fills_one_before_the_next_and_comes_back_to_it(segment: Segment) -> None:
    workers = [cluster(segment, [1, 1, 1], Terms("first", row=row), caps=[2, 1, None]) for row in (1, 2)]
    assert [workers[n % 2].take() for n in range(5)] == [0, 0, 1, 2, 2]
    workers[0].give(0)
    assert [workers[1].take(), workers[1].take()] == [0, 2]
