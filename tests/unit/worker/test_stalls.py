"""A worker's connections and a clock that is set: what has arrived is served before timers, however late they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.worker.connections import REQUEST, Worker, answer, standing_clock


@pytest.fixture
def worker() -> Iterator[Worker]:
    with standing_clock() as made:
        yield made


def test_a_request_that_came_during_a_stall_is_answered(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST)
        worker.tick(3600)
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_the_rest_of_a_head_that_came_during_a_stall_is_read(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST[:10])
        worker.turn()
        client.sendall(REQUEST[10:])
        worker.tick(3600)
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_timeouts_that_begin_in_the_first_turn_after_a_stall_are_not_cut_short(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST)
        worker.pass_time(3600)
        worker.turn()
        worker.tick(0)
        for _ in range(19):
            worker.tick()
        assert worker.process.clients
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_the_time_of_a_stall_does_not_count(worker: Worker) -> None:
    with worker.client():
        worker.tick(0.5)
        worker.tick(3600)
        for _ in range(10):
            worker.tick()
        assert len(worker.process.clients) == 1
        for _ in range(12):
            worker.tick()
        worker.turn()
        assert not worker.process.clients


def test_a_worker_that_is_always_late_has_its_timeouts_all_the_same(worker: Worker) -> None:
    with worker.client():
        for _ in range(5):
            worker.tick(0.9)
        worker.turn()
        assert not worker.process.clients


def test_a_request_that_has_arrived_is_not_closed_by_a_tick_that_comes_in_time(worker: Worker) -> None:
    with worker.client() as client:
        client.sendall(REQUEST)
        for _ in range(25):
            worker.tick()
        worker.turn()
        assert answer(client).startswith(b"HTTP/1.1 301")


def test_a_client_that_has_sent_nothing_is_closed_in_time(worker: Worker) -> None:
    with worker.client() as client:
        for _ in range(19):
            worker.tick()
        assert worker.process.clients
        for _ in range(4):
            worker.tick()
        worker.turn()
        assert answer(client) == b""
