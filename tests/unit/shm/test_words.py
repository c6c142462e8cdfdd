"""Shared words: numbers that all processes read and write."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from shardproxy.shm.segment import Segment
from shardproxy.shm.words import Words


def add_many(fd: int, times: int) -> None:
    words = Words(Segment.attach(os.dup(fd)))
    for _ in range(times):
        words.add(3, 2)


def test_a_word_holds_what_was_stored(segment: Segment) -> None:
    words = Words(segment)
    assert words.load(0) == 0
    words.store(0, -(2**63))
    assert [words.load(0), words.load(1)] == [-(2**63), 0]


def test_nothing_that_processes_add_at_the_same_time_is_lost(segment: Segment) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add_many, args=(segment.fd, 20_000)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert Words(segment).add(3, 1) == 160_000


def test_a_word_that_is_not_there_is_an_error(segment: Segment) -> None:
    with pytest.raises(IndexError, match="there is no word"):
        Words(segment).load(Words(segment).slots)
