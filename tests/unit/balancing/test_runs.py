"""Failures in a row: counted by several workers as one would."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Iterator

import pytest

from shardproxy.balancing.runs import Runs, RunSlots
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words

ERRORS, GATEWAY = 4, 7


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(Capacities(rows=16, gauges=1, counters=1, histograms=1, buckets=1, words=16))
    yield made
    made.close()


def runs_in(segment: Segment, *, errors: int | None = ERRORS) -> Runs:
    return Runs(Words(segment), [RunSlots(errors, GATEWAY)], errors_limit=5, gateway_limit=3)


def lengths(segment: Segment) -> tuple[int, int]:
    return Words(segment).load(ERRORS), Words(segment).load(GATEWAY)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], (0, 0)),
        ([200, 404, 499], (0, 0)),
        ([500], (1, 0)),
        ([502, 503, 504], (3, 3)),
        ([503, 501], (2, 0)),
        ([503, 503, 200], (0, 0)),
        ([500, 200, 500, 500], (2, 0)),
    ],
)
def test_failures_make_a_run_longer_and_successes_end_it(
    segment: Segment, statuses: list[int], expected: tuple[int, int]
) -> None:
    workers = [runs_in(segment) for _ in range(4)]
    for status in statuses:
        random.choice(workers).take(0, status)
    assert lengths(segment) == expected


def test_a_run_that_has_reached_its_limit_stays_until_it_is_taken_back(segment: Segment) -> None:
    runs = runs_in(segment)
    for status in [503] * 5 + [200, 500, 200]:
        runs.take(0, status)
    assert lengths(segment) == (6, 5)
    Words(segment).store(ERRORS, 0)
    runs.take(0, 500)
    assert lengths(segment) == (1, 5)


def test_what_is_not_to_be_counted_is_not(segment: Segment) -> None:
    runs_in(segment, errors=None).take(0, 503)
    assert lengths(segment) == (0, 1)


def fail_often(fd: int, times: int) -> None:
    runs = runs_in(Segment.attach(os.dup(fd)))
    for _ in range(times):
        runs.take(0, 500)


def test_no_failure_of_several_processes_is_lost(segment: Segment) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fail_often, args=(segment.fd, 5000)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert lengths(segment) == (20_000, 0)


def test_an_endpoint_or_a_word_that_is_not_there_is_an_error(segment: Segment) -> None:
    with pytest.raises(IndexError):
        runs_in(segment).take(1, 500)
    with pytest.raises(IndexError):
        runs_in(segment, errors=16)
