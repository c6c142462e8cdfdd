from __future__ import annotations

from collections.abc import Callable

import pytest

from shardproxy.controller.readiness import why_not_ready
from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment


@pytest.fixture
def worker(segment: Segment) -> Callable[[int, State], None]:
    rows = Rows(segment)

    def become(row: int, state: State) -> None:
        rows.claim(row, 1000 + row, 1, Kind.WORKER)
        rows.set_state(row, state)

    return become


def test_it_is_ready_when_every_worker_is(segment: Segment, worker: Callable[[int, State], None]) -> None:
    worker(2, State.READY)
    worker(3, State.READY)
    assert why_not_ready(segment, 2) is None


def test_without_any_worker_it_says_so(segment: Segment) -> None:
    assert why_not_ready(segment, 2) == "0 of 2 workers are ready"


def test_it_says_what_the_others_do(segment: Segment, worker: Callable[[int, State], None]) -> None:
    worker(2, State.READY)
    worker(3, State.STARTING)
    worker(4, State.DRAINING)
    assert why_not_ready(segment, 3) == "1 of 3 workers are ready, 1 starting, 1 draining"


def test_a_controller_is_no_worker(segment: Segment, worker: Callable[[int, State], None]) -> None:
    worker(2, State.READY)
    Rows(segment).claim(3, 1003, 1, Kind.CONTROLLER)
    Rows(segment).set_state(3, State.READY)
    assert why_not_ready(segment, 2) == "1 of 2 workers are ready"


def test_a_worker_that_is_gone_does_not_count(segment: Segment, worker: Callable[[int, State], None]) -> None:
    worker(2, State.READY)
    Rows(segment).release(2)
    assert why_not_ready(segment, 1) == "0 of 1 workers are ready"


def test_a_proxy_that_drains_is_not_ready_although_its_workers_are(
    segment: Segment, worker: Callable[[int, State], None]
) -> None:
    worker(2, State.READY)
    Rows(segment).set_state(0, State.DRAINING)
    assert why_not_ready(segment, 1) == "the proxy is draining"
